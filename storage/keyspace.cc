#include "storage/keyspace.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "glog/logging.h"
#include "storage/memory.h"
#include "storage/reclaimer.h"

namespace skein::storage {
namespace {

// A cursor is the slot in the low bits and the cursor within its table above.
constexpr uint32_t kSlotBits = 14;
static_assert(1u << kSlotBits == kSlots);

// A scan call looks at this many buckets for each entry it was asked for, at most (as Redis does).
constexpr size_t kBucketsPerEntry = 10;

}  // namespace

const Table Database::kEmptyTable;

Database::Database(uint32_t shard_index, uint32_t shard_count)
    : shard_index_(shard_index),
      shard_count_(shard_count),
      reciprocal_(((uint64_t{1} << 32) + shard_count - 1) / shard_count),
      locals_((kSlots - shard_index + shard_count - 1) / shard_count),
      pages_((locals_ + kPageSlots - 1) / kPageSlots) {
  CHECK_LT(shard_index, shard_count);
  CHECK_LE(shard_count, kSlots);
}

Database::~Database() {
  while (FreeSome(1u << 16)) {
  }
}

void Database::UpdateExpiry(uint64_t hash, Entry* before, UnixMillis before_at, Entry* after, UnixMillis after_at) {
  const bool had = before != nullptr && before_at != kNoExpiry;
  const bool has = after != nullptr && after_at != kNoExpiry;
  if (had) {
    expiry_sum_ -= before_at;
    if (!has) {
      expires_.Erase(expires_.FindEntry(hash, before), &index_context_);
    } else if (before != after) {
      expires_.Replace(expires_.FindEntry(hash, before), after, &index_context_);
    }
  } else if (has) {
    expires_.Insert(hash, after, &index_context_);
  }
  if (has) expiry_sum_ += after_at;
}

void Database::InsertIntoTable(const Key& key, Entry* entry) {
  const uint32_t local = LocalOf(key.slot);
  DCHECK_EQ(SlotOf(local), key.slot) << "not a slot of this shard";
  PageRef& ref = pages_[local / kPageSlots];
  if (ref.page == nullptr) {
    ref.page = static_cast<Page*>(AllocateLines(sizeof(Page)));
    new (ref.page) Page();
    context_.bytes += AllocationSize(sizeof(Page));
  }
  ref.page->tables[local % kPageSlots].Insert(key.hash, entry, &context_);
  ref.occupied |= uint64_t{1} << (local % kPageSlots);
  ++ref.keys;
  ++keys_;
}

void Database::Insert(const Key& key, Entry* entry) {
  InsertIntoTable(key, entry);
  entry_bytes_ += entry->memory_usage();
  UpdateExpiry(key.hash, nullptr, kNoExpiry, entry, entry->expire_at());
}

Entry* Database::Extract(const Key& key) {
  const uint32_t local = LocalOf(key.slot);
  PageRef& ref = pages_[local / kPageSlots];
  if (ref.page == nullptr) return nullptr;
  Table& table = ref.page->tables[local % kPageSlots];
  const Table::Position at = table.Find(key.hash, key.bytes);
  if (!at) return nullptr;
  Entry* const entry = at.entry();
  UpdateExpiry(key.hash, entry, entry->expire_at(), nullptr, kNoExpiry);
  table.Erase(at, &context_);
  entry_bytes_ -= entry->memory_usage();
  --keys_;
  --ref.keys;
  if (table.size() == 0) ref.occupied &= ~(uint64_t{1} << (local % kPageSlots));
  if (ref.keys == 0) {
    std::free(ref.page);
    context_.bytes -= AllocationSize(sizeof(Page));
    ref = PageRef();
  }
  return entry;
}

bool Database::Erase(const Key& key) {
  Entry* const entry = Extract(key);
  if (entry == nullptr) return false;
  EntryOps::Free(entry);
  return true;
}

void Database::Put(const Key& key, const StringValue& value, UnixMillis expire_at, bool keep_expiry, uint32_t access) {
  const Table::Position at = SlotTable(key.slot).Find(key.hash, key.bytes);
  if (!at) {
    Insert(key, EntryOps::NewString(key.bytes, value, keep_expiry ? kNoExpiry : expire_at, access));
    return;
  }
  Entry* const old = at.entry();
  const UnixMillis old_at = old->expire_at();
  if (keep_expiry) expire_at = old_at;
  Table::BeforeBucketChange(at.head, &context_);
  // In place, the size class and so the count of bytes stay the same.
  if (EntryOps::RewriteString(old, value, expire_at)) {
    old->set_access(access);
    if (old_at != expire_at) UpdateExpiry(key.hash, old, old_at, old, expire_at);
    return;
  }
  Entry* const fresh = EntryOps::NewString(key.bytes, value, expire_at, access);
  entry_bytes_ += fresh->memory_usage() - old->memory_usage();
  MutableTable(key.slot).Replace(at, fresh, &context_);
  UpdateExpiry(key.hash, old, old_at, fresh, expire_at);
  EntryOps::Free(old);
}

char* Database::EditString(const Key& key, size_t new_size) {
  const Table::Position at = SlotTable(key.slot).Find(key.hash, key.bytes);
  CHECK(at) << "edit of a missing key";
  Table::BeforeBucketChange(at.head, &context_);
  Entry* const old = at.entry();
  const UnixMillis expire_at = old->expire_at();
  entry_bytes_ -= old->memory_usage();
  char* data;
  Entry* const fresh = EntryOps::EditString(old, new_size, &data);
  entry_bytes_ += fresh->memory_usage();
  if (fresh != old) {
    MutableTable(key.slot).Replace(at, fresh, &context_);
    UpdateExpiry(key.hash, old, expire_at, fresh, expire_at);
  }
  return data;
}

void Database::SetExpiry(const Key& key, UnixMillis expire_at) {
  const Table::Position at = SlotTable(key.slot).Find(key.hash, key.bytes);
  CHECK(at) << "expiry of a missing key";
  Table::BeforeBucketChange(at.head, &context_);
  Entry* const old = at.entry();
  const UnixMillis old_at = old->expire_at();
  entry_bytes_ -= old->memory_usage();
  Entry* const fresh = EntryOps::WithExpiry(old, expire_at);
  entry_bytes_ += fresh->memory_usage();
  if (fresh != old) MutableTable(key.slot).Replace(at, fresh, &context_);
  UpdateExpiry(key.hash, old, old_at, fresh, expire_at);
}

UnixMillis Database::mean_expiry() const {
  return expires_.size() == 0 ? 0 : static_cast<UnixMillis>(expiry_sum_ / static_cast<__int128>(expires_.size()));
}

uint32_t Database::NextOccupied(uint32_t local) const {
  while (local < locals_) {
    const uint64_t bits = pages_[local / kPageSlots].occupied >> (local % kPageSlots);
    if (bits != 0) return local + static_cast<uint32_t>(__builtin_ctzll(bits));
    local = (local / kPageSlots + 1) * kPageSlots;
  }
  return locals_;
}

uint64_t Database::Scan(uint64_t cursor, size_t count, uint16_t only_slot,
                        const std::function<void(const Entry&)>& fn) const {
  uint64_t inner = cursor >> kSlotBits;
  size_t delivered = 0;
  size_t buckets = 0;
  const auto deliver = [&](Entry* entry) {
    ++delivered;
    fn(*entry);
  };
  const auto full = [&] { return delivered >= count || buckets >= count * kBucketsPerEntry; };

  if (only_slot != kNoSlot) {
    const Table& table = SlotTable(only_slot);
    do {
      inner = table.ScanBucket(inner, deliver);
      ++buckets;
    } while (inner != 0 && !full());
    return inner == 0 ? 0 : inner << kSlotBits | only_slot;
  }

  const auto slot = static_cast<uint16_t>(cursor & (kSlots - 1));
  // A cursor that this shard did not give out may name a slot of another one: go on with the next of ours.
  uint32_t local = LocalOf(slot);
  if (SlotOf(local) != slot) {
    if (SlotOf(local) < slot) ++local;
    inner = 0;
  }
  while (true) {
    const uint32_t next = NextOccupied(local);
    if (next != local) inner = 0;
    local = next;
    if (local == locals_) return 0;
    if (full()) return inner << kSlotBits | SlotOf(local);
    inner = SlotTable(SlotOf(local)).ScanBucket(inner, deliver);
    ++buckets;
    if (inner == 0) ++local;
  }
}

void Database::ForEachInSlot(uint16_t slot, size_t limit, const std::function<void(const Entry&)>& fn) const {
  const Table& table = SlotTable(slot);
  for (uint32_t i = 0; i < table.buckets() && limit > 0; ++i) {
    table.ForEachIn(i, [&](Entry* entry) {
      if (limit == 0) return;
      --limit;
      fn(*entry);
    });
  }
}

const Entry* Database::Random(uint64_t r) const {
  if (keys_ == 0) return nullptr;
  // The slot in proportion to its keys.
  uint64_t rank = r % keys_;
  const PageRef* ref = pages_.data();
  while (rank >= ref->keys) rank -= ref++->keys;
  const Table* table = ref->page->tables;
  while (rank >= table->size()) rank -= table++->size();
  // A bucket, and in it a place that may be empty: as likely for entries of short chains as of long ones. The few chains
  // with more entries than that have no empty one, so theirs are a little less likely.
  constexpr uint32_t kPlaces = 2 * Bucket::kEntries;
  constexpr int kTries = 128;
  const Entry* any = nullptr;
  for (int i = 0; i < kTries; ++i) {
    r = r * 6364136223846793005u + 1442695040888963407u;
    const auto bucket = static_cast<uint32_t>((r >> 32) % table->buckets());
    uint32_t entries = 0;
    table->ForEachIn(bucket, [&](Entry* entry) {
      ++entries;
      any = entry;
    });
    const uint32_t place = static_cast<uint32_t>(r >> 16) % std::max(kPlaces, entries);
    if (place >= entries) continue;
    uint32_t index = 0;
    table->ForEachIn(bucket, [&](Entry* entry) {
      if (index++ == place) any = entry;
    });
    return any;
  }
  for (uint32_t i = 0; any == nullptr; ++i) table->ForEachIn(i, [&](Entry* entry) { any = entry; });
  return any;
}

bool Database::FreeSome(size_t entries, Reclaimer* large) {
  size_t freed = 0;
  while (freed < entries) {
    if (!expires_.PopBucket(&index_context_, [&](Entry*) { ++freed; })) break;
    ++freed;
  }
  while (freed < entries && free_page_ < pages_.size()) {
    PageRef& ref = pages_[free_page_];
    if (ref.occupied == 0) {
      if (ref.page != nullptr) {
        std::free(ref.page);
        context_.bytes -= AllocationSize(sizeof(Page));
      }
      ref = PageRef();
      ++free_page_;
      continue;
    }
    const int i = __builtin_ctzll(ref.occupied);
    Table& table = ref.page->tables[i];
    if (table.buckets() != 0) Table::BeforeBucketChange(table.BucketAt(table.buckets() - 1), &context_);
    const bool more = table.PopBucket(&context_, [&](Entry* entry) {
      entry_bytes_ -= entry->memory_usage();
      --keys_;
      ++freed;
      if (large != nullptr) {
        large->Add(entry);
      } else {
        EntryOps::Free(entry);
      }
    });
    ++freed;
    if (!more || table.buckets() == 0) ref.occupied &= ref.occupied - 1;
  }
  return free_page_ < pages_.size();
}

// ---- Snapshots -----------------------------------------------------------------------------------------------------

void Database::BeginVersion(BucketSaver* saver) {
  // Refreshing begins long before it is needed and gets on faster the later it is: a round of it takes some thousand
  // versions at first, and a single one from the version before the last 4096 on.
  constexpr uint32_t kRefreshFrom = 1u << 10;
  DCHECK(context_.saver == nullptr);
  if (keys_ == 0) age_ = 0;  // no keys, no buckets
  // At worst there is a bucket a key.
  if (age_ >= kRefreshFrom) Refresh((keys_ / 8192 + 64) << (age_ >> 12));
  ++context_.version;
  ++age_;
  ++refresh_age_;
  DCHECK_LE(age_, UINT16_MAX);
  context_.saver = saver;
}

void Database::EndVersion(bool whole) {
  context_.saver = nullptr;
  if (!whole) return;
  age_ = 0;
  refresh_ = Walk();
  refresh_age_ = 0;
}

void Database::Refresh(size_t buckets) {
  constexpr size_t kBatch = 16;
  if (refresh_.local == 0 && refresh_.bucket == 0) refresh_age_ = 0;
  for (size_t done = 0; done < buckets;) {
    Bucket* heads[kBatch];
    const size_t n = NextBuckets(&refresh_, heads, kBatch);
    if (n == 0) {
      age_ = refresh_age_;
      refresh_ = Walk();
      return;
    }
    for (size_t i = 0; i < n; ++i) heads[i]->set_version(context_.version);
    done += n;
  }
}

size_t Database::NextBuckets(Walk* walk, Bucket** out, size_t max) const {
  size_t n = 0;
  while (n < max) {
    const uint32_t local = NextOccupied(walk->local);
    if (local != walk->local) *walk = {local, 0};
    if (local == locals_) break;
    const Table& table = pages_[local / kPageSlots].page->tables[local % kPageSlots];
    const uint32_t buckets = table.buckets();
    while (n < max && walk->bucket < buckets) {
      out[n] = table.BucketAt(walk->bucket++);
      __builtin_prefetch(out[n++], /*rw=*/1);
    }
    if (walk->bucket >= buckets) *walk = {local + 1, 0};
  }
  return n;
}

// ---- Keyspace ------------------------------------------------------------------------------------------------------

Keyspace::Keyspace(uint32_t databases, uint32_t shard_index, uint32_t shard_count, BackgroundFree* background)
    : shard_index_(shard_index), shard_count_(shard_count), reclaimer_(std::make_unique<Reclaimer>(background)) {
  for (uint32_t i = 0; i < databases; ++i) databases_.push_back(std::make_unique<Database>(shard_index, shard_count));
}

Keyspace::~Keyspace() = default;

std::unique_ptr<Database> Keyspace::Detach(uint32_t db) {
  return std::exchange(databases_[db], std::make_unique<Database>(shard_index_, shard_count_));
}

void Keyspace::FreeLater(std::unique_ptr<Database> detached) { reclaimer_->Add(std::move(detached)); }

void Keyspace::FreeLater(Entry* entry) { reclaimer_->Add(entry); }

uint64_t Keyspace::bytes() const {
  uint64_t sum = reclaimer_->bytes();
  for (const auto& db : databases_) sum += db->bytes();
  return sum;
}

uint64_t Keyspace::reclaiming_bytes() const { return reclaimer_->bytes(); }

bool Keyspace::Reclaim() { return reclaimer_->Step(); }

}  // namespace skein::storage
