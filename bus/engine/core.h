// The engine's insides. One object, its methods spread over files by concern:
//   engine.cc     Create, Step, what happens at the end of each step
//   links.cc      dialling, Hello and Welcome, MEET, the own address
//   heartbeat.cc  ticks, pings, pongs, views, the lease on writing
//   failure.cc    suspicion, reports, quorum, return
//   reports.cc    what is said to others about failures, and how far this node may trust its own judgement
//   gossip.cc     records: taking, relaying, comparing
//   ownership.cc  slots: who owns them, gaining and giving up, epochs
//   persist.cc    the own record and the state on disk, and replies that wait for it
//   operator.cc   CLUSTER subcommands
//   roles.cc      whom this node follows; standing down
//   election.cc   a replica stands for election, wins, is promoted
//   votes.cc      what a voter grants, remembers and refuses
//   failover.cc   failover by hand
//   migration.cc  replicas that move to primaries without any
//   electorate.cc who decides about whom, and whom this node confirms
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
#include "bus/engine/elections.h"
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
  int64_t calm_until_ms() const override { return calm_until_ms_; }

 private:
  // An address that an operator or a stranger gave, until the node behind it has proven itself.
  struct Handshake {
    NodeId shown_id;  // for CLUSTER NODES until the real one is known
    NodeId id;        // as the stranger said; empty if an operator gave only the address
    std::string ip;
    uint16_t port = 0, bus_port = 0;
    int64_t until_ms = 0;
    bool meet = false;  // by an operator here
    bool seed = false;  // by a seed: adopted only if one of us is fresh (see seeds.cc)
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
    std::vector<std::pair<NodeId, uint64_t>> votes;  // to be sent when durable: candidate, epoch
    uint64_t ask_epoch;                              // of our own election that begins then; 0: none
    uint64_t promote_epoch;                          // of the election won that `own` tells of; 0: none
    uint64_t epoch;                                  // the current one
    uint64_t ownership;                              // see ownership_
    NodeId seat_to;
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
  absl::StatusOr<RecordPtr> Read(std::string_view bytes);  // ReadRecord

  // engine.cc
  void Begin();
  void Finish();
  int64_t CalmUntil() const;
  void OnMessage(const MessageEvent& event);
  void Refuse(LinkId link, const char* why);  // counts; closes the link if `why` says so

  // links.cc
  void Send(LinkId link, std::shared_ptr<proto::BusMessage> message);
  void SendTo(const Node& node, std::shared_ptr<proto::BusMessage> message);
  void Close(LinkId link, const char* reason);
  void Dial(OutLink* out, Outbound whom, Text ip, uint16_t bus_port);
  void Greet(OutLink* out, const NodeId& expected, Introduction as);
  void OnLinkUp(LinkId link);
  void OnLinkDown(LinkId link);
  void LostOut(OutLink* out);
  void OnHello(const MessageEvent& event, const proto::Hello& hello);
  void OnWelcome(const MessageEvent& event, const proto::Welcome& welcome);
  void WelcomeFromHandshake(Handshake* handshake, const NodeId& id, const proto::Welcome& welcome);
  void WelcomeFromNode(Node* node, const NodeId& id, const proto::Welcome& welcome);
  void Bound(Node* node);
  bool StartHandshake(const std::string& ip, uint16_t port, uint16_t bus_port, const NodeId& id, Introduction as);
  bool MayAdopt(const Handshake& handshake, const NodeId& id, const proto::Welcome& welcome);
  void DropHandshake(Handshake* handshake, const char* reason);
  void TendHandshakes();
  void TendLink(Node* node);
  void LearnOwnIp(const std::string& ip, const char* how);
  void Observe(Node* from, const std::string& ip);
  Node* Sender(LinkId link);  // null if it has not proven itself on this link
  void DropNode(Node* node, const char* reason);

  // heartbeat.cc
  void OnTick();
  int64_t TendNode(Node* node);
  // How soon a member that needs attention is looked at again: of many members none by every tick.
  int64_t Relook() const;
  int64_t Together(int64_t at) const;
  // What a ping carries: nothing, what we believe, or also how fresh others are.
  enum class Tell : uint8_t { kNothing, kDigest, kAll };
  void Ping(Node* node, Tell tell);
  uint64_t Asks(Node* node);
  void AskBack(Node* from, proto::Heartbeat* pong);
  // With many voters: how old an answer may become before another is asked for. Together with the time in which
  // others can be asked if that one does not come, less than the lease it gives (see LeaseFrom).
  int64_t FreshOfMany() const { return timeout() * 3 / 4; }
  // In large clusters how fresh others are is told by the rounds of pings alone.
  Tell TellIfSmall() const { return table_.size() <= options_.small_cluster ? Tell::kAll : Tell::kDigest; }
  int64_t PingInterval() const;
  int64_t Unheard() const;
  bool Many() const { return table_.size() > options_.small_cluster; }
  void PingRound();
  void LeaseRound();
  void FillView(proto::View* view, Tell tell);
  void FillAges(proto::View* view);
  void OnPing(Node* from, LinkId link, const proto::Heartbeat& ping);
  void TakeStall(Node* from, uint64_t ms);
  void Answer(Node* from, uint64_t seq, proto::Heartbeat* pong);
  void OnPong(Node* from, LinkId link, const proto::Heartbeat& pong);
  void OnView(Node* from, const proto::View& view, bool may_sync);
  void TakeAges(Node* from, const proto::View& view);
  void Heard(Node* node);
  // Something happened to `node` that must be looked at.
  void Stir(const Node* node);
  int64_t Lease() const;
  void UpdateLease();
  uint64_t StalledMs() const;

  // failure.cc
  bool Silent(const Node& node) const;
  void CheckSilence(Node* node);
  void Suspect(Node* node, std::string why);
  void Unsuspect(Node* node);
  void Returned(Node* node);
  void Watch(Node* node);
  void CheckWatched();
  void TakeReport(Node* from, std::string_view suspect);
  void OnSuspicions(Node* from, const proto::Suspicions& message);
  void OnFailed(Node* from, const proto::Failed& message);
  void TryFail(Node* node);
  void MarkFailed(Node* node, const std::string& why);
  uint32_t CountReports(Node* node);

  // reports.cc
  void Report(const Node& suspect, bool cleared);
  void SendReports();
  void SendFailed(bool tick);
  // How long a silence must last before this node takes it for a failure.
  int64_t Patience() const { return timeout() + timeout() * health_ / 4; }
  void CheckOwnHealth(int64_t gap);

  // gossip.cc
  enum class Taken : uint8_t { kRefused, kOld, kNew };
  Taken TakeRecord(std::string_view bytes, Node* from);
  // Whether a member's record is known as new as `bytes`, told by their beginning alone; false: perhaps not.
  bool Known(std::string_view bytes) const;
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
  void ApplyOverrides();
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
  void SayOptions();    // into the own record
  bool AdoptOptions();  // true if they change the own record
  void OwnChanged() { own_dirty_ = true; }
  void PersistNow();
  void OnPersisted(uint64_t id);
  void TakeDurable(std::shared_ptr<const proto::NodeRecord> own);
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

  // roles.cc
  void On(uint64_t request, const ReplicateCommand& c);
  Node* Primary() const;  // of this replica; null if unknown, or if this is a primary
  void Follow(Node* primary, const std::string& why);
  void TendRole();
  void StandDown();
  Node* GroupOwner() const;  // another node of our group that owns slots

  // election.cc
  void TendElection();
  std::string WhyNotStand(const Node& primary) const;  // "": may stand
  uint32_t Rank(const Node& primary) const;
  uint64_t SpreadEpoch(const Node& primary);
  void Stand(Node* primary);
  void AskForVotes(uint64_t epoch);
  void OnVoteReply(Node* from, const proto::VoteReply& reply);
  void CountVotes();
  void LostElection(const std::string& why);
  void Win(uint64_t epoch, const SlotSet& claims, const Node& primary, const std::string& why);
  void OnPromoted(uint64_t epoch);

  // votes.cc
  void OnVoteRequest(Node* from, const proto::VoteRequest& request);
  proto::VoteRefusal Judge(const AskedVote& asked, bool* wait);
  void GrantVote(const AskedVote& asked);
  void SendVote(const NodeId& candidate, uint64_t epoch);
  void RefuseVote(const NodeId& candidate, uint64_t epoch, proto::VoteRefusal why);
  void RememberVote(CastVote vote);
  void RecheckAsked();
  // Whether another of its group, `but` aside, may write to `slots` because this node voted for it or confirmed it, or
  // is this node.
  bool TrustsAnother(const Node& node, const std::vector<SlotRange>& slots, const Node* but = nullptr) const;
  void Trust(const Node& node, Grant grant);
  // Its word to `node` binds it no more.
  void Release(const NodeId& group, const NodeId& node);
  void ReleaseReplaced(const Node& winner);
  bool GaveWay(const Grant& grant) const;
  bool Lost(const Node& candidate, uint64_t epoch) const;
  uint64_t DecidedEpoch() const;  // see View.decided_epoch
  // Whether votes against `primary` must wait: it has not failed, or what was said before may still count.
  bool TooEarly(const Node& primary, const Node& candidate) const;
  bool RecentlyVoted(const NodeId& primary, const NodeId& candidate) const;

  // failover.cc
  void On(uint64_t request, const FailoverCommand& c);
  void On(uint64_t request, const HandOverCommand& c);
  void OnHandOver(Node* from, const proto::HandOver& message);
  void HoldWritesAfter(const Node& primary);
  void StandByHand(const Node& primary, bool agreed);
  void AskToFreeze(Node* primary);
  bool SuccessorCanWrite(const Node& primary, bool yields) const;
  void FreezeFor(Node* replica, uint64_t token);
  void Frozen();
  void SendHandOver(const Node& to, int step, uint64_t token);
  bool HasAllWrites() const;
  void TendHandOver();

  // migration.cc
  void TendMigration();
  bool Orphaned(const Node& primary) const;

  // electorate.cc
  const Node* BallotOf(const Node& node) const;
  bool Decides(const Node& voter, const Node* ballot) const;
  uint32_t Voters(const Node* ballot) const;
  uint32_t Quorum(const Node* ballot) const { return Voters(ballot) / 2 + 1; }
  void CountElectors();
  void TendElectorate();
  void LeaveElectorates(const NodeId& gone);
  bool Confirmed(bool own, const std::vector<NodeId>& witnesses);
  void InheritElectorate(const Node& primary);
  int64_t LeaseFrom(const std::vector<uint16_t>& others, size_t count, const NodeTable::Times& when) const;
  bool Withheld(const Node& primary) const;
  const Node* Rival(const CastVote& vote, const Node& primary) const;
  bool VotedForRival(const Node& primary) const;
  bool MayYieldTo(const Node& successor) const;
  void Settle();
  // As many more must confirm this node as would if there were so many more voters.
  uint32_t MoreVoters() const { return established_ || self_->record().own_electorate ? 0 : 2; }
  // Whether others may decide in our place by now about that node.
  bool NoMandate(const Node& about) const {
    return self_->owner() && about.owner() && !about.self && !about.record().own_electorate && mandate_ms_ <= now();
  }

  // seeds.cc
  void On(uint64_t request, const SeedsCommand& c);
  void TendSeeds();
  void OnResolved(uint64_t id, const std::vector<std::string>& ips);
  void GreetSeed(const std::string& ip, uint16_t bus_port);
  // Whether this node knows of no slot that anybody owns, and has not joined those who do.
  bool Fresh() const;

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
  bool heartbeat_ = false;       // this step is that of a ping or pong
  bool heartbeat_only_ = false;  // this step, in a large cluster: what it did not change waits for a tick
  int64_t last_tick_ms_ = 0, calm_until_ms_ = 0;

  NodeTable table_;
  Node* self_ = nullptr;
  std::vector<std::unique_ptr<Handshake>> handshakes_;
  absl::flat_hash_map<LinkId, Outbound> outbound_;
  absl::flat_hash_map<LinkId, Node*> inbound_;
  // What Sender has found in them, by the low bits of the link, whose member tells whether it is this one: one cache
  // line, where a map takes several. Whoever is here has the link in a map.
  std::vector<Node*> recent_ = std::vector<Node*>(64);
  LinkId next_link_ = 1;
  GoneMemory<NodeId> forgotten_{kMaxForgotten};
  GoneMemory<LinkId> gone_links_{kMaxGoneLinks};

  // Heartbeats.
  std::vector<uint16_t> round_;  // by Node::index: members in the order of this round, taken from the back
  int64_t next_ping_ms_ = 0, next_sweep_ms_ = 0, next_lease_ms_ = 0, next_fast_sync_ms_ = 0;
  uint64_t ping_seq_ = 0;
  size_t sync_cursor_ = 0;
  // In this tick: in all, and to members that have failed, which cost little however many they are.
  uint32_t dials_left_ = 0, dead_dials_left_ = 0;
  int64_t lease_ms_ = -1;    // last WritableUntil
  int64_t mandate_ms_ = -1;  // until when this owner may confirm others: nobody can have been elected in its place
  int64_t next_lease_look_ms_ = 0;
  uint32_t lease_wants_ = 0;  // so many confirmations more, at least, before the lease can be anything but over
  bool lease_dirty_ = true;
  bool lapsed_ = false;                           // the lease, when the state was last looked at
  std::vector<uint16_t> suspects_;                // Node::index of those suspected or failed, by then
  size_t pulse_cursor_ = 0, suspect_cursor_ = 0;  // where the next view goes on
  std::vector<uint64_t> positions_;
  int64_t stalled_since_ms_ = -1;

  // What is to be said about failures, gathered so that a storm of them is few messages.
  std::vector<NodeId> say_suspect_, say_cleared_, say_failed_;
  int64_t last_report_ms_ = INT64_MIN / 2, last_failed_ms_ = INT64_MIN / 2;
  std::vector<uint16_t> watched_;  // by Node::index: owe an answer for so long that every tick looks at them
  // This node's own trouble, 0 (none) to kMaxHealth, as in Lifeguard (Dadgar et al. 2017).
  int32_t health_ = 0;
  int64_t next_health_ms_ = 0;

  // Ownership.
  std::vector<uint16_t> owner_;  // Node::index, or kNobody
  std::map<uint16_t, Override> overrides_;
  bool owners_dirty_ = true;
  uint32_t voters_ = 0, owners_ = 0, unassigned_ = kSlots;
  std::vector<uint16_t> own_voters_;  // Node::index of those who decide about this node, or its primary; but itself
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
  bool push_own_ = false, push_to_all_ = false;

  // Elections.
  Election election_;
  std::string why_not_stand_;
  ByHand by_hand_;
  Freeze freeze_;
  HandOver hand_over_;
  std::deque<CastVote> votes_;  // by time
  uint64_t vote_floor_ = 0;
  // Grows whenever something that Rival looks at may have changed so that there is one: with every vote, and every step
  // but heartbeats (which decide elections; that only ends rivalries).
  uint64_t rivals_version_ = 1;
  absl::flat_hash_map<NodeId, Grants> grants_;  // by the shard id of the group
  int64_t begun_ms_ = 0;                        // what was granted before is not known
  uint64_t primary_since_ = 0;                  // version of our record: who does not know it confirms a replica
  std::vector<std::pair<NodeId, uint64_t>> unsent_votes_;  // for the next persist
  std::vector<AskedVote> asked_;
  bool vote_dirty_ = false;
  uint64_t ask_epoch_ = 0;  // for the next persist
  // An election won whose promotion is not yet done; the record that tells of it, once durable; and the epoch for
  // which the data plane has been asked.
  uint64_t promote_epoch_ = 0, promote_asked_ = 0;
  // What a restart would find.
  uint64_t promoting_on_disk_ = 0, durable_epoch_ = 0, durable_ownership_ = 0;
  uint64_t ownership_ = 0;  // grows with each new record
  std::shared_ptr<const proto::NodeRecord> held_own_;
  bool stand_down_ = false;   // when the last closing slot is gone: its new owner's replica
  bool confirm_now_ = false;  // ask the voters for their confirmation without waiting for the round
  std::vector<PastElectorate> past_;
  // Not so: elected, and those who decide may not know it yet; who takes the place of one of them has not promised what
  // that one has, so as many others are needed as for an election.
  bool established_ = true;
  NodeId predecessor_;                // while not established, and after, if it was replaced before that
  NodeId seat_to_, durable_seat_to_;  // see NodeState.seat_to
  int64_t promoted_ms_ = 0;
  bool lonely_ = false;  // has a replica, but too few for a failover
  int64_t data_age_ms_ = -1, data_age_at_ms_ = 0;
  int64_t next_migration_look_ms_ = 0;
  // Something changed in who follows whom, works and owns; and whether, by the last look, a primary had lost its
  // replicas.
  bool groups_changed_ = true, orphans_ = false;
  // Whether an operator took us over a primary that may not know it: no writes before this, unless it has given way.
  NodeId replaced_;
  int64_t hold_writes_until_ms_ = 0;

  // Seeds: names still to be asked in this round, and those being resolved.
  struct Lookup {
    uint16_t bus_port;
    int64_t until_ms;
  };
  int64_t next_seed_ms_ = 0;
  uint32_t seed_rounds_ = 0;  // in a row in which they were needed
  std::deque<Seed> seeds_left_;
  std::map<uint64_t, Lookup> lookups_;
  uint64_t next_lookup_ = 1;
  GoneMemory<std::string> own_addresses_{kMaxSeedAddresses};  // where this node itself has answered
  GoneMemory<NodeId> strangers_{kMaxStrangers};               // of other clusters
  bool attached_ = false;                                     // joined a node that was not fresh

  // News to relay: ids of members whose record changed.
  std::vector<NodeId> news_;

  // Publication.
  TopologyPtr topology_;
  uint64_t version_ = 0;
  // publish_: something changed in this step; urgent_: and may not wait. times_old_: nothing but times would change.
  bool publish_ = true, publish_pending_ = false, urgent_ = true, check_state_ = true, times_old_ = false;
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
