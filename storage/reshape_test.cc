// Changes of a data set that no node has open, and folders that Redis left. What crashes leave of them:
// reshape_power_test.
#include <map>
#include <set>
#include <string>

#include "gtest/gtest.h"
#include "storage/export.h"
#include "storage/flip.h"
#include "storage/import/import.h"
#include "storage/reshape_testing.h"
#include "storage/reshard.h"
#include "storage/restore.h"

namespace skein::storage {
namespace {

TEST(Reshard, IntoAnotherFolder) {
  FaultFileSystem fs;
  const Picture want = Fill(&fs);
  ASSERT_TRUE(fs.CreateDir(kTarget).ok());
  const std::string manifest = fs.Bytes("/appendonlydir/manifest");
  const auto report = Reshard({.place = {.dir = "/", .fs = &fs}, .to = 5, .target_dir = kTarget});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->from, kShards);
  EXPECT_EQ(report->keys, want.size());
  EXPECT_EQ(report->kept, "");
  EXPECT_EQ(fs.Bytes("/appendonlydir/manifest"), manifest) << "the source is not changed";
  DataSetOptions options = Options(&fs, 5);
  options.dir = kTarget;
  const std::unique_ptr<DataSet> set = MustOpen(options);
  ASSERT_NE(set, nullptr);
  EXPECT_EQ(AllOf(set.get()), want);
  const auto again = Reshard({.place = {.dir = "/", .fs = &fs}, .to = 5, .target_dir = kTarget});
  EXPECT_NE(again.status().message().find("choose a folder without a data set"), std::string_view::npos);
}

TEST(Reshard, WhatIsKeptInTheSameSecondIsAllKept) {
  FaultFileSystem fs;
  const Picture want = Fill(&fs);
  std::set<std::string> kept;
  for (const uint32_t to : {2u, 4u, 1u}) {
    const auto report = Reshard({.place = {.dir = "/", .fs = &fs}, .to = to});
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_TRUE(kept.insert(report->kept).second) << report->kept;
  }
  for (const std::string& path : kept) EXPECT_TRUE(*fs.Exists(JoinPath(path, kManifestName))) << path;
  const std::unique_ptr<DataSet> set = MustOpen(Options(&fs, 1));
  ASSERT_NE(set, nullptr);
  EXPECT_EQ(AllOf(set.get()), want);
}

TEST(Reshard, Refusals) {
  FaultFileSystem fs;
  Fill(&fs, 3);
  const auto refusal = [&](uint32_t to) {
    return std::string(Reshard({.place = {.dir = "/", .fs = &fs}, .to = to}).status().message());
  };
  EXPECT_NE(refusal(0).find("1 to 1024"), std::string::npos);
  EXPECT_NE(refusal(kShards).find("has 3 shards already"), std::string::npos);
  const std::unique_ptr<DataSet> set = MustOpen(Options(&fs, kShards));
  EXPECT_NE(refusal(2).find("is in use by another process"), std::string::npos);
}

TEST(Restore, ToATime) {
  FaultFileSystem fs;
  const Picture all = Fill(&fs);
  ASSERT_TRUE(fs.CreateDir(kTarget).ok());
  const RestoreOptions options{
      .place = {.dir = "/", .fs = &fs}, .target_dir = kTarget, .to_time = kFirstTime + 19, .to_lsn = {}};
  const auto report = Restore(options);
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_EQ(report->shards.size(), kShards);
  uint64_t records = 0;
  uint64_t left = 0;
  for (const RestoreReport::PerShard& shard : report->shards) {
    records += shard.records;
    left += shard.left_records;
    EXPECT_LE(shard.last_time, kFirstTime + 19);
  }
  EXPECT_EQ(records, 20u);
  EXPECT_EQ(left, 20u);
  DataSetOptions there = Options(&fs, kShards);
  there.dir = kTarget;
  const std::unique_ptr<DataSet> set = MustOpen(there);
  ASSERT_NE(set, nullptr);
  const Picture restored = AllOf(set.get());
  EXPECT_EQ(restored.size(), 20u);
  for (const auto& [place, held] : restored) EXPECT_EQ(all.at(place), held);
}

TEST(Restore, ToAnLsnOfEachShard) {
  FaultFileSystem fs;
  const Picture all = Fill(&fs);
  ASSERT_TRUE(fs.CreateDir(kTarget).ok());
  const Manifest manifest = *ParseManifest(fs.Bytes("/appendonlydir/manifest"));
  // Shard 0 stops in the middle of its last record, the others are whole.
  RestoreOptions options{.place = {.dir = "/", .fs = &fs}, .target_dir = kTarget, .to_time = {}, .to_lsn = {}};
  for (const Manifest::Shard& shard : manifest.shards) options.to_lsn.push_back(shard.durable);
  options.to_lsn[0] -= 1;
  const auto report = Restore(options);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->shards[0].left_records, 1u);
  EXPECT_LT(report->shards[0].end, options.to_lsn[0]);
  EXPECT_EQ(report->shards[1].left_records, 0u);
  EXPECT_EQ(report->shards[1].end, options.to_lsn[1]);
  DataSetOptions there = Options(&fs, kShards);
  there.dir = kTarget;
  const std::unique_ptr<DataSet> set = MustOpen(there);
  ASSERT_NE(set, nullptr);
  const Picture restored = AllOf(set.get());
  EXPECT_EQ(restored.size(), all.size() - 1);
  for (const auto& [place, held] : restored) EXPECT_EQ(all.at(place), held);
}

