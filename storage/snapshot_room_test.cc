// Snapshots whose sink has no room: what waits for it, and who is told.
#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "storage/snapshot_fixture.h"

namespace skein::storage {
namespace {

TEST_F(SnapshotTest, SlicesStopAtTheLimitAndWritesAtTwice) {
  Fill(0, 20'000);
  ASSERT_TRUE(Begin(200u << 10).ok());
  SnapshotStep step = SnapshotStep::kMore;
  while (step == SnapshotStep::kMore) step = shard_.StepSnapshot(100);
  EXPECT_EQ(step, SnapshotStep::kFull);
  EXPECT_TRUE(budget_->full());
  EXPECT_LE(budget_->bytes(), (200u << 10) + 2 * (64u << 10));
  EXPECT_TRUE(shard_.MayWrite().ok());
  const uint64_t saved = shard_.snapshot_saved_keys();
  EXPECT_EQ(shard_.StepSnapshot(1000), SnapshotStep::kFull);
  EXPECT_EQ(shard_.snapshot_saved_keys(), saved);
  // Writes go on up to twice that.
  for (int i = 0; shard_.MayWrite().ok(); ++i) {
    ASSERT_LT(i, 20'000);
    Set(0, Name(i), "new");
  }
  EXPECT_EQ(shard_.MayWrite(), absl::UnavailableError("room"));
  EXPECT_LE(budget_->bytes(), (400u << 10) + 2 * (64u << 10));
  EXPECT_EQ(rooms_, 0);
  while (budget_->bytes() > (100u << 10)) {
    EXPECT_EQ(rooms_, 0);
    sink_->Read(1);
  }
  EXPECT_EQ(rooms_, 1);
  EXPECT_TRUE(shard_.MayWrite().ok());
  Finish();
}

TEST_F(SnapshotTest, AReadOfAnExpiredKeySavesNothingWhenThereIsNoRoom) {
  for (int i = 0; i < 20'000; ++i) Set(0, Name(i), std::string(60, 'v'), kNow + 10);
  ASSERT_TRUE(Begin(200u << 10).ok());
  while (shard_.StepSnapshot(100) == SnapshotStep::kMore) {
  }
  for (int i = 0; shard_.MayWrite().ok(); ++i) Set(0, Name(i), "new");
  const uint64_t bytes = budget_->bytes(), saved = shard_.snapshot_saved_keys(), keys = shard_.KeyCount(0);
  shard_.Begin(kNow + 20, /*admitted=*/false);
  for (int i = 10'000; i < 20'000; ++i) EXPECT_EQ(shard_.Find(0, Key(Name(i))), nullptr);
  EXPECT_EQ(shard_.End(), 0u) << "nothing was deleted";
  EXPECT_EQ(shard_.KeyCount(0), keys);
  EXPECT_EQ(budget_->bytes(), bytes);
  EXPECT_EQ(shard_.snapshot_saved_keys(), saved);
  // Whoever writes has been let in, and must not find what the key held.
  shard_.Begin(kNow + 20);
  EXPECT_EQ(shard_.Find(0, Key(Name(19'999))), nullptr);
  EXPECT_NE(shard_.End(), 0u);
  EXPECT_EQ(shard_.KeyCount(0), keys - 1);
  // With room again a read deletes.
  sink_->ReadAll();
  shard_.Begin(kNow + 20, /*admitted=*/false);
  EXPECT_EQ(shard_.Find(0, Key(Name(19'998))), nullptr);
  EXPECT_NE(shard_.End(), 0u);
  Finish();
}

TEST_F(SnapshotTest, OneHugeStringDoesNotStopWrites) {
  Set(0, "huge", std::string(8u << 20, 'h'));
  for (int i = 0; i < 100; ++i) Set(0, std::to_string(i), "x");
  ASSERT_TRUE(Begin(1u << 20).ok());
  Set(0, "huge", "small now");
  EXPECT_TRUE(budget_->full());
  EXPECT_TRUE(shard_.MayWrite().ok());
  EXPECT_EQ(shard_.StepSnapshot(1), SnapshotStep::kFull);
  Finish();
}

TEST(SnapshotBudget, TellsOfRoomOnceEachTimeItHasBeenFull) {
  int rooms = 0;
  SnapshotBudget budget(100, [&] { ++rooms; });
  budget.Add(99);
  budget.Remove(99);
  EXPECT_EQ(rooms, 0) << "it was not full";
  budget.Add(100);
  EXPECT_TRUE(budget.full());
  budget.Remove(40);
  EXPECT_FALSE(budget.full());
  EXPECT_EQ(rooms, 0) << "not half empty yet";
  budget.Add(150);
  EXPECT_TRUE(budget.overfull());
  budget.Remove(150);
  EXPECT_EQ(rooms, 0);
  budget.Remove(10);
  EXPECT_EQ(rooms, 1);
  budget.Remove(50);
  EXPECT_EQ(rooms, 1);
}

class FailedLog : public FakeLog {
 public:
  absl::Status MayWrite() const override { return absl::FailedPreconditionError("MISCONF full"); }
};

TEST(Snapshot, AFailedLogIsToldBeforeTheLackOfRoom) {
  FailedLog log;
  Shard shard({0, 1, 1}, &log);
  shard.Begin(kNow);
  for (int i = 0; i < 1000; ++i) shard.SetString(0, Key(Name(i)), std::string(500, 'x'), kNoExpiry, "set");
  shard.End();
  const auto sink = std::make_shared<HoldingSink>();
  ASSERT_TRUE(shard.BeginSnapshot({std::make_shared<SnapshotBudget>(1, nullptr), sink}).ok());
  shard.Begin(kNow);
  for (int i = 0; i < 1000; ++i) shard.Delete(0, Key(Name(i)), "del", true);
  shard.End();
  ASSERT_GT(sink->waiting(), 2u);
  EXPECT_EQ(shard.MayWrite().message(), "MISCONF full");
}

}  // namespace
}  // namespace skein::storage
