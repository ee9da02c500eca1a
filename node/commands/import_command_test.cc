// Commands of Redis's append-only files, run on shards while a folder is converted.
#include "node/commands/import_command.h"

#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "node/commands/harness.h"
#include "storage/shard_testing.h"

namespace skein::node {
namespace {

class Import : public testing::Test {
 protected:
  explicit Import(uint32_t count = 3) {
    for (uint32_t i = 0; i < count; ++i) {
      owned_.push_back(std::make_unique<storage::Shard>(storage::ShardOptions{.index = i, .count = count}, nullptr));
      owned_.back()->set_decides_expiry(false);
      shards_.push_back(owned_.back().get());
    }
    config_.cluster_enabled = false;
  }
  std::string Run(std::string_view line, uint32_t db = 0) {
    const std::vector<std::string> words = SplitWords(line);
    return std::string(RunImportedCommand(config_, shards_, db, {words.begin(), words.end()}).message());
  }
  storage::Picture All() {
    storage::Picture all;
    for (const auto& shard : owned_) all.merge(storage::PictureOf(*shard));
    return all;
  }
  std::string Value(const std::string& key) {
    const storage::Picture all = All();
    return all.contains({0, key}) ? all.at({0, key}).value : "(none)";
  }

  Config config_;
  std::vector<std::unique_ptr<storage::Shard>> owned_;
  std::vector<storage::Shard*> shards_;
};

TEST_F(Import, KeysOfSeveralShardsAreSplitWhereThatIsTheSame) {
  EXPECT_EQ(Run("MSET a 1 b 2 c 3 d 4"), "");
  EXPECT_EQ(All().size(), 4u);
  EXPECT_EQ(Run("MSETNX e 5 f 6"), "");
  EXPECT_EQ(Run("DEL a b"), "");
  EXPECT_EQ(Run("UNLINK c nokey"), "");
  EXPECT_EQ(All().size(), 3u);
  EXPECT_EQ(Value("f"), "6");
  std::string elsewhere = "x";
  while (storage::KeySlot(elsewhere) % 3 == storage::KeySlot("d") % 3) elsewhere += "x";
  EXPECT_NE(Run("RENAME d " + elsewhere).find("its keys belong to several shards"), std::string::npos);
  EXPECT_EQ(Run("RENAME {d}1 {d}2"), "it answers \"ERR no such key\"");
  EXPECT_EQ(Run("FLUSHALL"), "");
  EXPECT_TRUE(All().empty());
}

TEST_F(Import, NothingExpiresWhileTheCommandsOfAFileRun) {
  EXPECT_EQ(Run("SET k v PXAT 1000"), "");
  EXPECT_EQ(Run("APPEND k w"), "") << "the key was there when this was written";
  EXPECT_EQ(Value("k"), "vw");
  EXPECT_EQ(All().at({0, "k"}).expire_at, 1000);
  EXPECT_EQ(Run("PEXPIREAT k 500"), "");
  EXPECT_EQ(All().at({0, "k"}).expire_at, 500);
  EXPECT_EQ(Run("SETEX r 100 v"), "") << "a time that counts from now";
  EXPECT_GT(All().at({0, "r"}).expire_at, 1'700'000'000'000);
}

TEST_F(Import, WhatCannotBeRunIsNamed) {
  EXPECT_EQ(Run("RPUSH l x"), "it is about a list, which this version does not hold");
  EXPECT_EQ(Run("ZADD z 1 x"), "it is about a sorted set, which this version does not hold");
  EXPECT_EQ(Run("NOSUCH x"), "this version does not know it");
  EXPECT_EQ(Run("GET x"), "it is not a command that changes data");
  EXPECT_EQ(Run("SET x"), "it has a wrong number of arguments");
  EXPECT_EQ(Run("SET x y"), "");
  EXPECT_EQ(Run("INCR x"), "it answers \"ERR value is not an integer or out of range\"");
}

}  // namespace
}  // namespace skein::node
