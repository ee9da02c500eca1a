// An earlier state of a data set that no node has open, in a folder of its own.
#ifndef SKEIN_STORAGE_RESTORE_H_
#define SKEIN_STORAGE_RESTORE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/offline.h"

namespace skein::storage {

struct RestoreOptions {
  OfflinePlace place;
  std::string target_dir = {};  // the --dir of the new data set: an existing folder without one
  // One of the two. Up to and with the last record at or before this time, in every shard.
  std::optional<UnixMillis> to_time = {};
  // Everything before this LSN, shard by shard; as many as there are shards. A record that goes on past it stays away.
  std::vector<Lsn> to_lsn = {};
  OfflineProgress progress = nullptr;
};

struct RestoreReport {
  struct PerShard {
    Lsn end = 0;                // where the restored log ends
    UnixMillis last_time = 0;   // of its last record that has a time; 0 if only a base is left
    uint64_t records = 0;       // data records behind the base
    uint64_t left_records = 0;  // data records that were left out
    uint64_t left_bytes = 0;    // of all records that were left out
  };
  std::vector<PerShard> shards;
};

// Copies bases and incr files, cut behind the last record that belongs to the target; then reads the copy as a start of
// the node would. The log keeps its LSNs and its history. FailedPrecondition, naming the earliest point there is, if
// the target lies before a shard's base, or the target folder holds something. The source is not
// changed, but for an interrupted change of it, which is finished first.
absl::StatusOr<RestoreReport> Restore(const RestoreOptions& options);

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_RESTORE_H_
