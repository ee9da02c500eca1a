#include "storage/shard.h"

#include <algorithm>
#include <random>
#include <utility>

#include "glog/logging.h"
#include "storage/keyspace.h"
#include "storage/log.h"
#include "storage/snapshot_engine.h"

namespace skein::storage {

Shard::Shard(const ShardOptions& options, Log* log)
    : options_(options),
      log_(log),
      keyspace_(std::make_unique<Keyspace>(options.databases, options.index, options.count, options.background_free)),
      random_state_(HashKey("random") | 1) {}

Shard::~Shard() {
  for (QueuedSnapshot& queued : std::exchange(queued_, {})) queued.begun(absl::CancelledError("the shard has gone"));
  CancelSnapshot();
}

void Shard::AddObserver(MutationObserver* observer) { observers_.push_back(observer); }

void Shard::Begin(UnixMillis now, bool admitted) {
  now_ = now;
  // What deletes saves a bucket first.
  deletes_expired_ = decides_expiry_ && (admitted || snapshot_ == nullptr || !snapshot_->overfull());
}

Lsn Shard::End() { return log_ == nullptr ? 0 : log_->EndRecord(now_); }

// ---- Lookup --------------------------------------------------------------------------------------------------------

void Shard::Prefetch(uint32_t db, const Key& key, int stage) const { keyspace_->db(db).Prefetch(key, stage); }

Entry* Shard::Raw(uint32_t db, const Key& key) const { return keyspace_->db(db).Find(key); }

Entry* Shard::Find(uint32_t db, const Key& key, Touch touch) {
  Entry* const entry = Raw(db, key);
  if (entry == nullptr) return nullptr;
  if (IsExpired(*entry)) {
    if (deletes_expired_) DeleteExpired(db, key);
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
    if (deletes_expired_) DeleteExpired(db, Key(key));
  }
  return std::nullopt;
}

// ---- Snapshots -----------------------------------------------------------------------------------------------------

absl::StatusOr<SnapshotStart> Shard::BeginSnapshot(const SnapshotOptions& options) {
  if (snapshot_ != nullptr) {
    return absl::FailedPreconditionError("a snapshot of shard " + std::to_string(index()) + " is running");
  }
  if (loading_) {
    return absl::FailedPreconditionError("shard " + std::to_string(index()) + " is being loaded, it is not whole");
  }
  SnapshotStart start;
  start.lsn = log_ == nullptr ? 0 : log_->end();
  for (uint32_t db = 0; db < databases(); ++db) {
    if (KeyCount(db) != 0) start.databases.push_back({db, KeyCount(db), ExpiringKeyCount(db)});
  }
  snapshot_ = std::make_unique<Snapshot>(options, index(), keyspace_.get());
  snapshot_sink_ = options.sink.get();
  return start;
}

SnapshotStep Shard::StepSnapshot(size_t entries) {
  if (snapshot_ == nullptr) return SnapshotStep::kNone;
  const SnapshotStep step = snapshot_->Step(entries);
  if (step != SnapshotStep::kDone) return step;
  const bool others_wait = !queued_.empty();
  EndSnapshot(absl::OkStatus());
  return others_wait && snapshot_ != nullptr ? SnapshotStep::kMore : SnapshotStep::kDone;
}

void Shard::CancelSnapshot() {
  if (snapshot_ != nullptr) EndSnapshot(absl::CancelledError("the snapshot was cancelled"));
}

void Shard::EndSnapshot(const absl::Status& status) {
  // The sink may begin the next one.
  const std::unique_ptr<Snapshot> ended = std::move(snapshot_);
  ended->End(status);
  BeginQueued();
}

void Shard::QueueSnapshot(SnapshotOptions options, std::function<void(absl::StatusOr<SnapshotStart>)> begun,
                          std::function<void(Shard&)> before) {
  queued_.push_back({std::move(options), std::move(begun), std::move(before)});
  BeginQueued();
}

void Shard::BeginQueued() {
  while (snapshot_ == nullptr && !queued_.empty()) {
    const QueuedSnapshot next = std::move(queued_.front());
    queued_.pop_front();
    if (next.before) next.before(*this);
    next.begun(BeginSnapshot(next.options));
  }
}

void Shard::CancelSnapshotOf(const SnapshotSink* sink) {
  if (snapshot_ != nullptr && snapshot_sink_ == sink) return CancelSnapshot();
  for (auto at = queued_.begin(); at != queued_.end(); ++at) {
    if (at->options.sink.get() != sink) continue;
    const QueuedSnapshot taken = std::move(*at);
    queued_.erase(at);
    taken.begun(absl::CancelledError("the snapshot was cancelled"));
    return;
  }
}

uint64_t Shard::snapshot_saved_keys() const { return snapshot_ == nullptr ? 0 : snapshot_->saved_keys(); }

uint64_t Shard::snapshot_kept_bytes() const { return snapshot_ == nullptr ? 0 : snapshot_->kept_bytes(); }

absl::Status Shard::SlowMayWrite() const {
  if (log_ != nullptr) {
    absl::Status status = log_->MayWrite();
    if (!status.ok()) return status;
  }
  if (snapshot_ != nullptr && snapshot_->overfull()) return absl::UnavailableError("room");
  return absl::OkStatus();
}

void Shard::DetachDatabase(uint32_t db) {
  std::unique_ptr<Database> detached = keyspace_->Detach(db);
  if (snapshot_ != nullptr) snapshot_->Keep(&detached);
  if (detached != nullptr) keyspace_->FreeLater(std::move(detached));
}

// ---- Accounting ----------------------------------------------------------------------------------------------------

uint64_t Shard::used_bytes() const { return keyspace_->bytes() + snapshot_kept_bytes(); }

bool Shard::Housekeep() { return keyspace_->Reclaim(); }

}  // namespace skein::storage
