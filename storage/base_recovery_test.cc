// Recovery from a base and the records behind it, and what is refused about bases.
#include <chrono>
#include <map>
#include <string>

#include "gtest/gtest.h"
#include "storage/base_head.h"
#include "storage/log_testing.h"
#include "storage/rdb/encoder.h"
#include "storage/recovery.h"

namespace skein::storage {
namespace {

constexpr char kDir[] = "/appendonlydir";
constexpr char kManifest[] = "/appendonlydir/manifest";

// What a shard would hold: keys of the base, then what the records say.
class MapSink : public RecordSink {
 public:
  absl::Status Load(const RdbItem& item) override {
    data[std::string(item.key)] = item.string;
    ++loaded;
    return absl::OkStatus();
  }
  absl::Status Apply(uint32_t, UnixMillis, std::string_view body) override {
    ++applied;
    std::vector<std::string_view> argv;
    while (TakeResp(&body, &argv)) {
      if (argv.size() != 3 || argv[0] != "SET") return absl::DataLossError("not a SET");
      data[std::string(argv[1])] = argv[2];
    }
    return absl::OkStatus();
  }
  std::map<std::string, std::string> data;
  int loaded = 0;
  int applied = 0;
};

std::string BaseBytes(const BaseHead& head, const std::map<std::string, std::string>& data) {
  std::string bytes;
  RdbEncoder encoder({}, &bytes);
  encoder.Begin();
  WriteBaseHead(head, &encoder);
  for (const auto& [key, value] : data) {
    RdbItem item;
    item.key = key;
    item.string = value;
    encoder.Add(item);
  }
  encoder.End();
  return bytes;
}

// A data set of one shard: five records, a base behind the third, another incr behind the fourth. Closed cleanly.
class Base : public testing::Test {
 protected:
  void SetUp() override {
    OpenedSet opened = OpenSet(TestOptions(&fs_, 1));
    ASSERT_TRUE(opened.status.ok()) << opened.status;
    LogSet& set = *opened.set;
    Log& log = set.log(0);
    Put(&log, "a", "1");
    Put(&log, "b", "2");
    const absl::StatusOr<Lsn> rotated = set.Rotate(0);
    ASSERT_TRUE(rotated.ok()) << rotated.status();
    Put(&log, "a", "3");  // behind the new incr's start, before the base
    head_.lsn = log.end();
    head_.time = 7;
    head_.history = set.HistoryUpTo(0, head_.lsn);
    in_base_ = data_;
    Put(&log, "c", "4");
    ASSERT_TRUE(set.WaitDurable(0, head_.lsn).ok());
    const LogSet::NewBase base = set.NextBase(0);
    path_ = base.path;
    bytes_ = BaseBytes(head_, in_base_);
    auto file = fs_.Open(base.path, FileSystem::Mode::kCreateNew);
    ASSERT_TRUE(file.ok() && (*file)->WriteAt(0, bytes_).ok() && (*file)->Sync().ok());
    const absl::Status installed = set.InstallBase(0, base, head_.lsn, *rotated);
    ASSERT_TRUE(installed.ok()) << installed;
    Put(&log, "b", "5");
    ASSERT_TRUE(set.WaitDurable(0, log.end()).ok());  // so that it is in the older file
    ASSERT_TRUE(set.Rotate(0).ok());
    Put(&log, "d", "6");
    ASSERT_TRUE(set.Close().ok());
    manifest_ = *ParseManifest(fs_.Bytes(kManifest));
    ASSERT_EQ(manifest_.shards[0].incrs.size(), 2u);
  }
  void Put(Log* log, const std::string& key, const std::string& value) {
    AppendSet(log, key, value);
    data_[key] = value;
  }
  absl::StatusOr<ShardRecovery> Recover() {
    sink_ = MapSink();
    return RecoverShard(&fs_, kDir, manifest_, 0, &sink_);
  }
  // Refused with these words, by the reader and, where a whole start comes as far, by that.
  void ExpectRefused(const std::vector<std::string>& parts) {
    const absl::Status status = Recover().status();
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    for (const std::string& part : parts) EXPECT_NE(status.message().find(part), std::string_view::npos) << status;
    EXPECT_NE(status.message().find("; see ops/runbooks/"), std::string_view::npos) << status;
  }
  std::string Incr(size_t i) { return JoinPath(kDir, IncrName(0, manifest_.shards[0].incrs[i].sequence)); }

