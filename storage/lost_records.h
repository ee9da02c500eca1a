// What a loser of an election has and the winner lacks: records past their common point, kept aside for a person.
#ifndef SKEIN_STORAGE_LOST_RECORDS_H_
#define SKEIN_STORAGE_LOST_RECORDS_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "storage/log_set.h"
#include "storage/types.h"

namespace skein::storage {

struct LostRecords {
  uint32_t shard = 0;
  Lsn from = 0, to = 0;     // what parted
  uint64_t records = 0;     // of data that were kept
  uint64_t bytes = 0;       // from..to
  uint64_t bytes_gone = 0;  // of these, what no file holds any more: it is in the tables alone
  std::string path;         // where they are kept; empty: nowhere, there are none, or there are no files
};

// Writes the records of a shard from `from` to `to`, the log's end, into `<dir>/lost-records-SECONDS-shard-I.aof`, an
// incr file by itself (storage/FORMAT.md), which ops/aof dumps; none if no data is among them. Durable when this
// returns; nothing else has been changed. Kill points "lost.…". A thread that may wait. Errors: of the disk, or
// DataLoss if what is to be kept cannot be read.
absl::StatusOr<LostRecords> SetLostRecordsAside(std::shared_ptr<LogSet> logs, const std::string& dir, uint32_t shard,
                                                Lsn from, Lsn to);

// Removes what a process that has died had written by half. At the start of whoever holds the folder's lock.
void RemoveHalfLostRecords(FileSystem* fs, const std::string& dir);

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_LOST_RECORDS_H_
