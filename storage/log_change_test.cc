// Changes of an open data set's files: rotations, new bases, the way back from a failed sync.
#include <cerrno>
#include <set>
#include <string>

#include "gtest/gtest.h"
#include "storage/kill_point.h"
#include "storage/log_testing.h"

namespace skein::storage {
namespace {

using Op = FaultFileSystem::Op;

constexpr char kDir[] = "/appendonlydir/";

class ChangeTest : public testing::Test {
 protected:
  void Open(AppendFsync fsync = AppendFsync::kAlways, uint32_t shards = 1, AofOptions tuning = Brisk()) {
    DataSetOptions options = TestOptions(&fs_, shards, fsync);
    options.on_progress = [this](uint32_t) { progress_.Poke(); };
    options.on_fatal = [](const std::string&) {};
    opened_ = OpenSet(options, tuning);
    ASSERT_TRUE(opened_.status.ok()) << opened_.status;
    want_.resize(shards);
    for (uint32_t i = 0; i < shards; ++i) want_[i] = opened_.sinks[i].bodies;
  }
  LogSet& set() { return *opened_.set; }
  Log& log(uint32_t shard = 0) { return set().log(shard); }
  Lsn Append(const std::string& value, uint32_t shard = 0) {
    want_[shard].push_back(Body({"SET", "k", value}));
    return AppendSet(&log(shard), "k", value);
  }
  bool AwaitDurable(Lsn lsn, uint32_t shard = 0) {
    return progress_.Await([&] { return log(shard).durable() >= lsn; });
  }
  // A file in the place of a base; nobody reads it here.
  LogSet::NewBase WriteBase(uint32_t shard = 0) {
    const LogSet::NewBase base = set().NextBase(shard);
    auto file = fs_.Open(base.path, FileSystem::Mode::kCreateNew);
    EXPECT_TRUE(file.ok()) << file.status();
    EXPECT_TRUE((*file)->WriteAt(0, "base").ok());
    EXPECT_TRUE((*file)->Sync().ok());
    return base;
  }
  Manifest::Shard Entry(uint32_t shard = 0) { return set().manifest().shards[shard]; }
  bool Exists(const std::string& name) { return *fs_.Exists(kDir + name); }
  void ExpectAllOn(std::unique_ptr<FaultFileSystem> fs) {
    OpenedSet opened = OpenSet(TestOptions(fs.get(), static_cast<uint32_t>(want_.size())));
    ASSERT_TRUE(opened.status.ok()) << opened.status;
    for (size_t i = 0; i < want_.size(); ++i) EXPECT_EQ(opened.sinks[i].bodies, want_[i]);
  }

  FaultFileSystem fs_;
  Progress progress_;
  std::vector<std::vector<std::string>> want_;
  OpenedSet opened_;
};

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

TEST_F(ChangeTest, ABaseThatFitsNoIncrIsNotInstalled) {
  Open();
  const Lsn end = Append("one");
  const LogSet::NewBase base = WriteBase();
  EXPECT_FALSE(set().InstallBase(0, base, end, end).ok());
  EXPECT_FALSE(Exists(BaseName(0, base.sequence)));
  EXPECT_FALSE(Entry().base.has_value());
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

}  // namespace
}  // namespace skein::storage
