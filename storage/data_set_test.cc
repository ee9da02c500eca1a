#include "storage/data_set.h"

#include <map>
#include <random>
#include <string>

#include "gtest/gtest.h"
#include "storage/log_testing.h"
#include "storage/shard_testing.h"

namespace skein::storage {
namespace {

std::unique_ptr<DataSet> MustOpen(const DataSetOptions& options) {
  absl::StatusOr<std::unique_ptr<DataSet>> set = DataSet::Open(options);
  EXPECT_TRUE(set.ok()) << set.status();
  return set.ok() ? *std::move(set) : nullptr;
}

TEST(DataSet, ReplaysWhatTheShardsHeld) {
  FaultFileSystem fs;
  const DataSetOptions options = TestOptions(&fs, 3, AppendFsync::kEverySec);
  std::vector<Picture> want;
  {
    const std::unique_ptr<DataSet> set = MustOpen(options);
    ASSERT_NE(set, nullptr);
    ASSERT_EQ(set->shard_count(), 3u);
    for (uint32_t i = 0; i < 3; ++i) {
      Shard& shard = set->shard(i);
      int taken = 0;
      for (int k = 0; taken < 200; ++k) {
        const std::string key = "key:" + std::to_string(k);
        if (KeySlot(key) % 3 != i) continue;
        ++taken;
        shard.Begin(1'000'000 + k);
        shard.SetString(static_cast<uint32_t>(k % 4), Key(key), std::to_string(k * 17),
                        k % 3 == 0 ? 9'000'000 : kNoExpiry, "set");
        if (k % 5 == 0) shard.AppendString(static_cast<uint32_t>(k % 4), Key(key), "more");
        if (k % 7 == 0) shard.Delete(static_cast<uint32_t>(k % 4), Key(key), "del", false);
        EXPECT_GT(shard.End(), 0u);
        shard.log()->Kick();
      }
      want.push_back(PictureOf(shard));
    }
    EXPECT_TRUE(set->Close().ok());
  }
  const std::unique_ptr<DataSet> set = MustOpen(options);
  ASSERT_NE(set, nullptr);
  for (uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(PictureOf(set->shard(i)), want[i]);
    EXPECT_EQ(set->report().shards[i].records, 200u);
    EXPECT_TRUE(set->shard(i).decides_expiry());
  }
  EXPECT_TRUE(set->stats().enabled);
  EXPECT_GT(set->stats().current_size, 0u);
}

TEST(DataSet, LargeFlushesLeaveNothingToTheLoop) {
  FaultFileSystem fs;
  DataSetOptions options = TestOptions(&fs, 1);
  options.append_only = false;
  const std::unique_ptr<DataSet> set = MustOpen(options);
  ASSERT_NE(set, nullptr);
  Shard& shard = set->shard(0);
  shard.Begin(1);
  for (int i = 0; i < 40'000; ++i) shard.SetString(0, Key("key:" + std::to_string(i)), "v", kNoExpiry, "set");
  EXPECT_EQ(shard.FlushAll(/*lazy=*/true), 40'000u);
  shard.End();
  // Without a thread to free them, this would be true forty times in a row.
  EXPECT_FALSE(shard.Housekeep());
}

TEST(DataSet, ExpiryIsDecidedAfterReplayOnly) {
  FaultFileSystem fs;
  const DataSetOptions options = TestOptions(&fs, 1);
  {
    const std::unique_ptr<DataSet> set = MustOpen(options);
    Shard& shard = set->shard(0);
    shard.Begin(1000);
    shard.SetString(0, Key("k"), "v", 2000, "set");
    shard.End();
    // Long past the key's time: what the command did then is what replay must do, whether the key was seen or not.
    shard.Begin(5000);
    shard.SetExpiry(0, Key("k"), 9000);
    shard.End();
    shard.log()->Kick();
  }
  const std::unique_ptr<DataSet> set = MustOpen(options);
  const Picture picture = PictureOf(set->shard(0));
  ASSERT_TRUE(picture.contains({0, "k"}));
  EXPECT_EQ(picture.at({0, "k"}).expire_at, 9000);
}

TEST(DataSet, WithoutAppendOnlyNoFileIsTouched) {
  FaultFileSystem fs;
  { ASSERT_NE(MustOpen(TestOptions(&fs, 2)), nullptr); }
  const std::string before = fs.Tree();
  DataSetOptions options = TestOptions(&fs, 4);
  options.append_only = false;
  {
    const std::unique_ptr<DataSet> set = MustOpen(options);
    ASSERT_NE(set, nullptr);
    EXPECT_EQ(set->shard_count(), 4u);
    EXPECT_EQ(set->shard(0).log(), nullptr);
    Shard& shard = set->shard(KeySlot("k") % 4u);
    shard.Begin(1);
    shard.SetString(0, Key("k"), "v", kNoExpiry, "set");
    EXPECT_EQ(shard.End(), 0u);
    EXPECT_FALSE(set->stats().enabled);
    EXPECT_TRUE(set->Close().ok());
  }
  EXPECT_EQ(fs.Tree(), before);
  EXPECT_TRUE(DataSet::Check(options).ok());
}

class DataSetPowerLoss : public testing::TestWithParam<uint32_t> {};

// Pairs of keys are always written together: a transaction, which is there whole or not at all (L20).
TEST_P(DataSetPowerLoss, L05_AcknowledgedWritesAreThereAndTransactionsAreWhole) {
  const uint32_t shards = GetParam();
  std::mt19937_64 rng(shards);
  std::unique_ptr<FaultFileSystem> fs = std::make_unique<FaultFileSystem>();
  std::map<std::string, std::string> acknowledged;  // key and the last value that a reply went out for
  for (int life = 0; life < 6; ++life) {
    std::unique_ptr<FaultFileSystem> after;
    {
      const std::unique_ptr<DataSet> set = MustOpen(TestOptions(fs.get(), shards));
      ASSERT_NE(set, nullptr);
      Picture found;
      for (uint32_t i = 0; i < shards; ++i) found.merge(PictureOf(set->shard(i)));
      for (const auto& [key, value] : acknowledged) {
        ASSERT_TRUE(found.contains({0, key})) << key << ", life " << life;
        // A later write may have been kept without having been acknowledged.
        EXPECT_GE(std::stoul(found[{0, key}].value), std::stoul(value)) << key << ", life " << life;
      }
      for (const auto& [place, held] : found) {
        const std::string& key = place.second;
        const std::string twin = (key[0] == 'a' ? "b" : "a") + key.substr(1);
        EXPECT_EQ(found.at({0, twin}).value, held.value) << key << ", life " << life;
      }
      struct Pending {
        uint32_t shard;
        Lsn end;
        std::string tag;
        std::string value;
      };
      std::vector<Pending> pending;
      const int writes = 50 + static_cast<int>(rng() % 200);
      for (int n = 0; n < writes; ++n) {
        const std::string tag = "{" + std::to_string(rng() % 40) + "}";
        const std::string value = std::to_string(life * 1000 + n);
        const uint32_t index = KeySlot("a" + tag) % shards;
        Shard& shard = set->shard(index);
        shard.Begin(1);
        shard.SetString(0, Key("a" + tag), value, kNoExpiry, "set");
        shard.SetString(0, Key("b" + tag), value, kNoExpiry, "set");
        pending.push_back({index, shard.End(), tag, value});
        shard.log()->Kick();
        if (n == writes / 2) {
          Progress progress;
          ASSERT_TRUE(progress.Await([&] { return shard.log()->durable() >= pending.back().end; }));
        }
      }
      for (const Pending& p : pending) {
        if (p.end > set->shard(p.shard).log()->durable()) continue;
        acknowledged["a" + p.tag] = p.value;
        acknowledged["b" + p.tag] = p.value;
      }
      after = fs->AfterPowerLoss(rng());
    }
    fs = std::move(after);
  }
  EXPECT_FALSE(acknowledged.empty());
}

INSTANTIATE_TEST_SUITE_P(, DataSetPowerLoss, testing::Values(1u, 2u, 4u));

}  // namespace
}  // namespace skein::storage
