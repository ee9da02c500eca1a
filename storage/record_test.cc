#include "storage/record.h"

#include <string>

#include "gtest/gtest.h"

namespace skein::storage {
namespace {

RecordHeader SomeHeader() {
  RecordHeader header;
  header.db = 3;
  header.slot = 12182;
  header.lsn = 0x123456789;
  header.time = 1700000000123;
  header.body_size = 57;
  header.body_crc = 0xdeadbeef;
  return header;
}

FileHeader SomeFileHeader() {
  FileHeader header;
  header.shard = 1;
  header.shard_count = 4;
  header.start_lsn = 4096;
  header.sequence = 7;
  header.salt = 0x1122334455667788;
  header.created = 1700000000123;
  header.history = {NewReign(1, 0), NewReign(2, 100)};
  return header;
}

TEST(Record, Crc32cIsTheCastagnoliOne) {
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(Crc32c(""), 0u);
  EXPECT_EQ(Crc32c("6789", Crc32c("12345")), Crc32c("123456789"));
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aau);  // RFC 3720, B.4
}

TEST(Record, HeaderRoundTrip) {
  const RecordHeader header = SomeHeader();
  char bytes[kRecordHeaderSize];
  EncodeRecordHeader(header, bytes);
  const auto decoded = DecodeRecordHeader({bytes, sizeof(bytes)});
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->kind, RecordKind::kData);
  EXPECT_EQ(decoded->db, header.db);
  EXPECT_EQ(decoded->slot, header.slot);
  EXPECT_EQ(decoded->lsn, header.lsn);
  EXPECT_EQ(decoded->time, header.time);
  EXPECT_EQ(decoded->body_size, header.body_size);
  EXPECT_EQ(decoded->body_crc, header.body_crc);
  EXPECT_EQ(decoded->end(), header.lsn + 40 + 57);
}

TEST(Record, HeaderBytesAreThoseOfTheFormatPage) {
  RecordHeader header = SomeHeader();
  header.body_crc = 0x01020304;
  char bytes[kRecordHeaderSize];
  EncodeRecordHeader(header, bytes);
  const std::string want(
      "\x01\x00\x03\x00\x96\x2f\x00\x00\x89\x67\x45\x23\x01\x00\x00\x00\x7b\x68\xe5\xcf\x8b\x01\x00\x00"
      "\x39\x00\x00\x00\x00\x00\x00\x00\x04\x03\x02\x01",
      36);
  EXPECT_EQ(std::string(bytes, 36), want);
}

TEST(Record, EveryFlippedBitOfAHeaderIsSeen) {
  char bytes[kRecordHeaderSize];
  EncodeRecordHeader(SomeHeader(), bytes);
  for (size_t bit = 0; bit < sizeof(bytes) * 8; ++bit) {
    bytes[bit / 8] ^= static_cast<char>(1 << (bit % 8));
    EXPECT_EQ(DecodeRecordHeader({bytes, sizeof(bytes)}).status().code(), absl::StatusCode::kDataLoss) << bit;
    bytes[bit / 8] ^= static_cast<char>(1 << (bit % 8));
  }
}

TEST(Record, UnknownKindsAndFlagsAreRefusedAsNewer) {
  char bytes[kRecordHeaderSize];
  for (const int kind : {0, 4, 77, 255}) {
    EncodeRecordHeader(SomeHeader(), bytes);
    bytes[0] = static_cast<char>(kind);
    SumRecordHeader(bytes, 1);
    EXPECT_EQ(DecodeRecordHeader({bytes, sizeof(bytes)}).status().code(), absl::StatusCode::kUnimplemented) << kind;
  }
  EncodeRecordHeader(SomeHeader(), bytes);
  bytes[1] = 1;
  SumRecordHeader(bytes, 1);
  EXPECT_EQ(DecodeRecordHeader({bytes, sizeof(bytes)}).status().code(), absl::StatusCode::kUnimplemented);
}

TEST(Record, AHoleOfZerosIsNoRecord) {
  const std::string zeros(kRecordHeaderSize, '\0');
  EXPECT_FALSE(DecodeRecordHeader(zeros).ok());
  EXPECT_FALSE(DecodeMark(zeros, 0).has_value());
}

