// A hash table of entries that grows and shrinks one bucket at a time: linear hashing over cache-line buckets.
//
// A bucket is 64 bytes: seven entry pointers, whose upper 16 bits carry a tag of the hash, and a word with the pointer
// to an overflow bucket and the bucket's version. With n buckets, and 2^L <= n < 2^(L+1), a hash belongs to the bucket
// of its low L+1 bits if there is one of that number, else to that of its low L bits. Growing splits one bucket in two,
// shrinking merges two in one, so no operation ever moves more than a chain of entries and, at most, copies one
// segment.
//
// Buckets stand in segments of 8 KiB. Only the last one is smaller, in steps, as long as the table is small; one
// segment needs no directory, up to 512 need one, more need two levels of them.
//
// Which entries a table holds is its owner's business: it never frees one. Thread: the owner's.
// Source: W. Litwin, "Linear hashing: a new tool for file and table addressing" (1980).
#ifndef SKEIN_STORAGE_TABLE_H_
#define SKEIN_STORAGE_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "storage/entry.h"

namespace skein::storage {

struct Bucket;

// Whoever must see a bucket before it changes: a running snapshot.
class BucketSaver {
 public:
  // The chain that starts at `head` is about to change for the first time since the owner's version moved on. Must not
  // change the table.
  virtual void Save(const Bucket& head) = 0;

 protected:
  ~BucketSaver() = default;
};

// What a table of one owner shares with the others: counts, and what snapshots need.
struct TableContext {
  // Bytes of buckets and directories, as the allocator rounds them.
  uint64_t bytes = 0;
  // Entries and buckets moved by growth and shrinkage since start: the work that is bounded per operation.
  uint64_t moves = 0;
  // Overflow buckets in use.
  uint64_t overflow_buckets = 0;
  // The version of the owner's data. A bucket of another one has not been changed, nor saved, since it moved on.
  uint16_t version = 0;
  // Null while no snapshot runs.
  BucketSaver* saver = nullptr;
};

struct alignas(64) Bucket {
  static constexpr uint32_t kEntries = 7;
  static constexpr uint64_t kPointerMask = (uint64_t{1} << 48) - 1;

  // Dense over the whole chain: the first empty word (0) ends it.
  uint64_t words[kEntries];
  uint64_t link;

  // NOLINTBEGIN(performance-no-int-to-ptr): the pointer's upper bits are the tag's.
  static Entry* EntryOf(uint64_t word) { return reinterpret_cast<Entry*>(word & kPointerMask); }
  Bucket* next() const { return reinterpret_cast<Bucket*>(link & kPointerMask); }
  // NOLINTEND(performance-no-int-to-ptr)
  void set_next(Bucket* b) { link = (link & ~kPointerMask) | reinterpret_cast<uint64_t>(b); }
  // Of the chain that starts here.
  uint16_t version() const { return static_cast<uint16_t>(link >> 48); }
  void set_version(uint16_t v) { link = (link & kPointerMask) | (uint64_t{v} << 48); }
};
static_assert(sizeof(Bucket) == 64);

class alignas(32) Table {
 public:
  // Where an entry stands. Valid until the next change of the table.
  struct Position {
    Bucket* head = nullptr;  // first of the chain
    uint64_t* word = nullptr;
    explicit operator bool() const { return word != nullptr; }
    Entry* entry() const { return Bucket::EntryOf(*word); }
  };

  Table() = default;
  // Buckets must have been released (a table does not know its context): see Clear and PopBucket.
  ~Table() = default;
  Table(Table&& other) noexcept { *this = static_cast<Table&&>(other); }
  Table& operator=(Table&& other) noexcept {
    root_ = other.root_;
    size_ = other.size_;
    buckets_ = other.buckets_;
    other.root_ = nullptr;
    other.size_ = 0;
    other.buckets_ = 0;
    return *this;
  }

  uint64_t size() const { return size_; }
  uint32_t buckets() const { return buckets_; }

  Position Find(uint64_t hash, std::string_view key) const;
  // The position of this very entry, which is not looked at.
  Position FindEntry(uint64_t hash, const Entry* entry) const;
  // `entry`'s key is not in the table. Splits at most one bucket.
  void Insert(uint64_t hash, Entry* entry, TableContext* context);
  // Merges at most one pair of buckets.
  void Erase(Position at, TableContext* context);
  // Puts another entry of the same key in its place.
  void Replace(Position at, Entry* entry, TableContext* context);
  // Must precede every change of a bucket's chain and of what its entries hold (access data excepted). The one place
  // where a snapshot saves a bucket before it changes.
  static void BeforeBucketChange(Bucket* head, TableContext* context) {
    if (__builtin_expect(head->version() != context->version, 0)) TakeVersion(head, context);
  }
  // What BeforeBucketChange does for a bucket of another version: saves it, and gives it the version of now.
  static void TakeVersion(Bucket* head, TableContext* context);

  // Bucket `index` < buckets(): the head of its chain. For a walk over all buckets by number, which meets each entry of
  // a table that does not change.
  Bucket* BucketAt(uint32_t index) const { return At(index); }

