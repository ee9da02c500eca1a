#include "storage/saver.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

#include "glog/logging.h"
#include "storage/runbook.h"
#include "storage/saver_impl.h"
#include "storage/shard.h"
#include "storage/wall_clock.h"

namespace skein::storage {
namespace {

// Clients that may wait for one scheduled save.
constexpr size_t kMaxWaiting = 100'000;

absl::Status Stopping() { return absl::FailedPreconditionError("the node is stopping"); }

}  // namespace

SaverImpl::SaverImpl(SaverEnv env, const SaveOptions& options)
    : env_(std::move(env)), logs_(env_.logs), changes_(std::make_shared<Changes>(env_.shards)) {
  if (env_.before.has_value()) {
    status_ = *env_.before;
  } else {
    status_.last_save = WallClock();
  }
  status_.changes_at_save = env_.changes;
  SetOptions(options);
  RemoveLeftovers(env_.fs, env_.dir);
  thread_ = std::thread([this] { ThreadMain(); });
}

SaverImpl::~SaverImpl() { Stop(); }

void SaverImpl::Stop() {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(stopping_, true)) return;
  }
  Cancel();
  wake_.notify_all();
  thread_.join();
}

// ---- Asked for -----------------------------------------------------------------------------------------------------

std::vector<uint32_t> SaverImpl::AllShards() const {
  std::vector<uint32_t> all(env_.shards);
  for (uint32_t i = 0; i < env_.shards; ++i) all[i] = i;
  return all;
}

void SaverImpl::Begin(Request request) {
  status_.running = request.kind;
  status_.started = WallClock();
  started_ = Clock::now();
  ++(request.kind == Kind::kRdb ? status_.saves : status_.rewrites);
  queue_ = std::make_shared<SaveQueue>();
  if (logs_ != nullptr) queue_->set_on_interrupt([logs = logs_] { logs->WakeReplicated(); });
  progress_ = std::make_shared<SaveProgress>();
  for (uint32_t i = 0; i < env_.shards; ++i) {
    progress_->budgets.push_back(std::make_shared<SnapshotBudget>(options_.buffer_limit, [this, i] {
      if (env_.on_room) env_.on_room(i);
    }));
  }
  first_logs_ = request.first;
  next_ = std::move(request);
  wake_.notify_all();
}

absl::Status SaverImpl::StartRdb(bool schedule, bool* scheduled, Callbacks callbacks) {
  const std::lock_guard lock(mutex_);
  *scheduled = false;
  if (stopping_ || cancelling_) return Stopping();
  if (status_.running == Kind::kRdb) return absl::FailedPreconditionError("Background save already in progress");
  if (status_.running == Kind::kNone) {
    Begin({.kind = Kind::kRdb, .shards = AllShards(), .callbacks = {std::move(callbacks)}});
    return absl::OkStatus();
  }
  if (!schedule) {
    return absl::FailedPreconditionError(
        "Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to schedule a "
        "BGSAVE whenever possible.");
  }
  if (!scheduled_rdb_) scheduled_rdb_ = Request{.kind = Kind::kRdb, .shards = AllShards(), .callbacks = {}};
  if (scheduled_rdb_->callbacks.size() >= kMaxWaiting) {
    return absl::ResourceExhaustedError("too many clients wait for the scheduled save");
  }
  scheduled_rdb_->callbacks.push_back(std::move(callbacks));
  *scheduled = status_.rdb_scheduled = true;
  return absl::OkStatus();
}

absl::Status SaverImpl::StartRewrite(bool* scheduled, Callbacks callbacks) {
  const std::lock_guard lock(mutex_);
  *scheduled = false;
  if (logs_ == nullptr && first_logs_ == nullptr && !(scheduled_rewrite_.has_value() && scheduled_rewrite_->first)) {
    return absl::FailedPreconditionError("appendonly is no: there is no append-only file to rewrite");
  }
  if (stopping_ || cancelling_) return Stopping();
  if (status_.running == Kind::kRewrite) {
    return absl::FailedPreconditionError("Background append only file rewriting already in progress");
  }
  if (status_.running == Kind::kNone) {
    Begin({.kind = Kind::kRewrite, .shards = AllShards(), .callbacks = {std::move(callbacks)}});
    return absl::OkStatus();
  }
  if (!scheduled_rewrite_) scheduled_rewrite_ = Request{.kind = Kind::kRewrite, .shards = AllShards(), .callbacks = {}};
  if (scheduled_rewrite_->callbacks.size() >= kMaxWaiting) {
    return absl::ResourceExhaustedError("too many clients wait for the scheduled rewrite");
  }
  scheduled_rewrite_->callbacks.push_back(std::move(callbacks));
  *scheduled = status_.rewrite_scheduled = true;
  return absl::OkStatus();
}