TEST(Restore, ToBeforeALaterOpening) {
  FaultFileSystem fs;
  const Picture all = Fill(&fs);
  for (int opening = 0; opening < 2; ++opening) {
    const std::unique_ptr<DataSet> set = MustOpen(Options(&fs, kShards));
    ASSERT_NE(set, nullptr);
    for (uint32_t i = 0; i < kShards; ++i) {
      Shard& shard = set->shard(i);
      shard.Begin(kFirstTime + 1000);
      shard.FlushAll(/*lazy=*/false);
      shard.End();
      shard.log()->Kick();
    }
  }
  ASSERT_TRUE(fs.CreateDir(kTarget).ok());
  const RestoreOptions options{
      .place = {.dir = "/", .fs = &fs}, .target_dir = kTarget, .to_time = kFirstTime + 999, .to_lsn = {}};
  const auto report = Restore(options);
  ASSERT_TRUE(report.ok()) << report.status();
  const Manifest restored = *ParseManifest(fs.Bytes(std::string(kTarget) + "/appendonlydir/manifest"));
  const Manifest source = *ParseManifest(fs.Bytes("/appendonlydir/manifest"));
  for (uint32_t i = 0; i < kShards; ++i) {
    // The second reign began without a record that is later; the third one behind such a record.
    std::vector<Reign> want = source.shards[i].history;
    ASSERT_EQ(want.size(), 3u);
    want.pop_back();
    EXPECT_EQ(restored.shards[i].history, want);
  }
  DataSetOptions there = Options(&fs, kShards);
  there.dir = kTarget;
  const std::unique_ptr<DataSet> set = MustOpen(there);
  ASSERT_NE(set, nullptr);
  EXPECT_EQ(AllOf(set.get()), all);
}

TEST(Restore, BeforeTheBaseIsRefused) {
  FaultFileSystem fs;
  Fill(&fs);
  ASSERT_TRUE(Reshard({.place = {.dir = "/", .fs = &fs}, .to = 1}).ok());  // bases at LSN 0, of now
  ASSERT_TRUE(fs.CreateDir(kTarget).ok());
  RestoreOptions options{.place = {.dir = "/", .fs = &fs}, .target_dir = kTarget, .to_time = 1000, .to_lsn = {}};
  const absl::Status status = Restore(options).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_NE(status.message().find("lies before the base of shard 0; the earliest point is"), std::string_view::npos)
      << status;
  options.to_time.reset();
  EXPECT_FALSE(Restore(options).ok()) << "neither a time nor LSNs";
}

TEST(Export, IsReadAsDumpRdb) {
  FaultFileSystem fs;
  const Picture want = Fill(&fs);
  ASSERT_TRUE(fs.CreateDir(kTarget).ok());
  const auto report = Export({.place = {.dir = "/", .fs = &fs}, .path = "/other/dump.rdb"});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->keys, want.size());
  DataSetOptions options = Options(&fs, 2);
  options.dir = kTarget;
  options.append_only = false;
  const std::unique_ptr<DataSet> set = MustOpen(options);
  ASSERT_NE(set, nullptr);
  EXPECT_EQ(AllOf(set.get()), want);
  EXPECT_FALSE(Export({.place = {.dir = "/", .fs = &fs}, .path = "/other/dump.rdb"}).ok()) << "exists";
}

