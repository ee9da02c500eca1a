// repair: what it cuts, what it makes anew, and everything that it must not touch.
#include <string>

#include "gtest/gtest.h"
#include "ops/aof_tool/tool_testing.h"
#include "storage/manifest.h"
#include "storage/record.h"

namespace skein::ops {
namespace {

using storage::FaultFileSystem;

constexpr char kManifest[] = "/data/appendonlydir/manifest";
constexpr char kIncr[] = "/data/appendonlydir/shard-0/incr.1.aof";
constexpr storage::UnixMillis kNoon = 1'700'000'000'000;

class RepairTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(fs_.CreateDir("/data").ok());
    ASSERT_TRUE(fs_.SyncDir("/").ok());
    WithDataSet(&fs_, 1, [](storage::DataSet& set) {
      SetKey(&set, "a", "1", kNoon);
      SetKey(&set, "b", "2", kNoon + 1000);
    });
    whole_ = fs_.Bytes(kIncr);
  }

  // As a node leaves it that was killed before it knew more to be on disk than its reign.
  void Killed() {
    auto manifest = storage::ParseManifest(fs_.Bytes(kManifest));
    ASSERT_TRUE(manifest.ok());
    manifest->shards[0].durable = 101;
    fs_.SetBytes(kManifest, storage::EncodeManifest(*manifest));
  }
  // Tears the last record: the log ends inside the value of "b".
  void Tear() {
    Killed();
    fs_.SetBytes(kIncr, whole_.substr(0, whole_.size() - 3));
  }

  Ran Run(const std::vector<std::string>& words, const bool* answer = nullptr) { return RunWords(&fs_, words, answer); }
  std::string Everything() { return fs_.Tree() + fs_.Bytes(kManifest) + fs_.Bytes(kIncr); }
  // The keys that a node finds.
  std::string Keys() {
    std::string keys;
    const std::unique_ptr<FaultFileSystem> copy = fs_.AfterKill();
    auto set = storage::DataSet::Open(DataOptions(copy.get(), 1));
    if (!set.ok()) return set.status().ToString();
    for (const char* key : {"a", "b"}) {
      if ((*set)->shard(0).Find(0, storage::Key(std::string_view(key))) != nullptr) keys += key;
    }
    EXPECT_TRUE((*set)->Close().ok());
    return keys;
  }

  FaultFileSystem fs_;
  std::string whole_;
};

TEST_F(RepairTest, LeavesAWholeFolderAlone) {
  const std::string before = Everything();
  const Ran ran = Run({"repair", "/data", "--yes"});
  EXPECT_EQ(ran.code, kOk);
  EXPECT_EQ(ran.out, "/data/appendonlydir: nothing to repair\n");
  EXPECT_EQ(Everything(), before);
}

TEST_F(RepairTest, SaysExactlyWhatGoesAndCutsOnlyThat) {
  Tear();
  const std::string before = Everything();
  const bool no = false;
  Ran ran = Run({"repair", "/data"}, &no);
  EXPECT_EQ(ran.code, kRefused);
  EXPECT_EQ(ran.asked, "Cut this? [y/N] ");
  EXPECT_EQ(Everything(), before);
  const size_t offset = whole_.size() - 67;
  const std::string said = "shard 0: " + std::string(kIncr) +
                           " has a torn tail: incomplete record\n"
                           "  goes: 64 bytes from offset " +
                           std::to_string(offset) +
                           " on, everything after LSN 168\n"
                           "  in it can be recognised: 1 record, 0 of them whole, LSN 168 to 168, "
                           "2023-11-14T22:13:21.000Z to 2023-11-14T22:13:21.000Z\n"
                           "  stays: 1 data record, to LSN 168\n";
  EXPECT_EQ(ran.out, said);
  const bool yes = true;
  ran = Run({"repair", "/data"}, &yes);
  EXPECT_EQ(ran.code, kOk) << ran.err;
  EXPECT_EQ(ran.out, said + "shard 0: cut\n");
  EXPECT_EQ(fs_.Bytes(kIncr), whole_.substr(0, offset));
  EXPECT_EQ(Keys(), "a");
  EXPECT_EQ(Run({"repair", "/data"}).out, "/data/appendonlydir: nothing to repair\n");
}

