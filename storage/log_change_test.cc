// Changes of an open data set's files: rotations and new bases.
#include <algorithm>
#include <cerrno>
#include <mutex>
#include <set>
#include <string>

#include "gtest/gtest.h"
#include "storage/aof_reader.h"
#include "storage/kill_point.h"
#include "storage/log_change_testing.h"

namespace skein::storage {
namespace {

using Op = FaultFileSystem::Op;

constexpr auto& kDir = kChangeDir;

TEST_F(ChangeTest, ARotationGoesOnInANewFile) {
  for (const AppendFsync fsync : {AppendFsync::kAlways, AppendFsync::kEverySec, AppendFsync::kNo}) {
    Open(fsync);
    const uint64_t sequence = Entry().incrs.back().sequence;
    const Lsn before = Append("before");
    const absl::StatusOr<Lsn> at = set().Rotate(0);
    ASSERT_TRUE(at.ok()) << at.status();
    EXPECT_EQ(*at, before);
    EXPECT_EQ(log().durable(), before) << "the old file is synced";
    EXPECT_EQ(Entry().incrs.back(), (Manifest::FileRef{sequence + 1, before}));
    EXPECT_EQ(Entry().durable, before);
    EXPECT_EQ(*set().Rotate(0), before) << "nothing has been written to it";
    EXPECT_EQ(Entry().incrs.back().sequence, sequence + 1);
    Append("after");
    EXPECT_TRUE(set().WaitDurable(0, log().end()).ok());
    const DataSet::Stats stats = set().stats();
    uint64_t bytes = 0;
    for (const Manifest::FileRef& incr : Entry().incrs) bytes += fs_.Bytes(kDir + IncrName(0, incr.sequence)).size();
    EXPECT_EQ(stats.current_size, bytes);
    EXPECT_EQ(stats.shards[0].incr_size, bytes);
    ExpectAllOn(fs_.AfterPowerLoss(1));
    ExpectAllOn(fs_.AfterKill());
    opened_ = OpenedSet();
  }
}

TEST_F(ChangeTest, ABaseReplacesWhatStandsBeforeIt) {
  Open();
  Append("one");
  const absl::StatusOr<Lsn> at = set().Rotate(0);
  ASSERT_TRUE(at.ok()) << at.status();
  const Lsn end = Append("two");
  const LogSet::NewBase base = WriteBase();
  ASSERT_TRUE(set().InstallBase(0, base, end, *at).ok());
  const Manifest::Shard entry = Entry();
  EXPECT_EQ(entry.base, (Manifest::FileRef{base.sequence, end}));
  ASSERT_EQ(entry.incrs.size(), 1u);
  EXPECT_EQ(entry.incrs[0].lsn, *at);
  EXPECT_GE(entry.durable, end);
  EXPECT_FALSE(Exists(IncrName(0, 1)));
  EXPECT_TRUE(Exists(IncrName(0, entry.incrs[0].sequence)));
  const DataSet::Stats stats = set().stats();
  EXPECT_EQ(stats.shards[0].base_size, 4u);
  EXPECT_EQ(stats.base_size, 4u);
  EXPECT_EQ(stats.shards[0].size_after_rewrite, 4 + stats.shards[0].incr_size);
}

TEST_F(ChangeTest, AnOldFileIsFreedAPartAtATimeAndMayBeFoundInPart) {
  Open();
  set().set_remove_step(1000);
  Append(std::string(10'000, 'x'));
  const absl::StatusOr<Lsn> at = set().Rotate(0);
  ASSERT_TRUE(at.ok()) << at.status();
  const std::string old = kDir + IncrName(0, 1);
  const LogSet::NewBase base = WriteBase();
  std::mutex mutex;
  std::vector<uint64_t> sizes;
  fs_.SetHook([&](FaultFileSystem::Op op, const std::string& path) {
    const std::lock_guard lock(mutex);
    if (path == old && (op == FaultFileSystem::Op::kTruncate || op == FaultFileSystem::Op::kRemove)) {
      sizes.push_back(fs_.Bytes(old).size());
      // The manifest on disk does not list it any more.
      const auto listed = ParseManifest(fs_.AfterPowerLoss(sizes.size())->Bytes(kDir + std::string(kManifestName)));
      EXPECT_TRUE(listed.ok() && listed->shards[0].incrs.size() == 1);
    }
    return 0;
  });
  ASSERT_TRUE(set().InstallBase(0, base, *at, *at).ok());
  fs_.SetHook(nullptr);
  EXPECT_GE(sizes.size(), 10u);
  EXPECT_LE(sizes.back(), 1000u);
  for (size_t i = 1; i < sizes.size(); ++i) EXPECT_EQ(sizes[i - 1] - sizes[i], 1000u);
  EXPECT_FALSE(*fs_.Exists(old));
}

TEST_F(ChangeTest, ABaseThatFitsNoIncrIsNotInstalled) {
  Open();
  const Lsn end = Append("one");
  const LogSet::NewBase base = WriteBase();
  EXPECT_FALSE(set().InstallBase(0, base, end, end).ok());
  EXPECT_FALSE(Exists(BaseName(0, base.sequence)));
  EXPECT_FALSE(Entry().base.has_value());
}

// A rewrite may have begun before.
TEST_F(ChangeTest, WhileAShardIsBeingReplacedItsFilesAreNotChangedForIt) {
  Open();
  Append("one");
  const absl::StatusOr<Lsn> at = set().Rotate(0);
  ASSERT_TRUE(at.ok()) << at.status();
  const Lsn end = Append("two");
  const LogSet::NewBase base = WriteBase();
  const Manifest::Shard before = Entry();
  set().BeginReplace(0);
  EXPECT_FALSE(set().Rotate(0).ok());
  EXPECT_FALSE(set().InstallBase(0, base, end, *at).ok());
  EXPECT_EQ(Entry().base, std::nullopt);
  EXPECT_EQ(Entry().incrs, before.incrs);
  EXPECT_FALSE(*fs_.Exists(base.path));
}

TEST_F(ChangeTest, WaitDurableAsksForASyncUnderEveryPolicy) {
  AofOptions tuning = Brisk();
  tuning.sync_interval = std::chrono::hours(1);
  for (const AppendFsync fsync : {AppendFsync::kEverySec, AppendFsync::kNo}) {
    Open(fsync, 1, tuning);
    const Lsn end = Append("one");
    EXPECT_TRUE(set().WaitDurable(0, end).ok());
    EXPECT_GE(log().durable(), end);
    opened_ = OpenedSet();
  }
}

// ---- Each operation of a change by itself: exhaustive, without load ------------------------------------------------

// Operation number `step` of rotation, installation and closing fails.
TEST_F(ChangeTest, L12_L17_EachOperationOfARewriteMayFailOnce) {
  uint64_t step = 0;
  for (bool finished = false; !finished; ++step) {
    for (const int error : {ENOSPC, EIO}) {
      const std::string what = "step " + std::to_string(step) + ", error " + std::to_string(error);
      FaultFileSystem fs;
      DataSetOptions options = TestOptions(&fs, 1, AppendFsync::kNo);
      std::vector<std::string> want;
      std::atomic<uint64_t> count{0};
      std::atomic<bool> sync_failed{false};
      {
        OpenedSet opened = OpenSet(options);
        ASSERT_TRUE(opened.status.ok()) << opened.status;
        LogSet& set = *opened.set;
        const auto append = [&](const std::string& value) {
          want.push_back(Body({"SET", "k", value}));
          return AppendSet(&set.log(0), "k", value);
        };
        append("one");
        // The writer's own write is none of the operations counted here.
        Progress written;
        ASSERT_TRUE(written.Await([&] { return set.log(0).written() == set.log(0).end(); }));
        fs.SetHook([&](Op op, const std::string& path) {
          if (count.fetch_add(1) != step) return 0;
          if (op == Op::kSync && path.ends_with("incr.1.aof")) sync_failed = true;
          return error;
        });
        const absl::StatusOr<Lsn> at = set.Rotate(0);
        finished = count.load() <= step;
        fs.SetHook(nullptr);
        EXPECT_EQ(at.ok(), finished) << what;
        if (sync_failed) {
          EXPECT_TRUE(set.NeedsRevival(0)) << what;
          continue;
        }
        Progress progress;
        EXPECT_TRUE(progress.Await([&] { return set.log(0).MayWrite().ok(); })) << what;
        append("two");
        EXPECT_TRUE(set.WaitDurable(0, set.log(0).end()).ok()) << what;
        // The next try works.
        EXPECT_TRUE(set.Rotate(0).ok()) << what;
        append("three");
        EXPECT_TRUE(set.Close().ok()) << what;
        EXPECT_EQ(fs.List("/appendonlydir/shard-0")->size(), set.manifest().shards[0].incrs.size()) << what;
      }
      OpenedSet again = OpenSet(options);
      ASSERT_TRUE(again.status.ok()) << what << ": " << again.status;
      EXPECT_EQ(again.sinks[0].bodies, want) << what;
    }
  }
  EXPECT_GT(step, 10u);
}

// A base that could not be installed leaves the old state; one that was asked for again goes in.
TEST_F(ChangeTest, L12_EachOperationOfInstallingABaseMayFailOnce) {
  uint64_t step = 0;
  for (bool finished = false; !finished; ++step) {
    const std::string what = "step " + std::to_string(step);
    FaultFileSystem fs;
    const DataSetOptions options = TestOptions(&fs, 1);
    OpenedSet opened = OpenSet(options);
    ASSERT_TRUE(opened.status.ok()) << opened.status;
    LogSet& set = *opened.set;
    AppendSet(&set.log(0), "k", "one");
    const absl::StatusOr<Lsn> at = set.Rotate(0);
    ASSERT_TRUE(at.ok());
    const auto write_base = [&] {
      const LogSet::NewBase base = set.NextBase(0);
      auto file = fs.Open(base.path, FileSystem::Mode::kCreateNew);
      EXPECT_TRUE((*file)->WriteAt(0, "base").ok());
      EXPECT_TRUE((*file)->Sync().ok());
      return base;
    };
    const LogSet::NewBase base = write_base();
    std::atomic<uint64_t> count{0};
    std::atomic<int> failed_op{-1};
    fs.SetHook([&](Op op, const std::string& path) {
      if (count.fetch_add(1) != step) return 0;
      // Opened to be freed in parts.
      const bool removal = op == Op::kOpen && path.ends_with("incr.1.aof");
      failed_op = static_cast<int>(removal ? Op::kRemove : op);
      return EIO;
    });
    const absl::Status installed = set.InstallBase(0, base, *at, *at);
    fs.SetHook(nullptr);
    finished = failed_op == -1;
    // Removing what is not needed any more may fail; the next opening removes it.
    EXPECT_EQ(installed.ok(), finished || failed_op == static_cast<int>(Op::kRemove)) << what << installed;
    const Manifest::Shard entry = set.manifest().shards[0];
    EXPECT_EQ(entry.base.has_value(), installed.ok()) << what;
    EXPECT_EQ(*fs.Exists(base.path), installed.ok()) << what;
    // Whatever a start would find now is there.
    const absl::StatusOr<Manifest> on_disk = ParseManifest(fs.Bytes("/appendonlydir/manifest"));
    ASSERT_TRUE(on_disk.ok());
    EXPECT_EQ(on_disk->shards[0], entry) << what;
    for (const Manifest::FileRef& incr : entry.incrs) EXPECT_TRUE(*fs.Exists(kDir + IncrName(0, incr.sequence)));
    if (!installed.ok()) {
      EXPECT_TRUE(set.InstallBase(0, write_base(), *at, *at).ok()) << what;
    }
  }
  EXPECT_GT(step, 6u);
}

// ---- Settling ------------------------------------------------------------------------------------------------------

// The manifest was renamed, and then the folder could not be synced: a start might find the new file listed, or not.
// Until it is certain, the log takes no writes; a killed process finds a log that can be read at every instant.
TEST_F(ChangeTest, ARotationThatMayBeListedIsSettledBeforeTheLogGoesOn) {
  Open(AppendFsync::kNo);
  Append("one");
  std::atomic<bool> broken{true};
  fs_.SetHook([&](Op op, const std::string& path) {
    return op == Op::kSyncDir && path == "/appendonlydir" && broken ? EIO : 0;
  });
  EXPECT_FALSE(set().Rotate(0).ok());
  ASSERT_TRUE(progress_.Await([this] { return !log().MayWrite().ok(); }));
  EXPECT_EQ(log().MayWrite().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(log().MayWrite().message().find("manifest"), std::string_view::npos) << log().MayWrite();
  EXPECT_EQ(set().Rotate(0).status().code(), absl::StatusCode::kFailedPrecondition);
  ExpectAllOn(fs_.AfterKill());
  Append("started before");  // in memory until it is settled
  broken = false;
  ASSERT_TRUE(progress_.Await([this] { return log().MayWrite().ok(); }));
  EXPECT_TRUE(set().WaitDurable(0, log().end()).ok());
  EXPECT_EQ(Entry().incrs.size(), 1u);
  ExpectAllOn(fs_.AfterKill());
  ExpectAllOn(fs_.AfterPowerLoss(4));
  EXPECT_TRUE(set().Close().ok());
  EXPECT_EQ(fs_.List("/appendonlydir/shard-0")->size(), 1u);
}

// ---- Time records --------------------------------------------------------------------------------------------------

TEST_F(ChangeTest, TimeRecordsStandBehindWhatTheyDateAndNeverGoBack) {
  Open();
  const UnixMillis now = 4'000'000'000'000;
  AofLog& mine = set().log(0);
  const Lsn fresh = mine.end();
  mine.AppendTime(now);
  EXPECT_EQ(mine.end(), fresh) << "nothing has been appended";
  AppendSet(&mine, "k", "v", now + 50);
  mine.AppendTime(now);  // the clock has gone back
  const Lsn timed = mine.end();
  mine.AppendTime(now + 1000);
  EXPECT_EQ(mine.end(), timed) << "nothing since";
  AppendSet(&mine, "k", "v", now + 60);
  mine.AppendTime(now + 2000);
  mine.Kick();
  EXPECT_TRUE(set().WaitDurable(0, mine.end()).ok());
  opened_ = OpenedSet();
  const std::string path = "/appendonlydir/shard-0/incr.1.aof";
  auto reader = AofReader::Open(*fs_.Open(path, FileSystem::Mode::kRead), path);
  ASSERT_TRUE(reader.ok());
  std::vector<UnixMillis> times;
  UnixMillis latest = 0;
  while (*(*reader)->Next() == AofReader::Found::kRecord) {
    const RecordHeader& record = (*reader)->record();
    if (record.kind == RecordKind::kTime) {
      EXPECT_GE(record.time, latest);
      times.push_back(record.time);
    }
    latest = std::max(latest, record.time);
  }
  EXPECT_EQ(times, (std::vector<UnixMillis>{now + 50, now + 2000}));
  // Also across a restart: the clock of this machine is behind what the log says.
  Open();
  AppendSet(&set().log(0), "k", "v", 1);
  set().log(0).AppendTime(1);
  set().log(0).Kick();
  const auto recovery = RecoverShard(&fs_, "/appendonlydir", set().manifest(), 0, nullptr);
  ASSERT_TRUE(recovery.ok());
  EXPECT_EQ(recovery->latest, now + 2000);
}

// ---- Kill points ---------------------------------------------------------------------------------------------------

TEST_F(ChangeTest, L12_EveryStepOfEveryChangeHasAName) {
  std::mutex mutex;
  std::set<std::string> seen;
  SetKillPointHook([&](std::string_view name) {
    const std::lock_guard<std::mutex> lock(mutex);
    seen.emplace(name);
  });
  Open();
  Append("one");
  const absl::StatusOr<Lsn> at = set().Rotate(0);
  ASSERT_TRUE(at.ok());
  ASSERT_TRUE(set().InstallBase(0, WriteBase(), *at, *at).ok());
  opened_ = OpenedSet();
  SetKillPointHook(nullptr);
  for (const std::string_view name : AllKillPoints()) {
    const bool mine = name.starts_with("manifest.") || name.starts_with("rotate.") || name.starts_with("install.") ||
                      name.starts_with("close.") || name.starts_with("create.") || name == "open.listed" ||
                      name == "open.reign-synced";
    EXPECT_EQ(seen.contains(std::string(name)) || !mine, true) << name;
  }
  EXPECT_FALSE(ArmKillPoint("no.such-place"));
  EXPECT_FALSE(ArmKillPoint("rotate.listed", 0));
}

// What a start finds when the process was killed, or the machine lost power, between any two steps.
TEST_F(ChangeTest, L12_AtEveryPointWhatIsOnDiskIsWhole) {
  struct Instant {
    std::string what;
    std::unique_ptr<FaultFileSystem> disk;
    Lsn durable;
  };
  std::vector<Instant> instants;
  std::mutex mutex;
  const auto watch = [&](std::string_view name) {
    // (Nothing here reads bases.)
    if (name.starts_with("install.")) return;
    const std::lock_guard<std::mutex> lock(mutex);
    const Lsn durable = opened_.set != nullptr ? log().durable() : 0;
    const uint64_t seed = instants.size();
    instants.push_back({std::string(name) + ", killed", fs_.AfterKill(), durable});
    instants.push_back({std::string(name) + ", power lost", fs_.AfterPowerLoss(seed), durable});
  };
  SetKillPointHook(watch);
  for (int life = 0; life < 2; ++life) {
    Open();
    Append("one");
    ASSERT_TRUE(set().Rotate(0).ok());
    Append("two");
    ASSERT_TRUE(set().Rotate(0).ok());
    Append("three");
    ASSERT_TRUE(set().Close().ok());
    opened_.set.reset();
  }
  SetKillPointHook(nullptr);
  EXPECT_GT(instants.size(), 80u);
  for (Instant& instant : instants) {
    const OpenedSet found = OpenSet(TestOptions(instant.disk.get(), 1));
    ASSERT_TRUE(found.status.ok()) << instant.what << ": " << found.status;
    const std::vector<std::string>& kept = found.sinks[0].bodies;
    ASSERT_LE(kept.size(), want_[0].size()) << instant.what;
    EXPECT_TRUE(std::equal(kept.begin(), kept.end(), want_[0].begin())) << instant.what;
    EXPECT_GE(found.set->report().shards[0].end, instant.durable) << instant.what;
  }
}

}  // namespace
}  // namespace skein::storage
