// Payloads of DUMP and RESTORE. That redis-server takes ours, and we its, is shown by tests/e2e.
#include <string>
#include <string_view>

#include "gtest/gtest.h"
#include "storage/rdb/crc64.h"
#include "storage/rdb/decoder.h"
#include "storage/rdb/encoder.h"
#include "storage/rdb/rdb_testing.h"

namespace skein::storage {
namespace {

std::string Payload(std::string_view value, uint16_t version) {
  std::string payload(value);
  payload.append(reinterpret_cast<const char*>(&version), sizeof(version));
  const uint64_t crc = RdbCrc64(0, payload);
  return payload.append(reinterpret_cast<const char*>(&crc), sizeof(crc));
}

std::string Encoded(std::string_view value) {
  RdbItem item;
  item.string = value;
  return EncodeDumpPayload(item);
}

TEST(DumpPayload, IsTheOneOfRedisServer) {
  EXPECT_EQ(Encoded("5"), std::string_view("\0\xc0\x05\n\0c/_f\x83/\xb3Q", 13));
  EXPECT_EQ(Encoded("hello world, this is text"),
            std::string_view("\0\x19hello world, this is text\n\0c\xeb\xdd$\xa5S\"~", 37));
}

TEST(DumpPayload, ComesBackAsItWas) {
  std::string binary(1000, '\0');
  for (size_t i = 0; i < binary.size(); ++i) binary[i] = static_cast<char>(i * 7);
  for (const std::string& value : {std::string(), std::string("0"), std::string("-129"), std::string("12345678901234"),
                                   std::string("text"), binary, std::string(1 << 20, 'x')}) {
    std::string storage;
    const std::string payload = Encoded(value);  // what the item may be a view of
    const auto item = DecodeDumpPayload(payload, &storage);
    ASSERT_TRUE(item.ok()) << MessageOf(item.status());
    EXPECT_EQ(item->type, ValueType::kString);
    EXPECT_TRUE(std::string(item->string) == value) << value.size();
  }
}

// A view of the payload, where nothing had to be decompressed.
TEST(DumpPayload, IsNotCopiedWithoutNeed) {
  const std::string payload = Encoded("some text");
  std::string storage;
  const auto item = DecodeDumpPayload(payload, &storage);
  ASSERT_TRUE(item.ok());
  EXPECT_EQ(item->string.data(), payload.data() + 2);
}

TEST(DumpPayload, IsTakenUpToVersion12AndOf80) {
  for (uint16_t version = 0; version < 300; ++version) {
    std::string storage;
    const auto item = DecodeDumpPayload(Payload(std::string_view("\0\1v", 3), version), &storage);
    if (version <= 12 || version == 80) {
      EXPECT_TRUE(item.ok()) << version;
    } else {
      EXPECT_EQ(MessageOf(item.status()), "DUMP payload version or checksum are wrong") << version;
    }
  }
}

TEST(DumpPayload, NamesTypesThatCannotBeHeld) {
  const auto message = [](std::string_view value, uint16_t version) {
    std::string storage;
    const auto item = DecodeDumpPayload(Payload(value, version), &storage);
    EXPECT_TRUE(absl::IsUnimplemented(item.status()));
    return MessageOf(item.status());
  };
  EXPECT_EQ(message("\x12\1", 10), "the value is a list (quicklist), which this version cannot hold");
  EXPECT_EQ(message("\x16", 12),
            "the value is a hash (fields that expire, preview of 7.4), which this version cannot hold");
  EXPECT_EQ(message("\x16", 80), "the value is a hash (fields that expire), which this version cannot hold");
}

TEST(DumpPayload, OfBadDataIsRefused) {
  for (const std::string_view value :
       {std::string_view(), std::string_view("\0", 1), std::string_view("\0\5abcd", 6), std::string_view("\xff"),
        std::string_view("\x1a\1"), std::string_view("\0\xc3\1\1a", 5),
        std::string_view("\0\x80\x7f\xff\xff\xff", 6)}) {
    std::string storage;
    const auto item = DecodeDumpPayload(Payload(value, 10), &storage);
    EXPECT_TRUE(absl::IsInvalidArgument(item.status()));
    EXPECT_EQ(MessageOf(item.status()), "Bad data format");
  }
}

}  // namespace
}  // namespace skein::storage
