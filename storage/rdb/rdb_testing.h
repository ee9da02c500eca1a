// For tests of RDB: files in memory, visitors that remember.
#ifndef SKEIN_STORAGE_RDB_RDB_TESTING_H_
#define SKEIN_STORAGE_RDB_RDB_TESTING_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "storage/file.h"
#include "storage/rdb/decoder.h"

namespace skein::storage {

// A file that is only read. At most `piece` bytes a call, to see that the window asks again.
class BytesFile : public File {
 public:
  explicit BytesFile(std::string_view bytes, size_t piece = SIZE_MAX) : bytes_(bytes), piece_(piece) {}

  absl::StatusOr<size_t> ReadAt(uint64_t offset, char* out, size_t size) override {
    if (offset >= bytes_.size()) return size_t{0};
    const size_t n = std::min({size, piece_, bytes_.size() - static_cast<size_t>(offset)});
    std::memcpy(out, bytes_.data() + offset, n);
    return n;
  }
  absl::Status WriteAt(uint64_t, const std::vector<iovec>&) override { return absl::UnimplementedError("read only"); }
  absl::Status Truncate(uint64_t) override { return absl::UnimplementedError("read only"); }
  absl::Status Sync() override { return absl::OkStatus(); }
  absl::StatusOr<uint64_t> Size() override { return bytes_.size(); }

 private:
  const std::string_view bytes_;
  const size_t piece_;
};

// Everything that was delivered.
struct Remembered : RdbVisitor {
  struct Item {
    uint32_t db;
    std::string key;
    std::string value;
    UnixMillis expire_at;
    uint32_t access;
    bool operator==(const Item&) const = default;
  };
  absl::Status OnAux(std::string_view name, std::string_view value) override {
    aux.emplace(name, value);
    return absl::OkStatus();
  }
  absl::Status OnSizeHint(uint32_t db, uint64_t keys, uint64_t expiring) override {
    hints.emplace_back(db, keys, expiring);
    return absl::OkStatus();
  }
  absl::Status OnItem(const RdbItem& item) override {
    items.push_back({item.db, std::string(item.key), std::string(item.string), item.expire_at, item.access});
    return absl::OkStatus();
  }
  // The value of a key of database 0, CHECKed by the caller to be what it wants.
  const Item* Find(std::string_view key, uint32_t db = 0) const {
    const auto at = std::find_if(items.begin(), items.end(), [&](const Item& i) { return i.db == db && i.key == key; });
    return at == items.end() ? nullptr : &*at;
  }

  std::multimap<std::string, std::string> aux;
  std::vector<std::tuple<uint32_t, uint64_t, uint64_t>> hints;
  std::vector<Item> items;
};

inline absl::StatusOr<RdbInfo> ReadBytes(std::string_view bytes, Remembered* seen,
                                         const RdbDecoderOptions& options = {}, uint64_t offset = 0) {
  BytesFile file(bytes);
  return ReadRdb(&file, "dump.rdb", offset, options, seen);
}

inline std::string MessageOf(const absl::Status& status) { return std::string(status.message()); }

inline std::string Fixture(const std::string& name) {
  std::ifstream in("storage/rdb/testdata/" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_RDB_RDB_TESTING_H_
