// Writes the RDB format: whole files, as redis-server and Valkey read them, and the payloads of DUMP.
//
// Pure: bytes in, bytes out, no clock, no file. One thread at a time. Source: the RDB format of Redis 7.0 (version 10).
// Access data is not written: redis-server writes it only under a maxmemory-policy that goes by it.
#ifndef SKEIN_STORAGE_RDB_ENCODER_H_
#define SKEIN_STORAGE_RDB_ENCODER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "storage/rdb/item.h"

namespace skein::storage {

inline constexpr int kRdbVersion = 10;  // what is written: redis-server 7.0 refuses 11

struct RdbEncoderOptions {
  bool compress = true;  // LZF for strings of more than 20 bytes, where it saves something (rdbcompression)
  bool checksum = true;  // rdbchecksum; without it the checksum is written as 0, as Redis does
};

// Whether it is worth trying to compress a small string. A try that saves nothing costs ten times what writing the
// string costs; where a run of them has failed, as with random or already compressed values, only some are tried until
// one works.
class CompressionLuck {
 public:
  static constexpr size_t kSmall = 1024;     // larger ones are always tried
  static constexpr uint32_t kPatience = 32;  // tries in a row that may fail
  static constexpr uint32_t kEvery = 16;     // from then on one in so many is tried

  bool Try(size_t size) { return size > kSmall || failed_ < kPatience || ++passed_ % kEvery == 0; }
  void Tried(bool saved) { failed_ = saved ? 0 : failed_ + (failed_ < kPatience); }

 private:
  uint32_t failed_ = 0, passed_ = 0;
};

// One file, written from front to back: Begin, then Aux, SizeHint and Add in any number, then End. Every call appends
// to `*out`, which the caller empties whenever it likes (the checksum goes on over what it has taken away: nothing that
// has been appended may be changed).
class RdbEncoder {
 public:
  explicit RdbEncoder(const RdbEncoderOptions& options, std::string* out);

  void Begin();
  // An auxiliary field; before the first key.
  void Aux(std::string_view name, std::string_view value);
  // How many keys of a database follow, and how many of them expire: a hint for the reader's tables.
  void SizeHint(uint32_t db, uint64_t keys, uint64_t expiring);
  // Databases may come in any order and come back; keys are not compared.
  void Add(const RdbItem& item);
  void End();

 private:
  // What a call appends lies between them: the caller may take it away once the call has returned.
  void BeginCall() { summed_from_ = out_->size(); }
  // Brings the checksum up to the end of *out_.
  void EndCall();
  void SelectDb(uint32_t db);
  void PutString(std::string_view text, CompressionLuck* luck);

  const RdbEncoderOptions options_;
  std::string* const out_;
  size_t summed_from_ = 0;
  uint64_t crc_ = 0;
  bool db_selected_ = false;
  uint32_t db_ = 0;
  CompressionLuck keys_, values_;
  // For strings while they are compressed.
  std::string scratch_;
};

// The payload of DUMP, compressed where that saves something: the value without key and expiry, the RDB version, the
// checksum.
std::string EncodeDumpPayload(const RdbItem& item, bool compress = true);

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_RDB_ENCODER_H_
