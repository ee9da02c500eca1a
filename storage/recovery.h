// Recovery of one shard: from the manifest's entry and the files to a history, an end and a stream of record bodies.
//
// Reads only; what is cut is cut by the caller, once every shard has been recovered. Source of the rules: DESIGN
// "Recovery"; lessons L05, L10, L13.
#ifndef SKEIN_STORAGE_RECOVERY_H_
#define SKEIN_STORAGE_RECOVERY_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/file.h"
#include "storage/manifest.h"
#include "storage/record.h"

namespace skein::storage {

// What takes the data records, in order. One a shard, used by one thread.
class RecordSink {
 public:
  virtual ~RecordSink() = default;
  virtual absl::Status Apply(uint32_t db, UnixMillis time, std::string_view body) = 0;
};

struct ShardRecovery {
  uint64_t records = 0;  // data records
  uint64_t bytes = 0;    // of all records
  Lsn end = 0;
  UnixMillis latest = 0;  // the latest time of a record
  std::vector<Reign> history;  // of the whole log, the newest kMaxReigns
  // The last incr file, which is to be continued.
  std::string path;
  uint64_t salt = 0;
  uint64_t size = 0;       // up to the end of the last whole record
  uint64_t cut_bytes = 0;  // what stands behind it: a torn tail
  std::string cut_reason;
  Lsn marked = 0;  // highest durable LSN of its marks
};

// Reads the files of a shard and hands its data records to `sink` (null: only looks). Errors name the file, the place
// and the way out: DataLoss for damage that is not a torn tail and for what is missing.
absl::StatusOr<ShardRecovery> RecoverShard(FileSystem* fs, const std::string& dir, const Manifest& manifest,
                                           uint32_t shard, RecordSink* sink);

// Calls `fn` for 0..count-1 on as many threads as the machine has processors, at most. The error of the lowest index,
// if there are any; all of them run.
absl::Status InParallel(uint32_t count, const std::function<absl::Status(uint32_t)>& fn);

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_RECOVERY_H_
