// Loading what bases and RDB files hold.
#include <vector>

#include "glog/logging.h"
#include "storage/keyspace.h"
#include "storage/shard.h"

namespace skein::storage {

void Shard::Load(const RdbItem& item, const Key& key) {
  CHECK(item.type == ValueType::kString) << "a type that cannot be held";
  CHECK_LT(item.db, databases());
  const uint32_t access = item.access != 0 ? item.access : LruClock(now_);
  keyspace_->db(item.db).Put(key, StringValue::Of(item.string), item.expire_at, /*keep_expiry=*/false, access);
}

void Shard::LoadItem(const RdbItem& item) { Load(item, Key(item.key)); }

void Shard::LoadItems(std::span<const RdbItem> items) {
  thread_local std::vector<Key> keys;
  keys.clear();
  for (const RdbItem& item : items) keys.emplace_back(item.key);
  for (int stage = 0; stage < 3; ++stage) {
    for (size_t i = 0; i < items.size(); ++i) Prefetch(items[i].db, keys[i], stage);
  }
  for (size_t i = 0; i < items.size(); ++i) Load(items[i], keys[i]);
}

}  // namespace skein::storage
