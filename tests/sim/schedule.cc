#include "tests/sim/schedule.h"

#include <algorithm>
#include <array>

#include "bus/engine/ids.h"

namespace skein::sim {
namespace {

constexpr std::array kNames = {"loss",
                               "duplicate",
                               "reorder",
                               "delay",
                               "delay-tail",
                               "persist-fail",
                               "slow-disk",
                               "slow-plane",
                               "writes",
                               "crash",
                               "restart",
                               "move",
                               "wipe",
                               "move-all",
                               "freeze",
                               "thaw",
                               "stall",
                               "unstall",
                               "skew",
                               "unix-jump",
                               "cut",
                               "isolate",
                               "split",
                               "split3",
                               "heal",
                               "cut-off",
                               "split-off",
                               "split-told",
                               "crash-group",
                               "await-told",
                               "mend",
                               "move-slot",
                               "bumpepoch",
                               "set-config-epoch",
                               "failover",
                               "failover-force",
                               "failover-takeover",
                               "replicate",
                               "forget",
                               "meet",
                               "reset-soft",
                               "reset-hard",
                               "addslots"};
static_assert(kNames.size() == static_cast<size_t>(What::kAddSlots) + 1);

// How often each happens, in lives where it may.
struct Weight {
  What what;
  int weight;
};
constexpr Weight kFaults[] = {{What::kCrash, 10},   {What::kRestart, 14}, {What::kMove, 3},     {What::kFreeze, 5},
                              {What::kThaw, 5},     {What::kStall, 3},    {What::kUnstall, 4},  {What::kCut, 4},
                              {What::kIsolate, 5},  {What::kSplit, 5},    {What::kSplit3, 1},   {What::kHeal, 8},
                              {What::kSkew, 1},     {What::kUnixJump, 1}, {What::kMoveAll, 1},  {What::kWipe, 1},
                              {What::kLoss, 1},     {What::kDelay, 1},    {What::kSlowDisk, 1}, {What::kPersistFail, 1},
                              {What::kSlowPlane, 1}};
constexpr Weight kMild[] = {{What::kMoveSlot, 6}, {What::kFailover, 10}, {What::kReplicate, 3}, {What::kMeet, 2}};
constexpr Weight kHarsh[] = {{What::kBumpEpoch, 4}, {What::kSetConfigEpoch, 1}, {What::kFailoverForce, 4},
                             {What::kTakeover, 3},  {What::kForget, 2},         {What::kResetSoft, 1},
                             {What::kResetHard, 1}, {What::kAddSlots, 2}};

template <size_t N>
What Pick(const Weight (&weights)[N], bus::Random* random) {
  uint64_t sum = 0;
  for (const Weight& w : weights) sum += static_cast<uint64_t>(w.weight);
  uint64_t at = random->Below(sum);
  for (const Weight& w : weights) {
    if (at < static_cast<uint64_t>(w.weight)) return w.what;
    at -= static_cast<uint64_t>(w.weight);
  }
  return weights[0].what;
}

// Levels in 1/1000 or ms; most lives have none of most.
uint64_t Level(What what, bus::Random* random) {
  static constexpr uint64_t kPerMille[] = {0, 0, 0, 10, 100};
  switch (what) {
    case What::kDelay:
      return 1 + random->Below(random->Below(4) == 0 ? 300 : 50);
    case What::kDelayTail:
      return random->Below(3) == 0 ? 5 : 0;
    case What::kSlowDisk:
      return 5 + random->Below(random->Below(8) == 0 ? 3000 : 200);
    case What::kSlowPlane:
      return random->Below(random->Below(4) == 0 ? 1000 : 20);
    case What::kWrites:
      return 100;
    default:
      return kPerMille[random->Below(5)];
  }
}

void AddLevels(Plan* plan, bus::Random* random) {
  for (What what : {What::kLoss, What::kDuplicate, What::kReorder, What::kDelay, What::kDelayTail, What::kPersistFail,
                    What::kSlowDisk, What::kSlowPlane, What::kWrites}) {
    if (uint64_t level = Level(what, random); level > 0) plan->entries.push_back({0, what, 0, 0, level});
  }
}

}  // namespace

const char* Name(What what) { return kNames[static_cast<size_t>(what)]; }

std::string Show(const Entry& e) {
  static constexpr const char* kWhom[] = {"n", "primary ", "victim ", "replica ", "other "};
  std::string line = "+" + std::to_string(e.at) + " " + Name(e.what);
  if (e.what >= What::kCrash && e.what != What::kSplit && e.what != What::kSplit3 && e.what != What::kHeal &&
      e.what != What::kMoveAll && e.what != What::kMend) {
    line += std::string(" ") + kWhom[static_cast<size_t>(e.whom)] + std::to_string(e.a);
  }
  if (e.what == What::kCut || e.what == What::kMoveSlot || e.what == What::kReplicate || e.what == What::kForget ||
      e.what == What::kMeet) {
    line += " n" + std::to_string(e.b);
  }
  return line + " (" + std::to_string(e.x) + ")";
}

std::string Show(const Plan& plan) {
  std::string all = std::to_string(plan.primaries) + " primaries with " + std::to_string(plan.replicas) +
                    " replicas each, " + std::to_string(plan.spare) + " spare nodes, node timeout " +
                    std::to_string(plan.options.node_timeout_ms) + " ms" +
                    (plan.options.require_full_coverage ? "" : ", no full coverage required") + "\n";
  for (const Entry& e : plan.entries) all += Show(e) + "\n";
  return all;
}

Plan MakePlan(uint64_t seed, int nodes) {
  if (seed >= kStorms) return MakeStorm(seed);
  static constexpr int64_t kTimeouts[] = {500, 500, 500, 1000, 1000, 2000, 5000, 15000};
  Plan plan;
  bus::Random random(bus::Mix(seed + 1));
  plan.seed = seed;
  plan.options.node_timeout_ms = kTimeouts[seed % 8];
  plan.options.require_full_coverage = seed % 3 != 0;
  plan.options.seeds = seed % 2 == 0 ? std::vector<bus::Seed>{{"skein", 17000}} : std::vector<bus::Seed>{};
  plan.options.small_cluster = seed % 5 == 0 ? 1 : 64;
  plan.with_epochs = random.Below(2) == 0;
  plan.primaries = 1 + static_cast<int>(random.Below(5));
  plan.replicas = random.Below(6) == 0 ? 0 : 1 + static_cast<int>(random.Below(plan.primaries < 3 ? 3 : 2));
  if (nodes > 0) {
    plan.replicas = std::min(plan.replicas, nodes / std::max(1, plan.primaries) - 1);
    plan.replicas = std::max(plan.replicas, 0);
    plan.primaries = std::max(1, nodes / (1 + plan.replicas));
    plan.spare = nodes - plan.primaries * (1 + plan.replicas);
  } else {
    plan.spare = plan.nodes() < 2 ? 2 : static_cast<int>(random.Below(4) == 0);
  }
  AddLevels(&plan, &random);
  int n = plan.nodes(), actions = 5 + static_cast<int>(random.Below(30));
  bool mild = random.Below(3) != 0, harsh = random.Below(3) == 0;
  // In lives of short timeouts much happens in a second; in some lives trouble comes at leisure.
  int64_t pause = random.Below(4) == 0 ? 1000 : std::max<int64_t>(1000, plan.options.node_timeout_ms * 3);
  int64_t at = 0;
  for (int i = 0; i < actions; ++i) {
    uint64_t kind = random.Below(10);
    What what = harsh && kind == 0  ? Pick(kHarsh, &random)
                : mild && kind <= 2 ? Pick(kMild, &random)
                                    : Pick(kFaults, &random);
    // Those that begin as primaries get the most of it.
    uint64_t among = static_cast<uint64_t>(random.Below(2) == 0 ? n : plan.primaries);
    Entry e{at, what, static_cast<int>(random.Below(among)), static_cast<int>(random.Below(static_cast<uint64_t>(n))),
            random.Next() % 1000000};
    if (what < What::kCrash) e.x = Level(what, &random);
    plan.entries.push_back(e);
    at += static_cast<int64_t>(random.Below(static_cast<uint64_t>(pause)));
  }
  plan.end = at;
  return plan;
}

}  // namespace skein::sim
