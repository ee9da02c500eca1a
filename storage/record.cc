#include "storage/record.h"

#include <isa-l/crc.h>
#include <sys/random.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <limits>

#include "glog/logging.h"

namespace skein::storage {
namespace {

static_assert(std::endian::native == std::endian::little, "the formats are little-endian and encoded with memcpy");

// Offsets of a record header.
constexpr size_t kKindAt = 0, kFlagsAt = 1, kDbAt = 2, kSlotAt = 4, kReservedAt = 6, kLsnAt = 8, kTimeAt = 16,
                 kBodySizeAt = 24, kBodyCrcAt = 32, kHeaderCrcAt = 36;
// Offsets of a mark.
constexpr size_t kMarkPositionAt = 8, kMarkDurableAt = 16, kMarkSaltAt = 24, kMarkReservedAt = 32, kMarkCrcAt = 36;
constexpr std::string_view kMarkMagic = "MSKNMARK";
// Offsets of a file header.
constexpr std::string_view kFileMagic = "SKEINAOF";
constexpr size_t kVersionAt = 8, kLengthAt = 12, kShardAt = 16, kCountAt = 20, kStartAt = 24, kSequenceAt = 32,
                 kSaltAt = 40, kCreatedAt = 48, kReignsAt = 56, kFileReservedAt = 60, kHistoryAt = 64;
constexpr size_t kReignSize = 32;

template <typename T>
void Put(char* out, size_t at, T value) {
  std::memcpy(out + at, &value, sizeof(value));
}

template <typename T>
T Get(std::string_view bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(value));
  return value;
}

template <typename T>
bool ParseNumber(std::string_view text, T* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

uint32_t Crc32c(std::string_view bytes, uint32_t crc) {
  crc = ~crc;
  // The library takes an int length.
  constexpr size_t kStep = 1u << 30;
  while (!bytes.empty()) {
    const size_t n = std::min(bytes.size(), kStep);
    crc = crc32_iscsi(reinterpret_cast<unsigned char*>(const_cast<char*>(bytes.data())), static_cast<int>(n), crc);
    bytes.remove_prefix(n);
  }
  return ~crc;
}

void EncodeRecordHeaderUnsummed(const RecordHeader& header, char* out) {
  Put(out, kKindAt, static_cast<uint8_t>(header.kind));
  Put(out, kFlagsAt, header.flags);
  Put(out, kDbAt, header.db);
  Put(out, kSlotAt, header.slot);
  Put(out, kReservedAt, uint16_t{0});
  Put(out, kLsnAt, header.lsn);
  Put(out, kTimeAt, header.time);
  Put(out, kBodySizeAt, header.body_size);
  Put(out, kBodyCrcAt, uint64_t{0});
}

void SumRecordHeader(char* header, uint32_t body_crc) {
  Put(header, kBodyCrcAt, body_crc);
  Put(header, kHeaderCrcAt, Crc32c({header, kHeaderCrcAt}));
}

void EncodeRecordHeader(const RecordHeader& header, char* out) {
  EncodeRecordHeaderUnsummed(header, out);
  SumRecordHeader(out, header.body_crc);
}

uint64_t RawBodySize(const char* header) { return Get<uint64_t>({header, kRecordHeaderSize}, kBodySizeAt); }

absl::StatusOr<RecordHeader> DecodeRecordHeader(std::string_view bytes) {
  if (bytes.size() < kRecordHeaderSize) return absl::DataLossError("incomplete record header");
  if (Get<uint32_t>(bytes, kHeaderCrcAt) != Crc32c(bytes.substr(0, kHeaderCrcAt))) {
    return absl::DataLossError("checksum of the record header does not match");
  }
  return DecodeRecordHeaderUnsummed(bytes);
}

absl::StatusOr<RecordHeader> DecodeRecordHeaderUnsummed(std::string_view bytes) {
  if (bytes.size() < kRecordHeaderSize) return absl::DataLossError("incomplete record header");
  const uint8_t kind = Get<uint8_t>(bytes, kKindAt);
  RecordHeader header;
  header.kind = static_cast<RecordKind>(kind);
  header.flags = Get<uint8_t>(bytes, kFlagsAt);
  header.db = Get<uint16_t>(bytes, kDbAt);
  header.slot = Get<uint16_t>(bytes, kSlotAt);
  header.lsn = Get<uint64_t>(bytes, kLsnAt);
  header.time = Get<int64_t>(bytes, kTimeAt);
  header.body_size = Get<uint64_t>(bytes, kBodySizeAt);
  header.body_crc = Get<uint32_t>(bytes, kBodyCrcAt);
  if (kind < static_cast<uint8_t>(RecordKind::kData) || kind > static_cast<uint8_t>(RecordKind::kTime)) {
    return absl::UnimplementedError("unknown kind of record: " + std::to_string(kind));
  }
  if (header.flags != 0 || Get<uint16_t>(bytes, kReservedAt) != 0) {
    return absl::UnimplementedError("unknown flags of a record: " + std::to_string(header.flags));
  }
  if (header.slot != kNoSlot && header.slot >= kSlots) {
    return absl::UnimplementedError("no such slot: " + std::to_string(header.slot));
  }
  // Leaves room so that positions can be added up without overflow.
  if (header.body_size > std::numeric_limits<uint64_t>::max() / 4 ||
      header.lsn > std::numeric_limits<uint64_t>::max() / 4) {
    return absl::UnimplementedError("length or LSN out of range");
  }
  return header;
}

std::string_view MarkMagic() { return kMarkMagic; }

void EncodeMark(const Mark& mark, char* out) {
  std::memcpy(out, kMarkMagic.data(), kMarkMagic.size());
  Put(out, kMarkPositionAt, mark.position);
  Put(out, kMarkDurableAt, mark.durable);
  Put(out, kMarkSaltAt, mark.salt);
  Put(out, kMarkReservedAt, uint32_t{0});
  Put(out, kMarkCrcAt, Crc32c({out, kMarkCrcAt}));
}

std::optional<Mark> DecodeMark(std::string_view bytes, uint64_t salt) {
  if (bytes.size() < kMarkSize || bytes.substr(0, kMarkMagic.size()) != kMarkMagic) return std::nullopt;
  if (Get<uint32_t>(bytes, kMarkCrcAt) != Crc32c(bytes.substr(0, kMarkCrcAt))) return std::nullopt;
  Mark mark;
  mark.position = Get<uint64_t>(bytes, kMarkPositionAt);
  mark.durable = Get<uint64_t>(bytes, kMarkDurableAt);
  mark.salt = Get<uint64_t>(bytes, kMarkSaltAt);
  if (mark.salt != salt || Get<uint32_t>(bytes, kMarkReservedAt) != 0) return std::nullopt;
  return mark;
}

std::string Reign::IdHex() const {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const uint8_t byte : id) {
    hex.push_back(kDigits[byte >> 4]);
    hex.push_back(kDigits[byte & 15]);
  }
  return hex;
}

std::optional<std::array<uint8_t, 16>> ParseReignId(std::string_view hex) {
  std::array<uint8_t, 16> id;
  if (hex.size() != 2 * id.size()) return std::nullopt;
  for (size_t i = 0; i < hex.size(); ++i) {
    const char c = hex[i];
    const bool digit = c >= '0' && c <= '9';
    if (!digit && !(c >= 'a' && c <= 'f')) return std::nullopt;
    const uint8_t nibble = static_cast<uint8_t>(digit ? c - '0' : c - 'a' + 10);
    id[i / 2] = static_cast<uint8_t>(i % 2 == 0 ? nibble << 4 : id[i / 2] | nibble);
  }
  return id;
}

Reign NewReign(uint64_t epoch, Lsn first_lsn) {
  Reign reign;
  // 16 bytes are never delivered in parts; the only failures are of the kernel.
  PCHECK(getrandom(reign.id.data(), reign.id.size(), 0) == static_cast<ssize_t>(reign.id.size()));
  reign.epoch = epoch;
  reign.first_lsn = first_lsn;
  return reign;
}

std::string EncodeReignRecord(const Reign& reign, UnixMillis time) {
  std::string record(kRecordHeaderSize, '\0');
  const std::string epoch = std::to_string(reign.epoch);
  AppendResp({"REIGN", reign.IdHex(), epoch}, &record);
  RecordHeader header;
  header.kind = RecordKind::kReign;
  header.lsn = reign.first_lsn;
  header.time = time;
  header.body_size = record.size() - kRecordHeaderSize;
  header.body_crc = Crc32c(std::string_view(record).substr(kRecordHeaderSize));
  EncodeRecordHeader(header, record.data());
  return record;
}

absl::StatusOr<Reign> DecodeReignRecord(const RecordHeader& header, std::string_view body) {
  Reign reign;
  reign.first_lsn = header.lsn;
  std::vector<std::string_view> argv;
  if (TakeResp(&body, &argv) && body.empty() && argv.size() == 3 && argv[0] == "REIGN") {
    const auto id = ParseReignId(argv[1]);
    if (id.has_value() && ParseNumber(argv[2], &reign.epoch)) {
      reign.id = *id;
      return reign;
    }
  }
  return absl::DataLossError("malformed reign record");
}

std::string EncodeFileHeader(const FileHeader& header) {
  CHECK_LE(header.history.size(), kMaxReigns);
  const size_t length = kHistoryAt + header.history.size() * kReignSize + 4;
  std::string bytes(length, '\0');
  char* out = bytes.data();
  std::memcpy(out, kFileMagic.data(), kFileMagic.size());
  Put(out, kVersionAt, kAofVersion);
  Put(out, kLengthAt, static_cast<uint32_t>(length));
  Put(out, kShardAt, header.shard);
  Put(out, kCountAt, header.shard_count);
  Put(out, kStartAt, header.start_lsn);
  Put(out, kSequenceAt, header.sequence);
  Put(out, kSaltAt, header.salt);
  Put(out, kCreatedAt, header.created);
  Put(out, kReignsAt, static_cast<uint32_t>(header.history.size()));
  Put(out, kFileReservedAt, uint32_t{0});
  size_t at = kHistoryAt;
  for (const Reign& reign : header.history) {
    std::memcpy(out + at, reign.id.data(), reign.id.size());
    Put(out, at + 16, reign.epoch);
    Put(out, at + 24, reign.first_lsn);
    at += kReignSize;
  }
  Put(out, at, Crc32c({out, at}));
  return bytes;
}

absl::StatusOr<FileHeader> DecodeFileHeader(std::string_view bytes, size_t* size) {
  if (bytes.size() < kHistoryAt + 4) return absl::DataLossError("incomplete file header");
  if (bytes.substr(0, kFileMagic.size()) != kFileMagic) return absl::DataLossError("not an append-only file of Skein");
  // The version stands before the checksum is looked at, so that a newer form may move everything behind it.
  const uint32_t version = Get<uint32_t>(bytes, kVersionAt);
  const uint32_t length = Get<uint32_t>(bytes, kLengthAt);
  const uint32_t reigns = Get<uint32_t>(bytes, kReignsAt);
  if (version == kAofVersion && (reigns > kMaxReigns || length != kHistoryAt + reigns * kReignSize + 4)) {
    return absl::DataLossError("damaged file header");
  }
  if (version > kAofVersion && length >= kHistoryAt && length <= bytes.size() &&
      Get<uint32_t>(bytes, length - 4) == Crc32c(bytes.substr(0, length - 4))) {
    return absl::UnimplementedError("written by a newer version (format " + std::to_string(version) + ")");
  }
  if (version != kAofVersion || length > bytes.size() ||
      Get<uint32_t>(bytes, length - 4) != Crc32c(bytes.substr(0, length - 4)) ||
      Get<uint32_t>(bytes, kFileReservedAt) != 0) {
    return absl::DataLossError("damaged file header");
  }
  FileHeader header;
  header.shard = Get<uint32_t>(bytes, kShardAt);
  header.shard_count = Get<uint32_t>(bytes, kCountAt);
  header.start_lsn = Get<uint64_t>(bytes, kStartAt);
  header.sequence = Get<uint64_t>(bytes, kSequenceAt);
  header.salt = Get<uint64_t>(bytes, kSaltAt);
  header.created = Get<int64_t>(bytes, kCreatedAt);
  for (uint32_t i = 0; i < reigns; ++i) {
    const size_t at = kHistoryAt + i * kReignSize;
    Reign reign;
    std::memcpy(reign.id.data(), bytes.data() + at, reign.id.size());
    reign.epoch = Get<uint64_t>(bytes, at + 16);
    reign.first_lsn = Get<uint64_t>(bytes, at + 24);
    header.history.push_back(reign);
  }
  *size = length;
  return header;
}

void AppendResp(const std::vector<std::string_view>& argv, std::string* out) {
  out->append("*").append(std::to_string(argv.size())).append("\r\n");
  for (const std::string_view arg : argv) {
    out->append("$").append(std::to_string(arg.size())).append("\r\n").append(arg).append("\r\n");
  }
}

bool TakeResp(std::string_view* body, std::vector<std::string_view>* argv) {
  std::string_view rest = *body;
  // A number between `sign` and CRLF, in the one form that the writer gives it.
  const auto take_number = [&rest](char sign, uint64_t* value) {
    const size_t end = rest.substr(0, 22).find("\r\n");
    if (end == std::string_view::npos || end < 2 || end > 20 || rest[0] != sign) return false;
    if (!ParseNumber(rest.substr(1, end - 1), value) || (rest[1] == '0' && end != 2)) return false;
    rest.remove_prefix(end + 2);
    return true;
  };
  argv->clear();
  uint64_t count = 0;
  if (!take_number('*', &count) || count == 0) return false;
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t size = 0;
    if (!take_number('$', &size) || rest.size() < 2 || size > rest.size() - 2) return false;
    if (rest.substr(size, 2) != "\r\n") return false;
    argv->push_back(rest.substr(0, size));
    rest.remove_prefix(size + 2);
  }
  *body = rest;
  return true;
}

}  // namespace skein::storage
