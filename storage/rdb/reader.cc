#include "storage/rdb/reader.h"

#include <bit>
#include <charconv>
#include <utility>

#include "fmt/format.h"
#include "storage/rdb/format.h"
#include "storage/rdb/lzf.h"

namespace skein::storage {

static_assert(std::endian::native == std::endian::little);

bool RdbReader::Fail(absl::Status status) {
  status_ = std::move(status);
  return false;
}

bool RdbReader::Truncated() { return Fail(absl::DataLossError("the end is missing")); }

bool RdbReader::SizeAllowed(uint64_t size) {
  if (size <= max_string_) return true;
  return Fail(absl::UnimplementedError(fmt::format("a string of {} bytes, where {} are the most", size, max_string_)));
}

bool RdbReader::LengthOrEncoding(uint64_t* length, bool* encoded) {
  uint8_t first;
  if (!Little(&first)) return false;
  *encoded = false;
  switch (first >> 6) {
    case rdb::k6Bits:
      *length = first;
      return true;
    case rdb::k14Bits: {
      uint8_t second;
      if (!Little(&second)) return false;
      *length = uint64_t{first & 0x3fu} << 8 | second;
      return true;
    }
    case rdb::kEncoded:
      *length = first & 0x3f;
      *encoded = true;
      return true;
    default:
      break;
  }
  if (first == rdb::k32Bits) {
    uint32_t swapped;
    if (!Little(&swapped)) return false;
    *length = __builtin_bswap32(swapped);
    return true;
  }
  if (first == rdb::k64Bits) {
    uint64_t swapped;
    if (!Little(&swapped)) return false;
    *length = __builtin_bswap64(swapped);
    return true;
  }
  return Fail(absl::DataLossError(fmt::format("no length begins with the byte {}", first)));
}

bool RdbReader::Length(uint64_t* length) {
  bool encoded;
  if (!LengthOrEncoding(length, &encoded)) return false;
  return !encoded || Fail(absl::DataLossError("an encoded string where a length should be"));
}

template <typename T>
bool RdbReader::Integer(std::string* storage, std::string_view* text) {
  T number;
  if (!Little(&number)) return false;
  char digits[24];
  const auto [end, error] = std::to_chars(digits, digits + sizeof(digits), int64_t{number});
  storage->assign(digits, end);
  *text = *storage;
  return true;
}

bool RdbReader::Compressed(std::string* storage, std::string_view* text) {
  uint64_t compressed;
  uint64_t size;
  if (!Length(&compressed) || !Length(&size)) return false;
  if (compressed > in_->left()) return Truncated();
  if (!LzfPlausible(compressed, size)) {
    return Fail(absl::DataLossError(fmt::format("{} bytes do not decompress to {}", compressed, size)));
  }
  if (!SizeAllowed(size) || !SizeAllowed(compressed)) return false;
  const char* const bytes = in_->Take(compressed);
  if (bytes == nullptr) return Truncated();
  storage->resize(size);
  if (!LzfDecompress({bytes, compressed}, storage->data(), size)) {
    return Fail(absl::DataLossError("a compressed string is damaged"));
  }
  *text = *storage;
  return true;
}

bool RdbReader::String(std::string* storage, std::string_view* text) {
  uint64_t length;
  bool encoded;
  if (!LengthOrEncoding(&length, &encoded)) return false;
  if (!encoded) {
    if (length > in_->left()) return Truncated();
    if (!SizeAllowed(length)) return false;
    const char* const bytes = in_->Take(length);
    if (bytes == nullptr) return Truncated();
    *text = {bytes, length};
    return true;
  }
  switch (length) {
    case rdb::kInt8:
      return Integer<int8_t>(storage, text);
    case rdb::kInt16:
      return Integer<int16_t>(storage, text);
    case rdb::kInt32:
      return Integer<int32_t>(storage, text);
    case rdb::kLzf:
      return Compressed(storage, text);
    default:
      return Fail(absl::DataLossError(fmt::format("strings have no encoding {}", length)));
  }
}

}  // namespace skein::storage
