#include "storage/entry_ops.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "glog/logging.h"
#include "storage/entry_blob.h"
#include "storage/memory.h"

namespace skein::storage {
namespace {

constexpr size_t kPointerSize = sizeof(void*);  // of a value that stands outside its entry
constexpr size_t kShortKeyLimit = 255;
constexpr size_t kSparePerEdit = 1u << 20;  // a growing string doubles up to here, then gains this much

constexpr size_t RoundUp(size_t n, size_t to) { return (n + to - 1) / to * to; }

}  // namespace

size_t EntryOps::SizeOf(size_t key_size, bool has_expiry, size_t value_size) {
  const size_t size = Entry::kFixedSize + (key_size <= kShortKeyLimit ? 1 : sizeof(uint32_t)) +
                      (has_expiry ? sizeof(UnixMillis) : 0) + key_size + value_size;
  return std::max(size, sizeof(Entry));
}

size_t EntryOps::SizeOf(const Entry* entry) {
  return SizeOf(entry->key().size(), entry->has_expiry(), entry->value_size_);
}

EntryOps::Blob* EntryOps::GetBlob(const Entry* entry) {
  Blob* blob;
  std::memcpy(static_cast<void*>(&blob), entry->value(), kPointerSize);
  return blob;
}

void EntryOps::SetBlob(Entry* entry, Blob* blob) {
  std::memcpy(Value(entry), static_cast<const void*>(&blob), kPointerSize);
}

EntryOps::Blob* EntryOps::NewBlob(size_t size, size_t capacity) {
  const size_t bytes = AllocationSize(sizeof(Blob) + std::max(size, capacity));
  auto* blob = new (Allocate(bytes)) Blob;
  blob->size = size;
  blob->units = Blob::UnitsOf(bytes);
  blob->owners.store(1, std::memory_order_relaxed);
  return blob;
}

void EntryOps::DropBlob(Blob* blob) {
  // A sole owner needs no atomic change: nobody else could add one.
  if (!blob->shared() || blob->owners.fetch_sub(1, std::memory_order_acq_rel) == 1) std::free(blob);
}

Entry* EntryOps::New(std::string_view key, UnixMillis expire_at, uint32_t access, ValueType type, Entry::Form form,
                     size_t value_size) {
  DCHECK_LE(value_size, kEmbedLimit);
  const bool has_expiry = expire_at != kNoExpiry;
  const bool long_key = key.size() > kShortKeyLimit;
  auto* entry = static_cast<Entry*>(Allocate(SizeOf(key.size(), has_expiry, value_size)));
  entry->head_ = (access & kAccessMask) | (static_cast<uint32_t>(type) << Entry::kTypeShift) |
                 (has_expiry ? Entry::kHasExpiry : 0) | (long_key ? Entry::kLongKey : 0) |
                 (static_cast<uint32_t>(form) << Entry::kFormShift);
  entry->value_size_ = static_cast<uint16_t>(value_size);
  char* at = reinterpret_cast<char*>(entry) + Entry::kFixedSize;
  if (long_key) {
    const auto size = static_cast<uint32_t>(key.size());
    std::memcpy(at, &size, sizeof(size));
    at += sizeof(size);
  } else {
    *at++ = static_cast<char>(key.size());
  }
  if (has_expiry) {
    std::memcpy(at, &expire_at, sizeof(expire_at));
    at += sizeof(expire_at);
  }
  if (!key.empty()) std::memcpy(at, key.data(), key.size());
  return entry;
}

Entry* EntryOps::NewString(std::string_view key, const StringValue& value, UnixMillis expire_at, uint32_t access) {
  if (value.is_integer) {
    Entry* entry = New(key, expire_at, access, ValueType::kString, Entry::kFormInt, sizeof(int64_t));
    std::memcpy(Value(entry), &value.integer, sizeof(int64_t));
    return entry;
  }
  if (value.text.size() <= kEmbedLimit) {
    Entry* entry = New(key, expire_at, access, ValueType::kString, Entry::kFormEmbedded, value.text.size());
    if (!value.text.empty()) std::memcpy(Value(entry), value.text.data(), value.text.size());
    return entry;
  }
  Entry* entry = New(key, expire_at, access, ValueType::kString, Entry::kFormExternal, kPointerSize);
  Blob* blob = NewBlob(value.text.size(), 0);
  std::memcpy(blob->bytes, value.text.data(), value.text.size());
  SetBlob(entry, blob);
  return entry;
}

bool EntryOps::RewriteString(Entry* entry, const StringValue& value, UnixMillis expire_at) {
  if (entry->type() != ValueType::kString || entry->form() == Entry::kFormExternal) return false;
  if (!value.is_integer && value.text.size() > kEmbedLimit) return false;
  const std::string_view key = entry->key();
  const bool has_expiry = expire_at != kNoExpiry;
  const size_t value_size = value.is_integer ? sizeof(int64_t) : value.text.size();
  const size_t capacity = AllocationSize(SizeOf(entry));
  if (AllocationSize(SizeOf(key.size(), has_expiry, value_size)) != capacity) return false;
  // A value that points into this entry could be overwritten before it is copied.
  const auto begin = reinterpret_cast<uintptr_t>(entry);
  const auto text = reinterpret_cast<uintptr_t>(value.text.data());
  if (!value.is_integer && text >= begin && text < begin + capacity) return false;

  if (has_expiry != entry->has_expiry()) {
    const size_t key_size = key.size();
    char* const from = const_cast<char*>(key.data());
    char* const to = has_expiry ? from + sizeof(UnixMillis) : from - sizeof(UnixMillis);
    std::memmove(to, from, key_size);
    entry->head_ ^= Entry::kHasExpiry;
  }
  const Entry::Form form = value.is_integer ? Entry::kFormInt : Entry::kFormEmbedded;
  entry->head_ = (entry->head_ & ((1u << Entry::kFormShift) - 1)) | (static_cast<uint32_t>(form) << Entry::kFormShift);
  entry->value_size_ = static_cast<uint16_t>(value_size);
  if (has_expiry) {
    std::memcpy(const_cast<char*>(entry->key().data()) - sizeof(UnixMillis), &expire_at, sizeof(expire_at));
  }
  if (value.is_integer) {
    std::memcpy(Value(entry), &value.integer, sizeof(int64_t));
  } else if (value_size != 0) {
    std::memcpy(Value(entry), value.text.data(), value_size);
  }
  return true;
}

Entry* EntryOps::WithExpiry(Entry* entry, UnixMillis expire_at) {
  const std::string_view key = entry->key();
  const bool has_expiry = expire_at != kNoExpiry;
  if (has_expiry == entry->has_expiry()) {
    if (has_expiry) std::memcpy(const_cast<char*>(key.data()) - sizeof(expire_at), &expire_at, sizeof(expire_at));
    return entry;
  }
  if (AllocationSize(SizeOf(entry)) == AllocationSize(SizeOf(key.size(), has_expiry, entry->value_size_))) {
    char* const from = const_cast<char*>(key.data());
    char* const to = has_expiry ? from + sizeof(expire_at) : from - sizeof(expire_at);
    std::memmove(to, from, key.size() + entry->value_size_);
    entry->head_ ^= Entry::kHasExpiry;
    if (has_expiry) std::memcpy(from, &expire_at, sizeof(expire_at));
    return entry;
  }
  Entry* fresh = New(key, expire_at, entry->access(), entry->type(), entry->form(), entry->value_size_);
  std::memcpy(Value(fresh), entry->value(), entry->value_size_);
  std::free(entry);
  return fresh;
}

Entry* EntryOps::EditString(Entry* entry, size_t new_size, char** data) {
  DCHECK(entry->type() == ValueType::kString);
  if (entry->form() == Entry::kFormExternal) {
    Blob* blob = GetBlob(entry);
    const size_t wanted = new_size > blob->capacity() ? new_size + std::min(new_size, kSparePerEdit) : blob->capacity();
    if (blob->shared()) {
      // A snapshot reads the old one.
      Blob* const fresh = NewBlob(std::min<size_t>(blob->size, new_size), wanted);
      std::memcpy(fresh->bytes, blob->bytes, fresh->size);
      DropBlob(blob);
      blob = fresh;
      SetBlob(entry, blob);
    } else if (new_size > blob->capacity()) {
      const size_t bytes = AllocationSize(sizeof(Blob) + wanted);
      blob = static_cast<Blob*>(Reallocate(blob, bytes));
      blob->units = Blob::UnitsOf(bytes);
      SetBlob(entry, blob);
    }
    if (new_size > blob->size) std::memset(blob->bytes + blob->size, 0, new_size - blob->size);
    blob->size = new_size;
    *data = blob->bytes;
    return entry;
  }

  IntText scratch;
  const std::string_view old = entry->string(&scratch);
  const std::string_view key = entry->key();
  const size_t kept = std::min(old.size(), new_size);
  if (new_size > kEmbedLimit) {
    Blob* blob = NewBlob(new_size, new_size + std::min(new_size, kSparePerEdit));
    std::memcpy(blob->bytes, old.data(), kept);
    std::memset(blob->bytes + kept, 0, new_size - kept);
    Entry* fresh =
        New(key, entry->expire_at(), entry->access(), ValueType::kString, Entry::kFormExternal, kPointerSize);
    SetBlob(fresh, blob);
    std::free(entry);
    *data = blob->bytes;
    return fresh;
  }
  if (AllocationSize(SizeOf(entry)) == AllocationSize(SizeOf(key.size(), entry->has_expiry(), new_size))) {
    if (entry->form() == Entry::kFormInt) std::memcpy(Value(entry), old.data(), kept);
    entry->head_ = (entry->head_ & ((1u << Entry::kFormShift) - 1)) | (uint32_t{Entry::kFormRaw} << Entry::kFormShift);
    entry->value_size_ = static_cast<uint16_t>(new_size);
    *data = Value(entry);
    std::memset(*data + kept, 0, new_size - kept);
    return entry;
  }
  Entry* fresh = New(key, entry->expire_at(), entry->access(), ValueType::kString, Entry::kFormRaw, new_size);
  *data = Value(fresh);
  std::memcpy(*data, old.data(), kept);
  std::memset(*data + kept, 0, new_size - kept);
  std::free(entry);
  return fresh;
}

Entry* EntryOps::CopyAs(const Entry* entry, std::string_view key) {
  Entry* copy = New(key, entry->expire_at(), entry->access(), entry->type(), entry->form(), entry->value_size_);
  if (entry->form() == Entry::kFormExternal) {
    const Blob* blob = GetBlob(entry);
    Blob* fresh = NewBlob(blob->size, 0);
    std::memcpy(fresh->bytes, blob->bytes, blob->size);
    SetBlob(copy, fresh);
  } else {
    std::memcpy(Value(copy), entry->value(), entry->value_size_);
  }
  return copy;
}

Entry* EntryOps::RenameAs(Entry* entry, std::string_view key) {
  Entry* fresh = New(key, entry->expire_at(), entry->access(), entry->type(), entry->form(), entry->value_size_);
  std::memcpy(Value(fresh), entry->value(), entry->value_size_);
  std::free(entry);
  return fresh;
}

void EntryOps::Free(Entry* entry) {
  if (entry->type() == ValueType::kString && entry->form() == Entry::kFormExternal) DropBlob(GetBlob(entry));
  std::free(entry);
}

// ---- Packed entries ------------------------------------------------------------------------------------------------

size_t EntryOps::PackedSize(const Entry* entry) {
  size_t value_size = entry->value_size_;
  if (entry->form() == Entry::kFormExternal && GetBlob(entry)->size <= kPackLimit) value_size = GetBlob(entry)->size;
  return RoundUp(SizeOf(entry->key().size(), entry->has_expiry(), value_size), alignof(Entry));
}

size_t EntryOps::Pack(const Entry* entry, char* to) {
  DCHECK(entry->type() == ValueType::kString);
  Blob* const blob = entry->form() == Entry::kFormExternal ? GetBlob(entry) : nullptr;
  if (blob == nullptr || blob->size > kPackLimit) {
    std::memcpy(to, static_cast<const void*>(entry), SizeOf(entry));
    if (blob == nullptr) return 0;
    blob->owners.fetch_add(1, std::memory_order_relaxed);
    return blob->allocated();
  }
  std::memcpy(to, static_cast<const void*>(entry), static_cast<size_t>(entry->value() - entry->bytes()));
  auto* const packed = reinterpret_cast<Entry*>(to);
  packed->head_ = (packed->head_ & ((1u << Entry::kFormShift) - 1)) | (uint32_t{Entry::kFormRaw} << Entry::kFormShift);
  packed->value_size_ = static_cast<uint16_t>(blob->size);
  std::memcpy(Value(packed), blob->bytes, blob->size);
  return 0;
}

size_t EntryOps::Stride(const Entry* packed) { return RoundUp(SizeOf(packed), alignof(Entry)); }

void EntryOps::Unpack(const Entry* packed) {
  if (packed->form() == Entry::kFormExternal) DropBlob(GetBlob(packed));
}

}  // namespace skein::storage
