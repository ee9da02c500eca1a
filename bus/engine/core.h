// The engine's insides. One object, its methods spread over files by concern:
//   engine.cc     Create, Step, what happens at the end of each step
//   links.cc      dialling, Hello and Welcome, MEET, the own address
//   heartbeat.cc  ticks, pings, pongs, views, the lease on writing
//   failure.cc    suspicion, reports, quorum, return
//   gossip.cc     records: taking, relaying, comparing
//   ownership.cc  slots: who owns them, gaining and giving up, epochs
//   persist.cc    the own record and the state on disk, and replies that wait for it
//   operator.cc   CLUSTER subcommands
//   election.cc   replicas: whom they follow, votes, promotion, failover by hand
//   seeds.cc      names under which members may be found
//   publish.cc    topology snapshots, cluster_state
//
// How a change of this node becomes true: `own_` is what we want to say of ourselves; it is persisted; once durable its
// bytes become the self node's record, and only that is ever sent or counted. Slots we claim are open here when they
// are in both the durable record and `own_claims_` and not in `closing_`. Giving one up goes the other way: it is put
// into `closing_`, a topology without it is published, the data plane answers Fenced, and then `own_` drops it.
#ifndef SKEIN_BUS_ENGINE_CORE_H_
#define SKEIN_BUS_ENGINE_CORE_H_

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "bus/engine/engine.h"
#include "bus/engine/gone.h"
#include "bus/engine/ids.h"
#include "bus/engine/limits.h"
#include "bus/engine/node.h"
#include "bus/engine/slots.h"
#include "bus/engine/table.h"
#include "proto/bus.pb.h"
#include "proto/node_state.pb.h"

namespace skein::bus {

class EngineCore final : public Engine {
 public:
  EngineCore(const EngineOptions& options, StatePtr state);

  void Step(const Event& event, Now now, Effects* effects) override;
  TopologyPtr topology() const override { return topology_; }
  const EngineStats& stats() const override { return stats_; }
  EngineSizes sizes() const override;

 private:
  // An address that an operator or a stranger gave, until the node behind it has proven itself.
  struct Handshake {
    NodeId shown_id;  // for CLUSTER NODES until the real one is known
    NodeId id;        // as the stranger said; empty if an operator gave only the address
    std::string ip;
    uint16_t port = 0, bus_port = 0;
    int64_t until_ms = 0;
    bool meet = false;  // by an operator here
    OutLink out;
  };
  // Whom an outbound link serves.
  struct Outbound {
    Node* node = nullptr;
    Handshake* handshake = nullptr;
  };
  // Requests answered together when something is done.
  struct Waiting {
    uint64_t request;
    std::string text;
  };
  struct PendingPersist {
    uint64_t id;
    std::shared_ptr<const proto::NodeRecord> own;
    std::vector<Waiting> waiting;
  };
  struct Closing {
    SlotSet slots;
    uint64_t version = 0;  // of the topology that closes them; 0: not yet published
    std::vector<Waiting> waiting;
  };
  // An operator's word on who owns a slot, until records say so or time passes.
  struct Override {
    NodeId target;  // empty: nobody
    uint64_t epoch;
    int64_t until_ms;
  };

  int64_t now() const { return now_.mono_ms; }
  int64_t timeout() const { return options_.node_timeout_ms; }
  void Note(EventKind kind, std::string text) { out_->push_back(NoteEffect{kind, std::move(text)}); }
  static std::string Name(const Node& node);

  // engine.cc
  void Begin();
  void Finish();
  void OnMessage(const MessageEvent& event);
  void Refuse(LinkId link, const char* why);  // counts; closes the link if `why` says so

  // links.cc
  void Send(LinkId link, std::shared_ptr<proto::BusMessage> message);
  void SendTo(const Node& node, std::shared_ptr<proto::BusMessage> message);
  void Close(LinkId link, const char* reason);
  void Dial(OutLink* out, Outbound whom, const std::string& ip, uint16_t bus_port);
  void Greet(OutLink* out, const NodeId& expected, bool meet);
  void OnLinkUp(LinkId link);
  void OnLinkDown(LinkId link);
  void LostOut(OutLink* out);
  void OnHello(const MessageEvent& event, const proto::Hello& hello);
  void OnWelcome(const MessageEvent& event, const proto::Welcome& welcome);
  void WelcomeFromHandshake(Handshake* handshake, const NodeId& id, const proto::Welcome& welcome);
  void WelcomeFromNode(Node* node, const NodeId& id, const proto::Welcome& welcome);
  void Bound(Node* node);
  bool StartHandshake(const std::string& ip, uint16_t port, uint16_t bus_port, const NodeId& id, bool meet);
  void DropHandshake(Handshake* handshake, const char* reason);
  void TendHandshakes();
  void TendLink(Node* node);
  void LearnOwnIp(const std::string& ip, const char* how);
  void Observe(Node* from, const std::string& ip);
  Node* Sender(LinkId link) const;
  void DropNode(Node* node, const char* reason);

