#include "storage/log_switch.h"

#include <pthread.h>

#include <algorithm>
#include <future>
#include <latch>
#include <utility>

#include "glog/logging.h"
#include "storage/kill_point.h"
#include "storage/shard.h"

namespace skein::storage {
namespace {

constexpr size_t kMaxTasks = 1000;
// Logs that were in use last: a thread may be about to ask them something.
constexpr size_t kRetired = 2;

}  // namespace

LogSwitch::LogSwitch(const DataSetOptions& options, std::unique_ptr<LogSet> logs)
    : options_(options), shards_(logs != nullptr ? logs->shard_count() : options.shards), starts_(shards_) {
  if (logs == nullptr) return;
  Adopt(std::move(logs));
  logged_ = true;
}

LogSwitch::~LogSwitch() { End(); }

void LogSwitch::Begin(SaverImpl* saver, DataSet::RunOnShard run_on_shard) {
  saver_ = saver;
  run_on_shard_ = std::move(run_on_shard);
}

void LogSwitch::End() {
  std::thread thread;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    thread = std::move(thread_);
  }
  changed_.notify_all();
  if (thread.joinable()) thread.join();
}

std::shared_ptr<LogSet> LogSwitch::logs() const {
  const std::lock_guard lock(mutex_);
  return logs_;
}

Lsn LogSwitch::EndOfLast(uint32_t shard) const {
  const std::lock_guard lock(mutex_);
  return starts_[shard].lsn;
}

void LogSwitch::Adopt(std::unique_ptr<LogSet> logs) {
  const std::lock_guard lock(mutex_);
  logs_ = std::move(logs);
  for_saver_ = std::make_unique<LogSetForSaver>(logs_.get());
}

void LogSwitch::Retire() {
  decltype(retired_) dropped;
  const std::lock_guard lock(mutex_);
  for (uint32_t i = 0; i < shards_; ++i) starts_[i] = logs_->Retire(i);
  retired_.emplace_back(std::move(for_saver_), std::move(logs_));
  while (retired_.size() > kRetired) {
    dropped.push_back(std::move(retired_.front()));
    retired_.pop_front();
  }
}

// ---- Asked for -----------------------------------------------------------------------------------------------------

void LogSwitch::TurnOn(AppendFsync fsync, DataSet::SwitchCallbacks callbacks) {
  Post({.on = fsync, .callbacks = std::move(callbacks)});
}

void LogSwitch::TurnOff(DataSet::Done done) {
  Post({.on = std::nullopt, .callbacks = {.begun = nullptr, .ended = std::move(done)}});
  if (saver_ != nullptr) saver_->InterruptFirstRewrite();
}

void LogSwitch::Post(Task task) {
  absl::Status refused;
  {
    const std::lock_guard lock(mutex_);
    if (stopping_ || saver_ == nullptr) refused = absl::FailedPreconditionError("the node is starting or stopping");
    if (tasks_.size() >= kMaxTasks) refused = absl::ResourceExhaustedError("too many switches wait");
    if (refused.ok()) {
      cancelled_ = cancelled_ || !task.on.has_value();
      tasks_.push_back(std::move(task));
      if (!thread_.joinable()) thread_ = std::thread([this] { Main(); });
    }
  }
  if (refused.ok()) {
    changed_.notify_all();
  } else {
    if (task.callbacks.begun) task.callbacks.begun(refused);
    if (task.callbacks.ended) task.callbacks.ended(refused);
  }
}

void LogSwitch::Main() {
  pthread_setname_np(pthread_self(), "log-switch");
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
    if (tasks_.empty()) return;
    const Task task = std::move(tasks_.front());
    tasks_.pop_front();
    cancelled_ = false;
    for (const Task& later : tasks_) cancelled_ = cancelled_ || !later.on.has_value();
    lock.unlock();
    task.on.has_value() ? RunOn(task) : RunOff(task);
    lock.lock();
  }
}

absl::Status LogSwitch::BeginSwitch() {
  switching_.store(true, std::memory_order_release);
  struct Question {
    explicit Question(uint32_t shards) : answers(shards) {}
    std::latch answers;
    std::atomic<bool> whole{true};
  };
  const auto question = std::make_shared<Question>(shards_);
  for (uint32_t i = 0; i < shards_; ++i) {
    run_on_shard_(i, [question](Shard& shard) {
      if (shard.loading()) question->whole.store(false);
      question->answers.count_down();
    });
  }
  question->answers.wait();
  if (question->whole.load()) return absl::OkStatus();
  EndSwitch();
  // Logs that have begun and ended meanwhile are not what the shard gets, and a start that finds the old log marked as
  // off would be left without either.
  return absl::FailedPreconditionError("the node is being synchronized with its primary; ask again after that");
}

