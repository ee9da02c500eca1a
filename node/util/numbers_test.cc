#include "node/util/numbers.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "gtest/gtest.h"
#include "node/util/words.h"

namespace skein::node {
namespace {

TEST(Numbers, Int64AcceptsOnlyTheCanonicalForm) {
  int64_t v = 0;
  for (int64_t n : {int64_t{0}, int64_t{7}, int64_t{-1}, int64_t{10}, int64_t{-987654321},
                    std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::min()}) {
    ASSERT_TRUE(ParseInt64(std::to_string(n), &v)) << n;
    EXPECT_EQ(v, n);
  }
  for (const char* bad : {"", "-", "+1", "-0", "01", "-01", "1 ", " 1", "1a", "9223372036854775808",
                          "-9223372036854775809", "99999999999999999999", "1.0", "0x1"}) {
    EXPECT_FALSE(ParseInt64(bad, &v)) << bad;
  }
}

TEST(Numbers, Uint64) {
  uint64_t v = 0;
  EXPECT_TRUE(ParseUint64("18446744073709551615", &v));
  EXPECT_EQ(v, std::numeric_limits<uint64_t>::max());
  EXPECT_TRUE(ParseUint64("007", &v));
  EXPECT_EQ(v, 7u);
  for (const char* bad : {"", "-1", "18446744073709551616", "1x", " 1"}) EXPECT_FALSE(ParseUint64(bad, &v)) << bad;
}

TEST(Numbers, LongDouble) {
  long double v = 0;
  EXPECT_TRUE(ParseLongDouble("3.0e3", &v));
  EXPECT_EQ(v, 3000.0L);
  EXPECT_TRUE(ParseLongDouble("-inf", &v));
  EXPECT_TRUE(std::isinf(v));
  EXPECT_TRUE(ParseLongDouble("+5", &v));
  for (const char* bad : {"", " 1", "1 ", "abc", "nan", "1e99999", "1.2.3"})
    EXPECT_FALSE(ParseLongDouble(bad, &v)) << bad;
  EXPECT_FALSE(ParseLongDouble(std::string_view("1\0", 2), &v));
  EXPECT_FALSE(ParseLongDouble(std::string(6000, '1'), &v));
}

TEST(Numbers, LongDoubleText) {
  EXPECT_EQ(FormatLongDouble(10.6L), "10.6");
  EXPECT_EQ(FormatLongDouble(5200.0L), "5200");
  EXPECT_EQ(FormatLongDouble(0.1L), "0.1");
  EXPECT_EQ(FormatLongDouble(-0.0L), "0");
  EXPECT_EQ(FormatLongDouble(100.0L), "100");
  EXPECT_EQ(FormatLongDouble(1.0L / 3), "0.33333333333333333");
  EXPECT_EQ(FormatLongDouble(1e20L), "100000000000000000000");
  EXPECT_EQ(FormatLongDouble(std::numeric_limits<long double>::max()).size(), 4933u);
}

TEST(Words, AnyCase) {
  EXPECT_TRUE(IsWord("KeepTTL", "keepttl"));
  EXPECT_FALSE(IsWord("keepttl ", "keepttl"));
  EXPECT_FALSE(IsWord("\x0bx", "+x"));
  EXPECT_EQ(UpperAscii('z'), 'Z');
}

}  // namespace
}  // namespace skein::node
