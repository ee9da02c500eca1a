// The tool's reading commands on whole and on damaged folders.
#include <regex>
#include <string>

#include "glog/logging.h"
#include "gtest/gtest.h"
#include "ops/aof_tool/tool_testing.h"
#include "storage/manifest.h"
#include "storage/record.h"

namespace skein::ops {
namespace {

using storage::FaultFileSystem;

constexpr char kManifest[] = "/data/appendonlydir/manifest";
constexpr char kIncr0[] = "/data/appendonlydir/shard-0/incr.1.aof";
constexpr storage::UnixMillis kNoon = 1'700'000'000'000;  // 2023-11-14T22:13:20Z

// Without what differs from run to run: reign ids, the wall clock, and what hangs on when a sync was done.
std::string Steady(std::string text) {
  text = std::regex_replace(text, std::regex("[0-9a-f]{32}"), "ID");
  text = std::regex_replace(text, std::regex("marked durable to [0-9]+"), "marked durable to N");
  text = std::regex_replace(text, std::regex("aof, [0-9]+ bytes"), "aof, N bytes");
  text = std::regex_replace(text, std::regex("\"(size|marked_durable)\": [0-9]+"), "\"$1\": N");
  return std::regex_replace(text, std::regex("20(2[4-9]|[3-9][0-9])-[0-9-]+T[0-9:.]+Z"), "NOW");
}

class ToolTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(fs_.CreateDir("/data").ok());
    WithDataSet(&fs_, 2, [](storage::DataSet& set) {
      SetKey(&set, "a", "1", kNoon);                 // slot 15495, shard 1
      SetKey(&set, "b", "two\n\xff", kNoon + 1000);  // slot 3300, shard 0
      OnKey(&set, "b", kNoon + 2000, [](storage::Shard& shard, const storage::Key& key) {
        shard.SetExpiry(0, key, kNoon + 60'000);
        shard.SetString(5, key, "five", storage::kNoExpiry, "set");
        shard.FlushDb(5, false);
      });
    });
  }

  Ran Run(const std::vector<std::string>& words) { return RunWords(&fs_, words); }

