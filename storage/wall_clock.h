// The wall clock, for what is written down or shown. Decisions inside a command use the command's own time.
#ifndef SKEIN_STORAGE_WALL_CLOCK_H_
#define SKEIN_STORAGE_WALL_CLOCK_H_

#include <chrono>

#include "storage/types.h"

namespace skein::storage {

// Any thread.
inline UnixMillis WallClock() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_WALL_CLOCK_H_
