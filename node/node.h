// The process: its loops, shards, bus and configuration, and what commands may ask of them.
#ifndef SKEIN_NODE_NODE_H_
#define SKEIN_NODE_NODE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "bus/bus.h"
#include "bus/topology.h"
#include "node/call.h"
#include "node/config/config.h"
#include "storage/data_set.h"

namespace skein::node {

class Replication;  // node/replication/replication.h

// A reply that is owed. Move-only: the duty moves with it. Complete from any thread, once; `write` runs on the
// session's loop, unless the session has gone. Destroyed without Complete, it answers "ERR the command was abandoned".
class DeferredReply {
 public:
  DeferredReply();
  DeferredReply(DeferredReply&&) noexcept;
  DeferredReply& operator=(DeferredReply&&) noexcept;
  ~DeferredReply();
  void Complete(std::function<void(ReplyWriter&)> write);

 private:
  friend class NodeImpl;
  struct State;
  explicit DeferredReply(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Counters of one loop, kept by it alone and gathered for INFO.
struct LoopStats {
  uint64_t commands = 0, connections = 0, rejected = 0, net_in = 0, net_out = 0, keyspace_hits = 0, keyspace_misses = 0,
           errors = 0, query_buffer_limit_closes = 0, output_limit_closes = 0, handed_over = 0, timeouts = 0,
           tls_handshakes = 0, tls_handshake_failures = 0, tls_handshake_timeouts = 0;
  uint64_t clients = 0, blocked = 0, output_bytes = 0, query_bytes = 0;
};

// SHUTDOWN's words.
struct ShutdownRequest {
  enum class Save : uint8_t { kIfConfigured, kYes, kNo };
  Save save = Save::kIfConfigured;  // the RDB file; kIfConfigured: if there are save points
  bool now = false, force = false;
  // One of both is called once, on any thread, if RequestShutdown returned OK: the data has been saved as asked and the
  // clients are about to be closed; or it could not be, and the node goes on. May be null.
  std::function<void()> accepted, refused;
};

class Node {
 public:
  virtual ~Node() = default;

  // ---- Any thread ---------------------------------------------------------------------------------------------------
  virtual uint32_t loop_count() const = 0;
  virtual uint32_t shard_count() const = 0;
  virtual bus::Bus* bus() const = 0;                            // null with cluster-enabled no
  virtual Replication* replication() const { return nullptr; }  // null in tests of commands alone
  virtual storage::DataSet& data() const = 0;
  virtual int64_t start_time_ms() const = 0;       // Unix
  virtual const std::string& run_id() const = 0;   // 40 hex digits
  virtual uint64_t connected_clients() const = 0;  // the exact count of admission tokens (L01)
  // Begins the clean stop (SHUTDOWN, SIGTERM). Refused (FailedPrecondition) if the log cannot be written and !force.
  virtual absl::Status RequestShutdown(ShutdownRequest request) = 0;
  // Sets directives all or none: the reply is an error text as Redis gives it, or OK. Asynchronous: `done` on the
  // calling session's loop.
  virtual absl::Status SetConfig(const std::vector<std::pair<std::string, std::string>>& pairs) = 0;
  // The same where appendonly is among them and changes: the log is switched first, `done` comes when that has begun
  // (on) or ended (off), on any thread.
  virtual void SwitchLog(const std::vector<std::pair<std::string, std::string>>& pairs,
                         std::function<void(const absl::Status&)> done) {
    done(SetConfig(pairs));
  }
  // After CLUSTER RESET of a replica: a primary of its own, without a key, as Redis does. `done` on any thread.
  virtual void BecomeEmptyPrimary(std::function<void(const absl::Status&)> done) { done(absl::OkStatus()); }
  virtual ConfigPtr config() const = 0;           // newest; loops use their own snapshot
  virtual bus::TopologyPtr topology() const = 0;  // newest; loops use their own snapshot
  virtual void ResetStats() = 0;

  // ---- A session's loop
  // ----------------------------------------------------------------------------------------------- Makes the running
  // command (kSession) answer later; nothing may be written to its reply now. Later replies of the session wait for it.
  virtual DeferredReply Defer(Call& call) = 0;
  // `part` on every loop (on that loop's thread), then `whole` on the caller's loop with the parts in loop order.
  virtual void GatherLoops(Call& call, std::function<std::string(Loop&)> part,
                           std::function<void(ReplyWriter&, const std::vector<std::string>&)> whole) = 0;
  // `part` on every shard (on its loop's thread), then `done` on the calling loop with the parts in shard order. Writes
  // no reply by itself: pair it with Defer when more has to happen before the answer.
  virtual void CollectShards(Loop& from, std::function<std::string(storage::Shard&)> part,
                             std::function<void(std::vector<std::string>)> done) = 0;
  // The same for shards.
  virtual void GatherShards(Call& call, std::function<std::string(storage::Shard&)> part,
                            std::function<void(ReplyWriter&, const std::vector<std::string>&)> whole) = 0;
};

}  // namespace skein::node

#endif  // SKEIN_NODE_NODE_H_
