// The numbers of the RDB format, and the names of what it can hold. Source: Redis 7.4 and Valkey 9.0.
#ifndef SKEIN_STORAGE_RDB_FORMAT_H_
#define SKEIN_STORAGE_RDB_FORMAT_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace skein::storage::rdb {

inline constexpr std::string_view kRedisMagic = "REDIS";    // and four digits
inline constexpr std::string_view kValkeyMagic = "VALKEY";  // and three
inline constexpr size_t kHeadSize = 9;

// Versions that are read. Valkey left 12 to 79 to others, and began its own magic with 80.
inline constexpr int kMinVersion = 6;
inline constexpr int kMaxRedisVersion = 12;
inline constexpr int kValkeyVersion = 80;

// What stands before a key, or instead of one.
enum Opcode : uint8_t {
  kSlotImport = 243,     // Valkey 80: a slot was being moved here; id, number of ranges, first and last of each
  kSlotInfo = 244,       // hints for the reader's tables: slot, keys, expiring keys
  kFunction2 = 245,      // the source of a function library
  kFunctionPreGa = 246,  // the same, of a preview of 7.0: name, engine, description, source
  kModuleAux = 247,      // what a module saves beside its keys: its id, then its own
  kIdle = 248,           // seconds since the next key was last used
  kFreq = 249,           // the LFU counter of the next key, a byte
  kAux = 250,            // name and value
  kResizeDb = 251,       // hints: keys, expiring keys
  kExpireTimeMs = 252,   // of the next key: 8 bytes, the lowest first
  kExpireTime = 253,     // in seconds, 4 bytes
  kSelectDb = 254,
  kEof = 255,  // and 8 bytes of checksum
};

// Types of values. Strings are all that can be held; the others have names.
inline constexpr uint8_t kTypeString = 0;
inline constexpr uint8_t kTypeModulePreGa = 6;
inline constexpr uint8_t kTypeModule = 7;  // begins with the module's id

// "hash (listpack)"; empty if there is no such type. Redis and Valkey mean different things by the numbers from 22 on.
std::string_view TypeName(uint8_t type, bool valkey);

// The name of a module from its id: nine characters of six bits each, above ten bits of version.
std::string ModuleName(uint64_t id);

// The two upper bits of the first byte of a length.
enum LengthKind : uint8_t { k6Bits = 0, k14Bits = 1, kLong = 2, kEncoded = 3 };
inline constexpr uint8_t k32Bits = 0x80;  // the whole byte; 4 bytes follow, the highest first
inline constexpr uint8_t k64Bits = 0x81;  // 8 bytes

// What kEncoded says in its lower six bits: how a string is written.
enum StringEncoding : uint8_t { kInt8 = 0, kInt16 = 1, kInt32 = 2, kLzf = 3 };

// The end of a DUMP payload: two bytes of version and eight of checksum, the lowest first.
inline constexpr size_t kFooterSize = 10;

}  // namespace skein::storage::rdb

#endif  // SKEIN_STORAGE_RDB_FORMAT_H_
