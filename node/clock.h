// The clocks of a loop: wall and monotonic time read once a batch, and a cycle counter for timing single commands.
#ifndef SKEIN_NODE_CLOCK_H_
#define SKEIN_NODE_CLOCK_H_

#include <time.h>

#include <cstdint>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace skein::node {

inline int64_t ReadClockNanos(clockid_t id) {
  timespec t;
  clock_gettime(id, &t);
  return t.tv_sec * 1000000000ll + t.tv_nsec;
}

inline int64_t ReadMonoMs() { return ReadClockNanos(CLOCK_MONOTONIC) / 1'000'000; }

// Cycles since some start, at a steady rate (the invariant TSC); where there is none, nanoseconds.
inline uint64_t ReadCycles() {
#if defined(__x86_64__)
  return __rdtsc();
#else
  return static_cast<uint64_t>(ReadClockNanos(CLOCK_MONOTONIC));
#endif
}

// The rate of ReadCycles, measured against the monotonic clock over an ever longer time. One thread.
class CycleRate {
 public:
  CycleRate() {
    // A first estimate, good to about a percent; Refine makes it exact.
    while (ReadClockNanos(CLOCK_MONOTONIC) - start_nanos_ < 200000) {
    }
    Refine();
  }
  void Refine() {
    const int64_t nanos = ReadClockNanos(CLOCK_MONOTONIC) - start_nanos_;
    const uint64_t cycles = ReadCycles() - start_cycles_;
    if (cycles != 0) nanos_per_cycle_ = static_cast<double>(nanos) / static_cast<double>(cycles);
  }
  double Nanos(uint64_t cycles) const { return static_cast<double>(cycles) * nanos_per_cycle_; }
  uint64_t Cycles(double nanos) const { return static_cast<uint64_t>(nanos / nanos_per_cycle_); }

 private:
  int64_t start_nanos_ = ReadClockNanos(CLOCK_MONOTONIC);
  uint64_t start_cycles_ = ReadCycles();
  double nanos_per_cycle_ = 1;
};

}  // namespace skein::node

#endif  // SKEIN_NODE_CLOCK_H_
