// Snapshots among random effects: what is delivered is what the shard held when the snapshot began, each key once.
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>

#include "gtest/gtest.h"
#include "storage/keyspace.h"
#include "storage/shard.h"
#include "storage/shard_model.h"
#include "storage/shard_testing.h"
#include "storage/snapshot_testing.h"

namespace skein::storage {
namespace {

// Reads chunks on a thread of its own.
class ThreadSink final : public SnapshotSink {
 public:
  ThreadSink() : thread_([this] { Run(); }) {}
  ~ThreadSink() override { Join(); }
  void Take(uint32_t /*shard*/, std::unique_ptr<SnapshotChunk> chunk) override {
    {
      const std::lock_guard lock(mutex_);
      chunks_.push_back(std::move(chunk));
    }
    wake_.notify_one();
  }
  void End(uint32_t /*shard*/, absl::Status status) override {
    {
      const std::lock_guard lock(mutex_);
      end_ = std::move(status);
    }
    wake_.notify_one();
  }
  // After End: waits until all has been read.
  const Collected& Join() {
    if (thread_.joinable()) {
      End(0, absl::OkStatus());
      thread_.join();
    }
    return collected_;
  }

 private:
  void Run() {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [this] { return end_.has_value() || !chunks_.empty(); });
      if (chunks_.empty()) return;
      std::unique_ptr<SnapshotChunk> chunk = std::move(chunks_.front());
      chunks_.pop_front();
      lock.unlock();
      collected_.Add(*chunk);
      chunk.reset();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::unique_ptr<SnapshotChunk>> chunks_;
  std::optional<absl::Status> end_;
  Collected collected_;
  std::thread thread_;
};

struct Counts {
  int whole = 0, cancelled = 0, full = 0;
};

// One snapshot after another while the model goes on, some of them cancelled.
template <typename Sink>
class Run {
 public:
  Run(uint32_t seed, uint32_t databases, int keys, uint64_t limit)
      : random_(seed * 7 + 1),
        shard_({0, 1, databases}, &log_),
        model_(seed, databases, keys, &shard_),
        limit_(limit) {}

  void Steps(int steps) {
    for (int i = 0; i < steps; ++i) {
      if (shard_.MayWrite().ok()) model_.Step();
      if (testing::Test::HasFatalFailure()) return;
      if (!shard_.snapshot_running()) {
        if (Roll(50) == 0) Begin();
      } else {
        Slice();
      }
      if (testing::Test::HasFatalFailure()) return;
      if (Roll(10) == 0) shard_.Housekeep();
    }
    while (shard_.snapshot_running()) Slice();
    while (shard_.keyspace().reclaiming_bytes() != 0) shard_.Housekeep();
    EXPECT_EQ(shard_.snapshot_kept_bytes(), 0u);
    EXPECT_EQ(shard_.used_bytes(), UsedBytesOf(&shard_));
    model_.CheckAll();
  }
  const Counts& counts() const { return counts_; }

 private:
  uint32_t Roll(uint32_t n) { return random_() % n; }

  void Begin() {
    sink_ = std::make_shared<Sink>();
    budget_ = std::make_shared<SnapshotBudget>(limit_, nullptr);
    want_ = ContentsOf(shard_);
    const absl::StatusOr<SnapshotStart> start = shard_.BeginSnapshot({budget_, sink_});
    ASSERT_TRUE(start.ok());
    EXPECT_EQ(start->lsn, log_.end());
    uint64_t keys = 0;
    for (const SnapshotStart::Db& db : start->databases) keys += db.keys;
    EXPECT_EQ(keys, want_.size());
    EXPECT_FALSE(shard_.BeginSnapshot({budget_, sink_}).ok());
    pace_ = 1 + Roll(12);
  }

  void Slice() {
    Consume();
    if (Roll(pace_) != 0) return;
    if (Roll(200) == 0) {
      shard_.CancelSnapshot();
      ++counts_.cancelled;
      sink_.reset();
      EXPECT_EQ(budget_->bytes(), 0u);
      return;
    }
    switch (shard_.StepSnapshot(1 + Roll(30))) {
      case SnapshotStep::kNone:
        FAIL();
      case SnapshotStep::kMore:
        break;
      case SnapshotStep::kFull:
        ++counts_.full;
        break;
      case SnapshotStep::kDone:
        ++counts_.whole;
        Check();
        break;
    }
  }
  void Consume() {
    if constexpr (std::is_same_v<Sink, HoldingSink>) {
      if (Roll(3) == 0) sink_->Read(1 + Roll(3));
    }
  }
  void Check() {
    EXPECT_FALSE(shard_.snapshot_running());
    const Collected* collected;
    if constexpr (std::is_same_v<Sink, HoldingSink>) {
      sink_->ReadAll();
      EXPECT_EQ(sink_->ends(), 1);
      EXPECT_TRUE(sink_->end()->ok());
      collected = &sink_->collected();
    } else {
      collected = &sink_->Join();
    }
    EXPECT_EQ(collected->repeated(), 0u);
    EXPECT_EQ(collected->miscounted(), 0u);
    ASSERT_TRUE(collected->contents() == want_) << collected->contents().size() << " keys instead of " << want_.size();
    sink_.reset();
    EXPECT_EQ(budget_->bytes(), 0u);
  }

  std::mt19937 random_;
  FakeLog log_;
  Shard shard_;
  Model model_;
  const uint64_t limit_;
  std::shared_ptr<Sink> sink_;
  std::shared_ptr<SnapshotBudget> budget_;
  Contents want_;
  uint32_t pace_ = 1;
  Counts counts_;
};

template <typename Sink>
Counts RunModel(uint32_t seed, int keys, uint64_t limit, int steps) {
  SCOPED_TRACE(seed);
  Run<Sink> run(seed, 3, keys, limit);
  run.Steps(steps);
  return run.counts();
}

TEST(SnapshotModel, HoldsWhatTheShardHeldWhenItBegan) {
  int whole = 0;
  for (uint32_t seed = 1; seed <= 6; ++seed) {
    whole += RunModel<HoldingSink>(seed, 400, 1u << 20, 6000).whole;
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(whole, 60);
}

TEST(SnapshotModel, FewKeysMuchChurn) {
  int whole = 0;
  for (uint32_t seed = 11; seed <= 16; ++seed) {
    whole += RunModel<HoldingSink>(seed, 8, 1u << 20, 4000).whole;
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(whole, 200);
}

TEST(SnapshotModel, WaitsForRoomAndIsCancelledAnywhere) {
  Counts sum;
  for (uint32_t seed = 21; seed <= 26; ++seed) {
    const Counts counts = RunModel<HoldingSink>(seed, 1000, 70'000, 4000);
    if (HasFatalFailure()) return;
    sum.full += counts.full;
    sum.cancelled += counts.cancelled;
    sum.whole += counts.whole;
  }
  EXPECT_GT(sum.full, 10);
  EXPECT_GT(sum.cancelled, 5);
  EXPECT_GT(sum.whole, 10);
}

TEST(SnapshotModel, ReadOnAnotherThread) {
  int whole = 0;
  for (uint32_t seed = 31; seed <= 34; ++seed) {
    whole += RunModel<ThreadSink>(seed, 400, 300'000, 4000).whole;
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(whole, 20);
}

}  // namespace
}  // namespace skein::storage
