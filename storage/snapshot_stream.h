// A snapshot of one shard as the bytes of a base (storage/FORMAT.md), made while they are read: for a replica's socket.
//
// The shard's thread only hands over chunks; they are encoded by whoever calls Next. Bounded by the snapshot's budget:
// a reader that does not come stops the shard's slices, and writes that would need room wait, as with a file.
#ifndef SKEIN_STORAGE_SNAPSHOT_STREAM_H_
#define SKEIN_STORAGE_SNAPSHOT_STREAM_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/rdb/encoder.h"
#include "storage/save_run.h"
#include "storage/shard.h"
#include "storage/types.h"

namespace skein::storage {

class SnapshotStream {
 public:
  // Called on the shard's thread when the snapshot has begun at `lsn` (the place to pin), or not; once, unless the
  // stream has gone before. Nothing comes between the snapshot's beginning and this.
  using OnBegin = std::function<void(Shard& shard, absl::StatusOr<Lsn> lsn)>;
  struct Env {
    uint32_t shard = 0;
    uint32_t shards = 1;
    DataSet::RunOnShard run_on_shard;
    SaveOptions save;               // its limits and words
    bool compress = false;          // strings, in the stream
    std::function<void()> on_room;  // as of SaverEnv
    OnBegin on_begin;
  };
  // Queues up behind a snapshot of that shard that is running. Any thread.
  explicit SnapshotStream(Env env);
  // Ends the snapshot, if it has not ended. Any thread.
  ~SnapshotStream();
  SnapshotStream(const SnapshotStream&) = delete;
  SnapshotStream& operator=(const SnapshotStream&) = delete;

  // The next bytes; empty at the end of the base. Waits for the shard. One thread. The view lives until the next call.
  // Cancelled after Cancel; FailedPrecondition if the shard is not whole.
  absl::StatusOr<std::string_view> Next();
  // Next returns Cancelled from now on, and wakes for it. Any thread.
  void Cancel();

  // For INFO. Any thread.
  uint64_t keys() const { return keys_.load(std::memory_order_relaxed); }
  uint64_t unread_bytes() const { return budget_->bytes(); }

 private:
  // What the snapshot's beginning knows besides; written before the queue tells of it.
  struct Begun {
    std::vector<Reign> history;
  };
  void Head(const SaveQueue::Begun& begun);

  const Env env_;
  const std::shared_ptr<SnapshotBudget> budget_;
  const std::shared_ptr<SaveQueue> queue_;
  const std::shared_ptr<Begun> begun_;
  std::string out_;
  RdbEncoder encoder_;
  bool ended_ = false;
  std::atomic<uint64_t> keys_{0};
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_SNAPSHOT_STREAM_H_
