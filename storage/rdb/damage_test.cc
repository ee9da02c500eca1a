// Truncation at every byte and damage to every byte of real files: refused, never wrong data.
#include <string>

#include "gtest/gtest.h"
#include "storage/rdb/decoder.h"
#include "storage/rdb/encoder.h"
#include "storage/rdb/rdb_testing.h"

namespace skein::storage {
namespace {

class Damage : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    file_ = Fixture(GetParam());
    const auto info = ReadBytes(file_, &whole_);
    ASSERT_TRUE(info.ok()) << MessageOf(info.status());
    ASSERT_EQ(info->size, file_.size());
  }

  // What was delivered before the damage was seen is the beginning of what is there, unless the damage is in it.
  void ExpectPrefix(const Remembered& seen, const std::string& what) {
    ASSERT_LE(seen.items.size(), whole_.items.size()) << what;
    for (size_t i = 0; i < seen.items.size(); ++i) EXPECT_EQ(seen.items[i], whole_.items[i]) << what;
  }

  std::string file_;
  Remembered whole_;
};

TEST_P(Damage, TruncationAtEveryByteIsRefused) {
  for (size_t size = 0; size < file_.size(); ++size) {
    Remembered seen;
    const auto info = ReadBytes(std::string_view(file_).substr(0, size), &seen);
    EXPECT_TRUE(absl::IsDataLoss(info.status())) << size << ' ' << MessageOf(info.status());
    ExpectPrefix(seen, "cut at " + std::to_string(size));
  }
}

TEST_P(Damage, EveryFlipIsRefusedWithTheChecksum) {
  for (size_t at = 0; at < file_.size(); ++at) {
    for (const int flip : {0x01, 0x80, 0xff, 0x40, 0x3f}) {
      std::string damaged = file_;
      damaged[at] = static_cast<char>(damaged[at] ^ flip);
      Remembered seen;
      const auto info = ReadBytes(damaged, &seen);
      EXPECT_FALSE(info.ok()) << "byte " << at << " flipped by " << flip;
    }
  }
}

// Without it the format cannot see a flipped bit of a value; what is delivered is whole all the same.
TEST_P(Damage, EveryFlipIsDefinedWithoutTheChecksum) {
  for (size_t at = 0; at < file_.size(); ++at) {
    for (int flip = 1; flip < 256; flip <<= 1) {
      std::string damaged = file_;
      damaged[at] = static_cast<char>(damaged[at] ^ flip);
      Remembered seen;
      const auto info = ReadBytes(damaged, &seen, {.verify_checksum = false});
      if (info.ok()) {
        EXPECT_LE(info->size, damaged.size());
        EXPECT_EQ(info->keys, seen.items.size());
      } else {
        EXPECT_TRUE(absl::IsDataLoss(info.status()) || absl::IsUnimplemented(info.status()))
            << MessageOf(info.status());
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Files, Damage,
                         testing::Values("strings-7.0.rdb", "lru-7.0.rdb", "lfu-7.0.rdb", "version-6.rdb",
                                         "version-7.rdb", "version-9.rdb", "version-12.rdb", "version-80.rdb"));

TEST(Checksum, OfZeroIsNotChecked) {
  std::string file = Fixture("unchecked-7.0.rdb");
  const size_t at = file.find("repeated");
  ASSERT_NE(at, std::string::npos);
  file[at] = 'R';
  Remembered seen;
  EXPECT_TRUE(ReadBytes(file, &seen).ok());
  EXPECT_NE(seen.Find("Repeated"), nullptr);
}

TEST(Checksum, ThatIsWrongIsNamed) {
  std::string file = Fixture("strings-7.0.rdb");
  file.back() = static_cast<char>(file.back() ^ 1);
  Remembered seen;
  const auto info = ReadBytes(file, &seen);
  EXPECT_TRUE(absl::IsDataLoss(info.status()));
  EXPECT_NE(MessageOf(info.status()).find("the checksum is "), std::string::npos) << MessageOf(info.status());
  EXPECT_TRUE(ReadBytes(file, &seen, {.verify_checksum = false}).ok());
}

TEST(PayloadDamage, EveryFlipAndEveryCutIsRefused) {
  RdbItem item;
  const std::string value = std::string(100, 'a') + "some text";
  item.string = value;
  const std::string payload = EncodeDumpPayload(item);
  std::string storage;
  ASSERT_EQ(DecodeDumpPayload(payload, &storage)->string, value);
  for (size_t at = 0; at < payload.size(); ++at) {
    EXPECT_TRUE(absl::IsInvalidArgument(DecodeDumpPayload(payload.substr(0, at), &storage).status())) << at;
    for (int flip = 1; flip < 256; ++flip) {
      std::string damaged = payload;
      damaged[at] = static_cast<char>(damaged[at] ^ flip);
      EXPECT_EQ(MessageOf(DecodeDumpPayload(damaged, &storage).status()), "DUMP payload version or checksum are wrong");
    }
  }
}

}  // namespace
}  // namespace skein::storage
