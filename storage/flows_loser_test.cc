// A log that lost an election.
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "storage/flows.h"
#include "storage/flows_testing.h"
#include "storage/kill_point.h"

namespace skein::storage {
namespace {

// A primary that was followed up to `parted`, and wrote on.
struct Loser {
  Loser() : old_primary(Primary(&disk_a)), winner(Replica(&disk_b)) {
    Keep(old_primary);
    for (int i = 0; i < 100; ++i) old_primary.Set(i % 2, Name(i), "both have this");
    EXPECT_TRUE(FullSync(old_primary, winner).ok());
    winner.Run(0, [](Shard& shard) {
      shard.log()->set_follows(false);
      shard.log()->BeginReign(9, 1);
      shard.log()->Kick();
    });
    Keep(winner);
    for (int i = 0; i < 50; ++i) old_primary.Set(0, Name(i), "nobody else has this");
    for (int i = 50; i < 90; ++i) winner.Set(0, Name(i), "of the new reign");
    const Place here = PlaceOf(old_primary), there = PlaceOf(winner);
    parted = *CommonPoint(here.history, here.end, there.history, there.end);
    end = here.end;
  }
  FaultFileSystem disk_a, disk_b;
  ServedData old_primary, winner;
  Lsn parted = 0, end = 0;
};

// A rewrite that has begun: its base's file and the snapshot are under way.
std::future<absl::Status> BeginRewrite(ServedData& data) {
  const auto begun = std::make_shared<std::promise<absl::Status>>(),
             ended = std::make_shared<std::promise<absl::Status>>();
  bool scheduled = false;
  EXPECT_TRUE(data.saver()
                  .StartRewrite(&scheduled, {.begun = [begun](const absl::Status& s) { begun->set_value(s); },
                                             .ended = [ended](const absl::Status& s) { ended->set_value(s); }})
                  .ok());
  EXPECT_TRUE(begun->get_future().get().ok());
  return ended->get_future();
}

TEST(Loser, SetsAsideWhatTheWinnerLacksAndIsCutToTheCommonPoint) {
  Loser loser;
  ServedData& a = loser.old_primary;
  const absl::StatusOr<LostRecords> lost = SetAside(a, loser.parted, loser.end);
  ASSERT_TRUE(lost.ok()) << lost.status();
  EXPECT_EQ(lost->records, 50u);
  EXPECT_EQ(lost->bytes, loser.end - loser.parted);
  EXPECT_EQ(lost->bytes_gone, 0u);
  absl::StatusOr<std::unique_ptr<AofReader>> reader =
      AofReader::Open(*loser.disk_a.Open(lost->path, FileSystem::Mode::kRead), lost->path);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*reader)->header().start_lsn, loser.parted);
  int records = 0;
  while (*(*reader)->Next() == AofReader::Found::kRecord) ++records;
  EXPECT_EQ(records, 50);
  EXPECT_EQ((*reader)->lsn(), loser.end);

  ASSERT_TRUE(Cut(a, loser.parted).ok());
  const Place place = PlaceOf(a);
  EXPECT_EQ(place.end, loser.parted);
  const absl::StatusOr<std::string> tail = FromFiles(loser.winner, loser.parted, PlaceOf(loser.winner).end);
  ASSERT_TRUE(tail.ok()) << tail.status();
  ASSERT_TRUE(Follow(a, *tail).ok());
  EXPECT_EQ(PlaceOf(a), PlaceOf(loser.winner));
  EXPECT_EQ(a.Read(), loser.winner.Read());
  ASSERT_TRUE(a.Close().ok());
  ServedData again(Replica(&loser.disk_a));
  EXPECT_EQ(PlaceOf(again), PlaceOf(loser.winner));
  EXPECT_EQ(again.Read(), loser.winner.Read());
}

TEST(Loser, WithoutABaseBelowTheCommonPointItIsNotCut) {
  Loser loser;
  ASSERT_TRUE(loser.old_primary.Rewrite().ok());
  const Contents before = loser.old_primary.Read();
  EXPECT_TRUE(absl::IsNotFound(Cut(loser.old_primary, loser.parted)));
  EXPECT_EQ(loser.old_primary.Read(), before);
  // What no file holds any more is told.
  const absl::StatusOr<LostRecords> lost = SetAside(loser.old_primary, loser.parted, loser.end);
  ASSERT_TRUE(lost.ok()) << lost.status();
  EXPECT_EQ(lost->bytes_gone, loser.end - loser.parted);
  EXPECT_EQ(lost->records, 0u);
  EXPECT_EQ(lost->path, "");
}

TEST(Loser, NothingIsKeptOfWhatHoldsNoData) {
  FaultFileSystem disk;
  ServedData data(Primary(&disk));
  data.Set(0, "a", "1");
  const Lsn parted = PlaceOf(data).end;
  data.Run(0, [](Shard& s) { s.log()->BeginReign(7, 1); });
  const absl::StatusOr<LostRecords> lost = SetAside(data, parted, PlaceOf(data).end);
  ASSERT_TRUE(lost.ok()) << lost.status();
  EXPECT_GT(lost->bytes, 0u);
  EXPECT_EQ(lost->records, 0u);
  EXPECT_EQ(lost->path, "");
  EXPECT_EQ(disk.Tree().find("lost-records"), std::string::npos);
}

TEST(Loser, HalfAFileOfLostRecordsGoesAtTheStart) {
  FaultFileSystem disk;
  ASSERT_TRUE(disk.CreateDir("/data").ok());
  const char* const half = "/data/lost-records-1700000000-shard-1.aof.tmp";
  const char* const whole = "/data/lost-records-1700000000-shard-0.aof";
  const char* const other = "/data/lost-records.txt.tmp";
  for (const char* path : {half, whole, other}) ASSERT_TRUE(disk.Open(path, FileSystem::Mode::kCreateNew).ok());
  ServedData data(Replica(&disk));
  EXPECT_FALSE(*disk.Exists(half));
  EXPECT_TRUE(*disk.Exists(whole));
  EXPECT_TRUE(*disk.Exists(other));
}

