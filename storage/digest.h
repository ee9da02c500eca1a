// What a shard holds, in 128 bits: for comparing a primary with its replicas, and memory with what a start reads.
//
// The digest of a set of keys is the exclusive or of their own, so their order does not matter, and digests of slots
// add up to that of a shard, digests of shards to that of a node. A key counts with its database, value and expiry,
// also once its time has passed until it is deleted. Thread: the shard's.
#ifndef SKEIN_STORAGE_DIGEST_H_
#define SKEIN_STORAGE_DIGEST_H_

#include <cstdint>
#include <string>

#include "storage/shard.h"

namespace skein::storage {

struct Digest {
  uint64_t low = 0, high = 0;

  Digest& operator^=(const Digest& other) {
    low ^= other.low;
    high ^= other.high;
    return *this;
  }
  bool operator==(const Digest&) const = default;
  // 40 digits, as DEBUG DIGEST answers; all zero for nothing.
  std::string Hex() const;
};

Digest DigestOf(uint32_t db, const Entry& entry);
// One slot of this shard in one database, or in all. As long as the slot holds keys.
Digest DigestOfSlot(Shard& shard, uint32_t db, uint16_t slot);
Digest DigestOfSlot(Shard& shard, uint16_t slot);
// Everything. As long as the shard holds keys: for tests and a person who waits.
Digest DigestOf(Shard& shard);

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_DIGEST_H_
