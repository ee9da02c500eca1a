#include "storage/shard.h"

#include <algorithm>
#include <random>
#include <utility>

#include "glog/logging.h"
#include "storage/keyspace.h"
#include "storage/log.h"

namespace skein::storage {

class Snapshot {};

Shard::Shard(const ShardOptions& options, Log* log)
    : options_(options),
      log_(log),
      keyspace_(std::make_unique<Keyspace>(options.databases, options.index, options.count, options.background_free)),
      random_state_(HashKey("random") | 1) {}

Shard::~Shard() = default;

void Shard::AddObserver(MutationObserver* observer) { observers_.push_back(observer); }

void Shard::Begin(UnixMillis now) { now_ = now; }

Lsn Shard::End() { return log_ == nullptr ? 0 : log_->EndRecord(now_); }

// ---- Lookup --------------------------------------------------------------------------------------------------------

void Shard::Prefetch(uint32_t db, const Key& key, int stage) const { keyspace_->db(db).Prefetch(key, stage); }

Entry* Shard::Raw(uint32_t db, const Key& key) const { return keyspace_->db(db).Find(key); }

Entry* Shard::Find(uint32_t db, const Key& key, Touch touch) {
  Entry* const entry = Raw(db, key);
  if (entry == nullptr) return nullptr;
  if (IsExpired(*entry)) {
    if (decides_expiry_) DeleteExpired(db, key);
    return nullptr;
  }
  if (touch == Touch::kYes) {
    // Written only when it differs: a read that writes costs a cache line.
    const uint32_t clock = LruClock(now_);
    if (entry->access() != clock) entry->set_access(clock);
  }
  return entry;
}

bool Shard::IsExpired(const Entry& entry) const { return entry.has_expiry() && now_ > entry.expire_at(); }

// ---- Expiry --------------------------------------------------------------------------------------------------------

void Shard::DeleteExpired(uint32_t db, const Key& key) {
  Append(db, key.slot, {"DEL", key.bytes});
  EraseEntry(db, key, /*lazy=*/true);
  ++expired_keys_;
  Announce(db, key.slot, key.bytes, "expired", false);
}

Shard::ExpireSlice Shard::ExpireSome(uint32_t max_keys) {
  DCHECK(decides_expiry_);
  // The share of due keys from which on another slice is worth it, as in Redis: one in ten.
  constexpr uint32_t kWorthwhile = 10;
  uint32_t looked = 0;  // at keys, and at empty buckets
  uint32_t keys = 0;
  uint32_t expired = 0;
  std::vector<std::string> due;
  for (uint32_t visited = 0; visited <= databases() && looked < max_keys;) {
    const Database& db = keyspace_->db(expire_db_);
    if (db.expiring() == 0) {
      expire_cursor_ = 0;
    } else {
      uint32_t held = 0;
      due.clear();
      expire_cursor_ = db.ScanExpiring(expire_cursor_, [&](Entry* entry) {
        ++held;
        if (IsExpired(*entry)) due.emplace_back(entry->key());
      });
      keys += held;
      looked += std::max(held, 1u);
      expired += static_cast<uint32_t>(due.size());
      for (const std::string& key : due) DeleteExpired(expire_db_, Key(key));
    }
    if (expire_cursor_ == 0) {
      expire_db_ = (expire_db_ + 1) % databases();
      ++visited;
    }
  }
  return {expired, expired * kWorthwhile > keys};
}

// ---- Whole-keyspace reads ------------------------------------------------------------------------------------------

uint64_t Shard::KeyCount(uint32_t db) const { return keyspace_->db(db).size(); }

uint64_t Shard::ExpiringKeyCount(uint32_t db) const { return keyspace_->db(db).expiring(); }

uint64_t Shard::AverageTtlMillis(uint32_t db) const {
  const UnixMillis mean = keyspace_->db(db).mean_expiry();
  return mean > now_ ? static_cast<uint64_t>(mean - now_) : 0;
}

uint64_t Shard::KeyCountInSlot(uint32_t db, uint16_t slot) const {
  if (slot >= kSlots || slot % options_.count != options_.index) return 0;
  return keyspace_->db(db).size_in_slot(slot);
}

void Shard::KeysInSlot(uint32_t db, uint16_t slot, size_t limit,
                       const std::function<void(std::string_view key)>& fn) const {
  if (KeyCountInSlot(db, slot) == 0) return;
  keyspace_->db(db).ForEachInSlot(slot, limit, [&](const Entry& entry) { fn(entry.key()); });
}

uint64_t Shard::Scan(uint32_t db, uint64_t cursor, size_t count, uint16_t only_slot,
                     const std::function<void(const Entry& entry)>& fn) const {
  if (only_slot != kNoSlot && KeyCountInSlot(db, only_slot) == 0) return 0;
  return keyspace_->db(db).Scan(cursor, std::max<size_t>(count, 1), only_slot, fn);
}

std::optional<std::string> Shard::RandomKey(uint32_t db) {
  constexpr int kTries = 100;  // as Redis does
  for (int i = 0; i < kTries; ++i) {
    random_state_ = random_state_ * 6364136223846793005u + 1442695040888963407u;
    const Entry* entry = keyspace_->db(db).Random(random_state_ ^ (random_state_ >> 32));
    if (entry == nullptr) return std::nullopt;
    std::string key(entry->key());
    if (!IsExpired(*entry)) return key;
    if (decides_expiry_) DeleteExpired(db, Key(key));
  }
  return std::nullopt;
}

// ---- Accounting ----------------------------------------------------------------------------------------------------

uint64_t Shard::used_bytes() const { return keyspace_->bytes(); }

bool Shard::Housekeep() { return keyspace_->Reclaim(); }

}  // namespace skein::storage
