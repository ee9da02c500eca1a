// Lives that are all elections.
#include <algorithm>

#include "bus/engine/ids.h"
#include "tests/sim/schedule.h"

namespace skein::sim {
namespace {

class Storm {
 public:
  explicit Storm(uint64_t seed) : random_(bus::Mix(seed + 2)) {
    plan_.seed = seed;
    plan_.made = true;
    plan_.primaries = 1 + static_cast<int>(Below(4));
    plan_.replicas = plan_.primaries == 1 ? 2 : 1 + static_cast<int>(Below(2));
    plan_.options.node_timeout_ms = timeout_ = Below(8) == 0 ? 1000 : 500;
    plan_.options.require_full_coverage = Below(2) == 0;
    plan_.options.small_cluster = seed % 3 == 0 ? 1 : 64;
  }

  Plan Make() {
    Levels();
    for (uint64_t rounds = 2 + Below(4); rounds > 0; --rounds) {
      Gambit();
      if (Below(8) != 0) Add(What::kMend);
      at_ += Timeouts(100, 600);
    }
    if (plan_.primaries > 2) {
      Add(What::kMend);
      at_ += Timeouts(300, 600);
      Below(2) == 0 ? ByAgreementWithoutOneVoter() : ByAgreementTwice();
    }
    std::stable_sort(plan_.entries.begin(), plan_.entries.end(),
                     [](const Entry& a, const Entry& b) { return a.at < b.at; });
    plan_.end = std::max(at_, plan_.entries.back().at);
    return std::move(plan_);
  }

 private:
  uint64_t Below(uint64_t n) { return random_.Below(n); }
  // Between so many hundredths of the node timeout.
  int64_t Timeouts(int64_t lo, int64_t hi) {
    return timeout_ * (lo + static_cast<int64_t>(Below(static_cast<uint64_t>(hi - lo)))) / 100;
  }
  void Add(What what, Whom whom = Whom::kNode, int64_t after = 0) {
    plan_.entries.push_back({at_ + after, what, static_cast<int>(Below(12)), 0, random_.Next() % 1000000, whom});
  }
  void Level(What what, uint64_t level) { plan_.entries.push_back({0, what, 0, 0, level}); }

  void Levels() {
    static constexpr uint64_t kDelays[] = {0, 0, 20, 60, 120, 250}, kDisks[] = {0, 0, 60, 300},
                              kPlanes[] = {0, 0, 50, 1000}, kLosses[] = {0, 0, 0, 10, 100};
    struct {
      What what;
      uint64_t level;
    } levels[] = {{What::kDelay, kDelays[Below(6)]},
                  {What::kSlowDisk, kDisks[Below(4)]},
                  {What::kSlowPlane, kPlanes[Below(4)]},
                  {What::kLoss, kLosses[Below(5)]},
                  {What::kReorder, Below(8) == 0 ? 100u : 0u},
                  {What::kDuplicate, Below(8) == 0 ? 100u : 0u},
                  {What::kPersistFail, Below(8) == 0 ? 100u : 0u},
                  {What::kWrites, Below(2) == 0 ? 100u : 0u}};
    for (auto [what, level] : levels) {
      if (level > 0) Level(what, level);
    }
    for (int n = 0; n < plan_.nodes(); ++n) {  // fast and slow clocks
      if (Below(4) == 0) plan_.entries.push_back({0, What::kSkew, n, 0, Below(2) == 0 ? 20000u : 0u});
    }
    at_ = 100;
  }

