#include "storage/rdb/decoder.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "storage/rdb/crc64.h"
#include "storage/rdb/encoder.h"
#include "storage/rdb/rdb_testing.h"

namespace skein::storage {
namespace {

constexpr UnixMillis kNow = 1'800'000'000'000;

using Item = Remembered::Item;

Item Plain(std::string key, std::string value) { return {0, std::move(key), std::move(value), kNoExpiry, 0}; }

// A file of version 9 with this behind its head, its end mark and checksum added.
std::string FileWith(std::string_view body) {
  std::string file("REDIS0009");
  file.append(body).append("\xff");
  const uint64_t crc = RdbCrc64(0, file);
  return file.append(reinterpret_cast<const char*>(&crc), sizeof(crc));
}

// ---- What other servers wrote
// ----------------------------------------------------------------------------------------

class Version : public testing::TestWithParam<int> {};

TEST_P(Version, IsRead) {
  const std::string file = Fixture("version-" + std::to_string(GetParam()) + ".rdb");
  Remembered seen;
  const auto info = ReadBytes(file, &seen, {.now = kNow});
  ASSERT_TRUE(info.ok()) << MessageOf(info.status());
  EXPECT_EQ(info->version, GetParam());
  EXPECT_EQ(info->valkey, GetParam() == 80);
  EXPECT_EQ(info->size, file.size());
  EXPECT_EQ(info->keys, seen.items.size());
  std::vector<Item> expected = {
      Plain("plain", "value"),
      Plain("int8", "-5"),
      Plain("int16", "12345"),
      Plain("int32", "1000000000"),
      Plain("lzf", std::string(20, 'a')),
      {0, "seconds", "s", 2'000'000'000'000, 0},
      {0, "millis", "m", 2'000'000'000'123, 0},
      {9, "plain", "in nine", kNoExpiry, 0},
  };
  if (GetParam() == 9) {
    expected.push_back({9, "idle", "i", kNoExpiry, LruClock(kNow - 60'000)});
    expected.push_back({9, "freq", "f", kNoExpiry, AccessOfFrequency(kNow, 7)});
  }
  EXPECT_EQ(seen.items, expected);
  EXPECT_EQ(seen.hints.size(), GetParam() == 7 ? 1u : 0u);
  EXPECT_EQ(seen.aux.size(), GetParam() == 6 ? 0u : 1u);
}

INSTANTIATE_TEST_SUITE_P(All, Version, testing::Values(6, 7, 8, 9, 10, 11, 12, 80));

TEST(RdbDecoder, ReadsTheStringsOfRedisServer) {
  std::string binary(256, '\0');
  for (int i = 0; i < 256; ++i) binary[static_cast<size_t>(i)] = static_cast<char>(i);
  std::string text;
  for (int i = 0; i < 3; ++i) {
    text += "Ask not what your country can do for you - ask what you can do for your country. ";
  }
  std::vector<Item> expected = {
      Plain("empty", ""),
      Plain("", "the empty key"),
      Plain(std::string("binary\0\xff\r\n", 10), binary),
      Plain("repeated", std::string(5000, 'a')),
      Plain("text", text),
      Plain(std::string(300, 'k'), "a key that is compressed"),
      {0, "until", "2033", 2'000'000'000'123, 0},
      {9, "plain", "in nine", kNoExpiry, 0},
  };
  for (const char* number :
       {"0", "-128", "127", "128", "-32769", "2147483647", "2147483648", "-9223372036854775808", "007", "-0"}) {
    expected.push_back(Plain(std::string("number:") + number, number));
  }
  for (const char* name : {"strings-7.0.rdb", "uncompressed-7.0.rdb", "unchecked-7.0.rdb"}) {
    Remembered seen;
    const auto info = ReadBytes(Fixture(name), &seen);
    ASSERT_TRUE(info.ok()) << name << MessageOf(info.status());
    EXPECT_EQ(seen.aux.find("redis-ver")->second, "7.0.15");
    EXPECT_EQ(seen.aux.find("redis-bits")->second, "64");
    EXPECT_EQ(seen.hints, (std::vector<std::tuple<uint32_t, uint64_t, uint64_t>>{{0, 17, 1}, {9, 1, 0}})) << name;
    EXPECT_EQ(seen.items.size(), expected.size());
    for (const Item& item : expected) {
      EXPECT_NE(std::find(seen.items.begin(), seen.items.end(), item), seen.items.end()) << name << ' ' << item.key;
    }
  }
}

TEST(RdbDecoder, ReadsWhatWasUsedWhen) {
  Remembered seen;
  ASSERT_TRUE(ReadBytes(Fixture("lru-7.0.rdb"), &seen, {.now = kNow}).ok());
  ASSERT_NE(seen.Find("idle"), nullptr);
  EXPECT_EQ(seen.Find("idle")->access, LruClock(kNow - 5'000'000));
  EXPECT_EQ(seen.Find("k")->access, LruClock(kNow));
  Remembered frequent;
  ASSERT_TRUE(ReadBytes(Fixture("lfu-7.0.rdb"), &frequent, {.now = kNow}).ok());
  ASSERT_NE(frequent.Find("freq"), nullptr);
  EXPECT_EQ(frequent.Find("freq")->access & 0xff, 77u);
}

TEST(RdbDecoder, LooksAtNothingBehindTheEnd) {
  const std::string file = Fixture("preamble.rdb");
  Remembered seen;
  const auto info = ReadBytes(file, &seen);
  ASSERT_TRUE(info.ok()) << MessageOf(info.status());
  EXPECT_EQ(file.substr(info->size), "*1\r\n$4\r\nPING\r\n");
}

TEST(RdbDecoder, BeginsAtAnOffset) {
  const std::string file = "something else" + Fixture("version-10.rdb");
  Remembered seen;
  const auto info = ReadBytes(file, &seen, {}, 14);
  ASSERT_TRUE(info.ok()) << MessageOf(info.status());
  EXPECT_EQ(info->size, file.size() - 14);
  EXPECT_EQ(seen.items.size(), 8u);
}

TEST(RdbDecoder, ReadsAnEmptyFile) {
  Remembered seen;
  const auto info = ReadBytes(Fixture("empty-7.0.rdb"), &seen);
  ASSERT_TRUE(info.ok()) << MessageOf(info.status());
  EXPECT_EQ(info->keys, 0u);
}

// ---- What cannot be held
// ---------------------------------------------------------------------------------------------

struct Refusal {
  const char* fixture;
  const char* message;
};

TEST(RdbDecoder, NamesWhatItCannotHold) {
  const Refusal refusals[] = {
      {"1-list", "key 'cart:7' is a list, which"},
      {"2-set", "key 'cart:7' is a set, which"},
      {"3-zset", "key 'cart:7' is a sorted set, which"},
      {"4-hash", "key 'cart:7' is a hash, which"},
      {"5-zset", "key 'cart:7' is a sorted set (binary scores), which"},
      {"6-module-preview", "key 'cart:7' is a module value (preview of 4.0), which"},
      {"7-module", "key 'cart:7' is a module value of module ReJSON-RL, which"},
      {"9-zipmap", "key 'cart:7' is a hash (zipmap), which"},
      {"10-list-ziplist", "key 'cart:7' is a list (ziplist), which"},
      {"11-intset", "key 'cart:7' is a set (intset), which"},
      {"12-zset-ziplist", "key 'cart:7' is a sorted set (ziplist), which"},
      {"13-hash-ziplist", "key 'cart:7' is a hash (ziplist), which"},
      {"14-quicklist", "key 'cart:7' is a list (quicklist of ziplists), which"},
      {"15-stream", "key 'cart:7' is a stream, which"},
      {"16-hash-listpack", "key 'cart:7' is a hash (listpack), which"},
      {"17-zset-listpack", "key 'cart:7' is a sorted set (listpack), which"},
      {"18-list", "key 'cart:7' is a list (quicklist), which"},
      {"19-stream", "key 'cart:7' is a stream (version 2), which"},
      {"20-set-listpack", "key 'cart:7' is a set (listpack), which"},
      {"21-stream-3", "key 'cart:7' is a stream (version 3), which"},
      {"22-hash-preview", "key 'cart:7' is a hash (fields that expire, preview of 7.4), which"},
      {"22-valkey", "key 'cart:7' is a hash (fields that expire), which"},
      {"23-hash-listpack-preview", "key 'cart:7' is a hash (listpack, fields that expire, preview of 7.4), which"},
      {"24-hash-fields", "key 'cart:7' is a hash (fields that expire), which"},
      {"25-hash-listpack-fields", "key 'cart:7' is a hash (listpack, fields that expire), which"},
      {"function", "the function library 'mylib'"},
      {"function-preview", "the function library 'mylib'"},
      {"module-aux", "data of the module ReJSON-RL"},
      {"slot-import", "slots were being moved to this node (import '0123456789abcdef')"},
      {"version-5", "RDB version 5 is not known"},
      {"version-13", "RDB version 13 is not known"},
      {"version-81", "RDB version 81 of Valkey is not known"},
      {"version-valkey-11", "RDB version 11 of Valkey is not known"},
  };
  for (const Refusal& refusal : refusals) {
    const std::string file = Fixture(std::string("refused-") + refusal.fixture + ".rdb");
    ASSERT_FALSE(file.empty()) << refusal.fixture;
    Remembered seen;
    const auto info = ReadBytes(file, &seen);
    EXPECT_TRUE(absl::IsUnimplemented(info.status())) << refusal.fixture << ' ' << MessageOf(info.status());
    const std::string message = MessageOf(info.status());
    EXPECT_NE(message.find(refusal.message), std::string::npos) << refusal.fixture << ": " << message;
    EXPECT_EQ(message.substr(0, 18), "dump.rdb: at byte ") << message;
  }
}

TEST(RdbDecoder, SaysWhatIsWrongAndWhere) {
  const Refusal damages[] = {
      {"\x08\1k\1v", "at byte 9: neither a type nor an opcode is 8"},
      {"\xf2", "at byte 9: neither a type nor an opcode is 242"},
      {"\xfe\xc0\1", "at byte 9: an encoded string where a length should be"},
      {"\xfe\x81\1\1\1\1\1\1\1\1", "at byte 9: no database 72340172838076673"},
      {"\x01\x20"
       "abc",
       "at byte 9: the end is missing"},
      {"\xfc\xff\xff\xff\xff\xff\xff\xff\xff", "at byte 9: an expiry at -1, before time began"},
      {"\xfa\1n\xc4zzzzzzzz", "at byte 9: strings have no encoding 4"},
      {"\xfa\1n\x82zzzzzzzz", "at byte 9: no length begins with the byte 130"},
  };
  for (const Refusal& damage : damages) {
    Remembered seen;
    const auto info = ReadBytes(FileWith(damage.fixture), &seen);
    EXPECT_TRUE(absl::IsDataLoss(info.status())) << damage.message;
    EXPECT_NE(MessageOf(info.status()).find(damage.message), std::string::npos)
        << MessageOf(info.status()) << " is not " << damage.message;
  }
  for (const std::string_view file :
       {"", "REDIS", "REDIS001", "REDISxxxx", "REDIS 010\xff", "redis0010\xff", "VALKEY08", "*1\r\n$4\r\nPING\r\n"}) {
    Remembered seen;
    EXPECT_TRUE(absl::IsDataLoss(ReadBytes(file, &seen).status())) << file;
  }
}

TEST(RdbDecoder, StopsWhenTheVisitorDoes) {
  struct Refusing : Remembered {
    absl::Status OnItem(const RdbItem& item) override {
      if (items.size() == 2) return absl::ResourceExhaustedError("two are enough");
      return Remembered::OnItem(item);
    }
  } seen;
  const auto info = ReadBytes(Fixture("version-10.rdb"), &seen);
  EXPECT_TRUE(absl::IsResourceExhausted(info.status()));
  EXPECT_NE(MessageOf(info.status()).find("two are enough"), std::string::npos);
  EXPECT_EQ(seen.items.size(), 2u);
}

// ---- Sizes
// -----------------------------------------------------------------------------------------------------------

TEST(RdbDecoder, StringsMayBeLargerThanTheWindow) {
  std::string file;
  RdbEncoder encoder({.compress = false}, &file);
  encoder.Begin();
  std::vector<Item> expected;
  for (const size_t size :
       {size_t{10}, size_t{3} << 20, size_t{20}, (size_t{256} << 10) - 5, size_t{1}, size_t{1} << 20}) {
    std::string value(size, '\0');
    for (size_t i = 0; i < size; ++i) value[i] = static_cast<char>(i * 2654435761u >> 13);
    expected.push_back(Plain("key:" + std::to_string(size), value));
    RdbItem item;
    item.key = expected.back().key;
    item.string = expected.back().value;
    encoder.Add(item);
  }
  encoder.End();
  // However the file layer cuts it.
  for (const size_t piece : {size_t{4099}, size_t{100'000}, SIZE_MAX}) {
    BytesFile bytes(file, piece);
    Remembered seen;
    uint64_t told = 0;
    const auto info = ReadRdb(&bytes, "dump.rdb", 0,
                              {.progress =
                                   [&](uint64_t offset) {
                                     EXPECT_GE(offset, told);
                                     told = offset;
                                   }},
                              &seen);
    ASSERT_TRUE(info.ok()) << MessageOf(info.status());
    EXPECT_TRUE(seen.items == expected);
    EXPECT_EQ(told, file.size());
  }
}

TEST(RdbDecoder, RefusesStringsThatAreTooLong) {
  const auto message = [](std::string_view body) {
    Remembered seen;
    const auto info = ReadBytes(FileWith(body), &seen, {.max_string = 10});
    EXPECT_TRUE(absl::IsUnimplemented(info.status()));
    return MessageOf(info.status());
  };
  EXPECT_NE(message(std::string_view("\0\1k\x0bvalue678901", 15)).find("the value of key 'k': a string of 11 bytes"),
            std::string::npos);
  EXPECT_NE(message(std::string_view("\0\1k\xc3\5\x14\0a\xe0\x0a\0", 11)).find("a string of 20 bytes, where 10"),
            std::string::npos);
}

// A length is believed only as far as there are bytes for it: nothing is allocated, whatever it says.
TEST(RdbDecoder, TakesNoMemoryForWhatIsNotThere) {
  const std::string_view bodies[] = {
      {"\0\1k\x80\x1f\xff\xff\xff", 8},                      // 512 MiB - 1
      {"\0\1k\x81\xff\xff\xff\xff\xff\xff\xff\xff", 12},     // more than there can be
      {"\0\1k\xc3\5\x80\x1f\xff\xff\xff\0a\xe0\x0a\0", 15},  // five bytes that say they are 512 MiB
      {"\0\1k\xc3\x80\x1f\xff\xff\xff\5", 9},                // 512 MiB that are five bytes
      {"\0\1k\xc3\0\0", 6},                                  // nothing from nothing
      {"\0\1k\xc3\5\0\0a\xe0\x0a\0", 11},
  };
  for (const std::string_view body : bodies) {
    Remembered seen;
    const auto info = ReadBytes(FileWith(body), &seen);
    EXPECT_TRUE(absl::IsDataLoss(info.status())) << MessageOf(info.status());
    EXPECT_TRUE(seen.items.empty());
  }
}

TEST(RdbDecoder, PassesOnWhatTheFileLayerSays) {
  struct Failing : BytesFile {
    using BytesFile::BytesFile;
    absl::StatusOr<size_t> ReadAt(uint64_t, char*, size_t) override {
      return absl::InternalError("input/output error");
    }
  };
  const std::string bytes = Fixture("version-10.rdb");
  Failing file(bytes);
  Remembered seen;
  const auto info = ReadRdb(&file, "dump.rdb", 0, {}, &seen);
  EXPECT_TRUE(absl::IsInternal(info.status()));
  EXPECT_NE(MessageOf(info.status()).find("input/output error"), std::string::npos);
}

TEST(LooksLikeRdb, KnowsAHead) {
  EXPECT_TRUE(LooksLikeRdb("REDIS0010\xfa"));
  EXPECT_TRUE(LooksLikeRdb("VALKEY080"));
  EXPECT_TRUE(LooksLikeRdb("REDIS9999"));
  for (const std::string_view head : {"", "REDIS", "REDIS001", "REDIS-001", "*3\r\n$3\r\nSET", "VALKEY0x0"}) {
    EXPECT_FALSE(LooksLikeRdb(head)) << head;
  }
}

}  // namespace
}  // namespace skein::storage
