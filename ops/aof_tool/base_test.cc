// Folders with bases: what a rewrite leaves, whole and interrupted.
#include <string>

#include "gtest/gtest.h"
#include "ops/aof_tool/tool_testing.h"
#include "storage/base_head.h"
#include "storage/log_testing.h"
#include "storage/manifest.h"
#include "storage/rdb/encoder.h"

namespace skein::ops {
namespace {

using storage::FaultFileSystem;
using storage::Lsn;

constexpr char kManifest[] = "/appendonlydir/manifest";

// A log of one shard that was rewritten once: "old" is in the base, "between" in the base and the log, "new" in the
// log.
class BaseTest : public testing::Test {
 protected:
  void SetUp() override {
    storage::OpenedSet opened = storage::OpenSet(storage::TestOptions(&fs_, 1));
    ASSERT_TRUE(opened.status.ok()) << opened.status;
    storage::LogSet& set = *opened.set;
    Append(&set, "old");
    const auto rotated = set.Rotate(0);
    ASSERT_TRUE(rotated.ok()) << rotated.status();
    Append(&set, "between");
    const Lsn lsn = set.log(0).end();
    ASSERT_TRUE(set.WaitDurable(0, lsn).ok());
    Append(&set, "new");
    first_incr_ = fs_.Bytes("/appendonlydir/shard-0/incr.1.aof");
    const storage::LogSet::NewBase base = set.NextBase(0);
    base_path_ = base.path;
    std::string bytes;
    storage::RdbEncoder encoder({}, &bytes);
    encoder.Begin();
    storage::WriteBaseHead({.shard = 0, .shard_count = 1, .lsn = lsn, .time = 5, .history = set.HistoryUpTo(0, lsn)},
                           &encoder);
    for (const char* key : {"old", "between"}) {
      storage::RdbItem item;
      item.key = key;
      item.string = "value";
      encoder.Add(item);
    }
    encoder.End();
    auto file = fs_.Open(base.path, storage::FileSystem::Mode::kCreateNew);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE((*file)->WriteAt(0, bytes).ok());
    ASSERT_TRUE((*file)->Sync().ok());
    ASSERT_TRUE(set.InstallBase(0, base, lsn, *rotated).ok());
    ASSERT_TRUE(set.Close().ok());
    const auto manifest = storage::ParseManifest(fs_.Bytes(kManifest));
    ASSERT_TRUE(manifest.ok());
    manifest_ = *manifest;
  }

  static void Append(storage::LogSet* set, std::string_view key) {
    storage::AppendSet(&set->log(0), key, "value", 1'700'000'000'000);
    ASSERT_TRUE(set->WaitDurable(0, set->log(0).end()).ok());
  }

  Ran Run(const std::vector<std::string>& words) { return RunWords(&fs_, words); }
  void Put(const std::string& path, std::string_view bytes) {
    ASSERT_TRUE(fs_.Open(path, storage::FileSystem::Mode::kReplace).ok());
    fs_.SetBytes(path, bytes);
  }

  // What a rebuilt manifest lists must be what was listed, and a start must take it.
  void ExpectRebuilt() {
    const Ran ran = Run({"repair", "/", "--rebuild-manifest"});
    ASSERT_EQ(ran.code, kOk) << ran.err << ran.out;
    const auto made = storage::ParseManifest(fs_.Bytes(kManifest));
    ASSERT_TRUE(made.ok());
    EXPECT_EQ(made->shards[0].base, manifest_.shards[0].base);
    EXPECT_EQ(made->shards[0].incrs, manifest_.shards[0].incrs);
    EXPECT_EQ(made->shards[0].history, manifest_.shards[0].history);
    EXPECT_EQ(Run({"verify", "/"}).code, kOk);
  }

