#include "storage/rdb/encoder.h"

#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "storage/rdb/crc64.h"
#include "storage/rdb/decoder.h"
#include "storage/rdb/rdb_testing.h"

namespace skein::storage {
namespace {

RdbItem ItemOf(std::string_view key, std::string_view value, UnixMillis expire_at = kNoExpiry, uint32_t db = 0) {
  RdbItem item;
  item.db = db;
  item.key = key;
  item.string = value;
  item.expire_at = expire_at;
  return item;
}

// What Add writes for a key of database 0 of which nothing needs to be said but its value.
std::string ValueBytes(std::string_view value, bool compress = false) {
  std::string out;
  RdbEncoder encoder({.compress = compress, .checksum = false}, &out);
  encoder.Add(ItemOf("k", value));
  const std::string head("\xfe\0\0\1k", 5);
  EXPECT_EQ(out.substr(0, head.size()), head);
  return out.substr(head.size());
}

TEST(Crc64, IsTheOneOfRedis) {
  EXPECT_EQ(RdbCrc64(0, "123456789"), 0xe9c6d914c4b8d9ca);
  EXPECT_EQ(RdbCrc64(RdbCrc64(0, "1234"), "56789"), 0xe9c6d914c4b8d9ca);
  EXPECT_EQ(RdbCrc64(0, ""), 0u);
}

TEST(RdbEncoder, WritesAnEmptyFile) {
  std::string out;
  RdbEncoder encoder({}, &out);
  encoder.Begin();
  encoder.End();
  EXPECT_EQ(out.substr(0, 10), "REDIS0010\xff");
  EXPECT_EQ(out.size(), 18u);
  Remembered seen;
  const auto info = ReadBytes(out, &seen);
  ASSERT_TRUE(info.ok()) << MessageOf(info.status());
  EXPECT_EQ(info->version, 10);
  EXPECT_EQ(info->size, out.size());
}

TEST(RdbEncoder, WritesNumbersAsNumbers) {
  EXPECT_EQ(ValueBytes("0"), std::string("\xc0\0", 2));
  EXPECT_EQ(ValueBytes("-128"), "\xc0\x80");
  EXPECT_EQ(ValueBytes("127"), "\xc0\x7f");
  EXPECT_EQ(ValueBytes("128"), std::string("\xc1\x80\0", 3));
  EXPECT_EQ(ValueBytes("-32768"), std::string("\xc1\0\x80", 3));
  EXPECT_EQ(ValueBytes("32768"), std::string("\xc2\0\x80\0\0", 5));
  EXPECT_EQ(ValueBytes("2147483647"), "\xc2\xff\xff\xff\x7f");
  EXPECT_EQ(ValueBytes("-2147483648"), std::string("\xc2\0\0\0\x80", 5));
  EXPECT_EQ(ValueBytes("2147483648"),
            "\x0a"
            "2147483648");
  EXPECT_EQ(ValueBytes("-2147483649"), "\x0b-2147483649");
  for (const std::string_view text : {"", "-0", "01", "+1", " 1", "1 ", "-", "1.0", "1e3"}) {
    EXPECT_EQ(ValueBytes(text), static_cast<char>(text.size()) + std::string(text));
  }
}

TEST(RdbEncoder, WritesLengthsInTheShortestForm) {
  EXPECT_EQ(ValueBytes(std::string(63, 'a')).substr(0, 2),
            "\x3f"
            "a");
  EXPECT_EQ(ValueBytes(std::string(64, 'a')).substr(0, 3),
            "\x40\x40"
            "a");
  EXPECT_EQ(ValueBytes(std::string(16383, 'a')).substr(0, 3),
            "\x7f\xff"
            "a");
  EXPECT_EQ(ValueBytes(std::string(16384, 'a')).substr(0, 6), std::string("\x80\0\0\x40\0"
                                                                          "a",
                                                                          6));
}

TEST(RdbEncoder, CompressesWhatIsWorthIt) {
  EXPECT_EQ(ValueBytes(std::string(20, 'a'), true), '\x14' + std::string(20, 'a'));
  const std::string compressed = ValueBytes(std::string(1000, 'a'), true);
  EXPECT_EQ(compressed.substr(0, 1), "\xc3");
  EXPECT_LT(compressed.size(), 30u);
  std::mt19937_64 random(1);
  std::string noise(100, '\0');
  for (char& c : noise) c = static_cast<char>(random());
  EXPECT_EQ(ValueBytes(noise, true), "\x40\x64" + noise);
}

// The caller may take what has been written at any time.
// Where nothing can be saved it is tried seldom, and found again soon when it can.
TEST(RdbEncoder, TriesSeldomWhereNothingIsSaved) {
  std::mt19937_64 random(1);
  std::string out;
  RdbEncoder encoder({.compress = true, .checksum = false}, &out);
  std::string noise(100, '\0');
  for (uint32_t i = 0; i < 10 * CompressionLuck::kPatience; ++i) {
    for (char& c : noise) c = static_cast<char>(random());
    encoder.Add(ItemOf("k", noise));
  }
  const std::string text(100, 'a');
  uint32_t plain = 0;
  for (int i = 0; i < 100; ++i) {
    out.clear();
    encoder.Add(ItemOf("k", text));
    plain += out.size() > text.size();
  }
  EXPECT_GT(plain, 0u);
  EXPECT_LT(plain, CompressionLuck::kEvery);
  // A large one is worth a try at any time.
  for (char& c : noise) c = static_cast<char>(random());
  for (uint32_t i = 0; i < 10 * CompressionLuck::kPatience; ++i) encoder.Add(ItemOf("k", noise));
  out.clear();
  encoder.Add(ItemOf("k", std::string(CompressionLuck::kSmall + 1, 'a')));
  EXPECT_LT(out.size(), 100u);
}

TEST(RdbEncoder, ChecksumGoesOnOverWhatWasTakenAway) {
  std::string whole;
  std::string pieces;
  std::string taken;
  RdbEncoder a({}, &whole);
  RdbEncoder b({}, &pieces);
  const auto take = [&] {
    taken += pieces;
    pieces.clear();
  };
  a.Begin();
  b.Begin();
  take();
  a.Aux("redis-ver", "7.0.15");
  b.Aux("redis-ver", "7.0.15");
  a.SizeHint(3, 2, 1);
  b.SizeHint(3, 2, 1);
  take();
  for (int i = 0; i < 100; ++i) {
    const std::string key = "key:" + std::to_string(i);
    a.Add(ItemOf(key, std::string(200, 'v'), 1'900'000'000'000 + i, 3));
    b.Add(ItemOf(key, std::string(200, 'v'), 1'900'000'000'000 + i, 3));
    if (i % 7 == 0) take();
  }
  a.End();
  b.End();
  take();
  EXPECT_EQ(whole, taken);
  Remembered seen;
  const auto info = ReadBytes(whole, &seen);
  ASSERT_TRUE(info.ok()) << MessageOf(info.status());
  EXPECT_EQ(seen.items.size(), 100u);
  EXPECT_EQ(info->keys, 100u);
  EXPECT_EQ(seen.aux.find("redis-ver")->second, "7.0.15");
  EXPECT_EQ(seen.hints, (std::vector<std::tuple<uint32_t, uint64_t, uint64_t>>{{3, 2, 1}}));
  EXPECT_EQ(seen.items[7], (Remembered::Item{3, "key:7", std::string(200, 'v'), 1'900'000'000'007, 0}));
}

}  // namespace
}  // namespace skein::storage
