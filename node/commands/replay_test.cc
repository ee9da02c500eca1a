// The log alone makes the data again: random commands, then their records on an empty shard.
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "node/commands/harness.h"
#include "storage/shard_testing.h"

namespace skein::node {
namespace {

using storage::FakeLog;
using storage::Shard;
using storage::ShardOptions;

class Words {
 public:
  explicit Words(uint32_t seed) : random_(seed) {}

  size_t Below(size_t n) { return random_() % n; }
  std::string Key() { return "k" + std::to_string(Below(25)); }

  std::string Value() {
    switch (Below(6)) {
      case 0:
        return std::to_string(static_cast<int64_t>(random_()) - (1 << 30));
      case 1:
        return "";
      case 2:
        return std::string(Below(200), 'x');
      case 3:
        return std::string("\0\r\n", 3);
      default:
        return std::to_string(Below(100));
    }
  }

  std::vector<std::string> Command(int64_t now_ms) {
    static const char* const kTemplates[] = {
        "SET k v",         "SET k v PX t",   "SET k v KEEPTTL", "SET k v NX GET",  "SET k v XX EXAT s",
        "SETNX k v",       "PSETEX k t v",   "GETSET k v",      "GETDEL k",        "GETEX k PX t",
        "GETEX k PERSIST", "GETEX k PXAT 1", "MSET k v k v",    "MSETNX k v k v",  "APPEND k v",
        "SETRANGE k n v",  "INCR k",         "DECRBY k n",      "INCRBYFLOAT k f", "DEL k k",
        "UNLINK k",        "EXPIRE k 50",    "PEXPIRE k t",     "PEXPIRE k t GT",  "EXPIREAT k s LT",
        "PERSIST k",       "RENAME k k",     "RENAMENX k k",    "COPY k k",        "COPY k k DB d REPLACE",
        "MOVE k d",        "SWAPDB d d",     "GET k",           "MGET k k",        "TOUCH k k",
        "RANDOMKEY",       "FLUSHDB",        "FLUSHALL"};
    size_t which = Below(std::size(kTemplates));
    if (which >= std::size(kTemplates) - 2 && Below(20) != 0) which = 0;  // flushes are rare
    std::vector<std::string> words = SplitWords(kTemplates[which]);
    for (size_t i = 1; i < words.size(); ++i) {
      std::string& w = words[i];
      if (w == "k") {
        w = Key();
      } else if (w == "v") {
        w = Value();
      } else if (w == "t") {
        w = std::to_string(1 + Below(3000));
      } else if (w == "s") {
        w = std::to_string(now_ms / 1000 + static_cast<int64_t>(Below(5)));
      } else if (w == "n") {
        w = std::to_string(Below(300));
      } else if (w == "f") {
        w = "0." + std::to_string(Below(100));
      } else if (w == "d") {
        w = std::to_string(Below(4));
      }
    }
    return words;
  }

 private:
  std::mt19937 random_;
};

TEST(Replay, L08_TheLogHoldsWhatWasExecuted) {
  for (uint32_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE(seed);
    Harness h;
    Shard replayed(ShardOptions{}, nullptr);
    Words words(seed);
    for (int i = 0; i < 5000; ++i) {
      h.db = static_cast<uint32_t>(words.Below(4));
      h.now_ms += static_cast<int64_t>(words.Below(100));
      h.Run(words.Command(h.now_ms));
      for (const FakeLog::Record& record : h.log(0).records) {
        ASSERT_TRUE(replayed.ApplyRecord(record.db, record.time, record.body).ok()) << record.body;
      }
      h.log(0).records.clear();
      if (i % 100 == 0) {
        ASSERT_EQ(storage::PictureOf(replayed), storage::PictureOf(h.shard(0))) << i;
      }
    }
    EXPECT_EQ(storage::PictureOf(replayed), storage::PictureOf(h.shard(0)));
  }
}

}  // namespace
}  // namespace skein::node