  FaultFileSystem fs_;
};

TEST_F(ToolTest, ReadsOneFileByItself) {
  const std::string path = "/data/lost-records-1700000000-shard-0.aof";
  ASSERT_TRUE(fs_.Open(path, storage::FileSystem::Mode::kCreateNew).ok());
  fs_.SetBytes(path, fs_.Bytes(kIncr0));
  const Ran dumped = Run({"dump", path});
  EXPECT_EQ(dumped.code, kOk) << dumped.err;
  EXPECT_EQ(dumped.out, Run({"dump", "/data", "--shard", "0"}).out);
  EXPECT_NE(dumped.out.find("two\\n\\xff"), std::string::npos) << dumped.out;
  EXPECT_EQ(Run({"dump", path, "--shard", "1"}).out, "");
  EXPECT_NE(Run({"dump", path, "--format", "resp"}).out.find("SET"), std::string::npos);
  const Ran inspected = Run({"inspect", path});
  EXPECT_EQ(inspected.code, kOk) << inspected.err;
  EXPECT_EQ(Steady(inspected.out),
            "a file of shard 0 of 2\n  " + path +
                ", N bytes, LSN 0 to 328, marked durable to N\n"
                "    2 data records (4 effects), 1 reign, 0 time, 2023-11-14T22:13:21.000Z to NOW\n");
  EXPECT_NE(Run({"inspect", path, "--json"}).out.find("\"shard\": 0"), std::string::npos);
  std::string bytes = fs_.Bytes(path);
  bytes.pop_back();
  fs_.SetBytes(path, bytes);
  EXPECT_EQ(Run({"dump", path}).code, kRefused);
  EXPECT_EQ(Run({"inspect", path}).code, kRefused);
  EXPECT_NE(Run({"dump", "/data/nothing.aof"}).code, kOk);
}

TEST_F(ToolTest, InspectsAWholeFolder) {
  const Ran ran = Run({"inspect", "/data"});
  EXPECT_EQ(ran.code, kOk) << ran.err;
  EXPECT_EQ(ran.err, "");
  EXPECT_EQ(Steady(ran.out),
            "/data/appendonlydir: 2 shards (configured), 16 databases, manifest 3\n"
            "shard 0: to LSN 328, durable to 328 by the manifest\n"
            "  shard-0/incr.1.aof, N bytes, LSN 0 to 328, marked durable to N\n"
            "    2 data records (4 effects), 1 reign, 0 time, 2023-11-14T22:13:21.000Z to NOW\n"
            "  reign ID, epoch 0, from LSN 0\n"
            "shard 1: to LSN 168, durable to 168 by the manifest\n"
            "  shard-1/incr.1.aof, N bytes, LSN 0 to 168, marked durable to N\n"
            "    1 data record (1 effect), 1 reign, 0 time, 2023-11-14T22:13:20.000Z to NOW\n"
            "  reign ID, epoch 0, from LSN 0\n");
  // Seen from inside as from outside, and with slashes at the end.
  EXPECT_EQ(Run({"inspect", "/data/appendonlydir"}).out, ran.out);
  EXPECT_EQ(Run({"inspect", "/data//"}).out, ran.out);
}

TEST_F(ToolTest, InspectsAsJson) {
  const Ran ran = Run({"inspect", "/data", "--json"});
  EXPECT_EQ(ran.code, kOk);
  EXPECT_EQ(Steady(ran.out),
            R"({"folder": "/data/appendonlydir", "in_use": false, "manifest": {"sequence": 3, "shards": 2, )"
            R"("chosen": "configured", "databases": 16}, "problem": null, "shards": [{"shard": 0, "files": )"
            R"([{"file": "shard-0/incr.1.aof", "kind": "incr", "listed": true, "sequence": 1, "size": N, "lsn": 0, )"
            R"("end": 328, "marked_durable": N, "created": "NOW", "records": {"data": 2, "reign": 1, "time": 0, )"
            R"("effects": 4, "bytes": 328, "first_time": "2023-11-14T22:13:21.000Z", "last_time": "NOW"}, )"
            R"("problem": null}], "records": {"data": 2, "reign": 1, "time": 0, "effects": 4, "bytes": 328, )"
            R"("first_time": "2023-11-14T22:13:21.000Z", "last_time": "NOW"}, "reigns": [{"id": "ID", "epoch": 0, )"
            R"("lsn": 0}], "durable": 328, "end": 328, "problem": null, "torn_tail": null}, {"shard": 1, "files": )"
            R"([{"file": "shard-1/incr.1.aof", "kind": "incr", "listed": true, "sequence": 1, "size": N, "lsn": 0, )"
            R"("end": 168, "marked_durable": N, "created": "NOW", "records": {"data": 1, "reign": 1, "time": 0, )"
            R"("effects": 1, "bytes": 168, "first_time": "2023-11-14T22:13:20.000Z", "last_time": "NOW"}, )"
            R"("problem": null}], "records": {"data": 1, "reign": 1, "time": 0, "effects": 1, "bytes": 168, )"
            R"("first_time": "2023-11-14T22:13:20.000Z", "last_time": "NOW"}, "reigns": [{"id": "ID", "epoch": 0, )"
            R"("lsn": 0}], "durable": 168, "end": 168, "problem": null, "torn_tail": null}]})"
            "\n");
}

TEST_F(ToolTest, VerifiesAWholeFolder) {
  const std::string tree = fs_.Tree();
  Ran ran = Run({"verify", "/data"});
  EXPECT_EQ(ran.code, kOk) << ran.out;
  EXPECT_EQ(ran.out, "shard 0: ok, 2 records to LSN 328\nshard 1: ok, 1 record to LSN 168\n/data/appendonlydir: ok\n");
  ran = Run({"verify", "/data", "--json"});
  EXPECT_EQ(ran.out,
            R"({"folder": "/data/appendonlydir", "in_use": false, "ok": true, "problem": null, "shards": [)"
            R"({"shard": 0, "ok": true, "base_keys": 0, "records": 2, "bytes": 328, "end": 328, "torn_tail": null}, )"
            R"({"shard": 1, "ok": true, "base_keys": 0, "records": 1, "bytes": 168, "end": 168, "torn_tail": null}]})"
            "\n");
  EXPECT_EQ(fs_.Tree(), tree) << "reading changes nothing";
}

TEST_F(ToolTest, DumpsReadably) {
  const Ran ran = Run({"dump", "/data"});
  EXPECT_EQ(ran.code, kOk);
  EXPECT_EQ(ran.out,
            "shard 0  LSN 101  2023-11-14T22:13:21.000Z  db 0  slot 3300  SET \"b\" \"two\\n\\xff\"\n"
            "shard 0  LSN 172  2023-11-14T22:13:22.000Z  db 0  slot -  PEXPIREAT \"b\" \"1700000060000\"\n"
            "shard 0  LSN 172  2023-11-14T22:13:22.000Z  db 5  slot -  SET \"b\" \"five\"\n"
            "shard 0  LSN 172  2023-11-14T22:13:22.000Z  db 5  slot -  FLUSHDB\n"
            "shard 1  LSN 101  2023-11-14T22:13:20.000Z  db 0  slot 15495  SET \"a\" \"1\"\n");
}

TEST_F(ToolTest, DumpsAsRespAndJson) {
  EXPECT_EQ(Run({"dump", "/data", "--format", "resp", "--shard=0"}).out,
            "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$5\r\ntwo\n\xff\r\n"
            "*3\r\n$9\r\nPEXPIREAT\r\n$1\r\nb\r\n$13\r\n1700000060000\r\n"
            "*2\r\n$6\r\nSELECT\r\n$1\r\n5\r\n*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$4\r\nfive\r\n*1\r\n$7\r\nFLUSHDB\r\n");
  EXPECT_EQ(Run({"dump", "/data", "--json", "--to-lsn", "172"}).out,
            R"({"shard": 0, "lsn": 101, "end": 172, "time": "2023-11-14T22:13:21.000Z", "time_ms": 1700000001000, )"
            R"("db": 0, "slot": 3300, "effect": ["SET", "b", {"hex": "74776f0aff"}]})"
            "\n"
            R"({"shard": 1, "lsn": 101, "end": 168, "time": "2023-11-14T22:13:20.000Z", "time_ms": 1700000000000, )"
            R"("db": 0, "slot": 15495, "effect": ["SET", "a", "1"]})"
            "\n");
  // FLUSHDB of one shard's part would empty what the other has set.
  const Ran ran = Run({"dump", "/data", "--format", "resp"});
  EXPECT_EQ(ran.code, kRefused);
  EXPECT_NE(ran.err.find("one shard at a time"), std::string::npos) << ran.err;
}

TEST_F(ToolTest, DumpFilters) {
  const auto lines = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"dump", "/data"});
    const Ran ran = Run(words);
    EXPECT_EQ(ran.code, kOk) << ran.err;
    std::string effects;
    std::istringstream in(ran.out);
    for (std::string line; std::getline(in, line);) effects += line.substr(line.find("slot")) + "|";
    return effects;
  };
  EXPECT_EQ(lines({"--shard", "1"}), "slot 15495  SET \"a\" \"1\"|");
  EXPECT_EQ(lines({"--slot", "15495"}), "slot 15495  SET \"a\" \"1\"|");
  EXPECT_EQ(lines({"--slot", "3302"}), "slot -  FLUSHDB|") << "what changes whole databases passes";
  EXPECT_EQ(lines({"--key", "[a]*"}), "slot -  FLUSHDB|slot 15495  SET \"a\" \"1\"|");
  EXPECT_EQ(lines({"--key", "b", "--from-lsn", "172"}),
            "slot -  PEXPIREAT \"b\" \"1700000060000\"|slot -  SET \"b\" \"five\"|slot -  FLUSHDB|");
  EXPECT_EQ(lines({"--to-time", "2023-11-14T22:13:20.999Z"}), "slot 15495  SET \"a\" \"1\"|");
  EXPECT_EQ(lines({"--from-time", "1700000001", "--to-time", "1700000001999"}),
            "slot 3300  SET \"b\" \"two\\n\\xff\"|");
  EXPECT_EQ(lines({"--from-time", "2030-01-01T00:00:00+02:00"}), "");
  EXPECT_EQ(Run({"dump", "/data", "--shard", "2"}).code, kRefused);
  EXPECT_EQ(Run({"dump", "/data", "--slot", "16384"}).code, kRefused);
  EXPECT_EQ(Run({"dump", "/data", "--from-time", "yesterday"}).code, kRefused);
  EXPECT_EQ(Run({"dump", "/data", "--to-lsn", "-1"}).code, kRefused);
}

