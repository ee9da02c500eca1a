// WAIT and WAITAOF: a session that waits until its own writes are where it wants them. It stands in the same queues as
// the replies that wait for their commit point (commit.cc), at most once: what a session has written only grows, so an
// entry left by a wait that has timed out is never too late for the next one.
#include <algorithm>
#include <optional>
#include <utility>

#include "node/loop_impl.h"
#include "node/node_impl.h"
#include "node/replication/loop_replication.h"
#include "node/replication/replica_control.h"

namespace skein::node {

std::optional<uint32_t> LoopImpl::ShardNotDurable(const ClientSession& s) const {
  for (uint32_t shard = 0; shard < s.wrote.size(); ++shard) {
    if (s.wrote[shard] != 0 && log(shard)->durable() < s.wrote[shard]) return shard;
  }
  return std::nullopt;
}

bool LoopImpl::OwnWritesDurable(const ClientSession& s) const { return logged_ && !ShardNotDurable(s).has_value(); }

int64_t LoopImpl::Replicas(const ClientSession& s, bool aof) const {
  return node_->control().board().Count(s.wrote, aof);
}

bool LoopImpl::Satisfied(const ClientSession& s) const {
  const WaitFor& what = s.wait->what;
  return (!what.local || OwnWritesDurable(s)) && Replicas(s, what.aof) >= what.replicas;
}

void LoopImpl::WriteAcknowledged(const ClientSession& s, bool aof, ReplyWriter& reply) const {
  if (!aof) return reply.Integer(Replicas(s, false));
  reply.Array(2);
  reply.Integer(OwnWritesDurable(s) ? 1 : 0);
  reply.Integer(Replicas(s, true));
}

void LoopImpl::Wait(Call& call, const WaitFor& what) {
  auto& s = static_cast<ClientSession&>(*call.session);
  // Looked at once: the writers go on meanwhile, and what was not durable now must be answered by the queue.
  const std::optional<uint32_t> not_durable = what.local && logged_ ? ShardNotDurable(s) : std::nullopt;
  const bool local_missing = what.local && (!logged_ || not_durable.has_value());
  const bool replicas_missing = what.replicas > Replicas(s, what.aof);
  if (!replicas_missing && !local_missing) return WriteAcknowledged(s, what.aof, *call.reply);
  if (local_missing) {
    for (uint32_t shard = 0; shard < s.wrote.size(); ++shard) {
      if (s.wrote[shard] == 0 || log(shard)->durable() >= s.wrote[shard]) continue;
      if (!failures_[shard].empty()) return call.reply->Error(failures_[shard]);
      // At once, whatever the policy is; the record itself becomes visible at the end of the batch.
      log(shard)->AskSync(s.wrote[shard]);
    }
  }
  s.wait = std::make_unique<PendingWait>();
  s.wait->what = what;
  s.wait->ticket = DeferReply(s);
  s.st.blocked = true;
  ++stats_.blocked;
  if (what.timeout_ms != 0) {
    s.wait->deadline_ms = mono_ms_ + what.timeout_ms;
    wait_deadlines_.emplace(s.wait->deadline_ms, s.st.id);
    ArmWaitTimer();
  }
  if (local_missing) RegisterWait(s, not_durable);
  if (what.replicas > 0) {
    // Announced before it is looked again, as with what is durable (commit.cc): an acknowledgement that comes meanwhile
    // is seen here, or wakes this loop.
    ack_waiters_.push_back(s.st.id);
    awaits_acks_.store(true);
    acks_.store(true);
    mailbox_.Wake();
    AskReplicas(s);
  }
}

// They are to acknowledge as soon as they have what the session wrote.
void LoopImpl::AskReplicas(const ClientSession& s) {
  if (!node_->control().board().any()) return;
  for (uint32_t shard = 0; shard < s.wrote.size(); ++shard) {
    if (s.wrote[shard] == 0) continue;
    node_->Post(node_->LoopOf(shard), [shard, lsn = s.wrote[shard], aof = s.wait->what.aof](LoopImpl& home) {
      home.replication().Ask(shard, lsn, aof ? lsn : 0);
    });
  }
}

void LoopImpl::OnAcks() {
  if (!awaits_acks_.load()) return;
  acks_.store(true);
  mailbox_.Wake();
}

void LoopImpl::CheckAckWaits() {
  acks_.store(false);
  std::vector<uint64_t> left;
  for (const uint64_t id : ack_waiters_) {
    ClientSession* const s = Find(id);
    if (s == nullptr || s->wait == nullptr || s->wait->what.replicas <= 0) continue;
    if (Satisfied(*s)) {
      FinishWait(*s, {});
    } else {
      left.push_back(id);
    }
  }
  // A session that waited before and waits again stands here once.
  std::sort(left.begin(), left.end());
  left.erase(std::unique(left.begin(), left.end()), left.end());
  ack_waiters_ = std::move(left);
  if (ack_waiters_.empty()) awaits_acks_.store(false);
}

void LoopImpl::RegisterWait(ClientSession& s, std::optional<uint32_t> shard) {
  if (s.wait_registered) return;
  s.wait_registered = true;
  if (!logged_) return log_waiters_.push_back(s.st.id);
  AwaitDurable(*shard, s.wrote[*shard], s.st.id, /*wait=*/true);
}

void LoopImpl::PassWait(ClientSession& s) {
  s.wait_registered = false;
  if (s.wait == nullptr || !s.wait->what.local) return;
  const std::optional<uint32_t> not_durable = logged_ ? ShardNotDurable(s) : std::nullopt;
  if (!logged_ || not_durable.has_value()) return RegisterWait(s, not_durable);
  if (Satisfied(s)) FinishWait(s, {});
}

void LoopImpl::ForgetWait(ClientSession& s) {
  if (s.wait == nullptr) return;
  if (s.wait->deadline_ms != 0) wait_deadlines_.erase({s.wait->deadline_ms, s.st.id});
  --stats_.blocked;
  s.st.blocked = false;
  s.wait.reset();
}

void LoopImpl::FinishWait(ClientSession& s, std::string_view error) {
  const uint64_t ticket = s.wait->ticket;
  const bool aof = s.wait->what.aof;
  ForgetWait(s);
  CompleteDeferred(s.st.id, ticket, [&](ClientSession& session, ReplyWriter& reply) {
    if (!error.empty()) return reply.Error(error);
    WriteAcknowledged(session, aof, reply);
  });
}

bool LoopImpl::Unblock(uint64_t client_id, bool with_error) {
  ClientSession* const s = Find(client_id);
  if (s == nullptr || s->wait == nullptr) return false;
  FinishWait(*s, with_error ? "UNBLOCKED client unblocked via CLIENT UNBLOCK" : "");
  return true;
}

void LoopImpl::ArmWaitTimer() {
  if (wait_deadlines_.empty()) {
    uv_timer_stop(&wait_timer_);
    return;
  }
  const int64_t left = std::max<int64_t>(1, wait_deadlines_.begin()->first - mono_ms_);
  uv_update_time(&uv_);
  uv_timer_start(&wait_timer_, Call_<&LoopImpl::OnWaitTimer, uv_timer_t>, static_cast<uint64_t>(left), 0);
}

void LoopImpl::OnWaitTimer() {
  RefreshClock();
  while (!wait_deadlines_.empty() && wait_deadlines_.begin()->first <= mono_ms_) {
    ClientSession* const s = Find(wait_deadlines_.begin()->second);
    FinishWait(*s, {});  // takes its deadline out
  }
  ArmWaitTimer();
  EndOfBatch();
}

}  // namespace skein::node
