// What recovery says to damaged files: a prefix, cut and reported exactly, or a refusal; never wrong data.
#include <string>

#include "gtest/gtest.h"
#include "storage/aof_reader.h"
#include "storage/log_testing.h"
#include "storage/recovery.h"

namespace skein::storage {
namespace {

constexpr char kDir[] = "/appendonlydir";
constexpr char kIncr[] = "/appendonlydir/shard-0/incr.1.aof";

// A log of six records, the first three of them known to be on disk by a mark, and what stands in it.
class Damage : public testing::Test {
 protected:
  void SetUp() override {
    FaultFileSystem source;
    OpenedSet opened = OpenSet(TestOptions(&source, 1));
    ASSERT_TRUE(opened.status.ok()) << opened.status;
    Log& log = opened.set->log(0);
    const auto append = [&](int i) {
      const std::string value(static_cast<size_t>(3 + i), static_cast<char>('a' + i));
      AppendSet(&log, "key", value);
      want_.push_back(Body({"SET", "key", value}));
    };
    for (int i = 0; i < 3; ++i) append(i);
    Progress progress;
    ASSERT_TRUE(progress.Await([&] { return log.durable() == log.end(); }));
    durable_ = log.end();
    // One group of three, so that no later mark stands between them.
    opened.set->log(0).set_fsync(AppendFsync::kNo);
    for (int i = 3; i < 6; ++i) {
      const std::string value(static_cast<size_t>(3 + i), static_cast<char>('a' + i));
      log.AppendEffect(0, 5, {"SET", "key", value});
      log.EndRecord(1);
      want_.push_back(Body({"SET", "key", value}));
    }
    log.Kick();
    ASSERT_TRUE(progress.Await([&] { return log.written() == log.end(); }));
    fs_ = source.AfterKill();
    bytes_ = fs_->Bytes(kIncr);
    const auto manifest = ParseManifest(fs_->Bytes("/appendonlydir/manifest"));
    ASSERT_TRUE(manifest.ok()) << manifest.status();
    manifest_ = *manifest;
    const auto whole = Recover(bytes_);
    ASSERT_TRUE(whole.ok()) << whole.status();
    EXPECT_EQ(sink_.bodies, want_);
    EXPECT_EQ(whole->cut_bytes, 0u);
    EXPECT_EQ(whole->size, bytes_.size());
    end_ = whole->end;
  }

  absl::StatusOr<ShardRecovery> Recover(const std::string& bytes) {
    fs_->SetBytes(kIncr, bytes);
    sink_ = RecordingSink();
    return RecoverShard(fs_.get(), kDir, manifest_, 0, &sink_);
  }

  void ExpectPrefix(size_t where) {
    ASSERT_LE(sink_.bodies.size(), want_.size()) << where;
    EXPECT_TRUE(std::equal(sink_.bodies.begin(), sink_.bodies.end(), want_.begin())) << where;
  }

