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

}  // namespace
}  // namespace skein::storage
