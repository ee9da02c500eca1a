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

TEST(LogSet, EveryOpeningStartsAReignThatIsDurableBeforeUse) {
  FaultFileSystem fs;
  std::vector<Reign> history;
  for (int opening = 0; opening < 4; ++opening) {
    OpenedSet opened = OpenSet(TestOptions(&fs, 2));
    ASSERT_TRUE(opened.status.ok()) << opened.status;
    const std::vector<Reign> now = opened.set->manifest().shards[1].history;
    ASSERT_EQ(now.size(), history.size() + 1);
    EXPECT_TRUE(std::equal(history.begin(), history.end(), now.begin()));
    EXPECT_NE(now.back().id, opened.set->manifest().shards[0].history.back().id);
    history = now;
    const std::unique_ptr<FaultFileSystem> after = fs.AfterPowerLoss(3);
    EXPECT_EQ(ParseManifest(after->Bytes("/appendonlydir/manifest"))->shards[1].history, history);
    AppendSet(&opened.set->log(1), "k", "v");
  }
  EXPECT_EQ(history[0].first_lsn, 0u);
  EXPECT_LT(history[0].first_lsn, history[1].first_lsn);
  const auto recovery =
      RecoverShard(&fs, "/appendonlydir", *ParseManifest(fs.Bytes("/appendonlydir/manifest")), 1, nullptr);
  ASSERT_TRUE(recovery.ok()) << recovery.status();
  EXPECT_EQ(recovery->history, history) << "the records of the file say the same";
}

TEST(LogSet, AReignInTheFileThatTheManifestDoesNotKnowYetIsKept) {
  FaultFileSystem fs;
  { ASSERT_TRUE(OpenSet(TestOptions(&fs, 1)).status.ok()); }
  const std::string old_manifest = fs.Bytes("/appendonlydir/manifest");
  { ASSERT_TRUE(OpenSet(TestOptions(&fs, 1)).status.ok()); }
  fs.SetBytes("/appendonlydir/manifest", old_manifest);  // as if it had been killed between the two
  OpenedSet opened = OpenSet(TestOptions(&fs, 1));
  ASSERT_TRUE(opened.status.ok()) << opened.status;
  EXPECT_EQ(opened.set->manifest().shards[0].history.size(), 3u);
}

TEST(LogSet, OnceRetiredItListsNothingInTheFolderOfTheNext) {
  FaultFileSystem fs;
  OpenedSet opened = OpenSet(TestOptions(&fs, 2));
  ASSERT_TRUE(opened.status.ok()) << opened.status;
  const Lsn end = AppendSet(&opened.set->log(1), "k", "v");
  ASSERT_TRUE(opened.set->MarkOff().ok());
  ASSERT_TRUE(opened.set->Close().ok());
  const LogStart next = opened.set->Retire(1);
  EXPECT_EQ(next.lsn, opened.set->log(1).end());
  EXPECT_GE(next.lsn, end);
  EXPECT_GT(next.sequence, opened.set->manifest().shards[1].incrs.back().sequence);
  fs.SetBytes("/appendonlydir/manifest", "another's");
  EXPECT_TRUE(absl::IsCancelled(opened.set->MarkOff()));
  EXPECT_TRUE(absl::IsCancelled(opened.set->ListReigns({1, 1})));
  EXPECT_EQ(fs.Bytes("/appendonlydir/manifest"), "another's");
}

