// The cluster engine: membership, failure detection, slot ownership, epochs. A pure state machine.
//
// `Step(event, now)` takes one event and returns what the outside must do. No socket, no clock, no thread, no disk, no
// randomness but the seed it was given: the same events give the same effects, which is what the simulator stands on.
//
// Rules between engine and driver (the bus thread, or the simulator):
//  * Effects are carried out in order. A promise (an epoch, a vote, a slot claim) is sent only after the engine has
//  seen
//    Persisted for the Persist effect that covers it; the engine itself holds such sends back.
//  * Links: the driver names inbound links, the engine those it dials (see LinkId). A message that answers another goes
//    back on the link it came by. After LinkDown, or after a Close effect, the id is never used again.
//  * Tick comes at least every 100 ms of `now`.
#ifndef SKEIN_BUS_ENGINE_ENGINE_H_
#define SKEIN_BUS_ENGINE_ENGINE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "bus/command.h"
#include "bus/event_kind.h"
#include "bus/topology.h"

namespace skein::proto {
class BusMessage;
class NodeState;
}  // namespace skein::proto

namespace skein::bus {

class RecordPool;

// Engine-dialled links are odd, inbound links even; each side counts up and never reuses an id.
using LinkId = uint64_t;

// `mono_ms` orders and measures (CLOCK_MONOTONIC); `unix_ms` is only shown to people and compared with nothing.
struct Now {
  int64_t mono_ms;
  int64_t unix_ms;
};

struct EngineOptions {
  uint64_t seed = 0;
  std::string ip;        // cluster-announce-ip, or empty: learnt from the first MEET
  std::string hostname;  // cluster-announce-hostname
  std::string name;      // cluster-announce-human-nodename
  EndpointPreference preferred_endpoint = EndpointPreference::kIp;
  uint16_t port = 6379;  // announced client port, 0 if only TLS
  uint16_t tls_port = 0;
  uint16_t bus_port = 16379;
  int64_t node_timeout_ms = 15000;
  bool require_full_coverage = true;
  bool bootstrap = false;  // an empty state gives this node all slots
  bool no_failover = false;
  // cluster-replica-validity-factor: a replica whose data is older than this many node timeouts does not stand for
  // election; 0: it always does. cluster-migration-barrier: how many good replicas a primary keeps before one of them
  // moves to an orphaned primary. cluster-allow-replica-migration.
  uint32_t replica_validity_factor = 10;
  uint32_t migration_barrier = 1;
  bool allow_replica_migration = true;
  // cluster-seeds: where members may be found when no known address answers; resolved again and again.
  std::vector<Seed> seeds;
  // Up to so many members, or voters, everything is looked at in each step; of more, what a step has not changed waits
  // for a tick, and what is sent to all says less. Tests lower it, so that both ways are tried.
  size_t small_cluster = 64;
  // Of engines that share a process and a thread, so that they hold equal records of members together; null: no others.
  std::shared_ptr<RecordPool> records;
  // Whether the driver leaves out ticks before calm_until_ms(): then those do not count as late.
  bool leaves_out_ticks = false;
  uint64_t max_epoch_jump = 1u << 20;  // an epoch from the wire further ahead than this is refused and counted
};

using MessagePtr = std::shared_ptr<const proto::BusMessage>;
using StatePtr = std::shared_ptr<const proto::NodeState>;

// ---- Events --------------------------------------------------------------------------------------------------------
struct MessageEvent {
  LinkId link;
  MessagePtr message;     // decoded, size-checked; contents are not trusted
  std::string remote_ip;  // the address the link comes from or goes to
};
struct TickEvent {};
struct LinkUpEvent {
  LinkId link;
};  // a dialled link is connected
struct LinkDownEvent {
  LinkId link;
};  // of either direction; dialled ones also if connecting failed
struct OperatorEvent {
  uint64_t request;
  OperatorCommand command;
};
struct PersistedEvent {
  uint64_t id;
};
struct PersistFailedEvent {
  uint64_t id;
  std::string why;
};
// The data plane has applied topology `version` in every shard: slots lost in it are closed there, positions final.
struct FencedEvent {
  uint64_t version;
};
// Positions of this node's shards (end LSN each), and whether all loops and log writers make progress.
struct DataPlaneEvent {
  std::vector<uint64_t> positions;
  bool healthy;
  // Of a replica: for how long it has had nothing from its primary; -1: it never had, or its full synchronisation is
  // not done, so that it must not stand for election. 0 for a primary.
  int64_t data_age_ms = 0;
  // The answer to FreezeWrites: writes are frozen and `positions` no longer move.
  bool frozen = false;
};
// The data plane has carried out Promote(epoch): every shard has opened its reign and can take writes.
struct PromotedEvent {
  uint64_t epoch;
};
// The addresses that a name has at this moment, numeric; none if it could not be resolved.
struct ResolvedEvent {
  uint64_t id;
  std::vector<std::string> ips;
};

using Event = std::variant<MessageEvent, TickEvent, LinkUpEvent, LinkDownEvent, OperatorEvent, PersistedEvent,
                           PersistFailedEvent, FencedEvent, DataPlaneEvent, PromotedEvent, ResolvedEvent>;

// ---- Effects -------------------------------------------------------------------------------------------------------
struct SendEffect {
  LinkId link;
  MessagePtr message;
};
struct DialEffect {
  LinkId link;
  std::string ip;
  uint16_t bus_port;
};
struct CloseEffect {
  LinkId link;
  const char* reason;
};  // reason: a static, countable name
// Write this state durably (aside, fsync, rename, fsync folder), then feed Persisted(id). Only the newest matters: a
// driver may skip states that a later one replaces, and answers for the skipped ids when the later one is durable.
struct PersistEffect {
  uint64_t id;
  StatePtr state;
};
struct PublishEffect {
  TopologyPtr topology;
};
struct ReplyEffect {
  uint64_t request;
  OperatorReply reply;
};
// Until when (mono_ms) shards of this node may accept writes; INT64_MAX: no limit (alone, or not a voter).
struct WritableUntilEffect {
  int64_t mono_ms;
};
// A line for the log and for CLUSTER EVENTS, with the reason.
struct NoteEffect {
  EventKind kind;
  std::string text;
};

// This node has won the election of `epoch` (or took over by command), and that is durable: stop replicating, open a
// new reign of that epoch in every shard, then feed Promoted(epoch). Slots are published as its own only after that.
struct PromoteEffect {
  uint64_t epoch;
};
// Failover by hand: no shard may accept writes until `until_mono_ms` (or until a topology without the slots, or Freeze
// with 0 lifts it); then feed DataPlane with the positions, which no longer move.
struct FreezeWritesEffect {
  int64_t until_mono_ms;
};
// Resolve a host name in the background, then feed Resolved(id). At most a few are under way at a time.
struct ResolveEffect {
  uint64_t id;
  std::string host;
};

using Effect = std::variant<SendEffect, DialEffect, CloseEffect, PersistEffect, PublishEffect, ReplyEffect,
                            WritableUntilEffect, NoteEffect, PromoteEffect, FreezeWritesEffect, ResolveEffect>;
using Effects = std::vector<Effect>;

inline constexpr size_t kVoteRefusals = 12;

struct EngineStats {
  uint64_t epoch_jumps_refused = 0;
  uint64_t messages_refused = 0;  // malformed, or out of place
  uint64_t messages_from_strangers = 0;
  uint64_t records_refused = 0;
  uint64_t late_events = 0;  // for links that are gone
  uint64_t elections_started = 0, elections_won = 0;
  uint64_t votes_given = 0;
  uint64_t votes_refused[kVoteRefusals] = {};  // by proto::VoteRefusal; 0: by nobody
  uint64_t votes_ignored = 0;                  // answers that are late, doubled or not of a voter
};

// How much the engine holds, for tests and metrics: every number has a limit (bus/engine/limits.h).
struct EngineSizes {
  size_t nodes = 0, handshakes = 0, inbound = 0, outbound = 0, forgotten = 0, gone_links = 0;
  size_t reports = 0, overrides = 0, waiting = 0, news = 0, votes = 0, lookups = 0, strangers = 0;
};

class Engine {
 public:
  // `state`: what was persisted last, null for a new node. A new node makes its identity here and emits Persist in its
  // first Step; it sends nothing before that is durable.
  static std::unique_ptr<Engine> Create(const EngineOptions& options, StatePtr state);
  virtual ~Engine() = default;

  // Appends to `effects`. Work is bounded by the number of nodes and the size of the message.
  virtual void Step(const Event& event, Now now, Effects* effects) = 0;

  // The newest snapshot (what the last PublishEffect held, or the first). Never null after the first Step.
  virtual TopologyPtr topology() const = 0;
  // Ticks before this time would do nothing that cannot wait for it, unless another event comes first, after which it is
  // to be asked again; 0: every tick is wanted, as always without EngineOptions::leaves_out_ticks. For drivers of very
  // many engines.
  virtual int64_t calm_until_ms() const { return 0; }
  virtual const EngineStats& stats() const = 0;
  // Walks the members; not for the hot path.
  virtual EngineSizes sizes() const { return {}; }
};

}  // namespace skein::bus

#endif  // SKEIN_BUS_ENGINE_ENGINE_H_
