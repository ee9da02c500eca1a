#include "storage/kill_point.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <mutex>
#include <utility>

namespace skein::storage {
namespace {

struct Armed {
  std::mutex mutex;
  std::string_view name;  // of the list; empty: none
  int left = 0;
  std::function<void(std::string_view)> hook;
};

Armed& State() {
  static Armed* const armed = new Armed;
  return *armed;
}

}  // namespace

namespace internal {

std::atomic<bool> kill_points_armed{false};

void ReachKillPoint(std::string_view name) {
  std::function<void(std::string_view)> hook;
  {
    Armed& armed = State();
    const std::lock_guard<std::mutex> lock(armed.mutex);
    hook = armed.hook;
    if (!hook && armed.name == name && --armed.left == 0) {
      kill(getpid(), SIGKILL);
      // The signal reaches the process, but not always this thread before it goes on: it must not.
      while (true) pause();
    }
  }
  if (hook) hook(name);
}

}  // namespace internal

bool ArmKillPoint(std::string_view name, int nth) {
  const auto* const known = std::find(std::begin(kKillPoints), std::end(kKillPoints), name);
  if (known == std::end(kKillPoints) || nth < 1) return false;
  Armed& armed = State();
  const std::lock_guard<std::mutex> lock(armed.mutex);
  armed.name = *known;
  armed.left = nth;
  internal::kill_points_armed.store(true);
  return true;
}

bool ArmKillPointFromEnvironment() {
  const char* const text = std::getenv("SKEIN_KILL_AT");
  if (text == nullptr) return true;
  std::string_view name = text;
  int nth = 1;
  if (const size_t colon = name.find(':'); colon != std::string_view::npos) {
    const std::string_view number = name.substr(colon + 1);
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), nth);
    if (error != std::errc() || end != number.data() + number.size()) return false;
    name = name.substr(0, colon);
  }
  return ArmKillPoint(name, nth);
}

void SetKillPointHook(std::function<void(std::string_view name)> hook) {
  Armed& armed = State();
  const std::lock_guard<std::mutex> lock(armed.mutex);
  armed.hook = std::move(hook);
  armed.name = {};
  internal::kill_points_armed.store(armed.hook != nullptr);
}

std::span<const std::string_view> AllKillPoints() { return kKillPoints; }

}  // namespace skein::storage