TEST(LogSet, ManyReignsAreTrimmedToTheNewest) {
  FaultFileSystem fs;
  { ASSERT_TRUE(OpenSet(TestOptions(&fs, 1)).status.ok()); }
  Lsn end = ParseManifest(fs.Bytes("/appendonlydir/manifest"))->shards[0].durable;
  std::string bytes = fs.Bytes("/appendonlydir/shard-0/incr.1.aof");
  for (size_t i = 0; i < kMaxReigns + 10; ++i) {
    const std::string record = EncodeReignRecord(NewReign(0, end), 1);
    bytes += record;
    end += record.size();
  }
  fs.SetBytes("/appendonlydir/shard-0/incr.1.aof", bytes);
  // The manifest's only reign is among those that went: its place in the file is beyond the history that is kept.
  Manifest manifest = *ParseManifest(fs.Bytes("/appendonlydir/manifest"));
  manifest.shards[0].history.clear();
  fs.SetBytes("/appendonlydir/manifest", EncodeManifest(manifest));
  for (int opening = 0; opening < 2; ++opening) {
    OpenedSet opened = OpenSet(TestOptions(&fs, 1));
    ASSERT_TRUE(opened.status.ok()) << opened.status;
    EXPECT_EQ(opened.set->manifest().shards[0].history.size(), kMaxReigns);
    EXPECT_GE(opened.set->manifest().shards[0].history.back().first_lsn, end);
  }
}

TEST(LogSet, L07_EachShardsRecordsAreInItsOwnFileOnly) {
  FaultFileSystem fs;
  {
    OpenedSet opened = OpenSet(TestOptions(&fs, 3));
    ASSERT_TRUE(opened.status.ok()) << opened.status;
    for (uint32_t shard = 0; shard < 3; ++shard)
      AppendSet(&opened.set->log(shard), "key", "of" + std::to_string(shard));
  }
  for (uint32_t shard = 0; shard < 3; ++shard) {
    const std::string bytes = fs.Bytes("/appendonlydir/" + IncrName(shard, 1));
    for (uint32_t other = 0; other < 3; ++other) {
      EXPECT_EQ(bytes.find("of" + std::to_string(other)) != std::string::npos, other == shard);
    }
  }
}

TEST(LogSet, L09_TheLsnOfARecordIsWhereItStartsInTheFile) {
  FaultFileSystem fs;
  std::vector<Lsn> ends;
  {
    OpenedSet opened = OpenSet(TestOptions(&fs, 1, AppendFsync::kNo));
    ASSERT_TRUE(opened.status.ok()) << opened.status;
    ends.push_back(opened.set->log(0).end());
    for (int i = 0; i < 50; ++i) ends.push_back(AppendSet(&opened.set->log(0), "key", std::string(i * 3, 'x')));
  }
  auto reader = AofReader::Open(*fs.Open("/appendonlydir/shard-0/incr.1.aof", FileSystem::Mode::kRead), "f");
  ASSERT_TRUE(reader.ok());
  for (const Lsn end : ends) {
    const Lsn start = (*reader)->lsn();
    ASSERT_EQ(*(*reader)->Next(), AofReader::Found::kRecord);
    EXPECT_EQ((*reader)->record().lsn, start);
    EXPECT_EQ((*reader)->lsn(), end) << "what the log issued is what the file says";
  }
  EXPECT_EQ(*(*reader)->Next(), AofReader::Found::kEnd);
}

TEST(LogSet, AnOpeningMarksWhatItHasFoundAndSynced) {
  FaultFileSystem fs;
  std::unique_ptr<FaultFileSystem> killed;
  Lsn end = 0;
  {
    OpenedSet opened = OpenSet(TestOptions(&fs, 1, AppendFsync::kNo));
    ASSERT_TRUE(opened.status.ok()) << opened.status;
    end = AppendSet(&opened.set->log(0), "k", "v");
    Progress progress;
    ASSERT_TRUE(progress.Await([&] { return opened.set->log(0).written() == end; }));
    killed = fs.AfterKill();
  }
  OpenedSet opened = OpenSet(TestOptions(killed.get(), 1));
  ASSERT_TRUE(opened.status.ok()) << opened.status;
  auto reader =
      AofReader::Open(*killed->Open("/appendonlydir/shard-0/incr.1.aof", FileSystem::Mode::kRead), "the file");
  ASSERT_TRUE(reader.ok());
  while ((*reader)->lsn() < end) ASSERT_EQ(*(*reader)->Next(), AofReader::Found::kRecord);
  EXPECT_LT((*reader)->marked(), end);
  ASSERT_EQ(*(*reader)->Next(), AofReader::Found::kRecord) << "the reign";
  EXPECT_EQ((*reader)->marked(), end);
}

