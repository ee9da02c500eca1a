// One key with its value, as an RDB file or a snapshot carries it.
#ifndef SKEIN_STORAGE_RDB_ITEM_H_
#define SKEIN_STORAGE_RDB_ITEM_H_

#include <cstdint>
#include <string_view>

#include "storage/entry.h"
#include "storage/types.h"

namespace skein::storage {

// Views; who makes one says how long they live. Every type that this version can hold has its fields here.
struct RdbItem {
  uint32_t db = 0;
  std::string_view key;
  UnixMillis expire_at = kNoExpiry;
  uint32_t access = 0;  // 24 bits as in Entry::access(); 0 where the file says nothing
  ValueType type = ValueType::kString;
  std::string_view string;  // kString: its bytes (an integer as its decimal text)
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_RDB_ITEM_H_
