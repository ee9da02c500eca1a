// The allocation of a long string. Included by entry.cc and entry_ops.cc alone.
//
// The entry that points to it is one owner; snapshot chunks that carry the string by reference are others. The shard's
// thread alone adds owners; who drops the last one frees it, on whatever thread. While there are several nobody changes
// anything here.
#ifndef SKEIN_STORAGE_ENTRY_BLOB_H_
#define SKEIN_STORAGE_ENTRY_BLOB_H_

#include <atomic>
#include <cstdint>

#include "glog/logging.h"
#include "storage/entry_ops.h"

namespace skein::storage {

struct EntryOps::Blob {
  // Every size class that is large enough for a blob is a multiple of this.
  static constexpr size_t kUnit = 16;

  uint64_t size;
  uint32_t units;  // of the whole allocation
  std::atomic<uint32_t> owners;
  char bytes[];

  static uint32_t UnitsOf(size_t allocation) {
    DCHECK_EQ(allocation % kUnit, 0u);
    CHECK_LE(allocation / kUnit, UINT32_MAX) << "a string of " << allocation << " bytes";
    return static_cast<uint32_t>(allocation / kUnit);
  }
  size_t allocated() const { return units * kUnit; }
  size_t capacity() const { return allocated() - sizeof(Blob); }
  // Pairs with the release of whoever dropped its share: what it read is read before this is changed.
  bool shared() const { return owners.load(std::memory_order_acquire) != 1; }
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_ENTRY_BLOB_H_