// ---- What Redis left -----------------------------------------------------------------------------------------------

TEST(Convert, L11_AFolderOfRedisIsDetectedWithoutSideEffectsAndConverted) {
  FaultFileSystem fs;
  PutRedisFolder(&fs);
  const std::string tree = fs.Tree();
  EXPECT_TRUE(DataSet::Check(Options(&fs, 2)).ok());
  EXPECT_EQ(fs.Tree(), tree);
  const std::string original = fs.Bytes("/appendonlydir/appendonly.aof.1.incr.aof");
  for (int start = 0; start < 2; ++start) {
    const std::unique_ptr<DataSet> set = MustOpen(Options(&fs, 2));
    ASSERT_NE(set, nullptr);
    EXPECT_EQ(AllOf(set.get()), PictureOfStrings(kFolder));
    EXPECT_EQ(set->shard_count(), 2u);
  }
  const auto names = fs.List("/");
  ASSERT_TRUE(names.ok());
  int kept = 0;
  for (const std::string& name : *names) {
    if (!name.starts_with("appendonlydir.imported-")) continue;
    ++kept;
    EXPECT_EQ(fs.Bytes("/" + name + "/appendonly.aof.1.incr.aof"), original);
  }
  EXPECT_EQ(kept, 1) << "once, and never deleted";
}

TEST(Convert, ASingleFileAndADumpFile) {
  FaultFileSystem fs;
  Put(&fs, "/appendonly.aof", Rdb({{"a", "first"}, {"x", "leaves"}}) + Tail());
  Put(&fs, "/dump.rdb", Rdb({{"old", "of an earlier time"}}));
  {
    const std::unique_ptr<DataSet> set = MustOpen(Options(&fs, 1));
    ASSERT_NE(set, nullptr);
    EXPECT_EQ(AllOf(set.get()), PictureOfStrings({{"a", "first"}, {"b", "second"}, {"c", "third"}}));
  }
  EXPECT_TRUE(*fs.Exists("/dump.rdb"));
  FaultFileSystem other;
  Put(&other, "/dump.rdb", Rdb({{"a", "first"}, {"gone", "past its time"}}, 1000));
  const std::unique_ptr<DataSet> set = MustOpen(Options(&other, 3));
  ASSERT_NE(set, nullptr);
  EXPECT_EQ(AllOf(set.get()), PictureOfStrings({{"a", "first"}}));
  EXPECT_FALSE(*other.Exists("/dump.rdb")) << "moved aside, or a save would replace it";
}

TEST(Convert, ATruncatedTailIsLeftOutAndNothingElseIs) {
  const std::string whole = Body({"SET", "a", "first"}) + Body({"MULTI"}) + Body({"SET", "b", "2"}) +
                            Body({"SET", "c", "3"}) + Body({"EXEC"}) + Body({"SET", "d", "4"});
  const size_t first = Body({"SET", "a", "first"}).size();
  const size_t second = whole.size() - Body({"SET", "d", "4"}).size();
  for (size_t at = 0; at <= whole.size(); ++at) {
    FaultFileSystem fs;
    Put(&fs, "/appendonly.aof", whole.substr(0, at));
    ASSERT_TRUE(DataSet::Check(Options(&fs, 1)).ok()) << at;
    const std::unique_ptr<DataSet> set = MustOpen(Options(&fs, 1));
    ASSERT_NE(set, nullptr) << at;
    const size_t keys = at < first ? 0 : at < second ? 1 : at < whole.size() ? 3 : 4;
    EXPECT_EQ(AllOf(set.get()).size(), keys) << at;
  }
}