absl::Status SaverImpl::StartFirstRewrite(SaverLogs* logs, bool* scheduled, Callbacks callbacks) {
  const std::lock_guard lock(mutex_);
  *scheduled = false;
  if (stopping_ || cancelling_) return Stopping();
  CHECK(logs_ == nullptr && first_logs_ == nullptr && !scheduled_rewrite_.has_value());
  Request request{.kind = Kind::kRewrite, .shards = AllShards(), .callbacks = {std::move(callbacks)}};
  request.first = logs;
  if (status_.running == Kind::kNone) {
    Begin(std::move(request));
  } else {
    scheduled_rewrite_ = std::move(request);
    *scheduled = status_.rewrite_scheduled = true;
  }
  return absl::OkStatus();
}

void SaverImpl::InterruptFirstRewrite() {
  std::vector<Callbacks> dropped;
  {
    const std::lock_guard lock(mutex_);
    if (first_logs_ != nullptr && queue_ != nullptr) queue_->Interrupt();
    if (scheduled_rewrite_.has_value() && scheduled_rewrite_->first != nullptr) {
      dropped = std::move(std::exchange(scheduled_rewrite_, std::nullopt)->callbacks);
      status_.rewrite_scheduled = false;
    }
  }
  TellAll(dropped, absl::CancelledError("cancelled"));
}

void SaverImpl::ForgetLogs() {
  std::vector<Callbacks> dropped;
  {
    std::unique_lock lock(mutex_);
    logs_ = nullptr;
    if (scheduled_rewrite_.has_value()) {
      dropped = std::move(std::exchange(scheduled_rewrite_, std::nullopt)->callbacks);
      status_.rewrite_scheduled = false;
    }
    if (status_.running == Kind::kRewrite && queue_ != nullptr) queue_->Interrupt();
    idle_.wait(lock, [this] { return status_.running != Kind::kRewrite && !ticking_; });
    // One that ended well before it heard of this.
    logs_ = nullptr;
  }
  TellAll(dropped, absl::CancelledError("cancelled"));
}

void SaverImpl::TellAll(const std::vector<Callbacks>& all, const absl::Status& status) {
  for (const Callbacks& callbacks : all) {
    if (callbacks.begun) callbacks.begun(status);
    if (callbacks.ended) callbacks.ended(status);
  }
}

void SaverImpl::Cancel() {
  std::vector<Callbacks> dropped;
  {
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [this] { return !cancelling_; });
    cancelling_ = true;
    for (std::optional<Request>* scheduled : {&scheduled_rdb_, &scheduled_rewrite_}) {
      if (!scheduled->has_value()) continue;
      for (Callbacks& callbacks : (*scheduled)->callbacks) dropped.push_back(std::move(callbacks));
      scheduled->reset();
    }
    status_.rdb_scheduled = status_.rewrite_scheduled = false;
    if (queue_ != nullptr) queue_->Interrupt();
    idle_.wait(lock, [this] { return status_.running == Kind::kNone; });
    cancelling_ = false;
    idle_.notify_all();
  }
  TellAll(dropped, absl::CancelledError("cancelled"));
}

// ---- What others see -----------------------------------------------------------------------------------------------

SaveStatus SaverImpl::status() const {
  const std::lock_guard lock(mutex_);
  SaveStatus status = status_;
  if (progress_ != nullptr) {
    status.keys_total = progress_->keys_total;
    status.keys_done = progress_->keys_done;
    status.bytes_written = progress_->bytes_written;
    status.bytes_unwritten = progress_->unwritten();
    status.bytes_unwritten_peak = std::max<uint64_t>(progress_->peak, status.bytes_unwritten);
  }
  return status;
}

void SaverImpl::SetOptions(const SaveOptions& options) {
  const std::lock_guard lock(mutex_);
  options_ = options;
  rate_.store(options.max_rate, std::memory_order_relaxed);
  UpdateRefusal();
}

