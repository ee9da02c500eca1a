#include "storage/table.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "glog/logging.h"
#include "storage/memory.h"

namespace skein::storage {
namespace {

constexpr uint32_t kMaxBuckets = 1u << 31;
// From this segment on, the last one is full-sized at once: what is unused is then a small share.
constexpr uint32_t kExactSegments = 8;

uint64_t ReverseBits(uint64_t v) {
  v = ((v >> 1) & 0x5555555555555555) | ((v & 0x5555555555555555) << 1);
  v = ((v >> 2) & 0x3333333333333333) | ((v & 0x3333333333333333) << 2);
  v = ((v >> 4) & 0x0f0f0f0f0f0f0f0f) | ((v & 0x0f0f0f0f0f0f0f0f) << 4);
  return __builtin_bswap64(v);
}

// Buckets that a last segment with `used` of them has room for: two steps to a doubling while it is small, then four.
// Tables of all slots grow at about the same time, and each step leaves holes in the allocator's slabs of the size
// before; finer steps cost more by these holes than they save, until an array fills most of a slab (measured from a
// million keys to ten million: at no point more than 70 bytes a key resident).
constexpr uint32_t kCoarseBuckets = 32;
uint32_t SegmentCapacity(uint32_t segment, uint32_t used, uint32_t full) {
  if (segment >= kExactSegments) return full;
  if (used <= 4) return used;
  const uint32_t step = 1u << (31 - __builtin_clz(used - 1) - (used <= kCoarseBuckets ? 1 : 2));
  return (used + step - 1) / step * step;
}

// Pointers that a directory with `used` of them has room for.
uint32_t DirectoryCapacity(uint32_t used) {
  return std::max(2u, used == 1 ? 1u : 1u << (32 - __builtin_clz(used - 1)));
}

void* NewLines(size_t buckets, TableContext* context) {
  const size_t bytes = buckets * sizeof(Bucket);
  context->bytes += AllocationSize(bytes);
  return AllocateLines(bytes);
}

void FreeLines(void* p, size_t buckets, TableContext* context) {
  context->bytes -= AllocationSize(buckets * sizeof(Bucket));
  std::free(p);
}

void* NewDirectory(uint32_t capacity, TableContext* context) {
  const size_t bytes = capacity * sizeof(void*);
  context->bytes += AllocationSize(bytes);
  return Allocate(bytes);
}

void FreeDirectory(void* p, uint32_t capacity, TableContext* context) {
  context->bytes -= AllocationSize(capacity * sizeof(void*));
  std::free(p);
}

// A directory of `used` pointers gets room for `wanted`.
void* ResizeDirectory(void* p, uint32_t used, uint32_t wanted, TableContext* context) {
  const uint32_t from = DirectoryCapacity(used);
  const uint32_t to = DirectoryCapacity(wanted);
  if (from == to) return p;
  void* fresh = NewDirectory(to, context);
  const uint32_t kept = std::min(used, wanted);
  std::memcpy(fresh, p, kept * sizeof(void*));
  context->moves += kept * sizeof(void*) / sizeof(Bucket);
  FreeDirectory(p, from, context);
  return fresh;
}

}  // namespace

void Table::TakeVersion(Bucket* head, TableContext* context) {
  if (context->saver != nullptr) context->saver->Save(*head);
  head->set_version(context->version);
}

uint64_t Table::NextCursor(uint64_t cursor, uint32_t depth) {
  cursor |= ~((uint64_t{1} << depth) - 1);
  return ReverseBits(ReverseBits(cursor) + 1);
}

Table::Position Table::Find(uint64_t hash, std::string_view key) const {
  if (buckets_ == 0) return {};
  Bucket* const head = At(IndexOf(hash));
  const uint64_t tag = TagOf(hash);
  Bucket* b = head;
  do {
    for (uint64_t& word : b->words) {
      if ((word & ~Bucket::kPointerMask) != tag) continue;
      if (word == 0) return {};
      if (Bucket::EntryOf(word)->key() == key) return {head, &word};
    }
    b = b->next();
  } while (b != nullptr);
  return {};
}

Table::Position Table::FindEntry(uint64_t hash, const Entry* entry) const {
  if (buckets_ == 0) return {};
  Bucket* const head = At(IndexOf(hash));
  const uint64_t wanted = TagOf(hash) | reinterpret_cast<uint64_t>(entry);
  for (Bucket* b = head; b != nullptr; b = b->next()) {
    for (uint64_t& word : b->words) {
      if (word == wanted) return {head, &word};
    }
  }
  return {};
}

void Table::PrefetchEntry(uint64_t hash) const {
  if (buckets_ == 0) return;
  const uint64_t tag = TagOf(hash);
  const Bucket* b = At(IndexOf(hash));
  for (const uint64_t word : b->words) {
    if ((word & ~Bucket::kPointerMask) != tag || word == 0) continue;
    const auto* p = reinterpret_cast<const char*>(Bucket::EntryOf(word));
    __builtin_prefetch(p);
    __builtin_prefetch(p + 40);  // a 48-byte entry often lies on two lines
    return;
  }
  if (b->next() != nullptr) __builtin_prefetch(b->next());
}

void Table::Append(Bucket* head, uint64_t word, TableContext* context) {
  Bucket* b = head;
  while (b->words[Bucket::kEntries - 1] != 0 && b->next() != nullptr) b = b->next();
  for (uint64_t& place : b->words) {
    if (place != 0) continue;
    place = word;
    return;
  }
  auto* fresh = static_cast<Bucket*>(NewLines(1, context));
  std::memset(static_cast<void*>(fresh), 0, sizeof(*fresh));
  fresh->words[0] = word;
  ++context->overflow_buckets;
  b->set_next(fresh);
}

void Table::Insert(uint64_t hash, Entry* entry, TableContext* context) {
  DCHECK_EQ(reinterpret_cast<uint64_t>(entry) >> 48, 0u);
  if (buckets_ == 0) {
    AddLast(context);
  }
  Bucket* const head = At(IndexOf(hash));
  BeforeBucketChange(head, context);
  Append(head, TagOf(hash) | reinterpret_cast<uint64_t>(entry), context);
  ++size_;
  if (size_ > GrowAbove(buckets_) && buckets_ < kMaxBuckets) Split(context);
}

void Table::Replace(Position at, Entry* entry, TableContext* context) {
  BeforeBucketChange(at.head, context);
  *at.word = (*at.word & ~Bucket::kPointerMask) | reinterpret_cast<uint64_t>(entry);
}

void Table::Erase(Position at, TableContext* context) {
  BeforeBucketChange(at.head, context);
  Bucket* before = nullptr;
  Bucket* b = at.head;
  while (b->next() != nullptr) {
    before = b;
    b = b->next();
  }
  uint32_t last = Bucket::kEntries - 1;
  while (b->words[last] == 0) --last;
  *at.word = b->words[last];
  b->words[last] = 0;
  if (last == 0 && before != nullptr) {
    before->set_next(nullptr);
    FreeLines(b, 1, context);
    --context->overflow_buckets;
  }
  --size_;
  if (size_ == 0) {
    while (buckets_ > 1) RemoveLast(context);  // at most a few: see ShrinkBelow
    RemoveLast(context);
  } else if (size_ < ShrinkBelow(buckets_)) {
    Merge(context);
  }
}

void Table::Split(TableContext* context) {
  const uint32_t bit = FloorPow2(buckets_);
  const uint32_t from_index = buckets_ - bit;
  AddLast(context);
  Bucket* const from = At(from_index);
  Bucket* const to = At(buckets_ - 1);
  BeforeBucketChange(from, context);
  to->set_version(from->version());

  const bool by_tag = bit < (1u << kTagIndexBits);
  if (!by_tag) {
    for (const Bucket* b = from; b != nullptr; b = b->next()) {
      for (const uint64_t word : b->words) __builtin_prefetch(Bucket::EntryOf(word));
    }
  }
  Bucket* keep = from;
  uint32_t kept = 0;  // in `keep`
  for (Bucket* b = from; b != nullptr; b = b->next()) {
    for (uint64_t& place : b->words) {
      const uint64_t word = place;
      if (word == 0) break;
      place = 0;
      ++context->moves;
      const uint64_t bits = by_tag ? word >> 56 : HashKey(Bucket::EntryOf(word)->key());
      if ((bits & bit) != 0) {
        Append(to, word, context);
        continue;
      }
      if (kept == Bucket::kEntries) {
        keep = keep->next();
        kept = 0;
      }
      keep->words[kept++] = word;
    }
  }
  Bucket* rest = keep->next();
  keep->set_next(nullptr);
  while (rest != nullptr) {
    Bucket* const next = rest->next();
    FreeLines(rest, 1, context);
    --context->overflow_buckets;
    rest = next;
  }
}

void Table::Merge(TableContext* context) {
  const uint32_t last = buckets_ - 1;
  Bucket* const from = At(last);
  Bucket* const to = At(last - FloorPow2(last));
  BeforeBucketChange(from, context);
  BeforeBucketChange(to, context);
  for (const Bucket* b = from; b != nullptr; b = b->next()) {
    for (const uint64_t word : b->words) {
      if (word == 0) break;
      ++context->moves;
      Append(to, word, context);
    }
  }
  FreeChain(from, context);
  RemoveLast(context);
}

void Table::FreeChain(Bucket* head, TableContext* context) {
  Bucket* b = head->next();
  head->set_next(nullptr);
  while (b != nullptr) {
    Bucket* const next = b->next();
    FreeLines(b, 1, context);
    --context->overflow_buckets;
    b = next;
  }
}

Bucket** Table::SegmentPlace(uint32_t segment, uint32_t segments) {
  if (segments == 1) return reinterpret_cast<Bucket**>(&root_);
  if (segments <= kDirectory) return static_cast<Bucket**>(root_) + segment;
  return static_cast<Bucket***>(root_)[segment >> kDirectoryBits] + (segment & (kDirectory - 1));
}

void Table::AddLast(TableContext* context) {
  const uint32_t segment = buckets_ >> kSegmentBits;
  const uint32_t used = buckets_ & (kSegmentBuckets - 1);
  const uint32_t capacity = SegmentCapacity(segment, used + 1, kSegmentBuckets);
  if (used == 0) {
    // A new segment, and perhaps directory room for it. `segment` is also how many there are.
    if (segment == 1) {
      auto** directory = static_cast<void**>(NewDirectory(DirectoryCapacity(2), context));
      directory[0] = root_;
      root_ = directory;
    } else if (segment > 1 && segment < kDirectory) {
      root_ = ResizeDirectory(root_, segment, segment + 1, context);
    } else if (segment >= kDirectory && segment % kDirectory == 0) {
      const uint32_t leaves = segment >> kDirectoryBits;
      if (leaves == 1) {
        auto** top = static_cast<void**>(NewDirectory(DirectoryCapacity(2), context));
        top[0] = root_;
        root_ = top;
      } else {
        root_ = ResizeDirectory(root_, leaves, leaves + 1, context);
      }
      static_cast<void**>(root_)[leaves] = NewDirectory(kDirectory, context);
    }
    *SegmentPlace(segment, segment + 1) = static_cast<Bucket*>(NewLines(capacity, context));
  } else if (const uint32_t old = SegmentCapacity(segment, used, kSegmentBuckets); old != capacity) {
    Bucket** const place = SegmentPlace(segment, segment + 1);
    auto* fresh = static_cast<Bucket*>(NewLines(capacity, context));
    std::memcpy(static_cast<void*>(fresh), *place, used * sizeof(Bucket));
    context->moves += used;
    FreeLines(*place, old, context);
    *place = fresh;
  }
  std::memset(static_cast<void*>(*SegmentPlace(segment, segment + 1) + used), 0, sizeof(Bucket));
  ++buckets_;
}

void Table::RemoveLast(TableContext* context) {
  --buckets_;
  const uint32_t segment = buckets_ >> kSegmentBits;
  const uint32_t used = buckets_ & (kSegmentBuckets - 1);
  Bucket** const place = SegmentPlace(segment, segment + 1);
  const uint32_t old = SegmentCapacity(segment, used + 1, kSegmentBuckets);
  if (used != 0) {
    const uint32_t capacity = SegmentCapacity(segment, used, kSegmentBuckets);
    if (capacity == old) return;
    auto* fresh = static_cast<Bucket*>(NewLines(capacity, context));
    std::memcpy(static_cast<void*>(fresh), *place, used * sizeof(Bucket));
    context->moves += used;
    FreeLines(*place, old, context);
    *place = fresh;
    return;
  }
  // The segment goes, and perhaps directory room with it. `segment` is how many are left.
  FreeLines(*place, old, context);
  if (segment == 0) {
    root_ = nullptr;
  } else if (segment == 1) {
    void* const first = static_cast<void**>(root_)[0];
    FreeDirectory(root_, DirectoryCapacity(2), context);
    root_ = first;
  } else if (segment < kDirectory) {
    root_ = ResizeDirectory(root_, segment + 1, segment, context);
  } else if (segment % kDirectory == 0) {
    const uint32_t leaves = segment >> kDirectoryBits;
    FreeDirectory(static_cast<void**>(root_)[leaves], kDirectory, context);
    if (leaves == 1) {
      void* const first = static_cast<void**>(root_)[0];
      FreeDirectory(root_, DirectoryCapacity(2), context);
      root_ = first;
    } else {
      root_ = ResizeDirectory(root_, leaves + 1, leaves, context);
    }
  }
}

}  // namespace skein::storage
