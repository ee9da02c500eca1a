// An entry: one key with its value, in one allocation where the value is small.
//
// The layout is private to entry.cc and the keyspace; commands use the accessors. Owned by the keyspace's tables.
#ifndef SKEIN_STORAGE_ENTRY_H_
#define SKEIN_STORAGE_ENTRY_H_

#include <cstdint>
#include <string_view>

#include "storage/types.h"

namespace skein::storage {

enum class ValueType : uint8_t { kString = 0, kList, kSet, kSortedSet, kHash, kStream };

// What OBJECT ENCODING answers.
enum class Encoding : uint8_t {
  kInt = 0,
  kEmbedded,
  kRaw,
  kListPack,
  kQuickList,
  kIntSet,
  kHashTable,
  kSkipList,
  kStream
};

// "string", "list", … as TYPE answers.
std::string_view TypeName(ValueType type);
// "int", "embstr", "raw", … as OBJECT ENCODING answers.
std::string_view EncodingName(Encoding encoding);

// Room for the text of an integer value.
struct IntText {
  char bytes[24];
};

class Entry {
 public:
  Entry() = delete;
  Entry(const Entry&) = delete;
  Entry& operator=(const Entry&) = delete;

  std::string_view key() const;
  ValueType type() const;
  Encoding encoding() const;
  // kNoExpiry if none.
  UnixMillis expire_at() const;
  // The bytes of a string value (type() == kString). An integer is written into `scratch`, which the view then points
  // to.
  std::string_view string(IntText* scratch) const;
  size_t string_size() const;
  // The value, if it is a string in the int encoding.
  bool integer(int64_t* value) const;
  // 24 bits of access data: LRU clock or LFU counter, as maxmemory-policy says.
  uint32_t access() const;
  void set_access(uint32_t bits);
  // Bytes the allocator gave to this entry and what it owns.
  size_t memory_usage() const;
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_ENTRY_H_
