// Replication's changes of what is on disk, with power lost or the disk failing at every step, and every kill point.
#include <set>
#include <string>

#include "gtest/gtest.h"
#include "storage/flows_testing.h"
#include "storage/kill_point.h"

namespace skein::storage {
namespace {

// A replica with data and a log of its own, and a primary that has others.
struct Pair {
  Pair() : primary(Primary(&primary_disk)) {
    for (int i = 0; i < 40; ++i) primary.Set(0, Name(i), "new");
    base = *Snapshot(primary);
    {
      ServedData replica(Replica(&disk));
      replica.Run(0, [](Shard& shard) { shard.log()->BeginReign(1, 1); });
      for (int i = 0; i < 20; ++i) replica.Set(0, Name(i), "old");
      EXPECT_TRUE(replica.Close().ok());
    }
    wanted = primary.Read();
  }
  absl::Status Reloaded(ServedData& replica) const {
    Reload reload(replica);
    reload.Feed(base);
    return reload.End().status();
  }
  FaultFileSystem primary_disk, disk;
  ServedData primary;
  std::string base;
  Contents wanted;
};

// A start on this disk finds the one state or the other, whole.
bool IsNew(FaultFileSystem* disk, const Contents& wanted) {
  ServedData found(Replica(disk));
  const Contents contents = found.Read();
  if (contents == wanted) return true;
  EXPECT_EQ(contents.size(), 20u);
  for (const auto& [key, value] : contents) EXPECT_EQ(value, "old");
  return false;
}

TEST(FlowsPower, L12_AReloadLeavesTheOldStateOrTheNew) {
  Pair pair;
  std::vector<std::unique_ptr<FaultFileSystem>> disks;
  {
    ServedData replica(Replica(&pair.disk));
    PowerCuts cuts(&pair.disk);
    ASSERT_TRUE(pair.Reloaded(replica).ok());
    disks = cuts.End();
  }
  bool before = false;
  for (const auto& disk : disks) before = before || !IsNew(disk.get(), pair.wanted);
  EXPECT_TRUE(before);
  EXPECT_TRUE(IsNew(disks.back().get(), pair.wanted)) << "once it has said that it is done";
}

TEST(FlowsPower, L12_AReloadThatFailsLeavesTheOldStateOrTheNewAndMayBeTriedAgain) {
  Pair pair;
  for (const bool from_there_on : {false, true}) {
    for (int nth = 0;; ++nth) {
      const std::unique_ptr<FaultFileSystem> disk = pair.disk.AfterKill();
      ServedData replica(Replica(disk.get()));
      FailAt fail(disk.get(), nth, from_there_on);
      const absl::Status status = pair.Reloaded(replica);
      const bool came = fail.End(nth);
      if (status.ok()) {
        EXPECT_EQ(replica.Read(), pair.wanted);
      } else {
        EXPECT_TRUE(came) << status;
        IsNew(disk->AfterPowerLoss(static_cast<uint64_t>(nth)).get(), pair.wanted);
        const absl::Status again = pair.Reloaded(replica);
        EXPECT_TRUE(again.ok()) << again;
        EXPECT_EQ(replica.Read(), pair.wanted);
      }
      ASSERT_TRUE(replica.Close().ok() || came);
      EXPECT_TRUE(IsNew(disk.get(), pair.wanted));
      if (!came) break;
      ASSERT_LT(nth, 200);
    }
  }
}

TEST(FlowsPower, L12_AFailedReloadThatIsNotTriedAgainLeavesTheOldStateAfterACleanEnd) {
  Pair pair;
  {
    ServedData replica(Replica(&pair.disk));
    Reload reload(replica);
    reload.Feed(pair.base.substr(0, pair.base.size() / 2));
    EXPECT_FALSE(reload.End().ok());
    ASSERT_TRUE(replica.Close().ok());
  }
  EXPECT_FALSE(IsNew(&pair.disk, pair.wanted));
}

TEST(FlowsPower, L12_AFullDiskFailsAReload) {
  Pair pair;
  ServedData replica(Replica(&pair.disk));
  pair.disk.SetRoom(100);
  EXPECT_EQ(pair.Reloaded(replica).code(), absl::StatusCode::kResourceExhausted);
  pair.disk.SetRoom(FaultFileSystem::kUnlimited);
  EXPECT_TRUE(pair.Reloaded(replica).ok());
}

// A log of 60 records, to be cut behind the first 30.
struct Cuttable {
  Cuttable() {
    ServedData data(Primary(&disk));
    for (int i = 0; i < 30; ++i) data.Set(0, Name(i), "kept");
    at = PlaceOf(data).end;
    for (int i = 0; i < 30; ++i) data.Set(0, Name(100 + i), "lost");
    EXPECT_TRUE(data.Close().ok());
  }
  FaultFileSystem disk;
  Lsn at = 0;
};

// What a start finds: the first 30, and some of the others in their order.
size_t LostOnesLeft(FaultFileSystem* disk) {
  ServedData found(Replica(disk));
  const Contents contents = found.Read();
  EXPECT_GE(contents.size(), 30u);
  for (int i = 0; i < 30; ++i) EXPECT_EQ(contents.count("0/" + Name(i)), 1u);
  for (size_t i = 30; i < contents.size(); ++i) {
    EXPECT_EQ(contents.count("0/" + Name(static_cast<int>(70 + i))), 1u) << "a hole";
  }
  return contents.size() - 30;
}

TEST(FlowsPower, L12_ACutLeavesTheWholeLogOrABeginningOfItThatHoldsWhatIsKept) {
  Cuttable cuttable;
  std::vector<std::unique_ptr<FaultFileSystem>> disks;
  {
    ServedData data(Replica(&cuttable.disk));
    PowerCuts cuts(&cuttable.disk);
    ASSERT_TRUE(Cut(data, cuttable.at).ok());
    disks = cuts.End();
    EXPECT_EQ(data.Read().size(), 30u);
  }
  for (const auto& disk : disks) LostOnesLeft(disk.get());
  EXPECT_EQ(LostOnesLeft(disks.front().get()), 30u);
  EXPECT_EQ(LostOnesLeft(disks.back().get()), 0u);
}

TEST(FlowsPower, L12_ACutThatFailsLosesNothingThatIsKept) {
  Cuttable cuttable;
  for (int nth = 0;; ++nth) {
    const std::unique_ptr<FaultFileSystem> disk = cuttable.disk.AfterKill();
    bool came = false;
    {
      ServedData data(Replica(disk.get()));
      FailAt fail(disk.get(), nth, false);
      const absl::Status status = Cut(data, cuttable.at);
      came = fail.End(nth);
      EXPECT_TRUE(came || status.ok()) << status;
      LostOnesLeft(disk->AfterPowerLoss(static_cast<uint64_t>(nth)).get());
      data.Close().IgnoreError();
    }
    LostOnesLeft(disk.get());
    if (!came) break;
    ASSERT_LT(nth, 100);
  }
}

TEST(FlowsPower, L12_LostRecordsAreThereOnceItIsSaid) {
  Cuttable cuttable;
  ServedData data(Replica(&cuttable.disk));
  const Lsn end = PlaceOf(data).end;
  for (int nth = 0;; ++nth) {
    FailAt fail(&cuttable.disk, nth, false);
    const absl::StatusOr<LostRecords> lost = SetAside(data, cuttable.at, end);
    if (!fail.End(nth)) {
      ASSERT_TRUE(lost.ok()) << lost.status();
      break;
    }
    ASSERT_FALSE(lost.ok());
    ASSERT_LT(nth, 100);
  }
  const absl::StatusOr<LostRecords> lost = SetAside(data, cuttable.at, end);
  ASSERT_TRUE(lost.ok()) << lost.status();
  EXPECT_EQ(lost->records, 30u);
  const std::unique_ptr<FaultFileSystem> after = cuttable.disk.AfterPowerLoss(5);
  EXPECT_TRUE(*after->Exists(lost->path));
  EXPECT_EQ(after->Bytes(lost->path), cuttable.disk.Bytes(lost->path));
  EXPECT_EQ(cuttable.disk.Tree().find(".aof.tmp"), std::string::npos) << "what failed has been removed";
}

// The process may die at each of these; what is there then is what a power loss without lost writes leaves.
TEST(FlowsPower, L12_EveryKillPointIsVisited) {
  std::set<std::string> wanted;
  for (const std::string_view name : AllKillPoints()) {
    for (const char* const family : {"reload.", "promote.", "lost.", "cut."}) {
      if (name.starts_with(family)) wanted.insert(std::string(name));
    }
  }
  EXPECT_GE(wanted.size(), 13u);
  struct Killed {
    std::string name;
    std::unique_ptr<FaultFileSystem> disk;
  };
  std::mutex mutex;
  std::vector<Killed> killed;
  const auto watch = [&](FaultFileSystem* disk) {
    SetKillPointHook([&, disk](std::string_view name) {
      const std::lock_guard lock(mutex);
      if (wanted.contains(std::string(name))) killed.push_back({std::string(name), disk->AfterKill()});
    });
  };
  std::set<std::string> seen;
  Pair pair;
  {
    ServedData replica(Replica(&pair.disk));
    watch(&pair.disk);
    ASSERT_TRUE(pair.Reloaded(replica).ok());
    Lsn end = 0;
    replica.Run(0, [&](Shard& shard) {
      shard.log()->set_follows(false);
      end = shard.log()->BeginReign(5, 1);
    });
    std::promise<absl::Status> listed;
    replica.data().flows()->ListReigns({end}, [&](const absl::Status& s) { listed.set_value(s); });
    ASSERT_TRUE(listed.get_future().get().ok());
    SetKillPointHook(nullptr);
  }
  for (const Killed& at : killed) {
    seen.insert(at.name);
    const bool is_new = IsNew(at.disk.get(), pair.wanted);
    const bool before = at.name == "reload.base-synced" || at.name == "reload.folder-synced";
    const bool after = at.name == "reload.listed" || at.name.starts_with("promote.");
    EXPECT_FALSE(before && is_new) << at.name;
    EXPECT_FALSE(after && !is_new) << at.name;
  }
  killed.clear();
  Cuttable cuttable;
  {
    ServedData data(Replica(&cuttable.disk));
    watch(&cuttable.disk);
    ASSERT_TRUE(SetAside(data, cuttable.at, PlaceOf(data).end).ok());
    ASSERT_TRUE(Cut(data, cuttable.at).ok());
    SetKillPointHook(nullptr);
  }
  for (const Killed& at : killed) {
    seen.insert(at.name);
    const size_t left = LostOnesLeft(at.disk.get());
    EXPECT_EQ(left, at.name == "cut.truncated" || at.name == "cut.synced" ? 0u : 30u) << at.name;
  }
  EXPECT_EQ(seen, wanted);
}

}  // namespace
}  // namespace skein::storage
