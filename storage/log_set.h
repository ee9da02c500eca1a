// An append-only folder and the logs of its shards: locking, creation, refusals, recovery, new reigns, closing.
//
// Knows nothing of tables: what recovery reads goes to sinks. DataSet joins it with the shards.
#ifndef SKEIN_STORAGE_LOG_SET_H_
#define SKEIN_STORAGE_LOG_SET_H_

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/aof_log.h"
#include "storage/data_set.h"
#include "storage/file.h"
#include "storage/manifest.h"
#include "storage/manifest_store.h"
#include "storage/recovery.h"

namespace skein::storage {

class AofReader;

class LogSet {
 public:
  // Takes the folder's lock, reads its manifest, or makes a folder with options.shards empty logs: in full aside, then
  // renamed, so that there never is half of one. Refusals as in DataSet::Open. `tuning`: durations for tests; its other
  // fields are not looked at.
  static absl::StatusOr<std::unique_ptr<LogSet>> Open(const DataSetOptions& options, const AofOptions& tuning = {});

  // A log for shards that are in memory already: takes the folder's lock, moves aside what stands where a data set
  // belongs, makes empty logs that start there, one a shard, in `<append_dir>.new`, and opens them. Until
  // TakePlace nobody may rely on them: no start looks there, and failures of its writers end nothing. Once every shard
  // has a base (InstallBase), TakePlace.
  static absl::StatusOr<std::unique_ptr<LogSet>> OpenAside(const DataSetOptions& options,
                                                           const std::vector<LogStart>& starts,
                                                           const AofOptions& tuning = {});
  // The new folder takes its name: from now on it is what a start reads. After an error it has not, as far as that can
  // be had, and Close removes it.
  absl::Status TakePlace();
  // Writes down that the log is about to be switched off, so that it is not taken for the data later. Durable when this
  // returns; then detach the shards, and Close.
  absl::Status MarkOff();
  // It is closed, and other logs may take its place: nothing is listed from now on. Where the next log of this shard
  // may start: whoever still holds this set knows no file of that name. Of every shard.
  LogStart Retire(uint32_t shard);
  bool aside() const { return aside_.load(std::memory_order_acquire); }

  // The logs of a data set that a replica is about to get from its primary, of another number of shards than what it
  // has (options.shards, which the manifest says to be inherited): empty ones in `<append_dir>.new`, each waiting to be
  // replaced. When the last of them has been (Replace), they take the place of what is there; until then a start finds
  // what was there before. `lock`: the folder's, held already; null: it is taken.
  static absl::StatusOr<std::unique_ptr<LogSet>> OpenInherited(const DataSetOptions& options,
                                                               std::shared_ptr<FileLock> lock,
                                                               const AofOptions& tuning = {});
  // Removes what they have superseded, if anything. Waits for the disk.
  void RemoveSupersededFiles();
  // The folder's, which stays locked as long as anybody has this.
  std::shared_ptr<FileLock> lock() const { return lock_; }

  ~LogSet();
  LogSet(const LogSet&) = delete;
  LogSet& operator=(const LogSet&) = delete;

  uint32_t shard_count() const { return static_cast<uint32_t>(logs_.size()); }
  // As many as the options say, or more if the manifest does, which has inherited them.
  uint32_t databases() const { return std::max(options_.databases, store_->Get().databases); }
  // Closed until Recover has returned. Owned by the set.
  AofLog& log(uint32_t shard) { return *logs_[shard]; }

  // Replays all shards in parallel into their sinks (`sink_of` gives one a shard, which outlives the call). Nothing on
  // disk is changed unless every shard could be recovered; then torn tails are cut, a new reign is made durable in
  // every log and in the manifest, and the logs are open. Once.
  absl::Status Recover(const std::function<RecordSink*(uint32_t shard)>& sink_of);

