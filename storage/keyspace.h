// The tables of a shard: for each database one small table a slot, and an index of the keys with a time to live.
//
// Nothing here knows of logs, observers or clocks: that is Shard, which is the only user beside tests and snapshots.
// Thread: the shard's. A database that has been detached may be freed on another thread.
#ifndef SKEIN_STORAGE_KEYSPACE_H_
#define SKEIN_STORAGE_KEYSPACE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "storage/entry.h"
#include "storage/entry_ops.h"
#include "storage/table.h"
#include "storage/types.h"

namespace skein::storage {

class Reclaimer;  // memory that is no longer part of the data, but not yet free

class Database {
 public:
  // For the slots s with s % shard_count == shard_index.
  Database(uint32_t shard_index, uint32_t shard_count);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // ---- One key. None of these looks at the time. -------------------------------------------------------------------
  Entry* Find(const Key& key) const {
    const Table::Position at = SlotTable(key.slot).Find(key.hash, key.bytes);
    return at ? at.entry() : nullptr;
  }
  // The key holds this string. `keep_expiry`: that of the present entry instead of `expire_at`.
  void Put(const Key& key, const StringValue& value, UnixMillis expire_at, bool keep_expiry, uint32_t access);
  // Resizes the string of a key that exists (see EntryOps::EditString) and returns its bytes.
  char* EditString(const Key& key, size_t new_size);
  // kNoExpiry clears. The key exists.
  void SetExpiry(const Key& key, UnixMillis at);
  // Takes the entry out and gives it to the caller; null if there is none.
  Entry* Extract(const Key& key);
  // Takes ownership of `entry`, whose key is key.bytes and not in here.
  void Insert(const Key& key, Entry* entry);
  // Extract and free. False if there is none.
  bool Erase(const Key& key);

  // Hints for Find, see Shard::Prefetch.
  void Prefetch(const Key& key, int stage) const {
    const Table& table = SlotTable(key.slot);
    if (stage == 0) {
      __builtin_prefetch(&table);
    } else if (stage == 1) {
      table.PrefetchBucket(key.hash);
    } else {
      table.PrefetchEntry(key.hash);
    }
  }

  // ---- All keys ----------------------------------------------------------------------------------------------------
  uint64_t size() const { return keys_; }
  uint64_t size_in_slot(uint16_t slot) const { return SlotTable(slot).size(); }
  uint64_t expiring() const { return expires_.size(); }
  // The mean of the expiry times; 0 if there are none.
  UnixMillis mean_expiry() const;
  // See Shard::Scan. `only_slot` belongs to this shard, or is kNoSlot.
  uint64_t Scan(uint64_t cursor, size_t count, uint16_t only_slot, const std::function<void(const Entry&)>& fn) const;
  // Up to `limit` entries of a slot.
  void ForEachInSlot(uint16_t slot, size_t limit, const std::function<void(const Entry&)>& fn) const;
  // The entries with a time to live, one bucket of the index a call; see Table::ScanBucket.
  template <typename F>
  uint64_t ScanExpiring(uint64_t cursor, F&& fn) const {
    return expires_.ScanBucket(cursor, fn);
  }
  // An entry chosen about evenly by the random number `r`, null if there are none.
  const Entry* Random(uint64_t r) const;

  // ---- Memory
  // --------------------------------------------------------------------------------------------------------- Bytes of
  // entries, values and tables.
  uint64_t bytes() const { return entry_bytes_ + context_.bytes + index_context_.bytes; }
  // Of the tables, and of the index of expiring keys.
  const TableContext& context() const { return context_; }
  const TableContext& index_context() const { return index_context_; }
  // Frees about `entries` entries of a database that nobody looks at any more, saving them before if a snapshot still
  // needs them; false once nothing is left. Large ones go to `large`, if there is one.
  bool FreeSome(size_t entries, Reclaimer* large = nullptr);

  // ---- Snapshots (storage/snapshot_engine.h) -----------------------------------------------------------------------
  // Moves the version on: from now on `saver` is shown each bucket before it first changes, until EndVersion. Whoever
  // saves a bucket by other means gives it this version.
  void BeginVersion(BucketSaver* saver);
  // `whole`: every bucket has been saved.
  void EndVersion(bool whole);
  uint16_t version() const { return context_.version; }
  // A place in the order of slots, and in each of bucket numbers. Buckets that appear behind it while it moves on come
  // from ones before it or from saved ones.
  struct Walk {
    uint32_t local = 0;
    uint32_t bucket = 0;
  };
  // Up to `max` buckets from `walk` on, which moves behind them, and hints their memory; 0: that was all.
  size_t NextBuckets(Walk* walk, Bucket** out, size_t max) const;