  void Gambit() {
    const bool late = Below(2) == 0;
    const int64_t elected = late ? Timeouts(100, 200) : Timeouts(50, 500);
    switch (Below(10)) {
      case 0:
        Add(What::kIsolate, Whom::kPrimary);
        break;
      case 1:
        Add(What::kFreeze, Whom::kPrimary);
        Add(What::kThaw, Whom::kVictim, elected);
        break;
      case 2:
        Add(What::kStall, Whom::kPrimary);
        Add(What::kUnstall, Whom::kVictim, elected);
        break;
      case 3:
        Add(What::kCrash, Whom::kPrimary);
        if (Below(2) == 0) Add(What::kRestart, Whom::kOther, Timeouts(100, 200));
        Add(What::kRestart, Whom::kVictim, elected);
        break;
      case 4: {  // only some can talk to it, and not all the time
        Add(What::kIsolate, Whom::kPrimary);
        for (int i = 0; i < 4; ++i) {
          at_ += Timeouts(30, 150);
          if (Below(2) == 0) Add(What::kHeal);
          for (uint64_t cuts = 1 + Below(3); cuts > 0; --cuts) {
            Add(What::kCutOff, Below(3) == 0 ? Whom::kReplica : Whom::kOther);
          }
        }
        break;
      }
      case 5:  // a voter that has just voted is left alone with the one it has voted against
      case 6: {
        Add(What::kIsolate, Whom::kPrimary);
        at_ += Timeouts(105, 190);
        Add(What::kHeal);
        Add(What::kSplitOff, Whom::kOther);
        int number = plan_.entries.back().a;
        Add(What::kRestart, Whom::kOther);
        plan_.entries.back().a = number;
        break;
      }
      case 7:
      case 8: {                            // by agreement, and something comes between
        Add(What::kHeal, Whom::kPrimary);  // chooses the victim
        Add(What::kFailover, Whom::kReplica, 1);
        static constexpr What kBetween[] = {What::kIsolate, What::kFreeze, What::kStall, What::kCrash, What::kSplitOff};
        if (Below(3) != 0) {
          What what = kBetween[Below(5)];
          Add(what, what == What::kSplitOff ? Whom::kOther : Whom::kVictim, 1 + static_cast<int64_t>(Below(300)));
        }
        break;
      }
      default:
        if (Below(2) == 0) Add(What::kMoveSlot, Whom::kPrimary);
        Add(What::kSplit, Whom::kNode, static_cast<int64_t>(Below(100)));
    }
    at_ += elected;
  }

  // What comes between an agreed failover and the moment when it is done.
  int64_t Between() { return 1 + static_cast<int64_t>(Below(Below(2) == 0 ? 300 : 1500)); }
  void AddNumber(What what, Whom whom, int64_t after, int number, uint64_t x) {
    plan_.entries.push_back({at_ + after, what, number, 0, x, whom});
  }

  // A group is gone, so the successor needs its predecessor's place.
  void ByAgreementWithoutOneVoter() {
    Add(What::kHeal, Whom::kPrimary);
    Add(What::kCrashGroup, Whom::kOther);
    at_ += Timeouts(120, 250);
    Add(What::kFailover, Whom::kReplica);
    if (Below(4) != 0) {
      static constexpr What kBetween[] = {What::kIsolate, What::kFreeze, What::kStall, What::kCrash, What::kRestart};
      const int64_t after = Between();
      if (Below(2) == 0) {
        Add(kBetween[Below(5)], Whom::kVictim, after);
      } else {
        AddNumber(What::kSplitTold, Whom::kOther, after, static_cast<int>(Below(2)), Below(2));
        if (Below(2) == 0) Add(What::kRestart, Whom::kVictim, after);
      }
      // The group that was gone is back, and has heard of nothing.
      if (Below(2) == 0)
        AddNumber(What::kRestart, Whom::kNode, after + Timeouts(10, 200), static_cast<int>(Below(4)), 0);
    }
    at_ += Timeouts(100, 500);
  }

  // Two in turn, each seen by some only: the predecessor's place may count for one of them.
  void ByAgreementTwice() {
    const int other = static_cast<int>(Below(2));
    Add(What::kHeal, Whom::kPrimary);
    if (Below(2) == 0) plan_.entries.push_back({at_, What::kSlowDisk, 0, 0, 300});  // much is said before it is written
    AddNumber(What::kFailover, Whom::kReplica, 1, 0, 0);
    AddNumber(What::kSplitTold, Whom::kOther, 2, other, 1);
    if (Below(3) == 0) {
      at_ += Between();
    } else {  // the moment when it may write
      at_ += 3;
      AddNumber(What::kAwaitTold, Whom::kNode, 0, 0, 2000);
    }
    AddNumber(What::kHeal, Whom::kNode, 0, 0, 0);
    AddNumber(What::kSplitTold, Whom::kOther, 0, other, 0);
    if (Below(4) != 0) Add(What::kRestart, Whom::kVictim);
    at_ += 2000 + Timeouts(20, 500);
    AddNumber(What::kFailover, Whom::kReplica, 0, 1, 0);
    if (Below(4) == 0) {
      Add(What::kHeal, Whom::kNode, Between());
      AddNumber(What::kSplitTold, Whom::kOther, Between(), other, Below(2));
    }
    at_ += Timeouts(100, 500);
  }

  Plan plan_;
  bus::Random random_;
  int64_t timeout_, at_ = 0;
};

}  // namespace

Plan MakeStorm(uint64_t seed) { return Storm(seed).Make(); }

}  // namespace skein::sim
