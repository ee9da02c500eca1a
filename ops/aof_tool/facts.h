// What stands in the incr files of a shard: counted, not judged.
#ifndef SKEIN_OPS_AOF_TOOL_FACTS_H_
#define SKEIN_OPS_AOF_TOOL_FACTS_H_

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/aof_reader.h"
#include "storage/file.h"
#include "storage/record.h"

namespace skein::ops {

// Records of one stretch of a log.
struct RecordFacts {
  uint64_t data = 0, reign = 0, time = 0;
  uint64_t effects = 0;
  uint64_t bytes = 0;
  std::optional<storage::UnixMillis> first_time, last_time;  // lowest and highest

  void Take(const storage::RecordHeader& header);
  void Add(const RecordFacts& other);
  uint64_t records() const { return data + reign + time; }
};

struct IncrFacts {
  std::string path;
  uint64_t size = 0;
  storage::FileHeader header;
  RecordFacts records;
  storage::Lsn end = 0;                // of the last whole record
  storage::Lsn marked = 0;             // highest durable LSN of the marks
  uint64_t whole = 0;                  // file offset behind the last whole record or mark
  std::string problem;                 // what stands there, if the file goes on
  bool torn = false;                   // the problem is an incomplete record, with no mark behind it that covers it
  std::vector<storage::Reign> reigns;  // that begin in this file
};

// Reads one file as far as it is whole. `on_record` may be null. DataLoss if its header is damaged, NotFound if there
// is none.
absl::StatusOr<IncrFacts> ReadIncr(storage::FileSystem* fs, const std::string& path,
                                   const std::function<absl::Status(const storage::AofReader&)>& on_record);

// What can be recognised in the bytes from `offset` on, where a log is no longer whole: record headers with a right
// checksum, wherever they stand. Looks at the first `limit` bytes.
struct TailFacts {
  uint64_t looked_at = 0;
  uint64_t records = 0;                      // whose body is whole too
  uint64_t headers = 0;                      // whose header is whole
  storage::Lsn first_lsn = 0, last_lsn = 0;  // where the first and the last of the headers' records start
  std::optional<storage::UnixMillis> first_time, last_time;
};
absl::StatusOr<TailFacts> ReadTail(storage::FileSystem* fs, const std::string& path, uint64_t offset,
                                   uint64_t limit = 64u << 20);

}  // namespace skein::ops

#endif  // SKEIN_OPS_AOF_TOOL_FACTS_H_