TEST_F(RepairTest, AsksNobodyWithoutBeingTold) {
  Tear();
  const std::string before = Everything();
  Ran ran = Run({"repair", "/data"});
  EXPECT_EQ(ran.code, kRefused);
  EXPECT_EQ(ran.err, "ops/aof: nothing was changed: this needs --yes where nobody can be asked\n");
  ran = Run({"repair", "/data", "--dry-run", "--yes"});
  EXPECT_EQ(ran.code, kOk);
  EXPECT_EQ(Everything(), before);
  ran = Run({"repair", "/data", "--yes", "--json"});
  EXPECT_EQ(ran.code, kOk);
  EXPECT_EQ(ran.out, R"({"folder": "/data/appendonlydir", "manifest_rebuilt": false, "torn_tails": [{"shard": 0, )"
                     R"("file": "/data/appendonlydir/shard-0/incr.1.aof", "offset": )" +
                         std::to_string(whole_.size() - 67) +
                         R"(, "lsn": 168, "bytes": 64, "reason": "incomplete record", "recognised": 1, )"
                         R"("recognised_whole": 0, "first_lsn": 168, "last_lsn": 168, )"
                         R"("first_time": "2023-11-14T22:13:21.000Z", "last_time": "2023-11-14T22:13:21.000Z", )"
                         R"("kept_records": 1}], "changed": true, "problem": null})"
                         "\n");
  EXPECT_EQ(Keys(), "a");
}

TEST_F(RepairTest, WhatWasCutIsOnDisk) {
  Tear();
  ASSERT_EQ(Run({"repair", "/data", "--yes"}).code, kOk);
  for (uint64_t seed = 0; seed < 20; ++seed) {
    EXPECT_EQ(fs_.AfterPowerLoss(seed)->Bytes(kIncr), whole_.substr(0, whole_.size() - 67)) << seed;
  }
}

TEST_F(RepairTest, L13_RefusesACorruptMiddle) {
  // The manifest knows all of it to be on disk.
  std::string bytes = whole_;
  bytes[bytes.size() - 3] ^= 1;
  fs_.SetBytes(kIncr, bytes);
  const std::string before = Everything();
  const Ran ran = Run({"repair", "/data", "--yes", "--rebuild-manifest"});
  EXPECT_EQ(ran.code, kRefused);
  EXPECT_NE(ran.err.find("corrupt in the middle"), std::string::npos) << ran.err;
  EXPECT_EQ(Everything(), before);
}

TEST_F(RepairTest, SaysThatItCouldNotWrite) {
  Tear();
  fs_.SetHook([](FaultFileSystem::Op op, const std::string&) { return op == FaultFileSystem::Op::kSync ? EIO : 0; });
  const Ran ran = Run({"repair", "/data", "--yes"});
  EXPECT_EQ(ran.code, kFailed);
  EXPECT_NE(ran.err.find("Input/output error"), std::string::npos) << ran.err;
}

TEST_F(RepairTest, MakesALostManifestAnew) {
  const std::string good = fs_.Bytes(kManifest);
  for (const std::string& bad : {std::string(), std::string("junk"), good.substr(0, good.size() - 1)}) {
    fs_.SetBytes(kManifest, bad);
    const std::string before = Everything();
    // Agreeing to a cut is not agreeing to this.
    Ran ran = Run({"repair", "/data", "--yes"});
    EXPECT_EQ(ran.code, kRefused);
    EXPECT_NE(ran.err.find("needs --rebuild-manifest"), std::string::npos) << ran.err;
    const bool no = false;
    EXPECT_EQ(Run({"repair", "/data"}, &no).asked, "Make the manifest anew? [y/N] ");
    EXPECT_EQ(Everything(), before);

    ran = Run({"repair", "/data", "--rebuild-manifest"});
    EXPECT_EQ(ran.code, kOk) << ran.err;
    EXPECT_NE(ran.out.find("1 shard, 1 database"), std::string::npos) << ran.out;
    EXPECT_EQ(fs_.Bytes(std::string(kManifest) + ".damaged"), bad);
    const auto made = storage::ParseManifest(fs_.Bytes(kManifest));
    ASSERT_TRUE(made.ok()) << made.status();
    const auto was = storage::ParseManifest(good);
    EXPECT_EQ(made->shards[0].incrs, was->shards[0].incrs);
    EXPECT_EQ(made->shards[0].history, was->shards[0].history);
    EXPECT_EQ(Keys(), "ab");
    ASSERT_TRUE(fs_.RemoveFile(std::string(kManifest) + ".damaged").ok());
  }
  ASSERT_TRUE(fs_.RemoveFile(kManifest).ok());
  EXPECT_EQ(Run({"repair", "/data", "--rebuild-manifest"}).code, kOk);
  EXPECT_EQ(Keys(), "ab");
}

