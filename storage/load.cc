// Loading what bases and RDB files hold.
#include "glog/logging.h"
#include "storage/keyspace.h"
#include "storage/shard.h"

namespace skein::storage {

void Shard::LoadItem(const RdbItem& item) {
  CHECK(item.type == ValueType::kString) << "a type that cannot be held";
  CHECK_LT(item.db, databases());
  const uint32_t access = item.access != 0 ? item.access : LruClock(now_);
  keyspace_->db(item.db).Put(Key(item.key), StringValue::Of(item.string), item.expire_at, /*keep_expiry=*/false,
                             access);
}

}  // namespace skein::storage
