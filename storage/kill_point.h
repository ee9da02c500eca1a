// Places where a test kills the process by name: between any two steps of every change of what is on disk.
//
// In production this is one relaxed load. Names are dotted: "rewrite.base-synced". tests/crash lists them from
// AllKillPoints, so that each one is visited; a name that is not in the list does not compile into a call.
#ifndef SKEIN_STORAGE_KILL_POINT_H_
#define SKEIN_STORAGE_KILL_POINT_H_

#include <atomic>
#include <functional>
#include <span>
#include <string_view>

namespace skein::storage {

namespace internal {
extern std::atomic<bool> kill_points_armed;
void ReachKillPoint(std::string_view name);
}  // namespace internal

// Any thread.
inline void KillPoint(std::string_view name) {
  if (internal::kill_points_armed.load(std::memory_order_relaxed)) internal::ReachKillPoint(name);
}

// Kills the process (SIGKILL) at the `nth` time that it comes to `name`. False if there is no such name. Set by the
// node from the environment variable SKEIN_KILL_AT ("name" or "name:nth").
bool ArmKillPoint(std::string_view name, int nth = 1);
// Instead of killing, calls `hook` at every point; null disarms. For tests inside one process.
void SetKillPointHook(std::function<void(std::string_view name)> hook);
// Every name there is.
std::span<const std::string_view> AllKillPoints();

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_KILL_POINT_H_