  // ---- Rewrites. Any thread but a loop's or a writer's; they wait for the disk. One at a time a shard. --------------
  // Begins a new incr file of this shard: the writer ends the old one with a sync, makes the new one, lists it in the
  // manifest and goes on there. Returns where it starts. After an error the log goes on in the old file, and the
  // manifest lists what it did. FailedPrecondition if writes are off.
  absl::StatusOr<Lsn> Rotate(uint32_t shard);
  // Waits until everything before `lsn` is durable, asking for a sync whatever the policy is.
  absl::Status WaitDurable(uint32_t shard, Lsn lsn);
  // The same of an LSN of that life of the log (NewBase::life); Cancelled once the log has been replaced or cut.
  absl::Status WaitDurable(uint32_t shard, Lsn lsn, uint64_t life);
  // Where a new base of this shard is to be written (its sequence is taken). The file is made by the caller.
  struct NewBase {
    uint64_t sequence;
    std::string path;
    uint64_t life;  // of the log (AofWriter::life): what is put into another one's place is refused
  };
  NewBase NextBase(uint32_t shard);
  // The base's file, whose content is synced, holds the state at `lsn`, which is durable: syncs the folder, lists it in
  // the manifest with the incr files from `first_incr` (what Rotate returned) on, then deletes what is not listed any
  // more. After any error the base's file has been removed, or stays because the manifest's file may list it: it is not
  // for the caller to remove.
  absl::Status InstallBase(uint32_t shard, const NewBase& base, Lsn lsn, Lsn first_incr);
  // The way back from a failed sync: the log is at `lsn`, its end, and takes no writes; the base, synced, holds the
  // state there. Makes a new incr file from there, lists both and nothing older, and lets writes in again.
  // FailedPrecondition if no sync has failed, or the log went on past `lsn`. After any error the base is gone, as
  // above, and writes stay off.
  absl::Status Revive(uint32_t shard, const NewBase& base, Lsn lsn);
  // ---- Replication (storage/flows.h) --------------------------------------------------------------------------------
  // The shard's content is about to be replaced, its log is detached: no rewrite begins until Replace. Any thread.
  void BeginReplace(uint32_t shard);
  // The base, synced, holds what the shard holds now, at `lsn` of the log with this history: makes a new incr file from
  // there, lists both and nothing older, and restarts the log there. `wanted` is asked immediately before they are
  // listed: if it says no, nothing has been changed, and the status is Cancelled. After any error the base is gone, as
  // with InstallBase, and the log is where it was. Not on a loop's thread.
  absl::Status Replace(uint32_t shard, const NewBase& base, Lsn lsn, std::vector<Reign> history, UnixMillis latest,
                       const std::function<bool()>& wanted);
  // Where a log can be cut at `lsn`: NotFound if no base is at or below it, or its files do not hold it.
  absl::Status CanCut(uint32_t shard, Lsn lsn) const;
  // Cuts the detached log of a shard at `lsn`, where a record starts, and reads what is left into `sink`: lists what
  // stays, cuts the file, goes on there. What a crash leaves is the log up to `lsn`, or more of it. After an error the
  // log is not to be used. Not on a loop's thread.
  absl::Status Cut(uint32_t shard, Lsn lsn, RecordSink* sink);
  // As Flows::SetReplicated.
  void SetReplicated(uint32_t shard, std::optional<Lsn> durable);
  // Waits until a replica has `lsn` durably, there is none, `cancelled` is true, or it has taken ten seconds; looks at
  // `cancelled` again after WakeReplicated. Not on a loop's thread.
  void AwaitReplicated(uint32_t shard, Lsn lsn, const std::function<bool()>& cancelled);
  // Any thread.
  void WakeReplicated();
  // Makes each shard's log durable up to ends[shard] (0: leave it) and lists the reigns that began before in the
  // manifest, all in one change. Waits for the disk.
  absl::Status ListReigns(const std::vector<Lsn>& ends);
  // Keeps an incr file that is listed from being removed, until the hold is gone; its end removes what is not listed
  // any more, and may wait for the disk. Null if it is not listed.
  class Hold {
   public:
    Hold(LogSet* set, uint32_t shard, uint64_t sequence) : set_(set), shard_(shard), sequence_(sequence) {}
    ~Hold() { set_->Release(shard_, sequence_); }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;
    uint64_t sequence() const { return sequence_; }

   private:
    LogSet* const set_;
    const uint32_t shard_;
    const uint64_t sequence_;
  };
  std::unique_ptr<Hold> HoldIncr(uint32_t shard, uint64_t sequence);
  Manifest::Shard Listed(uint32_t shard) const { return store_->Get(shard); }
  std::string IncrPath(uint32_t shard, uint64_t sequence) const;
  FileSystem* fs() const { return fs_; }

  // Whether a sync of this shard has failed, so that writes are off until Revive. From then on what is appended (reads
  // may find that a key has expired) is kept in memory, so that Revive can go on at any LSN taken later. Any thread.
  bool NeedsRevival(uint32_t shard);
  // Where the first incr file of this shard starts.
  Lsn FirstIncr(uint32_t shard) const { return store_->Get(shard).incrs.front().lsn; }
  // What the base's auxiliary fields say of the history up to `lsn` (storage/FORMAT.md).
  std::vector<Reign> HistoryUpTo(uint32_t shard, Lsn lsn) const;

  // How many bytes of an old file are freed at once: for tests.
  void set_remove_step(uint64_t bytes) { remove_step_ = bytes; }

