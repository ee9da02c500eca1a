// The bytes of an incr file: file header, record headers, marks, reigns. The words stand in storage/FORMAT.md.
//
// Pure functions over bytes; any thread.
#ifndef SKEIN_STORAGE_RECORD_H_
#define SKEIN_STORAGE_RECORD_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/types.h"

namespace skein::storage {

// CRC-32C (Castagnoli, reflected, initial value and final xor 0xffffffff: "123456789" gives 0xe3069283). Continues with
// `crc`, the checksum of what stood before.
uint32_t Crc32c(std::string_view bytes, uint32_t crc = 0);

// What follows a record's header. Zero is no kind: a hole of zeros must not read as a record.
enum class RecordKind : uint8_t {
  kData = 1,   // RESP arrays, each one an effect
  kReign = 2,  // the RESP array REIGN id epoch
  kTime = 3,   // empty: no record before this one is later than its time
};

// Every record starts with this many bytes, and a mark has as many.
inline constexpr size_t kRecordHeaderSize = 40;

struct RecordHeader {
  RecordKind kind = RecordKind::kData;
  uint8_t flags = 0;  // none are defined; readers refuse others than 0
  uint16_t db = 0;
  uint16_t slot = kNoSlot;
  Lsn lsn = 0;  // where the record starts
  UnixMillis time = 0;
  uint64_t body_size = 0;
  uint32_t body_crc = 0;

  Lsn end() const { return lsn + kRecordHeaderSize + body_size; }
};

// Writes kRecordHeaderSize bytes, with the header's own checksum.
void EncodeRecordHeader(const RecordHeader& header, char* out);
// The same without checksums: the log's loop leaves these to the writer.
void EncodeRecordHeaderUnsummed(const RecordHeader& header, char* out);
// Fills in both checksums of an encoded header; `body_crc` is the body's.
void SumRecordHeader(char* header, uint32_t body_crc);
// The body size in an encoded header, not checked.
uint64_t RawBodySize(const char* header);

// A mark: put down before a group of records, outside the LSN space.
struct Mark {
  Lsn position = 0;   // where the next record starts
  Lsn durable = 0;    // everything before this was on disk when the mark was put down
  uint64_t salt = 0;  // the file's, so that no value stored by a client reads as a mark
};
inline constexpr size_t kMarkSize = kRecordHeaderSize;
void EncodeMark(const Mark& mark, char* out);
// The mark in the first kMarkSize bytes, if it is one of a file with this salt.
std::optional<Mark> DecodeMark(std::string_view bytes, uint64_t salt);
// What every mark starts with, to search for.
std::string_view MarkMagic();

// What the first kRecordHeaderSize bytes are. DataLoss if the checksum does not match (damaged, or torn); Unimplemented
// if it does and the kind or flags are unknown (written by a newer version).
absl::StatusOr<RecordHeader> DecodeRecordHeader(std::string_view bytes);
// The same for one whose checksums may be unset: they are not looked at.
absl::StatusOr<RecordHeader> DecodeRecordHeaderUnsummed(std::string_view bytes);

// A stretch of a log written by one opening of it.
struct Reign {
  std::array<uint8_t, 16> id = {};
  uint64_t epoch = 0;
  Lsn first_lsn = 0;

  std::string IdHex() const;
  bool operator==(const Reign&) const = default;
};
// A reign with a random id.
Reign NewReign(uint64_t epoch, Lsn first_lsn);
std::optional<std::array<uint8_t, 16>> ParseReignId(std::string_view hex);
// The whole record, header and body, at reign.first_lsn.
std::string EncodeReignRecord(const Reign& reign, UnixMillis time);
// From the record's header and body. DataLoss if it is malformed.
absl::StatusOr<Reign> DecodeReignRecord(const RecordHeader& header, std::string_view body);

// How many reigns a history keeps; the oldest go first.
inline constexpr size_t kMaxReigns = 1024;

// Head of an incr file.
struct FileHeader {
  uint32_t shard = 0;
  uint32_t shard_count = 1;
  Lsn start_lsn = 0;
  uint64_t sequence = 0;
  uint64_t salt = 0;
  UnixMillis created = 0;
  std::vector<Reign> history;  // the reigns that began before start_lsn, oldest first

  bool operator==(const FileHeader&) const = default;
};
inline constexpr uint32_t kAofVersion = 1;
// No file header is longer.
inline constexpr size_t kMaxFileHeader = 68 + kMaxReigns * 32;
std::string EncodeFileHeader(const FileHeader& header);
// From the first kMaxFileHeader bytes of a file, or all it has. `size` is set to the header's length. DataLoss if it is
// damaged, Unimplemented if the version is newer.
absl::StatusOr<FileHeader> DecodeFileHeader(std::string_view bytes, size_t* size);

// Appends `argv` as a RESP array of bulk strings: the form of an effect.
void AppendResp(const std::vector<std::string_view>& argv, std::string* out);
// Takes one RESP array of bulk strings off the front of `body`. False, with nothing taken, if it does not start with
// one.
bool TakeResp(std::string_view* body, std::vector<std::string_view>* argv);

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_RECORD_H_