 private:
  static constexpr uint32_t kPageSlots = 64;
  struct Page {
    Table tables[kPageSlots];
  };
  // A page with its summary, which says what is worth a look without touching the tables.
  struct PageRef {
    Page* page = nullptr;
    uint64_t occupied = 0;  // bit i: table i holds keys
    uint64_t keys = 0;
  };

  // kSlots / shard_count by multiplication: exact for all slots.
  uint32_t LocalOf(uint16_t slot) const { return static_cast<uint32_t>((slot * reciprocal_) >> 32); }
  uint16_t SlotOf(uint32_t local) const { return static_cast<uint16_t>(local * shard_count_ + shard_index_); }
  const Table& SlotTable(uint16_t slot) const {
    const uint32_t local = LocalOf(slot);
    const Page* page = pages_[local / kPageSlots].page;
    return page == nullptr ? kEmptyTable : page->tables[local % kPageSlots];
  }
  // For a slot that has a page.
  Table& MutableTable(uint16_t slot) {
    const uint32_t local = LocalOf(slot);
    return pages_[local / kPageSlots].page->tables[local % kPageSlots];
  }
  // The first local slot from `local` on that holds keys; locals_ if there is none.
  uint32_t NextOccupied(uint32_t local) const;
  void InsertIntoTable(const Key& key, Entry* entry);
  // Keeps the index and its sum in step: the entry was `before` (null: none) with `before_at`, and is now `after`.
  void UpdateExpiry(uint64_t hash, Entry* before, UnixMillis before_at, Entry* after, UnixMillis after_at);

  static const Table kEmptyTable;

  const uint32_t shard_index_;
  const uint32_t shard_count_;
  const uint64_t reciprocal_;
  const uint32_t locals_;
  std::vector<PageRef> pages_;
  uint64_t keys_ = 0;
  uint64_t entry_bytes_ = 0;
  TableContext context_;
  // The index has a version of its own, which nobody saves: it holds nothing that the tables do not.
  TableContext index_context_;
  Table expires_;
  __int128 expiry_sum_ = 0;
  uint32_t free_page_ = 0;
  // Versions have 16 bits: a bucket must not keep one until it comes round. All buckets are of the last `age_` versions
  // before this one, or of this one. A snapshot that has become whole makes that 0; where one after another is
  // cancelled, buckets take the version of now in passing, some at each beginning (Refresh).
  uint32_t age_ = 0;
  Walk refresh_;
  uint32_t refresh_age_ = 0;  // versions since the refreshing began
  void Refresh(size_t buckets);
};

class BackgroundFree;

class Keyspace {
 public:
  // `background` frees what is large, and outlives this; null: Reclaim does.
  Keyspace(uint32_t databases, uint32_t shard_index, uint32_t shard_count, BackgroundFree* background);
  ~Keyspace();
  Keyspace(const Keyspace&) = delete;
  Keyspace& operator=(const Keyspace&) = delete;

  uint32_t databases() const { return static_cast<uint32_t>(databases_.size()); }
  Database& db(uint32_t i) { return *databases_[i]; }
  const Database& db(uint32_t i) const { return *databases_[i]; }
  void Swap(uint32_t a, uint32_t b) { databases_[a].swap(databases_[b]); }
  // Empties a database at once and returns what it held, to be given to FreeLater in the end.
  std::unique_ptr<Database> Detach(uint32_t db);
  // Frees a small one here and now, another one through the reclaimer.
  void FreeLater(std::unique_ptr<Database> detached);
  // Frees an entry that is in no table, a large one through the reclaimer.
  void FreeLater(Entry* entry);

  // All databases, and what the reclaimer still holds.
  uint64_t bytes() const;
  // Bytes that wait to be freed.
  uint64_t reclaiming_bytes() const;
  // Frees a bounded amount of what waits and is not the background thread's; true if more is left.
  bool Reclaim();
  Reclaimer* reclaimer() { return reclaimer_.get(); }

 private:
  const uint32_t shard_index_;
  const uint32_t shard_count_;
  std::vector<std::unique_ptr<Database>> databases_;
  std::unique_ptr<Reclaimer> reclaimer_;
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_KEYSPACE_H_
