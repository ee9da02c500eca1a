#include "tests/sim/scenario.h"

#include <algorithm>
#include <set>

namespace skein::sim {
namespace {

using bus::kSlots;

class Life {
 public:
  Life(const Plan& plan, Plant plant) : plan_(plan), world_(plan.seed, plan.options), n_(plan.nodes()) {
    world_.plant = plant;
  }

  Outcome Run() {
    Outcome out;
    if (plan_.made) {
      world_.AddCluster(plan_.primaries, plan_.primaries * plan_.replicas);
      if (!world_.RunUntil(5000, [&] { return world_.Disagreement().empty(); })) out.formed_ms = -1;
      world_.Run(plan_.options.node_timeout_ms);
    } else {
      out.formed_ms = Form(&world_, n_, plan_.primaries, 5000, plan_.with_epochs, plan_.replicas);
    }
    if (world_.failure().empty() && out.formed_ms < 0) Fail("not formed in 5 s: " + world_.Disagreement());
    Trouble();
    if (world_.failure().empty() && failure_.empty()) out.healed_ms = HealAll();
    std::string failure = world_.failure().empty() ? failure_ : world_.failure();
    if (!failure.empty()) {
      out.failure = "seed " + std::to_string(plan_.seed) + ", " + std::to_string(n_) + " nodes, at " +
                    std::to_string(world_.now()) + " ms: " + failure;
      out.trace = world_.Trace();
    }
    out.hash = world_.hash();
    out.steps = world_.steps();
    out.virtual_ms = world_.now();
    out.data = world_.data();
    return out;
  }

 private:
  // Steps of an operator that come after others.
  struct FollowUp {
    int64_t at;
    int node;
    bus::OperatorCommand command;
  };

  void Fail(std::string what) {
    if (failure_.empty()) failure_ = std::move(what);
  }

  void Trouble() {
    int64_t start = world_.now();
    for (const Entry& entry : plan_.entries) {
      RunTo(start + entry.at);
      if (!world_.failure().empty()) return;
      world_.Log(Show(entry));
      Act(entry);
    }
    RunTo(start + plan_.end);
  }

  void RunTo(int64_t at) {
    while (!later_.empty() && world_.failure().empty()) {
      auto next = std::min_element(later_.begin(), later_.end(),
                                   [](const FollowUp& x, const FollowUp& y) { return x.at < y.at; });
      if (next->at > at) break;
      FollowUp f = std::move(*next);
      later_.erase(next);
      world_.Run(std::max<int64_t>(0, f.at - world_.now()));
      world_.Command(f.node, std::move(f.command));
    }
    world_.Run(std::max<int64_t>(0, at - world_.now()));
  }

  void Level(const Entry& e) {
    Faults& f = world_.faults;
    int level = static_cast<int>(e.x);
    switch (e.what) {
      case What::kLoss:
        f.loss = level;
        break;
      case What::kDuplicate:
        f.duplicate = level;
        break;
      case What::kReorder:
        f.reorder = level;
        break;
      case What::kDelay:
        f.delay_max = std::max(1, level);
        break;
      case What::kDelayTail:
        f.delay_tail = level;
        break;
      case What::kPersistFail:
        f.persist_fail = level;
        break;
      case What::kSlowDisk:
        f.persist_max = std::max(5, level);
        break;
      case What::kSlowPlane:
        f.fence_max = f.promote_max = std::max(10, level);
        f.resolve_fail = f.resolve_stale = 200;
        break;
      default:
        world_.write_rate = level;
    }
  }

  // The node that `a` of an entry means, or -1 if there is none such now.
  int Resolve(const Entry& e) {
    if (e.whom == Whom::kNode) return e.a;
    if (e.whom == Whom::kVictim) return victim_;
    std::vector<int> nodes;
    for (int i = 0; i < n_; ++i) {
      bool owner = world_.Owns(i) && (e.whom == Whom::kPrimary || i != victim_);
      bool replica = victim_ >= 0 && world_.up(i) && world_.Follows(i, victim_);
      if (e.whom == Whom::kReplica ? replica : owner) nodes.push_back(i);
    }
    if (nodes.empty()) return -1;
    int node = nodes[static_cast<size_t>(e.a) % nodes.size()];
    if (e.whom == Whom::kPrimary) victim_ = node;
    return node;
  }