  // heartbeat.cc
  void OnTick();
  void TendNode(Node* node);
  void Ping(Node* node, bool with_view);
  void PingRound();
  void LeaseRound();
  void FillView(proto::View* view);
  void OnPing(Node* from, LinkId link, const proto::Heartbeat& ping);
  void TakeStall(Node* from, uint64_t ms);
  void OnPong(Node* from, const proto::Heartbeat& pong);
  void OnView(Node* from, const proto::View& view, bool may_sync);
  void TakeAges(Node* from, const proto::View& view);
  void Heard(Node* node);
  // Something happened to `node` that the next sweep must look at.
  void Stir(const Node* node) { table_.pulse(*node).quiet_ms = 0; }
  void UpdateLease();
  uint64_t StalledMs() const;

  // failure.cc
  bool Silent(const Node& node) const;
  void CheckSilence(Node* node);
  void Suspect(Node* node, std::string why);
  void Unsuspect(Node* node);
  void Returned(Node* node);
  void Report(const Node& suspect, bool cleared);
  void TakeReport(Node* from, std::string_view suspect);
  void OnSuspicions(Node* from, const proto::Suspicions& message);
  void OnFailed(Node* from, const proto::Failed& message);
  void TryFail(Node* node);
  void MarkFailed(Node* node, const std::string& why);
  uint32_t CountReports(Node* node);
  uint32_t Quorum() const { return voters_ / 2 + 1; }

  // gossip.cc
  enum class Taken : uint8_t { kRefused, kOld, kNew };
  Taken TakeRecord(std::string_view bytes, Node* from);
  bool EpochPlausible(uint64_t epoch);
  void SawOwnRecord(const Record& record);
  void StartSync(Node* peer);
  void OnSync(Node* from, const proto::Sync& sync);
  void OnRecords(Node* from, const proto::Records& records);
  void OnForgotten(Node* from, const proto::Forgotten& message);
  void SendRecords(const Node& peer, const std::vector<const Node*>& nodes);
  void PushOwnRecord();
  void RelayNews();
  std::vector<Node*> PickPeers(size_t n);

  // ownership.cc
  void RebuildOwners();
  void LoseClaims(const SlotSet& lost);
  void ApplyOverrides(const std::vector<uint64_t>& epoch);
  SlotSet OpenClaims() const { return durable_claims_ & own_claims_ & ~closing_; }
  void GiveUp(const SlotSet& slots, std::vector<Waiting> waiting);
  void OnFenced(uint64_t version);
  bool HoldForClosing(uint64_t request, OperatorCommand command);
  void RunHeld();
  void ResolveCollision();
  uint64_t MaxEpoch() const;
  bool BumpEpoch();  // false: already the highest
  void SetConfigEpoch(uint64_t epoch, const std::string& why);
  void SetOverride(uint16_t slot, const NodeId& target, int64_t ms);
  void DropOverrides(const Node& node, const std::vector<SlotRange>& claims);

  // persist.cc
  void NewIdentity();
  void LoadState(const proto::NodeState& state);
  bool AdoptOptions();  // true if they change the own record
  void OwnChanged() { own_dirty_ = true; }
  void PersistNow();
  void OnPersisted(uint64_t id);
  void OnPersistFailed(uint64_t id, const std::string& why);
  void RefreshSelf();
  void WaitDurable(uint64_t request, std::string text = "OK");
  bool started() const { return durable_own_ != nullptr; }

  // operator.cc
  void Reply(uint64_t request, std::string text = "OK");
  void Fail(uint64_t request, std::string text);
  void OnOperator(const OperatorEvent& event);
  void On(uint64_t request, const MeetCommand& c);
  void On(uint64_t request, const ForgetCommand& c);
  void On(uint64_t request, const ResetCommand& c);
  void On(uint64_t request, const AddSlotsCommand& c);
  void On(uint64_t request, const DelSlotsCommand& c);
  void On(uint64_t request, const FlushSlotsCommand& c);
  void On(uint64_t request, const BumpEpochCommand& c);
  void On(uint64_t request, const SetConfigEpochCommand& c);
  void On(uint64_t request, const SaveConfigCommand& c);
  void On(uint64_t request, const CountFailureReportsCommand& c);
  void On(uint64_t request, const SetSlotCommand& c);
  void SetSlotToNode(uint64_t request, const SetSlotCommand& c);
  void On(uint64_t request, const AnnounceCommand& c);
  void On(uint64_t request, const SettingsCommand& c);

