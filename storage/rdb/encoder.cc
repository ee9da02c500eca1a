#include "storage/rdb/encoder.h"

#include <bit>
#include <cstring>
#include <limits>

#include "glog/logging.h"
#include "storage/rdb/crc64.h"
#include "storage/rdb/format.h"
#include "storage/rdb/lzf.h"

namespace skein::storage {
namespace {

// Strings up to this size are not worth compressing.
constexpr size_t kCompressFrom = 21;
// A compressed string has to save this much, as in Redis.
constexpr size_t kLeastSaving = 4;
// What a string needs around its bytes: kind, and two lengths at most.
constexpr size_t kMaxHead = 19;

char* PutByte(char* at, uint8_t byte) {
  *at = static_cast<char>(byte);
  return at + 1;
}

template <typename T>
char* PutLittle(char* at, T number) {
  static_assert(std::endian::native == std::endian::little);
  std::memcpy(at, &number, sizeof(number));
  return at + sizeof(number);
}

char* PutLength(char* at, uint64_t n) {
  if (n < 1u << 6) return PutByte(at, static_cast<uint8_t>(n));
  if (n < 1u << 14) {
    at = PutByte(at, static_cast<uint8_t>(rdb::k14Bits << 6 | n >> 8));
    return PutByte(at, static_cast<uint8_t>(n));
  }
  if (n <= std::numeric_limits<uint32_t>::max()) {
    return PutLittle(PutByte(at, rdb::k32Bits), __builtin_bswap32(static_cast<uint32_t>(n)));
  }
  return PutLittle(PutByte(at, rdb::k64Bits), __builtin_bswap64(n));
}

// Writes a number's one decimal form as a number of 8, 16 or 32 bits; null if the text is no such number.
char* PutIfInteger(char* at, std::string_view text) {
  constexpr size_t kMostDigits = 11;
  constexpr uint8_t kKind = rdb::kEncoded << 6;
  if (text.empty() || text.size() > kMostDigits || text[0] > '9') return nullptr;
  int64_t n;
  if (!ParseCanonicalInteger(text, &n)) return nullptr;
  if (n == static_cast<int8_t>(n)) return PutLittle(PutByte(at, kKind | rdb::kInt8), static_cast<int8_t>(n));
  if (n == static_cast<int16_t>(n)) return PutLittle(PutByte(at, kKind | rdb::kInt16), static_cast<int16_t>(n));
  if (n == static_cast<int32_t>(n)) return PutLittle(PutByte(at, kKind | rdb::kInt32), static_cast<int32_t>(n));
  return nullptr;
}

// `luck` null: nothing is compressed.
void AppendString(std::string_view text, CompressionLuck* luck, std::string* scratch, std::string* out) {
  char head[kMaxHead];
  if (const char* end = PutIfInteger(head, text)) {
    out->append(head, static_cast<size_t>(end - head));
    return;
  }
  if (luck != nullptr && text.size() >= kCompressFrom && luck->Try(text.size())) {
    const size_t room = text.size() - kLeastSaving;
    if (scratch->size() < room) scratch->resize(room);
    const size_t size = LzfCompress(text, scratch->data(), room);
    luck->Tried(size != 0);
    if (size != 0) {
      char* end = PutByte(head, rdb::kEncoded << 6 | rdb::kLzf);
      end = PutLength(PutLength(end, size), text.size());
      out->append(head, static_cast<size_t>(end - head));
      out->append(*scratch, 0, size);
      return;
    }
  }
  out->append(head, static_cast<size_t>(PutLength(head, text.size()) - head));
  out->append(text);
}

}  // namespace

RdbEncoder::RdbEncoder(const RdbEncoderOptions& options, std::string* out) : options_(options), out_(out) {}

void RdbEncoder::EndCall() {
  if (options_.checksum) crc_ = RdbCrc64(crc_, std::string_view(*out_).substr(summed_from_));
}

void RdbEncoder::PutString(std::string_view text, CompressionLuck* luck) {
  AppendString(text, options_.compress ? luck : nullptr, &scratch_, out_);
}

void RdbEncoder::Begin() {
  static_assert(kRdbVersion == 10);
  BeginCall();
  out_->append(rdb::kRedisMagic).append("0010");
  EndCall();
}

void RdbEncoder::Aux(std::string_view name, std::string_view value) {
  DCHECK(!db_selected_) << "an auxiliary field after the first key";
  BeginCall();
  out_->push_back(static_cast<char>(rdb::kAux));
  PutString(name, nullptr);
  PutString(value, nullptr);
  EndCall();
}

void RdbEncoder::SelectDb(uint32_t db) {
  if (db_selected_ && db_ == db) return;
  db_selected_ = true;
  db_ = db;
  char bytes[1 + kMaxHead];
  out_->append(bytes, static_cast<size_t>(PutLength(PutByte(bytes, rdb::kSelectDb), db) - bytes));
}

void RdbEncoder::SizeHint(uint32_t db, uint64_t keys, uint64_t expiring) {
  BeginCall();
  SelectDb(db);
  char bytes[1 + kMaxHead];
  char* const end = PutLength(PutLength(PutByte(bytes, rdb::kResizeDb), keys), expiring);
  out_->append(bytes, static_cast<size_t>(end - bytes));
  EndCall();
}

void RdbEncoder::Add(const RdbItem& item) {
  CHECK(item.type == ValueType::kString) << "a type that cannot be held";
  BeginCall();
  SelectDb(item.db);
  char bytes[1 + sizeof(item.expire_at) + 1];
  char* end = bytes;
  if (item.expire_at != kNoExpiry) end = PutLittle(PutByte(end, rdb::kExpireTimeMs), item.expire_at);
  end = PutByte(end, rdb::kTypeString);
  out_->append(bytes, static_cast<size_t>(end - bytes));
  PutString(item.key, &keys_);
  PutString(item.string, &values_);
  EndCall();
}

void RdbEncoder::End() {
  BeginCall();
  out_->push_back(static_cast<char>(rdb::kEof));
  EndCall();
  char bytes[sizeof(crc_)];
  PutLittle(bytes, crc_);
  out_->append(bytes, sizeof(bytes));
}

std::string EncodeDumpPayload(const RdbItem& item, bool compress) {
  CHECK(item.type == ValueType::kString) << "a type that cannot be held";
  std::string payload;
  std::string scratch;
  payload.reserve(1 + kMaxHead + item.string.size() + rdb::kFooterSize);
  payload.push_back(static_cast<char>(rdb::kTypeString));
  CompressionLuck luck;
  AppendString(item.string, compress ? &luck : nullptr, &scratch, &payload);
  char footer[rdb::kFooterSize];
  PutLittle(footer, static_cast<uint16_t>(kRdbVersion));
  payload.append(footer, sizeof(uint16_t));
  PutLittle(footer, RdbCrc64(0, payload));
  return payload.append(footer, sizeof(uint64_t));
}

}  // namespace skein::storage