  // Hints the bucket that Find(hash) will read.
  void PrefetchBucket(uint64_t hash) const {
    if (buckets_ != 0) __builtin_prefetch(At(IndexOf(hash)));
  }
  // Hints the entry that Find(hash) will read, reading the bucket.
  void PrefetchEntry(uint64_t hash) const;

  // SCAN. A cursor is a point in the order of bit-reversed hashes, stored reversed, so that 0 is the start; it has at
  // most 33 bits. In that order every bucket is one interval, which splits and merges in place; so a scan that always
  // ends at the end of an interval has delivered all that was before its cursor, however the table changed meanwhile.
  // Calls fn(Entry*) for each entry of one bucket, and returns the next cursor, 0 after the last bucket. Any value is
  // a valid cursor. `fn` must not change the table.
  template <typename F>
  uint64_t ScanBucket(uint64_t cursor, F&& fn) const {
    if (buckets_ == 0) return 0;
    const uint32_t index = IndexOf(cursor);
    ForEachIn(index, fn);
    return NextCursor(cursor, DepthOf(index));
  }

  // Calls fn(Entry*) for every entry of bucket `index` < buckets(). `fn` must not change the table.
  template <typename F>
  void ForEachIn(uint32_t index, F&& fn) const {
    for (const Bucket* b = At(index); b != nullptr; b = b->next()) {
      for (const uint64_t word : b->words) {
        if (word == 0) return;
        fn(Bucket::EntryOf(word));
      }
    }
  }

  // Takes away the last bucket with its chain, calling fn(Entry*) for each entry; false if there is none. For freeing a
  // detached table in steps: what is left is not a usable table.
  template <typename F>
  bool PopBucket(TableContext* context, F&& fn) {
    if (buckets_ == 0) return false;
    uint64_t held = 0;
    ForEachIn(buckets_ - 1, [&](Entry* entry) {
      ++held;
      fn(entry);
    });
    size_ -= held;
    FreeChain(At(buckets_ - 1), context);
    RemoveLast(context);
    return true;
  }

 private:
  // Load limits, in entries for a number of buckets. Far apart, so that a table does not grow and shrink in turn. At
  // six entries a bucket there is one overflow bucket for 21 entries; a lower load costs more memory than those do.
  static uint64_t GrowAbove(uint64_t buckets) { return buckets * 6 + 1; }
  static uint64_t ShrinkBelow(uint64_t buckets) { return buckets * 3 - 3; }

  static constexpr uint32_t kSegmentBits = 7;
  static constexpr uint32_t kSegmentBuckets = 1u << kSegmentBits;
  static constexpr uint32_t kDirectoryBits = 9;
  static constexpr uint32_t kDirectory = 1u << kDirectoryBits;

  // Bits 0-7 of the hash, by which tables of up to 256 buckets split without a look at the entries, and bits 56-63.
  static uint64_t TagOf(uint64_t hash) { return ((hash & 0xff) << 56) | ((hash >> 56) << 48); }
  static constexpr uint32_t kTagIndexBits = 8;

  static uint32_t FloorPow2(uint32_t n) { return 1u << (31 - __builtin_clz(n)); }

  uint32_t IndexOf(uint64_t hash) const {
    const uint32_t half = FloorPow2(buckets_);
    const auto index = static_cast<uint32_t>(hash & ((uint64_t{half} << 1) - 1));
    return index < buckets_ ? index : index & (half - 1);
  }
  // How many low bits of the hash all entries of a bucket share.
  uint32_t DepthOf(uint32_t index) const {
    const uint32_t bits = 31 - __builtin_clz(buckets_);
    const uint32_t half = 1u << bits;
    return index >= half || index + half < buckets_ ? bits + 1 : bits;
  }
  static uint64_t NextCursor(uint64_t cursor, uint32_t depth);

  Bucket* At(uint32_t index) const {
    if (buckets_ <= kSegmentBuckets) return static_cast<Bucket*>(root_) + index;
    const uint32_t segment = index >> kSegmentBits;
    const uint32_t offset = index & (kSegmentBuckets - 1);
    if (buckets_ <= kSegmentBuckets * kDirectory) return static_cast<Bucket**>(root_)[segment] + offset;
    return static_cast<Bucket***>(root_)[segment >> kDirectoryBits][segment & (kDirectory - 1)] + offset;
  }

  void Append(Bucket* head, uint64_t word, TableContext* context);
  void Split(TableContext* context);
  void Merge(TableContext* context);
  void FreeChain(Bucket* head, TableContext* context);
  // Makes room for, or gives back the room of, the bucket with the highest number.
  void AddLast(TableContext* context);
  void RemoveLast(TableContext* context);
  Bucket** SegmentPlace(uint32_t segment, uint32_t segments);

  void* root_ = nullptr;
  uint64_t size_ = 0;
  uint32_t buckets_ = 0;
};
static_assert(sizeof(Table) == 32);

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_TABLE_H_
