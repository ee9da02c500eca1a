// What the engine keeps of elections, votes and failovers by hand.
#ifndef SKEIN_BUS_ENGINE_ELECTIONS_H_
#define SKEIN_BUS_ENGINE_ELECTIONS_H_

#include <cstdint>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "bus/engine/ids.h"
#include "bus/engine/slots.h"

namespace skein::bus {

struct CastVote {
  uint64_t epoch;
  NodeId candidate, primary;
  int64_t until_ms;               // the election may be won until then
  std::vector<SlotRange> claims;  // wanted; empty after a restart: not known
  bool agreed = false;            // the primary has to vote for it as well
};
// A request for a vote.
struct AskedVote {
  NodeId candidate, primary;
  uint64_t primary_version, epoch, offset;
  std::vector<SlotRange> claims;
  bool agreed, forced;
  uint32_t valid_ms;
  int64_t until_ms;
};
// Our own candidacy.
struct Election {
  enum Phase : uint8_t { kNone, kWaiting, kSaving, kVoting };
  Phase phase = kNone;
  NodeId primary;
  int64_t at_ms = 0;     // kWaiting: when to stand; kVoting: until when votes count
  int64_t asked_ms = 0;  // kVoting: since when
  uint64_t epoch = 0;
  uint64_t primary_version = 0;  // of the record that says who decides
  uint32_t rank = 0, attempts = 0;
  bool agreed = false, forced = false;
  SlotSet claims;
  std::vector<NodeId> granted, refused;
};

// A failover by hand that this replica has begun.
struct ByHand {
  NodeId primary;
  uint64_t token = 0;    // 0: without the primary's agreement
  int64_t until_ms = 0;  // 0: none
  bool frozen = false;   // the primary's writes, at `target`
  std::vector<uint64_t> target;
};
// The same, seen by the primary.
struct Freeze {
  NodeId replica;
  uint64_t token = 0;
  int64_t until_ms = 0;  // 0: none
  bool frozen = false;   // the data plane has done it
};
// An electorate of ours that others may still believe in.
struct PastElectorate {
  std::vector<NodeId> others;
  uint64_t until_version;  // of our record: who knows it does not
};
struct HandOver {
  uint64_t request = 0;  // 0: none
  int64_t until_ms = 0;
  NodeId to;
  bool settled = false;  // it needs our word no more
};

// To whom of a group this node has given its word, by a vote or by confirming a primary. For a node timeout it is given
// to no other that wants the same slots, unless that one gives way.
struct Grant {
  NodeId to;
  int64_t at_ms = 0;
  uint64_t epoch = 0;             // of the vote; 0: a primary was confirmed
  std::vector<SlotRange> claims;  // of the vote
};
using Grants = absl::InlinedVector<Grant, 1>;  // to one group

}  // namespace skein::bus

#endif  // SKEIN_BUS_ENGINE_ELECTIONS_H_