  // election.cc
  void On(uint64_t request, const ReplicateCommand& c);
  void On(uint64_t request, const FailoverCommand& c);
  void OnPromoted(uint64_t epoch);

  // seeds.cc
  void OnResolved(uint64_t id, const std::vector<std::string>& ips);

  // operator.cc
  bool ReadRanges(uint64_t request, const std::vector<SlotRange>& ranges, bool del, SlotSet* slots);
  bool SlotBusy(uint16_t slot) const;
  void ForgetNode(Node* node, int64_t ms, const char* reason);

  // publish.cc
  void UpdateState();
  bool Synced() const;
  std::string Coverage() const;  // what is wrong with it, or ""
  std::string Majority() const;  // why a majority of voters is out of reach, or ""
  void Publish();
  TopologyNode Describe(const Node& node) const;

  EngineOptions options_;
  Random random_;
  EngineStats stats_;
  Now now_{0, 0};
  Effects* out_ = nullptr;
  bool first_step_ = true;
  int64_t last_tick_ms_ = 0;

  NodeTable table_;
  Node* self_ = nullptr;
  std::vector<std::unique_ptr<Handshake>> handshakes_;
  absl::flat_hash_map<LinkId, Outbound> outbound_;
  absl::flat_hash_map<LinkId, Node*> inbound_;
  LinkId next_link_ = 1;
  GoneMemory<NodeId> forgotten_{kMaxForgotten};
  GoneMemory<LinkId> gone_links_{kMaxGoneLinks};

  // Heartbeats.
  std::vector<NodeId> round_;  // members in the order of this round, taken from the back
  int64_t next_ping_ms_ = 0, next_lease_ms_ = 0, next_fast_sync_ms_ = 0;
  uint64_t ping_seq_ = 0;
  size_t tend_cursor_ = 0;
  uint32_t dials_left_ = 0;  // in this tick
  int64_t lease_ms_ = -1;    // last WritableUntil
  int64_t next_lease_look_ms_ = 0;
  bool lease_dirty_ = true;
  bool lapsed_ = false;     // the lease, when the state was last looked at
  bool suspected_ = false;  // somebody, by then
  std::vector<uint64_t> positions_;
  int64_t stalled_since_ms_ = -1;

  // Ownership.
  std::vector<uint16_t> owner_;  // Node::index, or kNobody
  std::map<uint16_t, Override> overrides_;
  bool owners_dirty_ = true;
  uint32_t voters_ = 0, unassigned_ = kSlots;
  std::vector<Node*> voter_peers_;  // the voters but this node
  uint64_t current_epoch_ = 0, last_vote_epoch_ = 0;
  SlotSet own_claims_, durable_claims_, closing_;
  std::deque<Closing> closings_;
  // Commands that raise our epoch wait until no slot is on its way out: the record still names such a slot, and a
  // higher epoch would claim it anew from whoever has it now.
  std::vector<OperatorEvent> held_;
  std::map<uint16_t, NodeId> migrating_, importing_;

  // Persistence.
  proto::NodeRecord own_;
  std::shared_ptr<const proto::NodeRecord> durable_own_;
  // What is to be written: our own word at once; who the members are as soon as no write is under way, for without
  // it a restart would find nobody; others' records within a second.
  bool own_dirty_ = false, members_dirty_ = false, state_dirty_ = false;
  uint64_t next_persist_ = 1, persist_floor_ = 0;
  std::deque<PendingPersist> persists_;
  std::vector<Waiting> wait_next_persist_;
  int64_t last_persist_ms_ = 0, retry_persist_ms_ = 0;
  bool push_own_ = false;

  // News to relay: ids of members whose record changed.
  std::vector<NodeId> news_;

  // Publication.
  TopologyPtr topology_;
  uint64_t version_ = 0;
  // publish_: something changed in this step; urgent_: and may not wait.
  bool publish_ = true, publish_pending_ = false, urgent_ = true, check_state_ = true;
  std::vector<ReplyEffect> replies_;  // of this step
  int64_t last_publish_ms_ = 0;
  bool ok_ = false;
  std::string why_not_ok_;
  int64_t regained_ms_ = -1;  // since when a majority of voters is in reach; -1: it is not
  bool must_sync_ = false;    // after a restart or a minority: agree with a majority first
  int64_t must_sync_since_ms_ = 0, sync_delay_ms_ = 0;
};

}  // namespace skein::bus

#endif  // SKEIN_BUS_ENGINE_CORE_H_
