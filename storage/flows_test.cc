// Primary and replica as two data sets, joined by bytes: what a flow does, without sockets.
#include "storage/flows.h"

#include <future>
#include <latch>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "storage/follow.h"
#include "storage/history.h"
#include "storage/saver_testing.h"

namespace skein::storage {
namespace {

constexpr uint64_t kBacklog = 1 << 20;

std::string Name(int i) { return "key:" + std::to_string(i); }

DataSetOptions Primary(FileSystem* fs, uint32_t shards = 1) { return ServedData::OptionsOn(fs, true, shards); }
DataSetOptions Replica(FileSystem* fs, uint32_t shards = 1) {
  DataSetOptions options = ServedData::OptionsOn(fs, true, shards);
  options.follow = true;
  return options;
}

// What one shard's log is.
struct Place {
  Lsn end = 0;
  std::vector<Reign> history;
  bool operator==(const Place&) const = default;
};
Place PlaceOf(ServedData& data, uint32_t shard = 0) {
  Place place;
  data.Run(shard, [&](Shard& s) { place = {s.log()->end(), s.log()->history()}; });
  return place;
}

void Keep(ServedData& data, uint32_t shard = 0) {
  data.Run(shard, [](Shard& s) { s.log()->KeepBacklog(kBacklog); });
}

// The bytes from `from` to the end of the backlog.
std::string FromBacklog(ServedData& data, Lsn from, uint32_t shard = 0) {
  std::string bytes;
  data.Run(shard, [&](Shard& s) {
    s.log()->Kick();
    const std::unique_ptr<Backlog::Cursor> cursor = s.log()->backlog()->Pin(from);
    ASSERT_NE(cursor, nullptr);
    iovec pieces[4];
    while (cursor->lag() > 0) {
      const size_t count = cursor->Peek(pieces, 4, 1000);
      for (size_t i = 0; i < count; ++i) {
        bytes.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
        cursor->Skip(pieces[i].iov_len);
      }
    }
  });
  return bytes;
}

absl::StatusOr<std::string> FromFiles(ServedData& data, Lsn from, Lsn to, uint32_t shard = 0) {
  absl::StatusOr<std::unique_ptr<LogFeed>> feed = data.data().flows()->OpenFeed(shard, from);
  if (!feed.ok()) return feed.status();
  std::string bytes;
  while (true) {
    const absl::StatusOr<std::string_view> more = (*feed)->Next(to, 1000);
    if (!more.ok()) return more.status();
    if (more->empty()) return bytes;
    EXPECT_EQ(WholeRecords(*more), more->size());
    bytes += *more;
  }
}

absl::Status Follow(ServedData& data, std::string_view bytes, uint32_t shard = 0) {
  absl::Status status;
  data.Run(shard, [&](Shard& s) { status = FollowRecords(&s, bytes); });
  return status;
}

// A reload in the making.
struct Reload {
  explicit Reload(ServedData& data, uint32_t shard = 0) : data(data), shard(shard) {
    data.Run(shard, [this](Shard& s) {
      reload = this->data.data().flows()->BeginReload(
          &s, {.on_room = [this] { room.count_down(); },
               .done = [this](absl::StatusOr<Lsn> lsn) { done.set_value(std::move(lsn)); }});
    });
  }
  ~Reload() {
    data.Run(shard, [this](Shard&) { reload.reset(); });
  }
  bool Feed(std::string bytes) {
    bool more = false;
    data.Run(shard, [&](Shard&) { more = reload->Feed(std::move(bytes)); });
    return more;
  }
  absl::StatusOr<Lsn> End() {
    data.Run(shard, [this](Shard&) { reload->Finish(); });
    return done.get_future().get();
  }
  ServedData& data;
  const uint32_t shard;
  std::unique_ptr<ShardReload> reload;
  std::latch room{1};
  std::promise<absl::StatusOr<Lsn>> done;
};

absl::StatusOr<std::string> Snapshot(ServedData& data, uint32_t shard = 0, Lsn* at = nullptr) {
  auto begun = std::make_shared<std::promise<absl::StatusOr<Lsn>>>();
  std::unique_ptr<SnapshotStream> stream = data.data().flows()->StreamSnapshot(
      shard, [begun](Shard&, absl::StatusOr<Lsn> lsn) { begun->set_value(std::move(lsn)); });
  std::string bytes;
  while (true) {
    const absl::StatusOr<std::string_view> more = stream->Next();
    if (!more.ok()) return more.status();
    if (more->empty()) break;
    bytes += *more;
  }
  const absl::StatusOr<Lsn> lsn = begun->get_future().get();
  if (!lsn.ok()) return lsn.status();
  if (at != nullptr) *at = *lsn;
  return bytes;
}

absl::StatusOr<Lsn> FullSync(ServedData& primary, ServedData& replica, uint32_t shard = 0) {
  const absl::StatusOr<std::string> base = Snapshot(primary, shard);
  if (!base.ok()) return base.status();
  Reload reload(replica, shard);
  for (size_t at = 0; at < base->size(); at += 777) reload.Feed(base->substr(at, 777));
  return reload.End();
}

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

}  // namespace
}  // namespace skein::storage
