// What a flow does, without sockets.
#include "storage/flows.h"

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "storage/flows_testing.h"
#include "storage/kill_point.h"
#include "storage/slot.h"

namespace skein::storage {
namespace {

TEST(Flows, L09_AReplicaHoldsTheSameRecordsAtTheSameLsns) {
  FaultFileSystem disk_a, disk_b;
  ServedData a(Primary(&disk_a));
  Keep(a);
  for (int i = 0; i < 500; ++i) a.Set(i % 3, Name(i), std::string(i, 'x'));
  ServedData b(Replica(&disk_b));
  b.Set(0, "stale", "gone with the reload");
  const absl::StatusOr<Lsn> lsn = FullSync(a, b);
  ASSERT_TRUE(lsn.ok()) << lsn.status();
  EXPECT_EQ(PlaceOf(b), PlaceOf(a));
  EXPECT_EQ(PlaceOf(b).end, *lsn);
  EXPECT_EQ(b.Read(), a.Read());
  for (int i = 400; i < 900; ++i) a.Set(i % 3, Name(i), "later");
  ASSERT_TRUE(Follow(b, FromBacklog(a, *lsn)).ok());
  EXPECT_EQ(PlaceOf(b), PlaceOf(a));
  EXPECT_EQ(b.Read(), a.Read());
  // Byte for byte, from files as from memory.
  a.AwaitDurable();
  b.AwaitDurable();
  const Lsn end = PlaceOf(a).end;
  EXPECT_EQ(*FromFiles(a, *lsn, end), *FromFiles(b, *lsn, end));
}

TEST(Flows, AReplicaThatStartsAgainGoesOnFromItsOwnFiles) {
  FaultFileSystem disk_a, disk_b;
  ServedData a(Primary(&disk_a));
  Keep(a);
  for (int i = 0; i < 100; ++i) a.Set(0, Name(i), "1");
  Place before;
  {
    ServedData b(Replica(&disk_b));
    const absl::StatusOr<Lsn> lsn = FullSync(a, b);
    ASSERT_TRUE(lsn.ok()) << lsn.status();
    for (int i = 0; i < 100; ++i) a.Set(0, Name(i), "2");
    ASSERT_TRUE(Follow(b, FromBacklog(a, *lsn)).ok());
    before = PlaceOf(b);
    ASSERT_TRUE(b.Close().ok());
  }
  ServedData b(Replica(&disk_b));
  EXPECT_EQ(PlaceOf(b), before) << "no reign was begun";
  for (int i = 50; i < 200; ++i) a.Set(0, Name(i), "3");
  const Place here = PlaceOf(a);
  const std::optional<Lsn> common = CommonPoint(here.history, here.end, before.history, before.end);
  ASSERT_TRUE(common.has_value());
  EXPECT_EQ(*common, before.end);
  const absl::StatusOr<std::string> tail = FromFiles(a, *common, here.end);
  ASSERT_TRUE(tail.ok()) << tail.status();
  ASSERT_TRUE(Follow(b, *tail).ok());
  EXPECT_EQ(PlaceOf(b), here);
  EXPECT_EQ(b.Read(), a.Read());
}

TEST(Flows, APromotedReplicaListsItsReign) {
  FaultFileSystem disk_a, disk_b;
  ServedData a(Primary(&disk_a, 2));
  for (int i = 0; i < 100; ++i) a.Set(0, Name(i), "1");
  std::vector<Lsn> ends(2);
  Place parted[2];
  {
    ServedData b(Replica(&disk_b, 2));
    for (uint32_t i = 0; i < 2; ++i) ASSERT_TRUE(FullSync(a, b, i).ok());
    for (uint32_t i = 0; i < 2; ++i) {
      b.Run(i, [&](Shard& shard) {
        shard.log()->set_follows(false);
        shard.set_decides_expiry(true);
        ends[i] = shard.log()->BeginReign(7, 5);
        shard.log()->Kick();
      });
      parted[i] = PlaceOf(b, i);
      EXPECT_EQ(parted[i].history.back().epoch, 7u);
    }
    std::promise<absl::Status> listed;
    b.data().flows()->ListReigns(ends, [&](const absl::Status& status) { listed.set_value(status); });
    ASSERT_TRUE(listed.get_future().get().ok());
    // What a start would find now.
    const std::unique_ptr<FaultFileSystem> after = disk_b.AfterPowerLoss(3);
    ServedData c(Replica(after.get(), 2));
    for (uint32_t i = 0; i < 2; ++i) EXPECT_EQ(PlaceOf(c, i).history, parted[i].history);
    b.Set(0, "mine", "now");
  }
  // The old primary writes on; the two part where the reign began.
  for (int i = 0; i < 100; ++i) a.Set(0, Name(i), "lost");
  for (uint32_t i = 0; i < 2; ++i) {
    const Place here = PlaceOf(a, i);
    EXPECT_EQ(CommonPoint(here.history, here.end, parted[i].history, parted[i].end),
              std::optional<Lsn>(parted[i].history.back().first_lsn));
  }
}

TEST(Flows, WithoutFilesALogInMemoryIssuesAndFollows) {
  FaultFileSystem disk_a, disk_b;
  ServedData a(ServedData::OptionsOn(&disk_a, false, 1));
  DataSetOptions options = ServedData::OptionsOn(&disk_b, false, 1);
  options.follow = true;
  ServedData b(options);
  for (ServedData* data : {&a, &b}) {
    std::promise<absl::Status> done;
    data->data().flows()->StartMemoryLogs(data == &b, [&](const absl::Status& status) { done.set_value(status); });
    ASSERT_TRUE(done.get_future().get().ok());
  }
  Keep(a);
  for (int i = 0; i < 200; ++i) a.Set(i % 2, Name(i), "1");
  EXPECT_EQ(PlaceOf(a).history.size(), 1u);
  EXPECT_EQ(PlaceOf(b), Place());
  const absl::StatusOr<Lsn> lsn = FullSync(a, b);
  ASSERT_TRUE(lsn.ok()) << lsn.status();
  for (int i = 100; i < 300; ++i) a.Set(i % 2, Name(i), "2");
  ASSERT_TRUE(Follow(b, FromBacklog(a, *lsn)).ok());
  EXPECT_EQ(PlaceOf(b), PlaceOf(a));
  EXPECT_EQ(b.Read(), a.Read());
  EXPECT_EQ(a.data().flows()->OpenFeed(0, 0).status().code(), absl::StatusCode::kNotFound);
}

TEST(Flows, L09_MemoryAndFilesGiveTheSameRecords) {
  FaultFileSystem disk;
  ServedData a(Primary(&disk));
  a.Run(0, [](Shard& shard) { shard.log()->KeepBacklog(64 << 20); });
  const Lsn from = PlaceOf(a).end;
  // Over the edges of the tail's chunks, in one go and in several, and larger than one.
  for (int i = 0; i < 300; ++i) {
    a.Run(0, [&](Shard& shard) {
      shard.Begin(1000 + i);
      for (int j = 0; j <= i % 3; ++j) {
        shard.SetString(static_cast<uint32_t>(j), Key(Name(i)), std::string(static_cast<size_t>(i) * 37 % 9000, 'v'),
                        kNoExpiry, "set");
      }
      shard.End();
      if (i % 50 == 0) {
        shard.Begin(1000 + i);
        shard.SetString(0, Key("large"), std::string(700'000, 'l'), kNoExpiry, "set");
        shard.End();
      }
      if (i % 7 == 0) shard.log()->AppendTime(2000 + i);
    });
  }
  const std::string memory = FromBacklog(a, from);
  const absl::StatusOr<std::string> files = FromFiles(a, from, PlaceOf(a).end);
  ASSERT_TRUE(files.ok()) << files.status();
  std::vector<RecordView> in_memory, in_files;
  ASSERT_TRUE(TakeRecords(memory, from, &in_memory, nullptr).ok());
  ASSERT_TRUE(TakeRecords(*files, from, &in_files, nullptr).ok());
  ASSERT_EQ(in_memory.size(), in_files.size());
  for (size_t i = 0; i < in_memory.size(); ++i) {
    EXPECT_EQ(in_memory[i].header.kind, in_files[i].header.kind);
    EXPECT_EQ(in_memory[i].header.lsn, in_files[i].header.lsn);
    EXPECT_EQ(in_memory[i].header.time, in_files[i].header.time);
    EXPECT_EQ(in_memory[i].header.slot, in_files[i].header.slot);
    ASSERT_EQ(in_memory[i].body(), in_files[i].body());
  }
}

TEST(Flows, ASnapshotUnderWritesAndWhatFollowsItIsEverything) {
  FaultFileSystem disk_a, disk_b;
  ServedData a(Primary(&disk_a));
  Keep(a);
  for (int i = 0; i < 3000; ++i) a.Set(0, Name(i), "before");
  a.Hold(true);
  std::promise<Lsn> begun;
  std::unique_ptr<Backlog::Cursor> pinned;
  auto stream = a.data().flows()->StreamSnapshot(0, [&](Shard& shard, absl::StatusOr<Lsn> lsn) {
    ASSERT_TRUE(lsn.ok());
    shard.log()->Kick();
    pinned = shard.log()->backlog()->Pin(*lsn);
    begun.set_value(*lsn);
  });
  const Lsn at = begun.get_future().get();
  for (int i = 0; i < 3000; i += 2) a.Set(0, Name(i), "while it was taken");
  a.FlushAll();
  for (int i = 0; i < 100; ++i) a.Set(1, Name(i), "after the flush");
  a.Hold(false);
  ServedData b(Replica(&disk_b));
  Reload reload(b);
  while (true) {
    const absl::StatusOr<std::string_view> more = stream->Next();
    ASSERT_TRUE(more.ok()) << more.status();
    if (more->empty()) break;
    reload.Feed(std::string(*more));
  }
  EXPECT_EQ(stream->keys(), 3000u);
  const absl::StatusOr<Lsn> lsn = reload.End();
  ASSERT_TRUE(lsn.ok()) << lsn.status();
  EXPECT_EQ(*lsn, at);
  ASSERT_NE(pinned, nullptr);
  ASSERT_TRUE(Follow(b, FromBacklog(a, at)).ok());
  EXPECT_EQ(DigestOfAll(b), DigestOfAll(a));
  EXPECT_EQ(b.Read(), a.Read());
  a.Run(0, [&](Shard&) { pinned.reset(); });
}

TEST(Flows, SnapshotsOfAShardWaitForEachOther) {
  FaultFileSystem disk;
  ServedData a(Primary(&disk));
  for (int i = 0; i < 1000; ++i) a.Set(0, Name(i), "1");
  a.Hold(true);
  auto first = a.data().flows()->StreamSnapshot(0, nullptr);
  auto second = a.data().flows()->StreamSnapshot(0, nullptr);
  auto dropped = a.data().flows()->StreamSnapshot(0, nullptr);
  std::promise<absl::Status> saved;
  bool scheduled = false;
  ASSERT_TRUE(
      a.saver()
          .StartRdb(true, &scheduled, {.begun = nullptr, .ended = [&](const absl::Status& s) { saved.set_value(s); }})
          .ok());
  dropped.reset();
  a.Hold(false);
  for (SnapshotStream* stream : {first.get(), second.get()}) {
    while (true) {
      const absl::StatusOr<std::string_view> more = stream->Next();
      ASSERT_TRUE(more.ok()) << more.status();
      if (more->empty()) break;
    }
    EXPECT_EQ(stream->keys(), 1000u);
  }
  EXPECT_TRUE(saved.get_future().get().ok());
}

TEST(Flows, ACancelledStreamWakesItsReaderAndFreesTheShard) {
  FaultFileSystem disk;
  ServedData a(Primary(&disk));
  for (int i = 0; i < 1000; ++i) a.Set(0, Name(i), "1");
  a.Hold(true);
  auto stream = a.data().flows()->StreamSnapshot(0, nullptr);
  std::promise<absl::Status> ended;
  std::thread reader([&] {
    while (true) {
      const absl::StatusOr<std::string_view> more = stream->Next();
      if (more.ok() && !more->empty()) continue;
      return ended.set_value(more.status());
    }
  });
  stream->Cancel();
  EXPECT_TRUE(absl::IsCancelled(ended.get_future().get()));
  reader.join();
  stream.reset();
  bool running = true;
  a.Run(0, [&](Shard& shard) { running = shard.snapshot_running(); });
  EXPECT_FALSE(running);
  a.Hold(false);
}

TEST(Flows, AFeedOutlivesRewritesThatRemoveItsFiles) {
  FaultFileSystem disk;
  ServedData a(Primary(&disk));
  const Lsn from = PlaceOf(a).end;
  for (int i = 0; i < 200; ++i) a.Set(0, Name(i), "1");
  const Lsn middle = PlaceOf(a).end;
  absl::StatusOr<std::unique_ptr<LogFeed>> feed = a.data().flows()->OpenFeed(0, from);
  ASSERT_TRUE(feed.ok());
  std::string bytes(*(*feed)->Next(middle, 1));
  ASSERT_TRUE(a.Rewrite().ok());
  for (int i = 0; i < 200; ++i) a.Set(0, Name(i), "2");
  const Lsn end = PlaceOf(a).end;
  EXPECT_NE(disk.Tree().find("incr.1.aof"), std::string::npos) << "held";
  while (true) {
    const absl::StatusOr<std::string_view> more = (*feed)->Next(end, 4096);
    ASSERT_TRUE(more.ok()) << more.status();
    if (more->empty()) break;
    bytes += *more;
  }
  EXPECT_EQ(bytes.size(), end - from);
  std::vector<RecordView> records;
  EXPECT_TRUE(TakeRecords(bytes, from, &records, nullptr).ok());
  feed->reset();
  EXPECT_EQ(disk.Tree().find("incr.1.aof"), std::string::npos) << "removed once nobody reads it";
  EXPECT_EQ(a.data().flows()->OpenFeed(0, from).status().code(), absl::StatusCode::kNotFound);
}

TEST(Flows, AFeedStartsAtRecordsOnly) {
  FaultFileSystem disk;
  ServedData a(Primary(&disk));
  for (int i = 0; i < 10; ++i) a.Set(0, Name(i), "1");
  const Lsn end = PlaceOf(a).end;
  absl::StatusOr<std::unique_ptr<LogFeed>> feed = a.data().flows()->OpenFeed(0, end - 1);
  ASSERT_TRUE(feed.ok());
  EXPECT_EQ((*feed)->Next(end, 100).status().code(), absl::StatusCode::kInvalidArgument);
  feed = a.data().flows()->OpenFeed(0, end);
  ASSERT_TRUE(feed.ok());
  EXPECT_EQ(*(*feed)->Next(end, 100), "");
  a.Set(0, "more", "x");
  EXPECT_FALSE((*feed)->Next(PlaceOf(a).end, 100)->empty());
}

TEST(Flows, ADamagedFileIsNotSent) {
  FaultFileSystem disk;
  ServedData a(Primary(&disk));
  for (int i = 0; i < 100; ++i) a.Set(0, Name(i), "value");
  a.AwaitDurable();
  std::string bytes = disk.Bytes("/data/appendonlydir/shard-0/incr.1.aof");
  bytes[bytes.size() / 2] ^= 1;
  disk.SetBytes("/data/appendonlydir/shard-0/incr.1.aof", bytes);
  EXPECT_TRUE(absl::IsDataLoss(FromFiles(a, 0, PlaceOf(a).end).status()));
}

TEST(Flows, WhatCannotBeFollowedChangesNothing) {
  FaultFileSystem disk_a, disk_b;
  ServedData a(Primary(&disk_a)), b(Replica(&disk_b));
  Keep(a);
  const absl::StatusOr<Lsn> lsn = FullSync(a, b);
  ASSERT_TRUE(lsn.ok());
  a.Set(0, "one", "1");
  a.Set(0, "two", "2");
  const std::string bytes = FromBacklog(a, *lsn);
  const Place before = PlaceOf(b);
  EXPECT_EQ(Follow(b, bytes.substr(1)).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(PlaceOf(b), before);
  // A second record that cannot be applied: the first one is there, in the tables and in the log.
  std::string torn = bytes;
  torn[torn.find("two") - 10] = '9';
  EXPECT_EQ(Follow(b, torn).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(b.Read(), (Contents{{"0/one", "1"}}));
  const Lsn at = PlaceOf(b).end;
  EXPECT_GT(at, *lsn);
  ASSERT_TRUE(Follow(b, bytes.substr(at - *lsn)).ok());
  EXPECT_EQ(PlaceOf(b), PlaceOf(a));
}

// ---- Reloads -------------------------------------------------------------------------------------------------------

TEST(Flows, AReloadPushesBackAndTellsOfRoom) {
  FaultFileSystem disk_a, disk_b;
  ServedData a(Primary(&disk_a)), b(Replica(&disk_b));
  for (int i = 0; i < 200; ++i) a.Set(0, Name(i), std::string(100'000, static_cast<char>('a' + i % 26)));
  const absl::StatusOr<std::string> base = Snapshot(a);
  ASSERT_TRUE(base.ok());
  ASSERT_GT(base->size(), 2 * ShardReload::kQueueLimit);
  Reload reload(b);
  // In one piece, which is more than it takes at once.
  EXPECT_FALSE(reload.Feed(*base));
  reload.room.wait();
  const absl::StatusOr<Lsn> lsn = reload.End();
  ASSERT_TRUE(lsn.ok()) << lsn.status();
  EXPECT_EQ(DigestOfAll(b), DigestOfAll(a));
}

TEST(Flows, ABaseThatIsNotWholeIsRefusedInWords) {
  FaultFileSystem disk_a, disk_b, disk_c;
  ServedData a(Primary(&disk_a)), b(Replica(&disk_b)), two(Primary(&disk_c, 2));
  for (int i = 0; i < 100; ++i) a.Set(0, Name(i), "1");
  for (int i = 0; i < 100; ++i) two.Set(0, Name(i), "1");
  const std::string base = *Snapshot(a);
  std::string flipped = base;
  flipped[base.size() / 2] ^= 1;
  const std::string other = *Snapshot(two, 1);
  const std::vector<std::string> bad = {"", base.substr(0, base.size() - 1), base + "x", flipped, other, "REDIS9999"};
  for (const std::string& bytes : bad) {
    Reload reload(b);
    reload.Feed(bytes);
    const absl::StatusOr<Lsn> lsn = reload.End();
    EXPECT_FALSE(lsn.ok());
    EXPECT_FALSE(lsn.status().message().empty());
    bool loading = false, logged = true;
    b.Run(0, [&](Shard& shard) {
      loading = shard.loading();
      logged = shard.log() != nullptr;
    });
    EXPECT_TRUE(loading);
    EXPECT_FALSE(logged);
    EXPECT_FALSE(Snapshot(b).ok()) << "it is not whole";
    EXPECT_FALSE(b.Rewrite().ok());
  }
  // And the next one is as good as the first.
  ASSERT_TRUE(FullSync(a, b).ok());
  EXPECT_EQ(DigestOfAll(b), DigestOfAll(a));
  EXPECT_TRUE(b.Rewrite().ok());
}

TEST(Flows, ALaterReloadTakesThePlaceOfOneThatWasGivenUp) {
  FaultFileSystem disk_a, disk_b;
  ServedData a(Primary(&disk_a)), b(Replica(&disk_b));
  for (int i = 0; i < 3000; ++i) a.Set(0, Name(i), "1");
  const std::string base = *Snapshot(a);
  for (size_t part : {size_t{0}, size_t{100}, base.size() / 2, base.size()}) {
    Reload given_up(b);
    given_up.Feed(base.substr(0, part));
  }
  ASSERT_TRUE(FullSync(a, b).ok());
  EXPECT_EQ(DigestOfAll(b), DigestOfAll(a));
  EXPECT_EQ(PlaceOf(b), PlaceOf(a));
  ASSERT_TRUE(b.Close().ok());
  ServedData again(Replica(&disk_b));
  EXPECT_EQ(DigestOfAll(again), DigestOfAll(a));
}

TEST(Flows, ARewriteThatWasRunningDoesNotListAnOldBase) {
  FaultFileSystem disk_a, disk_b;
  ServedData a(Primary(&disk_a)), b(Replica(&disk_b));
  for (int i = 0; i < 500; ++i) a.Set(0, Name(i), "new");
  for (int i = 0; i < 500; ++i) b.Set(0, Name(i), "old");
  b.Hold(true);
  std::promise<absl::Status> begun, ended;
  bool scheduled = false;
  ASSERT_TRUE(b.saver()
                  .StartRewrite(&scheduled, {.begun = [&](const absl::Status& s) { begun.set_value(s); },
                                             .ended = [&](const absl::Status& s) { ended.set_value(s); }})
                  .ok());
  ASSERT_TRUE(begun.get_future().get().ok());
  ASSERT_TRUE(FullSync(a, b).ok());
  b.Hold(false);
  EXPECT_FALSE(ended.get_future().get().ok());
  const Place place = PlaceOf(b);
  ASSERT_TRUE(b.Close().ok());
  ServedData again(Replica(&disk_b));
  EXPECT_EQ(PlaceOf(again), place);
  EXPECT_EQ(DigestOfAll(again), DigestOfAll(a));
}

// ---- A loser -------------------------------------------------------------------------------------------------------

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

// ---- Digests -------------------------------------------------------------------------------------------------------

TEST(Digest, SeesEveryDifferenceAndNoOrder) {
  Shard a({0, 1, 4}, nullptr), b({0, 1, 4}, nullptr);
  EXPECT_EQ(DigestOf(a), Digest());
  EXPECT_EQ(Digest().Hex(), std::string(40, '0'));
  const auto fill = [](Shard* shard, bool backwards) {
    shard->Begin(1000);
    for (int i = 0; i < 500; ++i) {
      const int n = backwards ? 499 - i : i;
      shard->SetString(static_cast<uint32_t>(n % 3), Key(Name(n)), std::to_string(n), n % 7 == 0 ? 5000 + n : kNoExpiry,
                       "set");
    }
    shard->End();
  };
  fill(&a, false);
  fill(&b, true);
  const Digest same = DigestOf(a);
  EXPECT_EQ(DigestOf(b), same);
  EXPECT_EQ(same.Hex().size(), 40u);
  Digest slots;
  for (uint32_t slot = 0; slot < kSlots; ++slot) slots ^= DigestOfSlot(a, static_cast<uint16_t>(slot));
  EXPECT_EQ(slots, same);
  const auto differs = [&](const std::function<void(Shard&)>& change) {
    Shard c({0, 1, 4}, nullptr);
    fill(&c, false);
    c.Begin(1000);
    change(c);
    c.End();
    return DigestOf(c) != same;
  };
  EXPECT_FALSE(differs([](Shard& s) { s.SetString(1, Key(Name(1)), "1", kNoExpiry, "set"); }));
  EXPECT_TRUE(differs([](Shard& s) { s.SetString(1, Key(Name(1)), "01", kNoExpiry, "set"); })) << "value";
  EXPECT_TRUE(differs([](Shard& s) { s.SetExpiry(1, Key(Name(1)), 9999); })) << "expiry";
  EXPECT_TRUE(differs([](Shard& s) { s.Rename(1, Key(Name(1)), Key("other")); })) << "key";
  EXPECT_TRUE(differs([](Shard& s) { s.Move(1, Key(Name(1)), 3); })) << "database";
  EXPECT_TRUE(differs([](Shard& s) { s.Delete(1, Key(Name(1)), "del", false); })) << "one less";
}

}  // namespace
}  // namespace skein::storage
