// A cluster in one process under virtual time: the real engine of every node, a network that delays, loses, repeats,
// reorders and cuts, clocks that differ, disks and data planes that are slow or fail, nodes that crash, freeze and come
// back. Everything random comes from one seed, so a seed repeats a run exactly.
#ifndef SKEIN_TESTS_SIM_WORLD_H_
#define SKEIN_TESTS_SIM_WORLD_H_

#include <array>
#include <bitset>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "bus/engine/engine.h"
#include "bus/engine/ids.h"
#include "bus/engine/slots.h"
#include "tests/sim/wheel.h"

namespace skein::sim {

// Probabilities in 1/1000, times in milliseconds.
struct Faults {
  int loss = 0, duplicate = 0, reorder = 0;  // of messages
  int persist_fail = 0;
  int64_t delay_min = 1, delay_max = 3;
  int delay_tail = 0;  // of messages that take up to 20 times delay_max
  int64_t persist_min = 1, persist_max = 5;
  int64_t fence_min = 0, fence_max = 3;  // of the data plane: topologies, freezes
  int64_t promote_min = 1, promote_max = 10;
  int64_t sync_ms = 100;  // a full synchronisation of a replica
  int resolve_fail = 0, resolve_stale = 0;
  int64_t resolve_max = 50;
};

// Ways in which a driver or an engine could be wrong: the simulator plays them to show that it would see them.
enum class Plant : uint8_t {
  kNone,
  kNoLease,          // the data plane writes however old its permission is
  kNoFence,          // "fenced" is said before the data plane has let go of anything
  kEarlyPersisted,   // "persisted" is said before anything is on disk
  kForgottenVotes,   // a restart does not find the votes that were given
  kForgottenClaims,  // a restart finds the state before the newest
  kGrantAll,         // every refused vote arrives as granted
  kForced,           // voters believe that an operator wants every election
  kNoPromotion,      // the data plane opens slots before it has opened its reign, and never says so
  kFalsePromotion,   // "promoted" is said before the data plane has opened its reign
  kStaleRecords,     // a node is told now and then the state of a while ago under a new version
  kLateFreeze,       // writes go on while a failover by hand believes them frozen
  kSlowClock,        // a third slower than the others: more than the lease allows for
  kConfirmed,        // voters never withhold their confirmation of a primary
  kLast = kConfirmed,
};
const char* Name(Plant plant);

struct Reply {
  bool done = false;
  bus::OperatorReply reply;
};
using ReplyPtr = std::shared_ptr<Reply>;

// What happened to the data in the whole run.
struct DataStats {
  uint64_t written = 0;     // acknowledged by a primary
  uint64_t lost = 0;        // of these, on no promoted replica
  uint64_t promotions = 0;  // won or taken over
  uint64_t full_syncs = 0;
};

// Of a message, by the number of its body in bus.proto.
std::string TypeName(size_t body);

class World {
 public:
  World(uint64_t seed, bus::EngineOptions options);
  ~World();

  // ---- Nodes
  int AddNode();  // starts it at once; its address is 10.0.x.y
  // Starts a whole cluster from the state that it would have on disk: first `primaries` that share the slots, then as
  // many replicas, each of the next primary in turn.
  void AddCluster(int primaries, int replicas);
  int size() const { return static_cast<int>(nodes_.size()); }
  bool up(int n) const;
  void Crash(int n);
  void Restart(int n, bool new_ip = false, bool lose_disk = false);
  void Freeze(int n);
  void Thaw(int n);
  void SetHealthy(int n, bool healthy);  // of the data plane: a stalled one neither writes nor applies anything
  // Its clock: `rate_ppm` faster than true time. Of a node that is not up: a clock that runs does not jump.
  void SetClock(int n, int64_t offset_ms, int64_t rate_ppm);
  void JumpUnix(int n, int64_t ms);
  const std::string& ip(int n) const;
  std::string id(int n) const;            // its own, "" before the first step
  int Find(const std::string& id) const;  // the node that has this id now, or -1
  bus::TopologyPtr topology(int n) const;
  const bus::EngineStats& stats(int n) const;
  int64_t writable_until(int n) const;  // by its clock
  int64_t clock(int n) const;
  ReplyPtr Command(int n, bus::OperatorCommand command);
  // Feeds one engine a message as if it came by a link of a stranger; returns the link.
  bus::LinkId Inject(int n, bus::MessagePtr message, bus::LinkId link = 0, const std::string& from_ip = "10.9.9.9");
  bus::EngineSizes sizes(int n) const;

  // ---- The data plane
  int write_rate = 0;         // of each primary that may write: positions a second
  bool Accepts(int n) const;  // a client's write to some slot, at this moment
  const DataStats& data() const { return data_; }
  uint64_t position(int n) const;
  bool Owns(int n) const;  // any slot, by its data plane
  bool Follows(int n, int primary) const;

