// Random effects on a shard beside a plain map, under a clock that the test moves.
#include "storage/shard_model.h"

#include <map>
#include <string>

#include "gtest/gtest.h"
#include "storage/keyspace.h"
#include "storage/shard.h"
#include "storage/shard_testing.h"

namespace skein::storage {
namespace {

void RunModel(uint32_t seed, int keys, int steps) {
  SCOPED_TRACE(seed);
  constexpr uint32_t kDatabases = 3;
  FakeLog log;
  Shard shard({0, 1, kDatabases}, &log);
  const uint64_t empty = shard.used_bytes();
  Model model(seed, kDatabases, keys, &shard);
  for (int i = 0; i < steps; ++i) {
    model.Step();
    if (testing::Test::HasFatalFailure()) return;
    if (i % (steps / 4) == 0) model.CheckAll();
    if (testing::Test::HasFatalFailure()) return;
  }
  model.CheckAll();
  while (shard.keyspace().reclaiming_bytes() != 0) shard.Housekeep();
  EXPECT_EQ(shard.used_bytes(), UsedBytesOf(&shard));

  // The records alone make the same keyspace.
  Shard replayed({0, 1, kDatabases}, nullptr);
  for (const FakeLog::Record& record : log.records) {
    ASSERT_TRUE(replayed.ApplyRecord(record.db, record.time, record.body).ok());
  }
  EXPECT_EQ(PictureOf(replayed), PictureOf(shard));
  while (replayed.keyspace().reclaiming_bytes() != 0) replayed.Housekeep();
  EXPECT_EQ(EntryBytes(replayed), EntryBytes(shard));

  // All gone, all given back.
  shard.Begin(model.now());
  for (const auto& [where, held] : PictureOf(shard)) shard.Delete(where.first, Key(where.second), "del", true);
  shard.End();
  while (shard.keyspace().reclaiming_bytes() != 0) shard.Housekeep();
  EXPECT_EQ(shard.used_bytes(), empty);
}

TEST(ShardModel, L08_RandomEffectsMatchAMapAndTheirRecordsReplay) {
  for (uint32_t seed = 1; seed <= 4; ++seed) RunModel(seed, 400, 10000);
}

TEST(ShardModel, L08_FewKeysMuchChurn) {
  for (uint32_t seed = 11; seed <= 14; ++seed) RunModel(seed, 8, 5000);
}

}  // namespace
}  // namespace skein::storage
