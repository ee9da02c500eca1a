#include "storage/rdb/format.h"

namespace skein::storage::rdb {

std::string_view TypeName(uint8_t type, bool valkey) {
  switch (type) {
    case 0:
      return "string";
    case 1:
      return "list";
    case 2:
      return "set";
    case 3:
      return "sorted set";
    case 4:
      return "hash";
    case 5:
      return "sorted set (binary scores)";
    case kTypeModulePreGa:
      return "module value (preview of 4.0)";
    case kTypeModule:
      return "module value";
    case 9:
      return "hash (zipmap)";
    case 10:
      return "list (ziplist)";
    case 11:
      return "set (intset)";
    case 12:
      return "sorted set (ziplist)";
    case 13:
      return "hash (ziplist)";
    case 14:
      return "list (quicklist of ziplists)";
    case 15:
      return "stream";
    case 16:
      return "hash (listpack)";
    case 17:
      return "sorted set (listpack)";
    case 18:
      return "list (quicklist)";
    case 19:
      return "stream (version 2)";
    case 20:
      return "set (listpack)";
    case 21:
      return "stream (version 3)";
    case 22:
      return valkey ? "hash (fields that expire)" : "hash (fields that expire, preview of 7.4)";
    case 23:
      return valkey ? "" : "hash (listpack, fields that expire, preview of 7.4)";
    case 24:
      return valkey ? "" : "hash (fields that expire)";
    case 25:
      return valkey ? "" : "hash (listpack, fields that expire)";
    default:
      return "";
  }
}

std::string ModuleName(uint64_t id) {
  static constexpr char kCharacters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  constexpr int kNameSize = 9;
  std::string name(kNameSize, ' ');
  id >>= 10;
  for (int i = kNameSize - 1; i >= 0; --i, id >>= 6) name[static_cast<size_t>(i)] = kCharacters[id & 63];
  return name;
}

}  // namespace skein::storage::rdb
