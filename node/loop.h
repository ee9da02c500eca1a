// A loop: a thread with a uv_loop_t that serves client sessions and hosts storage shards. This is what commands may ask
// of the loop they run on; the implementation is in node/loop_impl.h.
#ifndef SKEIN_NODE_LOOP_H_
#define SKEIN_NODE_LOOP_H_

#include <cstdint>
#include <functional>

#include "bus/topology.h"
#include "node/config/config.h"
#include "node/diagnostics.h"
#include "node/node.h"
#include "node/pubsub/registry.h"
#include "node/session.h"

namespace skein::node {

class SlotStats;

// CLIENT PAUSE, per loop: set on all loops through their mailboxes.
struct PauseState {
  int64_t until_ms = 0;  // CLOCK_MONOTONIC; 0: not paused
  bool writes_only = false;
};

inline constexpr char kNoAppendOnly[] = "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";

// What WAIT and WAITAOF wait for.
struct WaitFor {
  bool aof = false;    // WAITAOF: durable copies; else received ones
  bool local = false;  // this node's own
  int64_t replicas = 0;
  int64_t timeout_ms = 0;  // 0: for ever
};

class Loop {
 public:
  virtual ~Loop() = default;
  virtual uint32_t index() const = 0;
  virtual const Config& config() const = 0;           // this loop's snapshot
  virtual const bus::Topology* topology() const = 0;  // this loop's snapshot; null with cluster-enabled no
  virtual int64_t now_mono_ms() const = 0;            // cached at the start of the batch
  virtual int64_t now_unix_ms() const = 0;
  virtual LoopStats& stats() = 0;
  virtual PauseState& pause() = 0;
  virtual SlowLog& slowlog() = 0;
  // Null unless cluster-slot-stats-enabled.
  virtual const SlotStats* slot_stats() const = 0;
  virtual double NanosOf(uint64_t cycles) const = 0;
  // Of every command that this loop's clients have sent, in no order. Commands handed to another loop count here, where
  // their client is.
  virtual void ForEachCommandStats(const std::function<void(const CommandStats&)>& fn) = 0;
  virtual const ErrorStats& error_stats() const = 0;
  // All sessions of this loop. `fn` may mark sessions for closing, not destroy them.
  virtual void ForEachSession(const std::function<void(Session&)>& fn) = 0;
  virtual Session* FindSession(uint64_t client_id) = 0;
  // Whether this node takes writes itself, by this loop's snapshot of the topology.
  virtual bool is_primary() const = 0;
  // Answers the running command (kSession), now or once what the session has written is where `what` says, or its time
  // is over: how many have it. The session's later commands wait behind it.
  virtual void Wait(Call& call, const WaitFor& what) = 0;
  // Ends the wait of one of this loop's sessions, as its time-out would, or with the error of CLIENT UNBLOCK. False if
  // it has no such session that waits.
  virtual bool Unblock(uint64_t client_id, bool with_error) = 0;
  // Publish and subscribe. Each name is confirmed to the session, behind the reply of its running command, as Redis
  // does; without names, all of the kind are taken back. UnsubscribeAll says nothing.
  virtual void Subscribe(Session& session, SubscriptionKind kind, Args names) = 0;
  virtual void Unsubscribe(Session& session, SubscriptionKind kind, Args names) = 0;
  virtual void UnsubscribeAll(Session& session) = 0;
  // Whether shard channels of the slot are this node's to serve; else writes the redirection.
  virtual bool ServesChannels(uint16_t slot, const Caller& caller, ReplyWriter* reply) const = 0;
  // Answers the running command (argv: name, channel, message), now or once other loops have counted.
  virtual void Publish(Call& call, bool sharded) = 0;
  virtual const Registry& subscriptions() const = 0;
  // Messages of other nodes that this loop had no room for. Any thread.
  virtual uint64_t published_dropped() const = 0;
  // All shards of this loop.
  virtual void ForEachShard(const std::function<void(storage::Shard&)>& fn) = 0;
};

}  // namespace skein::node

#endif  // SKEIN_NODE_LOOP_H_
