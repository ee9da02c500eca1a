// Several shards filled at once from one stream.
#include "storage/import/shard_loaders.h"

#include <string>

#include "gtest/gtest.h"

namespace skein::storage {
namespace {

std::vector<std::unique_ptr<Shard>> MakeShards(uint32_t count) {
  std::vector<std::unique_ptr<Shard>> shards;
  for (uint32_t i = 0; i < count; ++i) {
    ShardOptions options;
    options.index = i;
    options.count = count;
    shards.push_back(std::make_unique<Shard>(options, nullptr));
  }
  return shards;
}

TEST(ShardLoaders, EveryKeyOnceInItsShardAndTheLastOneWins) {
  constexpr int kKeys = 20'000;
  for (const uint32_t count : {1u, 2u, 7u}) {
    const std::vector<std::unique_ptr<Shard>> shards = MakeShards(count);
    {
      ShardLoaders loaders(shards);
      for (int round = 0; round < 2; ++round) {
        for (int i = 0; i < kKeys; ++i) {
          const std::string key = "key:" + std::to_string(i);
          // Some larger than a batch.
          const std::string value(i % 5000 == 0 ? 300'000 : 10, static_cast<char>('a' + (i + round) % 26));
          RdbItem item;
          item.key = key;
          item.string = value;
          loaders.Add(static_cast<uint32_t>(KeySlot(key) % count), item);
        }
      }
    }
    uint64_t keys = 0;
    for (const std::unique_ptr<Shard>& shard : shards) keys += shard->KeyCount(0);
    EXPECT_EQ(keys, static_cast<uint64_t>(kKeys));
    for (int i = 0; i < kKeys; ++i) {
      const std::string key = "key:" + std::to_string(i);
      const Entry* entry = shards[KeySlot(key) % count]->Find(0, Key(key), Shard::Touch::kNo);
      ASSERT_NE(entry, nullptr) << key;
      IntText text;
      ASSERT_EQ(entry->string(&text), std::string(i % 5000 == 0 ? 300'000 : 10, static_cast<char>('a' + (i + 1) % 26)));
    }
  }
}

TEST(ShardLoaders, NothingToLoad) {
  const std::vector<std::unique_ptr<Shard>> shards = MakeShards(3);
  { const ShardLoaders loaders(shards); }
  EXPECT_EQ(shards[2]->KeyCount(0), 0u);
}

}  // namespace
}  // namespace skein::storage
