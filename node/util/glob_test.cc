#include "node/util/glob.h"

#include <string>

#include "gtest/gtest.h"

namespace skein::node {
namespace {

struct Case {
  const char* pattern;
  const char* text;
  bool match;
};

TEST(Glob, Table) {
  const Case cases[] = {
      {"", "", true},
      {"*", "", false},
      {"*", "a", true},
      {"a*", "a", true},
      {"a**", "a", true},
      {"*a", "ba", true},
      {"*a*", "xay", true},
      {"a*b*c", "aXbYc", true},
      {"a*b*c", "aXbY", false},
      {"h?llo", "hello", true},
      {"h?llo", "hllo", false},
      {"h[ae]llo", "hallo", true},
      {"h[ae]llo", "h", false},
      {"h[^e]llo", "hello", false},
      {"h[^e]llo", "hallo", true},
      {"[a-c]", "b", true},
      {"[c-a]", "b", true},
      {"[a-c]", "d", false},
      {"[\\]]", "]", true},
      {"[a-", "-", true},
      {"[a", "a", true},
      {"[", "x", false},
      {"[^", "x", true},
      {"\\*", "*", true},
      {"\\*", "x", false},
      {"\\", "\\", true},
      {"a\\", "a\\", true},
      {"a", "A", false},
      {"[]a]", "a]", false},
      {"*[0-9]", "key7", true},
      {"*?", "a", true},
      {"?*", "a", true},
      {"**?", "ab", true},
      {"*ab", "aab", true},
      {"*aab", "aaab", true},
      {"[a-z]*[0-9]", "q-9", true},
  };
  for (const Case& c : cases) EXPECT_EQ(GlobMatch(c.pattern, c.text), c.match) << c.pattern << " ~ " << c.text;
}

TEST(Glob, IgnoresCaseOnRequest) {
  EXPECT_TRUE(GlobMatch("GET*", "getrange", GlobCase::kIgnore));
  EXPECT_TRUE(GlobMatch("[A-F]x", "bX", GlobCase::kIgnore));
  EXPECT_FALSE(GlobMatch("GET*", "set", GlobCase::kIgnore));
}

TEST(Glob, BytesAreUnsignedAndMayBeZero) {
  EXPECT_TRUE(GlobMatch("[\x80-\xff]", "\xe9"));
  EXPECT_TRUE(GlobMatch(std::string_view("a\0*", 3), std::string_view("a\0b", 3)));
  EXPECT_FALSE(GlobMatch(std::string_view("a\0b", 3), "a"));
}

TEST(Glob, ManyStarsCostNoMoreThanTheirProduct) {
  std::string pattern;
  for (int i = 0; i < 2000; ++i) pattern += "a*";
  pattern += "b";
  EXPECT_FALSE(GlobMatch(pattern, std::string(20000, 'a')));  // exponential if stars were tried one inside the other
}

TEST(Glob, Literal) {
  EXPECT_TRUE(GlobIsLiteral("{user}.name"));
  EXPECT_FALSE(GlobIsLiteral("a?"));
  EXPECT_FALSE(GlobIsLiteral("a\\b"));
}

}  // namespace
}  // namespace skein::node
