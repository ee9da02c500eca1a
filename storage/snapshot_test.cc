// What a snapshot costs those who go on, and what it leaves behind. That it is right: snapshot_model_test.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "storage/background_free.h"
#include "storage/keyspace.h"
#include "storage/snapshot_fixture.h"

namespace skein::storage {
namespace {

TEST_F(SnapshotTest, TellsItsLsnAndWhatThereIs) {
  Fill(0, 10);
  Fill(2, 5);
  Set(2, "expiring", "x", kNow + 1000);
  const absl::StatusOr<SnapshotStart> start = Begin();
  ASSERT_TRUE(start.ok());
  EXPECT_EQ(start->lsn, log_.end());
  ASSERT_EQ(start->databases.size(), 2u);
  EXPECT_EQ(start->databases[0].db, 0u);
  EXPECT_EQ(start->databases[0].keys, 10u);
  EXPECT_EQ(start->databases[0].expiring, 0u);
  EXPECT_EQ(start->databases[1].db, 2u);
  EXPECT_EQ(start->databases[1].keys, 6u);
  EXPECT_EQ(start->databases[1].expiring, 1u);
  EXPECT_EQ(shard_.BeginSnapshot({budget_, sink_}).status().code(), absl::StatusCode::kFailedPrecondition);
  Finish();
  EXPECT_FALSE(shard_.snapshot_running());
  EXPECT_EQ(shard_.StepSnapshot(1), SnapshotStep::kNone);
}

TEST_F(SnapshotTest, OfNothingIsWholeAtOnce) {
  ASSERT_TRUE(Begin().ok());
  Set(0, "later", "x");
  EXPECT_EQ(shard_.StepSnapshot(1), SnapshotStep::kDone);
  Check();
}

TEST_F(SnapshotTest, AnEffectSavesNoMoreThanTheBucketsItTouches) {
  constexpr int kKeys = 20'000;
  Fill(0, kKeys);
  Fill(1, 100);
  ASSERT_TRUE(Begin().ok());
  // A key is in one bucket; where it comes or goes, one bucket splits or two merge. Chains are short.
  constexpr uint64_t kBuckets = 3, kLongestChain = 4 * Bucket::kEntries;
  uint64_t saved = 0;
  const auto most = [&](uint64_t keys) {
    EXPECT_LE(shard_.snapshot_saved_keys() - saved, keys * kBuckets * kLongestChain);
    saved = shard_.snapshot_saved_keys();
  };
  for (int i = 0; i < kKeys; i += 7) {
    shard_.Begin(kNow);
    const Key key(Name(i));
    const std::string text = Name(i);
    switch (i % 9) {
      case 0:
        shard_.SetString(0, Key(text), "new", kNoExpiry, "set");
        most(1);
        break;
      case 1:
        shard_.Delete(0, Key(text), "del", false);
        most(1);
        break;
      case 2:
        shard_.SetExpiry(0, Key(text), kNow + 5000);
        most(1);
        break;
      case 3:
        shard_.AppendString(0, Key(text), "suffix");
        most(1);
        break;
      case 4:
        shard_.SetRange(0, Key(text), 2, "range");
        most(1);
        break;
      case 5:
        shard_.Rename(0, Key(text), Key(Name(i + kKeys)));
        most(2);
        break;
      case 6:
        shard_.Copy(0, Key(text), 1, Key(Name(i + kKeys)));
        most(2);
        break;
      case 7:
        shard_.Move(0, Key(text), 1);
        most(2);
        break;
      default:
        shard_.SetString(0, Key(Name(i + kKeys)), "more", kNoExpiry, "set");
        most(1);
    }
    shard_.End();
  }
  EXPECT_GT(saved, 0u);
  // A read saves nothing, even if it updates access data.
  shard_.Begin(kNow + 60'000);
  for (int i = 0; i < kKeys; ++i) shard_.Find(0, Key(Name(i)));
  shard_.End();
  // (Keys that had expired meanwhile have been deleted.)
  EXPECT_LT(shard_.snapshot_saved_keys(), static_cast<uint64_t>(kKeys));
  // Nor does any effect on all keys.
  saved = shard_.snapshot_saved_keys();
  shard_.Begin(kNow);
  shard_.SwapDb(0, 1);
  shard_.FlushDb(0, false);
  shard_.FlushAll(false);
  shard_.End();
  EXPECT_EQ(shard_.snapshot_saved_keys(), saved);
  Finish();
}

TEST_F(SnapshotTest, MemoryFallsWhileWhatWasFlushedIsSaved) {
  Fill(0, 20'000);
  Set(0, Name(7), std::string(1u << 20, 'L'));
  Set(0, Name(8), "x", kNow + 1000);
  const uint64_t before = shard_.used_bytes();
  ASSERT_TRUE(Begin().ok());
  ASSERT_EQ(shard_.StepSnapshot(2000), SnapshotStep::kMore);
  shard_.Begin(kNow);
  shard_.FlushAll(true);
  shard_.End();
  EXPECT_EQ(shard_.KeyCount(0), 0u);
  // A fresh database in its place costs next to nothing; the rest is kept, and counted.
  EXPECT_GE(shard_.used_bytes(), before);
  EXPECT_GT(shard_.snapshot_kept_bytes(), before - (64u << 10));
  Set(0, "new", "not in the snapshot");
  uint64_t last = shard_.used_bytes();
  int falls = 0;
  while (shard_.StepSnapshot(500) == SnapshotStep::kMore) {
    sink_->ReadAll();
    falls += shard_.used_bytes() < last;
    last = shard_.used_bytes();
  }
  EXPECT_GT(falls, 20);
  Check();
  while (shard_.Housekeep()) {
  }
  EXPECT_EQ(shard_.KeyCount(0), 1u);
}

TEST_F(SnapshotTest, WhatIsFlushedWhenItIsSavedIsFreed) {
  Fill(0, 5000);
  Fill(1, 5000);
  ASSERT_TRUE(Begin().ok());
  // Database 0 is done first.
  while (shard_.snapshot_saved_keys() <= 5000) ASSERT_EQ(shard_.StepSnapshot(10), SnapshotStep::kMore);
  const uint64_t chunk = shard_.snapshot_kept_bytes();
  shard_.Begin(kNow);
  shard_.FlushDb(0, true);
  shard_.End();
  EXPECT_EQ(shard_.snapshot_kept_bytes(), chunk);
  Finish();
}

TEST_F(SnapshotTest, LongStringsAreSharedUntilTheyChange) {
  const std::string value(1u << 20, 'v');
  Set(0, "long", value);
  Set(0, "longer", value + value);
  Set(0, "short of it", std::string(4096, 's'));
  const auto bytes_of = [&](const std::string& key) {
    IntText scratch;
    return shard_.Find(0, Key(key))->string(&scratch).data();
  };
  shard_.Begin(kNow);
  const char* const at = bytes_of("long");
  shard_.End();
  const uint64_t used = shard_.used_bytes();
  ASSERT_TRUE(Begin().ok());
  // Saved by the effect, not copied by that: but then changed in place, and so copied.
  shard_.Begin(kNow);
  EXPECT_EQ(shard_.AppendString(0, "long", "!"), value.size() + 1);
  EXPECT_NE(bytes_of("long"), at);
  const char* const now_at = bytes_of("long");
  EXPECT_EQ(shard_.SetRange(0, "long", 0, "V"), value.size() + 1);
  EXPECT_EQ(bytes_of("long"), now_at) << "nobody shares the new one";
  EXPECT_TRUE(shard_.Delete(0, "longer", "del", false));
  shard_.End();
  EXPECT_LT(shard_.used_bytes() - shard_.snapshot_kept_bytes(), used);
  ASSERT_EQ(shard_.StepSnapshot(100), SnapshotStep::kDone);
  EXPECT_GE(budget_->bytes(), 3 * value.size()) << "held by the chunk alone";
  Check();
}

TEST_F(SnapshotTest, AStringIsFreedByWhoeverDropsItLast) {
  const std::string value(1u << 20, 'v');
  for (int i = 0; i < 20; ++i) Set(0, Name(i), value);
  const uint64_t used = shard_.used_bytes();
  ASSERT_TRUE(Begin().ok());
  ASSERT_EQ(shard_.StepSnapshot(1000), SnapshotStep::kDone);
  EXPECT_EQ(shard_.used_bytes(), used) << "sharing costs nothing";
  shard_.Begin(kNow);
  for (int i = 0; i < 20; i += 2) shard_.Delete(0, Key(Name(i)), "del", true);
  shard_.End();
  while (shard_.Housekeep()) {
  }
  EXPECT_LT(shard_.used_bytes(), used - 10 * value.size() + (64u << 10));
  EXPECT_GE(budget_->bytes(), 20 * value.size());
  Check();  // drops the chunks: sanitizers would tell of a leak or of a second free
  shard_.Begin(kNow);
  IntText scratch;
  for (int i = 1; i < 20; i += 2) EXPECT_EQ(shard_.Find(0, Key(Name(i)))->string(&scratch), value);
  shard_.End();
}

// A bucket's version has 16 bits. However many snapshots have been cancelled since it was saved, it must not look
// saved.
TEST_F(SnapshotTest, VersionsThatComeRoundAreNotTakenForSaved) {
  constexpr int kKeys = 3000, kRound = 1 << 16;
  Fill(0, kKeys);
  ASSERT_TRUE(Begin().ok());
  Finish();
  const auto sink = std::make_shared<HoldingSink>();
  for (const int rounds : {kRound - 1, kRound, kRound + 1, 2 * kRound - 1}) {
    for (int i = 0; i < rounds; ++i) {
      ASSERT_TRUE(shard_.BeginSnapshot({budget_, sink}).ok());
      if (i % 1000 == 0) {
        Set(0, Name(i % kKeys), "touched " + std::to_string(i));
        shard_.StepSnapshot(20);
      }
      shard_.CancelSnapshot();
      if (i % 1000 == 0) sink->ReadAll();
    }
    ASSERT_TRUE(Begin().ok());
    Finish();
  }
}

TEST_F(SnapshotTest, L12_ACancelledOneLeavesTheShardAsItWas) {
  Fill(0, 5000);
  Fill(1, 5000);
  const Picture before = PictureOf(shard_);
  ASSERT_TRUE(Begin().ok());
  shard_.StepSnapshot(3000);
  shard_.CancelSnapshot();
  EXPECT_FALSE(shard_.snapshot_running());
  EXPECT_EQ(sink_->ends(), 1);
  EXPECT_EQ(sink_->end()->code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(shard_.snapshot_kept_bytes(), 0u);
  EXPECT_EQ(PictureOf(shard_), before);
  shard_.CancelSnapshot();
  EXPECT_EQ(sink_->ends(), 1);
  // What was kept for it alone is freed in steps.
  const uint64_t empty = Shard({0, 1, 4}, nullptr).used_bytes();
  ASSERT_TRUE(Begin().ok());
  shard_.Begin(kNow);
  shard_.FlushAll(false);
  shard_.End();
  shard_.CancelSnapshot();
  EXPECT_GT(shard_.used_bytes(), empty + (200u << 10));
  while (shard_.Housekeep()) {
  }
  EXPECT_EQ(shard_.used_bytes(), empty);
}

TEST_F(SnapshotTest, TheShardMayGoWhileOneRuns) {
  auto shard = std::make_unique<Shard>(ShardOptions{0, 1, 4}, nullptr);
  shard->Begin(kNow);
  for (int i = 0; i < 1000; ++i) shard->SetString(0, Key(Name(i)), std::string(5000, 'x'), kNoExpiry, "set");
  shard->End();
  const auto sink = std::make_shared<HoldingSink>();
  const auto budget = std::make_shared<SnapshotBudget>(kPlenty, nullptr);
  ASSERT_TRUE(shard->BeginSnapshot({budget, sink}).ok());
  shard->StepSnapshot(500);
  shard->Begin(kNow);
  shard->FlushAll(true);
  shard->End();
  shard.reset();
  EXPECT_EQ(sink->end()->code(), absl::StatusCode::kCancelled);
  sink->ReadAll();
  EXPECT_GT(sink->collected().contents().size(), 400u);
  EXPECT_EQ(budget->bytes(), 0u);
}

TEST(Snapshot, TheSinkMayBeginTheNextOneAtTheEnd) {
  class Chain final : public SnapshotSink {
   public:
    explicit Chain(Shard* shard) : shard_(*shard) {}
    void Take(uint32_t, std::unique_ptr<SnapshotChunk> chunk) override { keys += chunk->keys(); }
    void End(uint32_t, absl::Status status) override {
      ASSERT_TRUE(status.ok());
      if (next != nullptr) {
        ASSERT_TRUE(shard_.BeginSnapshot({std::make_shared<SnapshotBudget>(kPlenty, nullptr), next}).ok());
      }
    }
    uint64_t keys = 0;
    std::shared_ptr<Chain> next;

   private:
    Shard& shard_;
  };
  Shard shard({0, 1, 1}, nullptr);
  shard.Begin(kNow);
  for (int i = 0; i < 100; ++i) shard.SetString(0, Key(Name(i)), "x", kNoExpiry, "set");
  shard.End();
  const auto first = std::make_shared<Chain>(&shard), second = std::make_shared<Chain>(&shard);
  first->next = second;
  ASSERT_TRUE(shard.BeginSnapshot({std::make_shared<SnapshotBudget>(kPlenty, nullptr), first}).ok());
  EXPECT_EQ(shard.StepSnapshot(1000), SnapshotStep::kDone);
  EXPECT_TRUE(shard.snapshot_running());
  EXPECT_EQ(shard.StepSnapshot(1000), SnapshotStep::kDone);
  EXPECT_EQ(first->keys, 100u);
  EXPECT_EQ(second->keys, 100u);
}

TEST(SnapshotChunk, MayBeReadTwice) {
  Shard shard({0, 1, 1}, nullptr);
  shard.Begin(kNow);
  for (int i = 0; i < 50; ++i) shard.SetString(0, Key(Name(i)), std::to_string(i * 1000), kNow + i, "set");
  shard.End();
  class Twice final : public SnapshotSink {
   public:
    void Take(uint32_t, std::unique_ptr<SnapshotChunk> chunk) override {
      // All views of a reading are valid together.
      std::vector<RdbItem> items, again;
      chunk->ForEach([&](const RdbItem& item) { items.push_back(item); });
      chunk->ForEach([&](const RdbItem& item) { again.push_back(item); });
      ASSERT_EQ(items.size(), 50u);
      ASSERT_EQ(again.size(), 50u);
      for (size_t i = 0; i < items.size(); ++i) {
        EXPECT_EQ(items[i].string, again[i].string);
        const int n = std::stoi(std::string(items[i].key.substr(3)));
        EXPECT_EQ(items[i].string, std::to_string(n * 1000));
        EXPECT_EQ(items[i].expire_at, kNow + n);
        EXPECT_EQ(items[i].access, LruClock(kNow));
      }
    }
    void End(uint32_t, absl::Status) override {}
  };
  const SnapshotOptions options{std::make_shared<SnapshotBudget>(kPlenty, nullptr), std::make_shared<Twice>()};
  ASSERT_TRUE(shard.BeginSnapshot(options).ok());
  EXPECT_EQ(shard.StepSnapshot(1000), SnapshotStep::kDone);
}

TEST(Changes, CountEffectsAndEachKeyThatIsFlushed) {
  Shard shard({0, 1, 4}, nullptr);
  shard.Begin(kNow);
  for (int i = 0; i < 10; ++i) shard.SetString(0, Key(Name(i)), "x", kNow + 1000, "set");
  EXPECT_EQ(shard.changes(), 10u);
  shard.Delete(0, "absent", "del", false);
  shard.Find(0, Key(Name(1)));
  EXPECT_EQ(shard.changes(), 10u);
  shard.Delete(0, Key(Name(0)), "del", false);
  shard.Rename(0, Key(Name(1)), Key(Name(20)));
  EXPECT_EQ(shard.changes(), 12u);
  const uint64_t before = shard.changes();
  shard.FlushAll(false);
  EXPECT_EQ(shard.changes(), before + 9 + 1) << "its keys, and itself";
  shard.End();
}

}  // namespace
}  // namespace skein::storage
