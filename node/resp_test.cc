#include "node/resp.h"

#include <string>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"

namespace skein::node {
namespace {

using Words = std::vector<std::string>;

struct Outcome {
  std::vector<Words> commands;  // empty requests left out
  std::string error;
  size_t consumed = 0;
  bool operator==(const Outcome&) const = default;
};

// Feeds `input` in the pieces that `cuts` make, as a session does: what is left stays in front of the next piece, and a
// command that has begun goes on where it was.
Outcome Feed(std::string_view input, const std::vector<size_t>& cuts, RespLimits limits = {}) {
  Outcome out;
  RequestParser parser;
  std::string buffer;
  PartialCommand partial;
  bool have_partial = false;
  size_t fed = 0;
  for (size_t i = 0; i <= cuts.size(); ++i) {
    const size_t to = i < cuts.size() ? cuts[i] : input.size();
    buffer.append(input.substr(fed, to - fed));
    buffer.shrink_to_fit();  // moves: views into the old bytes would be seen by AddressSanitizer
    fed = to;
    while (!buffer.empty()) {
      std::vector<std::string_view> args;
      size_t used = 0;
      const ParseResult r = have_partial ? parser.Parse(buffer, limits, &partial, &args, &used)
                                         : parser.ParseFresh(buffer, limits, &partial, &args, &used);
      have_partial = r == ParseResult::kIncomplete;
      if (r == ParseResult::kIncomplete) break;
      if (r == ParseResult::kError) {
        out.error = parser.error();
        return out;
      }
      EXPECT_GT(used, 0u);
      EXPECT_LE(used, buffer.size());
      if (!args.empty()) out.commands.emplace_back(args.begin(), args.end());
      out.consumed += used;
      buffer.erase(0, used);
      parser.ReleaseUnquoted();
    }
  }
  return out;
}

const std::string kInputs[] = {
    "*1\r\n$4\r\nPING\r\n",
    std::string("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\na\r\nb\0\r\n", 31),
    "*2\r\n$3\r\nGET\r\n$0\r\n\r\n*1\r\n$4\r\nPING\r\n",
    "*0\r\n*-1\r\n*1\r\n$4\r\nPING\r\n",
    "PING\r\nSET a b\n\r\n  GET   a  \r\n",
    "SET k \"a b\\x41\\n\\q\" 'it\\'s' \"\"\r\n*1\r\n$4\r\nPING\r\n",
    "*12\r\n$4\r\nMGET\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n$1\r\nf\r\n$1\r\ng\r\n$1\r\nh\r\n$"
    "1\r\ni\r\n$1"
    "\r\nj\r\n$1\r\nk\r\n",
    // The bytes behind an argument are skipped unseen, as redis-server does.
    "*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n",
    "*1\r\n$4\r\nPING\r\n*x\r\n",
    "*1\r\n!4\r\nPING\r\n",
    "*2\r\n$3\r\nGET\r\n$-1\r\n",
    "*1\r\n$04\r\nPING\r\n",
    "*1\r\n$4 \r\nPING\r\n",
    "*2147483648\r\n",
    "*1\r\n$99999999999999999999999\r\n",
    "SET a \"b\r\n",
    "SET a \"b\"c\r\n",
    "SET a 'b\r\n",
};

TEST(Resp, EverySplitGivesTheSame) {
  for (const std::string& input : kInputs) {
    const Outcome whole = Feed(input, {});
    for (size_t a = 1; a < input.size(); ++a) {
      EXPECT_EQ(Feed(input, {a}), whole) << input << " cut at " << a;
    }
    std::vector<size_t> each;
    for (size_t a = 1; a < input.size(); ++a) each.push_back(a);
    EXPECT_EQ(Feed(input, each), whole) << input;
    for (size_t a = 1; a < input.size(); ++a) {
      for (size_t b = a + 1; b < input.size(); b += 3) EXPECT_EQ(Feed(input, {a, b}), whole);
    }
  }
}

TEST(Resp, Commands) {
  EXPECT_EQ(Feed(kInputs[0], {}).commands, (std::vector<Words>{{"PING"}}));
  EXPECT_EQ(Feed(kInputs[1], {}).commands, (std::vector<Words>{{"SET", "k", std::string("a\r\nb\0", 5)}}));
  EXPECT_EQ(Feed(kInputs[2], {}).commands, (std::vector<Words>{{"GET", ""}, {"PING"}}));
  EXPECT_EQ(Feed(kInputs[3], {}).commands, (std::vector<Words>{{"PING"}}));
  EXPECT_EQ(Feed(kInputs[4], {}).commands, (std::vector<Words>{{"PING"}, {"SET", "a", "b"}, {"GET", "a"}}));
  EXPECT_EQ(Feed(kInputs[5], {}).commands, (std::vector<Words>{{"SET", "k", "a bA\nq", "it's", ""}, {"PING"}}));
  EXPECT_EQ(Feed(kInputs[6], {}).commands[0].size(), 12u);
  EXPECT_EQ(Feed(kInputs[7], {}).commands, (std::vector<Words>{{"PING"}, {"PING"}}));
}

// Texts compared with redis-server 7.0.15.
TEST(Resp, Errors) {
  const auto error = [](const std::string& input, RespLimits limits = {}) { return Feed(input, {}, limits).error; };
  EXPECT_EQ(error("*x\r\n"), "Protocol error: invalid multibulk length");
  EXPECT_EQ(error("*2147483648\r\n"), "Protocol error: invalid multibulk length");
  EXPECT_EQ(error("*\r\n"), "Protocol error: invalid multibulk length");
  EXPECT_EQ(error("*1\r\n!4\r\n"), "Protocol error: expected '$', got '!'");
  EXPECT_EQ(error("*1\r\n\r\n"), "Protocol error: expected '$', got '\r'");
  EXPECT_EQ(error("*1\r\n$-1\r\n"), "Protocol error: invalid bulk length");
  EXPECT_EQ(error("*1\r\n$x\r\n"), "Protocol error: invalid bulk length");
  EXPECT_EQ(error("*1\r\n$1048577\r\n", {1 << 20, true}), "Protocol error: invalid bulk length");
  EXPECT_EQ(error("*1\r\n$1048576\r\n", {1 << 20, true}), "");
  EXPECT_EQ(error("SET a \"b\r\n"), "Protocol error: unbalanced quotes in request");
  EXPECT_EQ(error("*" + std::string(kMaxLine, '1')), "Protocol error: too big mbulk count string");
  EXPECT_EQ(error("*1\r\n$" + std::string(kMaxLine, '1')), "Protocol error: too big bulk count string");
  EXPECT_EQ(error(std::string(kMaxLine + 1, 'a')), "Protocol error: too big inline request");
  EXPECT_EQ(error(std::string(kMaxLine, 'a')), "");
  const RespLimits stranger{512u << 20, false};
  EXPECT_EQ(error("*11\r\n", stranger), "Protocol error: unauthenticated multibulk length");
  EXPECT_EQ(error("*10\r\n", stranger), "");
  EXPECT_EQ(error("*1\r\n$16385\r\n", stranger), "Protocol error: unauthenticated bulk length");
  EXPECT_EQ(error("*1\r\n$16384\r\n", stranger), "");
}

TEST(Resp, LargeArgumentSaysHowMuchItNeeds) {
  RequestParser parser;
  PartialCommand partial;
  std::vector<std::string_view> args;
  size_t used = 0;
  const std::string head = "*2\r\n$3\r\nGET\r\n$100000\r\nabc";
  EXPECT_EQ(parser.ParseFresh(head, {}, &partial, &args, &used), ParseResult::kIncomplete);
  EXPECT_EQ(partial.needed(), head.size() - 3 + 100000 + 2);
  EXPECT_TRUE(args.empty());
}

TEST(Resp, Integers) {
  int64_t n;
  EXPECT_TRUE(ParseInteger("0", &n) && n == 0);
  EXPECT_TRUE(ParseInteger("-1", &n) && n == -1);
  EXPECT_TRUE(ParseInteger("9223372036854775807", &n) && n == INT64_MAX);
  EXPECT_TRUE(ParseInteger("-9223372036854775808", &n) && n == INT64_MIN);
  for (const char* bad : {"", "-", "+1", "01", "-0", " 1", "1 ", "9223372036854775808", "-9223372036854775809",
                          "18446744073709551616", "1a"}) {
    EXPECT_FALSE(ParseInteger(bad, &n)) << bad;
  }
}

}  // namespace
}  // namespace skein::node
