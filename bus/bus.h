// The cluster bus of one node: the bus thread that drives the engine, its links and timers, and the persisted
// configuration. The node makes one if cluster-enabled is yes.
#ifndef SKEIN_BUS_BUS_H_
#define SKEIN_BUS_BUS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "bus/cluster_events.h"
#include "bus/command.h"
#include "bus/published.h"
#include "bus/tls/tls.h"
#include "bus/topology.h"
#include "bus/trust/trust.h"

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
  uint32_t replica_validity_factor = 10, migration_barrier = 1;  // as in EngineOptions
  bool allow_replica_migration = true;
  std::string announce_human_name;                                  // cluster-announce-human-nodename
  EndpointPreference preferred_endpoint = EndpointPreference::kIp;  // cluster-preferred-endpoint-type
  // cluster-seeds, and what resolves their names (for tests; null: the system). Any thread, may block.
  std::vector<Seed> seeds;
  std::function<std::vector<std::string>(const std::string& host)> resolve;
  // cluster-link-sendbuf-limit: bytes a link may hold, sending and receiving. 0: the largest there is, 1 GiB.
  uint64_t link_buffer_limit = 64u << 20;
  uint32_t max_inbound = 4096;  // inbound connections
  uint32_t io_threads = 0;      // bus-io-threads; 0: the bus thread does it itself
  // protected-mode: as long as the bus has neither TLS nor a secret, it accepts from and dials to loopback only.
  bool protected_mode = true;
  // cluster-secret, newest first, or cluster-secret-file, one a line: peers must prove one of them (bus/trust/trust.h).
  std::vector<std::string> secrets;
  std::string secret_file;
  // tls-cluster: peers must speak TLS and have a certificate of the authority in `tls`.
  bool tls_cluster = false;
  TlsOptions tls;
  // Within how long links of a withdrawn secret or of older certificates are made anew. 0: two node timeouts, at most
  // 30 s.
  int64_t renew_within_ms = 0;
  // Inbound connections that have not proven themselves: in all, from one address, and for how long (0: half the
  // node timeout, at most 5 s).
  uint32_t max_unproven = 512;
  uint32_t max_unproven_per_address = 256;
  int64_t hello_timeout_ms = 0;
};

// The secrets and certificates that options name, read. Either may be null: none.
struct BusTrust {
  SecretsPtr secrets;
  TlsContextPtr tls;
};
// The error names the directive, and the file; never a secret. Reads files; any thread.
absl::StatusOr<BusTrust> LoadTrust(const BusOptions& options);
// The secrets alone, which also count without a bus.
absl::StatusOr<SecretsPtr> LoadSecrets(const BusOptions& options);

struct DataPlane {
  std::vector<uint64_t> positions;  // where the shards' logs end
  bool healthy = true;              // all loops and log writers make progress
  // Of a replica: how long ago it heard from its primary; -1: its data is not whole. 0 for a primary.
  int64_t data_age_ms = 0;
};

struct BusCallbacks {
  // On the bus thread, in order of version. Must not block: hand it to the loops' mailboxes.
  std::function<void(TopologyPtr)> publish;
  // State of the data plane, asked for each heartbeat. Any-thread safe, must not block.
  std::function<void(DataPlane*)> data_plane;
  // This node has won an election, and that is durable: stop following, open a reign of `epoch` in every shard, then
  // call Bus::Promoted(epoch). Null: nothing has to be done. Asked again after a restart. Must not block.
  std::function<void(uint64_t epoch)> promote;
  // No shard may write until `until_mono_ms` (0: from now on they may again); once none does, and with where their logs
  // end then, call Bus::Frozen. Null: nothing writes. Must not block.
  std::function<void(int64_t until_mono_ms)> freeze;
  // What other nodes have published, in each one's order. On the bus thread; must not block.
  std::function<void(std::vector<PublishedMessage>)> deliver = nullptr;
};

// One message counter a type, for CLUSTER INFO (cluster_stats_messages_ping_sent, …).
struct MessageCount {
  std::string type;
  uint64_t sent;
  uint64_t received;
};

struct LinkInfo {  // CLUSTER LINKS
  bool outbound;
  bool publishes;    // it carries published messages, and nothing else
  std::string node;  // id; links not yet identified are left out
  int64_t create_time_ms;
  std::string events;                                // "r", "w", "rw"
  uint64_t send_buffer_allocated, send_buffer_used;  // bytes; allocated: with what was received and not yet taken
  uint32_t jobs = 0;                                 // of I/O, under way
  bool closing = false;                              // ended, and kept until the job that borrows it is done
};

