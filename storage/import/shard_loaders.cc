#include "storage/import/shard_loaders.h"

#include <pthread.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <utility>

#include "glog/logging.h"
#include "storage/item_batch.h"
#include "storage/wall_clock.h"

namespace skein::storage {
namespace {

// A batch is handed on once it holds so many keys or bytes.
constexpr size_t kBatchKeys = 512;
constexpr size_t kBatchBytes = 256u << 10;
// Batches that may wait for a thread.
constexpr size_t kMostWaiting = 8;
// Items whose memory is fetched together.
constexpr size_t kFetched = 64;

}  // namespace

struct ShardLoaders::Batch {
  explicit Batch(Shard* s) : shard(s), items(kBatchKeys, kBatchBytes) {}
  Shard* shard;
  ItemBatch items;
};

// A thread, and the batches that wait for it.
class ShardLoaders::Worker {
 public:
  explicit Worker(size_t index) : thread_([this, index] { Run(index); }) {}
  ~Worker() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      ended_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  void Take(Batch batch) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return waiting_.size() < kMostWaiting; });
    waiting_.push_back(std::move(batch));
    lock.unlock();
    changed_.notify_all();
  }

 private:
  void Run(size_t index) {
    pthread_setname_np(pthread_self(), ("load-" + std::to_string(index)).c_str());
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return ended_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      const Batch batch = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      changed_.notify_all();
      const std::span<const RdbItem> items = batch.items.items();
      for (size_t at = 0; at < items.size(); at += kFetched) {
        batch.shard->LoadItems(items.subspan(at, std::min(kFetched, items.size() - at)));
      }
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Batch> waiting_;
  bool ended_ = false;
  std::thread thread_;
};

ShardLoaders::ShardLoaders(const std::vector<std::unique_ptr<Shard>>& shards) {
  for (const std::unique_ptr<Shard>& shard : shards) {
    shard->set_decides_expiry(false);
    shard->set_loading_time(WallClock());
    open_.emplace_back(shard.get());
  }
  const size_t threads = std::min<size_t>(shards.size(), std::max(1u, std::thread::hardware_concurrency()));
  for (size_t i = 0; i < threads; ++i) workers_.push_back(std::make_unique<Worker>(i));
}

ShardLoaders::~ShardLoaders() {
  for (uint32_t shard = 0; shard < open_.size(); ++shard) Hand(shard);
}

void ShardLoaders::Hand(uint32_t shard) {
  Batch& open = open_[shard];
  if (open.items.items().empty()) return;
  workers_[shard % workers_.size()]->Take(std::exchange(open, Batch(open.shard)));
}

void ShardLoaders::Add(uint32_t shard, const RdbItem& item) {
  if (open_[shard].items.Add(item)) return;
  Hand(shard);
  CHECK(open_[shard].items.Add(item));
}

}  // namespace skein::storage
