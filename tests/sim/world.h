// A cluster in one process under virtual time: the real engine of every node, a network that delays, loses, repeats,
// reorders and cuts, disks that fail, nodes that crash, freeze and come back. Everything random comes from one seed, so
// a seed repeats a run exactly.
#ifndef SKEIN_TESTS_SIM_WORLD_H_
#define SKEIN_TESTS_SIM_WORLD_H_

#include <bitset>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <set>
#include <string>
#include <vector>

#include "bus/engine/engine.h"
#include "bus/engine/ids.h"
#include "bus/engine/slots.h"

namespace skein::sim {

// Probabilities in 1/1000, times in milliseconds.
struct Faults {
  int loss = 0, duplicate = 0, reorder = 0;  // of messages
  int persist_fail = 0;
  int64_t delay_min = 1, delay_max = 3;
  int64_t persist_min = 1, persist_max = 5;
  int64_t fence_min = 0, fence_max = 3;
};

struct Reply {
  bool done = false;
  bus::OperatorReply reply;
};
using ReplyPtr = std::shared_ptr<Reply>;

class World {
 public:
  World(uint64_t seed, bus::EngineOptions options);
  ~World();

  // ---- Nodes
  int AddNode();  // starts it at once; its address is 10.0.x.y
  int size() const { return static_cast<int>(nodes_.size()); }
  bool up(int n) const;
  void Crash(int n);
  void Restart(int n, bool new_ip = false, bool lose_disk = false);
  void Freeze(int n);
  void Thaw(int n);
  void SetHealthy(int n, bool healthy);  // of the data plane
  const std::string& ip(int n) const;
  std::string id(int n) const;  // its own, "" before the first step
  bus::TopologyPtr topology(int n) const;
  const bus::EngineStats& stats(int n) const;
  int64_t writable_until(int n) const;
  ReplyPtr Command(int n, bus::OperatorCommand command);
  // Feeds one engine a message as if it came by a link of a stranger; returns the link.
  bus::LinkId Inject(int n, bus::MessagePtr message, bus::LinkId link = 0, const std::string& from_ip = "10.9.9.9");
  bus::EngineSizes sizes(int n) const;

  // ---- Network
  Faults faults;
  void Cut(int from, int to);  // one way
  void Heal();

  // ---- Time
  int64_t now() const { return now_; }
  int64_t node_timeout_ms() const { return options_.node_timeout_ms; }
  // Runs until then, or until a check has failed.
  void Run(int64_t ms);
  // Runs until `done` holds, looked at each 10 ms; false if `ms` pass before.
  bool RunUntil(int64_t ms, const std::function<bool()>& done);

  // ---- What should hold
  const std::string& failure() const { return failure_; }  // the first invariant broken, or ""
  // What keeps the nodes that are up from agreeing that all is well, or "".
  std::string Disagreement(bool need_ok = true) const;
  // NoteEffects since the last call, each with the number of its node; only the newest are kept.
  std::vector<std::pair<int, std::string>> TakeNotes();
  std::string Trace() const;               // the last events
  uint64_t hash() const { return hash_; }  // over everything that happened
  uint64_t steps() const { return steps_; }
  uint64_t bytes_sent(int n) const;
  uint64_t messages_sent() const { return messages_; }
  bus::Random& random() { return random_; }
  void Log(std::string line);

 private:
  struct SimNode;
  struct SimLink;
  struct Timer {
    int64_t at;
    uint64_t order;
    std::function<void()> run;
    bool operator>(const Timer& o) const { return at != o.at ? at > o.at : order > o.order; }
  };

  void At(int64_t at, std::function<void()> run);
  void Start(int n, bus::StatePtr state);
  void Tick(int n, uint64_t life);
  void Feed(int n, uint64_t life, bus::Event event);
  void Step(int n, const bus::Event& event);
  void Do(int n, bus::Effect& effect);
  void Dial(int n, const bus::DialEffect& dial);
  void Deliver(int n, const bus::SendEffect& send);
  void BreakLink(int n, bus::LinkId link);
  void CheckSend(int n, const bus::SendEffect& send);
  void CheckPublish(int n, const bus::Topology& topology);
  void CheckSizes(int n);
  void Broken(std::string what);
  int64_t Delay() { return Between(faults.delay_min, faults.delay_max); }
  int64_t Between(int64_t lo, int64_t hi) { return lo + static_cast<int64_t>(random_.Below(hi - lo + 1)); }
  bool Chance(int per_mille) { return per_mille > 0 && random_.Below(1000) < static_cast<uint64_t>(per_mille); }
  bool IsCut(int from, int to) const { return cuts_.contains({from, to}); }

  bus::EngineOptions options_;
  bus::Random random_;
  int64_t now_ = 1000;
  uint64_t order_ = 0, steps_ = 0, messages_ = 0, hash_ = 0;
  std::priority_queue<Timer, std::vector<Timer>, std::greater<>> timers_;
  std::vector<std::unique_ptr<SimNode>> nodes_;
  std::map<std::string, int> by_address_;  // ip -> node
  std::map<std::pair<int, bus::LinkId>, std::shared_ptr<SimLink>> links_;
  std::set<std::pair<int, int>> cuts_;
  int next_ip_ = 1;
  std::string failure_;
  std::deque<std::string> trace_;
  std::deque<std::pair<int, std::string>> notes_;
};

}  // namespace skein::sim

#endif  // SKEIN_TESTS_SIM_WORLD_H_