struct BusStats {
  std::vector<MessageCount> messages;  // one for each type there is, also those never seen
  uint64_t bytes_sent = 0, bytes_received = 0;
  uint64_t reads_inline = 0, writes_inline = 0, accepts_inline = 0;
  uint64_t reads_offloaded = 0, writes_offloaded = 0, accepts_offloaded = 0;
  uint64_t links_closing = 0;
  uint64_t links_refused_by_limit = 0;
  uint64_t links_closed_over_buffer_limit = 0;  // total_cluster_links_exceeded_buffer_limit
  // Links closed and connections refused, by reason ("end-of-stream", "bad-checksum", …); those that occurred.
  std::vector<std::pair<std::string, uint64_t>> closes;
  uint64_t inbound = 0, outbound = 0, unproven = 0;  // connections now
  uint64_t persist_failures = 0;
  // Published messages that a peer did not get (no room, no link), and those of others that were not taken.
  uint64_t publishes_dropped = 0, publishes_refused = 0;
  uint64_t epoch_jumps_refused = 0, messages_refused = 0;  // by the engine
};

class Bus {
 public:
  // Loads or makes identity and configuration (a new identity is durable before this returns; a corrupt file is
  // refused: FailedPrecondition or DataLoss that names it and the way out, exit code 2), takes the lock on it, binds
  // the port (a busy port is named), starts the thread. Returns after the first topology was published.
  static absl::StatusOr<std::unique_ptr<Bus>> Start(const BusOptions& options, BusCallbacks callbacks);
  // What Start would refuse, in the same words, without side effects; but for what depends on the moment, a busy port
  // and a running node's lock, so that the configuration of a running node can be checked.
  static absl::Status Check(const BusOptions& options);

  // What this node is to begin as, by what it has persisted. A replica, or one that takes over, begins no reign of its
  // own before the bus says so. kPrimary if nothing readable is there (Start says why). Changes nothing.
  enum class Begins : uint8_t { kPrimary, kPrimaryWithReplicas, kReplica };
  static Begins BeginsAs(const BusOptions& options);

  virtual ~Bus() = default;

  // Any thread. `done` runs on the bus thread, once; with an error reply if the bus stops first. If the bus has stopped
  // or too many commands wait, it runs at once on the calling thread, with an error reply.
  virtual void Submit(OperatorCommand command, std::function<void(OperatorReply)> done) = 0;
  // Any thread: every shard has applied topology `version`.
  virtual void Fenced(uint64_t version) = 0;
  // Any thread: what BusCallbacks::promote asked for is done. Late ones are ignored.
  virtual void Promoted(uint64_t epoch) = 0;
  // Any thread: what BusCallbacks::freeze asked for is done.
  virtual void Frozen(std::vector<uint64_t> positions) = 0;
  // Any thread. CLOCK_MONOTONIC milliseconds until which writes are allowed.
  virtual int64_t writable_until_ms() const = 0;
  // Any thread; asynchronous, answered on the bus thread (if that has stopped: at once, empty).
  virtual void GetStats(std::function<void(BusStats)> done) = 0;
  // The last events, oldest first.
  virtual void GetEvents(std::function<void(std::vector<ClusterEvent>)> done) = 0;
  virtual void ResetEvents() = 0;
  virtual void GetLinks(std::function<void(std::vector<LinkInfo>)> done) = 0;
  // Any thread: to every member, or to those of this node's replica group. At most once: what does not fit into the
  // limits is dropped and counted. One thread's messages arrive in its order.
  virtual void Publish(std::vector<PublishedMessage> messages) = 0;
  // Any thread: bus-io-threads at run time, 0 to 64. Loses no message.
  virtual void SetIoThreads(uint32_t threads) = 0;
  // Any thread: for new links at once; links proven otherwise are made anew, one after the other, within
  // renew_within_ms. Reading the same files again (LoadTrust) is how renewed certificates come into use.
  virtual void SetSecrets(SecretsPtr secrets) = 0;
  virtual void SetTls(TlsContextPtr tls) = 0;
  // Any thread: cluster-link-sendbuf-limit, and protected-mode for connections from now on.
  virtual void SetLinkBufferLimit(uint64_t bytes) = 0;
  virtual void SetProtectedMode(bool on) = 0;
  // The port it listens on: bus_port, or the one that was picked if that is 0.
  virtual uint16_t bus_port() const = 0;
  // Sends what is queued where it can at once, closes links, persists, joins the thread. The result of the last
  // persist. Not from a callback.
  virtual absl::Status Stop() = 0;
};

}  // namespace skein::bus

#endif  // SKEIN_BUS_BUS_H_
