#include "storage/snapshot_engine.h"

#include <algorithm>
#include <utility>

#include "glog/logging.h"
#include "storage/reclaimer.h"

namespace skein::storage {

// Buckets of one stage of a walk. While one batch is copied the entries of the next are on their way to the processor's
// cache, and the buckets of the one after it: a walk waits for memory more than for anything else.
struct Snapshot::Batch {
  static constexpr size_t kBuckets = 16;
  void Fetch(Database* database, Database::Walk* walk) {
    begin = *walk;
    count = database->NextBuckets(walk, heads, kBuckets);
  }
  void PrefetchUnsaved(uint16_t version) const {
    for (size_t i = 0; i < count; ++i) {
      if (heads[i]->version() != version) PrefetchEntries(*heads[i]);
    }
  }
  Database::Walk begin;
  size_t count = 0;
  Bucket* heads[kBuckets];
};

Snapshot::Snapshot(const SnapshotOptions& options, uint32_t shard, Keyspace* keyspace)
    : budget_(options.budget), sink_(options.sink), shard_(shard), keyspace_(keyspace) {
  CHECK(budget_ != nullptr && sink_ != nullptr);
  CHECK_GT(budget_->limit(), 0u);
  parts_.resize(keyspace_->databases());
  for (uint32_t db = 0; db < keyspace_->databases(); ++db) {
    Part& part = parts_[db];
    part.snapshot = this;
    part.db = db;
    part.database = nullptr;
    if (keyspace_->db(db).size() == 0) continue;
    part.database = &keyspace_->db(db);
    part.database->BeginVersion(&part);
  }
}

void Snapshot::End(const absl::Status& status) {
  for (Part& part : parts_) {
    if (part.database != nullptr) part.database->EndVersion(/*whole=*/false);
    if (part.kept != nullptr) keyspace_->reclaimer()->AddLater(std::move(part.kept));
  }
  if (status.ok()) HandOver();
  chunk_.reset();
  sink_->End(shard_, status);
}

void Snapshot::Keep(std::unique_ptr<Database>* detached) {
  for (Part& part : parts_) {
    if (part.database != detached->get()) continue;
    part.kept = std::move(*detached);
    ++kept_;
    return;
  }
}

uint64_t Snapshot::kept_bytes() const {
  uint64_t sum = chunk_ == nullptr ? 0 : chunk_->bytes();
  if (kept_ != 0) {
    for (const Part& part : parts_) sum += part.kept == nullptr ? 0 : part.kept->bytes();
  }
  return sum;
}

// ---- Saving --------------------------------------------------------------------------------------------------------

void Snapshot::Part::Save(const Bucket& head) {
  PrefetchEntries(head);
  snapshot->SaveChain(db, head);
}

void Snapshot::PrefetchEntries(const Bucket& head) {
  for (const uint64_t word : head.words) {
    if (word == 0) return;
    const auto* p = reinterpret_cast<const char*>(Bucket::EntryOf(word));
    __builtin_prefetch(p);
    __builtin_prefetch(p + 64);
  }
  if (head.next() != nullptr) __builtin_prefetch(head.next());
}

void Snapshot::SaveChain(uint32_t db, const Bucket& head) {
  for (const Bucket* b = &head; b != nullptr; b = b->next()) {
    for (const uint64_t word : b->words) {
      if (word == 0) break;
      const Entry* const entry = Bucket::EntryOf(word);
      if (chunk_ == nullptr || !chunk_->Add(db, entry)) {
        HandOver();
        chunk_ = std::make_unique<PackedChunk>(EntryOps::PackedSize(entry));
        CHECK(chunk_->Add(db, entry));
      }
      ++saved_keys_;
    }
  }
  if (chunk_ != nullptr && chunk_->full()) HandOver();
}

void Snapshot::HandOver() {
  if (chunk_ == nullptr) return;
  chunk_->Seal(budget_);
  sink_->Take(shard_, std::move(chunk_));
}

// ---- Slices --------------------------------------------------------------------------------------------------------

SnapshotStep Snapshot::Step(size_t entries) {
  // What is kept comes first: it is memory that nobody else needs.
  const auto next = [this]() -> Part* {
    for (Part& part : parts_) {
      if (part.database != nullptr && (kept_ == 0 || part.kept != nullptr)) return &part;
    }
    return nullptr;
  };
  size_t done = 0;
  while (true) {
    Part* const part = next();
    if (part == nullptr) return SnapshotStep::kDone;
    if (budget_->full()) return SnapshotStep::kFull;
    if (done >= entries) return SnapshotStep::kMore;
    done += part->kept != nullptr ? TakeApart(part, entries - done) : WalkSome(part, entries - done);
  }
}

size_t Snapshot::WalkSome(Part* part, size_t entries) {
  Database* const database = part->database;
  const uint16_t version = database->version();
  Batch batches[3];
  batches[0].Fetch(database, &part->walk);
  batches[1].Fetch(database, &part->walk);
  batches[0].PrefetchUnsaved(version);
  size_t done = 0;
  for (size_t i = 0;; ++i) {
    const Batch& now = batches[i % 3];
    Batch& later = batches[(i + 2) % 3];
    later.Fetch(database, &part->walk);
    batches[(i + 1) % 3].PrefetchUnsaved(version);
    for (size_t j = 0; j < now.count; ++j) {
      Bucket* const head = now.heads[j];
      if (head->version() == version) continue;
      const uint64_t before = saved_keys_;
      SaveChain(part->db, *head);
      head->set_version(version);
      done += saved_keys_ - before;
    }
    done += now.count;
    const Batch& next = batches[(i + 1) % 3];
    if (next.count == 0) {
      database->EndVersion(/*whole=*/true);
      part->database = nullptr;
      return done;
    }
    if (done >= entries || budget_->full()) {
      part->walk = next.begin;
      return done;
    }
  }
}

size_t Snapshot::TakeApart(Part* part, size_t entries) {
  // Between looks at the budget.
  constexpr size_t kMost = 256;
  const size_t most = std::min(entries, kMost);
  if (!part->database->FreeSome(most, keyspace_->reclaimer())) {
    part->kept.reset();
    part->database = nullptr;
    --kept_;
  }
  return most;
}

}  // namespace skein::storage