  FaultFileSystem fs_;
  std::map<std::string, std::string> data_;
  std::map<std::string, std::string> in_base_;
  BaseHead head_;
  std::string path_;
  std::string bytes_;
  Manifest manifest_;
  MapSink sink_;
};

TEST_F(Base, IsLoadedAndTheRecordsBehindItAreApplied) {
  const auto found = Recover();
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(sink_.data, data_);
  EXPECT_EQ(sink_.loaded, 2);
  EXPECT_EQ(sink_.applied, 3) << "the record before the base's LSN is in the base";
  EXPECT_EQ(found->keys, 2u);
  EXPECT_EQ(found->base_bytes, bytes_.size());
  EXPECT_EQ(found->base_lsn, head_.lsn);
  EXPECT_EQ(found->base_time, 7);
  EXPECT_EQ(found->records, 3u);
  EXPECT_EQ(found->history, manifest_.shards[0].history);
}

TEST_F(Base, ManyOpeningsLater) {
  for (int i = 0; i < 3; ++i) {
    OpenedSet opened = OpenSet(TestOptions(&fs_, 1));
    ASSERT_TRUE(opened.status.ok()) << opened.status;
    Put(&opened.set->log(0), "e", std::to_string(i));
  }
  manifest_ = *ParseManifest(fs_.Bytes(kManifest));
  const auto found = Recover();
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(sink_.data, data_);
  EXPECT_EQ(found->history.size(), 4u);
}

TEST_F(Base, L13_Missing) {
  ASSERT_TRUE(fs_.RemoveFile(path_).ok());
  ExpectRefused({path_ + ": is missing, but the manifest lists it", "missing-file.md"});
}

TEST_F(Base, L13_OfAnotherShardOrPlace) {
  BaseHead head = head_;
  head.shard = 1;
  head.shard_count = 2;
  fs_.SetBytes(path_, BaseBytes(head, in_base_));
  ExpectRefused({path_ + ": is the base of shard 1 of 2 at LSN", "expected shard 0 of 1 at LSN"});
  head = head_;
  head.lsn += 1;
  fs_.SetBytes(path_, BaseBytes(head, in_base_));
  ExpectRefused({path_, "at LSN " + std::to_string(head_.lsn + 1) + "; expected"});
}

TEST_F(Base, L13_OfAnotherLog) {
  BaseHead head = head_;
  head.history = {NewReign(0, 0)};
  fs_.SetBytes(path_, BaseBytes(head, in_base_));
  ExpectRefused({path_ + ": is the base of another log", Incr(1)});
  head.history.clear();
  fs_.SetBytes(path_, BaseBytes(head, in_base_));
  ExpectRefused({path_ + ": is the base of another log"});
}

TEST_F(Base, L13_APlainRdbFileIsNone) {
  std::string bytes;
  RdbEncoder encoder({}, &bytes);
  encoder.Begin();
  encoder.End();
  fs_.SetBytes(path_, bytes);
  ExpectRefused({path_ + ": is an RDB file, but not a base"});
}

TEST_F(Base, L13_AKeyOfAnotherDatabase) {
  std::string bytes;
  RdbEncoder encoder({}, &bytes);
  encoder.Begin();
  WriteBaseHead(head_, &encoder);
  RdbItem item;
  item.db = 16;
  item.key = "k";
  encoder.Add(item);
  encoder.End();
  fs_.SetBytes(path_, bytes);
  ExpectRefused({path_, "a key of database 16, which does not exist"});
}

TEST_F(Base, L13_BytesBehindItsEnd) {
  fs_.SetBytes(path_, bytes_ + "x");
  ExpectRefused({path_, "1 bytes follow the end of the base"});
}

TEST_F(Base, L13_DamageAtEveryByteIsSeen) {
  for (size_t at = 0; at < bytes_.size(); ++at) {
    std::string bytes = bytes_;
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << (at % 8)));
    fs_.SetBytes(path_, bytes);
    const absl::Status flipped = Recover().status();
    EXPECT_FALSE(flipped.ok()) << at;
    EXPECT_NE(flipped.message().find(path_), std::string_view::npos) << flipped;
    fs_.SetBytes(path_, bytes_.substr(0, at));
    const absl::Status cut = Recover().status();
    EXPECT_TRUE(absl::IsDataLoss(cut)) << at << ": " << cut;
    EXPECT_NE(cut.message().find(path_), std::string_view::npos) << cut;
  }
}

TEST_F(Base, L13_AnIncrThatStartsBehindIt) {
  manifest_.shards[0].incrs.erase(manifest_.shards[0].incrs.begin());
  ExpectRefused({"but the manifest lists a base at LSN " + std::to_string(head_.lsn), "missing-file.md"});
  manifest_.shards[0].base.reset();
  ExpectRefused({"but the manifest lists no base"});
}

TEST_F(Base, L13_ALogThatEndsBeforeIt) {
  manifest_.shards[0].incrs.pop_back();
  manifest_.shards[0].durable = 0;
  manifest_.shards[0].history.clear();
  // Cut within the record before the base.
  std::string bytes = fs_.Bytes(Incr(0));
  size_t whole = 0;
  DecodeFileHeader(bytes, &whole).status().IgnoreError();
  fs_.SetBytes(Incr(0), bytes.substr(0, whole));
  ExpectRefused({Incr(0), "but everything before LSN " + std::to_string(head_.lsn) + " was on disk"});
}

