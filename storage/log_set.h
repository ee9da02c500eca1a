// An append-only folder and the logs of its shards: locking, creation, refusals, recovery, new reigns, closing.
//
// Knows nothing of tables: what recovery reads goes to sinks. DataSet joins it with the shards.
#ifndef SKEIN_STORAGE_LOG_SET_H_
#define SKEIN_STORAGE_LOG_SET_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/aof_log.h"
#include "storage/data_set.h"
#include "storage/file.h"
#include "storage/manifest.h"
#include "storage/recovery.h"

namespace skein::storage {

class LogSet {
 public:
  // Takes the folder's lock, reads its manifest, or makes a folder with options.shards empty logs: in full aside, then
  // renamed, so that there never is half of one. Refusals as in DataSet::Open. `tuning`: durations for tests; its other
  // fields are not looked at.
  static absl::StatusOr<std::unique_ptr<LogSet>> Open(const DataSetOptions& options, const AofOptions& tuning = {});

  // The refusals of Open and Recover, in the same words, without side effects. Reads all files.
  static absl::Status Check(const DataSetOptions& options);

  ~LogSet();
  LogSet(const LogSet&) = delete;
  LogSet& operator=(const LogSet&) = delete;

  uint32_t shard_count() const { return static_cast<uint32_t>(logs_.size()); }
  // Closed until Recover has returned. Owned by the set.
  AofLog& log(uint32_t shard) { return *logs_[shard]; }

  // Replays all shards in parallel into their sinks (`sink_of` gives one a shard, which outlives the call). Nothing on
  // disk is changed unless every shard could be recovered; then torn tails are cut, a new reign is made durable in
  // every log and in the manifest, and the logs are open. Once.
  absl::Status Recover(const std::function<RecordSink*(uint32_t shard)>& sink_of);

  const RecoveryReport& report() const { return report_; }
  const Manifest& manifest() const { return manifest_; }
  DataSet::Stats stats() const;

  // Drains, syncs and ends the writers, writes down how far each log is durable, lets the lock go. Idempotent.
  absl::Status Close();

 private:
  explicit LogSet(const DataSetOptions& options);

  absl::Status BeginReign(uint32_t shard, const ShardRecovery& recovery, AofFile* file, Reign* reign);
  absl::Status WriteManifest(Manifest next);

  const DataSetOptions options_;
  FileSystem* const fs_;
  const std::string dir_;
  std::unique_ptr<FileLock> lock_;
  Manifest manifest_;
  RecoveryReport report_;
  std::vector<std::unique_ptr<AofLog>> logs_;
  bool open_ = false;
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_LOG_SET_H_
