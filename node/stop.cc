// The clean stop (L21): the data is saved if that is asked for, sessions stop, shards finish, logs drain and sync, the
// bus stops.
#include <glog/logging.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <future>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "node/config/check.h"
#include "node/node_impl.h"
#include "node/replication/loop_replication.h"
#include "node/replication/replica_control.h"

namespace skein::node {
namespace {

void Signal(int fd) {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = write(fd, &one, sizeof(one));
}

}  // namespace

absl::Status NodeImpl::RequestShutdown(ShutdownRequest request) {
  if (!request.force) {
    // Not where data would be left behind that may still be saved once the log can be written again.
    const storage::DataSet::Stats stats = data_->stats();
    if (stats.enabled && !stats.last_write_ok && stats.pending_bytes != 0) {
      LOG(ERROR) << "shutdown refused: the append-only file cannot be written, and " << stats.pending_bytes
                 << " bytes are not saved (SHUTDOWN FORCE gives them up)";
      return absl::FailedPreconditionError("the append-only file cannot be written");
    }
  }
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (shutdown_.has_value()) return absl::FailedPreconditionError("a shutdown is under way");
    shutdown_ = std::move(request);
  }
  LOG(INFO) << "shutdown requested";
  Signal(shutdown_fd_);
  return absl::OkStatus();
}

void NodeImpl::OnAllLoops(std::function<void(LoopImpl&)> fn) {
  struct Round {
    std::mutex mutex;
    std::condition_variable done;
    uint32_t left;
  };
  auto round = std::make_shared<Round>();
  round->left = loop_count();
  for (uint32_t i = 0; i < loop_count(); ++i) {
    Post(i, [fn, round](LoopImpl& loop) {
      fn(loop);
      std::lock_guard<std::mutex> lock(round->mutex);
      if (--round->left == 0) round->done.notify_all();
    });
  }
  std::unique_lock<std::mutex> lock(round->mutex);
  round->done.wait(lock, [&] { return round->left == 0; });
}

absl::Status NodeImpl::SaveAndWait() {
  storage::Saver* const saver = data_->saver();
  if (saver == nullptr) return data_->SaveNow();
  // What runs began before writes were held back.
  saver->Cancel();
  auto ended = std::make_shared<std::promise<absl::Status>>();
  bool scheduled = false;
  const absl::Status started =
      saver->StartRdb(/*schedule=*/true, &scheduled,
                      {.begun = nullptr, .ended = [ended](const absl::Status& status) { ended->set_value(status); }});
  return started.ok() ? ended->get_future().get() : started;
}

absl::Status NodeImpl::PrepareStop() {
  uint64_t n;
  [[maybe_unused]] const ssize_t r = read(shutdown_fd_, &n, sizeof(n));
  ShutdownRequest request;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (shutdown_.has_value()) request = *shutdown_;
  }
  if (!request.now) HandOver();
  using Save = ShutdownRequest::Save;
  bool save = request.save == Save::kYes || (request.save == Save::kIfConfigured && !EffectiveSave(*config()).empty());
  // A part of what is its primary's does not replace what an RDB file holds.
  const auto has_part = [this] { return control_ != nullptr && !control_->CheckWhole().ok(); };
  if (save && has_part()) {
    LOG(WARNING) << "stopping without a save: " << control_->CheckWhole().message();
    save = false;
  }
  absl::Status status;
  if (save) {
    const std::lock_guard same_data(layout_mutex_);
    LOG(INFO) << "saving the data before stopping; writes wait";
    std::vector<PauseState> before(loop_count());
    OnAllLoops([&before](LoopImpl& loop) {
      before[loop.index()] = loop.pause();
      loop.pause() = PauseState{std::numeric_limits<int64_t>::max() / 2, true};
    });
    // Once more round: what a loop had handed to another before it stopped has been executed.
    OnAllLoops([](LoopImpl&) {});
    status = SaveAndWait();
    if (!status.ok()) {
      LOG(ERROR) << "the data could not be saved: " << status.message();
      if (!request.force) OnAllLoops([&before](LoopImpl& loop) { loop.pause() = before[loop.index()]; });
    }
    save_on_stop_ = status.ok();
    if (has_part()) status = absl::OkStatus();  // a synchronization has begun meanwhile
  }
  {
    std::lock_guard<std::mutex> lock(mutex_);
    shutdown_.reset();
  }
  if (!status.ok() && !request.force) {
    LOG(ERROR) << "not stopping, so that the data is not lost (SHUTDOWN NOSAVE or FORCE gives it up)";
    if (request.refused) request.refused();
    return status;
  }
  if (request.accepted) request.accepted();
  return absl::OkStatus();
}

void NodeImpl::OnDrained() { Signal(drained_fd_); }

bool NodeImpl::ChangedSinceSave() const {
  uint64_t changes = 0;
  for (uint32_t i = 0; i < shard_count_; ++i) changes += data_->shard(i).changes();
  return data_->saver() == nullptr || data_->saver()->status().changes_at_save != changes;
}

absl::Status NodeImpl::Stop() {
  if (stopped_) return absl::OkStatus();
  stopped_ = true;
  const bool ran = running_.load();
  absl::Status status;
  if (control_ != nullptr) control_->BeginStop();  // waits for an exchange of the data set
  // What replication has open in the data set ends before it does.
  if (ran) OnAllLoops([](LoopImpl& l) { l.replication().StopFeeds(); });
  if (data_ != nullptr) data_->EndServing();
  if (ran) {
    // Sessions stop: no further command starts, what was answered goes out.
    for (uint32_t i = 0; i < loop_count(); ++i) {
      Post(i, [](LoopImpl& l) { l.BeginDrain(); });
    }
    const int64_t deadline =
        ReadClockNanos(CLOCK_MONOTONIC) / 1'000'000 + std::max<int64_t>(1, config()->shutdown_timeout) * 1000;
    const auto all_drained = [&] {
      return std::all_of(loops_.begin(), loops_.end(), [](const auto& l) { return l->drained(); });
    };
    while (!all_drained()) {
      const int64_t left = deadline - ReadClockNanos(CLOCK_MONOTONIC) / 1'000'000;
      if (left <= 0) {
        LOG(WARNING) << "some clients did not take their replies in time (shutdown-timeout); closing them";
        break;
      }
      pollfd p{drained_fd_, POLLIN, 0};
      poll(&p, 1, static_cast<int>(std::min<int64_t>(left, 1000)));
      uint64_t n;
      [[maybe_unused]] const ssize_t r = read(drained_fd_, &n, sizeof(n));
    }
    // Shards finish: their threads end.
    for (uint32_t i = 0; i < loop_count(); ++i) {
      Post(i, [](LoopImpl& l) { l.Stop(); });
    }
    for (auto& loop : loops_) loop->Join();
  }
  if (save_on_stop_ && ChangedSinceSave()) {
    status = data_->SaveNow();
    if (!status.ok()) LOG(ERROR) << "saving the data: " << status.message();
  }
  // Logs drain and sync, writers end.
  if (data_ != nullptr) {
    const absl::Status closed = data_->Close();
    if (!closed.ok()) LOG(ERROR) << "closing the data set: " << closed.message();
    if (status.ok()) status = closed;
  }
  running_.store(false);
  if (owned_bus_ != nullptr) {
    const absl::Status stopped = owned_bus_->Stop();
    if (!stopped.ok()) LOG(ERROR) << "stopping the bus: " << stopped.message();
    if (status.ok()) status = stopped;
  }
  return status;
}

}  // namespace skein::node
