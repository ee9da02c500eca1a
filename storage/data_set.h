// A node's data folder, opened: manifest, recovery of all shards in parallel, their logs and writer threads.
#ifndef SKEIN_STORAGE_DATA_SET_H_
#define SKEIN_STORAGE_DATA_SET_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/log.h"
#include "storage/saver.h"
#include "storage/shard.h"

namespace skein::storage {

class Flows;  // storage/flows.h
class FileLock;
class FileSystem;  // storage/file.h: the file layer, replaced by a fault-injecting one in tests

struct DataSetOptions {
  std::string dir;                             // --dir
  std::string append_dir = "appendonlydir";    // --appenddirname, inside dir
  bool append_only = false;                    // --appendonly
  AppendFsync fsync = AppendFsync::kEverySec;  // --appendfsync
  bool load_truncated = true;                  // --aof-load-truncated: cut torn tails; else they are refused
  uint32_t databases = 16;
  // Shards to make in an empty folder, and whether the user configured it, which is recorded with it. Where a data set
  // has another number, a configured one is refused with `manifest=N, config=M`; a default gives way to the data set's,
  // with a line in the log. So does any setting to a number that a replica inherited from its primary.
  uint32_t shards = 1;
  bool shards_configured = false;
  bool shards_fixed = false;      // no other number can be served, whoever chose it: any difference is refused
  bool shards_inherited = false;  // `shards` and `databases` are those of the primary that is about to send its data
  // The node starts as a replica: no reign is begun, the logs go on where they end, and nothing expires by itself.
  bool follow = false;
  uint64_t log_buffer_limit = 64u << 20;  // bytes a shard, appended and not yet written
  FileSystem* fs = nullptr;               // null: the real one
  SaveOptions save;
  std::string append_file = "appendonly.aof";  // --appendfilename: what a folder of Redis or Valkey calls its files
  // Databases below this one may hold imported keys; 0: all that there are. A cluster has database 0 only.
  uint32_t import_databases = 0;
  // Runs one command of a Redis append-only file on those of the shards that it is about, for import (node/commands has
  // the commands). They have no logs, nothing in them expires meanwhile. `annotated`: the time that the file tells for
  // it, 0 if it tells none. Null: such files are refused in words.
  std::function<absl::Status(const std::vector<Shard*>& shards, uint32_t db, UnixMillis annotated,
                             const std::vector<std::string_view>& argv)>
      run_command;
  // Called on a writer thread whenever a shard's durable() moved or its MayWrite() changed, until Close has
  // returned. Must not block.
  std::function<void(uint32_t shard)> on_progress;
  // If set, called instead of on_progress where nothing but durable() moved: to `durable`, stored before. By the same
  // rules.
  std::function<void(uint32_t shard, Lsn durable)> on_durable;
  // Called on a writer thread when a sync failed under `always`: the process must exit with code 1. Default: LOG(FATAL)
  // is not used; it writes the reason to the log and calls _exit(1).
  std::function<void(const std::string& why)> on_fatal;
};

// What recovery found, for the log, INFO and tests.
struct RecoveryReport {
  struct PerShard {
    uint64_t keys = 0;  // of the base
    uint64_t records = 0;
    uint64_t bytes = 0;
    uint64_t cut_bytes = 0;  // torn tail
    Lsn end = 0;
  };
  std::vector<PerShard> shards;
  double seconds = 0;
};

class DataSet {
 public:
  // Opens or creates. Refusals (DESIGN "Recovery", L13) are FailedPrecondition or DataLoss with one message that names
  // the file, the way out and its page; the process exits with code 2 on them. Without a data set in the folder, what
  // Redis or Valkey left there is converted (storage/import/import.h). With append_only false: makes shards without
  // logs, reads save.rdb_name if it is there, and changes no file.
  static absl::StatusOr<std::unique_ptr<DataSet>> Open(const DataSetOptions& options);

  // A data set of options.shards shards, which hold nothing and are loading, for a replica whose primary has another
  // number than its own data set: see LogSet::OpenInherited, which makes the files. Its own must be closed before the
  // first shard is reloaded, and if it is aside() before this is called. `lock`: that of its own.
  static absl::StatusOr<std::unique_ptr<DataSet>> OpenInherited(const DataSetOptions& options,
                                                                std::shared_ptr<FileLock> lock);