TEST_F(RepairTest, RefusesToGuessAManifest) {
  fs_.SetBytes(kManifest, "junk");
  const auto refuses = [&](std::string_view why) {
    const std::string before = Everything();
    const Ran ran = Run({"repair", "/data", "--rebuild-manifest", "--yes"});
    EXPECT_EQ(ran.code, kRefused) << why;
    EXPECT_NE(ran.err.find(why), std::string::npos) << ran.err;
    EXPECT_NE(ran.err.find("see ops/runbooks/corrupt-manifest.md"), std::string::npos) << ran.err;
    EXPECT_EQ(Everything(), before);
  };
  constexpr char kSecond[] = "/data/appendonlydir/shard-0/incr.2.aof";
  const auto add = [&](const char* path, const storage::FileHeader& header, std::string_view bytes) {
    EXPECT_TRUE(fs_.Open(path, storage::FileSystem::Mode::kReplace).ok());
    fs_.SetBytes(path, storage::EncodeFileHeader(header) + std::string(bytes));
  };
  size_t size = 0;
  const auto first = storage::DecodeFileHeader(whole_, &size);
  ASSERT_TRUE(first.ok());
  const std::string reign = storage::EncodeReignRecord(storage::NewReign(0, 1000), kNoon);
  storage::FileHeader header = *first;
  header.sequence = 2;
  // A second file that leaves a gap.
  header.start_lsn = 1000;
  add(kSecond, header, reign);
  refuses("starts at LSN 1000, but the file before it ends at LSN 235");
  // One that follows and tells another history.
  header.start_lsn = 235;
  header.history = {storage::NewReign(0, 0)};
  add(kSecond, header, storage::EncodeReignRecord(storage::NewReign(0, 235), kNoon));
  refuses("tells another history");
  // One of a data set with more shards.
  header.shard_count = 2;
  add(kSecond, header, "");
  refuses("2 shards");
  // One whose head is damaged.
  fs_.SetBytes(kSecond, "junk");
  refuses("incr.2.aof");
  ASSERT_TRUE(fs_.RemoveFile(kSecond).ok());
  // The first file gone: what is there starts in the middle.
  header = *first;
  header.start_lsn = 1000;
  fs_.SetBytes(kIncr, storage::EncodeFileHeader(header) + reign);
  refuses("starts at LSN 1000");
  // Another shard's file in the place of this one's.
  header = *first;
  header.shard = 1;
  header.shard_count = 2;
  fs_.SetBytes(kIncr, storage::EncodeFileHeader(header));
  refuses("says that it is the file of shard 1");
  // A shard is missing.
  header.shard = 0;
  fs_.SetBytes(kIncr, storage::EncodeFileHeader(header));
  refuses("is missing");
}

TEST_F(RepairTest, LeavesOutAFileThatNeverCameIntoUse) {
  fs_.SetBytes(kManifest, "junk");
  size_t size = 0;
  storage::FileHeader header = *storage::DecodeFileHeader(whole_, &size);
  header.sequence = 2;
  header.start_lsn = 168;  // the log went on in the first
  constexpr char kSecond[] = "/data/appendonlydir/shard-0/incr.2.aof";
  ASSERT_TRUE(fs_.Open(kSecond, storage::FileSystem::Mode::kCreateNew).ok());
  fs_.SetBytes(kSecond, storage::EncodeFileHeader(header));
  const Ran ran = Run({"repair", "/data", "--rebuild-manifest"});
  EXPECT_EQ(ran.code, kOk) << ran.err;
  EXPECT_NE(ran.out.find("incr.2.aof is empty and follows nothing: left out"), std::string::npos) << ran.out;
  EXPECT_EQ(Keys(), "ab");
}

TEST_F(RepairTest, MakesAManifestAndThenCuts) {
  Tear();
  fs_.SetBytes(kManifest, "junk");
  const Ran ran = Run({"repair", "/data", "--rebuild-manifest", "--yes"});
  EXPECT_EQ(ran.code, kOk) << ran.err;
  EXPECT_NE(ran.out.find("shard 0: cut"), std::string::npos) << ran.out;
  EXPECT_EQ(Keys(), "a");
}

}  // namespace
}  // namespace skein::ops