  void Mend() {
    world_.Heal();
    for (int i = 0; i < n_; ++i) {
      if (!world_.up(i)) world_.Restart(i);
      world_.Thaw(i);
      world_.SetHealthy(i, true);
    }
  }

  void Act(const Entry& entry) {
    Entry e = entry;
    e.a = Resolve(entry);
    if (e.a < 0) return;
    int a = e.a, b = e.b;
    switch (e.what) {
      case What::kCrash:
        return world_.Crash(a);
      case What::kRestart:
        return world_.Restart(a);
      case What::kMove:
        return world_.Restart(a, true);
      case What::kWipe:
        return world_.Restart(a, e.x % 2 == 0, true);
      case What::kMoveAll:
        for (int i = 0; i < n_; ++i) world_.Crash(i);
        for (int i = 0; i < n_; ++i) world_.Restart(i, plan_.options.seeds.empty() ? i > 0 : true);
        return;
      case What::kFreeze:
        return world_.Freeze(a);
      case What::kThaw:
        return world_.Thaw(a);
      case What::kStall:
        return world_.SetHealthy(a, false);
      case What::kUnstall:
        return world_.SetHealthy(a, true);
      case What::kSkew:  // up to 1 %; an offset alone must not matter, and does not go back on a running node
        if (world_.up(a)) world_.Crash(a);
        world_.SetClock(a, static_cast<int64_t>(e.x) * 10, static_cast<int64_t>(e.x % 20001) - 10000);
        return world_.Restart(a);
      case What::kUnixJump:
        return world_.JumpUnix(a, static_cast<int64_t>(e.x) * 1000 - 500000000);
      case What::kCut:
        if (a != b) world_.Cut(a, b);
        return;
      case What::kIsolate:
        return Split([&](int i) { return i == a; });
      case What::kSplit:
        return Split([&](int i) { return e.x >> i & 1; });
      case What::kSplit3:
        return Split([&](int i) { return (e.x >> (2 * i) & 3) % 3; });
      case What::kHeal:
        return world_.Heal();
      case What::kCutOff:
        if (victim_ < 0 || a == victim_) return;
        if (e.x % 3 != 1) world_.Cut(a, victim_);
        if (e.x % 3 != 0) world_.Cut(victim_, a);
        return;
      case What::kSplitOff:
        return Split([&](int i) { return i == a || i == victim_; });
      case What::kSplitTold:
        return Split([&](int i) { return i == a || i == told_ || (e.x % 2 == 1 && i == victim_); });
      case What::kAwaitTold:
        world_.RunUntil(static_cast<int64_t>(e.x), [&] { return told_ >= 0 && world_.Accepts(told_); });
        return;
      case What::kCrashGroup:
        for (int i = 0; i < n_; ++i) {
          if (i != a && world_.up(i) && world_.Follows(i, a)) world_.Crash(i);
        }
        return world_.Crash(a);
      case What::kMend:
        return Mend();
      default:
        if (e.what <= What::kWrites) return Level(e);
        return Operate(e);
    }
  }

  template <typename Side>
  void Split(Side side) {
    for (int x = 0; x < n_; ++x) {
      for (int y = 0; y < n_; ++y) {
        if (side(x) != side(y)) world_.Cut(x, y);
      }
    }
  }

