// Replies that wait for their commit point: a queue a shard, ordered by LSN, served when the log's writer has got on.
#include <algorithm>
#include <string>
#include <utility>

#include "glog/logging.h"
#include "node/config/check.h"
#include "node/loop_impl.h"
#include "node/node_impl.h"
#include "node/replication/loop_replication.h"
#include "storage/runbook.h"

namespace skein::node {
storage::Log* LoopImpl::log(uint32_t shard) const { return node_->log(shard); }

void LoopImpl::ApplyGating() {
  logged_ = config_->appendonly && node_->data().logged();
  const bool gating = logged_ && EffectiveCommit(*config_) != WriteCommit::kMemory;
  if (gating && !gating_) {
    // Until now nobody has kept the slots' own: whoever looks at what was written before waits for all of it.
    for (ShardHost* host : own_hosts_) {
      if (host->log() != nullptr) host->whole = host->log()->end();
    }
  }
  gating_ = gating;
  if (!config_->appendonly) {
    // In Redis's words.
    for (ClientSession* s : std::vector<ClientSession*>(sessions_)) {
      if (s->wait != nullptr && s->wait->what.local) FinishWait(*s, kNoAppendOnly);
    }
    // The log has ended: what is not durable now will not be.
    if (std::any_of(waiters_.begin(), waiters_.end(), [](const Waiters& w) { return !w.empty(); })) OnLogProgress();
    for (uint32_t shard = 0; shard < waiters_.size(); ++shard) {
      if (waiters_[shard].empty()) continue;
      FailShard(shard, "MISCONF the log was switched off, and what was written last is not known to be on disk" +
                           storage::SeeRunbook("switched-off"));
    }
  }
  if (!logged_) return;
  std::vector<uint64_t> ids;
  ids.swap(log_waiters_);
  for (const uint64_t id : ids) {
    if (ClientSession* const s = Find(id)) PassWait(*s);
  }
}

absl::Status LoopImpl::MayWrite(const ShardHost& host) const {
  if (guard_.reshaping) [[unlikely]]
    return absl::OkStatus();  // nothing waits for room that will not be: the guard refuses it
  if (frozen_until_ms_ != 0) [[unlikely]] {
    // A node that stops waits for nobody to take over; its clients ask again elsewhere.
    if (draining_) return absl::FailedPreconditionError("CLUSTERDOWN this node is stopping");
    return absl::UnavailableError("frozen");
  }
  if (saver_ != nullptr && saver_->refuses_writes()) [[unlikely]]
    return absl::FailedPreconditionError(saver_->refusal());
  return host.shard->MayWrite();
}

void LoopImpl::RegisterGate(ClientSession& s) {
  const Barrier& b = s.barriers.front();
  AwaitDurable(b.shard, b.lsn, s.st.id, /*wait=*/false);
  s.gate_registered = true;
}

// ---- Who wakes whom ------------------------------------------------------------------------------------------------
//
// The loop looks at its logs before it sleeps. For what is not durable then, it announces the lowest LSN of each shard
// and looks once more; the writer stores what is durable and then looks at the announcement. Both are sequentially
// consistent, so at least one of the two sees the other. A writer wakes a loop only for an announcement, and takes it
// away: a loop that is awake, or waits for something else, is not disturbed.

void LoopImpl::AwaitDurable(uint32_t shard, storage::Lsn lsn, uint64_t session_id, bool wait) {
  waiters_[shard].push(Waiter{lsn, session_id, wait});
  has_waiters_ = true;
}

void LoopImpl::OnDurable(uint32_t shard, storage::Lsn durable) {
  std::atomic<storage::Lsn>& awaited = awaited_[shard].lsn;
  storage::Lsn lsn = awaited.load(std::memory_order_seq_cst);
  // Failing, the loop has changed it since, and looks at the log after that.
  if (lsn <= durable && awaited.compare_exchange_strong(lsn, kNothing, std::memory_order_seq_cst)) mailbox_.Wake();
}

void LoopImpl::AnnounceWaits() {
  for (uint32_t shard = 0; shard < waiters_.size(); ++shard) {
    if (waiters_[shard].empty()) continue;
    has_waiters_ = announced_ = true;
    const storage::Lsn lsn = waiters_[shard].top().lsn;
    std::atomic<storage::Lsn>& awaited = awaited_[shard].lsn;
    if (awaited.load(std::memory_order_relaxed) != lsn) awaited.store(lsn, std::memory_order_seq_cst);
  }
}

// Only a hint to the writers: the loop announces them again before it sleeps.
void LoopImpl::WithdrawWaits() {
  announced_ = false;
  for (uint32_t shard = 0; shard < waiters_.size(); ++shard) {
    awaited_[shard].lsn.store(kNothing, std::memory_order_relaxed);
  }
}

bool LoopImpl::HasDurable() const {
  for (uint32_t shard = 0; shard < waiters_.size(); ++shard) {
    if (!waiters_[shard].empty() && waiters_[shard].top().lsn <= log(shard)->durable()) return true;
  }
  return false;
}

// The last thing before the loop waits for events.
void LoopImpl::OnPrepare() {
  if (!has_waiters_) return;
  // What is let go may execute commands, which may wait in their turn.
  constexpr int kPasses = 2;
  for (int pass = 0; pass < kPasses && ReleaseDurable(); ++pass) EndOfBatch();
  has_waiters_ = false;
  AnnounceWaits();
  if (has_waiters_ && HasDurable()) mailbox_.Wake();
}

void LoopImpl::PassBarriers(ClientSession& s) {
  while (!s.barriers.empty()) {
    const Barrier& b = s.barriers.front();
    if (log(b.shard)->durable() >= b.lsn) {
      s.barriers.Pop();
    } else if (!failures_[b.shard].empty()) {
      FailBarriers(s, b.shard);
    } else {
      RegisterGate(s);
      return;
    }
  }
}

void LoopImpl::OnLogProgress() {
  for (ShardHost* host : own_hosts_) {
    if (host->log() == nullptr) continue;
    const absl::Status status = host->log()->MayWrite();
    const bool failed = status.code() == absl::StatusCode::kFailedPrecondition;
    if (failed == !failures_[host->index].empty()) continue;
    // Nobody waits for what may never come: told to all loops, this one included.
    const std::string why = failed ? std::string(status.message()) : std::string();
    for (uint32_t i = 0; i < node_->loop_count(); ++i) {
      if (i == index_) continue;
      node_->Post(i, [shard = host->index, why](LoopImpl& loop) { loop.FailShard(shard, why); });
    }
    FailShard(host->index, why);
  }
  ReleaseDurable();
  replication_->OnProgress();
  if (!stalled_.empty()) RunStalled();
  if (!waiting_for_room_.empty()) {
    for (uint64_t id : waiting_for_room_) resume_later_.push_back(id);
    waiting_for_room_.clear();
  }
}

bool LoopImpl::ReleaseDurable() {
  bool released = false;
  for (uint32_t shard = 0; shard < waiters_.size(); ++shard) {
    Waiters& waiters = waiters_[shard];
    if (waiters.empty()) continue;
    const storage::Lsn durable = log(shard)->durable();
    while (!waiters.empty() && waiters.top().lsn <= durable) {
      released = true;
      const bool wait = waiters.top().wait;
      if (waiters.top().session_id == 0) {
        waiters.pop();
        replication_->OnDurable(shard);
        continue;
      }
      ClientSession* s = Find(waiters.top().session_id);
      waiters.pop();
      if (s == nullptr) continue;
      if (wait) {
        PassWait(*s);
        continue;
      }
      s->gate_registered = false;
      PassBarriers(*s);
      Touch(*s);
    }
  }
  return released;
}

void LoopImpl::FailShard(uint32_t shard, const std::string& why) {
  if (shard >= failures_.size()) return;  // of a data set that has given way to another
  failures_[shard] = why;
  if (why.empty()) return;
  Waiters waiters;
  waiters.swap(waiters_[shard]);
  for (; !waiters.empty(); waiters.pop()) {
    ClientSession* s = Find(waiters.top().session_id);
    if (s == nullptr) continue;
    if (waiters.top().wait) {
      s->wait_registered = false;
      if (s->wait != nullptr) FinishWait(*s, why);
      continue;
    }
    s->gate_registered = false;
    FailBarriers(*s, shard);
    PassBarriers(*s);
    Touch(*s);
  }
}

// Puts the error in the place of each reply that waits for the shard.
void LoopImpl::FailBarriers(ClientSession& s, uint32_t shard) {
  Buffer error;
  ReplyWriter(&error, s.st.resp).Error(failures_[shard]);
  Buffer out;
  out.Append({s.out.data() + s.sent, static_cast<size_t>(s.barriers.front().begin - s.out_base) - s.sent});
  const uint64_t base = s.out_base + s.sent;
  uint64_t at = s.barriers.front().begin;  // of the old stream
  const auto copy_to = [&](uint64_t position) {
    out.Append({s.out.data() + (at - s.out_base), static_cast<size_t>(position - at)});
    at = position;
  };
  Fifo<Barrier> kept;
  for (size_t i = 0; i < s.barriers.size(); ++i) {
    const Barrier& b = s.barriers[i];
    if (b.end <= at) continue;  // the same replies, already answered with the error
    copy_to(b.begin);
    const uint64_t begin = base + out.size();
    if (b.shard == shard) {
      for (uint32_t n = 0; n < b.replies; ++n) out.Append(error.view());
      at = b.end;
      // A reply of several shards stands here once for each.
      while (!kept.empty() && kept.back().begin == begin) kept.PopBack();
      continue;
    }
    // Another barrier of the same bytes may follow; the bytes are copied when the last of them has been seen.
    if (i + 1 < s.barriers.size() && s.barriers[i + 1].begin == b.begin) {
      kept.Push(Barrier{begin, begin + (b.end - b.begin), b.lsn, b.shard, b.replies});
      continue;
    }
    copy_to(b.end);
    kept.Push(Barrier{begin, base + out.size(), b.lsn, b.shard, b.replies});
  }
  copy_to(s.out_base + s.out.size());
  s.out = std::move(out);
  s.out_base = base;
  s.sent = 0;
  s.barriers = std::move(kept);
}

void LoopImpl::AddBarriers(ClientSession& s, size_t begin, const std::vector<ShardPart>& parts) {
  for (const ShardPart& part : parts) {
    if (part.wrote != 0) s.NoteWrite(part.shard, part.wrote);
    if (part.lsn != 0) s.AddBarrier(begin, part.shard, part.lsn);
  }
}

}  // namespace skein::node