// ---- Refusals: the same from Open and Check, and nothing touched ---------------------------------------------------

constexpr char kManifest[] = "/appendonlydir/manifest";
constexpr char kIncr1[] = "/appendonlydir/shard-1/incr.1.aof";

// A closed data set of two shards with a little in it.
class Refusal : public testing::Test {
 protected:
  void SetUp() override {
    OpenedSet opened = OpenSet(TestOptions(&fs_, 2));
    ASSERT_TRUE(opened.status.ok()) << opened.status;
    AppendSet(&opened.set->log(0), "b", "1");
    AppendSet(&opened.set->log(1), "a", "2");
  }
  // Opens and checks; both must refuse with the same words, which hold all of `parts`, and leave every file as it was.
  void ExpectRefused(const DataSetOptions& options, absl::StatusCode code, std::vector<std::string> parts) {
    const std::string tree = fs_.Tree();
    std::vector<std::string> bytes;
    const std::vector<std::string> paths = {kManifest, "/appendonlydir/shard-0/incr.1.aof", kIncr1};
    const auto contents = [&] {
      std::string all;
      for (const std::string& path : paths) {
        if (*fs_.Exists(path)) all += fs_.Bytes(path);
      }
      return all;
    };
    const std::string before = contents();
    const absl::Status checked = DataSet::Check(options);
    EXPECT_EQ(fs_.Tree(), tree) << "checking has no side effects";
    const absl::Status opened = DataSet::Open(options).status();
    EXPECT_EQ(opened, OpenSet(options).status);
    EXPECT_EQ(opened.code(), code) << opened;
    EXPECT_EQ(checked, opened) << "L14: the same words";
    for (const std::string& part : parts) EXPECT_NE(opened.message().find(part), std::string_view::npos) << opened;
    EXPECT_EQ(fs_.Tree(), tree);
    EXPECT_EQ(contents(), before);
  }
  DataSetOptions Options() { return TestOptions(&fs_, 2); }

  FaultFileSystem fs_;
};

TEST_F(Refusal, L14_CheckAcceptsWhatOpenAccepts) {
  EXPECT_TRUE(DataSet::Check(Options()).ok());
  const FaultFileSystem empty;
  const auto fs = empty.AfterKill();
  EXPECT_TRUE(DataSet::Check(TestOptions(fs.get(), 2)).ok());
  EXPECT_EQ(fs->Tree(), "") << "and makes nothing";
  // A torn tail is no reason to refuse, and is left for Open to cut.
  const Manifest manifest = *ParseManifest(fs_.Bytes(kManifest));
  EXPECT_EQ(manifest.shards.size(), 2u);
  fs_.SetBytes(kIncr1, fs_.Bytes(kIncr1) + "torn");
  const std::string tree = fs_.Tree();
  EXPECT_TRUE(DataSet::Check(Options()).ok());
  EXPECT_EQ(fs_.Tree(), tree);
  OpenedSet opened = OpenSet(Options());
  ASSERT_TRUE(opened.status.ok()) << opened.status;
  EXPECT_EQ(opened.set->report().shards[1].cut_bytes, 4u);
}

TEST_F(Refusal, L13_AConfiguredShardCountThatDiffers) {
  DataSetOptions options = Options();
  options.shards = 4;
  ExpectRefused(options, absl::StatusCode::kFailedPrecondition, {kManifest, "manifest=2, config=4", "storage-shards"});
}

TEST_F(Refusal, ADefaultThatDiffersIsIgnored) {
  DataSetOptions options = Options();
  options.shards = 8;
  options.shards_configured = false;
  OpenedSet opened = OpenSet(options);
  ASSERT_TRUE(opened.status.ok()) << opened.status;
  EXPECT_EQ(opened.set->shard_count(), 2u);
  EXPECT_EQ(opened.set->manifest().chosen, Manifest::Chosen::kConfigured);
}

