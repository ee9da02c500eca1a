// Changes the number of shards of a data set that no node has open.
#ifndef SKEIN_STORAGE_RESHARD_H_
#define SKEIN_STORAGE_RESHARD_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "storage/offline.h"

namespace skein::storage {

struct ReshardOptions {
  OfflinePlace place;
  uint32_t to = 0;  // 1 to 1024
  // The --dir of the new data set, an existing folder without one. Empty: in place, crash-safe; the old folder is kept
  // aside.
  std::string target_dir = {};
  OfflineProgress progress = nullptr;
};

struct ReshardReport {
  uint32_t from = 0;
  uint32_t to = 0;
  uint64_t keys = 0;
  uint64_t cut_bytes = 0;  // torn tails of the old logs, which are not in the new ones
  std::string kept;        // in place: where the old folder is now
};

// Loads all shards and writes others: each begins a new log at LSN 0 with a base. Killed at any point, the old data set
// is there or the new one; an interrupted change in place is finished, or undone, by whatever opens the folder next.
// FailedPrecondition if the number is the same or out of range, or the target holds something.
absl::StatusOr<ReshardReport> Reshard(const ReshardOptions& options);

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_RESHARD_H_
