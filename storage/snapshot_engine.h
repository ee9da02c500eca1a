// The shard's side of a running snapshot: what has been saved, what is left, and the chunk being filled.
//
// A database that held keys when the snapshot began is a part of it. A part is done in one of two ways: it is walked,
// bucket by bucket, each bucket that still has an older version being copied; or, once it has been detached, it is
// taken apart, each bucket being copied if need be and freed at once, so that the memory falls while it is saved. In
// between, a bucket that is about to change is copied first (BucketSaver).
//
// What a bucket costs to save is bounded by copying its entries: a long string is not copied but shared
// (EntryOps::Pack, which is also where a value that is saved in slices of its own belongs). Thread: the shard's.
#ifndef SKEIN_STORAGE_SNAPSHOT_ENGINE_H_
#define SKEIN_STORAGE_SNAPSHOT_ENGINE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "storage/keyspace.h"
#include "storage/snapshot.h"
#include "storage/snapshot_chunk.h"
#include "storage/table.h"

namespace skein::storage {

class Snapshot {
 public:
  // Begins: costs the same however much the databases hold. `keyspace` outlives this.
  Snapshot(const SnapshotOptions& options, uint32_t shard, Keyspace* keyspace);
  // End has been called.
  ~Snapshot() = default;
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

  // Saves about `entries`; kDone: End(OK) is due. Never kNone.
  SnapshotStep Step(size_t entries);
  // Hands over what there is (OK) or drops it, leaves the keyspace as if nothing had been, and tells the sink.
  void End(const absl::Status& status);
  // `detached` has left the keyspace: takes it if it is not saved yet.
  void Keep(std::unique_ptr<Database>* detached);

  bool overfull() const { return budget_->overfull(); }
  uint64_t saved_keys() const { return saved_keys_; }
  uint64_t kept_bytes() const;

 private:
  // A database as it was called when the snapshot began.
  struct Part final : BucketSaver {
    void Save(const Bucket& head) override;

    Snapshot* snapshot;
    uint32_t db;
    Database* database;              // null: done
    std::unique_ptr<Database> kept;  // the same, once it has been detached
    Database::Walk walk;
  };
  struct Batch;

  static void PrefetchEntries(const Bucket& head);
  void SaveChain(uint32_t db, const Bucket& head);
  // Both return about how many entries they have looked at, and set part->database to null at the end.
  size_t WalkSome(Part* part, size_t entries);
  size_t TakeApart(Part* part, size_t entries);
  void HandOver();

  const std::shared_ptr<SnapshotBudget> budget_;
  const std::shared_ptr<SnapshotSink> sink_;
  const uint32_t shard_;
  Keyspace* const keyspace_;
  std::vector<Part> parts_;  // never grows: tables point to its elements
  size_t kept_ = 0;          // how many of them are kept
  std::unique_ptr<PackedChunk> chunk_;
  uint64_t saved_keys_ = 0;
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_SNAPSHOT_ENGINE_H_
