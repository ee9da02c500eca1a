// A snapshot of a shard at one LSN, taken without a fork while commands go on.
//
// BeginSnapshot (storage/shard.h) moves the version of the shard's tables on: a bucket of an older version has not been
// saved. A bucket is saved immediately before it is first changed (Table::BeforeBucketChange), the others in slices
// between commands (StepSnapshot). Databases that are flushed meanwhile are kept, detached, until they have been saved;
// SWAPDB changes nothing for the snapshot, which knows each database by what it was called at its LSN. What has been
// saved travels in chunks to whoever writes it: a file, later a replica's socket. Large strings travel by reference:
// the shard copies one only if it changes it in place while it is borrowed.
//
// Source: DESIGN "Snapshots never fork".
#ifndef SKEIN_STORAGE_SNAPSHOT_H_
#define SKEIN_STORAGE_SNAPSHOT_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "storage/rdb/item.h"
#include "storage/types.h"

namespace skein::storage {

// How many bytes of one snapshot of one shard are on their way: counted up when a chunk is made, down when it is
// destroyed, on whatever thread that is. Outlives its chunks.
class SnapshotBudget {
 public:
  // `on_room` is called (any thread, must not block) when the bytes fall to half of the limit after having reached it.
  SnapshotBudget(uint64_t limit, std::function<void()> on_room) : limit_(limit), on_room_(std::move(on_room)) {}
  // Sequentially consistent, as all that happens here: who finds it full and then waits is told of the room.
  uint64_t bytes() const { return bytes_.load(); }
  uint64_t limit() const { return limit_; }
  // Past the limit: slices stop. Writes that would save a bucket wait (Shard::MayWrite) once it is twice the limit.
  bool full() const { return bytes() >= limit_; }
  bool overfull() const { return bytes() >= 2 * limit_; }
  void Add(uint64_t n);
  void Remove(uint64_t n);

 private:
  const uint64_t limit_;
  const std::function<void()> on_room_;
  std::atomic<uint64_t> bytes_{0};
  std::atomic<bool> was_full_{false};
};

// Some keys with their values, packed. Made by the shard's thread, read and destroyed by another.
class SnapshotChunk {
 public:
  virtual ~SnapshotChunk() = default;
  // Views live as long as the chunk.
  virtual void ForEach(const std::function<void(const RdbItem&)>& fn) const = 0;
  virtual uint64_t keys() const = 0;
  // What it holds in memory, borrowed strings included. Its share of the budget is at most the limit, so that one
  // string larger than that stops slices, but by itself no writes.
  virtual uint64_t bytes() const = 0;
};

// What takes a snapshot's chunks. All calls come from the shard's thread and must not block.
class SnapshotSink {
 public:
  virtual ~SnapshotSink() = default;
  virtual void Take(uint32_t shard, std::unique_ptr<SnapshotChunk> chunk) = 0;
  // After the last chunk, once: the snapshot is whole, or was cancelled.
  virtual void End(uint32_t shard, absl::Status status) = 0;
};

struct SnapshotOptions {
  std::shared_ptr<SnapshotBudget> budget;  // of this shard's snapshot
  std::shared_ptr<SnapshotSink> sink;
};

// What BeginSnapshot tells.
struct SnapshotStart {
  Lsn lsn = 0;  // the snapshot holds the state after every record before this
  struct Db {
    uint32_t db;
    uint64_t keys, expiring;
  };
  std::vector<Db> databases;  // that are not empty
};

enum class SnapshotStep : uint8_t {
  kNone,  // no snapshot is running
  kMore,  // there is more to do
  kFull,  // the budget is full: wait for room
  kDone,  // this call has ended it, and no other waited for that
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_SNAPSHOT_H_
