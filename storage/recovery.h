// Recovery of one shard: from the manifest's entry and the files to the keys of its base, a history, an end and a
// stream of record bodies.
//
// Reads only; what is cut is cut by the caller, once every shard has been recovered. Source of the rules: DESIGN
// "Recovery"; lessons L05, L10, L13.
#ifndef SKEIN_STORAGE_RECOVERY_H_
#define SKEIN_STORAGE_RECOVERY_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/file.h"
#include "storage/item_batch.h"
#include "storage/manifest.h"
#include "storage/rdb/item.h"
#include "storage/record.h"
#include "storage/shard.h"

namespace skein::storage {

// What takes the keys of a base, then the data records behind it, in order. One a shard, used by one thread.
class RecordSink {
 public:
  virtual ~RecordSink() = default;
  // A key of the base; the views live until it returns. Whether it belongs to the shard has been checked.
  virtual absl::Status Load(const RdbItem& /*item*/) { return absl::OkStatus(); }
  // The base has been read.
  virtual void LoadEnd() {}
  virtual absl::Status Apply(uint32_t db, UnixMillis time, std::string_view body) = 0;
  // Several records; `*applied`: how many could be, if not all. The bodies live until it returns.
  virtual absl::Status ApplyBatch(std::span<const Shard::RecordRef> records, size_t* applied);
};

// The sink that fills a shard.
class ShardSink : public RecordSink {
 public:
  // `shard` outlives the sink. It decides no expiry from now on: a key that is past its time goes when its DEL comes.
  explicit ShardSink(Shard* shard);
  absl::Status Load(const RdbItem& item) override;
  void LoadEnd() override;
  absl::Status Apply(uint32_t db, UnixMillis time, std::string_view body) override;
  absl::Status ApplyBatch(std::span<const Shard::RecordRef> records, size_t* applied) override;

 private:
  // Keys of a base are put into the tables some at a time, after their memory has been asked for.
  static constexpr size_t kBatch = 64;
  static constexpr size_t kBatchBytes = 64u << 10;

  Shard* const shard_;
  ItemBatch batch_{kBatch, kBatchBytes};
};

struct ShardRecovery {
  uint64_t keys = 0;        // of the base
  uint64_t base_bytes = 0;  // size of the base
  Lsn base_lsn = 0;
  UnixMillis base_time = 0;
  uint64_t records = 0;  // data records behind the base
  uint64_t bytes = 0;    // of all records
  Lsn end = 0;
  UnixMillis latest = 0;       // the latest time of a record
  std::vector<Reign> history;  // of the whole log, the newest kMaxReigns
  // The last incr file, which is to be continued.
  std::string path;
  uint64_t salt = 0;
  uint64_t size = 0;       // up to the end of the last whole record
  uint64_t cut_bytes = 0;  // what stands behind it: a torn tail
  std::string cut_reason;
  Lsn marked = 0;  // highest durable LSN of its marks
};

// Reads the files of a shard and hands its keys and data records to `sink` (null: only looks). Errors name the file,
// the place, the way out and its page: DataLoss for damage that is not a torn tail and for what is missing;
// Unimplemented for what a newer version has written. `progress`, which may be null: told now and then how many more
// bytes were read.
absl::StatusOr<ShardRecovery> RecoverShard(FileSystem* fs, const std::string& dir, const Manifest& manifest,
                                           uint32_t shard, RecordSink* sink,
                                           const std::function<void(uint64_t bytes)>& progress = nullptr);

// Whether the log that was read can be continued: its last file can be opened for writing. Changes nothing.
absl::Status CheckAppendable(FileSystem* fs, const ShardRecovery& recovery);
// Whether a torn tail, if there is one, may be cut; else the refusal (aof-load-truncated no).
absl::Status TornTailMayGo(const ShardRecovery& recovery, bool load_truncated);

// Calls `fn` for 0..count-1 on as many threads as the machine has processors, at most. The error of the lowest index,
// if there are any; all of them run.
absl::Status InParallel(uint32_t count, const std::function<absl::Status(uint32_t)>& fn);

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_RECOVERY_H_
