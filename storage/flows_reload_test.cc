// A replica's shard, replaced by a base.
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

TEST(Reload, PushesBackAndTellsOfRoom) {
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

TEST(Reload, ABaseThatIsNotWholeIsRefusedInWords) {
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

TEST(Reload, ALaterReloadTakesThePlaceOfOneThatWasGivenUp) {
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

TEST(Reload, ARewriteThatWasRunningDoesNotListAnOldBase) {
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

}  // namespace
}  // namespace skein::storage
