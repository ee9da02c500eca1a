// Saves in the background: RDB files (BGSAVE, SAVE, save points), rewrites of the append-only files (BGREWRITEAOF, by
// growth, and as the way back from a failed sync). One at a time, on a thread of its own, which encodes and writes what
// the shards' snapshots deliver; the shards' threads only copy.
//
// Calls: any thread. Source: DESIGN "Snapshots never fork", "Failed writes"; lessons L12, L17.
#ifndef SKEIN_STORAGE_SAVER_H_
#define SKEIN_STORAGE_SAVER_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "storage/types.h"

namespace skein::storage {

struct SavePoint {
  int64_t seconds;
  uint64_t changes;
  bool operator==(const SavePoint&) const = default;
};

// Directives; may change at run time (DataSet::SetSaveOptions).
struct SaveOptions {
  std::string rdb_name = "dump.rdb";      // dbfilename, inside dir
  bool compress = true;                   // rdbcompression
  bool checksum = true;                   // rdbchecksum: of the RDB file; bases always have one
  std::vector<SavePoint> save_points;     // save
  bool stop_writes_on_error = true;       // stop-writes-on-bgsave-error
  bool incremental_sync = true;           // rdb-save-incremental-fsync
  bool rewrite_incremental_sync = true;   // aof-rewrite-incremental-fsync
  uint32_t rewrite_percentage = 100;      // auto-aof-rewrite-percentage; 0: never
  uint64_t rewrite_min_size = 64u << 20;  // auto-aof-rewrite-min-size, of a shard's files
  uint64_t buffer_limit = 8u << 20;       // snapshot-buffer-limit, bytes a shard on their way to the file
  uint64_t max_rate = 0;                  // snapshot-max-rate, bytes a second written; 0: no limit
  std::string redis_version = "7.2.4";    // what the files say of who wrote them
  bool operator==(const SaveOptions&) const = default;
};

// For INFO persistence.
struct SaveStatus {
  enum class Kind : uint8_t { kNone, kRdb, kRewrite };
  Kind running = Kind::kNone;
  UnixMillis started = 0;   // of the running one
  uint64_t keys_total = 0;  // when it began
  uint64_t keys_done = 0;   // encoded
  uint64_t bytes_written = 0;
  uint64_t bytes_unwritten = 0;  // on their way now
  uint64_t bytes_unwritten_peak = 0;
  bool rewrite_scheduled = false;  // asked for while an RDB was being saved
  bool rdb_scheduled = false;      // BGSAVE SCHEDULE

  UnixMillis last_save = 0;  // LASTSAVE: of the last good one, or of the start
  bool last_save_ok = true;
  int64_t last_save_seconds = -1;  // how long; -1: none yet
  uint64_t saves = 0;
  uint64_t last_save_peak = 0, last_rewrite_peak = 0;  // bytes_unwritten_peak of the last of its kind
  uint64_t changes_at_save = 0;                        // sum of Shard::changes() that the last good save held
  bool last_rewrite_ok = true;
  int64_t last_rewrite_seconds = -1;
  uint64_t rewrites = 0;
  uint64_t consecutive_rewrite_failures = 0;
  std::string last_error;  // of the last failed one of either kind, with its reason
};

class Saver {
 public:
  virtual ~Saver() = default;

  using Done = std::function<void(const absl::Status&)>;
  // Both are called once, on the saver's thread, or, while a save is refused or cancelled, on the caller's; either may
  // be null. Neither is called if the call that took them did not return OK.
  struct Callbacks {
    // It is under way: the file is open and the shards' snapshots have begun; or why that failed (L17).
    Done begun;
    // It has ended, well or not.
    Done ended;
  };

  // BGSAVE. FailedPrecondition with the text of the reply if it cannot start: one is running already, or the
  // append-only files are being rewritten and `schedule` is not set. `*scheduled`: it begins once that has ended.
  virtual absl::Status StartRdb(bool schedule, bool* scheduled, Callbacks callbacks) = 0;
  // BGREWRITEAOF, all shards. `*scheduled`: it begins once the running RDB save has ended. FailedPrecondition if
  // one is running, or appendonly is no (L17).
  virtual absl::Status StartRewrite(bool* scheduled, Callbacks callbacks) = 0;
  // Ends what is running, and forgets what is scheduled, without a trace on disk; returns once it has. Not on a shard's
  // or the saver's thread.
  virtual void Cancel() = 0;
  virtual SaveStatus status() const = 0;
  virtual void SetOptions(const SaveOptions& options) = 0;
  // The numbers of saves and rewrites begin anew (CONFIG RESETSTAT).
  virtual void ResetCounts() {}

  // Whether writes are refused because the last background save has failed: save points and stop_writes_on_error are
  // set. One relaxed load.
  bool refuses_writes() const { return refuses_writes_.load(std::memory_order_relaxed); }
  // The whole text of the refusal.
  virtual std::string refusal() const = 0;

 protected:
  std::atomic<bool> refuses_writes_{false};
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_SAVER_H_
