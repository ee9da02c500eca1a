#include "storage/digest.h"

#include <xxhash.h>

#include <cstdio>
#include <limits>

#include "storage/keyspace.h"
#include "storage/slot.h"

namespace skein::storage {

std::string Digest::Hex() const {
  char text[41];
  std::snprintf(text, sizeof(text), "%08x%016llx%016llx", 0u, static_cast<unsigned long long>(high),
                static_cast<unsigned long long>(low));
  return text;
}

Digest DigestOf(uint32_t db, const Entry& entry) {
  struct {
    uint64_t key;
    int64_t expire_at;
    uint32_t db;
    uint32_t type;
  } const where = {XXH3_64bits(entry.key().data(), entry.key().size()), entry.expire_at(), db,
                   static_cast<uint32_t>(entry.type())};
  IntText scratch;
  const std::string_view value = entry.string(&scratch);
  const XXH128_hash_t hash = XXH3_128bits_withSeed(value.data(), value.size(), XXH3_64bits(&where, sizeof(where)));
  return {hash.low64, hash.high64};
}

Digest DigestOfSlot(Shard& shard, uint32_t db, uint16_t slot) {
  Digest sum;
  if (shard.KeyCountInSlot(db, slot) == 0) return sum;
  shard.keyspace().db(db).ForEachInSlot(slot, std::numeric_limits<size_t>::max(),
                                        [&](const Entry& entry) { sum ^= DigestOf(db, entry); });
  return sum;
}

Digest DigestOfSlot(Shard& shard, uint16_t slot) {
  Digest sum;
  for (uint32_t db = 0; db < shard.databases(); ++db) sum ^= DigestOfSlot(shard, db, slot);
  return sum;
}

Digest DigestOf(Shard& shard) {
  Digest sum;
  for (uint32_t db = 0; db < shard.databases(); ++db) {
    if (shard.KeyCount(db) == 0) continue;
    for (uint32_t slot = 0; slot < kSlots; ++slot) sum ^= DigestOfSlot(shard, db, static_cast<uint16_t>(slot));
  }
  return sum;
}

}  // namespace skein::storage
