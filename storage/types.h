// Words shared by everything in storage.
#ifndef SKEIN_STORAGE_TYPES_H_
#define SKEIN_STORAGE_TYPES_H_

#include <concepts>
#include <cstdint>
#include <string_view>

#include "storage/slot.h"

namespace skein::storage {

// A byte position in one shard's log. A record starts at one and ends at the next; "durable X" means everything before
// X.
using Lsn = uint64_t;

// Milliseconds since the Unix epoch.
using UnixMillis = int64_t;

// An entry without a time to live.
inline constexpr UnixMillis kNoExpiry = -1;

// A record that belongs to no single slot (FLUSHALL, SWAPDB).
inline constexpr uint16_t kNoSlot = 0xffff;

// Access data of an entry is 24 bits; as an LRU clock it is seconds, which wrap after 194 days.
inline constexpr uint32_t kAccessMask = 0xffffff;
inline uint32_t LruClock(UnixMillis now) { return static_cast<uint32_t>(now / 1000) & kAccessMask; }

// 64-bit hash of a key under the process's random seed (XXH3). Any thread.
uint64_t HashKey(std::string_view bytes);

// A key with what is derived from it, computed once a command. Views the caller's bytes.
struct Key {
  template <typename Bytes>
  requires std::convertible_to<const Bytes&, std::string_view>
  // NOLINTNEXTLINE(google-explicit-constructor): a key is its bytes
  Key(const Bytes& k) : bytes(k), hash(HashKey(bytes)), slot(KeySlot(bytes)) {}
  Key(std::string_view k, uint16_t s) : bytes(k), hash(HashKey(k)), slot(s) {}
  std::string_view bytes;
  uint64_t hash;
  uint16_t slot;
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_TYPES_H_
