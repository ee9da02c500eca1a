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

struct Entry {
  int64_t at;  // ms after the cluster has formed
  What what;
  int a = 0, b = 0;
  uint64_t x = 0;
};
std::string Show(const Entry& entry);

// One life: the cluster and what befalls it.
struct Plan {
  uint64_t seed = 0;
  int primaries = 3, replicas = 1, spare = 0;  // replicas of each primary; spare: without slots or primary
  bool with_epochs = true;
  bus::EngineOptions options;
  std::vector<Entry> entries;  // by time
  int64_t end = 0;             // of the trouble

  int nodes() const { return primaries * (1 + replicas) + spare; }
};

// `nodes` 0: 2 to 10, by the seed.
Plan MakePlan(uint64_t seed, int nodes = 0);
std::string Show(const Plan& plan);

}  // namespace skein::sim

#endif  // SKEIN_TESTS_SIM_SCHEDULE_H_
