// Reads over many slots: counting, listing, SCAN.
#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "storage/shard.h"

namespace skein::storage {
namespace {

constexpr UnixMillis kNow = 1'700'000'000'000;

class ShardScan : public testing::Test {
 protected:
  ShardScan() { shard.Begin(kNow); }
  void Set(const std::string& key) { shard.SetString(0, key, "v", kNoExpiry, "set"); }
  Shard shard{{0, 1, 2}, nullptr};
};

TEST_F(ShardScan, SlotsAreCountedAndListed) {
  std::map<uint16_t, std::set<std::string>> slots;
  for (int i = 0; i < 20'000; ++i) {
    const std::string key = i % 2 == 0 ? "k" + std::to_string(i) : "{one}" + std::to_string(i);
    Set(key);
    slots[KeySlot(key)].insert(key);
  }
  for (uint32_t slot = 0; slot < kSlots; ++slot) {
    const auto s = static_cast<uint16_t>(slot);
    const auto it = slots.find(s);
    ASSERT_EQ(shard.KeyCountInSlot(0, s), it == slots.end() ? 0 : it->second.size());
    if (it == slots.end()) continue;
    std::set<std::string> seen;
    shard.KeysInSlot(0, s, 1'000'000, [&](std::string_view key) { ASSERT_TRUE(seen.emplace(key).second); });
    ASSERT_EQ(seen, it->second);
  }
  int some = 0;
  shard.KeysInSlot(0, KeySlot("{one}"), 33, [&](std::string_view) { ++some; });
  EXPECT_EQ(some, 33);
  EXPECT_EQ(shard.KeyCountInSlot(0, kNoSlot), 0u);
  EXPECT_EQ(shard.KeyCountInSlot(1, KeySlot("{one}")), 0u);
}

TEST_F(ShardScan, ScanOfASlotStaysInIt) {
  std::set<std::string> wanted;
  for (int i = 0; i < 3000; ++i) {
    wanted.insert("{s}" + std::to_string(i));
    Set("{s}" + std::to_string(i));
    Set("k" + std::to_string(i));
  }
  std::set<std::string> seen;
  uint64_t cursor = 0;
  do {
    cursor = shard.Scan(0, cursor, 10, KeySlot("s"), [&](const Entry& entry) { seen.emplace(entry.key()); });
    ASSERT_LT(cursor, uint64_t{1} << 48);
  } while (cursor != 0);
  EXPECT_EQ(seen, wanted);
}

TEST_F(ShardScan, ScanWorkIsBoundedAndEmptySlotsAreSkipped) {
  Set("foo");
  Set("bar");
  int calls = 0;
  size_t delivered = 0;
  uint64_t cursor = 0;
  do {
    cursor = shard.Scan(0, cursor, 1, kNoSlot, [&](const Entry&) { ++delivered; });
    ASSERT_LE(++calls, 3);
  } while (cursor != 0);
  EXPECT_EQ(delivered, 2u);
  for (int i = 0; i < 10'000; ++i) Set("k" + std::to_string(i));
  cursor = 0;
  do {
    delivered = 0;
    cursor = shard.Scan(0, cursor, 10, kNoSlot, [&](const Entry&) { ++delivered; });
    ASSERT_LE(delivered, 10u + 20u);
  } while (cursor != 0);
}

TEST_F(ShardScan, AScanWhoseSlotVanishesStartsTheNextSlotAtItsStart) {
  std::string first = "{a}";
  std::string second = "{b}";
  if (KeySlot(first) > KeySlot(second)) std::swap(first, second);
  std::set<std::string> wanted;
  for (int i = 0; i < 1000; ++i) {
    Set(first + std::to_string(i));
    Set(second + std::to_string(i));
    wanted.insert(second + std::to_string(i));
  }
  std::set<std::string> seen;
  const auto see = [&](const Entry& entry) { seen.emplace(entry.key()); };
  uint64_t cursor = 0;
  for (int i = 0; i < 30; ++i) cursor = shard.Scan(0, cursor, 10, kNoSlot, see);
  ASSERT_EQ(cursor % kSlots, KeySlot(first));
  for (int i = 0; i < 1000; ++i) shard.Delete(0, first + std::to_string(i), "del", false);
  seen.clear();
  while (cursor != 0) cursor = shard.Scan(0, cursor, 10, kNoSlot, see);
  EXPECT_EQ(seen, wanted);
}

// As the table's own test, over many slots, with keys of some slots going and coming altogether.
TEST(ShardScanChurn, DeliversEveryKeyThatWasThereThroughout) {
  std::mt19937 random(7);
  for (const uint32_t count : {1u, 3u, 4u}) {
    for (int round = 0; round < 12; ++round) {
      Shard shard({count - 1, count, 1}, nullptr);
      const auto ours = [&](const std::string& key) { return KeySlot(key) % count == count - 1; };
      const auto name = [&](int i) { return i % 4 == 0 ? "{hot}" + std::to_string(i) : "k" + std::to_string(i); };
      std::map<std::string, int> wanted;
      shard.Begin(kNow);
      for (int i = 0; i < 2000; ++i) {
        const std::string key = "stay" + std::to_string(i);
        if (!ours(key)) continue;
        wanted[key] = 0;
        shard.SetString(0, key, "v", kNoExpiry, "set");
      }
      int low = 0;
      int high = 0;
      const auto churn = [&] {
        int n = 1 << (random() % 13);
        const bool grow = random() % 2 == 0;
        for (; n > 0 && (grow || low < high); --n) {
          const std::string key = name(grow ? high++ : low++);
          if (!ours(key)) continue;
          if (grow) {
            shard.SetString(0, key, "v", kNoExpiry, "set");
          } else {
            ASSERT_TRUE(shard.Delete(0, key, "del", false));
          }
        }
      };
      churn();
      uint64_t cursor = 0;
      do {
        cursor = shard.Scan(0, cursor, 100, kNoSlot, [&](const Entry& entry) {
          const auto it = wanted.find(std::string(entry.key()));
          if (it != wanted.end()) ++it->second;
        });
        ASSERT_LT(cursor, uint64_t{1} << 48);
        churn();
        if (high - low > 20'000) low = high - 1;  // enough: leave the rest alone
      } while (cursor != 0);
      for (const auto& [key, times] : wanted) ASSERT_GE(times, 1) << key;
      // Any number is a cursor, and ends.
      for (int i = 0; i < 20; ++i) {
        cursor = (uint64_t{random()} << 16 | random()) & ((uint64_t{1} << 48) - 1);
        int calls = 0;
        while (cursor != 0) {
          cursor = shard.Scan(0, cursor, 100, kNoSlot, [](const Entry&) {});
          ASSERT_LE(++calls, 10'000);
        }
      }
      shard.End();
    }
  }
}

TEST(ShardSlots, AnyNumberOfShardsSplitsTheSlots) {
  for (const uint32_t count : {1u, 2u, 3u, 5u, 7u, 8u, 64u, 1000u}) {
    for (uint32_t index = 0; index < count; index += std::max(1u, count / 5)) {
      Shard shard({index, count, 1}, nullptr);
      shard.Begin(kNow);
      std::set<uint16_t> slots;
      for (int i = 0; i < 3000; ++i) {
        const std::string key = std::to_string(i);
        if (KeySlot(key) % count != index) continue;
        shard.SetString(0, key, key, kNoExpiry, "set");
        slots.insert(KeySlot(key));
      }
      std::set<uint16_t> seen;
      uint64_t cursor = 0;
      do {
        cursor = shard.Scan(0, cursor, 10, kNoSlot, [&](const Entry& entry) { seen.insert(KeySlot(entry.key())); });
      } while (cursor != 0);
      EXPECT_EQ(seen, slots) << index << " of " << count;
      for (const uint16_t slot : slots) EXPECT_GT(shard.KeyCountInSlot(0, slot), 0u);
      shard.End();
    }
  }
}

}  // namespace
}  // namespace skein::storage
