// Records out of the files of a log that goes on.
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "storage/flows.h"
#include "storage/flows_testing.h"

namespace skein::storage {
namespace {

TEST(Feed, OutlivesRewritesThatRemoveItsFiles) {
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

TEST(Feed, StartsAtRecordsOnly) {
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

TEST(Feed, ADamagedFileIsNotSent) {
  FaultFileSystem disk;
  ServedData a(Primary(&disk));
  for (int i = 0; i < 100; ++i) a.Set(0, Name(i), "value");
  a.AwaitDurable();
  std::string bytes = disk.Bytes("/data/appendonlydir/shard-0/incr.1.aof");
  bytes[bytes.size() / 2] ^= 1;
  disk.SetBytes("/data/appendonlydir/shard-0/incr.1.aof", bytes);
  EXPECT_TRUE(absl::IsDataLoss(FromFiles(a, 0, PlaceOf(a).end).status()));
}

// What is asked for stands at the end of a file of some size.
TEST(Feed, StartsNearWhatIsAskedFor) {
  FaultFileSystem disk;
  ServedData a(Primary(&disk));
  const std::string value(8000, 'v');
  std::vector<Lsn> ends;
  for (int i = 0; i < 600; ++i) {
    a.Set(0, Name(i), value);
    ends.push_back(PlaceOf(a).end);
    // In groups, so that there is more than one place to start at.
    if (i % 20 == 0) a.AwaitDurable();
  }
  const auto opened_at = [&](Lsn from) {
    const auto feed = a.data().flows()->OpenFeed(0, from);
    EXPECT_TRUE(feed.ok()) << feed.status();
    return feed.ok() ? (*feed)->opened_at() : 0;
  };
  const std::string all = *FromFiles(a, 0, ends.back());
  for (const size_t i : {0, 150, 299, 450, 598}) {
    const Lsn from = ends[i];
    EXPECT_GT(opened_at(from) + (uint64_t{2} << 20), from) << i;
    const absl::StatusOr<std::string> bytes = FromFiles(a, from, ends.back());
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    EXPECT_TRUE(*bytes == all.substr(from)) << i;
  }
  const auto between = a.data().flows()->OpenFeed(0, ends[598] - 1);
  ASSERT_TRUE(between.ok());
  EXPECT_EQ((*between)->Next(ends.back(), 100).status().code(), absl::StatusCode::kInvalidArgument);
  // Across a rotation, and after a start, which knows of no places.
  const Lsn from = ends[598];
  absl::StatusOr<std::unique_ptr<LogFeed>> held = a.data().flows()->OpenFeed(0, from);
  ASSERT_TRUE(held.ok());
  ASSERT_TRUE(a.Rewrite().ok());
  EXPECT_EQ(std::string(*(*held)->Next(ends.back(), 1 << 20)), all.substr(from));
  held->reset();
  a.Set(0, "later", value);
  EXPECT_EQ(opened_at(ends.back()), opened_at(PlaceOf(a).end)) << "a file that has just begun";
  EXPECT_TRUE(FromFiles(a, ends.back(), PlaceOf(a).end).ok());
}

TEST(Feed, IsCancelledWhileItWaitsForTheDisk) {
  FaultFileSystem disk;
  ServedData a(Primary(&disk));
  a.Set(0, "one", "1");
  const Lsn end = PlaceOf(a).end;
  // Before the reader waits, while it begins to, and after.
  for (int round = 0; round < 50; ++round) {
    absl::StatusOr<std::unique_ptr<LogFeed>> feed = a.data().flows()->OpenFeed(0, 0);
    ASSERT_TRUE(feed.ok());
    ASSERT_FALSE((*feed)->Next(end, 1 << 20)->empty());
    // Nothing is appended there: it would wait for ever.
    std::promise<void> begun;
    std::promise<absl::Status> ended;
    std::thread reader([&] {
      begun.set_value();
      ended.set_value((*feed)->Next(end + 1000, 1 << 20).status());
    });
    begun.get_future().wait();
    for (int i = 0; i < round * 10; ++i) std::this_thread::yield();
    (*feed)->Cancel();
    EXPECT_TRUE(absl::IsCancelled(ended.get_future().get()));
    reader.join();
    EXPECT_TRUE(absl::IsCancelled((*feed)->Next(end, 1).status())) << "for good";
  }
}

}  // namespace
}  // namespace skein::storage
