#include "node/replication/shape_change.h"

#include <pthread.h>

#include <chrono>
#include <utility>

#include "glog/logging.h"
#include "node/config/start.h"
#include "node/loop_impl.h"
#include "node/node_impl.h"
#include "storage/kill_point.h"

namespace skein::node {
namespace {

constexpr int64_t kOpenAgainMs = 1000, kSwapAgainMs = 2;
// A node that stops does not wait longer for what its loops have begun.
constexpr int kSwapsWhileStopping = 1000;

}  // namespace

void ShapeChange::Begin(DataShape shape, Done done) {
  const std::lock_guard lock(mutex_);
  if (stopping_) return;
  if (thread_.joinable()) thread_.join();
  thread_ = std::thread([this, shape, done = std::move(done)] {
    pthread_setname_np(pthread_self(), "shape");
    done(Change(shape));
  });
}

void ShapeChange::Stop() {
  std::thread thread;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    thread = std::move(thread_);
  }
  changed_.notify_all();
  if (thread.joinable()) thread.join();
}

bool ShapeChange::Pause(int64_t ms) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, std::chrono::milliseconds(ms), [this] { return stopping_; });
}

absl::StatusOr<std::unique_ptr<storage::DataSet>> ShapeChange::Open(DataShape shape,
                                                                    std::shared_ptr<storage::FileLock> lock,
                                                                    bool append_only) {
  storage::DataSetOptions options = node_->DataOptions(*node_->config());
  options.append_only = append_only;
  options.shards = shape.shards;
  options.databases = shape.databases;
  options.shards_inherited = options.follow = true;
  // Its writers run before the loops have its shards.
  live_ = std::make_shared<std::atomic<bool>>(false);
  options.on_durable = [on_durable = std::move(options.on_durable), live = live_](uint32_t shard,
                                                                                  storage::Lsn durable) {
    if (live->load(std::memory_order_acquire)) on_durable(shard, durable);
  };
  return storage::DataSet::OpenInherited(options, std::move(lock));
}

absl::Status ShapeChange::Change(DataShape shape) {
  const std::lock_guard one_at_a_time(node_->layout_mutex());
  storage::DataSet* const before = &node_->data();
  // Twice: what loops had sent each other before they knew has come, and what answers it.
  for (int i = 0; i < 2; ++i) node_->OnAllLoops([](LoopImpl&) {});

  const std::shared_ptr<storage::FileLock> lock = before->lock();
  absl::StatusOr<std::unique_ptr<storage::DataSet>> next = absl::UnavailableError("");
  bool append_only = node_->config()->appendonly;
  if (!before->aside()) {
    // While there is a way back.
    next = Open(shape, lock, append_only);
    if (!next.ok()) return next.status();
  }
  before->EndServing();
  node_->OnAllLoops([](LoopImpl& loop) { loop.KickLogs(); });
  if (const absl::Status closed = before->Close(); !closed.ok()) {
    LOG(ERROR) << "closing what the primary's data will replace: " << closed.message();
  }
  storage::KillPoint("inherit.closed");
  // The log may have been switched meanwhile.
  if (next.ok() && append_only != node_->config()->appendonly) next = absl::UnavailableError("");
  while (!next.ok()) {
    append_only = node_->config()->appendonly;
    next = Open(shape, lock, append_only);
    if (next.ok()) break;
    LOG(ERROR) << "no place for the primary's data, trying again: " << next.status().message();
    if (!Pause(kOpenAgainMs)) return next.status();
  }
  // What could not be written is told to all loops now.
  node_->OnAllLoops([](LoopImpl& loop) { loop.OnLogProgress(); });
  node_->OnAllLoops([](LoopImpl&) {});
  for (int left = kSwapsWhileStopping; !Swap(&*next);) {
    if (!Pause(kSwapAgainMs) && --left == 0) return absl::AbortedError("the node is stopping");
  }
  live_->store(true, std::memory_order_release);
  storage::KillPoint("inherit.swapped");
  node_->NoteShape();
  LOG(INFO) << "the data set has " << shape.shards << " shards and " << shape.databases
            << " databases from now on, as the primary's; it is synchronized next";
  return absl::OkStatus();
}

bool ShapeChange::Swap(std::unique_ptr<storage::DataSet>* data) {
  enum class Word : uint8_t { kWait, kGoOn, kTake };
  struct Meeting {
    std::mutex mutex;
    std::condition_variable changed;
    uint32_t here = 0, taken = 0;
    bool quiet = true;
    Word word = Word::kWait;
  };
  const auto meeting = std::make_shared<Meeting>();
  const uint32_t loops = node_->loop_count();
  for (uint32_t i = 0; i < loops; ++i) {
    node_->Post(i, [meeting, loops](LoopImpl& loop) {
      const bool quiet = loop.LeaveShards();
      std::unique_lock lock(meeting->mutex);
      meeting->quiet = meeting->quiet && quiet;
      ++meeting->here;
      meeting->changed.notify_all();
      meeting->changed.wait(lock, [&] { return meeting->word != Word::kWait; });
      if (meeting->word == Word::kGoOn) return;
      lock.unlock();
      loop.TakeShards();
      lock.lock();
      ++meeting->taken;
      meeting->changed.notify_all();
      // None goes on among others that have the old ones.
      meeting->changed.wait(lock, [&] { return meeting->taken == loops; });
    });
  }
  std::unique_lock lock(meeting->mutex);
  meeting->changed.wait(lock, [&] { return meeting->here == loops; });
  const bool take = meeting->quiet && !node_->gathers();
  if (take) node_->TakeData(data);
  meeting->word = take ? Word::kTake : Word::kGoOn;
  meeting->changed.notify_all();
  if (take) meeting->changed.wait(lock, [&] { return meeting->taken == loops; });
  return take;
}

}  // namespace skein::node
