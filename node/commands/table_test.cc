#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"
#include "node/command.h"
#include "node/commands/harness.h"
#include "node/util/words.h"

namespace skein::node {
namespace {

using Words = std::vector<std::string_view>;

std::string Upper(std::string_view s) {
  std::string upper(s);
  for (char& c : upper) c = UpperAscii(c);
  return upper;
}

TEST(Table, FindsEveryCommandInAnyCase) {
  ASSERT_GT(AllCommands().size(), 45u);
  std::set<std::string> names;
  for (const CommandSpec* spec : AllCommands()) {
    EXPECT_TRUE(names.insert(spec->name).second) << spec->name;
    for (const std::string& name : {std::string(spec->name), Upper(spec->name)}) {
      EXPECT_EQ(FindCommand(Words{name}), spec) << name;
      EXPECT_EQ(FindCommandByName(name), spec) << name;
    }
    for (const CommandSpec& sub : spec->subcommands) {
      EXPECT_EQ(FindCommand(Words{spec->name, sub.name, "x"}), &sub);
      const std::string upper = Upper(sub.name);
      EXPECT_EQ(FindCommand(Words{spec->name, upper}), &sub);
      EXPECT_EQ(FindCommandByName(std::string(spec->name) + "|" + sub.name), &sub);
      EXPECT_STREQ(sub.parent, spec->name);
    }
  }
}

TEST(Table, FindsNothingElse) {
  EXPECT_EQ(FindCommand(Words{}), nullptr);
  EXPECT_EQ(FindCommand(Words{""}), nullptr);
  for (const CommandSpec* spec : AllCommands()) {
    const std::string name = spec->name;
    // One byte less, one more, and every byte with bit 5 turned where it is no letter, or another bit.
    std::vector<std::string> wrong = {name.substr(1), name + "x", name + std::string(1, '\0')};
    for (size_t i = 0; i < name.size(); ++i) {
      for (const int bit : {1, 0x40, 0x80}) {
        wrong.push_back(name);
        wrong.back()[i] = static_cast<char>(wrong.back()[i] ^ bit);
      }
    }
    for (const std::string& w : wrong) {
      const CommandSpec* found = FindCommand(Words{w});
      if (found != nullptr) {
        EXPECT_EQ(Upper(found->name), Upper(w));
      }
    }
  }
  EXPECT_EQ(FindCommandByName("object|"), nullptr);
  EXPECT_EQ(FindCommandByName("get|x"), nullptr);
}

TEST(Table, AnUnknownSubcommandGivesTheContainer) {
  const CommandSpec* object = FindCommand(Words{"object"});
  ASSERT_NE(object, nullptr);
  EXPECT_EQ(FindCommand(Words{"OBJECT", "nosuch"}), object);
  EXPECT_EQ(object->run, nullptr);
}

TEST(Table, EveryRowIsWhole) {
  for (const CommandSpec* spec : AllCommands()) {
    SCOPED_TRACE(spec->name);
    EXPECT_TRUE(spec->run != nullptr || !spec->subcommands.empty());
    EXPECT_EQ(spec->scope == Scope::kAllShards, spec->merge != nullptr);
    EXPECT_NE(spec->arity, 0);
    for (const char* text : {spec->summary, spec->since, spec->group}) EXPECT_NE(text, nullptr);
    EXPECT_NE((spec->flags & (kFlagWrite | kFlagReadonly)), uint32_t{kFlagWrite | kFlagReadonly});
    if (spec->scope == Scope::kShard) {
      EXPECT_TRUE(!spec->keys.empty() || spec->route != nullptr);
    }
  }
}

// ---- Key specifications -------------------------------------------------------------------------------------------

std::vector<uint32_t> Positions(const KeySpec& keys, const Words& words) {
  CommandSpec spec{};
  spec.keys = {&keys, 1};
  std::vector<uint32_t> positions;
  if (!FindKeys(spec, words, &positions)) return {9999};
  return positions;
}

using P = std::vector<uint32_t>;

TEST(FindKeys, Range) {
  EXPECT_EQ(Positions({}, {"get", "a"}), P({1}));
  EXPECT_EQ(Positions({.index = 2}, {"object", "freq", "a"}), P({2}));
  EXPECT_EQ(Positions({.last_key = 1}, {"lcs", "a", "b", "len"}), P({1, 2}));
  EXPECT_EQ(Positions({.last_key = -1}, {"del", "a", "b", "c"}), P({1, 2, 3}));
  EXPECT_EQ(Positions({.last_key = -1, .step = 2}, {"mset", "a", "1", "b", "2"}), P({1, 3}));
  EXPECT_EQ(Positions({.last_key = -2}, {"blpop", "a", "b", "0"}), P({1, 2}));
  // XREAD STREAMS: the first half of what follows the keyword.
  EXPECT_EQ(Positions({.keyword = "STREAMS", .index = 1, .last_key = -1, .limit = 2},
                      {"xread", "count", "2", "streams", "a", "b", "0", "0"}),
            P({4, 5}));
  EXPECT_EQ(Positions({}, {"get"}), P({9999}));
  EXPECT_EQ(Positions({.last_key = 1}, {"lcs", "a"}), P({9999}));
}

TEST(FindKeys, Keyword) {
  const KeySpec backward{.keyword = "KEYS", .index = -2, .last_key = -1};
  EXPECT_EQ(Positions(backward, {"migrate", "h", "p", "", "0", "9", "keys", "a", "b"}), P({7, 8}));
  EXPECT_EQ(Positions(backward, {"migrate", "h", "p", "k", "0", "9"}), P({}));
}

TEST(FindKeys, KeyNum) {
  const KeySpec eval{.index = 2, .by_keynum = true, .keynum_index = 0, .first_key = 1};
  EXPECT_EQ(Positions(eval, {"eval", "s", "2", "a", "b", "x"}), P({3, 4}));
  EXPECT_EQ(Positions(eval, {"eval", "s", "0", "x"}), P({}));
  EXPECT_EQ(Positions(eval, {"eval", "s", "3", "a", "b"}), P({9999}));
  EXPECT_EQ(Positions(eval, {"eval", "s", "x", "a"}), P({9999}));
  EXPECT_EQ(Positions(eval, {"eval", "s", "-1", "a"}), P({9999}));
  EXPECT_EQ(Positions(eval, {"eval", "s", "9223372036854775807", "a"}), P({9999}));
  EXPECT_EQ(Positions(eval, {"eval", "s"}), P({9999}));
}

TEST(FindKeys, NotKeysAreLeftOut) {
  EXPECT_EQ(Positions({.flags = KeySpec::kNotKey}, {"spublish", "channel", "m"}), P({}));
}

}  // namespace
}  // namespace skein::node
