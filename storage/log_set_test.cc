// Opening, closing and refusing an append-only folder.
#include "storage/log_set.h"

#include <string>

#include "gtest/gtest.h"
#include "storage/aof_reader.h"
#include "storage/log_testing.h"

namespace skein::storage {
namespace {

TEST(LogSet, WhatWasAppendedIsThereAfterReopening) {
  FaultFileSystem fs;
  std::vector<std::string> want[2];
  Lsn end[2];
  {
    OpenedSet opened = OpenSet(TestOptions(&fs, 2));
    ASSERT_TRUE(opened.status.ok()) << opened.status;
    for (uint32_t shard = 0; shard < 2; ++shard) {
      Log& log = opened.set->log(shard);
      EXPECT_GT(log.end(), 0u) << "the reign's record";
      EXPECT_EQ(log.durable(), log.end());
      for (int i = 0; i < 100; ++i) {
        const std::string key = "key" + std::to_string(i);
        want[shard].push_back(Body({"SET", key, "value"}));
        const Lsn before = log.end();
        EXPECT_EQ(AppendSet(&log, key, "value", 1000 + i), before + 40 + want[shard].back().size());
      }
      end[shard] = log.end();
    }
    ASSERT_TRUE(opened.set->Close().ok());
  }
  OpenedSet opened = OpenSet(TestOptions(&fs, 2));
  ASSERT_TRUE(opened.status.ok()) << opened.status;
  for (uint32_t shard = 0; shard < 2; ++shard) {
    EXPECT_EQ(opened.sinks[shard].bodies, want[shard]);
    EXPECT_EQ(opened.sinks[shard].times.back(), 1099);
    EXPECT_EQ(opened.set->report().shards[shard].records, 100u);
    EXPECT_EQ(opened.set->report().shards[shard].end, end[shard]);
    EXPECT_EQ(opened.set->report().shards[shard].cut_bytes, 0u);
  }
}

TEST(LogSet, L20_EffectsOfOneCommandAreOneRecord) {
  FaultFileSystem fs;
  {
    OpenedSet opened = OpenSet(TestOptions(&fs, 1));
    ASSERT_TRUE(opened.status.ok()) << opened.status;
    Log& log = opened.set->log(0);
    EXPECT_EQ(log.EndRecord(1), 0u) << "no effect, no record";
    log.AppendEffect(3, 7, {"SET", "a", "1"});
    log.AppendEffect(3, 7, {"DEL", "a"});
    log.AppendEffect(12, 8, {"SET", "", ""});
    log.AppendEffect(3, 7, {"SET", "a", "2"});
    const Lsn end = log.EndRecord(77);
    EXPECT_EQ(end, log.end());
    log.AppendEffect(1, 9, {"DEL", "b"});
    log.EndRecord(78);
    log.Kick();
  }
  OpenedSet opened = OpenSet(TestOptions(&fs, 1));
  ASSERT_TRUE(opened.status.ok()) << opened.status;
  const RecordingSink& sink = opened.sinks[0];
  ASSERT_EQ(sink.bodies.size(), 2u);
  EXPECT_EQ(sink.bodies[0], Body({"SET", "a", "1"}) + Body({"DEL", "a"}) + Body({"SELECT", "12"}) +
                                Body({"SET", "", ""}) + Body({"SELECT", "3"}) + Body({"SET", "a", "2"}));
  EXPECT_EQ(sink.dbs, (std::vector<uint32_t>{3, 1}));
  EXPECT_EQ(sink.times, (std::vector<UnixMillis>{77, 78}));
  auto reader = AofReader::Open(*fs.Open("/appendonlydir/shard-0/incr.1.aof", FileSystem::Mode::kRead), "f");
  ASSERT_TRUE(reader.ok());
  std::vector<uint16_t> slots;
  while (*(*reader)->Next() == AofReader::Found::kRecord) {
    if ((*reader)->record().kind == RecordKind::kData) slots.push_back((*reader)->record().slot);
  }
  EXPECT_EQ(slots, (std::vector<uint16_t>{kNoSlot, 9})) << "two slots in a record are none";
}

TEST(LogSet, RecordsOfEverySizeSurviveTheirChunks) {
  FaultFileSystem fs;
  std::vector<std::string> want;
  {
    OpenedSet opened = OpenSet(TestOptions(&fs, 1, AppendFsync::kNo));
    ASSERT_TRUE(opened.status.ok()) << opened.status;
    uint64_t size = 1;
    for (int i = 0; i < 400; ++i) {
      std::string value(size % 20011 + (i % 50 == 0 ? 600'000 : 0), static_cast<char>('a' + i % 26));
      size = size * 31 + 7;
      AppendSet(&opened.set->log(0), "k", value);
      want.push_back(Body({"SET", "k", value}));
    }
  }
  OpenedSet opened = OpenSet(TestOptions(&fs, 1));
  ASSERT_TRUE(opened.status.ok()) << opened.status;
  EXPECT_EQ(opened.sinks[0].bodies, want);
}

}  // namespace
}  // namespace skein::storage
