// Items on their way from a file into a shard's tables: copied, because the reader's views do not last, and put in
// some at a time, because the memory that they will touch can then be asked for beforehand.
#ifndef SKEIN_STORAGE_ITEM_BATCH_H_
#define SKEIN_STORAGE_ITEM_BATCH_H_

#include <algorithm>
#include <memory>
#include <span>
#include <vector>

#include "storage/rdb/item.h"

namespace skein::storage {

// One thread at a time; may be handed on.
class ItemBatch {
 public:
  // Full with so many items or bytes of keys and values; a larger item goes alone.
  ItemBatch(size_t items, size_t bytes) : most_items_(items), least_bytes_(bytes) { items_.reserve(items); }

  // Copies the item. False, and nothing has been taken, if it is full.
  bool Add(const RdbItem& item) {
    const size_t size = item.key.size() + item.string.size();
    if (items_.size() == most_items_ || (!items_.empty() && size > capacity_ - used_)) return false;
    if (size > capacity_ - used_ || bytes_ == nullptr) {
      capacity_ = std::max(least_bytes_, size);
      bytes_ = std::make_unique_for_overwrite<char[]>(capacity_);
      used_ = 0;
    }
    char* const at = bytes_.get() + used_;
    std::copy(item.key.begin(), item.key.end(), at);
    std::copy(item.string.begin(), item.string.end(), at + item.key.size());
    used_ += size;
    RdbItem& copy = items_.emplace_back(item);
    copy.key = {at, item.key.size()};
    copy.string = {at + item.key.size(), item.string.size()};
    return true;
  }
  // Live until Clear.
  std::span<const RdbItem> items() const { return items_; }
  void Clear() {
    items_.clear();
    used_ = 0;
    if (capacity_ > least_bytes_) {  // a large item's
      bytes_.reset();
      capacity_ = 0;
    }
  }

 private:
  size_t most_items_, least_bytes_;
  std::vector<RdbItem> items_;
  std::unique_ptr<char[]> bytes_;
  size_t used_ = 0, capacity_ = 0;
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_ITEM_BATCH_H_
