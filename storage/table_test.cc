#include "storage/table.h"

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "gtest/gtest.h"
#include "storage/entry_ops.h"

namespace skein::storage {
namespace {

// No operation moves more than one segment's copy (at most 112 buckets), a directory's (64 cache lines) and one chain.
constexpr uint64_t kMostMoves = 112 + 64 + 64;

Entry* MakeEntry(std::string_view key) { return EntryOps::NewString(key, StringValue::Of("v"), kNoExpiry, 0); }

// A table with the entries in it, which it frees.
class Owner {
 public:
  ~Owner() {
    while (table.PopBucket(&context, [](Entry* entry) { EntryOps::Free(entry); })) {
    }
    EXPECT_EQ(table.size(), 0u);
    EXPECT_EQ(context.bytes, 0u);
    EXPECT_EQ(context.overflow_buckets, 0u);
  }
  void Insert(const std::string& key) {
    const uint64_t before = context.moves;
    table.Insert(HashKey(key), MakeEntry(key), &context);
    most_moves = std::max(most_moves, context.moves - before);
  }
  bool Erase(const std::string& key) {
    const uint64_t before = context.moves;
    const Table::Position at = table.Find(HashKey(key), key);
    if (!at) return false;
    Entry* const entry = at.entry();
    table.Erase(at, &context);
    EntryOps::Free(entry);
    most_moves = std::max(most_moves, context.moves - before);
    return true;
  }
  bool Has(const std::string& key) const {
    const Table::Position at = table.Find(HashKey(key), key);
    return at && at.entry()->key() == key;
  }

