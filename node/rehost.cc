// A loop lets go of its shards and takes others: its node's data set is another one (replication/shape_change.h).
#include <algorithm>
#include <vector>

#include "glog/logging.h"
#include "node/loop_impl.h"
#include "node/node_impl.h"

namespace skein::node {

bool LoopImpl::LeaveShards() {
  KickLogs();
  ReleaseDurable();
  // The log has been closed: what is not durable now will not be.
  if (std::any_of(waiters_.begin(), waiters_.end(), [](const Waiters& w) { return !w.empty(); })) {
    for (uint32_t shard = 0; shard < waiters_.size(); ++shard) FailShard(shard, kReshaping);
  }
  for (ClientSession* s : std::vector<ClientSession*>(sessions_)) {
    if (s->wait != nullptr) FinishWait(*s, {});
  }
  if (!stalled_.empty()) RunStalled();
  return stalled_.empty() && touched_.empty() &&
         std::all_of(outboxes_.begin(), outboxes_.end(), [](const Outbox& box) { return box.outstanding == 0; });
}

void LoopImpl::TakeShards() {
  const uint32_t count = node_->shard_count();
  own_hosts_.clear();
  hosts_.clear();
  hosts_.resize(count);
  waiters_.clear();
  waiters_.resize(count);
  awaited_ = std::make_unique<Awaited[]>(count);
  failures_.assign(count, std::string());
  has_waiters_ = announced_ = false;
  log_waiters_.clear();
  ack_waiters_.clear();
  for (ClientSession* s : sessions_) {
    CHECK(s->barriers.empty());
    s->wrote.clear();
    s->gate_registered = s->wait_registered = false;
  }
  for (uint32_t shard = 0; shard < count; ++shard) {
    if (node_->LoopOf(shard) == index_) Host(&node_->data().shard(shard));
  }
  saver_ = node_->data().saver();
  ApplyRole();
  ApplyGating();
  PublishUsed();
}

}  // namespace skein::node
