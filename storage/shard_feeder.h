// Fills a shard from another thread: what is to be done to it goes to its thread in small pieces, a few at a time.
#ifndef SKEIN_STORAGE_SHARD_FEEDER_H_
#define SKEIN_STORAGE_SHARD_FEEDER_H_

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "storage/data_set.h"
#include "storage/item_batch.h"
#include "storage/log_set.h"
#include "storage/recovery.h"
#include "storage/shard.h"

namespace skein::storage {

class ShardFeeder : public std::enable_shared_from_this<ShardFeeder> {
 public:
  // One visit to the shard's thread: about 50 microseconds.
  static constexpr size_t kBatchItems = 256;
  static constexpr size_t kBatchBytes = size_t{64} << 10;

  ShardFeeder(uint32_t shard, DataSet::RunOnShard run_on_shard)
      : shard_(shard), run_on_shard_(std::move(run_on_shard)) {}

  // Runs on the shard's thread, unless it is cancelled before. Waits while too many are on their way. Cancelled, or the
  // error of one that has failed before.
  absl::Status Post(std::function<absl::Status(Shard&)> fn);
  // Loads them, as Post. The batch comes back through TakeBatch, empty.
  absl::Status PostItems(std::shared_ptr<ItemBatch> batch);
  // One that is empty.
  std::shared_ptr<ItemBatch> TakeBatch();
  // Waits for all of them.
  absl::Status Await() { return AwaitAtMost(0); }
  // Nothing more happens to the shard. On its thread: from now on; else at most what is being done there now.
  void Cancel();
  bool cancelled() const { return cancelled_.load(std::memory_order_acquire); }

 private:
  absl::Status AwaitAtMost(size_t count);

  const uint32_t shard_;
  const DataSet::RunOnShard run_on_shard_;
  std::atomic<bool> cancelled_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t on_their_way_ = 0;
  std::vector<std::shared_ptr<ItemBatch>> spare_;  // at most as many as may be on their way
  absl::Status status_;
};

// Recovery's sink, for a shard that has a thread.
class FeedingSink final : public RecordSink {
 public:
  explicit FeedingSink(std::shared_ptr<ShardFeeder> feeder)
      : feeder_(std::move(feeder)), batch_(feeder_->TakeBatch()) {}
  absl::Status Load(const RdbItem& item) override;
  void LoadEnd() override { ended_ = Flush(); }
  absl::Status Apply(uint32_t db, UnixMillis time, std::string_view body) override;
  absl::Status ApplyBatch(std::span<const Shard::RecordRef> records, size_t* applied) override;

 private:
  absl::Status Flush();

  const std::shared_ptr<ShardFeeder> feeder_;
  std::shared_ptr<ItemBatch> batch_;
  absl::Status ended_;
};

// On the shard's thread: what it holds and its log are to be replaced. It has no log and nothing in it, and is not
// whole, until GiveLog. `logs` may be null.
void DetachAndEmpty(Shard& shard, LogSet* logs);
// It is whole, and follows with this log.
void GiveLog(Shard& shard, Log* log);

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_SHARD_FEEDER_H_
