#include "ops/aof_tool/console.h"

#include "gtest/gtest.h"

namespace skein::ops {
namespace {

class Screen : public Console {
 public:
  explicit Screen(bool shows) : shows_(shows) {}
  void Out(std::string_view) override { FAIL() << "a bar belongs on standard error"; }
  void Err(std::string_view text) override { err += text; }
  bool CanAsk() const override { return false; }
  bool Ask(std::string_view) override { return false; }
  bool ShowsProgress() const override { return shows_; }
  std::string err;

 private:
  const bool shows_;
};

TEST(Progress, DrawsABarOnATerminalOnceItTakesLong) {
  Screen screen(true);
  {
    Progress progress(&screen, "verifying", uint64_t{1} << 40);
    progress.Advance(1);
    EXPECT_EQ(screen.err, "") << "short work shows nothing";
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    progress.Advance(uint64_t{1} << 39);
    while (screen.err.empty() && std::chrono::steady_clock::now() < deadline) progress.Advance(0);
    EXPECT_NE(screen.err.find("verifying [###############...............]  50 %  512.0 GiB of 1.0 TiB, "),
              std::string::npos)
        << screen.err;
    screen.err.clear();
  }
  EXPECT_EQ(screen.err, "\r\x1b[K") << "the line is cleared";
}

TEST(Progress, DrawsNothingElsewhere) {
  Screen screen(false);
  {
    Progress progress(&screen, "verifying", 10);
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(350);
    while (std::chrono::steady_clock::now() < end) progress.Advance(1);
  }
  EXPECT_EQ(screen.err, "");
}

}  // namespace
}  // namespace skein::ops
