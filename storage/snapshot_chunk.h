// A chunk of a snapshot: entries copied side by side, as they stand in memory, in one buffer.
//
// The shard's thread only copies bytes and takes shares in large strings; what is to be decoded (the text of an
// integer) is decoded by who reads the chunk.
#ifndef SKEIN_STORAGE_SNAPSHOT_CHUNK_H_
#define SKEIN_STORAGE_SNAPSHOT_CHUNK_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "storage/entry_ops.h"
#include "storage/snapshot.h"

namespace skein::storage {

// Bytes that are on their way, counted in a budget from here to the destructor, on whatever path.
class BudgetShare {
 public:
  BudgetShare() = default;
  BudgetShare(std::shared_ptr<SnapshotBudget> budget, uint64_t bytes) : budget_(std::move(budget)), bytes_(bytes) {
    budget_->Add(bytes_);
  }
  BudgetShare(BudgetShare&& other) noexcept
      : budget_(std::move(other.budget_)), bytes_(std::exchange(other.bytes_, 0)) {}
  BudgetShare& operator=(BudgetShare&& other) noexcept {
    std::swap(budget_, other.budget_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~BudgetShare() {
    if (budget_ != nullptr) budget_->Remove(bytes_);
  }

 private:
  std::shared_ptr<SnapshotBudget> budget_;
  uint64_t bytes_ = 0;
};

class PackedChunk final : public SnapshotChunk {
 public:
  // Room of a chunk, unless one entry alone needs more: some hundred entries, so that handing one over costs nothing,
  // and little enough that the first bytes are written soon.
  static constexpr size_t kBytes = 64u << 10;

  // For entries of `bytes` packed bytes together, at least.
  explicit PackedChunk(size_t bytes);
  ~PackedChunk() override;
  PackedChunk(const PackedChunk&) = delete;
  PackedChunk& operator=(const PackedChunk&) = delete;

  // ---- The shard's thread, while it is being filled
  // False, and nothing done, if there is no room for it.
  bool Add(uint32_t db, const Entry* entry);
  // Whether it is time to hand it over.
  bool full() const { return used_ + shared_ >= kBytes - kBytes / 16; }
  // It is complete, and goes to another thread.
  void Seal(const std::shared_ptr<SnapshotBudget>& budget);

  // ---- Any one thread
  void ForEach(const std::function<void(const RdbItem&)>& fn) const override;
  uint64_t keys() const override { return keys_; }
  uint64_t bytes() const override { return capacity_ + shared_; }

 private:
  // Entries up to this offset belong to this database.
  struct Run {
    uint32_t db;
    size_t end;
  };
  static const Entry* EntryAt(const char* at) { return reinterpret_cast<const Entry*>(at); }

  BudgetShare share_;  // destroyed after what it counts: see the destructor
  const size_t capacity_;
  char* const buffer_;
  size_t used_ = 0;
  uint64_t shared_ = 0;  // bytes of strings that entries here own a share of
  uint64_t keys_ = 0;
  uint32_t integers_ = 0;
  std::vector<Run> runs_;
  mutable std::unique_ptr<IntText[]> texts_;  // of the integers, once somebody has asked
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_SNAPSHOT_CHUNK_H_
