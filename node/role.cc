// What replication asks of a loop: what its clients may, that nothing is appended, that logs follow or begin a reign.
#include <string>
#include <utility>

#include "glog/logging.h"
#include "node/loop_impl.h"
#include "node/node_impl.h"
#include "node/replication/loop_replication.h"
#include "storage/backlog.h"
#include "storage/record.h"

namespace skein::node {

void LoopImpl::ApplyGuard(const RoleGuard& guard) {
  guard_ = guard;
  checked_ = cluster_ || guard_.any();
  ApplyRole();
}

void LoopImpl::ApplyRole() {
  const bool decides = is_primary() && frozen_until_ms_ == 0;
  for (ShardHost* host : own_hosts_) host->shard->set_decides_expiry(decides);
}

bool LoopImpl::PassesGuard(const CommandSpec& spec, const ShardHost* host, ReplyWriter* reply) const {
  const bool write = spec.flags & kFlagWrite;
  if (guard_.catching_up && (write || host != nullptr || spec.scope == Scope::kAllShards) &&
      (spec.flags & kFlagLoading) == 0) {
    // What Redis says at this moment, and what cluster clients retry on.
    reply->Error("CLUSTERDOWN The cluster is down: this node first asks its replicas for what its log may lack");
    return false;
  }
  if (write && guard_.few_replicas) {
    reply->Error("NOREPLICAS Not enough good replicas to write.");
    return false;
  }
  if (write && guard_.replica) {
    reply->Error("READONLY You can't write against a read only replica.");
    return false;
  }
  if (guard_.stale && (spec.flags & kFlagStale) == 0) {
    reply->Error("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.");
    return false;
  }
  if (guard_.reshaping && (host != nullptr || spec.scope == Scope::kAllShards)) {
    reply->Error(kReshaping);
    return false;
  }
  // What touches no data, the cluster's own commands above all, is served: a person must be able to help.
  const bool loading = host != nullptr ? host->shard->loading() : guard_.loading && spec.scope == Scope::kAllShards;
  if (loading && (spec.flags & kFlagLoading) == 0) {
    reply->Error("LOADING Redis is loading the dataset in memory");
    return false;
  }
  return true;
}

void LoopImpl::Freeze(int64_t until_mono_ms) {
  if (until_mono_ms == 0) {
    if (frozen_until_ms_ != 0) EndFreeze();
    return;
  }
  frozen_until_ms_ = until_mono_ms;
  ApplyRole();
  KickLogs();
}

void LoopImpl::EndFreeze() {
  frozen_until_ms_ = 0;
  ApplyRole();
  OnLogProgress();  // lets those go on that wait for room
}

NewFlow LoopImpl::Detach(ClientSession& s) {
  NewFlow flow;
  flow.channel =
      std::make_unique<FlowChannel>(std::exchange(s.fd, -1), s.tls != nullptr ? std::move(s.tls->stream) : nullptr);
  flow.admission = std::move(s.admission);
  flow.addr = s.st.addr;
  flow.client_id = s.st.id;
  flow.created_ms = s.st.created_ms;
  s.tls.reset();
  CloseSession(s);
  return flow;
}

void LoopImpl::FollowLogs(bool yes) {
  for (ShardHost* host : own_hosts_) {
    if (host->log() != nullptr) host->log()->set_follows(yes);
  }
}

void LoopImpl::KeepBacklogs(bool yes) {
  for (ShardHost* host : own_hosts_) {
    if (host->log() != nullptr) host->log()->KeepBacklog(yes ? config_->repl_backlog_size : 0);
  }
}

std::vector<std::pair<uint32_t, storage::Lsn>> LoopImpl::BeginReigns(uint64_t epoch, std::string* error) {
  RefreshClock();
  std::vector<std::pair<uint32_t, storage::Lsn>> begun;
  for (ShardHost* host : own_hosts_) {
    if (host->shard->loading()) {
      *error = "shard " + std::to_string(host->index) +
               " has been synchronized in part only; let it follow a primary, or restart it with what it had before";
      continue;
    }
    if (host->log() == nullptr) continue;
    host->log()->set_follows(false);
    const std::vector<storage::Reign>& history = host->log()->history();
    const uint64_t next = history.empty() ? 1 : history.back().epoch + 1;
    begun.emplace_back(host->index, host->log()->BeginReign(epoch != 0 ? epoch : next, unix_ms_));
    host->whole = host->log()->end();
    host->dirty = true;
  }
  KickLogs();
  return begun;
}

void LoopImpl::OnShardReplaced(ShardHost& host) {
  const storage::Lsn end = host.log() == nullptr ? 0 : host.log()->end();
  std::fill(host.slots.begin(), host.slots.end(), 0);
  host.whole = end;
  host.end.store(end, std::memory_order_relaxed);
  host.dirty = false;
  if (host.log() != nullptr) {
    host.log()->set_follows(true);
    host.log()->KeepBacklog(config_->repl_backlog_size);
  }
}

}  // namespace skein::node
