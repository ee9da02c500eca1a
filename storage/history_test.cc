#include "storage/history.h"

#include <map>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "storage/records.h"

namespace skein::storage {
namespace {

Reign Of(uint8_t id, Lsn first, uint64_t epoch = 0) {
  Reign reign{.epoch = epoch, .first_lsn = first};
  reign.id[0] = id;
  return reign;
}

TEST(CommonPoint, IsWhereTheOneEndsOrTheOthersNextReignBegins) {
  const std::vector<Reign> a = {Of(1, 0), Of(2, 1000), Of(3, 2000)};
  EXPECT_EQ(CommonPoint(a, 3000, a, 2500), std::optional<Lsn>(2500));
  EXPECT_EQ(CommonPoint(a, 2500, a, 3000), std::optional<Lsn>(2500));
  const std::vector<Reign> b = {Of(1, 0), Of(2, 1000), Of(4, 1500)};
  EXPECT_EQ(CommonPoint(a, 3000, b, 3000), std::optional<Lsn>(1500));
  EXPECT_EQ(CommonPoint(b, 3000, a, 3000), std::optional<Lsn>(1500));
  // The oldest have been dropped.
  EXPECT_EQ(CommonPoint({Of(2, 1000)}, 1800, b, 3000), std::optional<Lsn>(1500));
}

TEST(CommonPoint, NothingInCommonIsNothing) {
  EXPECT_EQ(CommonPoint({Of(1, 0)}, 100, {Of(2, 0)}, 100), std::nullopt);
  EXPECT_EQ(CommonPoint({}, 0, {Of(2, 0)}, 100), std::nullopt);
  EXPECT_EQ(CommonPoint({}, 0, {}, 0), std::nullopt);
}

TEST(CommonPoint, HistoriesThatCannotBeAgreeNowhere) {
  const std::vector<Reign> good = {Of(1, 0), Of(2, 1000)};
  EXPECT_EQ(CommonPoint(good, 2000, {Of(2, 1000), Of(1, 0)}, 2000), std::nullopt) << "out of order";
  EXPECT_EQ(CommonPoint(good, 2000, good, 1000), std::nullopt) << "ends before its last reign's record";
  EXPECT_EQ(CommonPoint(good, 2000, {Of(1, 0), Of(2, 1008)}, 2000), std::nullopt) << "one id, two places";
  EXPECT_EQ(CommonPoint(good, 2000, {Of(1, 0), Of(2, 1000, 5)}, 2000), std::nullopt) << "one id, two epochs";
  std::vector<Reign> long_one;
  for (size_t i = 0; i <= kMaxReigns; ++i) long_one.push_back(Of(static_cast<uint8_t>(i), i * 100));
  EXPECT_FALSE(PlausibleHistory(long_one, 1 << 30));
}

// Logs as lists of what stands at each step, forked at random: the common point is where the lists part.
TEST(CommonPoint, IsWhereTheRecordsPart) {
  struct Model {
    std::vector<uint64_t> records;  // each takes 100
    std::vector<Reign> history;
  };
  for (uint64_t seed = 0; seed < 300; ++seed) {
    std::mt19937_64 random(seed);
    uint64_t next = 1;
    uint8_t reigns = 0;
    std::vector<Model> logs(1);
    const auto begin = [&](Model* log) {
      log->history.push_back(Of(++reigns, log->records.size() * 100));
      log->records.push_back(next++);
    };
    begin(&logs[0]);
    for (int step = 0; step < 60; ++step) {
      Model& log = logs[random() % logs.size()];
      if (random() % 5 == 0 && logs.size() < 6 && reigns < 200) {
        // A copy of a beginning of it: a replica, which may go its own way.
        Model copy;
        const size_t keep = 1 + random() % log.records.size();
        copy.records.assign(log.records.begin(), log.records.begin() + static_cast<ptrdiff_t>(keep));
        for (const Reign& reign : log.history) {
          if (reign.first_lsn < keep * 100) copy.history.push_back(reign);
        }
        if (random() % 3 != 0) begin(&copy);
        // Else it ends there, and nobody writes in the other's reign.
        else
          copy.records.shrink_to_fit();
        logs.push_back(copy);
        if (random() % 3 == 0) begin(&logs.back());
      } else {
        begin(&log);
        for (uint64_t i = random() % 5; i > 0; --i) log.records.push_back(next++);
      }
    }
    for (const Model& a : logs) {
      for (const Model& b : logs) {
        size_t same = 0;
        while (same < a.records.size() && same < b.records.size() && a.records[same] == b.records[same]) ++same;
        EXPECT_EQ(CommonPoint(a.history, a.records.size() * 100, b.history, b.records.size() * 100),
                  same == 0 ? std::nullopt : std::optional<Lsn>(same * 100))
            << "seed " << seed;
      }
    }
  }
}

TEST(ReignList, KeepsTheNewest) {
  ReignList list;
  for (size_t i = 0; i < kMaxReigns + 10; ++i) list.Add(Of(static_cast<uint8_t>(i), i * 100));
  EXPECT_EQ(list.all().size(), kMaxReigns);
  EXPECT_EQ(list.all().front().first_lsn, 1000u);
  EXPECT_EQ(list.UpTo(1100).size(), 1u);
}

// ---- Records in memory ---------------------------------------------------------------------------------------------

std::string Record(Lsn lsn, std::string_view body, RecordKind kind = RecordKind::kData, bool summed = false) {
  RecordHeader header;
  header.kind = kind;
  header.lsn = lsn;
  header.body_size = body.size();
  header.body_crc = Crc32c(body);
  std::string bytes(kRecordHeaderSize, '\0');
  summed ? EncodeRecordHeader(header, bytes.data()) : EncodeRecordHeaderUnsummed(header, bytes.data());
  return bytes += body;
}

TEST(Records, AreTakenWithOrWithoutChecksums) {
  const Reign reign = Of(9, 60, 3);
  std::string bytes = Record(10, "0123456789") + EncodeReignRecord(reign, 5);
  bytes += Record(10 + bytes.size(), "", RecordKind::kTime, true);
  std::vector<RecordView> records;
  std::vector<Reign> reigns;
  ASSERT_TRUE(TakeRecords(bytes, 10, &records, &reigns).ok());
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[0].body(), "0123456789");
  EXPECT_EQ(reigns, std::vector<Reign>{reign});
  EXPECT_EQ(WholeRecords(bytes), bytes.size());
  EXPECT_EQ(WholeRecords(std::string_view(bytes).substr(0, bytes.size() - 1)), bytes.size() - kRecordHeaderSize);
  EXPECT_EQ(WholeRecords(std::string_view(bytes).substr(0, 49)), 0u);
  EXPECT_EQ(WholeRecords(""), 0u);
}

TEST(Records, WhatIsNotThatIsRefused) {
  const auto code = [](const std::string& bytes, Lsn at = 0) {
    std::vector<RecordView> records;
    std::vector<Reign> reigns;
    return TakeRecords(bytes, at, &records, &reigns).code();
  };
  const auto kBad = absl::StatusCode::kInvalidArgument;
  const std::string good = Record(0, "x");
  EXPECT_EQ(code(good), absl::StatusCode::kOk);
  EXPECT_EQ(code(good, 1), kBad) << "another place";
  EXPECT_EQ(code(good + Record(40, "x")), kBad) << "a gap backwards";
  EXPECT_EQ(code(good.substr(0, 40)), kBad) << "not whole";
  EXPECT_EQ(code(good.substr(0, 39)), kBad);
  EXPECT_EQ(code(Record(0, "")), kBad) << "data without an effect";
  EXPECT_EQ(code(Record(0, "x", RecordKind::kTime)), kBad) << "time with a body";
  EXPECT_EQ(code(Record(0, "x", RecordKind::kReign)), kBad) << "no reign";
  EXPECT_EQ(code(Record(0, "x", static_cast<RecordKind>(4))), kBad) << "unknown kind";
  EXPECT_EQ(code(Record(0, "x", static_cast<RecordKind>(0))), kBad);
  std::string flagged = good;
  flagged[1] = 1;
  EXPECT_EQ(code(flagged), kBad);
  std::string huge = good;
  std::fill(huge.begin() + 24, huge.begin() + 32, '\xff');
  EXPECT_EQ(code(huge), kBad);
}

}  // namespace
}  // namespace skein::storage