void SaverImpl::ResetCounts() {
  const std::lock_guard lock(mutex_);
  status_.saves = status_.rewrites = 0;
}

SaveOptions SaverImpl::options() const {
  const std::lock_guard lock(mutex_);
  return options_;
}

void SaverImpl::UpdateRefusal() {
  refuses_writes_.store(options_.stop_writes_on_error && !options_.save_points.empty() && !status_.last_save_ok,
                        std::memory_order_relaxed);
}

std::string SaverImpl::refusal() const {
  const std::lock_guard lock(mutex_);
  return "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands "
         "that "
         "may modify the data set are disabled, because this instance is configured to report errors during writes if "
         "RDB snapshotting fails (stop-writes-on-bgsave-error option). The reason: " +
         status_.last_error + SeeRunbook("disk-full");
}

// ---- The thread ----------------------------------------------------------------------------------------------------

void SaverImpl::ThreadMain() {
  pthread_setname_np(pthread_self(), "saver");
  std::unique_lock lock(mutex_);
  while (true) {
    if (next_.has_value()) {
      RunOne(lock);
      continue;
    }
    if (stopping_) return;
    wake_.wait_for(lock, env_.tick, [this] { return next_.has_value() || stopping_; });
    if (!next_.has_value() && !stopping_ && !cancelling_) Tick(lock);
  }
}

void SaverImpl::RunOne(std::unique_lock<std::mutex>& lock) {
  const Request request = *std::exchange(next_, std::nullopt);
  SaveRun::Plan plan;
  plan.kind = request.kind;
  plan.shards = request.shards;
  plan.first = request.first != nullptr;
  SaverEnv env = env_;
  env.logs = plan.first ? request.first : logs_;
  plan.options = options_;
  plan.rate = [this] { return rate_.load(std::memory_order_relaxed); };
  plan.queue = queue_;
  plan.progress = progress_;
  plan.begun = [&request](const absl::Status& status) {
    for (const Callbacks& callbacks : request.callbacks) {
      if (callbacks.begun) callbacks.begun(status);
    }
  };
  lock.unlock();
  LOG(INFO) << (request.kind == Kind::kRdb ? "background saving" : "rewriting of the append-only files") << " has begun"
            << (request.reviving ? ", to let writes in again after a failed sync" : "");
  absl::Status result;
  uint64_t changes = 0;
  {
    SaveRun run(env, std::move(plan));
    result = run.Execute();
    changes = run.changes();
  }
  lock.lock();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - started_).count();
  Finished(request, result, changes, seconds);
  lock.unlock();
  // The flag is down before anybody hears that it has ended (L17).
  for (const Callbacks& callbacks : request.callbacks) {
    if (callbacks.ended) callbacks.ended(result);
  }
  lock.lock();
}

void SaverImpl::Finished(const Request& request, const absl::Status& result, uint64_t changes, int64_t seconds) {
  const bool cancelled = absl::IsCancelled(result);
  const char* const what = request.kind == Kind::kRdb ? "background saving" : "rewriting of the append-only files";
  if (result.ok()) {
    LOG(INFO) << what << " has ended well, " << progress_->bytes_written << " bytes";
  } else if (cancelled) {
    LOG(INFO) << what << " was cancelled";
  } else {
    LOG(ERROR) << what << " has failed: " << result.message();
    status_.last_error = std::string(result.message());
  }
  status_.running = Kind::kNone;
  first_logs_ = nullptr;
  if (request.first != nullptr && result.ok()) logs_ = request.first;
  (request.kind == Kind::kRdb ? status_.last_save_peak : status_.last_rewrite_peak) = progress_->peak;
  if (request.kind == Kind::kRdb && !cancelled) {
    status_.last_save_ok = result.ok();
    status_.last_save_seconds = seconds;
    if (result.ok()) {
      status_.last_save = WallClock();
      status_.changes_at_save = changes;
      rdb_back_off_.Worked();
    } else {
      rdb_back_off_.Failed(env_.retry, env_.retry);
    }
  }
  if (request.kind == Kind::kRewrite && !cancelled) {
    status_.last_rewrite_ok = result.ok();
    status_.last_rewrite_seconds = seconds;
    status_.consecutive_rewrite_failures = result.ok() ? 0 : status_.consecutive_rewrite_failures + 1;
    if (result.ok()) {
      rewrite_back_off_.Worked();
      revive_back_off_.Worked();
    } else {
      rewrite_back_off_.Failed(env_.retry, 12 * env_.retry);
      revive_back_off_.Failed(env_.revive_first, env_.revive_last);
    }
  }
  queue_.reset();
  progress_.reset();
  UpdateRefusal();
  BeginScheduled();
  idle_.notify_all();
}

