// For tests of snapshots: a shard, a snapshot of it, and what that should hold.
#ifndef SKEIN_STORAGE_SNAPSHOT_FIXTURE_H_
#define SKEIN_STORAGE_SNAPSHOT_FIXTURE_H_

#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "storage/shard.h"
#include "storage/shard_testing.h"
#include "storage/snapshot_testing.h"

namespace skein::storage {

inline constexpr UnixMillis kNow = 1'700'000'000'000;
inline constexpr uint64_t kPlenty = 64u << 20;

// All in one slot, so in one table that is large.
inline std::string Name(int i) { return "{t}" + std::to_string(i); }

class SnapshotTest : public testing::Test {
 protected:
  void Set(uint32_t db, const std::string& key, const std::string& value, UnixMillis at = kNoExpiry) {
    shard_.Begin(kNow);
    shard_.SetString(db, Key(key), value, at, "set");
    shard_.End();
  }
  void Fill(uint32_t db, int keys) {
    for (int i = 0; i < keys; ++i) Set(db, Name(i), "value " + std::to_string(i));
  }
  absl::StatusOr<SnapshotStart> Begin(uint64_t limit = kPlenty) {
    sink_ = std::make_shared<HoldingSink>();
    budget_ = std::make_shared<SnapshotBudget>(limit, [this] { ++rooms_; });
    want_ = ContentsOf(shard_);
    return shard_.BeginSnapshot({budget_, sink_});
  }
  void Finish() {
    SnapshotStep step = SnapshotStep::kMore;
    while (step != SnapshotStep::kDone) {
      step = shard_.StepSnapshot(100);
      ASSERT_NE(step, SnapshotStep::kNone);
      sink_->ReadAll();
    }
    Check();
  }
  void Check() {
    sink_->ReadAll();
    EXPECT_EQ(sink_->ends(), 1);
    EXPECT_TRUE(sink_->end()->ok());
    EXPECT_EQ(sink_->collected().repeated(), 0u);
    EXPECT_TRUE(sink_->collected().contents() == want_)
        << sink_->collected().contents().size() << " keys instead of " << want_.size();
    EXPECT_EQ(budget_->bytes(), 0u);
    EXPECT_EQ(shard_.snapshot_kept_bytes(), 0u);
  }

  FakeLog log_;
  Shard shard_{{0, 1, 4}, &log_};
  std::shared_ptr<HoldingSink> sink_;
  std::shared_ptr<SnapshotBudget> budget_;
  int rooms_ = 0;
  Contents want_;
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_SNAPSHOT_FIXTURE_H_