  std::unique_ptr<FaultFileSystem> fs_;
  Manifest manifest_;
  std::string bytes_;
  std::vector<std::string> want_;
  Lsn durable_ = 0;
  Lsn end_ = 0;
  RecordingSink sink_;
};

// Whoever cuts or copies a log goes by these offsets, and marks stand between the records.
TEST_F(Damage, BatchesSayWhereTheirRecordsStand) {
  fs_->SetBytes(kIncr, bytes_);
  absl::StatusOr<std::unique_ptr<File>> file = fs_->Open(kIncr, FileSystem::Mode::kRead);
  ASSERT_TRUE(file.ok());
  absl::StatusOr<std::unique_ptr<AofReader>> reader = AofReader::Open(*std::move(file), kIncr);
  ASSERT_TRUE(reader.ok());
  std::vector<AofReader::Item> items;
  size_t records = 0;
  bool marks = false;
  uint64_t end = (*reader)->offset();
  while (*(*reader)->NextBatch(4, &items) == AofReader::Found::kRecord) {
    for (const AofReader::Item& item : items) {
      const auto header = DecodeRecordHeader(std::string_view(bytes_).substr(item.offset, kRecordHeaderSize));
      ASSERT_TRUE(header.ok()) << header.status();
      EXPECT_EQ(header->lsn, item.header.lsn);
      marks = marks || item.offset > end;
      end = item.offset + (header->end() - header->lsn);
      ++records;
    }
  }
  EXPECT_GE(records, want_.size());
  EXPECT_TRUE(marks);
}

TEST_F(Damage, EveryFlippedBitGivesAPrefixOrARefusal) {
  size_t cuts = 0;
  size_t refusals = 0;
  for (size_t bit = 0; bit < bytes_.size() * 8; ++bit) {
    std::string flipped = bytes_;
    flipped[bit / 8] ^= static_cast<char>(1 << (bit % 8));
    const auto recovery = Recover(flipped);
    ExpectPrefix(bit);
    if (!recovery.ok()) {
      EXPECT_EQ(recovery.status().code(), absl::StatusCode::kDataLoss) << recovery.status();
      EXPECT_NE(recovery.status().message().find(kIncr), std::string_view::npos) << recovery.status();
      ++refusals;
      continue;
    }
    ++cuts;
    EXPECT_GT(recovery->cut_bytes, 0u) << bit;
    EXPECT_EQ(recovery->size + recovery->cut_bytes, bytes_.size()) << bit;
    EXPECT_GE(recovery->end, manifest_.shards[0].durable) << bit;
    EXPECT_LE(recovery->size, bit / 8) << "nothing behind the damage is kept";
  }
  EXPECT_GT(cuts, 0u);
  EXPECT_GT(refusals, 0u);
}

TEST_F(Damage, EveryTruncationGivesAPrefixOrARefusal) {
  for (size_t size = 0; size < bytes_.size(); ++size) {
    const auto recovery = Recover(bytes_.substr(0, size));
    ExpectPrefix(size);
    if (!recovery.ok()) {
      EXPECT_EQ(recovery.status().code(), absl::StatusCode::kDataLoss) << recovery.status();
      continue;
    }
    EXPECT_EQ(recovery->size + recovery->cut_bytes, size);
    EXPECT_GE(recovery->end, manifest_.shards[0].durable) << size;
  }
  // All of the file header, and the reign that the manifest knows, must be there.
  EXPECT_FALSE(Recover(bytes_.substr(0, 60)).ok());
}

TEST_F(Damage, BeforeAMarkItIsACorruptMiddleBehindItATornTail) {
  // The last mark says that the first three records were durable.
  const size_t mark = bytes_.rfind(MarkMagic());
  ASSERT_NE(mark, std::string::npos);
  ASSERT_EQ(DecodeMark(std::string_view(bytes_).substr(mark), bytes_[40] & 0).has_value(), false) << "another salt";
  std::string damaged = bytes_;
  damaged[mark - 1] ^= 1;  // in the third record, which is durable
  auto recovery = Recover(damaged);
  ASSERT_FALSE(recovery.ok());
  const std::string message(recovery.status().message());
  EXPECT_NE(message.find("corrupt in the middle"), std::string::npos) << message;
  EXPECT_NE(message.find("LSN " + std::to_string(durable_)), std::string::npos) << message;
  EXPECT_NE(message.find("offset "), std::string::npos) << message;

  damaged = bytes_;
  damaged[mark + kMarkSize + 50] ^= 1;  // in the fourth
  recovery = Recover(damaged);
  ASSERT_TRUE(recovery.ok()) << recovery.status();
  EXPECT_EQ(sink_.bodies.size(), 3u);
  EXPECT_EQ(recovery->end, durable_);
  EXPECT_EQ(recovery->size, mark + kMarkSize);
  EXPECT_EQ(recovery->cut_bytes, bytes_.size() - mark - kMarkSize);
  EXPECT_EQ(recovery->marked, durable_);
}

TEST_F(Damage, AMarkOfAnotherFileInTheTailIsNotBelieved) {
  char forged[kMarkSize];
  EncodeMark({.position = end_ + 100, .durable = end_ + 50, .salt = 4711}, forged);
  const auto recovery = Recover(bytes_ + "damage" + std::string(forged, sizeof(forged)));
  ASSERT_TRUE(recovery.ok()) << recovery.status();
  EXPECT_EQ(recovery->cut_bytes, 6 + sizeof(forged));
}

TEST_F(Damage, AHoleOfZerosIsATornTail) {
  const auto recovery = Recover(bytes_ + std::string(100'000, '\0'));
  ASSERT_TRUE(recovery.ok()) << recovery.status();
  EXPECT_EQ(sink_.bodies, want_);
  EXPECT_EQ(recovery->cut_bytes, 100'000u);
}

TEST_F(Damage, L13_WhatTheManifestKnowsToBeDurableMustBeThere) {
  manifest_.shards[0].durable = end_;
  EXPECT_TRUE(Recover(bytes_).ok());
  for (size_t size = 0; size < bytes_.size(); ++size) {
    EXPECT_EQ(Recover(bytes_.substr(0, size)).status().code(), absl::StatusCode::kDataLoss) << size;
  }
  for (size_t at = 0; at < bytes_.size(); ++at) {
    std::string flipped = bytes_;
    flipped[at] ^= 0x10;
    EXPECT_EQ(Recover(flipped).status().code(), absl::StatusCode::kDataLoss) << at;
  }
}

TEST_F(Damage, L10_LsnsMustFollowOneAnother) {
  // An intact record, with right checksums, that says it starts elsewhere: once one record again, once one ahead.
  for (const Lsn lsn : {Lsn{0}, durable_, end_ - 1, end_ + 1}) {
    RecordHeader header;
    header.lsn = lsn;
    const std::string body = Body({"DEL", "key"});
    header.body_size = body.size();
    header.body_crc = Crc32c(body);
    std::string record(kRecordHeaderSize, '\0');
    EncodeRecordHeader(header, record.data());
    const auto recovery = Recover(bytes_ + record + body);
    ASSERT_EQ(recovery.status().code(), absl::StatusCode::kDataLoss) << lsn;
    EXPECT_NE(recovery.status().message().find("LSN " + std::to_string(lsn)), std::string_view::npos)
        << recovery.status();
  }
}

TEST_F(Damage, ANewerKindOfRecordIsRefusedNotCut) {
  RecordHeader header;
  header.lsn = end_;
  header.kind = static_cast<RecordKind>(9);
  std::string record(kRecordHeaderSize, '\0');
  EncodeRecordHeader(header, record.data());
  const auto recovery = Recover(bytes_ + record);
  EXPECT_EQ(recovery.status().code(), absl::StatusCode::kUnimplemented) << recovery.status();
  EXPECT_NE(recovery.status().message().find("newer version"), std::string_view::npos);
}

TEST_F(Damage, ATimeRecordIsPassedOver) {
  RecordHeader header;
  header.lsn = end_;
  header.kind = RecordKind::kTime;
  std::string record(kRecordHeaderSize, '\0');
  EncodeRecordHeader(header, record.data());
  const auto recovery = Recover(bytes_ + record);
  ASSERT_TRUE(recovery.ok()) << recovery.status();
  EXPECT_EQ(recovery->end, end_ + 40);
  EXPECT_EQ(recovery->records, want_.size());
}

TEST_F(Damage, ARecordThatCannotBeAppliedIsRefused) {
  class Refusing : public RecordSink {
   public:
    absl::Status Apply(uint32_t, UnixMillis, std::string_view) override {
      return absl::DataLossError("no such effect");
    }
  } refusing;
  const auto recovery = RecoverShard(fs_.get(), kDir, manifest_, 0, &refusing);
  ASSERT_EQ(recovery.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_NE(recovery.status().message().find("no such effect"), std::string_view::npos) << recovery.status();
}

TEST_F(Damage, SeveralIncrFilesAreReadInOrderAndOnlyTheLastMayBeTorn) {
  // The same log, cut in two files after the third record.
  const size_t mark = bytes_.rfind(MarkMagic());
  FileHeader second;
  second.shard_count = 1;
  second.start_lsn = durable_;
  second.sequence = 2;
  second.salt = 5;
  second.history = manifest_.shards[0].history;
  auto file = fs_->Open("/appendonlydir/shard-0/incr.2.aof", FileSystem::Mode::kCreateNew);
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE((*file)->WriteAt(0, EncodeFileHeader(second) + bytes_.substr(mark + kMarkSize)).ok());
  manifest_.shards[0].incrs.push_back({2, durable_});
  auto recovery = Recover(bytes_.substr(0, mark));
  ASSERT_TRUE(recovery.ok()) << recovery.status();
  EXPECT_EQ(sink_.bodies, want_);
  EXPECT_EQ(recovery->end, end_);
  EXPECT_EQ(recovery->history.size(), 1u);
  EXPECT_EQ(recovery->path, "/appendonlydir/shard-0/incr.2.aof");

  recovery = Recover(bytes_.substr(0, mark - 1));
  EXPECT_EQ(recovery.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_NE(recovery.status().message().find("incr.1.aof"), std::string_view::npos) << recovery.status();

  manifest_.shards[0].incrs.back().lsn = durable_ + 1;
  EXPECT_EQ(Recover(bytes_.substr(0, mark)).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(Damage, L13_AReignThatTheManifestListsMustBeThere) {
  manifest_.shards[0].history.push_back(NewReign(0, end_));
  EXPECT_EQ(Recover(bytes_).status().code(), absl::StatusCode::kDataLoss);
  manifest_.shards[0].history = {NewReign(0, 0), manifest_.shards[0].history[0]};
  EXPECT_TRUE(Recover(bytes_).ok()) << "an older reign may have gone from the file, the newest not";
}

}  // namespace
}  // namespace skein::storage