  // The same refusals in the same words, without side effects (L14, --check-config). Reads everything that Open would
  // read, into memory.
  static absl::Status Check(const DataSetOptions& options);

  virtual ~DataSet() = default;

  virtual uint32_t shard_count() const = 0;
  // As many as the options said, or as an inherited data set has.
  virtual uint32_t databases() const = 0;
  // Its files are not yet what a start would read.
  virtual bool aside() const = 0;
  // The folder's lock; null without files.
  virtual std::shared_ptr<FileLock> lock() const = 0;
  virtual Shard& shard(uint32_t i) = 0;
  virtual const RecoveryReport& report() const = 0;

  // It replaces `before`, which serves no more: what it tells of saves and counts of its log goes on from there. Before
  // BeginServing.
  virtual void GoOnFrom(DataSet& /*before*/) {}

  // The loops are about to run: from now on a shard is touched only through `run_on_shard`, which runs a function on
  // the shard's thread (any thread may call it, it does not block). Starts the saver.
  using RunOnShard = std::function<void(uint32_t shard, std::function<void(Shard&)> fn)>;
  virtual void BeginServing(RunOnShard /*run_on_shard*/) {}
  // Cancels what the saver does and ends it. While the loops still run, before they are stopped.
  virtual void EndServing() {}
  // Null before BeginServing.
  virtual Saver* saver() { return nullptr; }
  // What replication works with; null before BeginServing. Ends in EndServing.
  virtual Flows* flows() { return nullptr; }
  // Saves the RDB file in the calling thread, as SHUTDOWN SAVE does. After EndServing, when the loops have ended.
  virtual absl::Status SaveNow() { return absl::OkStatus(); }

  // ---- CONFIG SET appendonly. Any thread, after BeginServing; both return at once. Callbacks come on another thread,
  // each once, or at once if it is refused; either may be null.
  using Done = std::function<void(const absl::Status&)>;
  struct SwitchCallbacks {
    // Every shard has a log and bases are being written, or will be once the running save has ended; or why not.
    Done begun;
    // The log is the data from now on, or it is off again, and why. After a `begun` with an error it comes too.
    Done ended;
  };
  // Begins a log: what stands where it belongs is moved aside. Until `ended` a start would read what it would have read
  // before.
  virtual void TurnOn(AppendFsync /*fsync*/, SwitchCallbacks /*callbacks*/) {}
  // Ends it, or the beginning of one: writes and syncs what was appended, and keeps the files, marked so that no start
  // takes them for the data. An error: it goes on.
  virtual void TurnOff(Done /*done*/) {}
  // Whether a write that is durable in its shard's log is durable: not while bases are being written.
  virtual bool logged() const { return true; }

  // For INFO persistence. Any thread.
  struct Stats {
    bool enabled = false;
    uint64_t current_size = 0;  // bytes of all incr files
    uint64_t base_size = 0;
    uint64_t pending_bytes = 0;
    uint64_t delayed_fsync = 0;
    uint64_t write_errors = 0;
    uint64_t fsync_errors = 0;
    uint64_t fsyncs = 0;
    uint64_t writes = 0;
    bool last_write_ok = true;
    std::string last_error;  // why writes are, or were last, off
    struct PerShard {
      Lsn end = 0, written = 0, durable = 0;
      uint64_t incr_size = 0, base_size = 0;  // base_size: of the newest base
      uint64_t size_after_rewrite = 0;        // what growth is measured against
      bool ok = true;
    };
    std::vector<PerShard> shards;
  };
  virtual Stats stats() const = 0;
  // What CONFIG RESETSTAT sets to 0, as in Redis: the numbers of saves, rewrites and delayed syncs. Any thread.
  virtual void ResetStats() {}

  // Drains, syncs and ends the writers (L16, L21). Call after the loops have ended. The status is that of the last
  // syncs.
  virtual absl::Status Close() = 0;
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_DATA_SET_H_
