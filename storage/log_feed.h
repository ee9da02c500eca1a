// The records of one shard's log, read from its incr files while the log goes on.
//
// A thread that may wait for the disk. Holds the files it will read, so that a rewrite leaves them until it is done;
// every byte is checked as recovery checks it.
#ifndef SKEIN_STORAGE_LOG_FEED_H_
#define SKEIN_STORAGE_LOG_FEED_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/aof_reader.h"
#include "storage/log_set.h"
#include "storage/types.h"

namespace skein::storage {

class LogFeed {
 public:
  // From `from`, where a record starts or the log ends. NotFound if the files do not reach back so far; DataLoss if
  // they are damaged; InvalidArgument if no record starts there.
  static absl::StatusOr<std::unique_ptr<LogFeed>> Open(std::shared_ptr<LogSet> logs, uint32_t shard, Lsn from);
  ~LogFeed();
  LogFeed(const LogFeed&) = delete;
  LogFeed& operator=(const LogFeed&) = delete;

  // The next records that end at or before `to`, where one ends: whole ones, with their checksums, about `max_bytes`
  // (at least one). Waits until they have been written. Empty once lsn() is `to`. The view lives until the next call.
  // NotFound if rewrites have overtaken it, FailedPrecondition if the disk fails while it waits, Cancelled if the log
  // ends or its shard is replaced, and after Cancel.
  absl::StatusOr<std::string_view> Next(Lsn to, size_t max_bytes);
  // Next returns Cancelled from now on, and wakes for it. Any thread.
  void Cancel();
  // Where the next record starts.
  Lsn lsn() const { return lsn_; }
  // Where in the first file it has begun to read.
  uint64_t opened_at() const { return opened_at_; }

 private:
  LogFeed(std::shared_ptr<LogSet> logs, uint32_t shard, Lsn from);
  // Holds what is listed behind the newest file that is held; at first, the file with lsn_ and what follows.
  void HoldFrom(const Manifest::Shard& listed);
  absl::Status OpenFirst();
  // Goes to the next record, into the next file if need be.
  absl::Status ReadOne();

  const std::shared_ptr<LogSet> logs_;
  const uint32_t shard_;
  const uint64_t life_;  // of the log
  Lsn lsn_;
  struct HeldFile {
    std::unique_ptr<LogSet::Hold> hold;
    Lsn start;
  };
  std::deque<HeldFile> held_;  // the first one is being read
  std::unique_ptr<AofReader> reader_;
  uint64_t opened_at_ = 0;
  std::atomic<bool> cancelled_{false};
  std::string bytes_;
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_LOG_FEED_H_