  Table table;
  TableContext context;
  uint64_t most_moves = 0;
};

std::string Name(int i) { return "k" + std::to_string(i); }

TEST(Table, EmptyTableHoldsNothingAndCostsNothing) {
  Owner owner;
  EXPECT_FALSE(owner.Has("a"));
  EXPECT_EQ(owner.table.ScanBucket(0, [](Entry*) { FAIL(); }), 0u);
  EXPECT_EQ(owner.context.bytes, 0u);
  owner.Insert("a");
  EXPECT_TRUE(owner.Has("a"));
  EXPECT_EQ(owner.context.bytes, 64u);
  EXPECT_TRUE(owner.Erase("a"));
  EXPECT_FALSE(owner.Has("a"));
  EXPECT_EQ(owner.context.bytes, 0u);
}

TEST(Table, GrowsToAMillionAndBackWithBoundedWorkPerOperation) {
  constexpr int kKeys = 1'000'000;
  Owner owner;
  for (int i = 0; i < kKeys; ++i) {
    owner.Insert(Name(i));
    // Memory stays in proportion all the way.
    if (i >= 1000 && i % 997 == 0) {
      ASSERT_LE(owner.context.bytes, 19u * static_cast<unsigned>(i)) << i;
    }
  }
  EXPECT_EQ(owner.table.size(), static_cast<uint64_t>(kKeys));
  EXPECT_GE(owner.table.buckets(), kKeys / 6u);
  EXPECT_LE(owner.context.overflow_buckets, kKeys / 15u);
  for (int i = 0; i < kKeys; i += 7) ASSERT_TRUE(owner.Has(Name(i))) << i;
  EXPECT_FALSE(owner.Has("absent"));

  for (int i = 0; i < kKeys; ++i) {
    ASSERT_TRUE(owner.Erase(Name(i)));
    const int left = kKeys - i - 1;
    if (left >= 1000 && i % 997 == 0) {
      ASSERT_LE(owner.context.bytes, 32u * static_cast<unsigned>(left)) << i;
    }
    if (i % 4999 == 0 && left > 0) {
      ASSERT_TRUE(owner.Has(Name(kKeys - 1)));
    }
  }
  EXPECT_LE(owner.most_moves, kMostMoves);
  EXPECT_EQ(owner.context.bytes, 0u);
}

TEST(Table, DoesNotGrowAndShrinkInTurn) {
  for (const int size : {7, 13, 50, 700, 5000}) {
    Owner owner;
    for (int i = 0; i < size; ++i) owner.Insert(Name(i));
    owner.Insert("x");
    const uint64_t moves = owner.context.moves;
    for (int i = 0; i < 100; ++i) {
      owner.Erase("x");
      owner.Insert("x");
    }
    EXPECT_LE(owner.context.moves - moves, kMostMoves) << size;
  }
}

TEST(Table, ReplaceKeepsThePlaceAndFindEntryLooksForThePointer) {
  Owner owner;
  for (int i = 0; i < 100; ++i) owner.Insert(Name(i));
  const std::string key = Name(42);
  Table::Position at = owner.table.Find(HashKey(key), key);
  Entry* const old = at.entry();
  EXPECT_EQ(owner.table.FindEntry(HashKey(key), old).word, at.word);
  Entry* const fresh = MakeEntry(key);
  owner.table.Replace(at, fresh, &owner.context);
  EXPECT_EQ(owner.table.Find(HashKey(key), key).entry(), fresh);
  EXPECT_FALSE(owner.table.FindEntry(HashKey(key), old));
  EntryOps::Free(old);
  EXPECT_EQ(owner.table.size(), 100u);
}

TEST(Table, AChangedBucketTakesTheOwnersVersion) {
  Owner owner;
  owner.Insert("a");
  owner.context.version = 7;
  const Table::Position at = owner.table.Find(HashKey("a"), "a");
  EXPECT_EQ(at.head->version(), 0);
  owner.Insert("b");
  EXPECT_EQ(at.head->version(), 7);
  EXPECT_TRUE(owner.Has("a"));
  EXPECT_TRUE(owner.Has("b"));
}

TEST(Table, AScanOfAnUnchangedTableDeliversEachKeyOnce) {
  for (const int size : {1, 7, 8, 60, 333, 1000, 40'000}) {
    Owner owner;
    for (int i = 0; i < size; ++i) owner.Insert(Name(i));
    std::set<std::string> seen;
    uint64_t cursor = 0;
    do {
      cursor = owner.table.ScanBucket(
          cursor, [&](Entry* entry) { EXPECT_TRUE(seen.insert(std::string(entry->key())).second) << entry->key(); });
    } while (cursor != 0);
    EXPECT_EQ(seen.size(), static_cast<size_t>(size));
  }
}

TEST(Table, AnyNumberIsACursor) {
  Owner owner;
  for (int i = 0; i < 3000; ++i) owner.Insert(Name(i));
  std::mt19937_64 random(5);
  for (int i = 0; i < 40; ++i) {
    uint64_t cursor = random();
    int calls = 0;
    do {
      cursor = owner.table.ScanBucket(cursor, [](Entry*) {});
      ASSERT_LE(++calls, 4096);
    } while (cursor != 0);
  }
}

// Between the calls of a scan the table grows and shrinks at random, by anything from one key to most of them.
TEST(Table, AScanDeliversEveryKeyThatWasThereThroughout) {
  std::mt19937 random(99);
  uint64_t repeats = 0;
  for (int round = 0; round < 300; ++round) {
    Owner owner;
    const int stay = 1 + static_cast<int>(random() % 200);
    std::unordered_map<std::string, int> wanted;
    for (int i = 0; i < stay; ++i) {
      wanted["stay" + std::to_string(i)] = 0;
      owner.Insert("stay" + std::to_string(i));
    }
    int low = 0;  // names low..high-1 come and go
    int high = 0;
    const auto churn = [&] {
      int n = 1 << (random() % 11);
      if (random() % 2 == 0) {
        for (; n > 0; --n) owner.Insert(Name(high++));
      } else {
        for (; n > 0 && low < high; --n) owner.Erase(Name(low++));
      }
    };
    for (int i = 0; i < 4; ++i) churn();
    uint64_t cursor = 0;
    int calls = 0;
    do {
      cursor = owner.table.ScanBucket(cursor, [&](Entry* entry) {
        const auto it = wanted.find(std::string(entry->key()));
        if (it != wanted.end() && ++it->second > 1) ++repeats;
      });
      ASSERT_LE(cursor, uint64_t{1} << 33);
      if (++calls < 200 && random() % 4 == 0) churn();
    } while (cursor != 0);
    for (const auto& [key, times] : wanted) ASSERT_GE(times, 1) << key << " in round " << round;
  }
  // Merges repeat some keys; if none did, the test would not have shrunk anything.
  EXPECT_GT(repeats, 0u);
}

TEST(Table, RandomChurnMatchesASet) {
  std::mt19937 random(3);
  Owner owner;
  std::set<int> model;
  int range = 1000;
  for (int i = 0; i < 300'000; ++i) {
    if (i % 50'000 == 0) range = 100 << (random() % 9);
    const int n = static_cast<int>(random() % static_cast<unsigned>(range));
    if (random() % 2 == 0) {
      if (model.insert(n).second) owner.Insert(Name(n));
    } else {
      ASSERT_EQ(owner.Erase(Name(n)), model.erase(n) == 1);
    }
  }
  ASSERT_EQ(owner.table.size(), model.size());
  for (const int n : model) ASSERT_TRUE(owner.Has(Name(n)));
  EXPECT_LE(owner.most_moves, kMostMoves);
}

}  // namespace
}  // namespace skein::storage
