// Every script under bus/engine/testdata gives the answers that it holds.
// After a change on purpose: bazel run //tests/sim:script -- $PWD/bus/engine/testdata/*.txt, then read the diff.
#include "tests/sim/script.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace skein::sim {
namespace {

TEST(Script, AnswersAreAsRecorded) {
  int scripts = 0;
  for (const auto& entry : std::filesystem::directory_iterator("bus/engine/testdata")) {
    if (entry.path().extension() != ".txt") continue;
    SCOPED_TRACE(entry.path().string());
    std::ifstream in(entry.path());
    std::stringstream text;
    text << in.rdbuf();
    EXPECT_EQ(RunScript(text.str()), text.str());
    ++scripts;
  }
  EXPECT_GE(scripts, 10);
}

}  // namespace
}  // namespace skein::sim