TEST_F(ToolTest, ReadsAFolderInUseAndSaysSo) {
  const auto lock = fs_.Lock("/data/appendonlydir.lock");
  ASSERT_TRUE(lock.ok());
  for (const char* command : {"inspect", "verify", "dump"}) {
    const Ran ran = Run({command, "/data"});
    EXPECT_EQ(ran.code, kOk) << command;
    EXPECT_NE(ran.err.find("a running process has /data/appendonlydir"), std::string::npos) << ran.err;
  }
  EXPECT_NE(Run({"verify", "/data", "--json"}).out.find("\"in_use\": true"), std::string::npos);
  const std::string tree = fs_.Tree();
  const Ran ran = Run({"repair", "/data", "--yes"});
  EXPECT_EQ(ran.code, kRefused);
  EXPECT_NE(ran.err.find("in use by another process"), std::string::npos) << ran.err;
  EXPECT_EQ(fs_.Tree(), tree);
}

TEST_F(ToolTest, SaysWhereThereIsNothing) {
  ASSERT_TRUE(fs_.CreateDir("/empty").ok());
  for (const char* dir : {"/empty", "/nowhere"}) {
    const Ran ran = Run({"inspect", dir});
    EXPECT_EQ(ran.code, kFailed);
    EXPECT_NE(ran.err.find(std::string(dir) + ": there is no"), std::string::npos) << ran.err;
  }
}

