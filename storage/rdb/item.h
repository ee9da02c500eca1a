// One key with its value, as an RDB file or a snapshot carries it.
#ifndef SKEIN_STORAGE_RDB_ITEM_H_
#define SKEIN_STORAGE_RDB_ITEM_H_

#include <algorithm>
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

// Access data of a key that was last used `seconds` before `now` (LRU). At most what the clock can tell.
inline uint32_t AccessOfIdle(UnixMillis now, uint64_t seconds) {
  const uint64_t clock = static_cast<uint64_t>(std::max<UnixMillis>(now, 0)) / 1000;
  return static_cast<uint32_t>(clock - std::min<uint64_t>({seconds, clock, kAccessMask - 1})) & kAccessMask;
}

// Access data of a key whose counter was `counter` at `now` (LFU): 16 bits of minutes, 8 bits of counter.
inline uint32_t AccessOfFrequency(UnixMillis now, uint8_t counter) {
  const uint64_t minutes = static_cast<uint64_t>(std::max<UnixMillis>(now, 0)) / 60'000;
  return static_cast<uint32_t>(minutes << 8 | counter) & kAccessMask;
}

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_RDB_ITEM_H_
