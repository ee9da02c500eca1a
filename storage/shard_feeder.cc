#include "storage/shard_feeder.h"

#include <string>
#include <vector>

#include "glog/logging.h"
#include "storage/log.h"
#include "storage/wall_clock.h"

namespace skein::storage {
namespace {

constexpr size_t kMostOnTheirWay = 4;
// Items whose memory is fetched together.
constexpr size_t kFetched = 64;

}  // namespace

absl::Status ShardFeeder::AwaitAtMost(size_t count) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [&] { return on_their_way_ <= count || cancelled(); });
  return cancelled() ? absl::CancelledError("cancelled") : status_;
}

absl::Status ShardFeeder::Post(std::function<absl::Status(Shard&)> fn) {
  if (absl::Status status = AwaitAtMost(kMostOnTheirWay - 1); !status.ok()) return status;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++on_their_way_;
  }
  run_on_shard_(shard_, [self = shared_from_this(), fn = std::move(fn)](Shard& shard) {
    // Whoever cancels does so on this thread before he begins something else.
    const absl::Status status = self->cancelled() ? absl::OkStatus() : fn(shard);
    {
      const std::lock_guard<std::mutex> lock(self->mutex_);
      --self->on_their_way_;
      self->status_.Update(status);
    }
    self->changed_.notify_all();
  });
  return absl::OkStatus();
}

void ShardFeeder::Cancel() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    cancelled_.store(true, std::memory_order_release);
  }
  changed_.notify_all();
}

std::shared_ptr<ItemBatch> ShardFeeder::TakeBatch() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!spare_.empty()) {
      std::shared_ptr<ItemBatch> batch = std::move(spare_.back());
      spare_.pop_back();
      return batch;
    }
  }
  return std::make_shared<ItemBatch>(kBatchItems, kBatchBytes);
}

absl::Status ShardFeeder::PostItems(std::shared_ptr<ItemBatch> batch) {
  return Post([this, batch = std::move(batch)](Shard& shard) {
    std::span<const RdbItem> items = batch->items();
    for (; items.size() > kFetched; items = items.subspan(kFetched)) shard.LoadItems(items.first(kFetched));
    shard.LoadItems(items);
    batch->Clear();
    const std::lock_guard<std::mutex> lock(mutex_);
    if (spare_.size() < kMostOnTheirWay) spare_.push_back(batch);
    return absl::OkStatus();
  });
}

absl::Status FeedingSink::Load(const RdbItem& item) {
  if (batch_->Add(item)) return absl::OkStatus();
  if (absl::Status status = Flush(); !status.ok()) return status;
  CHECK(batch_->Add(item));
  return absl::OkStatus();
}

absl::Status FeedingSink::Flush() {
  if (batch_->items().empty()) return absl::OkStatus();
  return feeder_->PostItems(std::exchange(batch_, feeder_->TakeBatch()));
}

absl::Status FeedingSink::Apply(uint32_t db, UnixMillis time, std::string_view body) {
  const Shard::RecordRef record{db, time, body};
  size_t applied;
  return ApplyBatch({&record, 1}, &applied);
}

absl::Status FeedingSink::ApplyBatch(std::span<const Shard::RecordRef> records, size_t* applied) {
  struct Copy {
    std::string bytes;
    std::vector<Shard::RecordRef> records;
  };
  *applied = 0;
  if (!ended_.ok()) return ended_;
  const auto copy = std::make_shared<Copy>();
  size_t size = 0;
  for (const Shard::RecordRef& record : records) size += record.body.size();
  copy->bytes.reserve(size);  // the views stay
  for (const Shard::RecordRef& record : records) {
    const size_t at = copy->bytes.size();
    copy->bytes += record.body;
    copy->records.push_back({record.db, record.time, std::string_view(copy->bytes).substr(at)});
  }
  return feeder_->Post([copy](Shard& shard) {
    size_t done;
    return shard.ApplyRecords(copy->records, &done);
  });
}

void DetachAndEmpty(Shard& shard, LogSet* logs) {
  if (shard.log() != nullptr) {
    shard.log()->Kick();
    shard.log()->KeepBacklog(0);
    shard.SetLog(nullptr);
  }
  if (logs != nullptr) logs->BeginReplace(shard.index());
  const UnixMillis now = WallClock();
  shard.set_loading(true);
  shard.set_decides_expiry(false);
  shard.Begin(now);
  shard.FlushAll(/*lazy=*/true);
  shard.End();
  shard.set_loading_time(now);
}

void GiveLog(Shard& shard, Log* log) {
  log->set_follows(true);
  shard.SetLog(log);
  shard.set_loading(false);
}

}  // namespace skein::storage
