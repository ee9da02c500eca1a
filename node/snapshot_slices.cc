// Slices of running snapshots, between batches of commands (storage/snapshot.h).
#include "node/loop_impl.h"

namespace skein::node {
namespace {

// Entries between two looks at the clock: about 20 microseconds when none is in the processor's cache.
constexpr size_t kStepEntries = 256;
// Beside clients that leave the loop time, the next slice begins after this at the latest.
constexpr uint64_t kBusyWaitMs = 1;

}  // namespace

void LoopImpl::SnapshotSlices() {
  bool running = false;
  for (const ShardHost* host : own_hosts_) running = running || host->shard->snapshot_running();
  if (!running) {
    if (slicing_) StopSlices();
    return;
  }
  const int64_t begin = ReadClockNanos(CLOCK_MONOTONIC);
  if (worked_) pace_.Worked(begin);
  worked_ = false;
  bool more = true;
  if (const int64_t length = pace_.Length(begin); length != 0) more = SnapshotSlice(begin, length);
  if (!more) {
    // Done, or the chunks on their way are too many: then whoever takes them calls OnProgress, which comes here again.
    StopSlices();
    return;
  }
  slicing_ = true;
  if (pace_.Busy(begin)) {
    uv_idle_stop(&slice_idle_);
    uv_timer_start(
        &slice_timer_, [](uv_timer_t*) {}, kBusyWaitMs, 0);
  } else {
    // The loop looks at its sockets without waiting, and comes here again.
    uv_idle_start(&slice_idle_, [](uv_idle_t*) {});
  }
}

bool LoopImpl::SnapshotSlice(int64_t begin, int64_t length) {
  const size_t count = own_hosts_.size();
  int64_t now = begin;
  size_t without = 0;  // shards in a row that have nothing to do now
  while (without < count && now < begin + length) {
    storage::Shard& shard = *own_hosts_[slice_next_ % count]->shard;
    const storage::SnapshotStep step = shard.StepSnapshot(kStepEntries);
    // Writes that waited for the snapshot wait no more.
    if (step == storage::SnapshotStep::kDone) OnProgress();
    if (step == storage::SnapshotStep::kMore) {
      without = 0;
    } else {
      ++without;
      ++slice_next_;
    }
    now = ReadClockNanos(CLOCK_MONOTONIC);
  }
  ++slice_next_;  // the next slice is another shard's
  pace_.Took(begin, now);
  return without < count;
}

void LoopImpl::StopSlices() {
  slicing_ = false;
  uv_idle_stop(&slice_idle_);
  uv_timer_stop(&slice_timer_);
}

}  // namespace skein::node
