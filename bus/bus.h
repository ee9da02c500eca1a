// The cluster bus of one node: the bus thread that drives the engine, its links and timers, and the persisted
// configuration. The node makes one if cluster-enabled is yes.
#ifndef SKEIN_BUS_BUS_H_
#define SKEIN_BUS_BUS_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "bus/command.h"
#include "bus/topology.h"

namespace skein::bus {

struct BusOptions {
  std::string dir;                         // --dir
  std::string config_file = "nodes.conf";  // --cluster-config-file, inside dir
  std::vector<std::string> bind;           // addresses to listen on (bind); empty: all
  uint16_t bus_port = 16379;               // where to listen
  uint16_t announce_bus_port = 0;          // 0: bus_port
  std::string announce_ip, announce_hostname;
  uint16_t port = 6379, tls_port = 0;  // announced client ports
  int64_t node_timeout_ms = 15000;
  bool require_full_coverage = true;
  bool bootstrap = false;
  bool no_failover = false;
  uint32_t link_buffer_limit = 64u << 20;  // cluster-link-sendbuf-limit: bytes a link may queue, send and receive
  uint32_t max_inbound = 4096;             // inbound connections
  uint32_t io_threads = 0;                 // bus-io-threads; 0: the bus thread does it itself
};

struct BusCallbacks {
  // On the bus thread, in order of version. Must not block: hand it to the loops' mailboxes.
  std::function<void(TopologyPtr)> publish;
  // Ends of the shards' logs and health of the data plane, asked for each heartbeat. Any-thread safe, must not block.
  std::function<void(std::vector<uint64_t>* positions, bool* healthy)> data_plane;
};

// One message counter a type, for CLUSTER INFO (cluster_stats_messages_ping_sent, …).
struct MessageCount {
  std::string type;
  uint64_t sent;
  uint64_t received;
};

struct LinkInfo {  // CLUSTER LINKS
  bool outbound;
  std::string node;  // id; links not yet identified are left out
  int64_t create_time_ms;
  std::string events;  // "r", "w", "rw"
  uint64_t send_buffer_allocated, send_buffer_used;
};

struct BusStats {
  std::vector<MessageCount> messages;
  uint64_t bytes_sent = 0, bytes_received = 0;
  uint64_t reads_inline = 0, writes_inline = 0, accepts_inline = 0;
  uint64_t reads_offloaded = 0, writes_offloaded = 0, accepts_offloaded = 0;
  uint64_t links_closing = 0;
  uint64_t links_refused_by_limit = 0;
  uint64_t links_closed_over_buffer_limit = 0;  // total_cluster_links_exceeded_buffer_limit
};

class Bus {
 public:
  // Loads or makes identity and configuration (a corrupt file is refused: FailedPrecondition or DataLoss that names it
  // and the way out, exit code 2), takes the lock on it, binds the port (a busy port is named), starts the thread.
  // Returns after the first topology was published.
  static absl::StatusOr<std::unique_ptr<Bus>> Start(const BusOptions& options, BusCallbacks callbacks);
  // What Start would refuse, in the same words, without side effects.
  static absl::Status Check(const BusOptions& options);

  virtual ~Bus() = default;

  // Any thread. `done` runs on the bus thread, once; with an error reply if the bus stops first.
  virtual void Submit(OperatorCommand command, std::function<void(OperatorReply)> done) = 0;
  // Any thread: every shard has applied topology `version`.
  virtual void Fenced(uint64_t version) = 0;
  // Any thread. CLOCK_MONOTONIC milliseconds until which writes are allowed.
  virtual int64_t writable_until_ms() const = 0;
  // Any thread; asynchronous, answered on the bus thread.
  virtual void GetStats(std::function<void(BusStats)> done) = 0;
  virtual void GetLinks(std::function<void(std::vector<LinkInfo>)> done) = 0;
  // Sends what is queued where it can at once, closes links, persists, joins the thread.
  virtual absl::Status Stop() = 0;
};

}  // namespace skein::bus

#endif  // SKEIN_BUS_BUS_H_