TEST_F(Refusal, L13_ASettingThatDiffersFromADefaultedCount) {
  Manifest manifest = *ParseManifest(fs_.Bytes(kManifest));
  manifest.chosen = Manifest::Chosen::kDefaulted;
  fs_.SetBytes(kManifest, EncodeManifest(manifest));
  DataSetOptions options = Options();
  options.shards = 1;
  ExpectRefused(options, absl::StatusCode::kFailedPrecondition, {"manifest=2, config=1"});
}

TEST_F(Refusal, ASettingThatDiffersFromAnInheritedCountIsIgnored) {
  Manifest manifest = *ParseManifest(fs_.Bytes(kManifest));
  manifest.chosen = Manifest::Chosen::kInherited;
  fs_.SetBytes(kManifest, EncodeManifest(manifest));
  DataSetOptions options = Options();
  options.shards = 1;
  OpenedSet opened = OpenSet(options);
  ASSERT_TRUE(opened.status.ok()) << opened.status;
  EXPECT_EQ(opened.set->shard_count(), 2u);
}

TEST(LogSet, HowTheCountWasChosenIsRecorded) {
  for (const bool configured : {true, false}) {
    FaultFileSystem fs;
    DataSetOptions options = TestOptions(&fs, 2);
    options.shards_configured = configured;
    ASSERT_TRUE(OpenSet(options).status.ok());
    EXPECT_EQ(ParseManifest(fs.Bytes(kManifest))->chosen,
              configured ? Manifest::Chosen::kConfigured : Manifest::Chosen::kDefaulted);
  }
}

TEST_F(Refusal, L13_ACorruptManifest) {
  std::string text = fs_.Bytes(kManifest);
  text[20] ^= 1;
  fs_.SetBytes(kManifest, text);
  ExpectRefused(Options(), absl::StatusCode::kDataLoss, {kManifest, "corrupt", "checksum", "put it back"});
}

TEST_F(Refusal, L13_AMissingManifest) {
  ASSERT_TRUE(fs_.RemoveFile(kManifest).ok());
  ExpectRefused(Options(), absl::StatusCode::kDataLoss, {kManifest, "is missing", "move the folder away"});
}

TEST_F(Refusal, L13_ShardIdsThatAreNotZeroToNMinusOne) {
  std::string text = fs_.Bytes(kManifest);
  text = text.substr(0, text.find("checksum"));
  text.replace(text.find("shard 1"), 7, "shard 7");
  char line[32];
  std::snprintf(line, sizeof(line), "checksum %08x\n", Crc32c(text));
  fs_.SetBytes(kManifest, text + line);
  ExpectRefused(Options(), absl::StatusCode::kDataLoss, {kManifest, "not 0..N-1"});
}

TEST_F(Refusal, L13_AMissingIncr) {
  ASSERT_TRUE(fs_.RemoveFile(kIncr1).ok());
  ExpectRefused(Options(), absl::StatusCode::kDataLoss, {kIncr1, "is missing"});
}

TEST_F(Refusal, L13_ABaseIsNotPassedOver) {
  Manifest manifest = *ParseManifest(fs_.Bytes(kManifest));
  manifest.shards[1].base = Manifest::FileRef{1, 0};
  fs_.SetBytes(kManifest, EncodeManifest(manifest));
  ExpectRefused(Options(), absl::StatusCode::kDataLoss, {"/appendonlydir/shard-1/base.1.rdb", "is missing"});
}

TEST_F(Refusal, L13_TheFileOfAnotherShard) {
  fs_.SetBytes(kIncr1, fs_.Bytes("/appendonlydir/shard-0/incr.1.aof"));
  ExpectRefused(Options(), absl::StatusCode::kDataLoss, {kIncr1, "shard 0 of 2", "expected shard 1 of 2"});
}

TEST_F(Refusal, L13_ACorruptMiddle) {
  std::string bytes = fs_.Bytes(kIncr1);
  bytes[bytes.size() - 3] ^= 1;
  fs_.SetBytes(kIncr1, bytes);
  ExpectRefused(Options(), absl::StatusCode::kDataLoss, {kIncr1, "offset", "LSN", "corrupt in the middle", "put back"});
}

