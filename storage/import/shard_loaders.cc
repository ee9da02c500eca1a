#include "storage/import/shard_loaders.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <utility>

namespace skein::storage {
namespace {

// A batch is handed on once it holds so many keys or bytes; a single larger key goes alone.
constexpr size_t kBatchKeys = 512;
constexpr size_t kBatchBytes = 256u << 10;
// Batches that may wait for a thread.
constexpr size_t kMostWaiting = 8;
// Items whose memory is fetched together.
constexpr size_t kFetched = 64;

}  // namespace

struct ShardLoaders::Batch {
  Shard* shard = nullptr;
  std::vector<RdbItem> items;
  std::unique_ptr<char[]> bytes;
  size_t used = 0;
  size_t capacity = 0;
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
      for (size_t at = 0; at < batch.items.size(); at += kFetched) {
        batch.shard->LoadItems(std::span(batch.items).subspan(at, std::min(kFetched, batch.items.size() - at)));
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

ShardLoaders::ShardLoaders(const std::vector<std::unique_ptr<Shard>>& shards) : open_(shards.size()) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  for (size_t i = 0; i < shards.size(); ++i) {
    shards[i]->set_decides_expiry(false);
    shards[i]->set_loading_time(std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
    open_[i].shard = shards[i].get();
  }
  const size_t threads = std::min<size_t>(shards.size(), std::max(1u, std::thread::hardware_concurrency()));
  for (size_t i = 0; i < threads; ++i) workers_.push_back(std::make_unique<Worker>(i));
}

ShardLoaders::~ShardLoaders() {
  for (uint32_t shard = 0; shard < open_.size(); ++shard) Hand(shard);
}

void ShardLoaders::Hand(uint32_t shard) {
  Batch& open = open_[shard];
  if (open.items.empty()) return;
  Shard* const its = open.shard;
  workers_[shard % workers_.size()]->Take(std::exchange(open, Batch()));
  open.shard = its;
}

void ShardLoaders::Add(uint32_t shard, const RdbItem& item) {
  Batch& open = open_[shard];
  const size_t size = item.key.size() + item.string.size();
  if (open.items.size() == kBatchKeys || size > open.capacity - open.used) Hand(shard);
  if (open.items.empty()) {
    open.capacity = std::max(kBatchBytes, size);
    open.bytes = std::make_unique_for_overwrite<char[]>(open.capacity);
  }
  char* const at = open.bytes.get() + open.used;
  std::copy(item.key.begin(), item.key.end(), at);
  std::copy(item.string.begin(), item.string.end(), at + item.key.size());
  open.used += size;
  RdbItem& copy = open.items.emplace_back(item);
  copy.key = {at, item.key.size()};
  copy.string = {at + item.key.size(), item.string.size()};
}

}  // namespace skein::storage
