#include "node/loop_impl.h"

#include <glog/logging.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>

#include "node/config/check.h"
#include "node/listener.h"
#include "node/node_impl.h"
#include "node/replication/loop_replication.h"
#include "node/replication/replica_control.h"
#include "storage/backlog.h"
#include "storage/memory.h"

namespace skein::node {
namespace {

// Messages taken from the mailbox before sockets are served again.
constexpr int kMessagesPerDrain = 1024;
// Sessions looked at in one tick at least, for time-outs and soft limits.
constexpr size_t kSessionsPerTick = 64;
// Active expiry: keys looked at in one bracket, time for one slice, and the wait before the next if more is due. So it
// takes at most about a tenth of the loop's time, and no client waits for more than one slice.
constexpr uint32_t kExpireKeys = 32;
constexpr int64_t kExpireSliceNanos = 200'000;
constexpr uint64_t kExpirePauseMs = 2;
// How old the loop's clocks may be when a batch of commands begins.
constexpr double kFreshNanos = 500'000;

thread_local LoopImpl* current_loop = nullptr;

template <typename H>
uv_handle_t* AsHandle(H* handle) {
  return reinterpret_cast<uv_handle_t*>(handle);
}

}  // namespace

LoopImpl* LoopImpl::Current() { return current_loop; }

LoopImpl::LoopImpl(NodeImpl* node, uint32_t index) : node_(node), index_(index) {
  CHECK_EQ(uv_loop_init(&uv_), 0);
  uv_.data = this;
  CHECK_EQ(uv_poll_init(&uv_, &mailbox_poll_, mailbox_.fd()), 0);
  mailbox_poll_.data = this;
  uv_check_init(&uv_, &check_);
  check_.data = this;
  uv_prepare_init(&uv_, &prepare_);
  prepare_.data = this;
  uv_idle_init(&uv_, &slice_idle_);
  slice_idle_.data = this;
  for (uv_timer_t* t : {&tick_, &expire_timer_, &pause_timer_, &wait_timer_, &slice_timer_}) {
    uv_timer_init(&uv_, t);
    t->data = this;
  }
  read_buffer_ = std::make_unique<char[]>(kSmallRemainder + kReadSize);
  spare_out_.Reserve(16 * 1024);
  config_ = node->config();
  cluster_ = config_->cluster_enabled;
  guard_.replica = node->control().following();
  guard_.catching_up = node->control().catching_up();
  checked_ = cluster_ || guard_.any();
  replication_ = std::make_unique<LoopReplication>(this);
  hosts_.resize(node->shard_count());
  waiters_.resize(node->shard_count());
  awaited_ = std::make_unique<Awaited[]>(node->shard_count());
  failures_.resize(node->shard_count());
  outboxes_.resize(node->loop_count());
  RefreshClock();
}

LoopImpl::~LoopImpl() {
  if (!closed_) {
    Stop();
    uv_run(&uv_, UV_RUN_DEFAULT);
    CloseUv();
  }
}

void LoopImpl::Host(storage::Shard* shard) {
  auto host = std::make_unique<ShardHost>();
  host->index = shard->index();
  host->shard = shard;
  if (host->log() != nullptr) {
    host->end.store(host->log()->end(), std::memory_order_relaxed);
    host->whole = host->log()->end();
  }
  host->slots.resize((storage::kSlots + hosts_.size() - 1) / hosts_.size());
  shard->AddObserver(&notifier_);
  own_hosts_.push_back(host.get());
  hosts_[host->index] = std::move(host);
}

void LoopImpl::Listen(std::unique_ptr<Listener> listener) {
  listener_ = std::move(listener);
  listener_->Start(this);
}

void LoopImpl::Start() {
  saver_ = node_->data().saver();
  uv_poll_start(&mailbox_poll_, UV_READABLE,
                [](uv_poll_t* handle, int, int) { static_cast<LoopImpl*>(handle->data)->OnMailbox(); });
  uv_check_start(&check_, Call_<&LoopImpl::OnCheck, uv_check_t>);
  uv_prepare_start(&prepare_, Call_<&LoopImpl::OnPrepare, uv_prepare_t>);
  ApplyConfig(config_);
  thread_ = std::thread([this] { ThreadMain(); });
}

void LoopImpl::Join() {
  if (thread_.joinable()) thread_.join();
}

void LoopImpl::ThreadMain() {
  current_loop = this;
  pthread_setname_np(pthread_self(), ("loop-" + std::to_string(index_)).c_str());
  storage::AllocateFromReserve(index_);
  RefreshClock();
  alive_ms_.store(mono_ms_, std::memory_order_relaxed);
  OnMailbox();
  EndOfBatch();
  uv_run(&uv_, UV_RUN_DEFAULT);
  CloseUv();
  current_loop = nullptr;
}

void LoopImpl::CloseUv() {
  closed_ = true;
  CHECK_EQ(uv_loop_close(&uv_), 0);
}

void LoopImpl::RefreshClock() {
  clock_read_ = ReadCycles();
  mono_ms_ = ReadClockNanos(CLOCK_MONOTONIC) / 1'000'000;
  unix_ms_ = ReadClockNanos(CLOCK_REALTIME) / 1'000'000;
}

// ---- Mailbox and batches -------------------------------------------------------------------------------------------

void LoopImpl::OnMailbox() {
  mailbox_.Acknowledge();
  if (announced_) WithdrawWaits();
  FreshenClock();
  if (progress_.exchange(false, std::memory_order_acq_rel)) OnLogProgress();
  if (acks_.load(std::memory_order_relaxed)) CheckAckWaits();
  for (int i = 0; i < kMessagesPerDrain; ++i) {
    std::unique_ptr<Message> message = mailbox_.Take();
    if (message == nullptr) return;
    Message& m = *message;
    m.Run(*this, std::move(message));
  }
  mailbox_.Wake();
}

void LoopImpl::OnCheck() {
  if (!handshakes_.empty()) ShakeHands();
  if (!read_ahead_.empty()) ReadAhead();
  replication_->OnTurn();
  EndOfBatch();
  SnapshotSlices();
}

void LoopImpl::EndOfBatch() {
  if (!resume_later_.empty()) {
    std::vector<uint64_t> ids;
    ids.swap(resume_later_);
    for (uint64_t id : ids) {
      if (ClientSession* s = Find(id)) Resume(*s);
    }
    if (!resume_later_.empty()) mailbox_.Wake();
  }
  if (!touched_.empty()) FlushTouched();
  while (!open_boxes_.empty()) SendBatch(outboxes_[open_boxes_.back()]);
  if (!for_peers_.empty()) HandToBus();
  KickLogs();
  if (replication_->has_senders()) replication_->Send();
  if (!close_later_.empty()) {
    std::vector<uint64_t> ids;
    ids.swap(close_later_);
    for (uint64_t id : ids) {
      if (ClientSession* s = Find(id)) Flush(*s);
    }
  }
  if (draining_) CheckDrained();
}

void LoopImpl::KickLogs() {
  for (ShardHost* host : own_hosts_) {
    if (!host->dirty) continue;
    host->dirty = false;
    if (host->log() == nullptr) continue;
    host->log()->Kick();
    host->end.store(host->log()->end(), std::memory_order_relaxed);
  }
}

// ---- Time ----------------------------------------------------------------------------------------------------------

void LoopImpl::PublishUsed() {
  uint64_t used = 0;
  for (const ShardHost* host : own_hosts_) {
    used += host->shard->used_bytes();
    storage::Log* const log = host->log();
    if (log == nullptr) continue;
    used += log->pending_bytes();
    // What replicas that lag keep beyond its limit has a limit of its own, and is not made room for by refusing writes.
    if (const storage::Backlog* const backlog = log->backlog()) used += backlog->memory() - backlog->extra_memory();
  }
  used_.store(used, std::memory_order_relaxed);
}

bool LoopImpl::OverMemory(const CommandSpec& spec) {
  if (config_->maxmemory == 0 || (spec.flags & kFlagDenyOom) == 0) return false;
  PublishUsed();
  uint64_t used = 0;
  for (uint32_t i = 0; i < node_->loop_count(); ++i) used += node_->loop(i).used();
  return used > config_->maxmemory;
}

void LoopImpl::OnTick() {
  RefreshClock();
  alive_ms_.store(mono_ms_, std::memory_order_relaxed);
  rate_.Refine();
  fresh_cycles_ = rate_.Cycles(kFreshNanos);
  slow_cycles_ = config_->slowlog_log_slower_than < 0
                     ? UINT64_MAX
                     : rate_.Cycles(static_cast<double>(config_->slowlog_log_slower_than) * 1000);
  ScanSessions();
  for (ShardHost* host : own_hosts_) host->shard->Housekeep();
  PublishUsed();
  AppendTimes();
  // A log that has failed or recovered is also noticed without a writer that says so.
  // Nor do writes wait for ever for the room of a snapshot that is no more.
  if (frozen_until_ms_ != 0 && mono_ms_ >= frozen_until_ms_) EndFreeze();
  OnLogProgress();
  replication_->Tick();
  if (index_ == 0) node_->control().Tick();
  ExpireSlice();
  EndOfBatch();
}

// Once a second: so a log tells how long it was silent.
void LoopImpl::AppendTimes() {
  if (draining_ || frozen_until_ms_ != 0 || mono_ms_ - timed_ms_ < 1000) return;
  timed_ms_ = mono_ms_;
  for (ShardHost* host : own_hosts_) {
    if (host->log() == nullptr) continue;
    const storage::Lsn before = host->log()->end();
    host->log()->AppendTime(unix_ms_);
    if (host->log()->end() != before) host->dirty = true;
  }
}

void LoopImpl::OnExpireTimer() {
  RefreshClock();
  ExpireSlice();
  EndOfBatch();
}

void LoopImpl::ExpireSlice() {
  if (own_hosts_.empty() || draining_ || !config_->debug_active_expire) return;
  if (pause_.until_ms != 0 && pause_.until_ms > mono_ms_) return;
  const int64_t deadline = ReadClockNanos(CLOCK_MONOTONIC) + kExpireSliceNanos;
  bool more = false;
  for (size_t i = 0; i < own_hosts_.size(); ++i) {
    ShardHost& host = *own_hosts_[expire_next_++ % own_hosts_.size()];
    if (!host.shard->decides_expiry()) continue;
    storage::Shard::ExpireSlice slice{0, true};
    while (slice.more_due && ReadClockNanos(CLOCK_MONOTONIC) < deadline) {
      if (!host.shard->MayWrite().ok()) break;
      host.shard->Begin(unix_ms_);
      slice = host.shard->ExpireSome(kExpireKeys);
      if (host.shard->End() != 0) host.dirty = true;
    }
    more = more || slice.more_due;
  }
  if (more) uv_timer_start(&expire_timer_, Call_<&LoopImpl::OnExpireTimer, uv_timer_t>, kExpirePauseMs, 0);
}

void LoopImpl::ScanSessions() {
  const size_t total = sessions_.size();
  if (total == 0) return;
  size_t n = std::min(total, std::max(kSessionsPerTick, total / std::max<uint32_t>(1, config_->hz)));
  const int64_t idle_limit = config_->timeout * 1000ll;
  // Closing one puts another in its place: backwards, each is looked at once.
  size_t at = std::min(scan_next_ == 0 ? total : scan_next_, total);
  for (; n > 0 && !sessions_.empty(); --n) {
    if (at == 0) at = sessions_.size();
    ClientSession& s = *sessions_[--at];
    s.segments.Release();
    s.barriers.Release();
    if (HandshakeOverdue(s)) {
      ++stats_.tls_handshake_timeouts;
      CloseSession(s);
      continue;
    }
    if (idle_limit != 0 && s.park == Park::kNo && !s.st.subscribed() && mono_ms_ - s.st.last_active_ms > idle_limit) {
      ++stats_.timeouts;
      CloseSession(s);
      continue;
    }
    if (s.counted_output != 0 && OverOutputLimit(s)) {
      ++stats_.output_limit_closes;
      CloseSession(s);
    }
  }
  scan_next_ = at;
}

void LoopImpl::OnPauseTimer() {
  RefreshClock();
  // A pause of writes that has replaced one of everything lets the readers go; else all wait for its end.
  const bool on = pause_.until_ms > mono_ms_;
  if (on && pause_.writes_only == paused_writes_only_) return;
  if (!on) pause_ = PauseState{};
  std::vector<uint64_t> ids;
  ids.swap(paused_);
  uv_timer_stop(&pause_timer_);
  // Those whose command is still not allowed are parked again.
  for (uint64_t id : ids) {
    if (ClientSession* s = Find(id)) Resume(*s);
  }
  EndOfBatch();
}

// ---- What commands ask ---------------------------------------------------------------------------------------------

ClientSession* LoopImpl::Find(uint64_t id) {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : it->second;
}

void LoopImpl::ForEachCommandStats(const std::function<void(const CommandStats&)>& fn) {
  for (const auto& [spec, info] : infos_) {
    CommandStats stats = info->stats;
    if (stats.calls == 0 && stats.rejected_calls == 0) continue;
    stats.nanos = static_cast<uint64_t>(rate_.Nanos(info->cycles));
    fn(stats);
  }
}

void LoopImpl::ForEachSession(const std::function<void(Session&)>& fn) {
  for (ClientSession* s : sessions_) {
    fn(*s);
    if (s->st.close_now) CloseLater(*s);
  }
}

void LoopImpl::ForEachShard(const std::function<void(storage::Shard&)>& fn) {
  for (ShardHost* host : own_hosts_) fn(*host->shard);
}

void LoopImpl::ResetStats() {
  const uint64_t clients = stats_.clients, output = stats_.output_bytes, blocked = stats_.blocked;
  stats_ = LoopStats{};
  stats_.blocked = blocked;
  stats_.clients = clients;
  stats_.output_bytes = output;
  error_stats_.clear();
  if (slot_stats_ != nullptr) slot_stats_->Reset();
  for (ShardHost* host : own_hosts_) host->shard->ResetExpiredKeys();
  for (auto& [spec, info] : infos_) {
    info->cycles = 0;
    info->stats = CommandStats{};
    info->stats.spec = spec;
  }
}

// ---- What others bring ---------------------------------------------------------------------------------------------

NewClient::~NewClient() {
  if (fd_ >= 0) close(fd_);
}

void NewClient::Run(LoopImpl& loop, std::unique_ptr<Message>) {
  loop.Adopt(std::exchange(fd_, -1), std::move(admission_), std::move(addr_), std::move(laddr_), std::move(tls_),
             denial_);
}

void LoopImpl::Adopt(int fd, Admission admission, std::string addr, std::string laddr, bus::TlsContextPtr tls,
                     std::string_view denial) {
  if (draining_) {
    close(fd);
    session_count_.fetch_sub(1, std::memory_order_relaxed);
    return;
  }
  auto* s = new ClientSession(this, fd, std::move(admission));
  if (uv_poll_init(&uv_, &s->poll, fd) != 0) {
    delete s;
    close(fd);
    session_count_.fetch_sub(1, std::memory_order_relaxed);
    return;
  }
  s->poll.data = s;
  if (tls != nullptr) {
    s->tls = std::make_unique<SecureChannel>();
    s->tls->stream = bus::TlsStream::Create(std::move(tls), fd, bus::TlsStream::Role::kAcceptClient);
    s->tls->denial = denial;
    s->st.tls = true;
  }
  s->st.id = node_->NextClientId();
  s->st.fd = fd;
  s->st.addr = std::move(addr);
  s->st.laddr = std::move(laddr);
  s->st.created_ms = s->st.last_active_ms = mono_ms_;
  s->st.authenticated = config_->requirepass.empty();
  s->position = static_cast<uint32_t>(sessions_.size());
  sessions_.push_back(s);
  by_id_.emplace(s->st.id, s);
  stats_.clients = sessions_.size();
  s->UpdatePoll();
}

void LoopImpl::ApplyConfig(ConfigPtr config) {
  if (config_ != config) retired_config_ = std::exchange(config_, std::move(config));
  ApplyGating();
  for (ShardHost* host : own_hosts_) {
    if (host->log() == nullptr) continue;
    host->log()->set_fsync(EffectiveFsync(*config_));
    if (host->log()->backlog() != nullptr) host->log()->KeepBacklog(config_->repl_backlog_size);
  }
  notifier_.events = config_->notify_keyspace_events;
  slowlog_.Trim(config_->slowlog_max_len);
  if (!cluster_ || !config_->cluster_slot_stats_enabled) {
    slot_stats_.reset();
  } else if (slot_stats_ == nullptr) {
    slot_stats_ = std::make_unique<SlotStats>();
  }
  const uint64_t period = 1000 / std::max<uint32_t>(1, config_->hz);
  // Started anew at each change it would never end, if changes came more often than ticks.
  if (period != tick_period_ms_) {
    tick_period_ms_ = period;
    uv_timer_start(&tick_, Call_<&LoopImpl::OnTick, uv_timer_t>, period, period);
  }
  slow_cycles_ = config_->slowlog_log_slower_than < 0
                     ? UINT64_MAX
                     : rate_.Cycles(static_cast<double>(config_->slowlog_log_slower_than) * 1000);
}

void LoopImpl::ApplyTopology(bus::TopologyPtr topology) {
  routing_.Apply(std::move(topology));
  if (slot_stats_ != nullptr) {
    const bus::Topology& now = *this->topology();
    for (uint32_t slot = 0; slot < storage::kSlots; ++slot) {
      if (!now.Owns(static_cast<uint16_t>(slot)) && now.me().primary) slot_stats_->Reset(static_cast<uint16_t>(slot));
    }
  }
  DropForeignChannels();
  writable_checked_ms_ = -1;
  ApplyRole();
  if (index_ == 0 && this->topology() != nullptr) node_->control().OnTopology(routing_.topology_ptr());
}

// ---- Stopping ------------------------------------------------------------------------------------------------------

void LoopImpl::BeginDrain() {
  if (draining_) return;
  draining_ = true;
  if (listener_ != nullptr) listener_->Stop();
  uv_timer_stop(&expire_timer_);
  replication_->Follow(std::nullopt);
  // No further command starts; what was answered still goes out, gated replies once they are durable.
  const std::vector<ClientSession*> all = sessions_;
  for (ClientSession* s : all) {
    s->query.Release();
    s->stop_reading = true;
    s->st.close_after_reply = true;
    if (s->wait != nullptr) FinishWait(*s, {});
    if (s->park != Park::kDeferred) s->park = Park::kNo;
    Flush(*s);
  }
  if (frozen_until_ms_ != 0) RunStalled();
  CheckDrained();
}

void LoopImpl::CheckDrained() {
  if (!sessions_.empty() || !stalled_.empty() || drained_.load(std::memory_order_relaxed)) return;
  for (const Outbox& box : outboxes_) {
    if (box.outstanding != 0) return;
  }
  KickLogs();
  if (!replication_->Drain()) return;
  drained_.store(true, std::memory_order_release);
  node_->OnDrained();
}

void LoopImpl::Stop() {
  if (stopping_) return;
  stopping_ = draining_ = true;
  KickLogs();  // this may be the batch that appended: it has no end of its own any more (L21)
  if (listener_ != nullptr) listener_->Stop();
  while (!sessions_.empty()) CloseSession(*sessions_.back());
  replication_->Stop();
  uv_close(AsHandle(&mailbox_poll_), nullptr);
  uv_close(AsHandle(&check_), nullptr);
  uv_close(AsHandle(&prepare_), nullptr);
  uv_close(AsHandle(&slice_idle_), nullptr);
  for (uv_timer_t* t : {&tick_, &expire_timer_, &pause_timer_, &wait_timer_, &slice_timer_})
    uv_close(AsHandle(t), nullptr);
}

}  // namespace skein::node
