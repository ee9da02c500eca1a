// Where the tool speaks, asks and shows how far it is. Tests have one of their own.
#ifndef SKEIN_OPS_AOF_TOOL_CONSOLE_H_
#define SKEIN_OPS_AOF_TOOL_CONSOLE_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

namespace skein::ops {

class Console {
 public:
  virtual ~Console() = default;
  // Standard output.
  virtual void Out(std::string_view text) = 0;
  // Standard error; whole lines.
  virtual void Err(std::string_view text) = 0;
  // Whether a person can be asked: standard input and standard error are a terminal.
  virtual bool CanAsk() const = 0;
  // Shows the question and waits for a line. True only for "y" or "yes".
  virtual bool Ask(std::string_view question) = 0;
  // Whether standard error is a terminal that redraws a line.
  virtual bool ShowsProgress() const = 0;
};

// A bar on standard error, on a terminal, while work goes on that takes longer than a moment. Advance: any thread; the
// rest: one.
class Progress {
 public:
  enum class Unit : uint8_t { kBytes, kOther };  // bytes are shown as such, else only the share that is done
  // `total`: how much the work will go through; may turn out to be wrong.
  Progress(Console* console, std::string label, uint64_t total, Unit unit = Unit::kBytes);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void Advance(uint64_t more) { Reach(done_.fetch_add(more, std::memory_order_relaxed) + more); }
  // So much is done in all.
  void Reach(uint64_t done);

 private:
  void Draw(uint64_t done);

  Console* const console_;
  const std::string label_;
  const uint64_t total_;
  const Unit unit_;
  const std::chrono::steady_clock::time_point started_;
  std::atomic<uint64_t> done_{0};
  std::mutex mutex_;  // over what follows
  std::chrono::steady_clock::time_point next_;
  bool drawn_ = false;
};

}  // namespace skein::ops

#endif  // SKEIN_OPS_AOF_TOOL_CONSOLE_H_
