// A log that begins while its shards are in memory, and one that ends before them.
//
// Source: DESIGN "AOF"; the steps stand in storage/FORMAT.md.
#include <utility>

#include "glog/logging.h"
#include "storage/flip.h"
#include "storage/kill_point.h"
#include "storage/layout.h"
#include "storage/log_set.h"
#include "storage/wall_clock.h"

namespace skein::storage {
namespace {

// Whatever stands where the data set will stand gets another name: the shards hold something else.
absl::Status MoveAside(const DataSetOptions& options) {
  FileSystem* const fs = FileSystemOf(options);
  const std::string place = AppendDir(options);
  const absl::StatusOr<std::vector<std::string>> names = fs->List(place);
  if (absl::IsNotFound(names.status()) || (names.ok() && names->empty())) return absl::OkStatus();
  if (!names.ok()) return names.status();
  const absl::StatusOr<std::string> free = FreeName(fs, options.dir, options.append_dir, "replaced");
  if (!free.ok()) return free.status();
  if (absl::Status status = fs->Rename(place, JoinPath(options.dir, *free)); !status.ok()) return status;
  KillPoint("switch.aside-moved");
  if (absl::Status status = fs->SyncDir(options.dir); !status.ok()) return status;
  KillPoint("switch.aside-synced");
  LOG(WARNING) << place << ": held other data than this node: moved to " << JoinPath(options.dir, *free)
               << ", which may be removed if nobody needs it";
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<LogSet>> LogSet::OpenAside(const DataSetOptions& options,
                                                          const std::vector<LogStart>& starts,
                                                          const AofOptions& tuning) {
  if (absl::Status status = CheckPlace(options); !status.ok()) return status;
  std::unique_ptr<LogSet> set(new LogSet(options));
  absl::StatusOr<std::unique_ptr<FileLock>> lock = LockFolder(options);
  if (!lock.ok()) return lock.status();
  set->lock_ = *std::move(lock);
  if (absl::Status status = FinishInterrupted(options); !status.ok()) return status;
  if (absl::Status status = MoveAside(options); !status.ok()) return status;
  set->dir_ = AppendDir(options) + ".new";
  set->aside_ = true;
  std::vector<FileHeader> headers;
  absl::StatusOr<Manifest> manifest = WriteEmptyLogs(options, set->dir_, starts, &headers);
  if (manifest.ok()) {
    set->store_ = std::make_unique<ManifestStore>(set->fs_, set->dir_, *std::move(manifest));
    set->MakeLogs(static_cast<uint32_t>(starts.size()), tuning);
    std::vector<ShardRecovery> found(starts.size());
    for (uint32_t shard = 0; shard < found.size(); ++shard) {
      found[shard].end = starts[shard].lsn;
      found[shard].path = JoinPath(set->dir_, IncrName(shard, headers[shard].sequence));
      found[shard].salt = headers[shard].salt;
      found[shard].size = EncodeFileHeader(headers[shard]).size();
    }
    const absl::Status opened = set->OpenLogs(std::move(found));
    if (opened.ok()) {
      for (const std::unique_ptr<AofLog>& log : set->logs_) log->set_provisional(true);
      KillPoint("switch.opened");
      return set;
    }
    manifest = opened;
  }
  RemoveAside(set->fs_, set->dir_).IgnoreError();  // the error that matters is the first one
  return manifest.status();
}

absl::Status LogSet::TakePlace() {
  CHECK(aside());
  KillPoint("switch.bases-listed");
  const std::string place = AppendDir(options_);
  const std::string aside = dir();
  if (absl::Status status = fs_->Rename(aside, place); !status.ok()) return status;
  KillPoint("switch.renamed");
  MoveTo(place);
  // The folder's own name, then what it is called.
  if (absl::Status status = fs_->SyncDir(options_.dir); !status.ok()) {
    // Nobody knows which name a start would find. It must not find this log and take it for the data.
    if (absl::Status marked = MarkOff(); !marked.ok()) LOG(ERROR) << place << ": " << marked.message();
    if (fs_->Rename(place, aside).ok()) MoveTo(aside);
    return status;
  }
  KillPoint("switch.synced");
  aside_ = false;
  for (const std::unique_ptr<AofLog>& log : logs_) log->set_provisional(false);
  LOG(INFO) << place << ": holds the data from now on";
  return absl::OkStatus();
}

LogStart LogSet::Retire(uint32_t shard) {
  store_->End();
  return {.lsn = logs_[shard]->end(), .sequence = store_->NextSequence(shard)};
}

absl::Status LogSet::MarkOff() {
  const absl::Status status = store_->Edit([](Manifest* next) {
    next->off = static_cast<uint64_t>(WallClock());
    return absl::OkStatus();
  });
  if (status.ok()) KillPoint("switch.marked-off");
  return status;
}

}  // namespace skein::storage
