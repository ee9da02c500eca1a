// Runs the scripts of testdata/, whose replies were recorded from redis-server by tests/compat/record.py, and compares
// reply by reply, byte by byte.
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "node/commands/harness.h"

namespace skein::node {
namespace {

class Script : public testing::TestWithParam<const char*> {};

TEST_P(Script, RepliesAsRedisDoes) {
  std::ifstream in(std::string("node/commands/testdata/") + GetParam() + ".txt");
  ASSERT_TRUE(in) << "no such script";
  std::string line;
  std::getline(in, line);
  const bool cluster = line == "! cluster";
  Harness harness(cluster ? 4 : 1, cluster);
  int number = 1, compared = 0;
  do {
    if (line.starts_with("! resp ")) harness.resp = std::stoi(line.substr(7));
    if (line.starts_with("! advance ")) harness.now_ms += std::stoi(line.substr(10));
    if (line.starts_with("> ")) {
      std::string expected;
      ASSERT_TRUE(std::getline(in, expected)) << "a command without a reply";
      EXPECT_EQ(Escape(harness.Run(line.substr(2))), expected) << GetParam() << ".txt:" << number << ": " << line;
      ++number;
      ++compared;
    }
    ++number;
  } while (std::getline(in, line));
  EXPECT_GT(compared, 15);
}

INSTANTIATE_TEST_SUITE_P(Commands, Script, testing::Values("string", "generic", "cluster", "command", "dump"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace skein::node