TEST_F(Refusal, L13_OneBadShardLeavesTheOthersUntouched) {
  // The good shard has a torn tail, which must not be cut before the bad one is known to be good.
  const std::string incr0 = "/appendonlydir/shard-0/incr.1.aof";
  fs_.SetBytes(incr0, fs_.Bytes(incr0) + "torn");
  std::string bytes = fs_.Bytes(kIncr1);
  bytes[bytes.size() - 3] ^= 1;
  fs_.SetBytes(kIncr1, bytes);
  ExpectRefused(Options(), absl::StatusCode::kDataLoss, {kIncr1});
}

TEST_F(Refusal, AFolderThatIsInUse) {
  OpenedSet opened = OpenSet(Options());
  ASSERT_TRUE(opened.status.ok()) << opened.status;
  ExpectRefused(Options(), absl::StatusCode::kFailedPrecondition, {"/appendonlydir: is in use by another process"});
  ASSERT_TRUE(opened.set->Close().ok());
  EXPECT_TRUE(OpenSet(Options()).status.ok());
}

TEST_F(Refusal, WhatAnInterruptedChangeHasLeftGoesAndNothingElseDoes) {
  const std::string dir = "/appendonlydir/shard-0/";
  const std::vector<std::string> left = {"base.7.rdb", "incr.8.aof"};
  const std::vector<std::string> others = {"base.07.rdb", "base.x.rdb", "incr.8.aof.copy", "notes"};
  for (const std::vector<std::string>& names : {left, others}) {
    for (const std::string& name : names) ASSERT_TRUE(fs_.Open(dir + name, FileSystem::Mode::kCreateNew).ok());
  }
  ASSERT_TRUE(DataSet::Check(Options()).ok());
  for (const std::string& name : left) EXPECT_TRUE(*fs_.Exists(dir + name)) << "checking removes nothing: " << name;
  ASSERT_TRUE(OpenSet(Options()).status.ok());
  for (const std::string& name : left) EXPECT_FALSE(*fs_.Exists(dir + name)) << name;
  for (const std::string& name : others) EXPECT_TRUE(*fs_.Exists(dir + name)) << name;
}

TEST_F(Refusal, L14_AFileThatCannotBeWrittenTo) {
  fs_.SetReadOnly(kIncr1);
  ExpectRefused(Options(), absl::StatusCode::kPermissionDenied, {kIncr1, "Permission denied"});
}

TEST_F(Refusal, FewerDatabasesThanTheDataSetHas) {
  DataSetOptions options = Options();
  options.databases = 4;
  ExpectRefused(options, absl::StatusCode::kFailedPrecondition, {"manifest=16, config=4"});
  options.databases = 32;
  EXPECT_TRUE(OpenSet(options).status.ok());
  EXPECT_EQ(ParseManifest(fs_.Bytes(kManifest))->databases, 32u);
}

TEST_F(Refusal, SettingsThatCannotBe) {
  DataSetOptions options = Options();
  options.shards = 0;
  ExpectRefused(options, absl::StatusCode::kFailedPrecondition, {"storage-shards must be 1 to 1024"});
  options = Options();
  options.append_dir = "a/b";
  ExpectRefused(options, absl::StatusCode::kFailedPrecondition, {"appenddirname"});
  options = Options();
  options.dir = "/nowhere";
  ExpectRefused(options, absl::StatusCode::kNotFound, {"/nowhere: No such file or directory"});
}

TEST_F(Refusal, AFolderThatCannotBeWrittenTo) {
  fs_.SetRoom(0);
  const absl::Status status = OpenSet(Options()).status;
  EXPECT_NE(status.message().find("No space left on device"), std::string_view::npos) << status;
  fs_.SetRoom(FaultFileSystem::kUnlimited);
  EXPECT_TRUE(OpenSet(Options()).status.ok()) << "and nothing was harmed";
}

}  // namespace
}  // namespace skein::storage
