// When a loop may work on a running snapshot, and for how long: pure, so that it can be tested.
//
// Beside clients a slice is short and takes its turn among batches of commands; a client waits for one slice at most.
// Without clients slices follow one another, with a look at the sockets in between.
#ifndef SKEIN_NODE_SLICE_PACE_H_
#define SKEIN_NODE_SLICE_PACE_H_

#include <cstdint>

namespace skein::node {

class SlicePace {
 public:
  // Beside clients: about what a batch of commands of fifty clients takes a quarter of, so that the slowest replies
  // stay well below twice as slow.
  static constexpr int64_t kBusySliceNanos = 100'000;
  // After a slice clients have the loop for at least so many times as long: at most a fifth of its time goes to slices,
  // which leaves room for the buckets that writes save (a few per cent more) within a quarter in all.
  static constexpr int64_t kRest = 4;
  // Without clients: long enough to make the look at the sockets in between (some microseconds) cheap, short enough for
  // a client that comes now.
  static constexpr int64_t kIdleSliceNanos = 200'000;
  // So long without a command and there are no clients: longer than the pauses of a client that waits for each reply on
  // the same machine.
  static constexpr int64_t kIdleAfterNanos = 3'000'000;

  // Commands have been executed.
  void Worked(int64_t now) { worked_ = now; }
  bool Busy(int64_t now) const { return now - worked_ < kIdleAfterNanos; }
  // The length of a slice that begins now; 0: not yet.
  int64_t Length(int64_t now) const {
    if (!Busy(now)) return kIdleSliceNanos;
    return now >= next_ ? kBusySliceNanos : 0;
  }
  void Took(int64_t begin, int64_t end) { next_ = end + (end - begin) * kRest; }

 private:
  int64_t worked_ = -kIdleAfterNanos;
  int64_t next_ = 0;
};

}  // namespace skein::node

#endif  // SKEIN_NODE_SLICE_PACE_H_