// ---- On ------------------------------------------------------------------------------------------------------------

void LogSwitch::OnProgress(uint32_t shard) {
  if (options_.on_progress) options_.on_progress(shard);
  if (logged()) return;
  const std::shared_ptr<LogSet> logs = this->logs();
  if (logs == nullptr || !logs->log(shard).started()) return;
  // What cannot be written will not become the data.
  if (logs->log(shard).writer().state() != AofWriter::State::kOk) saver_->InterruptFirstRewrite();
}

void LogSwitch::RunOn(const Task& task) {
  const DataSet::SwitchCallbacks& callbacks = task.callbacks;
  bool told = false;
  const auto fail = [&](const absl::Status& status) {
    EndSwitch();
    if (!told && callbacks.begun) callbacks.begun(status);
    if (callbacks.ended) callbacks.ended(status);
  };
  if (logs() != nullptr) {
    if (callbacks.begun) callbacks.begun(absl::OkStatus());
    if (callbacks.ended) callbacks.ended(absl::OkStatus());
    return;
  }
  if (absl::Status status = BeginSwitch(); !status.ok()) return fail(status);
  DataSetOptions options = options_;
  options.append_only = true;
  options.shards = shards_;
  options.fsync = *task.on;
  options.on_progress = [this](uint32_t shard) { OnProgress(shard); };
  std::vector<LogStart> starts = starts_;
  for (uint32_t i = 0; i < shards_ && floor_; ++i) starts[i].lsn = std::max(starts[i].lsn, floor_(i));
  absl::StatusOr<std::unique_ptr<LogSet>> made = LogSet::OpenAside(options, starts);
  if (!made.ok()) return fail(made.status());
  Adopt(*std::move(made));
  absl::Status status = WriteBases(callbacks, &told);
  if (status.ok()) {
    logged_.store(true, std::memory_order_release);
    EndSwitch();
    if (callbacks.ended) callbacks.ended(absl::OkStatus());
    return;
  }
  const std::shared_ptr<LogSet> failed = logs();
  const std::string why = failed->stats().last_error;
  if (!why.empty()) status = absl::FailedPreconditionError(why);
  failed->Close().IgnoreError();  // it is removed
  Retire();
  fail(status);
}

absl::Status LogSwitch::WriteBases(const DataSet::SwitchCallbacks& callbacks, bool* told) {
  auto begun = std::make_shared<std::promise<absl::Status>>();
  auto ended = std::make_shared<std::promise<absl::Status>>();
  bool scheduled = false;
  const absl::Status started =
      saver_->StartFirstRewrite(for_saver_.get(), &scheduled,
                                {.begun = [begun](const absl::Status& status) { begun->set_value(status); },
                                 .ended = [ended](const absl::Status& status) { ended->set_value(status); }});
  if (!started.ok()) return started;
  {
    // Asked to end before the saver knew of it.
    const std::lock_guard lock(mutex_);
    if (cancelled_) saver_->InterruptFirstRewrite();
  }
  absl::Status begins = scheduled ? absl::OkStatus() : begun->get_future().get();
  if (begins.ok()) {
    *told = true;
    if (callbacks.begun) callbacks.begun(absl::OkStatus());
  }
  return ended->get_future().get();
}

// ---- Off -----------------------------------------------------------------------------------------------------------

void LogSwitch::RunOff(const Task& task) {
  const std::shared_ptr<LogSet> logs = this->logs();
  absl::Status status;
  if (logs != nullptr) status = BeginSwitch();
  if (logs != nullptr && status.ok()) {
    status = TurnOffNow(logs.get());
    EndSwitch();
  }
  if (task.callbacks.ended) task.callbacks.ended(status);
}

absl::Status LogSwitch::TurnOffNow(LogSet* logs) {
  // Inherited, and not in its place though all shards are whole.
  if (logs->aside()) return absl::FailedPreconditionError("the log has not taken its place yet; ask again");
  if (absl::Status status = logs->MarkOff(); !status.ok()) return status;
  saver_->ForgetLogs();
  DetachShards();
  KillPoint("switch.detached");
  logged_.store(false, std::memory_order_release);
  const absl::Status closed = logs->Close();
  if (!closed.ok()) LOG(ERROR) << "the log is off; what was appended last is not in it: " << closed.message();
  Retire();
  return absl::OkStatus();
}

void LogSwitch::DetachShards() {
  const auto detached = std::make_shared<std::latch>(static_cast<ptrdiff_t>(shards_));
  for (uint32_t i = 0; i < shards_; ++i) {
    run_on_shard_(i, [detached](Shard& shard) {
      if (shard.log() != nullptr) shard.log()->Kick();
      shard.SetLog(nullptr);
      detached->count_down();
    });
  }
  detached->wait();
}

}  // namespace skein::storage