TEST(Loser, ARewriteLeavesTheFilesUntilAReplicaHasPassedTheNewBase) {
  Loser loser;
  ServedData& a = loser.old_primary;
  a.data().flows()->SetReplicated(0, loser.parted);
  std::future<absl::Status> end = BeginRewrite(a);
  EXPECT_EQ(end.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  EXPECT_NE(loser.disk_a.Tree().find("incr.1.aof"), std::string::npos);
  a.data().flows()->SetReplicated(0, PlaceOf(a).end);
  EXPECT_TRUE(end.get().ok());
  EXPECT_EQ(loser.disk_a.Tree().find("incr.1.aof"), std::string::npos);
}

TEST(Loser, ARewriteThatIsCancelledWaitsForNoReplica) {
  Loser loser;
  ServedData& a = loser.old_primary;
  a.data().flows()->SetReplicated(0, loser.parted);
  std::future<absl::Status> end = BeginRewrite(a);
  EXPECT_EQ(end.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  const auto begun = std::chrono::steady_clock::now();
  a.saver().Cancel();
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(5)) << "half of what it would have waited";
  EXPECT_TRUE(absl::IsCancelled(end.get()));
  EXPECT_NE(loser.disk_a.Tree().find("incr.1.aof"), std::string::npos) << "nothing has changed";
  EXPECT_EQ(loser.disk_a.Tree().find("base.2.rdb"), std::string::npos);
}

TEST(Loser, ARewriteThatWasRunningDoesNotListWhatWasCut) {
  Loser loser;
  ServedData& a = loser.old_primary;
  // Its base waits for the replica while the log is cut.
  a.data().flows()->SetReplicated(0, loser.parted);
  std::future<absl::Status> end = BeginRewrite(a);
  ASSERT_TRUE(Cut(a, loser.parted).ok());
  const absl::StatusOr<std::string> tail = FromFiles(loser.winner, loser.parted, PlaceOf(loser.winner).end);
  ASSERT_TRUE(tail.ok()) << tail.status();
  ASSERT_TRUE(Follow(a, *tail).ok());
  a.data().flows()->SetReplicated(0, std::nullopt);
  EXPECT_FALSE(end.get().ok());
  ASSERT_TRUE(a.Close().ok());
  ServedData again(Replica(&loser.disk_a));
  EXPECT_EQ(again.Read(), loser.winner.Read());
}

// Its snapshot stands at an LSN that is gone when it asks for what comes before to be durable.
TEST(Loser, ARewriteDoesNotWaitForWhatHasBeenCut) {
  Loser loser;
  ServedData& a = loser.old_primary;
  SetKillPointHook([&](std::string_view name) {
    if (name != "rewrite.base-synced") return;
    EXPECT_TRUE(Cut(a, loser.parted).ok());
  });
  EXPECT_FALSE(BeginRewrite(a).get().ok());
  SetKillPointHook(nullptr);
  EXPECT_EQ(PlaceOf(a).end, loser.parted);
}

// The rewrite's incr begins before the cut and stays; its snapshot is of a state after it.
TEST(Loser, ABaseThatHoldsWhatWasCutIsNotListed) {
  FaultFileSystem disk;
  ServedData a(Primary(&disk));
  a.Set(0, "first", "kept");
  a.data().flows()->SetReplicated(0, 0);
  Lsn at = 0;
  SetKillPointHook([&](std::string_view name) {
    if (name != "rotate.listed") return;
    a.Set(0, "second", "kept");
    at = PlaceOf(a).end;
    a.Set(0, "third", "lost");
  });
  std::future<absl::Status> end = BeginRewrite(a);
  SetKillPointHook(nullptr);
  ASSERT_TRUE(Cut(a, at).ok());
  for (int i = 0; i < 10; ++i) a.Set(0, Name(i), "goes on past where the snapshot was");
  a.AwaitDurable();
  a.data().flows()->SetReplicated(0, std::nullopt);
  EXPECT_FALSE(end.get().ok());
  const Contents wanted = a.Read();
  EXPECT_EQ(wanted.count("0/third"), 0u);
  ASSERT_TRUE(a.Close().ok());
  ServedData again(Replica(&disk));
  EXPECT_EQ(again.Read(), wanted);
}

TEST(Loser, IsCutAcrossRotatedFiles) {
  Loser loser;
  ServedData& a = loser.old_primary;
  // The rewrite fails after it has rotated: two incr files, and no base.
  std::atomic<bool> failed{false};
  loser.disk_a.SetHook([&](FaultFileSystem::Op op, const std::string& path) {
    const bool fails = op == FaultFileSystem::Op::kSync && path.find("base.") != std::string::npos;
    failed = failed || fails;
    return fails ? EIO : 0;
  });
  EXPECT_FALSE(a.Rewrite().ok());
  loser.disk_a.SetHook(nullptr);
  ASSERT_TRUE(failed);
  a.Set(0, "later", "in the second file");
  ASSERT_TRUE(Cut(a, loser.parted).ok());
  EXPECT_EQ(PlaceOf(a).end, loser.parted);
  a.AwaitDurable();
  const std::unique_ptr<FaultFileSystem> after = loser.disk_a.AfterPowerLoss(1);
  ServedData again(Replica(after.get()));
  EXPECT_EQ(PlaceOf(again), PlaceOf(a));
  EXPECT_EQ(DigestOfAll(again), DigestOfAll(a));
}

}  // namespace
}  // namespace skein::storage
