#include "storage/entry.h"

#include <charconv>

#include "glog/logging.h"
#include "storage/entry_blob.h"
#include "storage/entry_ops.h"
#include "storage/memory.h"

namespace skein::storage {

std::string_view TypeName(ValueType type) {
  switch (type) {
    case ValueType::kString:
      return "string";
    case ValueType::kList:
      return "list";
    case ValueType::kSet:
      return "set";
    case ValueType::kSortedSet:
      return "zset";
    case ValueType::kHash:
      return "hash";
    case ValueType::kStream:
      return "stream";
  }
  return "unknown";
}

std::string_view EncodingName(Encoding encoding) {
  switch (encoding) {
    case Encoding::kInt:
      return "int";
    case Encoding::kEmbedded:
      return "embstr";
    case Encoding::kRaw:
      return "raw";
    case Encoding::kListPack:
      return "listpack";
    case Encoding::kQuickList:
      return "quicklist";
    case Encoding::kIntSet:
      return "intset";
    case Encoding::kHashTable:
      return "hashtable";
    case Encoding::kSkipList:
      return "skiplist";
    case Encoding::kStream:
      return "stream";
  }
  return "unknown";
}

bool ParseCanonicalInteger(std::string_view text, int64_t* value) {
  if (text.empty() || text.size() > 20) return false;
  const size_t first = text[0] == '-' ? 1 : 0;
  if (first == text.size()) return false;
  if (text[first] == '0') {
    if (text.size() != 1) return false;
    *value = 0;
    return true;
  }
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

Encoding Entry::encoding() const {
  DCHECK(type() == ValueType::kString);
  switch (form()) {
    case kFormInt:
      return Encoding::kInt;
    case kFormEmbedded:
      return value_size_ <= kEmbeddedNameLimit ? Encoding::kEmbedded : Encoding::kRaw;
    case kFormRaw:
    case kFormExternal:
      break;
  }
  return Encoding::kRaw;
}

bool Entry::integer(int64_t* number) const {
  if (type() != ValueType::kString || form() != kFormInt) return false;
  std::memcpy(number, value(), sizeof(*number));
  return true;
}

std::string_view Entry::string(IntText* scratch) const {
  DCHECK(type() == ValueType::kString);
  switch (form()) {
    case kFormEmbedded:
    case kFormRaw:
      return {value(), value_size_};
    case kFormInt: {
      int64_t number;
      std::memcpy(&number, value(), sizeof(number));
      const auto [end, error] = std::to_chars(scratch->bytes, scratch->bytes + sizeof(scratch->bytes), number);
      DCHECK(error == std::errc());
      return {scratch->bytes, static_cast<size_t>(end - scratch->bytes)};
    }
    case kFormExternal:
      break;
  }
  const EntryOps::Blob* blob = EntryOps::GetBlob(this);
  return {blob->bytes, blob->size};
}

size_t Entry::string_size() const {
  IntText scratch;
  return string(&scratch).size();
}

size_t Entry::memory_usage() const {
  size_t bytes = AllocationSize(EntryOps::SizeOf(this));
  if (type() == ValueType::kString && form() == kFormExternal) {
    bytes += EntryOps::GetBlob(this)->allocated();
  }
  return bytes;
}

}  // namespace skein::storage
