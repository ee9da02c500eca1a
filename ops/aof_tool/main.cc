// skein-aof: see tool.h. Run by ops/aof.
#include <glog/logging.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>

#include "ops/aof_tool/tool.h"
#include "storage/kill_point.h"

namespace skein::ops {
namespace {

class StandardConsole : public Console {
 public:
  void Out(std::string_view text) override {
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) Note();
  }
  void Err(std::string_view text) override { std::fwrite(text.data(), 1, text.size(), stderr); }
  bool CanAsk() const override { return isatty(STDIN_FILENO) != 0 && isatty(STDERR_FILENO) != 0; }
  bool Ask(std::string_view question) override {
    std::fflush(stdout);
    Err(question);
    char line[64] = {};
    if (std::fgets(line, sizeof(line), stdin) == nullptr) return false;
    const std::string_view answer(line, std::strcspn(line, "\r\n"));
    return answer == "y" || answer == "yes" || answer == "Y";
  }
  bool ShowsProgress() const override { return shows_progress_; }

  // What could not be written to standard output, as an errno value; 0 if nothing.
  int Close() {
    if (std::fflush(stdout) != 0) Note();
    return error_;
  }

 private:
  void Note() {
    if (error_ == 0) error_ = errno;
  }

  const bool shows_progress_ = isatty(STDERR_FILENO) != 0;
  int error_ = 0;
};

int Main(int argc, char** argv) {
  // A pager that is left early ends the tool without a word.
  signal(SIGPIPE, SIG_DFL);
  google::InitGoogleLogging(argv[0]);
  FLAGS_logtostderr = true;
  FLAGS_minloglevel = google::GLOG_ERROR;
  StandardConsole console;
  if (!storage::ArmKillPointFromEnvironment()) {
    console.Err("ops/aof: SKEIN_KILL_AT names no kill point; it is for tests, unset it\n");
    return kRefused;
  }
  const int code = RunTool({storage::RealFileSystem(), &console}, {argv + 1, argv + argc});
  if (const int error = console.Close(); error != 0) {
    console.Err(std::string("ops/aof: standard output: ") + std::strerror(error) + "\n");
    return code == kOk ? kFailed : code;
  }
  return code;
}

}  // namespace
}  // namespace skein::ops

int main(int argc, char** argv) { return skein::ops::Main(argc, argv); }