TEST(Record, MarkRoundTripAndEveryFlippedBit) {
  char bytes[kMarkSize];
  EncodeMark({.position = 500, .durable = 400, .salt = 99}, bytes);
  const auto mark = DecodeMark({bytes, sizeof(bytes)}, 99);
  ASSERT_TRUE(mark.has_value());
  EXPECT_EQ(mark->position, 500u);
  EXPECT_EQ(mark->durable, 400u);
  EXPECT_FALSE(DecodeMark({bytes, sizeof(bytes)}, 98).has_value()) << "of another file";
  EXPECT_FALSE(DecodeRecordHeader({bytes, sizeof(bytes)}).ok()) << "a mark is no record";
  for (size_t bit = 0; bit < sizeof(bytes) * 8; ++bit) {
    bytes[bit / 8] ^= static_cast<char>(1 << (bit % 8));
    EXPECT_FALSE(DecodeMark({bytes, sizeof(bytes)}, 99).has_value()) << bit;
    bytes[bit / 8] ^= static_cast<char>(1 << (bit % 8));
  }
}

TEST(Record, ReignRoundTrip) {
  const Reign reign = NewReign(12, 777);
  EXPECT_NE(reign.id, NewReign(12, 777).id);
  EXPECT_EQ(ParseReignId(reign.IdHex()), reign.id);
  const std::string bytes = EncodeReignRecord(reign, 5);
  const auto header = DecodeRecordHeader(bytes);
  ASSERT_TRUE(header.ok());
  EXPECT_EQ(header->kind, RecordKind::kReign);
  EXPECT_EQ(header->end(), 777 + bytes.size());
  const std::string_view body = std::string_view(bytes).substr(kRecordHeaderSize);
  EXPECT_EQ(header->body_crc, Crc32c(body));
  const auto decoded = DecodeReignRecord(*header, body);
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(*decoded, reign);
  EXPECT_FALSE(DecodeReignRecord(*header, body.substr(0, body.size() - 1)).ok());
  EXPECT_FALSE(DecodeReignRecord(*header, "*1\r\n$5\r\nREIGN\r\n").ok());
}

TEST(Record, FileHeaderRoundTripEveryFlippedBitAndEveryCut) {
  const FileHeader header = SomeFileHeader();
  std::string bytes = EncodeFileHeader(header);
  size_t size = 0;
  const auto decoded = DecodeFileHeader(bytes + "what follows", &size);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(size, bytes.size());
  EXPECT_EQ(*decoded, header);
  for (size_t cut = 0; cut < bytes.size(); ++cut) {
    EXPECT_EQ(DecodeFileHeader(bytes.substr(0, cut), &size).status().code(), absl::StatusCode::kDataLoss) << cut;
  }
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= static_cast<char>(1 << (bit % 8));
    EXPECT_EQ(DecodeFileHeader(bytes, &size).status().code(), absl::StatusCode::kDataLoss) << bit;
    bytes[bit / 8] ^= static_cast<char>(1 << (bit % 8));
  }
}

TEST(Record, ANewerFileVersionIsNamed) {
  std::string bytes = EncodeFileHeader(SomeFileHeader());
  bytes[8] = 2;
  const uint32_t crc = Crc32c(std::string_view(bytes).substr(0, bytes.size() - 4));
  std::memcpy(bytes.data() + bytes.size() - 4, &crc, 4);
  size_t size = 0;
  EXPECT_EQ(DecodeFileHeader(bytes, &size).status().code(), absl::StatusCode::kUnimplemented);
}

TEST(Record, RespTakesBackWhatItAppended) {
  std::string body;
  AppendResp({"SET", "key", std::string_view("a\r\nb", 4)}, &body);
  const size_t first = body.size();
  AppendResp({"DEL", ""}, &body);
  std::string_view rest = body;
  std::vector<std::string_view> argv;
  ASSERT_TRUE(TakeResp(&rest, &argv));
  EXPECT_EQ(argv, (std::vector<std::string_view>{"SET", "key", "a\r\nb"}));
  ASSERT_TRUE(TakeResp(&rest, &argv));
  EXPECT_EQ(argv, (std::vector<std::string_view>{"DEL", ""}));
  EXPECT_TRUE(rest.empty());
  for (size_t cut = 1; cut < body.size(); ++cut) {
    rest = std::string_view(body).substr(0, cut);
    while (TakeResp(&rest, &argv)) {
    }
    EXPECT_EQ(rest.empty(), cut == first) << cut;
  }
  for (const std::string_view bad :
       {"*0\r\n", "*-1\r\n", "*01\r\n$1\r\na\r\n", "*1\r\n$2\r\na\r\n", "*1\r\n$1\r\nab\r",
        "*1\r\n$99999999999999999999\r\na\r\n", "*1\r\n$18446744073709551615\r\na\r\n", "$1\r\na\r\n"}) {
    rest = bad;
    EXPECT_FALSE(TakeResp(&rest, &argv)) << bad;
    EXPECT_EQ(rest, bad);
  }
}

}  // namespace
}  // namespace skein::storage