void SaverImpl::BeginScheduled() {
  if (stopping_ || cancelling_) return;
  if (scheduled_rewrite_.has_value()) {
    status_.rewrite_scheduled = false;
    Begin(*std::exchange(scheduled_rewrite_, std::nullopt));
  } else if (scheduled_rdb_.has_value()) {
    status_.rdb_scheduled = false;
    Begin(*std::exchange(scheduled_rdb_, std::nullopt));
  }
}

// ---- Saves that nobody asked for -----------------------------------------------------------------------------------

void SaverImpl::Tick(std::unique_lock<std::mutex>& lock) {
  if (SaverLogs* const logs = logs_; logs != nullptr) {
    // Asked without the lock: the logs have locks of their own.
    ticking_ = true;
    lock.unlock();
    std::vector<uint32_t> poisoned;
    for (uint32_t i = 0; i < env_.shards; ++i) {
      if (logs->Poisoned(i)) poisoned.push_back(i);
    }
    const DataSet::Stats stats = logs->stats();
    lock.lock();
    ticking_ = false;
    idle_.notify_all();
    if (logs_ == nullptr) return;
    if (status_.running != Kind::kNone || stopping_ || cancelling_) return;
    if (!poisoned.empty() && revive_back_off_.Over()) {
      return Begin({.kind = Kind::kRewrite, .shards = std::move(poisoned), .callbacks = {}, .reviving = true});
    }
    if (std::vector<uint32_t> grown = GrownShards(stats); !grown.empty() && rewrite_back_off_.Over()) {
      LOG(INFO) << "the append-only files of " << grown.size() << " shards have grown past auto-aof-rewrite-percentage";
      return Begin({.kind = Kind::kRewrite, .shards = std::move(grown), .callbacks = {}});
    }
  }
  if (options_.save_points.empty()) return;
  if (SavePointReached() && rdb_back_off_.Over()) {
    return Begin({.kind = Kind::kRdb, .shards = AllShards(), .callbacks = {}});
  }
  AskForChanges();
}

std::vector<uint32_t> SaverImpl::GrownShards(const DataSet::Stats& stats) const {
  std::vector<uint32_t> grown;
  if (options_.rewrite_percentage == 0) return grown;
  for (uint32_t i = 0; i < stats.shards.size(); ++i) {
    const DataSet::Stats::PerShard& shard = stats.shards[i];
    const uint64_t size = shard.incr_size + shard.base_size;
    const uint64_t after = std::max<uint64_t>(shard.size_after_rewrite, 1);
    if (!shard.ok || size <= options_.rewrite_min_size || size < after) continue;
    const double growth = static_cast<double>(size - after) * 100 / static_cast<double>(after);
    if (growth >= options_.rewrite_percentage) grown.push_back(i);
  }
  return grown;
}

bool SaverImpl::SavePointReached() const {
  uint64_t changes = 0;
  for (const std::atomic<uint64_t>& of_shard : changes_->of_shard) changes += of_shard.load(std::memory_order_relaxed);
  if (changes <= status_.changes_at_save) return false;
  const uint64_t unsaved = changes - status_.changes_at_save;
  const UnixMillis age = WallClock() - status_.last_save;
  return std::any_of(options_.save_points.begin(), options_.save_points.end(),
                     [&](const SavePoint& point) { return unsaved >= point.changes && age >= point.seconds * 1000; });
}

void SaverImpl::AskForChanges() {
  // Once a second, the unit of save points: the shards' threads may be busy.
  if (changes_->asked.load(std::memory_order_acquire) != 0 || Clock::now() < next_question_) return;
  next_question_ = Clock::now() + 10 * env_.tick;
  changes_->asked.store(env_.shards, std::memory_order_relaxed);
  for (uint32_t i = 0; i < env_.shards; ++i) {
    env_.run_on_shard(i, [changes = changes_](Shard& shard) {
      changes->of_shard[shard.index()].store(shard.changes(), std::memory_order_relaxed);
      changes->asked.fetch_sub(1, std::memory_order_release);
    });
  }
}

}  // namespace skein::storage
