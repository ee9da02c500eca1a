// What INFO and ROLE are told of replication.
#include <algorithm>
#include <utility>

#include "node/node_impl.h"
#include "node/replication/replica_control.h"

namespace skein::node {

ReplicationInfo ReplicaControl::Info() const {
  ReplicationInfo info;
  const int64_t now = ReadMonoMs();
  {
    const std::lock_guard lock(mutex_);
    info.catching_up = catching_up();
    if (following() && !info.catching_up) info.upstream = upstream_ ? *upstream_ : Upstream{};
  }
  if (info.upstream) {
    for (uint32_t i = 0; i < node_->shard_count(); ++i) {
      FlowStatus& s = status_[i];
      ReplicationInfo::Flow& flow = info.flows.emplace_back();
      flow.state = s.state.load();
      flow.received = node_->ShardEnd(i);
      flow.upstream_end = s.upstream_end.load();
      const int64_t heard = s.heard_ms.load(), down = s.down_since_ms.load();
      flow.last_io_ms = heard < 0 ? -1 : std::max<int64_t>(0, now - heard);
      flow.down_since_ms = down < 0 ? -1 : std::max<int64_t>(0, now - down);
      flow.whole = s.whole.load();
      const std::lock_guard lock(s.mutex);
      flow.error = s.error;
      if (i == 0) info.primary_id = s.primary_id;
    }
  }
  constexpr const char* kStages[] = {"none", "wait_bgsave", "send_bulk", "online"};
  for (AckBoard::View& view : board_->Look()) {
    ReplicationInfo::Replica& r = info.replicas.emplace_back();
    r.id = view.id;
    r.ip = view.ip;
    r.port = view.port;
    auto least = AckBoard::Stage::kOnline;
    int64_t oldest = now;
    for (const AckBoard::View::Shard& s : view.shards) {
      least = std::min(least, s.stage);
      oldest = std::min(oldest, s.acked_ms);
      r.received += s.received;
      r.durable += s.durable;
      r.received_lsn.push_back(s.received);
      r.durable_lsn.push_back(s.durable);
      r.states.push_back(kStages[static_cast<size_t>(s.stage)]);
    }
    r.state = least == AckBoard::Stage::kNone ? "wait_bgsave" : kStages[static_cast<size_t>(least)];
    r.lag_ms = oldest < 0 ? -1 : now - oldest;
  }
  for (uint32_t i = 0; i < node_->shard_count(); ++i) {
    info.backlog_active = info.backlog_active || status_[i].keeps_backlog.load();
    info.backlog_bytes += status_[i].backlog_bytes.load();
    info.lost_records += status_[i].lost_records.load();
    info.lost_bytes += status_[i].lost_bytes.load();
  }
  info.sync_full = counts_.full.load();
  info.sync_partial_ok = counts_.partial.load();
  info.sync_partial_err = counts_.partial_refused.load();
  info.flows_unproven = counts_.unproven.load();
  const ConfigPtr config = node_->config();
  info.good_replicas = board_->CountSince(now - int64_t{config->min_replicas_max_lag} * 1000);
  return info;
}

}  // namespace skein::node
