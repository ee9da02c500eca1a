// reshard, restore and export: what they are asked, what they say. What they do, storage's own tests show.
#include <string>

#include "gtest/gtest.h"
#include "ops/aof_tool/tool_testing.h"
#include "storage/manifest.h"

namespace skein::ops {
namespace {

using storage::FaultFileSystem;

constexpr storage::UnixMillis kNoon = 1'700'000'000'000;  // 2023-11-14T22:13:20Z
constexpr int kKeys = 20;

class ConvertTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(fs_.CreateDir("/data").ok());
    WithDataSet(&fs_, 2, [](storage::DataSet& set) {
      for (int i = 0; i < kKeys; ++i) SetKey(&set, "key:" + std::to_string(i), "value", kNoon + i * 1000);
    });
  }

  Ran Run(const std::vector<std::string>& words) { return RunWords(&fs_, words); }

  // How many keys a node finds in `dir`.
  uint64_t Keys(const std::string& dir, uint32_t shards) {
    const std::unique_ptr<FaultFileSystem> copy = fs_.AfterKill();
    storage::DataSetOptions options = DataOptions(copy.get(), shards);
    options.dir = dir;
    auto set = storage::DataSet::Open(options);
    EXPECT_TRUE(set.ok()) << set.status();
    if (!set.ok()) return 0;
    uint64_t keys = 0;
    for (uint32_t i = 0; i < shards; ++i) keys += (*set)->shard(i).KeyCount(0);
    EXPECT_TRUE((*set)->Close().ok());
    return keys;
  }

  void Damage(const std::string& path) {
    std::string bytes = fs_.Bytes(path);
    bytes[bytes.size() - 1] ^= 1;
    fs_.SetBytes(path, bytes);
  }

  FaultFileSystem fs_;
};

TEST_F(ConvertTest, Reshards) {
  Ran ran = Run({"reshard", "/data", "--to", "4"});
  EXPECT_EQ(ran.code, kOk) << ran.err;
  EXPECT_EQ(ran.out.find("from 2 shards to 4: 20 keys\nthe old folder is kept as /data/appendonlydir"), 0u) << ran.out;
  EXPECT_EQ(Keys("/data", 4), kKeys);
  ran = Run({"reshard", "/data", "--to", "1", "--into", "/one", "--json"});
  EXPECT_EQ(ran.code, kOk) << ran.err;
  EXPECT_EQ(ran.out,
            R"({"folder": "/data/appendonlydir", "from": 4, "to": 1, "keys": 20, "cut_bytes": 0, "kept": null})"
            "\n");
  EXPECT_EQ(Keys("/one", 1), kKeys);
  EXPECT_EQ(Keys("/data", 4), kKeys) << "and this one is as it was";
  ran = Run({"reshard", "/data", "--to", "4"});
  EXPECT_EQ(ran.code, kRefused);
  EXPECT_NE(ran.err.find("4 shards already"), std::string::npos) << ran.err;
  for (const char* bad : {"0", "1025", "many"}) EXPECT_EQ(Run({"reshard", "/data", "--to", bad}).code, kRefused);
  EXPECT_EQ(Run({"reshard", "/data"}).code, kRefused);
}

TEST_F(ConvertTest, RestoresToATime) {
  Ran ran = Run({"restore", "/data", "--to-time", "2023-11-14T22:13:24Z", "--into", "/then"});
  // The data is of 2023, the reigns of the node are of today: all that follows the first reign is later than the
  // moment.
  EXPECT_EQ(ran.code, kOk) << ran.err;
  EXPECT_NE(ran.out.find("restored into /then\n"), std::string::npos) << ran.out;
  EXPECT_EQ(Keys("/then", 2), 0u);
  ran = Run({"restore", "/data", "--to-time", "2100-01-01T00:00:00Z", "--into", "/all", "--json"});
  EXPECT_EQ(ran.code, kOk) << ran.err;
  EXPECT_NE(ran.out.find("\"left_records\": 0"), std::string::npos) << ran.out;
  EXPECT_EQ(Keys("/all", 2), kKeys);
  ran = Run({"restore", "/data", "--to-time", "2100-01-01T00:00:00Z", "--into", "/all"});
  EXPECT_EQ(ran.code, kRefused) << "there is something already";
}

