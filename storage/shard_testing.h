// For tests of shards: a log that remembers its records, and a picture of what a shard holds.
#ifndef SKEIN_STORAGE_SHARD_TESTING_H_
#define SKEIN_STORAGE_SHARD_TESTING_H_

#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/log.h"
#include "storage/record.h"
#include "storage/shard.h"

namespace skein::storage {

class FakeLog : public Log {
 public:
  struct Record {
    uint32_t db;
    uint16_t slot;
    UnixMillis time;
    std::string body;
  };

  absl::Status MayWrite() const override { return absl::OkStatus(); }
  void AppendEffect(uint32_t db, uint16_t slot, std::initializer_list<std::string_view> argv) override {
    if (!open_) {
      record_ = {db, slot, 0, ""};
      db_ = db;
      open_ = true;
    }
    if (db != db_) Array({"SELECT", std::to_string(db)});
    db_ = db;
    if (slot != record_.slot) record_.slot = kNoSlot;
    Array(argv);
  }
  Lsn EndRecord(UnixMillis time) override {
    if (!open_) return 0;
    open_ = false;
    record_.time = time;
    end_ += record_.body.size();
    records.push_back(std::move(record_));
    return end_;
  }
  void Kick() override {}
  Lsn end() const override { return end_; }
  Lsn durable() const override { return end_; }
  Lsn written() const override { return end_; }
  uint64_t pending_bytes() const override { return 0; }
  void set_fsync(AppendFsync) override {}
  const std::vector<Reign>& history() const override { return history_; }
  absl::Status AppendRecords(std::string_view) override { return absl::UnimplementedError("it has no such bytes"); }
  Lsn BeginReign(uint64_t, UnixMillis) override { return end_; }
  void set_follows(bool) override {}
  void KeepBacklog(uint64_t) override {}
  Backlog* backlog() override { return nullptr; }

  std::vector<Record> records;

 private:
  void Array(std::initializer_list<std::string_view> argv) {
    record_.body += "*" + std::to_string(argv.size()) + "\r\n";
    for (const std::string_view arg : argv) {
      record_.body += "$" + std::to_string(arg.size()) + "\r\n";
      record_.body += arg;
      record_.body += "\r\n";
    }
  }

  bool open_ = false;
  uint32_t db_ = 0;
  Record record_{};
  Lsn end_ = 0;
  std::vector<Reign> history_;
};

// Value, expiry and encoding of each key of each database; expired keys included.
struct Held {
  std::string value;
  UnixMillis expire_at;
  std::string encoding;
  bool operator==(const Held&) const = default;
};
using Picture = std::map<std::pair<uint32_t, std::string>, Held>;

inline Picture PictureOf(const Shard& shard) {
  Picture picture;
  for (uint32_t db = 0; db < shard.databases(); ++db) {
    uint64_t cursor = 0;
    do {
      cursor = shard.Scan(db, cursor, 1000, kNoSlot, [&](const Entry& entry) {
        IntText scratch;
        picture[{db, std::string(entry.key())}] = {std::string(entry.string(&scratch)), entry.expire_at(),
                                                   std::string(EncodingName(entry.encoding()))};
      });
    } while (cursor != 0);
  }
  return picture;
}

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_SHARD_TESTING_H_