  void Operate(const Entry& e) {
    int a = e.a, b = e.b;
    if (!world_.up(a) || world_.topology(a) == nullptr) return;
    switch (e.what) {
      case What::kMoveSlot:
        return MoveSlot(static_cast<uint16_t>(e.x % kSlots), a);
      case What::kBumpEpoch:
        world_.Command(a, bus::BumpEpochCommand{});
        return;
      case What::kSetConfigEpoch:
        world_.Command(a, bus::SetConfigEpochCommand{e.x % 100});
        return;
      case What::kFailover:
        told_ = a;
        world_.Command(a, bus::FailoverCommand{bus::FailoverKind::kAgreed});
        return;
      case What::kFailoverForce:
        world_.Command(a, bus::FailoverCommand{bus::FailoverKind::kForce});
        return;
      case What::kTakeover:
        world_.Command(a, bus::FailoverCommand{bus::FailoverKind::kTakeover});
        return;
      case What::kReplicate:
        if (a != b && !world_.id(b).empty()) world_.Command(a, bus::ReplicateCommand{world_.id(b), false});
        return;
      case What::kForget:  // said to all, as it should be
        for (int i = 0; i < n_; ++i) {
          if (i != b && world_.up(i) && !world_.id(b).empty()) world_.Command(i, bus::ForgetCommand{world_.id(b)});
        }
        return;
      case What::kMeet:
        world_.Command(a, bus::MeetCommand{world_.ip(b), 7000, 17000});
        return;
      case What::kResetSoft:
      case What::kResetHard:
        world_.Command(a, bus::ResetCommand{e.what == What::kResetHard, false});
        return;
      default: {
        uint16_t slot = static_cast<uint16_t>(e.x % kSlots);
        world_.Command(a, bus::AddSlotsCommand{{{slot, slot}}});
      }
    }
  }

  // As redis-cli moves an empty slot, from whoever `b` thinks has it.
  void MoveSlot(uint16_t slot, int b) {
    bus::TopologyPtr t = world_.topology(b);
    if (t->owner[slot] == bus::kNobody || t->owner[slot] == 0 || !t->me().primary) return;
    std::string from = t->nodes[t->owner[slot]].id(), to = world_.id(b);
    int a = world_.Find(from);
    if (a < 0) return;
    world_.Command(b, bus::SetSlotCommand{slot, bus::SetSlotKind::kImporting, from, 0});
    world_.Command(a, bus::SetSlotCommand{slot, bus::SetSlotKind::kMigrating, to, 0});
    later_.push_back({world_.now() + 50, b, bus::SetSlotCommand{slot, bus::SetSlotKind::kNode, to, 0}});
    later_.push_back({world_.now() + 250, a, bus::SetSlotCommand{slot, bus::SetSlotKind::kNode, to, 0}});
  }

  // After healing: one view within 35 s (an operator's word on a slot may stand against the records for 30) and four
  // timeouts; then, with slots and lost members given back by an operator, all is ok within 5 s and two timeouts.
  int64_t HealAll() {
    world_.faults = Faults();
    Mend();
    int64_t start = world_.now(), t = world_.node_timeout_ms();
    RunTo(start + 1000);
    world_.RunUntil(35000 + 4 * t, [&] { return world_.Disagreement(false).empty(); });
    if (!world_.Disagreement(false).empty()) Repair();
    world_.Run(1000);
    AdoptOrphans();
    bool well = world_.RunUntil(5000 + 2 * t, [&] { return world_.Disagreement().empty(); });
    if (!well && world_.failure().empty()) Fail("not healed: " + world_.Disagreement());
    return world_.now() - start;
  }

  // What an operator does about members that are gone for ever, and nodes that know nobody.
  void Repair() {
    std::set<std::string> alive;
    for (int i = 0; i < n_; ++i) alive.insert(world_.id(i));
    for (int i = 0; i < n_; ++i) {
      bus::TopologyPtr t = world_.topology(i);
      const bus::TopologyNode& me = t->me();
      bool orphan =
          !me.primary && (me.primary_index == bus::kNobody || !alive.contains(t->nodes[me.primary_index].id()));
      if (orphan) world_.Command(i, bus::ResetCommand{false, false});
    }
    for (int i = 0; i < n_; ++i) {
      bus::TopologyPtr t = world_.topology(i);
      for (const bus::TopologyNode& member : t->nodes) {
        if (!member.handshake && !alive.contains(member.id())) world_.Command(i, bus::ForgetCommand{member.id()});
      }
      if (i > 0) world_.Command(i, bus::MeetCommand{world_.ip(0), 7000, 17000});
    }
    // Those who were told to forget a node do so for a minute.
    world_.RunUntil(65000 + world_.node_timeout_ms(), [&] { return world_.Disagreement(false).empty(); });
  }

