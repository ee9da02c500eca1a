// SCAN, KEYS, RANDOMKEY and the flushes over several shards.
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "node/commands/harness.h"

namespace skein::node {
namespace {

// A two-element reply of SCAN, taken apart.
struct Page {
  std::string cursor;
  std::vector<std::string> keys;
};

std::vector<std::string> Bulks(std::string_view reply, size_t at) {
  std::vector<std::string> bulks;
  while (at < reply.size()) {
    if (reply[at] == '*') {
      at = reply.find("\r\n", at) + 2;
      continue;
    }
    const size_t end = reply.find("\r\n", at);
    const size_t size = std::stoul(std::string(reply.substr(at + 1, end - at - 1)));
    bulks.emplace_back(reply.substr(end + 2, size));
    at = end + 2 + size + 2;
  }
  return bulks;
}

Page Scan(Harness& h, const std::string& cursor, const std::vector<std::string>& options = {}) {
  std::vector<std::string> words = {"SCAN", cursor};
  words.insert(words.end(), options.begin(), options.end());
  std::vector<std::string> bulks = Bulks(h.Run(words), 0);
  Page page;
  page.cursor = bulks.at(0);
  page.keys.assign(bulks.begin() + 1, bulks.end());
  return page;
}

TEST(Scan, DeliversEveryKeyThatStaysOverFourShardsWhileOthersComeAndGo) {
  for (uint32_t seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE(seed);
    Harness h(4, true);
    std::mt19937 random(seed);
    for (int i = 0; i < 3000; ++i) h.Run({"SET", "stay:" + std::to_string(i), "v"});
    std::set<std::string> seen;
    std::string cursor = "0";
    int calls = 0;
    do {
      Page page = Scan(h, cursor, {"COUNT", "20"});
      cursor = page.cursor;
      seen.insert(page.keys.begin(), page.keys.end());
      // The tables grow several times over, then shrink again.
      for (int i = 0; i < 100; ++i) {
        const std::string key = "flux:" + std::to_string(random() % 20000);
        h.Run({calls % 120 < 60 ? "SET" : "DEL", key, "v"});
      }
      ASSERT_LT(++calls, 20000) << "the scan does not end";
    } while (cursor != "0");
    for (int i = 0; i < 3000; ++i) ASSERT_TRUE(seen.contains("stay:" + std::to_string(i))) << i;
  }
}

TEST(Scan, ACallDoesBoundedWorkAndAQuietScanDeliversEachKeyOnce) {
  Harness h(4, true);
  for (int i = 0; i < 2000; ++i) h.Run({"SET", "k" + std::to_string(i), "v"});
  std::map<std::string, int> times;
  std::string cursor = "0";
  do {
    Page page = Scan(h, cursor, {"COUNT", "10"});
    EXPECT_LE(page.keys.size(), 100u);
    for (const std::string& key : page.keys) ++times[key];
    cursor = page.cursor;
  } while (cursor != "0");
  EXPECT_EQ(times.size(), 2000u);
  for (const auto& [key, n] : times) EXPECT_EQ(n, 1) << key;
}

TEST(Scan, CursorsNameTheShardAndAnyNumberEnds) {
  Harness h(4, true);
  for (int i = 0; i < 100; ++i) h.Run({"SET", "k" + std::to_string(i), "v"});
  // One call empties the first shard; the cursor then names the second.
  EXPECT_EQ(Scan(h, "0", {"COUNT", "1000"}).cursor, "1");
  EXPECT_EQ(Scan(h, "3", {"COUNT", "1000"}).cursor, "0");
  for (const char* made_up : {"4", "16383", "18446744073709551615", "123456789012345", "9007199254740993"}) {
    std::string cursor = made_up;
    int calls = 0;
    do {
      cursor = Scan(h, cursor).cursor;
      ASSERT_LT(++calls, 2000) << made_up;
    } while (cursor != "0");
  }
}

TEST(Scan, ShowsNoKeyWhoseTimeHasPassed) {
  Harness h(2, true);
  h.Run("SET a 1 PX 10");
  h.Run("SET b 1");
  h.now_ms += 100;
  std::set<std::string> seen;
  for (const char* cursor : {"0", "1"}) {
    for (const std::string& key : Scan(h, cursor, {"COUNT", "100"}).keys) seen.insert(key);
  }
  EXPECT_EQ(seen, std::set<std::string>{"b"});
}

TEST(Keys, GathersTheShardsAndUsesAHashTag) {
  Harness h(4, true);
  std::set<std::string> all, tagged;
  for (int i = 0; i < 200; ++i) {
    all.insert("k" + std::to_string(i));
    tagged.insert("{user7}:" + std::to_string(i));
  }
  for (const auto& keys : {all, tagged}) {
    for (const std::string& key : keys) h.Run({"SET", key, "v"});
  }
  const auto keys = [&h](const std::string& pattern) {
    const std::vector<std::string> bulks = Bulks(h.Run({"KEYS", pattern}), 0);
    std::set<std::string> set(bulks.begin(), bulks.end());
    EXPECT_EQ(set.size(), bulks.size());
    return set;
  };
  EXPECT_EQ(keys("k*"), all);
  EXPECT_EQ(keys("{user7}:*"), tagged);
  EXPECT_EQ(keys("*user7*"), tagged);
  EXPECT_EQ(keys("[{]user7}*"), tagged);
  EXPECT_EQ(keys("{*}:1"), std::set<std::string>{"{user7}:1"});
  EXPECT_EQ(keys("k17"), std::set<std::string>{"k17"});
  EXPECT_EQ(keys("{user8}*"), std::set<std::string>{});
  EXPECT_EQ(keys("*").size(), 400u);
  EXPECT_EQ(h.Run("DBSIZE"), ":400\r\n");
}

TEST(Randomkey, ReachesEveryShard) {
  Harness h(4, true);
  EXPECT_EQ(h.Run("RANDOMKEY"), "$-1\r\n");
  std::set<std::string> seen;
  for (int i = 0; i < 40; ++i) h.Run({"SET", "k" + std::to_string(i), "v"});
  for (int i = 0; i < 2000; ++i) seen.insert(Bulks(h.Run("RANDOMKEY"), 0).at(0));
  EXPECT_GE(seen.size(), 38u);  // each of 40 is missed with probability e^-50 if the choice is even
}

TEST(Flush, EmptiesEveryShardAsOneEffectEach) {
  Harness h(4, true);
  for (int i = 0; i < 100; ++i) h.Run({"SET", "k" + std::to_string(i), "v"});
  h.TakeLog();
  EXPECT_EQ(h.Run("FLUSHALL FOO"), "-ERR syntax error\r\n");
  EXPECT_EQ(h.TakeLog(), "");
  EXPECT_EQ(h.Run("FLUSHALL"), "+OK\r\n");
  const std::string one = R"(*1\r\n$8\r\nFLUSHALL\r\n)";
  EXPECT_EQ(h.TakeLog(), one + " | " + one + " | " + one + " | " + one);
  EXPECT_EQ(h.Run("DBSIZE"), ":0\r\n");
}

}  // namespace
}  // namespace skein::node
