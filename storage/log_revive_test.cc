// The way back from a failed sync.
#include <cerrno>
#include <string>

#include "gtest/gtest.h"
#include "storage/aof_reader.h"
#include "storage/log_change_testing.h"

namespace skein::storage {
namespace {

using Op = FaultFileSystem::Op;

constexpr auto& kDir = kChangeDir;

class ReviveTest : public ChangeTest {
 protected:
  // Opens under everysec and fails one sync of the log.
  void Poison() {
    AofOptions tuning = Brisk();
    tuning.sync_interval = std::chrono::milliseconds(1);
    Open(AppendFsync::kEverySec, 1, tuning);
    failing_ = true;
    fs_.SetHook([this](Op op, const std::string& path) {
      return op == Op::kSync && path.ends_with(".aof") && failing_.exchange(false) ? EIO : 0;
    });
    Append("unsure");
    ASSERT_TRUE(progress_.Await([this] { return !log().MayWrite().ok(); }));
    ASSERT_TRUE(set().NeedsRevival(0));
  }
  // An empty folder.
  void StartAnew() {
    opened_ = OpenedSet();
    want_.clear();
    const auto remove_files = [this](const std::string& dir) {
      const std::vector<std::string> names = fs_.List(dir).value();
      for (const std::string& name : names) EXPECT_TRUE(fs_.RemoveFile(JoinPath(dir, name)).ok());
    };
    const std::string dir = std::string(kDir) + "shard-0";
    remove_files(dir);
    EXPECT_TRUE(fs_.RemoveDir(dir).ok());
    remove_files("/appendonlydir");
  }
  std::atomic<bool> failing_{false};
};

TEST_F(ReviveTest, L15_WritesComeBackOnceTheShardHasBeenSavedAnew) {
  Poison();
  const Lsn lsn = log().end();
  const DataSet::Stats before = set().stats();
  EXPECT_FALSE(before.last_write_ok);
  EXPECT_FALSE(before.shards[0].ok);
  EXPECT_NE(before.last_error.find("failed-sync.md"), std::string::npos) << before.last_error;
  EXPECT_EQ(set().Rotate(0).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(set().WaitDurable(0, lsn).code(), absl::StatusCode::kFailedPrecondition);
  // A read has found that a key has expired.
  Append("after the snapshot");
  const LogSet::NewBase base = WriteBase();
  const absl::Status revived = set().Revive(0, base, lsn);
  ASSERT_TRUE(revived.ok()) << revived;
  EXPECT_TRUE(log().MayWrite().ok());
  EXPECT_FALSE(set().NeedsRevival(0));
  EXPECT_GE(log().durable(), lsn);
  const Manifest::Shard entry = Entry();
  EXPECT_EQ(entry.base, (Manifest::FileRef{base.sequence, lsn}));
  ASSERT_EQ(entry.incrs.size(), 1u);
  EXPECT_EQ(entry.incrs[0].lsn, lsn);
  EXPECT_EQ(entry.durable, lsn);
  EXPECT_FALSE(Exists(IncrName(0, 1)));
  Append("life goes on");
  EXPECT_TRUE(set().WaitDurable(0, log().end()).ok());
  EXPECT_TRUE(set().stats().last_write_ok);
  EXPECT_EQ(set().stats().fsync_errors, 1u);
  EXPECT_TRUE(opened_.set->Close().ok()) << "what failed has been made good";
  // The new file holds what came after the base, and only that.
  const std::string path = kDir + IncrName(0, entry.incrs[0].sequence);
  auto reader = AofReader::Open(fs_.Open(path, FileSystem::Mode::kRead).value(), path);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*reader)->lsn(), lsn);
  std::vector<std::string> bodies;
  while ((*reader)->Next().value() == AofReader::Found::kRecord) bodies.emplace_back((*reader)->body());
  EXPECT_EQ(bodies,
            (std::vector<std::string>{Body({"SET", "k", "after the snapshot"}), Body({"SET", "k", "life goes on"})}));
}

TEST_F(ReviveTest, NothingIsRevivedThatLives) {
  Open(AppendFsync::kEverySec);
  const LogSet::NewBase base = WriteBase();
  EXPECT_EQ(set().Revive(0, base, log().end()).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(Exists(BaseName(0, base.sequence)));
  EXPECT_EQ(fs_.List("/appendonlydir/shard-0")->size(), 1u);
  Append("as before");
  EXPECT_TRUE(set().WaitDurable(0, log().end()).ok());
}

TEST_F(ReviveTest, L12_EachOperationOfARevivalMayFailOnce) {
  uint64_t step = 0;
  for (bool finished = false; !finished; ++step) {
    const std::string what = "step " + std::to_string(step);
    Poison();
    if (HasFatalFailure()) return;
    const Lsn lsn = log().end();
    LogSet::NewBase base = WriteBase();
    std::atomic<uint64_t> count{0};
    std::atomic<int> failed_op{-1};
    fs_.SetHook([&](Op op, const std::string& path) {
      if (count.fetch_add(1) != step) return 0;
      // Opened to be freed in parts.
      const bool removal = op == Op::kOpen && path.ends_with("incr.1.aof");
      failed_op = static_cast<int>(removal ? Op::kRemove : op);
      return EIO;
    });
    const absl::Status revived = set().Revive(0, base, lsn);
    fs_.SetHook(nullptr);
    finished = failed_op == -1;
    EXPECT_EQ(revived.ok(), finished || failed_op == static_cast<int>(Op::kRemove)) << what << revived;
    EXPECT_EQ(log().MayWrite().ok(), revived.ok()) << what;
    if (!revived.ok()) {
      EXPECT_FALSE(Exists(BaseName(0, base.sequence))) << what;
      ASSERT_TRUE(set().Revive(0, WriteBase(), lsn).ok()) << what;
    }
    Append("on");
    EXPECT_TRUE(set().WaitDurable(0, log().end()).ok()) << what;
    const absl::StatusOr<Manifest> on_disk = ParseManifest(fs_.Bytes("/appendonlydir/manifest"));
    ASSERT_TRUE(on_disk.ok());
    EXPECT_EQ(on_disk->shards[0], Entry()) << what;
    StartAnew();
  }
  EXPECT_GT(step, 8u);
}

// The disk fails for good at some step: what the manifest on it lists stays, whatever was answered.
TEST_F(ReviveTest, L12_WhatMayBeListedStays) {
  bool listed_new = false;
  for (uint64_t step = 0;; ++step) {
    Poison();
    if (HasFatalFailure()) return;
    const LogSet::NewBase base = WriteBase();
    std::atomic<uint64_t> count{0};
    fs_.SetHook([&](Op op, const std::string&) { return op != Op::kRemove && count.fetch_add(1) >= step ? EIO : 0; });
    const absl::Status revived = set().Revive(0, base, log().end());
    const std::unique_ptr<FaultFileSystem> killed = fs_.AfterKill();
    fs_.SetHook(nullptr);
    StartAnew();
    const absl::StatusOr<Manifest> on_disk = ParseManifest(killed->Bytes("/appendonlydir/manifest"));
    ASSERT_TRUE(on_disk.ok());
    const Manifest::Shard& entry = on_disk->shards[0];
    for (const Manifest::FileRef& incr : entry.incrs) {
      EXPECT_TRUE(*killed->Exists(kDir + IncrName(0, incr.sequence))) << "step " << step;
    }
    if (entry.base.has_value()) {
      EXPECT_TRUE(*killed->Exists(kDir + BaseName(0, entry.base->sequence))) << "step " << step;
    }
    listed_new = listed_new || (entry.base.has_value() && !revived.ok());
    if (revived.ok()) break;
  }
  EXPECT_TRUE(listed_new) << "a failure behind the rename is among them";
}

TEST_F(ReviveTest, WhatIsInTheBaseIsNotWrittenAgain) {
  Poison();
  // Appended before the snapshot, and never written: the writer stands still.
  Append("in the base");
  const Lsn lsn = log().end();
  ASSERT_TRUE(set().Revive(0, WriteBase(), lsn).ok());
  const Lsn end = Append("behind it");
  EXPECT_TRUE(set().WaitDurable(0, end).ok());
  const std::string path = kDir + IncrName(0, Entry().incrs[0].sequence);
  auto reader = AofReader::Open(fs_.Open(path, FileSystem::Mode::kRead).value(), path);
  ASSERT_TRUE(reader.ok()) << reader.status();
  ASSERT_EQ((*reader)->Next().value(), AofReader::Found::kRecord);
  EXPECT_EQ((*reader)->body(), Body({"SET", "k", "behind it"}));
  EXPECT_EQ((*reader)->lsn(), end);
  EXPECT_EQ((*reader)->Next().value(), AofReader::Found::kEnd);
}

TEST_F(ReviveTest, ASnapshotThatTheLogHasPassedIsNoWayBack) {
  Poison();
  const LogSet::NewBase base = WriteBase();
  EXPECT_EQ(set().Revive(0, base, log().written() - 1).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(log().MayWrite().ok());
  EXPECT_FALSE(Exists(BaseName(0, base.sequence)));
  EXPECT_TRUE(set().Revive(0, WriteBase(), log().end()).ok());
}

// Writes to the poisoned file fail as well: the revival does not wait for them.
TEST_F(ReviveTest, AWriteThatFailsTooDoesNotStandInTheWay) {
  AofOptions tuning = Brisk();
  tuning.sync_interval = std::chrono::milliseconds(1);
  Open(AppendFsync::kEverySec, 1, tuning);
  fs_.SetHook([this](Op op, const std::string& path) {
    if (!path.ends_with("incr.1.aof")) return 0;
    if (op == Op::kSync) failing_ = true;
    return op == Op::kSync || (op == Op::kWrite && failing_) ? EIO : 0;
  });
  Append("unsure");
  ASSERT_TRUE(progress_.Await([this] { return !log().MayWrite().ok() && set().stats().fsync_errors > 0; }));
  Append("started before");
  ASSERT_TRUE(progress_.Await([this] { return set().stats().write_errors > 0; }));
  ASSERT_TRUE(set().NeedsRevival(0));
  const Lsn lsn = log().end();
  ASSERT_TRUE(set().Revive(0, WriteBase(), lsn).ok());
  const Lsn end = Append("on");
  EXPECT_TRUE(set().WaitDurable(0, end).ok());
  EXPECT_TRUE(set().Close().ok());
}

}  // namespace
}  // namespace skein::storage
