// A replica's data set of another number of shards: what a start finds at every step of its becoming the one there is.
#include <set>
#include <string>

#include "gtest/gtest.h"
#include "storage/flows_testing.h"
#include "storage/kill_point.h"
#include "storage/manifest.h"

namespace skein::storage {
namespace {

constexpr uint32_t kOwn = 2, kTheirs = 3;

DataSetOptions Inherited(FileSystem* fs) {
  DataSetOptions options = Replica(fs, kTheirs);
  options.databases = 20;
  options.shards_inherited = true;
  return options;
}

// A disk with a data set of kOwn shards, and the bases of a primary of kTheirs.
struct Pair {
  Pair() : primary(Primary(&primary_disk, kTheirs)) {
    for (int i = 0; i < 60; ++i) primary.Set(0, Name(i), "new");
    for (uint32_t i = 0; i < kTheirs; ++i) bases.push_back(*Snapshot(primary, i));
    wanted = primary.Read();
    ServedData own(Primary(&disk, kOwn));
    for (int i = 0; i < 20; ++i) own.Set(0, Name(i), "old");
    EXPECT_TRUE(own.Close().ok());
  }
  absl::Status Reloaded(ServedData& replica, uint32_t shard) const {
    Reload reload(replica, shard);
    reload.Feed(bases[shard]);
    return reload.End().status();
  }
  FaultFileSystem primary_disk, disk;
  ServedData primary;
  std::vector<std::string> bases;
  Contents wanted;
};

// A start on this disk, with what was configured for the old one, finds the one or the other, whole, and leaves nothing
// else behind.
bool IsNew(FaultFileSystem* disk, const Contents& wanted) {
  const DataSetOptions options = Replica(disk, kOwn);
  ServedData found(options);
  const std::vector<std::string> names = *disk->List(options.dir);
  for (const std::string& name : names) {
    EXPECT_EQ(name.find("superseded"), std::string::npos) << name;
    EXPECT_FALSE(name.ends_with(".new")) << name;
  }
  const Contents contents = found.Read();
  if (contents == wanted) {
    EXPECT_EQ(found.data().shard_count(), kTheirs);
    EXPECT_EQ(found.data().databases(), 20u);
    return true;
  }
  EXPECT_EQ(found.data().shard_count(), kOwn);
  EXPECT_EQ(contents.size(), 20u);
  for (const auto& [key, value] : contents) EXPECT_EQ(value, "old");
  return false;
}

TEST(FlowsInherit, L12_PowerLostAtAnyStepLeavesOneOrTheOther) {
  Pair pair;
  std::vector<std::unique_ptr<FaultFileSystem>> disks;
  {
    PowerCuts cuts(&pair.disk);
    ServedData replica(Inherited(&pair.disk));
    EXPECT_TRUE(replica.data().aside());
    EXPECT_FALSE(replica.data().logged());
    for (uint32_t i = 0; i < kTheirs; ++i) ASSERT_TRUE(pair.Reloaded(replica, i).ok());
    EXPECT_FALSE(replica.data().aside());
    EXPECT_TRUE(replica.data().logged());
    EXPECT_EQ(replica.Read(), pair.wanted);
    disks = cuts.End();
  }
  size_t before = 0, after = 0;
  for (const auto& disk : disks) ++(IsNew(disk.get(), pair.wanted) ? after : before);
  EXPECT_GT(before, 0u);
  EXPECT_GT(after, 0u);
  EXPECT_TRUE(IsNew(disks.back().get(), pair.wanted)) << "once it has said that it is done";
}

TEST(FlowsInherit, L12_KilledAtEveryPlace) {
  Pair pair;
  std::mutex mutex;
  std::vector<std::pair<std::string, std::unique_ptr<FaultFileSystem>>> killed;
  SetKillPointHook([&](std::string_view name) {
    const std::lock_guard lock(mutex);
    killed.emplace_back(name, pair.disk.AfterKill());
  });
  {
    ServedData replica(Inherited(&pair.disk));
    for (uint32_t i = 0; i < kTheirs; ++i) ASSERT_TRUE(pair.Reloaded(replica, i).ok());
    ASSERT_TRUE(replica.Close().ok());
  }
  SetKillPointHook(nullptr);
  std::set<std::string> seen;
  bool moved = false;
  for (const auto& [name, disk] : killed) {
    seen.insert(name);
    moved = moved || name == "flip.moved";
    EXPECT_EQ(IsNew(disk.get(), pair.wanted), moved) << name;
  }
  for (const char* const name :
       {"create.shards-synced", "create.manifest-synced", "inherit.opened", "reload.listed", "inherit.moves-listed",
        "flip.moved", "flip.renamed", "inherit.in-place", "inherit.old-removed"}) {
    EXPECT_TRUE(seen.contains(name)) << name;
  }
}

TEST(FlowsInherit, L12_AFailureAtAnyStepIsTriedAgain) {
  const Pair pair;
  for (const bool from_there_on : {false, true}) {
    for (int nth = 0;; ++nth) {
      const std::unique_ptr<FaultFileSystem> disk = pair.disk.AfterKill();
      ServedData replica(Inherited(disk.get()));
      FailAt fail(disk.get(), nth, from_there_on);
      std::vector<uint32_t> failed;
      for (uint32_t i = 0; i < kTheirs; ++i) {
        if (!pair.Reloaded(replica, i).ok()) failed.push_back(i);
      }
      const bool came = fail.End(nth);
      EXPECT_TRUE(came || failed.empty());
      IsNew(disk->AfterPowerLoss(static_cast<uint64_t>(nth)).get(), pair.wanted);
      for (const uint32_t i : failed) {
        const absl::Status again = pair.Reloaded(replica, i);
        EXPECT_TRUE(again.ok()) << nth << ": " << again;
      }
      EXPECT_EQ(replica.Read(), pair.wanted) << nth;
      EXPECT_FALSE(replica.data().aside()) << nth;
      (void)replica.Close();
      EXPECT_TRUE(IsNew(disk.get(), pair.wanted)) << nth;
      if (!came) break;
      ASSERT_LT(nth, 300);
    }
  }
}

TEST(FlowsInherit, AFailureToMakeItChangesNothing) {
  const Pair pair;
  for (int nth = 0;; ++nth) {
    const std::unique_ptr<FaultFileSystem> disk = pair.disk.AfterKill();
    FailAt fail(disk.get(), nth, /*from_there_on=*/false);
    const bool made = DataSet::OpenInherited(Inherited(disk.get()), nullptr).ok();
    const bool came = fail.End(nth);
    EXPECT_TRUE(made || came);
    EXPECT_FALSE(IsNew(disk.get(), pair.wanted)) << nth;
    if (!came) break;
    ASSERT_LT(nth, 200);
  }
}

TEST(FlowsInherit, L12_OfWhichAPartHasComeACleanEndLeavesTheOldOne) {
  Pair pair;
  {
    ServedData replica(Inherited(&pair.disk));
    ASSERT_TRUE(pair.Reloaded(replica, 0).ok());
    ASSERT_TRUE(pair.Reloaded(replica, 2).ok());
    EXPECT_TRUE(replica.data().aside());
    std::promise<absl::Status> off;
    replica.data().TurnOff([&](const absl::Status& status) { off.set_value(status); });
    EXPECT_FALSE(off.get_future().get().ok()) << "it would leave the old data set to be taken for this one";
    ASSERT_TRUE(replica.Close().ok());
  }
  EXPECT_FALSE(IsNew(&pair.disk, pair.wanted));
}

TEST(FlowsInherit, AShardThatBeginsAnewIsWaitedFor) {
  Pair pair;
  ServedData replica(Inherited(&pair.disk));
  ASSERT_TRUE(pair.Reloaded(replica, 0).ok());
  ASSERT_TRUE(pair.Reloaded(replica, 1).ok());
  {
    Reload again(replica, 0);
    ASSERT_TRUE(pair.Reloaded(replica, 2).ok());
    EXPECT_TRUE(replica.data().aside());
  }
  EXPECT_FALSE(IsNew(pair.disk.AfterKill().get(), pair.wanted));
  ASSERT_TRUE(pair.Reloaded(replica, 0).ok());
  EXPECT_FALSE(replica.data().aside());
  EXPECT_EQ(replica.Read(), pair.wanted);
}

TEST(FlowsInherit, L13_WhereOneShardIsAllThatThereCanBeAnInheritedNumberIsRefused) {
  Pair pair;
  {
    ServedData replica(Inherited(&pair.disk));
    for (uint32_t i = 0; i < kTheirs; ++i) ASSERT_TRUE(pair.Reloaded(replica, i).ok());
    ASSERT_TRUE(replica.Close().ok());
  }
  DataSetOptions options = Replica(&pair.disk, 1);
  options.shards_configured = true;
  EXPECT_TRUE(DataSet::Check(options).ok()) << "an inherited number stands against what is configured";
  options.shards_fixed = true;
  EXPECT_EQ(DataSet::Check(options).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(DataSet::Open(options).status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace skein::storage