  void AdoptOrphans() {
    for (int i = 0; i < n_; ++i) {
      bus::TopologyPtr t = world_.topology(i);
      if (!t->me().primary) continue;
      std::vector<bus::SlotRange> orphans;
      for (uint32_t s = 0; s < kSlots; ++s) {
        uint16_t slot = static_cast<uint16_t>(s);
        if (t->owner[s] != bus::kNobody) continue;
        if (!orphans.empty() && orphans.back().last + 1u == s) {
          orphans.back().last = slot;
        } else {
          orphans.push_back({slot, slot});
        }
      }
      if (!orphans.empty()) world_.Command(i, bus::AddSlotsCommand{orphans});
      return;
    }
  }

  const Plan& plan_;
  World world_;
  int n_;
  int victim_ = -1, told_ = -1;
  std::vector<FollowUp> later_;
  std::string failure_;
};

}  // namespace

int64_t Form(World* world, int n, int primaries, int64_t limit_ms, bool with_epochs, int replicas) {
  while (world->size() < n) world->AddNode();
  world->Run(200);
  for (int i = 0; i < primaries; ++i) {
    uint16_t first = static_cast<uint16_t>(kSlots * i / primaries);
    uint16_t last = static_cast<uint16_t>(kSlots * (i + 1) / primaries - 1);
    world->Command(i, bus::AddSlotsCommand{{{first, last}}});
    if (with_epochs) world->Command(i, bus::SetConfigEpochCommand{static_cast<uint64_t>(i) + 1});
  }
  world->Run(100);
  int64_t start = world->now();
  for (int i = 1; i < n; ++i) world->Command(i, bus::MeetCommand{world->ip(0), 7000, 17000});
  // Looking at all of a large cluster takes longer than its life between two looks.
  auto agree = [&] { return (n <= 100 || world->now() % 100 == 0) && world->Disagreement().empty(); };
  if (!world->RunUntil(limit_ms, agree)) return -1;
  int64_t formed = world->now() - start;
  if (replicas > 0) {
    for (int i = 0; i < replicas * primaries; ++i) {
      world->Command(primaries + i, bus::ReplicateCommand{world->id(i % primaries), false});
    }
    world->Run(100);
    if (!world->RunUntil(limit_ms, agree)) return -1;
  }
  return formed;
}

Outcome RunPlan(const Plan& plan, Plant plant) { return Life(plan, plant).Run(); }
Outcome RunScenario(uint64_t seed, int nodes) { return RunPlan(MakePlan(seed, nodes)); }

Plan Shrink(const Plan& plan, int runs, Plant plant) {
  Plan best = plan;
  for (size_t part = std::max<size_t>(1, plan.entries.size() / 2); runs > 0;) {
    bool smaller = false;
    for (size_t from = 0; from < best.entries.size() && runs > 0;) {
      Plan less = best;
      auto begin = less.entries.begin() + static_cast<std::ptrdiff_t>(from);
      less.entries.erase(begin, begin + static_cast<std::ptrdiff_t>(std::min(part, less.entries.size() - from)));
      --runs;
      if (RunPlan(less, plant).failure.empty()) {
        from += part;
      } else {
        best = std::move(less);
        smaller = true;
      }
    }
    if (part == 1 && !smaller) break;
    part = std::max<size_t>(1, part / 2);
  }
  return best;
}

}  // namespace skein::sim
