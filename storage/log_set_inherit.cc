// The logs of a data set of another number of shards, as a replica inherits it: made aside, in place once all are
// whole.
//
// Source: DESIGN "Replication, failover, migration"; the steps stand in storage/FORMAT.md.
#include <algorithm>
#include <utility>

#include "glog/logging.h"
#include "storage/flip.h"
#include "storage/kill_point.h"
#include "storage/layout.h"
#include "storage/log_set.h"

namespace skein::storage {

absl::StatusOr<std::unique_ptr<LogSet>> LogSet::OpenInherited(const DataSetOptions& options,
                                                              std::shared_ptr<FileLock> lock,
                                                              const AofOptions& tuning) {
  CHECK(options.shards_inherited);
  if (absl::Status status = CheckPlace(options); !status.ok()) return status;
  std::unique_ptr<LogSet> set(new LogSet(options));
  set->lock_ = std::move(lock);
  if (set->lock_ == nullptr) {
    absl::StatusOr<std::unique_ptr<FileLock>> taken = LockFolder(options);
    if (!taken.ok()) return taken.status();
    set->lock_ = *std::move(taken);
  }
  // Of a change before this one, whose last step has failed.
  if (absl::Status status = FinishInterrupted(options); !status.ok()) return status;
  set->dir_ = AppendDir(options) + ".new";
  set->aside_ = set->inherits_ = true;
  const std::vector<LogStart> starts(options.shards);
  std::vector<FileHeader> headers;
  absl::StatusOr<Manifest> manifest = WriteEmptyLogs(options, set->dir_, starts, &headers);
  absl::Status opened = manifest.status();
  if (opened.ok()) {
    set->store_ = std::make_unique<ManifestStore>(set->fs_, set->dir_, *std::move(manifest));
    set->MakeLogs(options.shards, tuning);
    std::vector<ShardRecovery> found(options.shards);
    for (uint32_t shard = 0; shard < options.shards; ++shard) {
      found[shard].path = JoinPath(set->dir_, IncrName(shard, headers[shard].sequence));
      found[shard].salt = headers[shard].salt;
      found[shard].size = EncodeFileHeader(headers[shard]).size();
      set->changes_[shard]->replacing = true;
    }
    opened = set->OpenLogs(std::move(found));
  }
  if (!opened.ok()) {
    RemoveAside(set->fs_, set->dir_).IgnoreError();  // the error that matters is the first one
    return opened;
  }
  for (const std::unique_ptr<AofLog>& log : set->logs_) log->set_provisional(true);
  KillPoint("inherit.opened");
  return set;
}

void LogSet::MoveTo(const std::string& dir) {
  {
    const std::lock_guard<std::mutex> lock(place_mutex_);
    dir_ = dir;
  }
  store_->Moved(dir);
}

absl::Status LogSet::TakeInheritedPlace() {
  if (!inherits_ || !aside()) return absl::OkStatus();
  // Nothing is made in the folder while it is renamed. In the order of the shards, so that two never wait for each
  // other.
  std::vector<std::unique_lock<std::mutex>> locks;
  for (const std::unique_ptr<ShardChange>& change : changes_) locks.emplace_back(change->mutex);
  const bool whole = std::none_of(changes_.begin(), changes_.end(), [](const auto& c) { return c->replacing.load(); });
  if (!whole || !aside()) return absl::OkStatus();
  const absl::Status status = FlipInherited();
  if (!status.ok()) {
    LOG(ERROR) << AppendDir(options_) << ": what the primary has sent cannot take its place: " << status.message();
    return status;
  }
  aside_.store(false, std::memory_order_release);
  for (const std::unique_ptr<AofLog>& log : logs_) log->set_provisional(false);
  LOG(INFO) << AppendDir(options_) << ": holds the primary's data from now on, in " << shard_count() << " shards";
  return absl::OkStatus();
}

void LogSet::RemoveSupersededFiles() {
  if (!inherits_ || aside()) return;
  const std::lock_guard<std::mutex> one_at_a_time(superseded_mutex_);
  for (const std::string& superseded : SupersededDirs(options_)) {
    for (const std::string& name : fs_->List(superseded).value_or(std::vector<std::string>())) {
      const std::string shard_dir = JoinPath(superseded, name);
      for (const std::string& file : fs_->List(shard_dir).value_or(std::vector<std::string>())) {
        RemoveInSteps(JoinPath(shard_dir, file));
      }
    }
    if (absl::Status status = RemoveAside(fs_, superseded); !status.ok()) {
      LOG(WARNING) << superseded << ": " << status.message();
    }
    KillPoint("inherit.old-removed");
  }
}

absl::Status LogSet::FlipInherited() {
  const std::string place = AppendDir(options_);
  // After a failed sync behind the rename.
  if (dir() == place) return fs_->SyncDir(options_.dir);
  const absl::StatusOr<std::optional<std::vector<Move>>> begun = PendingFlip(fs_, options_.dir, options_.append_dir);
  if (!begun.ok()) return begun.status();
  if (!begun->has_value()) {
    std::vector<Move> moves;
    const absl::StatusOr<std::vector<std::string>> names = fs_->List(place);
    if (!names.ok() && !absl::IsNotFound(names.status())) return names.status();
    if (names.ok() && !names->empty()) {
      absl::StatusOr<std::string> free = FreeName(fs_, options_.dir, options_.append_dir, std::string(kSupersededWord));
      if (!free.ok()) return free.status();
      moves.push_back({options_.append_dir, *std::move(free)});
    }
    if (absl::Status status = WriteMoves(fs_, options_.dir, options_.append_dir, moves); !status.ok()) return status;
    KillPoint("inherit.moves-listed");
  }
  const absl::Status flipped = Flip(fs_, options_.dir, options_.append_dir);
  const absl::StatusOr<bool> still_aside = fs_->Exists(JoinPath(dir(), kManifestName));
  if (flipped.ok() || (still_aside.ok() && !*still_aside)) MoveTo(place);
  if (flipped.ok()) KillPoint("inherit.in-place");
  return flipped;
}

}  // namespace skein::storage