// Open and Check refuse with the same words, and change nothing.
void ExpectRefused(FaultFileSystem* fs, const std::vector<std::string>& parts) {
  const std::string tree = fs->Tree();
  const absl::Status checked = DataSet::Check(Options(fs, 1));
  EXPECT_EQ(fs->Tree(), tree);
  const absl::Status opened = DataSet::Open(Options(fs, 1)).status();
  EXPECT_EQ(checked, opened) << "L14: the same words";
  for (const std::string& part : parts) EXPECT_NE(opened.message().find(part), std::string_view::npos) << opened;
  EXPECT_NE(opened.message().find("; see ops/runbooks/"), std::string_view::npos) << opened;
  EXPECT_EQ(fs->Tree().find(".imported"), tree.find(".imported")) << "what cannot be read stays where it is";
}

TEST(Convert, L13_WhatCannotBeReadIsRefused) {
  const std::string incr = "/appendonlydir/appendonly.aof.1.incr.aof";
  {
    FaultFileSystem fs;
    PutRedisFolder(&fs);
    Put(&fs, incr, Body({"SELECT", "0"}) + Body({"RPUSH", "l", "x"}));
    ExpectRefused(&fs, {incr + ": at offset 23: command 'RPUSH' cannot be run: not known here", "from-redis.md"});
  }
  {
    FaultFileSystem fs;
    PutRedisFolder(&fs);
    Put(&fs, incr, Tail().substr(0, 60));
    ExpectRefused(&fs, {incr + ": at offset", "but other files follow this one"});
  }
  {
    FaultFileSystem fs;
    PutRedisFolder(&fs);
    ASSERT_TRUE(fs.RemoveFile(incr).ok());
    ExpectRefused(&fs, {incr + ": is missing, but the manifest beside it lists it"});
  }
  {
    FaultFileSystem fs;
    PutRedisFolder(&fs);
    Put(&fs, "/appendonlydir/appendonly.aof.manifest", "file ../x seq 1 type b\n");
    ExpectRefused(&fs, {"appendonly.aof.manifest: is corrupt: line 1: not the name of a file"});
  }
  {
    FaultFileSystem fs;
    std::string wrong = Body({"SET", "a", "first"}) + Body({"SET", "b", "second"}) + Body({"SET", "c", "third"});
    wrong.replace(wrong.find("$5"), 2, "$9999");  // reaches past the end, in the middle of the file
    Put(&fs, "/appendonly.aof", wrong);
    ExpectRefused(&fs, {"/appendonly.aof: at offset 0: a command whose length reaches past the end"});
  }
  {
    FaultFileSystem fs;
    std::string rdb = Rdb({{"a", "first"}});
    rdb[rdb.size() / 2] ^= 1;
    Put(&fs, "/dump.rdb", rdb);
    ExpectRefused(&fs, {"/dump.rdb", "put back an intact copy"});
  }
  {
    FaultFileSystem fs;
    Put(&fs, "/appendonly.aof", Body({"SELECT", "99"}));
    ExpectRefused(&fs, {"the data is in database 99, but databases is 16"});
  }
}

TEST(Flip, WhatStandsInTheWayOfAnInterruptedOneIsNotTouched) {
  FaultFileSystem fs;
  ASSERT_TRUE(fs.CreateDir("/appendonlydir.new").ok());
  ASSERT_TRUE(WriteMoves(&fs, "/", "appendonlydir", {{"appendonlydir", "appendonlydir.imported-1"}}).ok());
  ASSERT_TRUE(fs.CreateDir("/appendonlydir.imported-1").ok());
  ASSERT_TRUE(fs.CreateDir("/appendonlydir").ok());
  Put(&fs, "/appendonlydir/manifest", "x");
  ExpectRefused(&fs, {"/appendonlydir: stands where an interrupted change would put /appendonlydir.new"});
}

TEST(Flip, TheListOfMoves) {
  const std::vector<Move> moves = {{"a b", "a b.imported-7"}, {"dump.rdb", "d"}};
  EXPECT_EQ(*ParseMoves(EncodeMoves(moves)), moves);
  const std::string text = EncodeMoves(moves);
  for (size_t at = 0; at < text.size(); ++at) {
    std::string flipped = text;
    flipped[at] ^= 1;
    EXPECT_FALSE(ParseMoves(flipped).ok()) << at;
    EXPECT_FALSE(ParseMoves(text.substr(0, at)).ok()) << at;
  }
  EXPECT_FALSE(ParseMoves(EncodeMoves({{"../a", "b"}})).ok());
}

}  // namespace
}  // namespace skein::storage
