// An entry: one key with its value, in one allocation where the value is small.
//
// The layout is private to entry.cc and the keyspace; commands use the accessors. Owned by the keyspace's tables.
#ifndef SKEIN_STORAGE_ENTRY_H_
#define SKEIN_STORAGE_ENTRY_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
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

// The number that `text` is the one and only decimal form of: no sign but '-', no leading zeros, not "-0", within 64
// bits. What Redis stores in the int encoding. Any thread.
bool ParseCanonicalInteger(std::string_view text, int64_t* value);

// In memory, without padding:
//   uint32  24 bits access data, 3 bits type, 1 bit "has expiry", 1 bit "long key", 3 bits form of the value
//   uint16  bytes of the value that stand in the entry
//   uint8   key size, or uint32 with "long key"
//   int64   expiry, if it has one
//   key bytes, value bytes
// The value bytes are a string, an int64, or a pointer to a value of its own (a long string now, collections later).
// 16-byte key, 16-byte string and expiry come to 47 bytes, which is one allocation of 48.
class Entry {
 public:
  Entry() = delete;
  Entry(const Entry&) = delete;
  Entry& operator=(const Entry&) = delete;

  std::string_view key() const {
    uint32_t size;
    const char* at = AfterKeySize(&size);
    return {at + (has_expiry() ? sizeof(UnixMillis) : 0), size};
  }
  ValueType type() const { return static_cast<ValueType>((head_ >> kTypeShift) & 7); }
  Encoding encoding() const;
  bool has_expiry() const { return (head_ & kHasExpiry) != 0; }
  // kNoExpiry if none.
  UnixMillis expire_at() const {
    if (!has_expiry()) return kNoExpiry;
    uint32_t size;
    UnixMillis at;
    std::memcpy(&at, AfterKeySize(&size), sizeof(at));
    return at;
  }
  // The bytes of a string value (type() == kString). An integer is written into `scratch`, which the view then points
  // to.
  std::string_view string(IntText* scratch) const;
  size_t string_size() const;
  // The value, if it is a string in the int encoding.
  bool integer(int64_t* value) const;
  // 24 bits of access data: LRU clock (see LruClock) or LFU counter, as maxmemory-policy says.
  uint32_t access() const { return head_ & kAccessMask; }
  void set_access(uint32_t bits) { head_ = (head_ & ~kAccessMask) | (bits & kAccessMask); }
  // Bytes the allocator gave to this entry and what it owns.
  size_t memory_usage() const;

 private:
  friend class EntryOps;  // storage/entry_ops.h: makes, changes and frees entries

  // How the value bytes are to be read. For strings; other types will number theirs from 0 as well.
  enum Form : uint32_t { kFormInt = 0, kFormEmbedded, kFormRaw, kFormExternal };

  static constexpr uint32_t kTypeShift = 24;
  static constexpr uint32_t kHasExpiry = 1u << 27;
  static constexpr uint32_t kLongKey = 1u << 28;
  static constexpr uint32_t kFormShift = 29;

  Form form() const { return static_cast<Form>(head_ >> kFormShift); }
  const char* bytes() const { return reinterpret_cast<const char*>(this); }
  const char* AfterKeySize(uint32_t* key_size) const {
    const char* at = bytes() + kFixedSize;
    if (__builtin_expect((head_ & kLongKey) == 0, 1)) {
      *key_size = static_cast<unsigned char>(*at);
      return at + 1;
    }
    std::memcpy(key_size, at, sizeof(*key_size));
    return at + sizeof(*key_size);
  }
  const char* value() const {
    const std::string_view k = key();
    return k.data() + k.size();
  }

  static constexpr size_t kFixedSize = 6;

  uint32_t head_;
  uint16_t value_size_;
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_ENTRY_H_
