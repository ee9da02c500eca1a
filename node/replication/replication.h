// Replication, as the rest of the node asks for it: whom this node follows, what it is when it follows nobody, and how
// far its replicas are.
//
// One flow a storage shard: a connection from the replica's loop that hosts the shard to the primary's loop that hosts
// it, so that both ends touch log and tables on the thread that owns them. See node/replication/README.md.
#ifndef SKEIN_NODE_REPLICATION_REPLICATION_H_
#define SKEIN_NODE_REPLICATION_REPLICATION_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "node/call.h"

namespace skein::node {

// Whom a replica follows.
struct Upstream {
  std::string host;  // a name or an address
  uint16_t port = 0;
  bool tls = false;
  std::string id;  // its node id (40 hex digits), in a cluster; else empty

  bool operator==(const Upstream&) const = default;
};

// What a replica knows of one of its flows. A state's name is what INFO shows.
enum class FlowState : uint8_t { kConnect, kConnecting, kHandshake, kSync, kConnected };

struct ReplicationInfo {
  // ---- As a replica
  std::optional<Upstream> upstream;  // none: it is a primary
  struct Flow {
    FlowState state = FlowState::kConnect;
    uint64_t received = 0;       // end of this shard's log here
    uint64_t upstream_end = 0;   // of the primary's, as last told; 0: not yet
    int64_t last_io_ms = -1;     // since the primary was last heard; -1: never
    int64_t down_since_ms = -1;  // for how long the link has been down; -1: it is up
    bool whole = false;          // the shard holds what some primary's log said, not a part of a snapshot
    std::string error;           // why it is not connected, for people
  };
  std::vector<Flow> flows;  // by shard
  // ---- As a primary (also of replicas of this replica)
  struct Replica {
    std::string id, ip;
    uint16_t port = 0;
    std::string state;                                // "wait_bgsave", "send_bulk", "online": the least of its flows'
    int64_t lag_ms = -1;                              // since the last acknowledgement of all its flows; -1: none yet
    uint64_t received = 0, durable = 0;               // sums over the shards
    std::vector<uint64_t> received_lsn, durable_lsn;  // by shard
    std::vector<std::string> states;                  // by shard
  };
  std::vector<Replica> replicas;
  uint64_t sync_full = 0, sync_partial_ok = 0, sync_partial_err = 0;
  uint64_t flows_unproven = 0;                // LOGSYNCs of those who did not prove that they know cluster-secret
  bool catching_up = false;                   // a primary that first asks its replicas for what its log may lack
  uint64_t lost_records = 0, lost_bytes = 0;  // set aside: what this node had and the primary it came back to had not
  std::string primary_id;                     // what the primary calls itself; empty: not known, or it is this node
  bool backlog_active = false;
  uint64_t backlog_bytes = 0;  // of all shards
  int64_t good_replicas = 0;   // that min-replicas-max-lag lets count
};

// A flow's connection, for CLIENT LIST.
struct FlowClient {
  uint64_t id = 0;  // one of the clients' ids
  std::string addr, laddr;
  int fd = -1;
  int64_t created_ms = 0, last_io_ms = 0;  // CLOCK_MONOTONIC
  bool to_replica = true;                  // else to this node's primary
  uint64_t output = 0;                     // bytes that wait for it
};

class Replication {
 public:
  virtual ~Replication() = default;

  // ---- Any thread; returns at once ----------------------------------------------------------------------------------
  // Follows this primary from now on, its data replacing what this node has and the primary lacks. The same again
  // changes nothing. None: it becomes a primary by itself, in a new reign, as by Promote with the next epoch.
  virtual void Follow(std::optional<Upstream> upstream) = 0;
  // Stops following and opens a reign of this epoch in every shard; `done` (any thread) once that is durable, where
  // there is a log on disk, and listed: from then on writes are taken. An error: some shard could not; it follows
  // nobody and takes no writes. Asked again with the same epoch it does not begin another reign.
  virtual void Promote(uint64_t epoch, std::function<void(const absl::Status&)> done) = 0;
  // No shard takes a write from now on, until `until_mono_ms` (CLOCK_MONOTONIC) or Unfreeze; writers wait. `done` (any
  // thread) with the ends of the logs by shard, once they can no longer move.
  virtual void Freeze(int64_t until_mono_ms, std::function<void(std::vector<uint64_t> positions)> done) = 0;
  virtual void Unfreeze() = 0;
  // For how long a replica has had nothing from its primary, the oldest of its flows; -1: some shard is not whole. 0
  // for a primary.
  virtual int64_t data_age_ms() const = 0;
  // An error, in words for a person, where some shard has been synchronized in part only.
  virtual absl::Status CheckWhole() const = 0;
  // Whether this node follows another, or has not yet opened its reigns since.
  virtual bool following() const = 0;
  // Whether it is a primary that first asks its replicas for what its log may lack; it is following() meanwhile.
  virtual bool catching_up() const = 0;
  virtual ReplicationInfo Info() const = 0;

  // ---- A loop's thread ----------------------------------------------------------------------------------------------
  // LOGSYNC: answers, and takes the session's connection away from it.
  virtual void BeginFlow(Call& call) = 0;
  // The flows of this loop, and an end of the one with this id: CLIENT LIST and KILL. A replica's end comes again.
  virtual std::vector<FlowClient> Flows(Loop& loop) const = 0;
  virtual void CloseFlow(Loop& loop, uint64_t id) = 0;
  // REPLICAOF with cluster-enabled no: writes the reply.
  virtual void ReplicaOf(Call& call) = 0;
};

}  // namespace skein::node

#endif  // SKEIN_NODE_REPLICATION_REPLICATION_H_
