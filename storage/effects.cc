// The effects of Shard: the one place where data changes.
#include <algorithm>
#include <charconv>
#include <cstring>
#include <string>

#include "glog/logging.h"
#include "storage/keyspace.h"
#include "storage/log.h"
#include "storage/shard.h"

namespace skein::storage {
namespace {

// A number as an argument of a record.
class Decimal {
 public:
  explicit Decimal(int64_t number) {
    const auto [end, error] = std::to_chars(bytes_, bytes_ + sizeof(bytes_), number);
    DCHECK(error == std::errc());
    size_ = static_cast<size_t>(end - bytes_);
  }
  std::string_view text() const { return {bytes_, size_}; }

 private:
  char bytes_[24];
  size_t size_;
};

// Bytes to be written into a string that is edited in place: a copy if they are part of it, which an edit may free or
// move.
class EditSource {
 public:
  EditSource(std::string_view bytes, std::string_view edited) : bytes_(bytes) {
    const auto at = reinterpret_cast<uintptr_t>(bytes.data());
    const auto from = reinterpret_cast<uintptr_t>(edited.data());
    if (at < from || at >= from + edited.size()) return;
    copy_ = bytes;
    bytes_ = copy_;
  }
  size_t size() const { return bytes_.size(); }
  void WriteTo(char* to) const {
    if (!bytes_.empty()) std::memcpy(to, bytes_.data(), bytes_.size());
  }