  FaultFileSystem fs_;
  storage::Manifest manifest_;
  std::string base_path_;
  std::string first_incr_;  // which the rewrite has deleted
};

TEST_F(BaseTest, DumpsTheKeysOfTheBaseAndWhatFollows) {
  EXPECT_EQ(Run({"dump", "/", "--format", "resp"}).out,
            "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n"
            "*3\r\n$3\r\nSET\r\n$3\r\nold\r\n$5\r\nvalue\r\n"
            "*3\r\n$3\r\nSET\r\n$7\r\nbetween\r\n$5\r\nvalue\r\n"
            "*3\r\n$3\r\nSET\r\n$3\r\nnew\r\n$5\r\nvalue\r\n");
  const std::string lsn = std::to_string(manifest_.shards[0].base->lsn);
  EXPECT_EQ(Run({"dump", "/", "--key", "old"}).out,
            "shard 0  base at LSN " + lsn + "  1970-01-01T00:00:00.005Z  db 0  slot " +
                std::to_string(storage::KeySlot("old")) + "  SET \"old\" \"value\"\n");
  const std::string json = Run({"dump", "/", "--key", "old", "--json"}).out;
  EXPECT_NE(json.find(R"("base": true)"), std::string::npos) << json;
  // A filter that leaves the base out shows the records instead.
  const std::string later = Run({"dump", "/", "--from-time", "1700000000000"}).out;
  EXPECT_EQ(later.find("base at"), std::string::npos) << later;
  EXPECT_NE(later.find("\"between\""), std::string::npos) << later;
  fs_.SetBytes(base_path_, "junk");
  EXPECT_EQ(Run({"dump", "/"}).code, kRefused);
}

TEST_F(BaseTest, ShowsAndVerifiesIt) {
  Ran ran = Run({"verify", "/"});
  EXPECT_EQ(ran.code, kOk);
  EXPECT_NE(ran.out.find("shard 0: ok, a base of 2 keys and 1 record to LSN "), std::string::npos) << ran.out;
  ran = Run({"inspect", "/"});
  EXPECT_EQ(ran.code, kOk);
  EXPECT_NE(ran.out.find(", 2 keys, the state at LSN "), std::string::npos) << ran.out;
  ran = Run({"inspect", "/", "--json"});
  EXPECT_NE(ran.out.find("\"kind\": \"base\", \"listed\": true"), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("\"keys\": 2"), std::string::npos) << ran.out;
}

TEST_F(BaseTest, L13_VerifyRefusesItDamagedOrGone) {
  const std::string whole = fs_.Bytes(base_path_);
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string bytes = whole;
    bytes[at] ^= 0x08;
    fs_.SetBytes(base_path_, bytes);
    const Ran ran = Run({"verify", "/"});
    ASSERT_EQ(ran.code, kRefused) << at << ran.out;
    ASSERT_NE(ran.out.find(base_path_), std::string::npos) << ran.out;
  }
  ASSERT_TRUE(fs_.RemoveFile(base_path_).ok());
  EXPECT_NE(Run({"verify", "/"}).out.find("see ops/runbooks/missing-file.md"), std::string::npos);
}

TEST_F(BaseTest, MakesAManifestThatListsIt) {
  fs_.SetBytes(kManifest, "junk");
  ExpectRebuilt();
}

TEST_F(BaseTest, LeavesOutWhatARewriteHasNotDeletedYet) {
  Put("/appendonlydir/shard-0/incr.1.aof", first_incr_);
  fs_.SetBytes(kManifest, "junk");
  ExpectRebuilt();
}

TEST_F(BaseTest, LeavesOutABaseThatIsNotWhole) {
  Put("/appendonlydir/shard-0/base.9.rdb", fs_.Bytes(base_path_).substr(0, 60));
  fs_.SetBytes(kManifest, "junk");
  const Ran ran = Run({"repair", "/", "--dry-run"});
  EXPECT_NE(ran.out.find("base.9.rdb is not whole: left out"), std::string::npos) << ran.out;
  ExpectRebuilt();
}

TEST_F(BaseTest, RefusesALogWhoseBaseIsGone) {
  ASSERT_TRUE(fs_.RemoveFile(base_path_).ok());
  fs_.SetBytes(kManifest, "junk");
  const Ran ran = Run({"repair", "/", "--rebuild-manifest"});
  EXPECT_EQ(ran.code, kRefused);
  EXPECT_NE(ran.err.find("there is nothing whole that holds what was before"), std::string::npos) << ran.err;
  EXPECT_EQ(fs_.Bytes(kManifest), "junk");
}

TEST_F(BaseTest, GoesBackToTheWholeLogWhereTheBaseIsDamaged) {
  // Killed before the old incr was deleted, then the base went bad: the log alone still says everything.
  Put("/appendonlydir/shard-0/incr.1.aof", first_incr_);
  std::string bytes = fs_.Bytes(base_path_);
  bytes[bytes.size() - 1] ^= 1;
  fs_.SetBytes(base_path_, bytes);
  fs_.SetBytes(kManifest, "junk");
  const Ran ran = Run({"repair", "/", "--rebuild-manifest"});
  ASSERT_EQ(ran.code, kOk) << ran.err;
  const auto made = storage::ParseManifest(fs_.Bytes(kManifest));
  ASSERT_TRUE(made.ok());
  EXPECT_FALSE(made->shards[0].base.has_value());
  EXPECT_EQ(made->shards[0].incrs.size(), 2u);
  EXPECT_NE(Run({"verify", "/"}).out.find("3 records"), std::string::npos);
}

}  // namespace
}  // namespace skein::ops
