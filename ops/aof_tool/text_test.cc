#include "ops/aof_tool/text.h"

#include "gtest/gtest.h"
#include "ops/aof_tool/json.h"

namespace skein::ops {
namespace {

TEST(Text, Times) {
  EXPECT_EQ(TimeText(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(TimeText(1'700'000'000'004), "2023-11-14T22:13:20.004Z");
  EXPECT_EQ(TimeText(-1), "1969-12-31T23:59:59.999Z");
  EXPECT_EQ(TimeText(253'402'300'800'000), "253402300800000 ms");
  EXPECT_EQ(ParseTime("2023-11-14T22:13:20Z"), 1'700'000'000'000);
  EXPECT_EQ(ParseTime("2023-11-14 22:13:20.0049z"), 1'700'000'000'004);
  EXPECT_EQ(ParseTime("2023-11-15T00:43:20+02:30"), 1'700'000'000'000);
  EXPECT_EQ(ParseTime("2023-11-14T20:13:20.5-02:00"), 1'700'000'000'500);
  EXPECT_EQ(ParseTime("2024-02-29T00:00:00Z"), 1'709'164'800'000);
  EXPECT_EQ(ParseTime("1700000000"), 1'700'000'000'000);
  EXPECT_EQ(ParseTime("1700000000.25"), 1'700'000'000'250);
  EXPECT_EQ(ParseTime("1700000000004"), 1'700'000'000'004);
  for (const char* bad : {"", "now", "2023-11-14", "2023-11-14T22:13:20", "2023-02-29T00:00:00Z",
                          "2023-11-14T24:00:00Z", "2023-11-14T22:13:20.Z", "2023-11-14T22:13:20ZZ", "-1", "17000000x",
                          "1700000000.", "1700000000004.5", "2023-11-14T22:13:20+2:00", "99999999999999999999999"}) {
    EXPECT_EQ(ParseTime(bad), std::nullopt) << bad;
  }
}

TEST(Text, TimesComeBack) {
  for (const storage::UnixMillis time : {0ll, 951'782'400'000ll, 1'700'000'000'004ll, 4'102'444'800'000ll}) {
    EXPECT_EQ(ParseTime(TimeText(time)), time);
  }
}

TEST(Text, Sizes) {
  EXPECT_EQ(SizeText(1), "1 byte");
  EXPECT_EQ(SizeText(1023), "1023 bytes");
  EXPECT_EQ(SizeText(1536), "1.5 KiB");
  EXPECT_EQ(SizeText(uint64_t{1} << 30), "1.0 GiB");
}

TEST(Text, Bytes) {
  EXPECT_EQ(Quote("a\"\\\n\r\t\x01\x7f\xff\xc3\xa9"), "\"a\\\"\\\\\\n\\r\\t\\x01\\x7f\\xff\xc3\xa9\"");
  EXPECT_TRUE(IsUtf8("gr\xc3\xbc\xc3\x9f \xf0\x9f\x90\xa6"));
  EXPECT_FALSE(IsUtf8("\xc0\x80"));          // longer than it need be
  EXPECT_FALSE(IsUtf8("\xed\xa0\x80"));      // half of a pair
  EXPECT_FALSE(IsUtf8("\xf4\x90\x80\x80"));  // past the last
  EXPECT_FALSE(IsUtf8("\xc3"));
}

TEST(Json, Values) {
  Json list = Json::Array();
  EXPECT_EQ(list.Text(), "[]");
  list.Add(1).Add("a\"\\\n").Add(true).Add(Json::Null()).Add(Json::Bytes("\xff\x00"));
  EXPECT_EQ(list.Text(), R"([1, "a\"\\\u000a", true, null, {"hex": "ff"}])");
  EXPECT_EQ(Json::Object().Set("k", Json::Object()).Set("n", ~uint64_t{0}).Text(),
            R"({"k": {}, "n": 18446744073709551615})");
  EXPECT_EQ(Json("broken \xff").Text(), R"("broken \\xff")");
}

}  // namespace
}  // namespace skein::ops