  const RecoveryReport& report() const { return report_; }
  Manifest manifest() const { return store_->Get(); }
  DataSet::Stats stats() const;
  void ResetDelayed() {
    for (const std::unique_ptr<AofLog>& log : logs_) {
      if (log->started()) log->writer().ResetDelayed();
    }
  }

  // Drains, syncs and ends the writers, writes down how far each log is durable, lets the lock go. Idempotent.
  absl::Status Close();

 private:
  explicit LogSet(const DataSetOptions& options);

  std::string dir() const {
    const std::lock_guard<std::mutex> lock(place_mutex_);
    return dir_;
  }
  void MoveTo(const std::string& dir);
  // Of inherited logs: takes the place if every shard has been replaced.
  absl::Status TakeInheritedPlace();
  absl::Status FlipInherited();
  absl::Status ReplaceFiles(uint32_t shard, const NewBase& base, Lsn lsn, std::vector<Reign> history, UnixMillis latest,
                            const std::function<bool()>& wanted);
  absl::Status CutFiles(uint32_t shard, Lsn lsn, RecordSink* sink);
  void MakeLogs(uint32_t count, const AofOptions& tuning);
  // Begins a reign in every log, which ends where `found` says, lists it and starts the writers.
  absl::Status OpenLogs(std::vector<ShardRecovery> found);
  absl::Status BeginReign(uint32_t shard, const ShardRecovery& recovery, AofFile* file, Reign* reign);
  // Opens the last file that recovery has read, cuts its torn tail and syncs it.
  absl::Status OpenTail(uint32_t shard, const ShardRecovery& recovery, AofFile* file);
  // A new incr file, not listed, with room for its header: made, synced, its name too. `header` is what it will say,
  // but for the start.
  struct NewIncr {
    std::unique_ptr<File> file;
    std::string path;
    FileHeader header;
  };
  absl::StatusOr<std::shared_ptr<NewIncr>> MakeIncr(uint32_t shard);
  // Writes down where it starts, with the history up to there, and syncs that: ready to be continued there.
  absl::StatusOr<AofFile> BeginIncr(NewIncr* incr, Lsn at, std::vector<Reign> history);
  // Removes what `before` lists of a shard and `after` does not. Failures are logged: it goes at the next start.
  void RemoveUnlisted(uint32_t shard, const Manifest::Shard& before, const Manifest::Shard& after);
  // Removes the files of a life before that no manifest lists.
  void RemoveLeftovers();
  absl::Status MakeNameDurable(uint32_t shard, const std::string& path, uint64_t* size);
  void RemoveLogged(const std::string& path);
  // The same for a file that may be large and that no manifest lists: freed a part at a time, because a file system
  // that frees gigabytes at once holds up everybody's syncs. A start that finds a part of it removes it.
  void RemoveInSteps(const std::string& path);
  absl::StatusOr<uint64_t> SizeOf(const std::string& path);
  absl::StatusOr<std::unique_ptr<AofReader>> FindCut(uint32_t shard, const Manifest::FileRef& incr, Lsn lsn);
  void Release(uint32_t shard, uint64_t sequence);
  // Leaves the removing to the last hold's end, if there is one.
  bool LeftToHolds(uint32_t shard, uint64_t sequence);
  void LearnSizes();

  const DataSetOptions options_;
  FileSystem* const fs_;
  mutable std::mutex place_mutex_;
  std::string dir_;  // changes when the place is taken
  std::atomic<bool> aside_{false};
  bool inherits_ = false;
  std::shared_ptr<FileLock> lock_;
  std::unique_ptr<ManifestStore> store_;
  RecoveryReport report_;
  std::vector<std::unique_ptr<AofLog>> logs_;
  bool open_ = false;
  uint64_t remove_step_ = 32u << 20;

  // What stats() says of the files that are not written to.
  struct Sizes {
    std::map<uint64_t, uint64_t> incrs;  // by sequence, without the last
    uint64_t base = 0;
    uint64_t after_rewrite = 0;
  };
  // What happens to one shard's files, one at a time: rotation, revival, replacement.
  struct ShardChange {
    std::mutex mutex;
    std::atomic<bool> replacing{false};
  };
  std::vector<std::unique_ptr<ShardChange>> changes_;  // by shard

  std::mutex superseded_mutex_;
  std::mutex replicated_mutex_;
  std::condition_variable replicated_changed_;
  std::vector<std::optional<Lsn>> replicated_;  // by shard

  struct Held {
    uint32_t holds = 0;
    bool unlisted = false;
  };
  std::mutex holds_mutex_;
  std::map<std::pair<uint32_t, uint64_t>, Held> holds_;  // by shard and sequence

  mutable std::mutex sizes_mutex_;
  std::vector<Sizes> sizes_;  // by shard
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_LOG_SET_H_