  // ---- Network
  Faults faults;
  Plant plant = Plant::kNone;  // before the first node
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
  // Called for every note, with its node.
  std::function<void(int, const bus::NoteEffect&)> on_note;
  // NoteEffects since the last call, each with the number of its node; only the newest are kept.
  std::vector<std::pair<int, std::string>> TakeNotes();
  bool quiet = false;                      // no trace
  std::string Trace() const;               // the last events
  uint64_t hash() const { return hash_; }  // over everything that happened
  uint64_t steps() const { return steps_; }
  uint64_t bytes_sent(int n) const;
  uint64_t messages_sent() const { return messages_; }
  // Messages and bytes by the number of their body in bus.proto.
  struct Sent {
    uint64_t messages = 0, bytes = 0;
  };
  const std::array<Sent, 64>& sent_by_type() const { return sent_; }
  bus::Random& random() { return random_; }
  void Log(std::string line);

 private:
  struct SimNode;
  struct SimLink;
  struct Happening {
    enum Kind : uint8_t { kTick, kMessage, kLinkDown, kApply, kCall } kind;
    uint8_t side = 0;  // of the link: who sent
    int32_t node = 0;
    uint32_t life = 0;
    uint32_t link = 0, generation = 0;
    uint64_t number = 0;  // a LinkId, a version, a place in calls_
    std::shared_ptr<const void> data;
  };

  // world.cc
  void Happen(Happening& h);
  void At(int64_t at, std::function<void()> run);
  void Start(int n, bus::StatePtr state);
  void Tick(int n, uint32_t life);
  void NextTick(int n, int64_t at);
  int64_t CalmUntil(int n) const;
  void Feed(int n, uint32_t life, const bus::Event& event);
  void Step(int n, const bus::Event& event);
  void Do(int n, bus::Effect& effect);
  void Persist(int n, const bus::PersistEffect& persist);
  void SetDisk(SimNode* node, bus::StatePtr state);
  void Broken(std::string what);
  int64_t Delay();
  int64_t Between(int64_t lo, int64_t hi) { return lo + static_cast<int64_t>(random_.Below(hi - lo + 1)); }
  bool Chance(int per_mille) { return per_mille > 0 && random_.Below(1000) < static_cast<uint64_t>(per_mille); }

  // network.cc
  bool IsCut(int from, int to) const {
    return !cuts_.empty() && cuts_.contains(static_cast<uint64_t>(from) << 32 | static_cast<uint32_t>(to));
  }
  uint32_t* Place(int n, bus::LinkId link);  // of the number of a link in its node's table
  void Dial(int n, const bus::DialEffect& dial);
  void Dialled(uint32_t link, uint32_t generation, const std::string& ip, uint16_t port);
  void Deliver(int n, const bus::SendEffect& send);
  void Arrive(Happening& h);
  void BreakLink(int n, bus::LinkId link);
  void BreakLinks(int n);
  void FreeLink(uint32_t link);
  void Resolve(int n, const bus::ResolveEffect& resolve);

  // plane.cc
  void PlaneTick(int n);
  void PlaneStops(int n);
  void Follow(int n);
  void Publish(int n, bus::TopologyPtr topology);
  void Apply(int n, const bus::Topology& topology);
  void Promote(int n, uint64_t epoch);
  void Opened(int n, uint64_t epoch);
  void FreezeWrites(int n, int64_t until);
  void FeedPlane(int n);
  void Later(int n, int64_t ms, std::function<void()> run);  // in its data plane; waits while that is stalled
  void CheckAccepts(int n);

  // checks.cc
  void CheckVotes(int n, const bus::SendEffect& send);
  void CheckElected(int n, uint64_t epoch);
  bus::MessagePtr Tampered(bus::MessagePtr message);
  void CheckSend(int n, const bus::SendEffect& send);
  void CheckPublish(int n, const bus::Topology& topology);
  void CheckSizes(int n);
  std::string Stray(int n, const bus::Topology& topology) const;
  void Excuse(int n, uint64_t request, const bus::OperatorCommand& command);

  bus::EngineOptions options_;
  std::shared_ptr<bus::RecordPool> records_;
  bus::Random random_;
  int64_t now_ = 1000;
  uint64_t steps_ = 0, messages_ = 0, hash_ = 0;
  std::array<Sent, 64> sent_{};
  Wheel<Happening> wheel_{1000};
  std::vector<std::function<void()>> calls_;
  std::vector<uint64_t> free_calls_;
  bus::Effects effects_;
  std::vector<std::unique_ptr<SimNode>> nodes_;
  std::unordered_map<std::string, int> by_address_;  // ip -> node
  std::unordered_map<std::string, int> by_id_;
  std::vector<SimLink> links_;  // [0] is nobody's
  std::vector<uint32_t> free_links_;
  std::unordered_set<uint64_t> cuts_;
  std::vector<std::string> stale_ips_;
  int next_ip_ = 1;
  int64_t last_meet_ = -1;

  DataStats data_;
  uint64_t next_reign_ = 1;
  std::unordered_map<uint64_t, uint64_t> reign_end_;  // the furthest that was acknowledged in a reign
  struct Elected {
    int node;
    bus::SlotSet slots;
  };
  std::unordered_multimap<uint64_t, Elected> elected_;             // by epoch
  std::map<std::pair<std::string, uint64_t>, std::string> votes_;  // voter, epoch -> candidate
  bus::SlotSet excused_;  // slots that operators gave to several nodes, or took by force

  std::string failure_;
  std::deque<std::string> trace_;
  std::deque<std::pair<int, std::string>> notes_;
};

}  // namespace skein::sim

#endif  // SKEIN_TESTS_SIM_WORLD_H_
