#include "storage/shard.h"

#include <algorithm>
#include <map>
#include <set>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "storage/background_free.h"
#include "storage/keyspace.h"
#include "storage/shard_testing.h"

// Present when jemalloc is linked.
extern "C" int mallctl(const char* name, void* old, size_t* old_size, void* fresh, size_t fresh_size)
    __attribute__((weak));

namespace skein::storage {
namespace {

constexpr UnixMillis kNow = 1'700'000'000'000;

class Listener : public MutationObserver {
 public:
  void OnChange(const Change& change) override {
    seen.push_back(std::to_string(change.db) + " " + std::string(change.event) + " " + std::string(change.key) +
                   (change.exists ? " +" : " -"));
    EXPECT_EQ(change.slot, change.key.empty() ? kNoSlot : KeySlot(change.key));
  }
  std::vector<std::string> Take() { return std::exchange(seen, {}); }
  std::vector<std::string> seen;
};

using Strings = std::vector<std::string>;

class ShardTest : public testing::Test {
 protected:
  ShardTest() { shard.AddObserver(&listener); }

  // A record's body in the words of a command line.
  static std::string Words(const std::string& body) {
    std::string words;
    for (size_t at = 0; at < body.size();) {
      const size_t end = body.find("\r\n", at);
      if (body[at] == '*') {
        if (!words.empty()) words += ";";
        at = end + 2;
        continue;
      }
      const size_t size = std::stoul(body.substr(at + 1, end - at - 1));
      if (!words.empty()) words += " ";
      words += body.substr(end + 2, size);
      at = end + 2 + size + 2;
    }
    return words;
  }
  // Runs one command and returns the words of its record, "" if it made none.
  template <typename F>
  std::string Run(F&& command, UnixMillis now = kNow) {
    const size_t records = log.records.size();
    shard.Begin(now);
    command();
    const Lsn lsn = shard.End();
    EXPECT_EQ(lsn != 0, log.records.size() > records);
    return log.records.size() > records ? Words(log.records.back().body) : "";
  }
  std::string Get(uint32_t db, std::string_view key, UnixMillis now = kNow) {
    std::string value = "(nil)";
    shard.Begin(now);
    IntText scratch;
    if (const Entry* entry = shard.Find(db, Key(key)); entry != nullptr) value = entry->string(&scratch);
    shard.End();
    return value;
  }
  void Set(const std::string& key, std::string_view value = "v", UnixMillis at = kNoExpiry, uint32_t db = 0) {
    Run([&] { shard.SetString(db, key, value, at, "set"); });
  }