TEST_F(Base, L10_ARecordThatGoesOnPastIt) {
  BaseHead head = head_;
  head.lsn -= 5;
  fs_.SetBytes(path_, BaseBytes(head, in_base_));
  manifest_.shards[0].base->lsn = head.lsn;
  ExpectRefused({Incr(0), "a record goes on past LSN " + std::to_string(head.lsn)});
}

// Never wrong data, never silence: whatever byte of the newest incr is cut or flipped, what is recovered is what the
// data was after one of the records, and a damage that is not a torn tail is refused.
TEST_F(Base, L05_TruncationAndFlipsAtEveryByteOfTheLogBehindIt) {
  manifest_.shards[0].durable = 0;
  manifest_.shards[0].history.clear();
  std::map<std::string, std::string> before = data_;
  before.erase("d");
  const std::string bytes = fs_.Bytes(Incr(1));
  int cut = 0;
  for (size_t at = 0; at < bytes.size(); ++at) {
    fs_.SetBytes(Incr(1), bytes.substr(0, at));
    const auto truncated = Recover();
    if (truncated.ok()) {
      EXPECT_TRUE(sink_.data == before || sink_.data == data_) << at;
      EXPECT_EQ(truncated->size + truncated->cut_bytes, at);
      cut += truncated->cut_bytes > 0 ? 1 : 0;
    } else {
      EXPECT_NE(truncated.status().message().find(Incr(1)), std::string_view::npos) << truncated.status();
    }
    std::string flipped = bytes;
    flipped[at] = static_cast<char>(flipped[at] ^ (1 << (at % 8)));
    fs_.SetBytes(Incr(1), flipped);
    const auto found = Recover();
    if (found.ok()) {
      EXPECT_TRUE(sink_.data == before || sink_.data == data_) << at;
      // In silence only where the log ends with it: nothing was lost, or what was is reported.
      EXPECT_TRUE(found->cut_bytes > 0 || sink_.data == data_) << at;
    }
    // The older incr is never the one that may be torn.
    const std::string first = fs_.Bytes(Incr(0));
    fs_.SetBytes(Incr(1), bytes);
    if (at < first.size()) {
      fs_.SetBytes(Incr(0), first.substr(0, at));
      EXPECT_FALSE(Recover().ok()) << at;
      fs_.SetBytes(Incr(0), first);
    }
  }
  EXPECT_GT(cut, 20);
}

// A base does not say when its keys were last used.
TEST(ShardSink, LoadedKeysHaveJustBeenUsed) {
  Shard shard({0, 1, 1}, nullptr);
  ShardSink sink(&shard);
  RdbItem item;
  item.key = "key";
  item.string = "value";
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const uint32_t before = LruClock(std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
  ASSERT_TRUE(sink.Load(item).ok());
  sink.LoadEnd();
  const Entry* entry = shard.Find(0, Key("key"), Shard::Touch::kNo);
  ASSERT_NE(entry, nullptr);
  EXPECT_LE((entry->access() - before) & kAccessMask, 60u);
}

TEST(BaseHeadReader, ReadsWhatIsWritten) {
  const BaseHead head{
      .shard = 3, .shard_count = 4, .lsn = 99, .time = 12, .history = {NewReign(2, 0), NewReign(3, 50)}};
  BaseHeadReader reader;
  const auto field = [&](const std::string& name, const std::string& value) { return reader.OnAux(name, value); };
  EXPECT_TRUE(field("redis-ver", "7").ok());
  EXPECT_EQ(*reader.Finish(), std::nullopt);
  EXPECT_TRUE(field("skein-shard", "3").ok());
  EXPECT_FALSE(reader.Finish().ok()) << "some of the fields are missing";
  EXPECT_TRUE(field("skein-shards", "4").ok());
  EXPECT_TRUE(field("skein-lsn", "99").ok());
  EXPECT_TRUE(field("skein-time", "12").ok());
  for (const Reign& reign : head.history) {
    EXPECT_TRUE(
        field("skein-reign", reign.IdHex() + " " + std::to_string(reign.epoch) + " " + std::to_string(reign.first_lsn))
            .ok());
  }
  EXPECT_EQ(**reader.Finish(), head);
  EXPECT_FALSE(field("skein-lsn", "99").ok()) << "stands twice";
  EXPECT_FALSE(field("skein-reign", "xyz 1 2").ok());
  EXPECT_FALSE(field("skein-reign", NewReign(0, 0).IdHex() + " 0 1").ok()) << "out of order";
  BaseHeadReader other;
  EXPECT_FALSE(other.OnAux("skein-shard", "01").ok());
  EXPECT_FALSE(other.OnAux("skein-lsn", "-1").ok());
}

}  // namespace
}  // namespace skein::storage
