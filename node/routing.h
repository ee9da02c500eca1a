// Where a command belongs, by a topology snapshot. Pure.
// Source: redis-server 7.2, cluster.c: getNodeByQuery, clusterRedirectClient.
#ifndef SKEIN_NODE_ROUTING_H_
#define SKEIN_NODE_ROUTING_H_

#include <array>
#include <cstdint>
#include <string_view>

#include "bus/topology.h"
#include "node/call.h"
#include "node/command.h"
#include "node/config/config.h"
#include "node/reply.h"

namespace skein::node {

// What a loop knows of each slot, in one byte.
enum class SlotState : uint8_t {
  kForeign = 0,  // another node's
  kOwned,        // ours
  kMigrating,    // ours, being given away
  kImporting,    // another node's, being taken over
  kReplica,      // our primary's: READONLY clients may read
  kNobody,       // not assigned
};

enum class Verdict : uint8_t {
  kServe,
  kMoved,
  kAsk,
  kTryAgain,
  kCrossSlot,
  kUnbound,       // CLUSTERDOWN Hash slot not served
  kDown,          // CLUSTERDOWN The cluster is down
  kDownReadOnly,  // CLUSTERDOWN The cluster is down and only accepts read commands
};

// A loop's view of the cluster: the snapshot, and what a command needs of it at hand. The loop's thread only.
class Routing {
 public:
  // Null: cluster-enabled no; every slot is served.
  void Apply(bus::TopologyPtr topology);

  const bus::Topology* topology() const { return topology_.get(); }
  const bus::TopologyPtr& topology_ptr() const { return topology_; }
  SlotState state(uint16_t slot) const { return states_[slot]; }
  // Nothing to think about: our slot, in a cluster that is well.
  bool Plain(uint16_t slot) const { return ok_ && states_[slot] == SlotState::kOwned; }
  bool is_primary() const { return primary_; }

  // `missing` and `existing` count the command's keys that are (not) here; asked of `presence` only where the answer
  // depends on it.
  struct Presence {
    uint32_t missing = 0, existing = 0;
  };
  template <typename Look>
  Verdict Decide(uint16_t slot, const CommandSpec& spec, const Caller& caller, bool multiple_keys,
                 bool allow_reads_when_down, Look&& presence) const {
    const SlotState s = states_[slot];
    if (s == SlotState::kNobody) return Verdict::kUnbound;
    if (!ok_) {
      if (!allow_reads_when_down) return Verdict::kDown;
      if (spec.flags & kFlagWrite) return Verdict::kDownReadOnly;
    }
    switch (s) {
      case SlotState::kOwned:
        return Verdict::kServe;
      case SlotState::kMigrating: {
        const Presence p = presence();
        if (p.missing == 0) return Verdict::kServe;
        return p.existing != 0 ? Verdict::kTryAgain : Verdict::kAsk;
      }
      case SlotState::kImporting:
        if (caller.asking || (spec.flags & kFlagAsking)) {
          return multiple_keys && presence().missing != 0 ? Verdict::kTryAgain : Verdict::kServe;
        }
        return Verdict::kMoved;
      case SlotState::kReplica:
        return caller.readonly && !(spec.flags & kFlagWrite) ? Verdict::kServe : Verdict::kMoved;
      case SlotState::kForeign:
      case SlotState::kNobody:
        break;
    }
    return Verdict::kMoved;
  }

  // The error reply of a verdict other than kServe. `tls`: the client came by TLS.
  void WriteRedirect(Verdict verdict, uint16_t slot, const Config& config, bool tls, ReplyWriter* reply) const;

 private:
  bus::TopologyPtr topology_;
  bool ok_ = true;
  bool primary_ = true;
  std::array<SlotState, bus::kSlots> states_ = MakeAll(SlotState::kOwned);

  static constexpr std::array<SlotState, bus::kSlots> MakeAll(SlotState s) {
    std::array<SlotState, bus::kSlots> all{};
    for (SlotState& one : all) one = s;
    return all;
  }
};

// The endpoint by which clients are told to reach a node (cluster-preferred-endpoint-type).
std::string_view PreferredEndpoint(const bus::TopologyNode& node, const Config& config);

}  // namespace skein::node

#endif  // SKEIN_NODE_ROUTING_H_
