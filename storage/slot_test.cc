#include "storage/slot.h"

#include <string>

#include "gtest/gtest.h"

namespace skein::storage {
namespace {

// The reference: one bit at a time.
uint16_t SlowCrc16(std::string_view bytes) {
  uint32_t crc = 0;
  for (unsigned char c : bytes) {
    crc ^= static_cast<uint32_t>(c) << 8;
    for (int i = 0; i < 8; ++i) crc = (crc & 0x8000) != 0 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
  }
  return static_cast<uint16_t>(crc);
}

TEST(Slot, MatchesTheSpecification) {
  EXPECT_EQ(Crc16("123456789"), 0x31C3);
  EXPECT_EQ(KeySlot("foo"), 12182);
  EXPECT_EQ(KeySlot("bar"), 5061);
  EXPECT_EQ(KeySlot(""), 0);
}

TEST(Slot, EveryLengthMatchesTheReference) {
  std::string bytes;
  for (int i = 0; i < 300; ++i) {
    EXPECT_EQ(Crc16(bytes), SlowCrc16(bytes)) << i;
    bytes.push_back(static_cast<char>(i * 37 + 11));
  }
}

TEST(Slot, HashTags) {
  EXPECT_EQ(HashTag("{user1000}.following"), "user1000");
  EXPECT_EQ(HashTag("foo{}{bar}"), "foo{}{bar}");
  EXPECT_EQ(HashTag("foo{{bar}}zap"), "{bar");
  EXPECT_EQ(HashTag("foo{bar}{zap}"), "bar");
  EXPECT_EQ(HashTag("foo{bar"), "foo{bar");
  EXPECT_EQ(HashTag("}foo{bar}"), "bar");
}

}  // namespace
}  // namespace skein::storage