TEST_F(ConvertTest, RestoresToAnLsn) {
  // The first record of each shard is its reign, of 101 bytes; each key's record follows.
  const Ran ran = Run({"restore", "/data", "--to-lsn", "0:101", "--into", "/then"});
  EXPECT_EQ(ran.code, kOk) << ran.err;
  EXPECT_NE(ran.out.find("shard 0: to LSN 101"), std::string::npos) << ran.out;
  const uint64_t left = Keys("/then", 2);
  EXPECT_GT(left, 0u) << "the other shard is whole";
  EXPECT_LT(left, static_cast<uint64_t>(kKeys));
  for (const char* bad : {"101", "2:101", "0:", ":5", "0:x"}) {
    EXPECT_EQ(Run({"restore", "/data", "--to-lsn", bad, "--into", "/other"}).code, kRefused) << bad;
  }
}

TEST_F(ConvertTest, RestoreWantsToKnowWhatAndWhere) {
  EXPECT_EQ(Run({"restore", "/data", "--into", "/then"}).code, kRefused);
  EXPECT_EQ(Run({"restore", "/data", "--to-time", "1700000000"}).code, kRefused);
  EXPECT_EQ(Run({"restore", "/data", "--to-time", "noon", "--into", "/then"}).code, kRefused);
  EXPECT_EQ(Run({"restore", "/data", "--to-time", "1700000000", "--to-lsn", "0:1", "--into", "/then"}).code, kRefused);
}

TEST_F(ConvertTest, Exports) {
  Ran ran = Run({"export", "/data", "--rdb", "/out.rdb"});
  EXPECT_EQ(ran.code, kOk) << ran.err;
  EXPECT_EQ(ran.out.find("/out.rdb: 20 keys, "), 0u) << ran.out;
  EXPECT_EQ(fs_.Bytes("/out.rdb").substr(0, 9), "REDIS0010");
  EXPECT_EQ(Run({"export", "/data", "--rdb", "/out.rdb"}).code, kRefused) << "exists";
  EXPECT_EQ(Run({"export", "/data"}).code, kRefused);
  ran = Run({"export", "/data", "--rdb", "/two.rdb", "--json"});
  EXPECT_EQ(ran.out.find(R"({"folder": "/data/appendonlydir", "rdb": "/two.rdb", "keys": 20, "bytes": )"), 0u)
      << ran.out;
}

TEST_F(ConvertTest, SalvagesWhatStandsBeforeTheDamage) {
  Damage("/data/appendonlydir/shard-1/incr.1.aof");
  EXPECT_EQ(Run({"export", "/data", "--rdb", "/out.rdb"}).code, kRefused);
  Ran ran = Run({"export", "/data", "--rdb", "/out.rdb", "--salvage"});
  EXPECT_EQ(ran.code, kOk) << ran.err;
  EXPECT_EQ(ran.out.find("shard 1: left out from here on: /data/appendonlydir/shard-1/incr.1.aof: at offset "), 0u)
      << ran.out;
  EXPECT_NE(ran.out.find("/out.rdb: 19 keys, "), std::string::npos) << ran.out;
  EXPECT_EQ(Run({"export", "/data", "--rdb", "/out.rdb", "--salvage"}).code, kRefused) << "exists";
  ran = Run({"export", "/data", "--rdb", "/two.rdb", "--salvage", "--json"});
  EXPECT_NE(ran.out.find(R"("left_out_from": [{"shard": 1, "problem": )"), std::string::npos) << ran.out;
}

TEST_F(ConvertTest, LeaveAFolderInUseAlone) {
  const auto lock = fs_.Lock("/data/appendonlydir.lock");
  ASSERT_TRUE(lock.ok());
  const std::vector<std::vector<std::string>> all = {
      {"reshard", "/data", "--to", "4"},
      {"restore", "/data", "--to-time", "1700000000", "--into", "/then"},
      {"export", "/data", "--rdb", "/out.rdb"},
      {"export", "/data", "--rdb", "/out.rdb", "--salvage"},
  };
  for (const std::vector<std::string>& words : all) {
    const Ran ran = Run(words);
    EXPECT_EQ(ran.code, kRefused) << words[0];
    EXPECT_NE(ran.err.find("folder-in-use.md"), std::string::npos) << ran.err;
  }
}

}  // namespace
}  // namespace skein::ops