  FakeLog log;
  Listener listener;
  Shard shard{{0, 1, 4}, &log};
};

TEST_F(ShardTest, L08_EachEffectIsLoggedAsItsFactAndAnnounced) {
  EXPECT_EQ(Run([&] { shard.SetString(0, "k", "v", kNoExpiry, "set"); }), "SET k v");
  EXPECT_EQ(Run([&] { shard.SetString(0, "k", "v", kNow + 5, "set"); }), "SET k v PXAT 1700000000005");
  EXPECT_EQ(Run([&] { shard.SetInteger(0, "k", -7, "incrby"); }), "SET k -7 KEEPTTL");
  EXPECT_EQ(Run([&] { shard.SetStringKeepExpiry(0, "k", "w", "set"); }), "SET k w KEEPTTL");
  EXPECT_EQ(Run([&] { EXPECT_EQ(shard.AppendString(0, "k", "xyz"), 4u); }), "APPEND k xyz");
  EXPECT_EQ(Run([&] { EXPECT_EQ(shard.SetRange(0, "k", 1, "__"), 4u); }), "SETRANGE k 1 __");
  EXPECT_EQ(Get(0, "k"), "w__z");
  EXPECT_EQ(Run([&] { EXPECT_TRUE(shard.ClearExpiry(0, "k")); }), "PERSIST k");
  EXPECT_EQ(Run([&] { EXPECT_FALSE(shard.ClearExpiry(0, "k")); }), "");
  EXPECT_EQ(Run([&] { shard.SetExpiry(0, "k", kNow + 9); }), "PEXPIREAT k 1700000000009");
  EXPECT_EQ(Run([&] { shard.Rename(0, "k", "{k}2"); }), "RENAME k {k}2");
  EXPECT_EQ(log.records.back().slot, KeySlot("k"));
  EXPECT_EQ(Run([&] { shard.Rename(0, "{k}2", "{k}2"); }), "");
  EXPECT_EQ(Run([&] { shard.Move(0, "{k}2", 3); }), "MOVE {k}2 3");
  EXPECT_EQ(Run([&] { shard.Copy(3, "{k}2", 1, "other"); }), "COPY {k}2 other DB 1 REPLACE");
  EXPECT_EQ(log.records.back().slot, kNoSlot);
  EXPECT_EQ(log.records.back().db, 3u);
  EXPECT_EQ(Run([&] { EXPECT_TRUE(shard.Delete(1, "other", "del", false)); }), "DEL other");
  EXPECT_EQ(Run([&] { EXPECT_FALSE(shard.Delete(1, "other", "del", false)); }), "");
  EXPECT_EQ(Run([&] { shard.SwapDb(3, 2); }), "SWAPDB 3 2");
  EXPECT_EQ(Get(2, "{k}2"), "w__z");
  EXPECT_EQ(Run([&] { EXPECT_EQ(shard.FlushDb(2, true), 1u); }), "FLUSHDB");
  EXPECT_EQ(Run([&] { EXPECT_EQ(shard.FlushAll(true), 0u); }), "FLUSHALL");
  EXPECT_EQ(
      listener.Take(),
      (Strings{"0 set k +",          "0 set k +",          "0 expire k +",     "0 incrby k +",      "0 set k +",
               "0 append k +",       "0 setrange k +",     "0 persist k +",    "0 expire k +",      "0 rename_from k -",
               "0 rename_to {k}2 +", "0 move_from {k}2 -", "3 move_to {k}2 +", "1 copy_to other +", "1 del other -",
               "3 swapdb  +",        "2 swapdb  +",        "2 flushdb  -",     "0 flushall  -",     "1 flushall  -",
               "2 flushall  -",      "3 flushall  -"}));
}

TEST_F(ShardTest, OneBracketIsOneRecord) {
  EXPECT_EQ(Run([&] {
              shard.SetString(0, "a", "1", kNoExpiry, "set");
              shard.SetString(2, "b", "2", kNoExpiry, "set");
            }),
            "SET a 1; SELECT 2; SET b 2");
  EXPECT_EQ(log.records.size(), 1u);
  EXPECT_EQ(log.records[0].time, kNow);
  EXPECT_EQ(log.records[0].slot, kNoSlot);
}

TEST_F(ShardTest, ArgumentsMayBeViewsOfTheValueThatGoes) {
  Set("k", "0123456789");
  IntText scratch;
  Run([&] { shard.SetString(0, "k", shard.Find(0, "k")->string(&scratch).substr(2), kNow + 5000, "set"); });
  EXPECT_EQ(Get(0, "k"), "23456789");
  Run([&] { shard.AppendString(0, "k", shard.Find(0, "k")->string(&scratch)); });
  EXPECT_EQ(Get(0, "k"), "2345678923456789");
  for (int i = 0; i < 8; ++i) {
    Run([&] { shard.AppendString(0, "k", shard.Find(0, "k")->string(&scratch)); });
  }
  EXPECT_EQ(Get(0, "k").size(), 16u << 8);
  Run([&] { shard.SetRange(0, "k", 1, shard.Find(0, "k")->string(&scratch)); });
  EXPECT_EQ(Get(0, "k").size(), (16u << 8) + 1);
  EXPECT_EQ(Get(0, "k").substr(0, 4), "2234");
  Run([&] { shard.SetString(0, "k", shard.Find(0, "k")->string(&scratch).substr(0, 600), kNoExpiry, "set"); });
  EXPECT_EQ(Get(0, "k").size(), 600u);
  EXPECT_EQ(Words(log.records.back().body), "SET k " + Get(0, "k"));
}

TEST_F(ShardTest, EncodingsOfEditedStrings) {
  const auto encoding = [&](std::string_view key) { return EncodingName(shard.Find(0, Key(key))->encoding()); };
  Run([&] {
    shard.AppendString(0, "new", "12");
    shard.SetRange(0, "range", 0, "12");
    shard.SetString(0, "n", "12", kNoExpiry, "set");
  });
  EXPECT_EQ(encoding("new"), "int");
  EXPECT_EQ(encoding("range"), "raw");
  Run([&] { shard.AppendString(0, "n", "3"); });
  EXPECT_EQ(encoding("n"), "raw");
  EXPECT_EQ(Get(0, "n"), "123");
  Run([&] { shard.SetStringKeepExpiry(0, "n", "123", "set"); });
  EXPECT_EQ(encoding("n"), "int");
}

TEST_F(ShardTest, AnExpiredKeyIsAbsentAndDeletedByWhoDecides) {
  Set("k", "v", kNow + 10);
  listener.Take();
  EXPECT_EQ(Get(0, "k", kNow + 10), "v");  // expired when its time has passed, not when it has come
  shard.set_decides_expiry(false);
  EXPECT_EQ(Run([&] { EXPECT_EQ(shard.Find(0, "k"), nullptr); }, kNow + 11), "");
  EXPECT_EQ(Run([&] { EXPECT_FALSE(shard.Delete(0, "k", "del", false)); }, kNow + 11), "");
  EXPECT_EQ(shard.KeyCount(0), 1u);
  shard.set_decides_expiry(true);
  EXPECT_EQ(Run([&] { EXPECT_EQ(shard.Find(0, "k"), nullptr); }, kNow + 11), "DEL k");
  EXPECT_EQ(listener.Take(), Strings{"0 expired k -"});
  EXPECT_EQ(shard.KeyCount(0), 0u);
  EXPECT_EQ(shard.ExpiringKeyCount(0), 0u);
  EXPECT_EQ(shard.expired_keys(), 1u);

  Set("k", "v", kNow + 10);
  listener.Take();
  EXPECT_EQ(Run([&] { EXPECT_FALSE(shard.Delete(0, "k", "del", false)); }, kNow + 11), "DEL k");
  EXPECT_EQ(listener.Take(), Strings{"0 expired k -"});
}

TEST_F(ShardTest, FindTouchesTheAccessClock) {
  Set("k");
  shard.Begin(kNow + 60'000);
  EXPECT_EQ(shard.Find(0, "k", Shard::Touch::kNo)->access(), LruClock(kNow));
  EXPECT_EQ(shard.Find(0, "k")->access(), LruClock(kNow + 60'000));
  shard.End();
}

TEST_F(ShardTest, ActiveExpiryDeletesWhatIsDueWithBoundedWorkPerSlice) {
  constexpr int kKeys = 3000;
  for (int i = 0; i < kKeys; ++i) {
    Set("k" + std::to_string(i), "v",
        i % 3 == 0   ? kNow + 1
        : i % 3 == 1 ? kNow + 1'000'000
                     : kNoExpiry,
        static_cast<uint32_t>(i % 2));
  }
  EXPECT_EQ(shard.ExpiringKeyCount(0) + shard.ExpiringKeyCount(1), 2000u);
  uint64_t expired = 0;
  int slices = 0;
  while (expired < 1000) {
    ASSERT_LT(++slices, 1000);
    const uint64_t before = shard.KeyCount(0) + shard.KeyCount(1);
    Shard::ExpireSlice slice{};
    Run([&] { slice = shard.ExpireSome(20); }, kNow + 2);
    expired += slice.expired;
    ASSERT_EQ(before - shard.KeyCount(0) - shard.KeyCount(1), slice.expired);
    ASSERT_LE(slice.expired, 20u + 64u);  // it may finish the bucket it is in
  }
  EXPECT_EQ(expired, 1000u);
  EXPECT_EQ(shard.expired_keys(), 1000u);
  EXPECT_EQ(shard.KeyCount(0) + shard.KeyCount(1), 2000u);
  EXPECT_EQ(shard.ExpiringKeyCount(0) + shard.ExpiringKeyCount(1), 1000u);
  Run([&] {
    const Shard::ExpireSlice slice = shard.ExpireSome(100'000);
    EXPECT_EQ(slice.expired, 0u);
    EXPECT_FALSE(slice.more_due);
  });
}

TEST_F(ShardTest, ActiveExpirySaysWhenMoreIsDue) {
  for (int i = 0; i < 1000; ++i) Set("k" + std::to_string(i), "v", kNow + 1);
  Run([&] { EXPECT_TRUE(shard.ExpireSome(20).more_due); }, kNow + 2);
  EXPECT_LT(shard.KeyCount(0), 1000u);
  EXPECT_GT(shard.KeyCount(0), 900u);
}

TEST_F(ShardTest, AverageTimeToLive) {
  EXPECT_EQ(shard.AverageTtlMillis(0), 0u);
  Set("a", "v", kNow + 1000);
  Set("b", "v", kNow + 3000);
  Set("c");
  EXPECT_EQ(shard.AverageTtlMillis(0), 2000u);
  Run([&] { shard.SetExpiry(0, "b", kNow + 5000); });
  EXPECT_EQ(shard.AverageTtlMillis(0), 3000u);
  Run([&] { shard.Delete(0, "b", "del", false); });
  EXPECT_EQ(shard.AverageTtlMillis(0), 1000u);
  Run([&] { shard.ClearExpiry(0, "a"); });
  EXPECT_EQ(shard.AverageTtlMillis(0), 0u);
}

TEST_F(ShardTest, RandomKeysAreAboutEven) {
  EXPECT_EQ(shard.RandomKey(0), std::nullopt);
  constexpr int kKeys = 200;
  for (int i = 0; i < kKeys; ++i) Set(i % 2 == 0 ? "{x}" + std::to_string(i) : "k" + std::to_string(i));
  for (int i = 0; i < 50; ++i) Set("gone" + std::to_string(i), "v", kNow + 1);
  std::map<std::string, int> times;
  Run(
      [&] {
        for (int i = 0; i < 100 * kKeys; ++i) ++times[shard.RandomKey(0).value()];
      },
      kNow + 2);
  EXPECT_EQ(times.size(), static_cast<size_t>(kKeys));
  for (const auto& [key, n] : times) {
    EXPECT_GT(n, 40) << key;
    EXPECT_LT(n, 200) << key;
  }
}

// In a table so large that some of its chains are far longer than the others.
TEST_F(ShardTest, EveryKeyIsARandomKeyAtTimes) {
  constexpr int kKeys = 10000;
  for (int i = 0; i < kKeys; ++i) Set("{x}" + std::to_string(i));
  std::set<std::string> seen;
  Run([&] {
    for (int i = 0; i < 40 * kKeys; ++i) seen.insert(shard.RandomKey(0).value());
  });
  EXPECT_EQ(seen.size(), static_cast<size_t>(kKeys));
}

TEST_F(ShardTest, PrefetchChangesNothing) {
  for (int i = 0; i < 5000; ++i) Set("{p}" + std::to_string(i), "v", kNow + 1);
  const Picture before = PictureOf(shard);
  for (int i = 0; i < 6000; ++i) {
    for (int stage = 0; stage < 3; ++stage) shard.Prefetch(0, "{p}" + std::to_string(i), stage);
  }
  EXPECT_EQ(PictureOf(shard), before);
}

TEST_F(ShardTest, NothingIsAllocatedBeyondTheEntry) {
  if (mallctl == nullptr) GTEST_SKIP() << "needs jemalloc's counts";
  const uint64_t* allocated;
  size_t size = sizeof(allocated);
  ASSERT_EQ(mallctl("thread.allocatedp", &allocated, &size, nullptr, 0), 0);
  // Without the log and the listener of the fixture, which allocate.
  Shard bare({0, 1, 1}, nullptr);
  const std::string name(16, 'k');
  const Key key(name);
  const auto by = [&](auto&& command) {
    const uint64_t before = *allocated;
    bare.Begin(kNow);
    command();
    bare.End();
    return *allocated - before;
  };
  bare.SetString(0, Key(key.bytes), "value-of-16bytes", kNoExpiry, "set");
  EXPECT_EQ(by([&] { bare.SetString(0, key, "another-16-bytes", kNoExpiry, "set"); }), 0u);
  EXPECT_EQ(by([&] { bare.SetInteger(0, key, 1234567, "incr"); }), 32u);
  EXPECT_EQ(by([&] { bare.SetInteger(0, key, 1234568, "incr"); }), 0u);
  EXPECT_EQ(by([&] { bare.SetString(0, key, "value-of-16bytes", kNoExpiry, "set"); }), 48u);
  EXPECT_EQ(by([&] { bare.SetExpiry(0, key, kNow + 5); }), 64u);  // the first bucket of the index
  EXPECT_EQ(by([&] { bare.SetExpiry(0, key, kNow + 6); }), 0u);
  EXPECT_EQ(by([&] { bare.AppendString(0, key, "x"); }), 0u);
  EXPECT_EQ(by([&] { EXPECT_NE(bare.Find(0, key), nullptr); }), 0u);
  EXPECT_EQ(by([&] { bare.Prefetch(0, key, 2); }), 0u);
  EXPECT_EQ(by([&] { EXPECT_TRUE(bare.Delete(0, key, "del", true)); }), 0u);
}

TEST_F(ShardTest, OneSlotHoldsEverything) {
  constexpr int kKeys = 200'000;
  const uint64_t start = shard.used_bytes();
  const TableContext& context = shard.keyspace().db(0).context();
  uint64_t most = 0;
  const auto watched = [&](auto&& change) {
    const uint64_t before = context.moves;
    change();
    most = std::max(most, context.moves - before);
  };
  Shard& s = shard;
  s.Begin(kNow);
  for (int i = 0; i < kKeys; ++i) {
    watched([&] { s.SetString(0, "{t}" + std::to_string(i), "value-of-16bytes", kNoExpiry, "set"); });
  }
  EXPECT_EQ(s.KeyCountInSlot(0, KeySlot("t")), static_cast<uint64_t>(kKeys));
  EXPECT_LE(s.used_bytes() - start, 70u * kKeys);
  for (int i = 0; i < kKeys; ++i) watched([&] { s.Delete(0, "{t}" + std::to_string(i), "del", false); });
  s.End();
  EXPECT_LE(most, 240u);
  EXPECT_EQ(s.used_bytes(), start);
}

TEST_F(ShardTest, BytesComeBackAfterAFlushInSteps) {
  const uint64_t start = shard.used_bytes();
  for (int i = 0; i < 30'000; ++i) Set("k" + std::to_string(i), "value", i % 2 == 0 ? kNow + 1 : kNoExpiry);
  Set("large", std::string(1 << 20, 'x'), kNoExpiry, 1);
  const uint64_t full = shard.used_bytes();
  EXPECT_GT(full, start + 30'000 * 32 + (1 << 20));
  Run([&] { EXPECT_EQ(shard.FlushDb(0, false), 30'000u); });
  Run([&] { EXPECT_TRUE(shard.Delete(1, "large", "del", true)); });
  EXPECT_EQ(shard.KeyCount(0), 0u);
  // Not free yet, so still counted; and each step is a bounded one.
  EXPECT_GT(shard.used_bytes(), full / 2);
  int steps = 0;
  uint64_t before = shard.used_bytes();
  while (shard.Housekeep()) {
    EXPECT_LT(before - shard.used_bytes(), 1100u * 100) << "one step";
    before = shard.used_bytes();
    ++steps;
  }
  EXPECT_GT(steps, 20);
  EXPECT_EQ(shard.used_bytes(), start);
}

TEST(ShardReclaim, TheBackgroundThreadGivesTheBytesBack) {
  BackgroundFree background;
  Shard shard({0, 1, 2, &background}, nullptr);
  const uint64_t start = shard.used_bytes();
  for (int round = 0; round < 3; ++round) {
    shard.Begin(kNow);
    for (int i = 0; i < 20'000; ++i) shard.SetString(0, "k" + std::to_string(i), "value", kNow + i, "set");
    shard.SetString(1, "large", std::string(1 << 20, 'x'), kNoExpiry, "set");
    shard.FlushAll(true);
    shard.SetString(1, "large", std::string(1 << 20, 'x'), kNoExpiry, "set");
    shard.Delete(1, "large", "del", true);
    shard.End();
  }
  while (shard.used_bytes() != start) std::this_thread::yield();
}

TEST(ShardReclaim, AFullQueueLeavesTheWorkToTheShard) {
  BackgroundFree background(/*max_jobs=*/0);
  Shard shard({0, 1, 2, &background}, nullptr);
  const uint64_t start = shard.used_bytes();
  shard.Begin(kNow);
  for (int i = 0; i < 20'000; ++i) shard.SetString(0, "k" + std::to_string(i), "value", kNoExpiry, "set");
  shard.FlushAll(true);
  shard.End();
  EXPECT_GT(shard.used_bytes(), start);
  while (shard.Housekeep()) {
  }
  EXPECT_EQ(shard.used_bytes(), start);
}

TEST(ShardReclaim, WhatWaitsIsFreedWithTheShardAndWithTheThread) {
  for (const bool thread_first : {false, true}) {
    auto background = std::make_unique<BackgroundFree>();
    auto shard = std::make_unique<Shard>(ShardOptions{0, 1, 1, thread_first ? nullptr : background.get()}, nullptr);
    shard->Begin(kNow);
    for (int i = 0; i < 20'000; ++i) shard->SetString(0, "k" + std::to_string(i), "value", kNoExpiry, "set");
    shard->FlushAll(true);
    for (int i = 0; i < 20'000; ++i) shard->SetString(0, "k" + std::to_string(i), "value", kNow, "set");
    shard->End();
    if (thread_first) background.reset();
    shard.reset();
  }
  SUCCEED() << "the leak checker has the word";
}

}  // namespace
}  // namespace skein::storage