TEST_F(ToolTest, RefusesWrongArguments) {
  const std::vector<std::vector<std::string>> wrong = {
      {},
      {"mend", "/data"},
      {"inspect"},
      {"inspect", "/data", "/other"},
      {"inspect", "/data", "--yes"},
      {"inspect", "/data", "--json=yes"},
      {"dump", "/data", "--key"},
      {"dump", "/data", "--format", "xml"},
      {"dump", "/data", "--format", "resp", "--json"},
  };
  for (const std::vector<std::string>& words : wrong) {
    const Ran ran = Run(words);
    EXPECT_EQ(ran.code, kRefused) << testing::PrintToString(words);
    EXPECT_NE(ran.err, "");
    EXPECT_EQ(ran.out, "");
  }
  EXPECT_EQ(Run({"--help"}).code, kOk);
  EXPECT_NE(Run({"dump", "--help"}).out.find("--from-time TIME"), std::string::npos);
}

TEST_F(ToolTest, L13_VerifyNamesAMissingFile) {
  ASSERT_TRUE(fs_.RemoveFile(kIncr0).ok());
  for (const char* command : {"inspect", "verify"}) {
    const Ran ran = Run({command, "/data"});
    EXPECT_EQ(ran.code, kRefused);
    EXPECT_NE(ran.out.find(std::string(kIncr0) + ": is missing, but the manifest lists it"), std::string::npos)
        << ran.out;
  }
  EXPECT_EQ(Run({"dump", "/data"}).code, kRefused);
}