 private:
  std::string_view bytes_;
  std::string copy_;
};

// A record's slot for an effect on two keys.
uint16_t CommonSlot(const Key& a, const Key& b) { return a.slot == b.slot ? a.slot : kNoSlot; }

}  // namespace

void Shard::Append(uint32_t db, uint16_t slot, std::initializer_list<std::string_view> argv) {
  ++changes_;
  if (log_ != nullptr && !applying_) log_->AppendEffect(db, slot, argv);
}

void Shard::Announce(uint32_t db, uint16_t slot, std::string_view key, std::string_view event, bool exists) {
  if (observers_.empty()) return;
  const Change change{db, slot, key, event, exists};
  for (MutationObserver* observer : observers_) observer->OnChange(change);
}

// ---- Strings -------------------------------------------------------------------------------------------------------

void Shard::PutText(uint32_t db, const Key& key, std::string_view value, UnixMillis expire_at, bool keep_expiry) {
  keyspace_->db(db).Put(key, StringValue::Of(value), expire_at, keep_expiry, LruClock(now_));
}

void Shard::SetString(uint32_t db, const Key& key, std::string_view value, UnixMillis expire_at,
                      std::string_view event) {
  if (expire_at == kNoExpiry) {
    Append(db, key.slot, {"SET", key.bytes, value});
  } else {
    Append(db, key.slot, {"SET", key.bytes, value, "PXAT", Decimal(expire_at).text()});
  }
  PutText(db, key, value, expire_at, /*keep_expiry=*/false);
  Announce(db, key.slot, key.bytes, event, true);
  if (expire_at != kNoExpiry && event == "set") Announce(db, key.slot, key.bytes, "expire", true);
}

void Shard::SetInteger(uint32_t db, const Key& key, int64_t value, std::string_view event) {
  Append(db, key.slot, {"SET", key.bytes, Decimal(value).text(), "KEEPTTL"});
  keyspace_->db(db).Put(key, StringValue::Of(value), kNoExpiry, /*keep_expiry=*/true, LruClock(now_));
  Announce(db, key.slot, key.bytes, event, true);
}

void Shard::SetStringKeepExpiry(uint32_t db, const Key& key, std::string_view value, std::string_view event) {
  Append(db, key.slot, {"SET", key.bytes, value, "KEEPTTL"});
  PutText(db, key, value, kNoExpiry, /*keep_expiry=*/true);
  Announce(db, key.slot, key.bytes, event, true);
}

size_t Shard::AppendString(uint32_t db, const Key& key, std::string_view suffix) {
  Append(db, key.slot, {"APPEND", key.bytes, suffix});
  const Entry* entry = Raw(db, key);
  size_t size = suffix.size();
  if (entry == nullptr) {
    PutText(db, key, suffix, kNoExpiry, /*keep_expiry=*/false);
  } else {
    IntText scratch;
    const std::string_view old = entry->string(&scratch);
    const EditSource source(suffix, old);
    const size_t old_size = old.size();
    size += old_size;
    source.WriteTo(keyspace_->db(db).EditString(key, size) + old_size);
  }
  Announce(db, key.slot, key.bytes, "append", true);
  return size;
}

size_t Shard::SetRange(uint32_t db, const Key& key, size_t offset, std::string_view bytes) {
  Append(db, key.slot, {"SETRANGE", key.bytes, Decimal(static_cast<int64_t>(offset)).text(), bytes});
  const Entry* entry = Raw(db, key);
  IntText scratch;
  const std::string_view old = entry == nullptr ? std::string_view() : entry->string(&scratch);
  const EditSource source(bytes, old);
  if (entry == nullptr) PutText(db, key, "", kNoExpiry, /*keep_expiry=*/false);
  const size_t size = std::max(old.size(), offset + source.size());
  source.WriteTo(keyspace_->db(db).EditString(key, size) + offset);
  Announce(db, key.slot, key.bytes, "setrange", true);
  return size;
}

// ---- Keys ----------------------------------------------------------------------------------------------------------

bool Shard::EraseEntry(uint32_t db, const Key& key, bool lazy) {
  Entry* const entry = keyspace_->db(db).Extract(key);
  if (entry == nullptr) return false;
  if (lazy) {
    keyspace_->FreeLater(entry);
  } else {
    EntryOps::Free(entry);
  }
  return true;
}

bool Shard::Delete(uint32_t db, const Key& key, std::string_view event, bool lazy) {
  const Entry* entry = Raw(db, key);
  if (entry == nullptr) return false;
  if (!applying_ && IsExpired(*entry)) {
    if (decides_expiry_) DeleteExpired(db, key);
    return false;
  }
  Append(db, key.slot, {"DEL", key.bytes});
  EraseEntry(db, key, lazy);
  Announce(db, key.slot, key.bytes, event, false);
  return true;
}

void Shard::SetExpiry(uint32_t db, const Key& key, UnixMillis at) {
  if (Raw(db, key) == nullptr) return;
  Append(db, key.slot, {"PEXPIREAT", key.bytes, Decimal(at).text()});
  keyspace_->db(db).SetExpiry(key, at);
  Announce(db, key.slot, key.bytes, "expire", true);
}

bool Shard::ClearExpiry(uint32_t db, const Key& key) {
  const Entry* entry = Raw(db, key);
  if (entry == nullptr || !entry->has_expiry()) return false;
  Append(db, key.slot, {"PERSIST", key.bytes});
  keyspace_->db(db).SetExpiry(key, kNoExpiry);
  Announce(db, key.slot, key.bytes, "persist", true);
  return true;
}

void Shard::Rename(uint32_t db, const Key& from, const Key& to) {
  if (from.bytes == to.bytes || Raw(db, from) == nullptr) return;
  Append(db, CommonSlot(from, to), {"RENAME", from.bytes, to.bytes});
  Entry* const entry = keyspace_->db(db).Extract(from);
  EraseEntry(db, to, /*lazy=*/true);
  keyspace_->db(db).Insert(to, EntryOps::RenameAs(entry, to.bytes));
  Announce(db, from.slot, from.bytes, "rename_from", false);
  Announce(db, to.slot, to.bytes, "rename_to", true);
}

void Shard::Move(uint32_t db, const Key& key, uint32_t to_db) {
  if (db == to_db || Raw(db, key) == nullptr || Raw(to_db, key) != nullptr) return;
  Append(db, key.slot, {"MOVE", key.bytes, Decimal(to_db).text()});
  keyspace_->db(to_db).Insert(key, keyspace_->db(db).Extract(key));
  Announce(db, key.slot, key.bytes, "move_from", false);
  Announce(to_db, key.slot, key.bytes, "move_to", true);
}

void Shard::Copy(uint32_t db, const Key& from, uint32_t to_db, const Key& to) {
  const Entry* const source = Raw(db, from);
  if (source == nullptr || (db == to_db && from.bytes == to.bytes)) return;
  Append(db, CommonSlot(from, to), {"COPY", from.bytes, to.bytes, "DB", Decimal(to_db).text(), "REPLACE"});
  Entry* const copy = EntryOps::CopyAs(source, to.bytes);
  EraseEntry(to_db, to, /*lazy=*/true);
  keyspace_->db(to_db).Insert(to, copy);
  Announce(to_db, to.slot, to.bytes, "copy_to", true);
}

// ---- Databases -----------------------------------------------------------------------------------------------------

uint64_t Shard::FlushDb(uint32_t db, bool /*lazy*/) {
  const uint64_t keys = KeyCount(db);
  Append(db, kNoSlot, {"FLUSHDB"});
  changes_ += keys;
  DetachDatabase(db);
  Announce(db, kNoSlot, {}, "flushdb", false);
  return keys;
}

uint64_t Shard::FlushAll(bool /*lazy*/) {
  uint64_t keys = 0;
  Append(0, kNoSlot, {"FLUSHALL"});
  for (uint32_t db = 0; db < databases(); ++db) {
    keys += KeyCount(db);
    DetachDatabase(db);
    Announce(db, kNoSlot, {}, "flushall", false);
  }
  changes_ += keys;
  return keys;
}

void Shard::SwapDb(uint32_t a, uint32_t b) {
  Append(a, kNoSlot, {"SWAPDB", Decimal(a).text(), Decimal(b).text()});
  keyspace_->Swap(a, b);
  Announce(a, kNoSlot, {}, "swapdb", true);
  Announce(b, kNoSlot, {}, "swapdb", true);
}

}  // namespace skein::storage
