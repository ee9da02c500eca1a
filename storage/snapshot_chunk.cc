#include "storage/snapshot_chunk.h"

#include <algorithm>
#include <cstdlib>

#include "glog/logging.h"
#include "storage/memory.h"

namespace skein::storage {

// ---- SnapshotBudget ------------------------------------------------------------------------------------------------

void SnapshotBudget::Add(uint64_t n) {
  // The mark is set before the one who adds can find the budget full and wait, so whoever makes room then sees it.
  if (bytes_.fetch_add(n) + n >= limit_) was_full_.store(true);
}

void SnapshotBudget::Remove(uint64_t n) {
  const uint64_t before = bytes_.fetch_sub(n);
  DCHECK_GE(before, n);
  // Every fall through the half counts, and the mark stays: were it taken down here, a removal that comes late could
  // take down the mark of somebody who has found the budget full in the meantime and waits.
  const uint64_t half = limit_ / 2;
  if (before > half && before - n <= half && was_full_.load() && on_room_ != nullptr) on_room_();
}

// ---- PackedChunk ---------------------------------------------------------------------------------------------------

PackedChunk::PackedChunk(size_t bytes)
    : capacity_(AllocationSize(std::max(bytes, kBytes))), buffer_(static_cast<char*>(Allocate(capacity_))) {}

PackedChunk::~PackedChunk() {
  if (shared_ != 0) {
    for (size_t at = 0; at < used_; at += EntryOps::Stride(EntryAt(buffer_ + at))) {
      EntryOps::Unpack(EntryAt(buffer_ + at));
    }
  }
  std::free(buffer_);
}

bool PackedChunk::Add(uint32_t db, const Entry* entry) {
  const size_t size = EntryOps::PackedSize(entry);
  if (size > capacity_ - used_) return false;
  shared_ += EntryOps::Pack(entry, buffer_ + used_);
  integers_ += entry->encoding() == Encoding::kInt;
  used_ += size;
  ++keys_;
  if (runs_.empty() || runs_.back().db != db) runs_.push_back({db, 0});
  runs_.back().end = used_;
  return true;
}

void PackedChunk::Seal(const std::shared_ptr<SnapshotBudget>& budget) {
  share_ = BudgetShare(budget, std::min(bytes(), budget->limit()));
}

void PackedChunk::ForEach(const std::function<void(const RdbItem&)>& fn) const {
  if (integers_ != 0 && texts_ == nullptr) texts_ = std::make_unique<IntText[]>(integers_);
  IntText* text = texts_.get();
  RdbItem item;
  size_t at = 0;
  for (const Run& run : runs_) {
    item.db = run.db;
    while (at < run.end) {
      const Entry* const entry = EntryAt(buffer_ + at);
      item.key = entry->key();
      item.expire_at = entry->expire_at();
      item.access = entry->access();
      item.type = entry->type();
      item.string = entry->string(text);
      if (entry->encoding() == Encoding::kInt) ++text;
      fn(item);
      at += EntryOps::Stride(entry);
    }
  }
}

}  // namespace skein::storage
