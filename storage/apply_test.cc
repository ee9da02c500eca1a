#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "storage/shard.h"
#include "storage/shard_testing.h"

namespace skein::storage {
namespace {

constexpr UnixMillis kNow = 1'700'000'000'000;

std::string Body(const std::vector<std::string>& argv) {
  std::string body = "*" + std::to_string(argv.size()) + "\r\n";
  for (const std::string& arg : argv) body += "$" + std::to_string(arg.size()) + "\r\n" + arg + "\r\n";
  return body;
}

class ApplyTest : public testing::Test {
 protected:
  // Refused, and nothing of it applied.
  void ExpectRefused(const std::string& body, uint32_t db = 0) {
    const Picture before = PictureOf(shard);
    const absl::Status status = shard.ApplyRecord(db, kNow, body);
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << body;
    EXPECT_EQ(PictureOf(shard), before) << body;
  }
  void Apply(const std::vector<std::string>& argv, uint32_t db = 0) {
    const absl::Status status = shard.ApplyRecord(db, kNow, Body(argv));
    EXPECT_TRUE(status.ok()) << status.message();
  }
  FakeLog log;
  Shard shard{{0, 1, 2}, &log};
};

TEST_F(ApplyTest, AppliesWithoutLogging) {
  Apply({"SET", "k", "1", "PXAT", "5"});
  EXPECT_EQ(PictureOf(shard), (Picture{{{0, "k"}, {"1", 5, "int"}}}));
  EXPECT_EQ(shard.now(), kNow);
  shard.Begin(kNow);
  EXPECT_EQ(shard.End(), 0u);
  EXPECT_TRUE(log.records.empty());
}

TEST_F(ApplyTest, L08_TheTimeOfReplayDecidesNothing) {
  // Long past at `time`, and still changed as the record says: whether a key expires is for its DEL to say.
  Apply({"SET", "k", "v", "PXAT", "5"});
  Apply({"APPEND", "k", "w"});
  Apply({"SET", "k", "x", "KEEPTTL"});
  Apply({"RENAME", "k", "l"});
  EXPECT_EQ(PictureOf(shard), (Picture{{{0, "l"}, {"x", 5, "embstr"}}}));
  shard.set_decides_expiry(false);
  Apply({"DEL", "l"});
  EXPECT_TRUE(PictureOf(shard).empty());
  EXPECT_EQ(shard.expired_keys(), 0u);
}

TEST_F(ApplyTest, EffectsOnAbsentKeysChangeNothing) {
  Apply({"SET", "here", "v"});
  const Picture before = PictureOf(shard);
  Apply({"DEL", "k"});
  Apply({"PEXPIREAT", "k", "99"});
  Apply({"PERSIST", "k"});
  Apply({"RENAME", "k", "here"});
  Apply({"MOVE", "k", "1"});
  Apply({"COPY", "k", "here", "DB", "0", "REPLACE"});
  Apply({"MOVE", "here", "0"});
  Apply({"COPY", "here", "here", "DB", "0", "REPLACE"});
  EXPECT_EQ(PictureOf(shard), before);
}

TEST_F(ApplyTest, SelectSwitchesWithinARecord) {
  const std::string body = Body({"SET", "a", "1"}) + Body({"SELECT", "1"}) + Body({"SET", "b", "2"});
  ASSERT_TRUE(shard.ApplyRecord(0, kNow, body).ok());
  EXPECT_EQ(PictureOf(shard), (Picture{{{0, "a"}, {"1", kNoExpiry, "int"}}, {{1, "b"}, {"2", kNoExpiry, "int"}}}));
}

TEST_F(ApplyTest, RefusesWhatItDoesNotKnow) {
  Apply({"SET", "k", "v"});
  const std::vector<std::vector<std::string>> bad = {
      {"set", "k", "w"},
      {"SET", "k"},
      {"SET", "k", "w", "NX"},
      {"SET", "k", "w", "PXAT"},
      {"SET", "k", "w", "PXAT", "x"},
      {"SET", "k", "w", "PXAT", "-1"},
      {"SET", "k", "w", "PXAT", "01"},
      {"SET", "k", "w", "PXAT", "9223372036854775808"},
      {"SET", "k", "w", "EX", "5"},
      {"GET", "k"},
      {"APPEND", "k"},
      {"SETRANGE", "k", "-1", "w"},
      {"SETRANGE", "k", "99999999999999", "w"},
      {"SETRANGE", "k", "", "w"},
      {"DEL"},
      {"DEL", "k", "l"},
      {"PEXPIREAT", "k", "never"},
      {"PERSIST", "k", "1"},
      {"RENAME", "k"},
      {"MOVE", "k", "2"},
      {"MOVE", "k", "-1"},
      {"COPY", "k", "l", "DB", "2", "REPLACE"},
      {"COPY", "k", "l", "DB", "1"},
      {"FLUSHDB", "ASYNC"},
      {"FLUSHALL", "0"},
      {"SWAPDB", "0", "2"},
      {"SWAPDB", "x", "1"},
      {"SELECT", "2"},
      {"SELECT"},
      {""},
      {"1", "2", "3", "4", "5", "6", "7", "8", "9"},
  };
  for (const auto& argv : bad) {
    ExpectRefused(Body(argv));
    // Nothing of what stands before it is applied either.
    ExpectRefused(Body({"DEL", "k"}) + Body({"SET", "new", "1"}) + Body(argv));
  }
  ExpectRefused(Body({"DEL", "k"}), /*db=*/2);
}

TEST_F(ApplyTest, RefusesMalformedResp) {
  Apply({"SET", "k", "v"});
  for (const char* body : {"",
                           "*",
                           "*1",
                           "*1\r",
                           "*1\r\n",
                           "*0\r\n",
                           "*-1\r\n",
                           "PING\r\n",
                           "*1\r\n$",
                           "*1\r\n$8\r\nFLUSHALL",
                           "*1\r\n$8\r\nFLUSHALL\r",
                           "*1\r\n$8\r\nFLUSHALL\n\n",
                           "*1\r\n$7\r\nFLUSHALL\r\n",
                           "*1\r\n$9\r\nFLUSHALL\r\n",
                           "*1\r\n$08\r\nFLUSHALL\r\n",
                           "*1\r\n$+8\r\nFLUSHALL\r\n",
                           "*01\r\n$8\r\nFLUSHALL\r\n",
                           "*1\n$8\nFLUSHALL\n",
                           "*1\r\n$-1\r\n",
                           "*1\r\n:8\r\n",
                           "*1\r\n$99999999999999999999\r\nFLUSHALL\r\n",
                           "*1\r\n$18446744073709551615\r\nFLUSHALL\r\n",
                           "*1\r\n$9223372036854775807\r\nFLUSHALL\r\n",
                           "*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n*1\r\n",
                           "*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n\r\n"}) {
    ExpectRefused(body);
  }
}

// Every prefix of a body is refused or stops between two effects; every body with one byte changed is taken whole or
// refused whole.
TEST_F(ApplyTest, CutAndDamagedBodies) {
  const std::string first = Body({"SET", "k", "value"});
  const std::string whole = first + Body({"SETRANGE", "k", "3", "xy"}) + Body({"COPY", "k", "l", "DB", "1", "REPLACE"});
  int refused = 0;
  for (size_t size = 0; size < whole.size(); ++size) {
    Shard fresh({0, 1, 2}, nullptr);
    const bool ok = fresh.ApplyRecord(0, kNow, whole.substr(0, size)).ok();
    refused += !ok;
    EXPECT_EQ(PictureOf(fresh).empty(), !ok) << size;
  }
  EXPECT_EQ(refused, static_cast<int>(whole.size()) - 2);
  std::mt19937 random(1);
  for (int i = 0; i < 5000; ++i) {
    std::string body = whole;
    body[random() % body.size()] = static_cast<char>(random());
    Shard fresh({0, 1, 2}, nullptr);
    const bool ok = fresh.ApplyRecord(0, kNow, body).ok();
    EXPECT_EQ(PictureOf(fresh).empty(), !ok) << body;
  }
}

TEST(ApplyOwnership, RefusesKeysOfOtherShards) {
  for (uint32_t index = 0; index < 3; ++index) {
    Shard shard({index, 3, 1}, nullptr);
    int applied = 0;
    for (int i = 0; i < 300; ++i) {
      const std::string key = std::to_string(i);
      const bool ours = KeySlot(key) % 3 == index;
      EXPECT_EQ(shard.ApplyRecord(0, kNow, Body({"SET", key, "v"})).ok(), ours);
      applied += ours;
      EXPECT_EQ(shard.ApplyRecord(0, kNow, Body({"RENAME", key, "other"})).ok(), ours && KeySlot("other") % 3 == index);
      shard.Begin(kNow);
      shard.FlushAll(true);
      shard.End();
    }
    EXPECT_GT(applied, 50);
  }
}

}  // namespace
}  // namespace skein::storage
