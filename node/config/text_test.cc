#include "node/config/text.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

namespace skein::node {
namespace {

using Words = std::vector<std::string>;

TEST(Text, ReadsWordsAsRedisConfDoes) {
  const struct {
    std::string line;
    std::optional<Words> words;
  } kCases[] = {
      {"", Words{}},
      {"  \t ", Words{}},
      {"port 6379", Words{"port", "6379"}},
      {"  save   900\t1\r", Words{"save", "900", "1"}},
      {R"(requirepass "a b")", Words{"requirepass", "a b"}},
      {R"(x "\x41\n\t\"\\z")", Words{"x", "A\n\t\"\\z"}},
      {R"(x 'it\'s "raw" \n')", Words{"x", R"(it's "raw" \n)"}},
      {R"(x "")", Words{"x", ""}},
      {R"(x a"b c"d)", std::nullopt},  // something behind a closing quote
      {R"(x "open)", std::nullopt},
      {R"(x 'open)", std::nullopt},
      {R"(x "open\)", std::nullopt},
      {R"(x "\xg1")", Words{"x", "xg1"}},
  };
  for (const auto& c : kCases) EXPECT_EQ(ReadWords(c.line), c.words) << c.line;
}

TEST(Text, QuotedWordsReadBackTheSame) {
  std::string all;
  for (int c = 1; c < 256; ++c) all += static_cast<char>(c);
  for (const std::string& word : {std::string(), std::string("plain"), std::string("a b"), std::string("#x"), all}) {
    EXPECT_EQ(ReadWords(QuoteWord(word)), Words{word});
  }
  EXPECT_EQ(QuoteWord("plain"), "plain");
}

TEST(Text, MemoryHasUnitsOfTwoKinds) {
  EXPECT_EQ(ParseMemory("1k"), 1000u);
  EXPECT_EQ(ParseMemory("1kb"), 1024u);
  EXPECT_EQ(ParseMemory("2MB"), 2u << 20);
  EXPECT_EQ(ParseMemory("1Gb"), 1u << 30);
  EXPECT_EQ(ParseMemory("17b"), 17u);
  EXPECT_EQ(ParseMemory("18446744073709551615"), UINT64_MAX);
  for (const char* bad : {"", "gb", "-1", "1.5gb", "1zb", "1 gb", "18446744073709551616", "99999999999gb"}) {
    EXPECT_EQ(ParseMemory(bad), std::nullopt) << bad;
  }
  for (const uint64_t bytes :
       {uint64_t{0}, uint64_t{1}, uint64_t{1024}, uint64_t{1025}, uint64_t{3} << 20, uint64_t{5} << 30, UINT64_MAX}) {
    EXPECT_EQ(ParseMemory(FormatMemory(bytes)), bytes);
  }
}

TEST(Text, EditDistanceCountsSlipsOfTheHand) {
  EXPECT_EQ(EditDistance("appendonly", "appendonly", 3), 0u);
  EXPECT_EQ(EditDistance("appendonyl", "appendonly", 3), 1u);  // neighbours swapped
  EXPECT_EQ(EditDistance("Appendonly", "appendonly", 3), 0u);
  EXPECT_EQ(EditDistance("apendonly", "appendonly", 3), 1u);
  EXPECT_EQ(EditDistance("append-only", "appendonly", 3), 1u);
  EXPECT_EQ(EditDistance("port", "dir", 3), 3u);
  EXPECT_EQ(EditDistance("port", "appendonly", 3), 4u);  // over the limit
  EXPECT_EQ(EditDistance(std::string(1000, 'a'), "port", 3), 4u);
}

}  // namespace
}  // namespace skein::node
