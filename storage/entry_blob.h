// The allocation of a long string. Included by entry.cc and entry_ops.cc alone.
#ifndef SKEIN_STORAGE_ENTRY_BLOB_H_
#define SKEIN_STORAGE_ENTRY_BLOB_H_

#include <cstdint>

#include "storage/entry_ops.h"

namespace skein::storage {

struct EntryOps::Blob {
  uint64_t size;
  uint64_t capacity;  // of `bytes`
  char bytes[];
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_ENTRY_BLOB_H_
