// The implementation of a loop.
//
//   loop_impl.cc   the thread: mailbox, clocks, timers, start and stop
//   session_io.cc  reading, sending, closing
//   session_tls.cc TLS: handshakes, reading and sending through it
//   dispatch.cc    from bytes to executed commands
//   handover.cc    commands for shards of other loops
//   commit.cc      replies that wait for their commit point
//   wait.cc        WAIT and WAITAOF
//   publish.cc     publish and subscribe; keyspace notifications
//   deferred.cc    replies that are owed, and questions to all loops or shards
//   snapshot_slices.cc  slices of running snapshots
//   role.cc        what replication asks of a loop; replication/ has the flows
//   rehost.cc      other shards instead of the old ones
#ifndef SKEIN_NODE_LOOP_IMPL_H_
#define SKEIN_NODE_LOOP_IMPL_H_

#include <uv.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "node/clock.h"
#include "node/handover.h"
#include "node/loop.h"
#include "node/mailbox.h"
#include "node/replication/role_guard.h"
#include "node/resp.h"
#include "node/routing.h"
#include "node/session_io.h"
#include "node/slice_pace.h"
#include "node/slot_stats.h"
#include "storage/log.h"
#include "storage/shard.h"

namespace skein::node {

class NodeImpl;
class Listener;
class LoopReplication;
struct NewFlow;

// (Debian's absl has a string_view of its own.)
inline std::string_view TextOf(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

// A shard as its loop keeps it.
struct ShardHost {
  uint32_t index = 0;
  storage::Shard* shard = nullptr;
  storage::Log* log() const { return shard->log(); }  // null: off
  bool dirty = false;                                 // appended since the last Kick
  std::vector<storage::Lsn> slots;  // end of the last record of each slot of the shard (index: slot / shard count)
  storage::Lsn whole = 0;           // end of the last record that belongs to no single slot
  std::atomic<storage::Lsn> end{0};
};

inline constexpr char kReshaping[] = "LOADING this replica takes over its primary's number of shards";
inline constexpr char kOutOfMemory[] = "OOM command not allowed when used memory > 'maxmemory'.";

// A command's row with what the loop wants to know of it at each call.
struct CommandInfo {
  CommandStats stats;  // nanos excepted: see cycles
  uint64_t cycles = 0;
  int single_key = 0;   // argument index of its only key; 0: not that simple
  bool cheap = false;   // timed in runs
  bool cached = false;  // its name alone says it
};

// One parsed command of a pipelined batch.
struct Prepared {
  enum class Kind : uint8_t {
    kUnknown,
    kArity,
    kNoAuth,
    kHostile,
    kCrossSlot,
    kSession,
    kAllShards,
    kHere,
    kElsewhere,
    kNowhere
  };
  CommandInfo* info;
  uint32_t argv_begin, argc;
  size_t begin, end;  // bytes of the input
  Kind kind;
  bool multiple_keys;
  uint16_t slot;  // kNoSlot: none
  uint32_t shard;
  int32_t key_index;
  std::optional<storage::Key> key;
};

// What one shard answers to a question to all.
struct ShardPart {
  uint32_t shard = 0;
  std::string bytes;
  std::string error;       // not executed, and why (MISCONF)
  storage::Lsn lsn = 0;    // what the answer must wait for; 0: nothing
  storage::Lsn wrote = 0;  // end of the record it appended; 0: none
};
using ShardTask = std::function<std::string(LoopImpl&, storage::Shard&)>;

class LoopImpl;

// Publishes what changes in a shard, as notify-keyspace-events says. The shard's loop.
class KeyspaceNotifier final : public storage::MutationObserver {
 public:
  explicit KeyspaceNotifier(LoopImpl* loop) : loop_(loop) {}
  void OnChange(const storage::Change& change) override;
  uint32_t events = 0;  // what is published

 private:
  LoopImpl* const loop_;
};

class LoopImpl final : public Loop {
 public:
  LoopImpl(NodeImpl* node, uint32_t index);
  ~LoopImpl() override;

  // ---- Before the thread starts
  void Host(storage::Shard* shard);
  void Listen(std::unique_ptr<Listener> listener);
  void Start();

  // ---- Any thread
  Mailbox& mailbox() { return mailbox_; }
  void OnProgress() {
    progress_.store(true, std::memory_order_release);
    mailbox_.Wake();
  }
  // What stands before `durable` in the shard's log is durable, which the log says already. Wakes the loop if it
  // sleeps, and something on it waits for that.
  void OnDurable(uint32_t shard, storage::Lsn durable);
  // What its clients may be subscribed to.
  const Interest& interest() const { return interest_; }
  // From other nodes; `bytes` of them.
  void TakePublished(const std::shared_ptr<const std::vector<bus::PublishedMessage>>& messages, size_t bytes);
  // A session is on its way here (counted at once, so that the next one goes elsewhere).
  void Expect() { session_count_.fetch_add(1, std::memory_order_relaxed); }
  uint32_t node_shard_count() const { return static_cast<uint32_t>(hosts_.size()); }
  uint32_t session_count() const { return session_count_.load(std::memory_order_relaxed); }
  int64_t alive_ms() const { return alive_ms_.load(std::memory_order_relaxed); }  // CLOCK_MONOTONIC, of its last tick
  // Bytes of values, tables and log tails of this loop's shards, as last published (PublishUsed). Any thread.
  uint64_t used() const { return used_.load(std::memory_order_relaxed); }
  storage::Lsn ShardEnd(uint32_t shard) const { return hosts_[shard]->end.load(std::memory_order_relaxed); }
  // Set once the drain that BeginDrain asked for has ended.
  bool drained() const { return drained_.load(std::memory_order_acquire); }
  void Join();

  // ---- The loop's thread
  static LoopImpl* Current();
  uint32_t index() const override { return index_; }
  const Config& config() const override { return *config_; }
  const bus::Topology* topology() const override { return routing_.topology(); }
  int64_t now_mono_ms() const override { return mono_ms_; }
  int64_t now_unix_ms() const override { return unix_ms_; }
  LoopStats& stats() override { return stats_; }
  PauseState& pause() override { return pause_; }
  SlowLog& slowlog() override { return slowlog_; }
  const SlotStats* slot_stats() const override { return slot_stats_.get(); }
  double NanosOf(uint64_t cycles) const override { return rate_.Nanos(cycles); }
  void ForEachCommandStats(const std::function<void(const CommandStats&)>& fn) override;
  const ErrorStats& error_stats() const override { return error_stats_; }
  void ForEachSession(const std::function<void(Session&)>& fn) override;
  Session* FindSession(uint64_t client_id) override { return Find(client_id); }
  bool is_primary() const override { return routing_.is_primary() && !guard_.replica; }
  void Wait(Call& call, const WaitFor& what) override;
  bool Unblock(uint64_t client_id, bool with_error) override;
  void ForEachShard(const std::function<void(storage::Shard&)>& fn) override;
  void Subscribe(Session& session, SubscriptionKind kind, Args names) override;
  void Unsubscribe(Session& session, SubscriptionKind kind, Args names) override;
  void UnsubscribeAll(Session& session) override;
  bool ServesChannels(uint16_t slot, const Caller& caller, ReplyWriter* reply) const override;
  void Publish(Call& call, bool sharded) override;
  const Registry& subscriptions() const override { return subscriptions_; }
  uint64_t published_dropped() const override { return published_dropped_.load(std::memory_order_relaxed); }

  NodeImpl& node() { return *node_; }
  uv_loop_t* uv() { return &uv_; }
  ClientSession* Find(uint64_t id);
  void RefreshClock();
  // Unless it was read just now: half a millisecond ago at most, also after the thread stood still.
  void FreshenClock() {
    if (ReadCycles() - clock_read_ > fresh_cycles_) RefreshClock();
  }
  Buffer& spare_out() { return spare_out_; }

  // loop_impl.cc
  // `tls`: it speaks TLS; null: it does not. `denial`: what it is told instead of being served; empty: it is welcome.
  void Adopt(int fd, Admission admission, std::string addr, std::string laddr, bus::TlsContextPtr tls = nullptr,
             std::string_view denial = {});
  void ApplyConfig(ConfigPtr config);
  void ApplyTopology(bus::TopologyPtr topology);
  void ResetStats();
  void BeginDrain();
  void Stop();

  // session_io.cc
  void OnReadable(ClientSession& s);
  // Sends, closes if that is due, keeps the output limits, arms the descriptor.
  void Flush(ClientSession& s);
  void CloseSession(ClientSession& s);
  void CloseLater(ClientSession& s);
  // Goes on with what a parked session has left.
  void Resume(ClientSession& s);
  void ParkSession(ClientSession& s, Park why);
  // What a write must wait for has changed.
  void ApplyGating();
  // Resumes the session at the end of the batch (not inside its own call stack).
  void CallLater(ClientSession& s) { resume_later_.push_back(s.st.id); }

  // session_tls.cc
  // Its handshake can go on: it waits for its turn, once.
  void QueueHandshake(ClientSession& s);
  // It has input that its descriptor no longer tells of.
  void ReadLater(ClientSession& s);

  // handover.cc
  void RunBatch(std::unique_ptr<HandoverBatch> batch);
  void TakeBack(std::unique_ptr<HandoverBatch> batch);

  // commit.cc
  // Whether a write may start on the shard: not after a failed background save (stop-writes-on-bgsave-error), and if
  // log and snapshot have room.
  absl::Status MayWrite(const ShardHost& host) const;
  void RegisterGate(ClientSession& s);
  void OnLogProgress();
  // Lets go what has become durable; false if there was nothing to let go.
  bool ReleaseDurable();
  // Replies that wait for this shard get `why`, now and until `why` is empty.
  void FailShard(uint32_t shard, const std::string& why);
  const std::string& shard_failure(uint32_t shard) const { return failures_[shard]; }
  storage::Log* log(uint32_t shard) const;

  // Adds to the shard's queue. `session_id` 0: the flow that follows with this shard.
  void AwaitDurable(uint32_t shard, storage::Lsn lsn, uint64_t session_id, bool wait);

  // wait.cc
  // Any thread: a replica has acknowledged something. Wakes the loop if anything on it waits for that.
  void OnAcks();

  // role.cc
  LoopReplication& replication() { return *replication_; }
  ShardHost* host(uint32_t shard) { return hosts_[shard].get(); }
  const std::vector<ShardHost*>& own_hosts() const { return own_hosts_; }
  void ApplyGuard(const RoleGuard& guard);
  // Nothing is appended until then (CLOCK_MONOTONIC), whatever clients ask; 0: no longer.
  void Freeze(int64_t until_mono_ms);
  // Takes the session's connection away from it, which ends without a word.
  NewFlow Detach(ClientSession& s);
  // The logs of this loop's shards take records from others, or no longer.
  void FollowLogs(bool yes);
  void KeepBacklogs(bool yes);
  // Begins one in the log of each shard of this loop, 0: with the epoch behind its last; where each record ends.
  // `error` is set if a shard may not.
  std::vector<std::pair<uint32_t, storage::Lsn>> BeginReigns(uint64_t epoch, std::string* error);
  // Its content is being replaced, or has been.
  void OnShardReplaced(ShardHost& host);
  // Whether replies and promises rely on what its logs say to be durable: not while bases are being written.
  bool logged() const { return logged_; }
  void KickLogs();

  // rehost.cc
  // Nothing is appended any more, and the log has been closed: what waits for the shards is answered. False: something
  // is still under way.
  bool LeaveShards();
  // The node has other shards. All loops stand still until each has done this.
  void TakeShards();

  // deferred.cc
  uint64_t DeferReply(ClientSession& s);
  void CompleteDeferred(uint64_t session_id, uint64_t ticket,
                        const std::function<void(ClientSession&, ReplyWriter&)>& write);
  // `part` on each shard of this loop, inside a bracket of its own.
  void RunOnShards(const ShardTask& part, bool write, std::vector<ShardPart>* out);
  void AddBarriers(ClientSession& s, size_t begin, const std::vector<ShardPart>& parts);

 private:
  friend class ClientSession;
  enum class Outcome : uint8_t { kDone, kAgain, kStop };

  // loop_impl.cc
  void ThreadMain();
  void CloseUv();
  void OnMailbox();
  void OnCheck();
  void OnPrepare();
  void OnTick();
  void OnPauseTimer();
  void OnExpireTimer();
  void EndOfBatch();
  void AppendTimes();
  void ExpireSlice();
  void ScanSessions();
  void CheckDrained();
  template <void (LoopImpl::*F)(), typename H>
  static void Call_(H* handle) {
    (static_cast<LoopImpl*>(handle->data)->*F)();
  }

  // snapshot_slices.cc
  void SnapshotSlices();
  // Works until `begin` + `length`; false if no shard of this loop has anything to do now.
  bool SnapshotSlice(int64_t begin, int64_t length);
  void StopSlices();

  // session_io.cc
  void Process(ClientSession& s, char* data, size_t size, bool own);
  // Replies of one session past which its commands wait until it has read some.
  size_t OutputMark() const;
  bool OutputIsScarce() const;
  bool OverOutputLimit(ClientSession& s);

  // session_tls.cc
  void ShakeHands();
  void ShakeHands(ClientSession& s);
  bool HandshakeOverdue(const ClientSession& s) const;
  void ReadAhead();

  // dispatch.cc
  // Executes what is there; returns how many bytes are done with.
  size_t Execute(ClientSession& s, char* data, size_t size);
  CommandInfo* Lookup(Args argv);
  CommandInfo* InfoOf(const CommandSpec* spec);
  void Prepare(ClientSession& s, Args argv, Prepared* p);
  Outcome ExecuteOne(ClientSession& s, Prepared& p);
  Outcome ExecuteSession(ClientSession& s, Prepared& p, Args argv);
  Outcome ExecuteAllShards(ClientSession& s, Prepared& p, Args argv);
  Outcome ExecuteHere(ClientSession& s, Prepared& p, Args argv);
  void ProtocolError(ClientSession& s, const std::string& text);
  void Reject(ClientSession& s, Prepared& p, const std::function<void(ReplyWriter&)>& write);
  // Book-keeping after a reply has been written into `buffer` from `start` on.
  // `info` null: the command is unknown. `executed` false: it was refused before it started.
  void Finish(ClientSession& s, CommandInfo* info, bool executed, Buffer* buffer, size_t start, ClientReplyMode before);
  void CountError(std::string_view reply);
  // The commands [begin, end) of the batch have taken `cycles` together.
  void CountTime(const ClientSession& s, size_t begin, size_t end, uint64_t cycles);
  void LogSlow(const CommandSpec& spec, Args argv, const std::string& addr, const std::string& name, uint64_t cycles);
  Caller CallerOf(const ClientSession& s) const;
  bool PausedFor(const CommandSpec& spec) const;
  // maxmemory: what this loop's shards use, for all loops to add up; and whether the sum has passed the limit.
  void PublishUsed();
  bool OverMemory(const CommandSpec& spec);
  bool WritableNow();

  // Ownership, checked on the shard's loop immediately before execution. Writes the redirection and returns false.
  bool MayServe(const CommandSpec& spec, const Caller& caller, Args argv, uint16_t slot, bool multiple_keys,
                ShardHost& host, ReplyWriter* reply);
  // Runs the command in its bracket. Returns the LSN that its reply must wait for.
  // `wrote`: the end of what it appended, or 0.
  storage::Lsn RunInBracket(Call& call, ShardHost& host, uint16_t slot, storage::Lsn* wrote);
  // While replies wait for their commit point: what a reply waits for that has looked at the slot (kNoSlot: at the
  // shard), and appended up to `end` (0: nothing).
  storage::Lsn Requirement(ShardHost& host, uint16_t slot, storage::Lsn end);

  // handover.cc
  struct Outbox {
    std::unique_ptr<HandoverBatch> open;
    uint32_t outstanding = 0;       // batches with the target, the open one included
    std::vector<uint64_t> waiting;  // sessions without credit
  };
  static constexpr uint32_t kCredits = 32;
  Outcome HandOver(ClientSession& s, Prepared& p, Args argv);
  void SendBatch(Outbox& box);
  void Touch(ClientSession& s);
  void FlushTouched();
  // Puts what must wait behind writes without room among stalled_; false if the batch has something else as well, which
  // it keeps.
  bool SetAside(std::unique_ptr<HandoverBatch>& batch);
  void RunStalled();

  // role.cc
  // Who takes no writes decides no expiry.
  void ApplyRole();
  // What the guard forbids: writes the error and returns false. `host`: null for commands of no single shard.
  bool PassesGuard(const CommandSpec& spec, const ShardHost* host, ReplyWriter* reply) const;
  void EndFreeze();

  // commit.cc
  // Whether the first of a queue is durable.
  bool HasDurable() const;
  void AnnounceWaits();
  void WithdrawWaits();
  void PassBarriers(ClientSession& s);
  void FailBarriers(ClientSession& s, uint32_t shard);

  friend class KeyspaceNotifier;
  // publish.cc
  // Appends to what the session gets, outside of any reply.
  void PushTo(ClientSession& s, std::string_view bytes);
  static void TakePushes(ClientSession& s);
  // Tells the session of a change that has been made. `what` empty: only counts anew.
  void Confirm(ClientSession& s, std::string_view what, SubscriptionKind kind, const std::string_view* name);
  // To this loop's subscribers: how many there are.
  size_t Deliver(bool sharded, std::string_view channel, std::string_view message);
  void TellPeers(bool sharded, std::string_view channel, std::string_view message);
  void HandToBus();
  void DropForeignChannels();
  // To this node's subscribers alone, on all loops; nobody waits for it.
  void PublishHere(std::string channel, std::string message);

  // wait.cc
  // A shard that holds writes of the session which are not durable; only with logs.
  std::optional<uint32_t> ShardNotDurable(const ClientSession& s) const;
  bool OwnWritesDurable(const ClientSession& s) const;
  void WriteAcknowledged(const ClientSession& s, bool aof, ReplyWriter& reply) const;
  bool Satisfied(const ClientSession& s) const;
  int64_t Replicas(const ClientSession& s, bool aof) const;
  void AskReplicas(const ClientSession& s);
  void CheckAckWaits();
  // Until `shard`, in which it has written, may be durable; without logs, until there are some.
  void RegisterWait(ClientSession& s, std::optional<uint32_t> shard);
  // Its entry in a queue has come to the front.
  void PassWait(ClientSession& s);
  void ForgetWait(ClientSession& s);
  // Answers: how far it has come, or the error.
  void FinishWait(ClientSession& s, std::string_view error);
  void ArmWaitTimer();
  void OnWaitTimer();

  NodeImpl* const node_;
  const uint32_t index_;
  Mailbox mailbox_;
  std::thread thread_;
  uv_loop_t uv_;
  uv_poll_t mailbox_poll_;
  uv_check_t check_;
  uv_prepare_t prepare_;
  uint64_t tick_period_ms_ = 0;
  uv_timer_t tick_, expire_timer_, pause_timer_, wait_timer_, slice_timer_;
  uv_idle_t slice_idle_;
  std::unique_ptr<Listener> listener_;

  const storage::Saver* saver_ = nullptr;
  ConfigPtr config_;
  ConfigPtr retired_config_;  // what a running command may still look at
  Routing routing_;
  bool cluster_ = false;
  bool checked_ = false;  // a command may have to go elsewhere, or be refused: in a cluster, or by the guard
  RoleGuard guard_;
  int64_t frozen_until_ms_ = 0;  // CLOCK_MONOTONIC; 0: it is not
  std::unique_ptr<LoopReplication> replication_;
  int64_t mono_ms_ = 0, unix_ms_ = 0;
  uint64_t clock_read_ = 0;    // ReadCycles at the last RefreshClock
  uint64_t fresh_cycles_ = 0;  // a clock that was read so long ago is stale
  CycleRate rate_;
  uint64_t slow_cycles_ = UINT64_MAX;
  bool writable_ = true;  // as of writable_checked_ms_
  int64_t writable_checked_ms_ = -1;

  std::vector<std::unique_ptr<ShardHost>> hosts_;  // by shard index; null: another loop's
  std::vector<ShardHost*> own_hosts_;
  std::atomic<uint64_t> used_{0};
  uint32_t expire_next_ = 0;
  int64_t timed_ms_ = 0;  // when the logs were last told the time
  SlicePace pace_;
  uint32_t slice_next_ = 0;
  bool slicing_ = false;  // idle handle or timer may be armed
  bool worked_ = false;   // commands have run since the last look at the snapshots

  std::vector<ClientSession*> sessions_;
  std::unordered_map<uint64_t, ClientSession*> by_id_;
  std::vector<uint64_t> close_later_, resume_later_;
  std::vector<uint64_t> paused_, waiting_for_room_;
  Fifo<uint64_t> handshakes_;
  std::vector<uint64_t> read_ahead_;
  bool paused_writes_only_ = false;  // when the last of paused_ was parked
  size_t scan_next_ = 0;
  std::atomic<uint32_t> session_count_{0};
  std::atomic<int64_t> alive_ms_{0};

  // The batch being worked on; only one at a time.
  static constexpr size_t kBatch = 32;
  RequestParser parser_;
  PartialCommand scratch_partial_;
  std::vector<std::string_view> args_;
  std::vector<uint32_t> positions_;
  Prepared batch_[kBatch];
  std::unique_ptr<char[]> read_buffer_;
  Buffer spare_out_;

  struct CacheLine {
    uint64_t a = 0, b = 0;
    uint32_t size = 0;
    CommandInfo* info = nullptr;
  };
  static constexpr size_t kCacheLines = 256;
  CacheLine cache_[kCacheLines];
  std::unordered_map<const CommandSpec*, std::unique_ptr<CommandInfo>> infos_;

  std::vector<Outbox> outboxes_;  // by target loop
  std::vector<uint32_t> open_boxes_;
  std::vector<std::unique_ptr<HandoverBatch>> spare_batches_;
  // Commands that wait for room in a log or a snapshot, in order, and the sessions that they are of: what these send on
  // waits as well, what others send does not.
  std::vector<std::unique_ptr<HandoverBatch>> stalled_;
  std::unordered_set<uint64_t> stalled_sessions_;
  std::vector<uint64_t> touched_;

  struct Waiter {
    storage::Lsn lsn;
    uint64_t session_id;
    bool wait;  // WAITAOF: not a reply
    bool operator>(const Waiter& o) const { return lsn > o.lsn; }
  };
  using Waiters = std::priority_queue<Waiter, std::vector<Waiter>, std::greater<>>;
  std::vector<Waiters> waiters_;  // by shard
  bool has_waiters_ = false;      // one of them may hold something
  // By shard, what a sleeping loop wants to be woken for: the lowest LSN that something on it waits for. Written by the
  // loop, and taken by the writer that wakes it.
  struct alignas(64) Awaited {
    std::atomic<storage::Lsn> lsn{kNothing};
  };
  static constexpr storage::Lsn kNothing = ~storage::Lsn{0};
  std::unique_ptr<Awaited[]> awaited_;
  bool announced_ = false;                                 // one of them may hold something
  std::vector<std::string> failures_;                      // by shard
  std::set<std::pair<int64_t, uint64_t>> wait_deadlines_;  // with the session's id
  std::vector<uint64_t> log_waiters_;                      // WAITAOF, while the log is being switched on
  std::vector<uint64_t> ack_waiters_;                      // sessions that wait for replicas
  std::atomic<bool> awaits_acks_{false}, acks_{false};
  std::atomic<bool> progress_{false};
  bool gating_ = false;
  bool logged_ = false;  // what is durable in its shard's log is durable

  Interest interest_;
  Registry subscriptions_{&interest_};
  ClientSession* executing_ = nullptr;  // whose command is running, if something may be pushed to it meanwhile
  KeyspaceNotifier notifier_{this};
  std::vector<bus::PublishedMessage> for_peers_;
  size_t for_peers_bytes_ = 0;
  std::atomic<size_t> published_backlog_{0};
  std::atomic<uint64_t> published_dropped_{0};

  uint64_t next_ticket_ = 1;
  PauseState pause_;
  LoopStats stats_;
  SlowLog slowlog_;
  std::unique_ptr<SlotStats> slot_stats_;  // while cluster-slot-stats-enabled
  ErrorStats error_stats_;
  bool draining_ = false, stopping_ = false, closed_ = false;
  std::atomic<bool> drained_{false};
};

}  // namespace skein::node

#endif  // SKEIN_NODE_LOOP_IMPL_H_
