#include "storage/parker.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace skein::storage {

void Parker::Park(std::chrono::nanoseconds limit) {
  const uint32_t depth = depth_.load(std::memory_order_relaxed);
  if (depth != kAwake) {
    timespec timeout = {};
    timeout.tv_sec = limit.count() / 1'000'000'000;
    timeout.tv_nsec = limit.count() % 1'000'000'000;
    // Returns at once if a waker has changed the word since; every other way to return is a reason to look around.
    syscall(SYS_futex, reinterpret_cast<uint32_t*>(&depth_), FUTEX_WAIT_PRIVATE, depth,
            limit.count() < 0 ? nullptr : &timeout, nullptr, 0);
  }
  depth_.store(kAwake, std::memory_order_relaxed);
}

void Parker::WakeNow() {
  if (depth_.exchange(kAwake, std::memory_order_seq_cst) != kAwake) {
    syscall(SYS_futex, reinterpret_cast<uint32_t*>(&depth_), FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  }
}

}  // namespace skein::storage
