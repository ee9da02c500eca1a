#include "storage/entry.h"

#include <limits>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "storage/entry_ops.h"
#include "storage/memory.h"

namespace skein::storage {
namespace {

struct FreeEntry {
  void operator()(Entry* entry) const { EntryOps::Free(entry); }
};
using Owned = std::unique_ptr<Entry, FreeEntry>;

Owned Make(std::string_view key, std::string_view value, UnixMillis at = kNoExpiry) {
  return Owned(EntryOps::NewString(key, StringValue::Of(value), at, 0x123456));
}
std::string ValueOf(const Entry& entry) {
  IntText scratch;
  return std::string(entry.string(&scratch));
}
std::string EncodingOf(std::string_view value) { return std::string(EncodingName(Make("k", value)->encoding())); }

TEST(Entry, HoldsKeysAndValuesOfAllSizes) {
  for (const size_t key_size : {0, 1, 16, 254, 255, 256, 257, 5000, 70'000}) {
    for (const size_t value_size : {0, 1, 16, 44, 45, 64, 511, 512, 513, 5000, 100'000}) {
      for (const UnixMillis at : {kNoExpiry, UnixMillis{0}, UnixMillis{1'700'000'000'000}}) {
        const std::string key(key_size, 'k');
        const std::string value(value_size, 'v');
        const Owned entry = Make(key, value, at);
        ASSERT_EQ(entry->key(), key);
        ASSERT_EQ(ValueOf(*entry), value);
        ASSERT_EQ(entry->string_size(), value_size);
        ASSERT_EQ(entry->expire_at(), at);
        ASSERT_EQ(entry->access(), 0x123456u);
        ASSERT_EQ(entry->type(), ValueType::kString);
        ASSERT_GE(entry->memory_usage(), key_size + value_size);
        ASSERT_LE(entry->memory_usage(), (key_size + value_size) * 5 / 4 + 64);
      }
    }
  }
}

TEST(Entry, SixteenByteNamesAndValuesTakeOneAllocationOf48AlsoWithExpiry) {
  const std::string sixteen(16, 'x');
  EXPECT_EQ(Make(sixteen, sixteen)->memory_usage(), 48u);
  EXPECT_EQ(Make(sixteen, sixteen, 1'700'000'000'000)->memory_usage(), 48u);
  EXPECT_EQ(Make(sixteen, "12345")->memory_usage(), 32u);
}

TEST(Entry, EncodingsHaveTheNamesThatRedisGives) {
  for (int size = 1; size <= 64; ++size) {
    EXPECT_EQ(EncodingOf(std::string(static_cast<size_t>(size), 'a')), size <= 44 ? "embstr" : "raw") << size;
  }
  EXPECT_EQ(EncodingOf(""), "embstr");
  for (const char* number : {"0", "1", "-1", "10", "9223372036854775807", "-9223372036854775808", "-10"}) {
    EXPECT_EQ(EncodingOf(number), "int") << number;
    EXPECT_EQ(ValueOf(*Make("k", number)), number);
    EXPECT_EQ(Make("k", number)->string_size(), std::string(number).size());
  }
  for (const char* text : {"00", "01", "-0", "+1", "-", "--1", "1 ", " 1", "1.0", "0x1", "-01", "9223372036854775808",
                           "-9223372036854775809", "18446744073709551616", "99999999999999999999", "1e3"}) {
    EXPECT_EQ(EncodingOf(text), "embstr") << text;
    EXPECT_EQ(ValueOf(*Make("k", text)), text);
  }
  int64_t value;
  EXPECT_TRUE(Make("k", "-9223372036854775808")->integer(&value));
  EXPECT_EQ(value, std::numeric_limits<int64_t>::min());
  EXPECT_FALSE(Make("k", "x")->integer(&value));
}

TEST(Entry, ATextWithAZeroByteIsNoNumber) {
  EXPECT_EQ(EncodingOf(std::string("1\0", 2)), "embstr");
  EXPECT_EQ(EncodingOf(std::string("\0", 1)), "embstr");
}

TEST(Entry, RewritesInPlaceWithinItsSizeClassOnly) {
  const std::string sixteen(16, 'x');
  const Owned entry = Make(sixteen, sixteen);
  const size_t usage = entry->memory_usage();
  const std::vector<std::pair<std::string, UnixMillis>> fitting = {
      {"another 16 bytes", kNoExpiry}, {"another 16 bytes", 12345},    {"another 16 byte", 12346}, {"1234567890", 99},
      {"another 16 bytes", 98},        {"another 16 bytes", kNoExpiry}};
  for (const auto& [value, at] : fitting) {
    ASSERT_TRUE(EntryOps::RewriteString(entry.get(), StringValue::Of(value), at)) << value;
    ASSERT_EQ(entry->key(), sixteen);
    ASSERT_EQ(ValueOf(*entry), value);
    ASSERT_EQ(entry->expire_at(), at);
    ASSERT_EQ(entry->memory_usage(), usage);
    ASSERT_EQ(entry->access(), 0x123456u);
  }
  for (const auto& value : {std::string(64, 'y'), std::string(600, 'y'), std::string("y")}) {
    EXPECT_FALSE(EntryOps::RewriteString(entry.get(), StringValue::Of(value), kNoExpiry)) << value;
    EXPECT_EQ(ValueOf(*entry), "another 16 bytes");
  }
}

TEST(Entry, DoesNotRewriteFromItsOwnBytes) {
  const Owned entry = Make("0123456789", "abcdefghijklmnop");
  IntText scratch;
  const std::string_view own = entry->string(&scratch).substr(1);
  EXPECT_FALSE(EntryOps::RewriteString(entry.get(), StringValue::Of(own), 77));
  EXPECT_EQ(ValueOf(*entry), "abcdefghijklmnop");
}

TEST(Entry, ExpiryComesAndGoes) {
  for (const size_t size : {0, 4, 9, 16, 60, 300, 1000}) {
    const std::string value(size, 'v');
    Entry* entry = Make("a key", value).release();
    for (const UnixMillis at : {UnixMillis{1}, UnixMillis{2}, kNoExpiry, kNoExpiry, UnixMillis{3}}) {
      entry = EntryOps::WithExpiry(entry, at);
      ASSERT_EQ(entry->expire_at(), at);
      ASSERT_EQ(entry->key(), "a key");
      ASSERT_EQ(ValueOf(*entry), value);
    }
    EntryOps::Free(entry);
  }
}

TEST(Entry, EditsGrowThroughAllFormsAndAreRaw) {
  for (const char* start : {"", "42", "some text"}) {
    std::string want = start;
    Entry* entry = Make("key", start, 5).release();
    for (const size_t size : {12, 13, 40, 12, 100, 511, 512, 513, 2000, 100, 600, 5000, 3'000'000, 10}) {
      want.resize(size);
      char* data;
      entry = EntryOps::EditString(entry, size, &data);
      ASSERT_EQ(ValueOf(*entry), want) << size;
      ASSERT_EQ(entry->encoding(), Encoding::kRaw);
      ASSERT_EQ(entry->key(), "key");
      ASSERT_EQ(entry->expire_at(), 5);
      data[size - 1] = 'z';
      want[size - 1] = 'z';
      ASSERT_EQ(ValueOf(*entry), want) << size;
    }
    EntryOps::Free(entry);
  }
}

TEST(Entry, CopiesAndRenames) {
  for (const std::string& value :
       {std::string("17"), std::string(30, 'e'), std::string(200, 'r'), std::string(2000, 'x')}) {
    const Owned entry = Make("from", value, 9);
    const Owned copy(EntryOps::CopyAs(entry.get(), "a longer name than before"));
    EXPECT_EQ(ValueOf(*copy), value);
    EXPECT_EQ(copy->expire_at(), 9);
    EXPECT_EQ(copy->encoding(), entry->encoding());
    EXPECT_EQ(copy->key(), "a longer name than before");
    const Owned renamed(EntryOps::RenameAs(Make("from", value, 9).release(), std::string(300, 'n')));
    EXPECT_EQ(ValueOf(*renamed), value);
    EXPECT_EQ(renamed->expire_at(), 9);
    EXPECT_EQ(renamed->key(), std::string(300, 'n'));
    EXPECT_EQ(renamed->encoding(), entry->encoding());
  }
}

TEST(Memory, ClassesHoldTheirSizes) {
  for (size_t size = 1; size < 5000; ++size) {
    const size_t all = AllocationSize(size);
    ASSERT_GE(all, size);
    ASSERT_LE(all, size + size / 4 + 16);
    ASSERT_EQ(AllocationSize(all), all);
    auto* p = static_cast<char*>(Allocate(size));
    p[0] = p[all - 1] = 1;  // the whole class may be used: AddressSanitizer agrees
    std::free(p);
  }
  for (size_t lines = 1; lines <= 128; ++lines) {
    void* p = AllocateLines(lines * 64);
    ASSERT_EQ(reinterpret_cast<uintptr_t>(p) % 64, 0u);
    std::free(p);
  }
}

}  // namespace
}  // namespace skein::storage
