// What befalls a cluster: faults and operators, each at its time. A schedule is generated from a seed and can be
// thinned out: a run with some of its entries left out is as reproducible as one with all.
#ifndef SKEIN_TESTS_SIM_SCHEDULE_H_
#define SKEIN_TESTS_SIM_SCHEDULE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "bus/engine/engine.h"

namespace skein::sim {

enum class What : uint8_t {
  // Levels, until changed: x is the level.
  kLoss,
  kDuplicate,
  kReorder,
  kDelay,
  kDelayTail,
  kPersistFail,
  kSlowDisk,
  kSlowPlane,
  kWrites,
  // Nodes.
  kCrash,
  kRestart,
  kMove,  // restart with another address
  kWipe,  // and without its disk
  kMoveAll,
  kFreeze,
  kThaw,
  kStall,
  kUnstall,
  kSkew,
  kUnixJump,
  // Network.
  kCut,      // one way
  kIsolate,  // a from all, both ways
  kSplit,    // into two groups: x has a bit a node
  kSplit3,   // into three: two bits a node
  kHeal,
  kCutOff,      // the victim and a: x % 3 says which way, or both
  kSplitOff,    // the victim and a from the rest
  kSplitTold,   // whom an operator last told to fail over, and a, from the rest; if x is odd, with the victim
  kCrashGroup,  // a and those that follow it
  kAwaitTold,   // until whom an operator last told to fail over may write, for x ms at most
  kMend,        // all is up, thawed, healthy and connected again
  // Operators.
  kMoveSlot,
  kBumpEpoch,
  kSetConfigEpoch,
  kFailover,
  kFailoverForce,
  kTakeover,
  kReplicate,
  kForget,
  kMeet,
  kResetSoft,
  kResetHard,
  kAddSlots,
};
const char* Name(What what);

// Whom the `a` of an entry means.
enum class Whom : uint8_t {
  kNode,     // the node of that number
  kPrimary,  // one of those that own slots by then; it is the victim from then on
  kVictim,
  kReplica,  // one of the victim's
  kOther,    // an owner that is not the victim
};

struct Entry {
  int64_t at;  // ms after the cluster has formed
  What what;
  int a = 0, b = 0;
  uint64_t x = 0;
  Whom whom = Whom::kNode;
};
std::string Show(const Entry& entry);

// One life: the cluster and what befalls it.
struct Plan {
  uint64_t seed = 0;
  int primaries = 3, replicas = 1, spare = 0;  // replicas of each primary; spare: without slots or primary
  bool with_epochs = true;
  bool made = false;           // it begins as a whole cluster, and is not put together first
  bus::EngineOptions options;  // with a low small_cluster at times, so that the ways of large clusters are tried
  std::vector<Entry> entries;  // by time
  int64_t end = 0;             // of the trouble

  int nodes() const { return primaries * (1 + replicas) + spare; }
};

// Seeds from here on are storms: short lives of small clusters in which all that happens is aimed at primaries, their
// replicas and voters, at the moments that matter to elections.
inline constexpr uint64_t kStorms = 1000000000;
Plan MakeStorm(uint64_t seed);

// `nodes` 0: 2 to 10, by the seed.
Plan MakePlan(uint64_t seed, int nodes = 0);
std::string Show(const Plan& plan);

}  // namespace skein::sim

#endif  // SKEIN_TESTS_SIM_SCHEDULE_H_
