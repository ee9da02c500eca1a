// Loading items into a shard: no log, no observers, and what the key held goes.
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "storage/shard.h"
#include "storage/shard_testing.h"

namespace skein::storage {
namespace {

struct Counting : MutationObserver {
  void OnChange(const Change&) override { ++changes; }
  int changes = 0;
};

RdbItem ItemOf(uint32_t db, std::string_view key, std::string_view value, UnixMillis expire_at = kNoExpiry) {
  RdbItem item;
  item.db = db;
  item.key = key;
  item.string = value;
  item.expire_at = expire_at;
  return item;
}

TEST(LoadItem, PutsKeysIntoTheTablesAndNowhereElse) {
  FakeLog log;
  Counting observer;
  Shard shard({0, 1, 4}, &log);
  shard.AddObserver(&observer);
  const std::string large(5000, 'x');
  shard.LoadItem(ItemOf(0, "int", "12345"));
  shard.LoadItem(ItemOf(0, "small", "text"));
  shard.LoadItem(ItemOf(3, "large", large, 2'000'000'000'000));
  shard.LoadItem(ItemOf(0, "", ""));
  const Picture expected = {
      {{0, "int"}, {"12345", kNoExpiry, "int"}},
      {{0, "small"}, {"text", kNoExpiry, "embstr"}},
      {{3, "large"}, {large, 2'000'000'000'000, "raw"}},
      {{0, ""}, {"", kNoExpiry, "embstr"}},
  };
  EXPECT_EQ(PictureOf(shard), expected);
  EXPECT_EQ(shard.End(), 0u);
  EXPECT_TRUE(log.records.empty());
  EXPECT_EQ(observer.changes, 0);
  EXPECT_EQ(shard.changes(), 0u);
}

TEST(LoadItem, ReplacesWhatTheKeyHeldWithItsExpiry) {
  Shard shard({0, 1, 1}, nullptr);
  shard.LoadItem(ItemOf(0, "k", "first", 2'000'000'000'000));
  shard.LoadItem(ItemOf(0, "k", "second"));
  EXPECT_EQ(PictureOf(shard), (Picture{{{0, "k"}, {"second", kNoExpiry, "embstr"}}}));
  EXPECT_EQ(shard.ExpiringKeyCount(0), 0u);
}

TEST(LoadItem, LoadsExpiredKeysToo) {
  Shard shard({0, 1, 1}, nullptr);
  shard.Begin(1'700'000'000'000);
  shard.End();
  shard.LoadItem(ItemOf(0, "gone", "v", 1));
  EXPECT_EQ(shard.KeyCount(0), 1u);
  EXPECT_EQ(shard.ExpiringKeyCount(0), 1u);
}

// What nothing is said about counts as used at the shard's clock.
TEST(LoadItem, KeepsAccessDataIfThereIsAny) {
  Shard shard({0, 1, 1}, nullptr);
  shard.Begin(1'700'000'000'000);
  shard.End();
  RdbItem item = ItemOf(0, "said", "v");
  item.access = 77;
  shard.LoadItem(item);
  shard.LoadItem(ItemOf(0, "unsaid", "v"));
  EXPECT_EQ(shard.Find(0, Key("said"), Shard::Touch::kNo)->access(), 77u);
  EXPECT_EQ(shard.Find(0, Key("unsaid"), Shard::Touch::kNo)->access(), LruClock(1'700'000'000'000));
}

}  // namespace
}  // namespace skein::storage