TEST_F(ToolTest, L13_InspectShowsFilesWithoutAManifest) {
  fs_.SetBytes(kManifest, "nonsense");
  Ran ran = Run({"inspect", "/data"});
  EXPECT_EQ(ran.code, kRefused);
  EXPECT_NE(ran.out.find(std::string(kManifest) + ": is corrupt"), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("shard-1/incr.1.aof, "), std::string::npos) << ran.out;
  ran = Run({"inspect", "/data", "--json"});
  EXPECT_EQ(ran.code, kRefused);
  EXPECT_NE(ran.out.find("\"manifest\": null"), std::string::npos) << ran.out;
}

// What a start says to this folder, on a copy.
absl::Status Start(const FaultFileSystem& fs, uint32_t shards) {
  const std::unique_ptr<FaultFileSystem> copy = fs.AfterKill();
  auto set = storage::DataSet::Open(DataOptions(copy.get(), shards));
  if (!set.ok()) return set.status();
  return (*set)->Close();
}

TEST(Damage, L13_VerifyAgreesWithStartingWhateverByteIsDamaged) {
  FaultFileSystem fs;
  ASSERT_TRUE(fs.CreateDir("/data").ok());
  WithDataSet(&fs, 1, [](storage::DataSet& set) {
    SetKey(&set, "a", "1", kNoon);
    SetKey(&set, "b", "2", kNoon);
  });
  FLAGS_minloglevel = google::GLOG_ERROR;  // a line for each tail that is cut
  size_t refused = 0;
  size_t cut = 0;
  // Once as a clean end leaves it, once as a killed node does: there a torn tail is possible.
  for (const bool clean : {true, false}) {
    if (!clean) {
      auto manifest = storage::ParseManifest(fs.Bytes(kManifest));
      ASSERT_TRUE(manifest.ok());
      manifest->shards[0].durable = 101;
      fs.SetBytes(kManifest, storage::EncodeManifest(*manifest));
    }
    for (const char* path : {kManifest, kIncr0}) {
      const std::string whole = fs.Bytes(path);
      for (size_t at = 0; at < whole.size(); ++at) {
        std::string bytes = whole;
        bytes[at] ^= 0x08;
        fs.SetBytes(path, bytes);
        const Ran ran = RunWords(&fs, {"verify", "/data", "--json"});
        const absl::Status start = Start(fs, 1);
        ASSERT_EQ(ran.code, start.ok() ? kOk : kRefused) << path << " byte " << at << ": " << start << "\n" << ran.out;
        if (start.ok()) {
          ++cut;
          EXPECT_NE(ran.out.find("\"torn_tail\": {"), std::string::npos) << path << " byte " << at << ran.out;
        } else {
          ++refused;
        }
        // Neither do the others stumble.
        RunWords(&fs, {"inspect", "/data"});
        const int dumped = RunWords(&fs, {"dump", "/data"}).code;
        ASSERT_TRUE(dumped == kOk || (dumped == kRefused && ran.code == kRefused)) << path << " byte " << at;
      }
      fs.SetBytes(path, whole);
    }
  }
  EXPECT_GT(refused, 100u);
  EXPECT_GT(cut, 10u);
}

TEST(Damage, L13_VerifyRefusesARecordThatCannotBeApplied) {
  FaultFileSystem fs;
  ASSERT_TRUE(fs.CreateDir("/data").ok());
  WithDataSet(&fs, 1, [](storage::DataSet& set) { SetKey(&set, "a", "1", kNoon); });
  // Whole, with right checksums, and senseless.
  const std::string body = "*1\r\n$4\r\nJUMP\r\n";
  storage::RecordHeader header;
  header.lsn = 168;
  header.body_size = body.size();
  header.body_crc = storage::Crc32c(body);
  std::string record(storage::kRecordHeaderSize, '\0');
  storage::EncodeRecordHeader(header, record.data());
  fs.SetBytes(kIncr0, fs.Bytes(kIncr0) + record + body);
  EXPECT_FALSE(Start(fs, 1).ok());
  const Ran ran = RunWords(&fs, {"verify", "/data"});
  EXPECT_EQ(ran.code, kRefused);
  EXPECT_NE(ran.out.find("cannot be applied"), std::string::npos) << ran.out;
}

}  // namespace
}  // namespace skein::ops
