#include "tests/crash/power_world.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "glog/logging.h"
#include "storage/saver.h"

namespace skein::storage {

// A thread that hosts shards, as a client loop does.
struct PowerWorld::Loop {
  std::vector<uint32_t> shards;
  std::mt19937_64 rng;
  std::mutex mutex;
  std::condition_variable posted;
  std::deque<std::function<void()>> tasks;
  bool stop = false;
  std::thread thread;

  void Post(std::function<void()> task) {
    const std::lock_guard<std::mutex> lock(mutex);
    tasks.push_back(std::move(task));
    posted.notify_one();
  }
};

PowerWorld::PowerWorld(const PowerOptions& options)
    : options_(options), rng_(options.seed), disk_(std::make_unique<FaultFileSystem>()), promised_(options.shards, 0) {
  for (uint32_t shard = 0; shard < options.shards; ++shard) models_.emplace_back(shard, options.shards);
}

PowerWorld::~PowerWorld() = default;

int PowerWorld::OnOperation(uint64_t cut_at) {
  if (operations_.fetch_add(1) == cut_at) Cut();
  return 0;
}

void PowerWorld::Cut() {
  // First what is promised, then what is left: what becomes durable in between is a gift.
  if (const DataSet* set = live_.load()) {
    for (uint32_t shard = 0; shard < options_.shards; ++shard) {
      promised_[shard] = std::max(promised_[shard], const_cast<DataSet*>(set)->shard(shard).log()->durable());
    }
  }
  const std::lock_guard<std::mutex> lock(cut_mutex_);
  left_ = disk_->AfterPowerLoss(loss_seed_);
  cut_.store(true);
}

std::string PowerWorld::Live(uint64_t cut_at, uint64_t records) {
  cut_.store(false);
  operations_.store(0);
  left_.reset();
  loss_seed_ = rng_();
  disk_->SetSyncsLie(options_.syncs_lie);
  disk_->SetHook([this, cut_at](FaultFileSystem::Op, const std::string&) { return OnOperation(cut_at); });
  DataSetOptions options;
  options.dir = "/";
  options.append_only = true;
  options.fsync = options_.fsync;
  options.databases = 4;
  options.shards = options_.shards;
  options.shards_configured = true;
  options.fs = disk_.get();
  options.save.rewrite_percentage = 0;
  options.save.buffer_limit = 4096;  // so that snapshots have to wait now and then
  absl::StatusOr<std::unique_ptr<DataSet>> set = DataSet::Open(options);
  if (!set.ok()) return "it does not open: " + set.status().ToString();
  set_ = *std::move(set);
  if (std::string wrong = Compare(); !wrong.empty()) return wrong;
  live_.store(set_.get());
  if (!cut_) Serve(records);
  const absl::Status closed = set_->Close();
  live_.store(nullptr);
  if (!closed.ok()) return "it does not close: " + closed.ToString();
  disk_->SetHook(nullptr);
  if (!cut_) {
    // A clean end is not forgotten by a power loss after it.
    for (uint32_t shard = 0; shard < options_.shards; ++shard) promised_[shard] = set_->shard(shard).log()->end();
    left_ = disk_->AfterPowerLoss(loss_seed_);
  }
  set_.reset();
  for (uint32_t shard = 0; shard < options_.shards; ++shard) {
    acknowledged_ += models_[shard].RecordsUpTo(promised_[shard]);
  }
  disk_ = std::move(left_);
  return "";
}

std::string PowerWorld::Compare() {
  // Also if the power has gone while it was being opened: what it read had all survived the loss before.
  std::vector<size_t> records(options_.shards);
  for (uint32_t shard = 0; shard < options_.shards; ++shard) {
    if (std::string wrong = CompareShard(shard, &records[shard]); !wrong.empty()) return wrong;
  }
  for (uint32_t shard = 0; shard < options_.shards; ++shard) models_[shard].CutTo(records[shard]);
  return "";
}

std::string PowerWorld::CompareShard(uint32_t shard, size_t* records) {
  const ShardModel& model = models_[shard];
  const std::string where = "shard " + std::to_string(shard) + ": ";
  const Lsn end = set_->report().shards[shard].end;
  *records = model.RecordsUpTo(end);
  if (const size_t must = model.RecordsUpTo(promised_[shard]); *records < must) {
    lost_ += must - *records;
    return where + std::to_string(must - *records) + " of " + std::to_string(must) +
           " durable records are gone: it ends at " + std::to_string(end) + ", " + std::to_string(promised_[shard]) +
           " was durable";
  }
  const std::string difference =
      ShardModel::Difference(model.StateAfter(*records), ShardModel::StateOf(set_->shard(shard)));
  if (difference.empty()) return "";
  return where + "not what it held after " + std::to_string(*records) + " records: " + difference;
}

void PowerWorld::Serve(uint64_t records) {
  std::vector<std::unique_ptr<Loop>> loops;
  for (uint32_t i = 0; i < options_.loops; ++i) {
    loops.push_back(std::make_unique<Loop>());
    loops[i]->rng.seed(rng_());
  }
  for (uint32_t shard = 0; shard < options_.shards; ++shard) loops[shard % options_.loops]->shards.push_back(shard);
  set_->BeginServing([&](uint32_t shard, std::function<void(Shard&)> fn) {
    loops[shard % options_.loops]->Post([this, shard, fn = std::move(fn)] { fn(set_->shard(shard)); });
  });
  writing_.store(options_.loops);
  for (const std::unique_ptr<Loop>& loop : loops) {
    loop->thread = std::thread([this, records, loop = loop.get()] { RunLoop(loop, records); });
  }
  if (options_.rewrite) RewriteAgainAndAgain();
  {
    std::unique_lock<std::mutex> lock(writing_mutex_);
    writing_changed_.wait(lock, [this] { return writing_.load() == 0; });
  }
  set_->EndServing();
  for (const std::unique_ptr<Loop>& loop : loops) {
    {
      const std::lock_guard<std::mutex> lock(loop->mutex);
      loop->stop = true;
      loop->posted.notify_one();
    }
    loop->thread.join();
  }
}

void PowerWorld::RewriteAgainAndAgain() {
  Saver* const saver = set_->saver();
  CHECK(saver != nullptr);
  // At least one, whole, beside the writers or after them.
  do {
    struct Ended {
      std::mutex mutex;
      std::condition_variable changed;
      bool ended = false;
      absl::Status status;
    } ended;
    bool scheduled = false;
    Saver::Callbacks callbacks;
    callbacks.ended = [&](const absl::Status& status) {
      const std::lock_guard<std::mutex> lock(ended.mutex);
      ended.ended = true;
      ended.status = status;
      ended.changed.notify_one();
    };
    const absl::Status started = saver->StartRewrite(&scheduled, std::move(callbacks));
    CHECK(started.ok() && !scheduled) << started;
    std::unique_lock<std::mutex> lock(ended.mutex);
    ended.changed.wait(lock, [&] { return ended.ended; });
    CHECK(ended.status.ok()) << ended.status;
    ++rewrites_;
  } while (writing_.load() > 0);
}

void PowerWorld::RunLoop(Loop* loop, uint64_t records) {
  uint64_t left = records;
  bool counted = true;
  const auto written = [&] {
    left = 0;
    if (!std::exchange(counted, false)) return;
    const std::lock_guard<std::mutex> lock(writing_mutex_);
    writing_.fetch_sub(1);
    writing_changed_.notify_one();
  };
  while (true) {
    std::deque<std::function<void()>> tasks;
    {
      std::unique_lock<std::mutex> lock(loop->mutex);
      if (left == 0 && loop->tasks.empty()) {
        // A snapshot goes on between commands, also when there are none.
        loop->posted.wait_for(lock, std::chrono::microseconds(50));
      }
      if (loop->stop && loop->tasks.empty()) break;
      tasks.swap(loop->tasks);
    }
    for (const std::function<void()>& task : tasks) task();
    for (const uint32_t at : loop->shards) {
      Shard& shard = set_->shard(at);
      if (shard.snapshot_running()) shard.StepSnapshot(1 + loop->rng() % 4);
      if (left == 0 || !shard.MayWrite().ok()) continue;
      for (uint64_t n = 1 + loop->rng() % 4; n > 0; --n) models_[at].RunOne(&shard, &loop->rng);
      shard.log()->Kick();
    }
    if (cut_ || loop->shards.empty() || left <= 1) {
      written();
    } else {
      --left;
    }
    if (loop->rng() % 8 == 0) std::this_thread::yield();
  }
  written();
}

}  // namespace skein::storage
