#include "storage/restore.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "storage/aof_reader.h"
#include "storage/data_set.h"
#include "storage/flip.h"
#include "storage/kill_point.h"
#include "storage/layout.h"
#include "storage/runbook.h"

namespace skein::storage {
namespace {

constexpr size_t kCopyPiece = 1u << 20;

// Where a shard's log is to end.
struct Cut {
  size_t files = 0;     // incr files that are kept
  uint64_t offset = 0;  // where the last of them ends
  Lsn end = 0;
  UnixMillis last_time = 0;
  uint64_t records = 0;
  uint64_t left_records = 0;
  uint64_t left_bytes = 0;
};

std::string TimeText(UnixMillis time) { return std::to_string(time) + " ms since 1970"; }

class Restorer {
 public:
  Restorer(const RestoreOptions& options, const DataSetOptions& from, const Manifest& manifest)
      : options_(options),
        from_(from),
        fs_(FileSystemOf(from)),
        manifest_(manifest),
        total_(SizeOfListed(fs_, AppendDir(from), manifest)) {}

  // Reads all of a shard's log as a start would, then looks for the place to cut.
  absl::Status Look(uint32_t shard, Cut* cut, ShardRecovery* found) {
    const absl::StatusOr<ShardRecovery> whole = RecoverShard(fs_, AppendDir(from_), manifest_, shard, nullptr,
                                                             [this](uint64_t bytes) { Tell("reading", bytes); });
    if (!whole.ok()) return whole.status();
    *found = *whole;
    const Manifest::Shard& entry = manifest_.shards[shard];
    const Lsn base_lsn = entry.base.has_value() ? entry.base->lsn : 0;
    if (options_.to_time.has_value() && entry.base.has_value() && *options_.to_time < whole->base_time) {
      return TooEarly(shard, TimeText(*options_.to_time), TimeText(whole->base_time), base_lsn);
    }
    if (!options_.to_time.has_value() && options_.to_lsn[shard] < base_lsn) {
      return TooEarly(shard, "LSN " + std::to_string(options_.to_lsn[shard]), "LSN " + std::to_string(base_lsn),
                      base_lsn);
    }
    return FindCut(shard, base_lsn, cut);
  }

  // Copies what is kept into `dir`, the new append-only folder.
  absl::Status Copy(uint32_t shard, const std::string& dir, const Cut& cut) {
    const Manifest::Shard& entry = manifest_.shards[shard];
    if (absl::Status status = fs_->CreateDir(JoinPath(dir, ShardDirName(shard))); !status.ok()) return status;
    if (entry.base.has_value()) {
      if (absl::Status status = CopyFile(BaseName(shard, entry.base->sequence), dir, UINT64_MAX); !status.ok()) {
        return status;
      }
    }
    for (size_t i = 0; i < cut.files; ++i) {
      const uint64_t size = i + 1 == cut.files ? cut.offset : UINT64_MAX;
      if (absl::Status status = CopyFile(IncrName(shard, entry.incrs[i].sequence), dir, size); !status.ok()) {
        return status;
      }
    }
    if (absl::Status status = fs_->SyncDir(JoinPath(dir, ShardDirName(shard))); !status.ok()) return status;
    KillPoint("restore.shard-copied");
    return absl::OkStatus();
  }

  // What has been done so far counts no longer: another phase begins.
  void NextPhase() { done_ = 0; }

 private:
  void Tell(std::string_view phase, uint64_t bytes) {
    if (!options_.progress) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    done_ += bytes;
    options_.progress(phase, std::min(done_, total_), total_);
  }

  absl::Status TooEarly(uint32_t shard, const std::string& wanted, const std::string& earliest, Lsn base_lsn) {
    return absl::FailedPreconditionError(
        JoinPath(AppendDir(from_), BaseName(shard, manifest_.shards[shard].base->sequence)) + ": " + wanted +
        " lies before the base of shard " + std::to_string(shard) + "; the earliest point is " + earliest + " (LSN " +
        std::to_string(base_lsn) + ")" + SeeRunbook("restore-point-in-time"));
  }

  absl::Status FindCut(uint32_t shard, Lsn base_lsn, Cut* cut) {
    const Manifest::Shard& entry = manifest_.shards[shard];
    bool past = false;
    std::vector<AofReader::Item> items;
    for (size_t i = 0; i < entry.incrs.size(); ++i) {
      const std::string path = JoinPath(AppendDir(from_), IncrName(shard, entry.incrs[i].sequence));
      absl::StatusOr<std::unique_ptr<File>> file = fs_->Open(path, FileSystem::Mode::kRead);
      if (!file.ok()) return file.status();
      absl::StatusOr<std::unique_ptr<AofReader>> reader = AofReader::Open(*std::move(file), path);
      if (!reader.ok()) return reader.status();
      if (!past) {
        cut->files = i + 1;
        cut->offset = (*reader)->offset();
        cut->end = (*reader)->lsn();
      }
      absl::StatusOr<AofReader::Found> found = (*reader)->NextBatch(64, &items);
      for (; found.ok() && *found == AofReader::Found::kRecord; found = (*reader)->NextBatch(64, &items)) {
        for (const AofReader::Item& item : items) {
          const RecordHeader& record = item.header;
          // What is in the base stays, whatever its records say.
          past = past || (record.end() > base_lsn && !Belongs(shard, record));
          const bool data = record.kind == RecordKind::kData;
          if (past) {
            cut->left_records += data ? 1 : 0;
            cut->left_bytes += record.end() - record.lsn;
            continue;
          }
          cut->records += data && record.lsn >= base_lsn ? 1 : 0;
          cut->end = record.end();
          if (record.time != 0) cut->last_time = record.time;
          cut->offset = item.offset + (record.end() - record.lsn);
        }
      }
      if (!found.ok()) return found.status();
    }
    return absl::OkStatus();
  }

  bool Belongs(uint32_t shard, const RecordHeader& record) const {
    return options_.to_time.has_value() ? record.time <= *options_.to_time : record.end() <= options_.to_lsn[shard];
  }

  absl::Status CopyFile(const std::string& name, const std::string& dir, uint64_t limit) {
    absl::StatusOr<std::unique_ptr<File>> from = fs_->Open(JoinPath(AppendDir(from_), name), FileSystem::Mode::kRead);
    if (!from.ok()) return from.status();
    absl::StatusOr<std::unique_ptr<File>> to = fs_->Open(JoinPath(dir, name), FileSystem::Mode::kCreateNew);
    if (!to.ok()) return to.status();
    std::string piece;
    for (uint64_t at = 0; at < limit;) {
      piece.resize(std::min<uint64_t>(kCopyPiece, limit - at));
      const absl::StatusOr<size_t> got = (*from)->ReadAt(at, piece.data(), piece.size());
      if (!got.ok()) return got.status();
      if (*got == 0) break;
      if (absl::Status status = (*to)->WriteAt(at, std::string_view(piece).substr(0, *got)); !status.ok())
        return status;
      at += *got;
      Tell("copying", *got);
    }
    return (*to)->Sync();
  }

  const RestoreOptions& options_;
  const DataSetOptions& from_;
  FileSystem* const fs_;
  const Manifest& manifest_;
  const uint64_t total_;
  std::mutex mutex_;
  uint64_t done_ = 0;
};

// What the copy's manifest says.
Manifest ManifestOf(const Manifest& from, const std::vector<Cut>& cuts, const std::vector<ShardRecovery>& found) {
  Manifest manifest = from;
  manifest.off = 0;  // whoever restores wants this
  for (size_t i = 0; i < cuts.size(); ++i) {
    Manifest::Shard& shard = manifest.shards[i];
    shard.incrs.resize(cuts[i].files);
    shard.durable = cuts[i].end;
    shard.history.clear();
    for (const Reign& reign : found[i].history) {
      if (reign.first_lsn < cuts[i].end) shard.history.push_back(reign);
    }
  }
  return manifest;
}

// Reads the copy as a start would.
absl::Status Verify(FileSystem* fs, const std::string& dir, const Manifest& manifest) {
  const auto count = static_cast<uint32_t>(manifest.shards.size());
  return InParallel(count, [&](uint32_t i) {
    ShardOptions options;
    options.index = i;
    options.count = count;
    options.databases = manifest.databases;
    Shard shard(options, nullptr);
    ShardSink sink(&shard);
    return RecoverShard(fs, dir, manifest, i, &sink).status();
  });
}

}  // namespace

absl::StatusOr<RestoreReport> Restore(const RestoreOptions& options) {
  DataSetOptions from;
  from.dir = options.place.dir;
  from.append_dir = options.place.append_dir;
  from.fs = options.place.fs;
  from.databases = kMaxDatabases;
  DataSetOptions to = from;
  to.dir = options.target_dir;
  FileSystem* const fs = FileSystemOf(from);
  if (absl::Status status = CheckPlace(from); !status.ok()) return status;
  if (absl::Status status = CheckFree(to, "restore-point-in-time"); !status.ok()) return status;
  const absl::StatusOr<std::unique_ptr<FileLock>> from_lock = LockFolder(from);
  if (!from_lock.ok()) return from_lock.status();
  const absl::StatusOr<std::unique_ptr<FileLock>> to_lock = LockFolder(to);
  if (!to_lock.ok()) return to_lock.status();
  if (absl::Status status = FinishInterrupted(from); !status.ok()) return status;
  const absl::StatusOr<std::optional<Manifest>> manifest = LoadManifest(from);
  if (!manifest.ok()) return manifest.status();
  if (!manifest->has_value()) {
    return absl::NotFoundError(AppendDir(from) + ": there is no data set; name the folder that holds one" +
                               SeeRunbook("restore-point-in-time"));
  }
  const auto count = static_cast<uint32_t>((*manifest)->shards.size());
  if (options.to_time.has_value() == !options.to_lsn.empty() ||
      (!options.to_time.has_value() && options.to_lsn.size() != count)) {
    return absl::FailedPreconditionError(AppendDir(from) + ": give either a time, or one LSN for each of the " +
                                         std::to_string(count) + " shards" + SeeRunbook("restore-point-in-time"));
  }

  Restorer restorer(options, from, **manifest);
  std::vector<Cut> cuts(count);
  std::vector<ShardRecovery> found(count);
  absl::Status status = InParallel(count, [&](uint32_t i) { return restorer.Look(i, &cuts[i], &found[i]); });
  if (!status.ok()) return status;

  const std::string fresh = AppendDir(to) + ".new";
  if (status = RemoveAside(fs, fresh); !status.ok()) return status;
  if (status = fs->CreateDir(fresh); !status.ok()) return status;
  if (status = WriteMoves(fs, to.dir, to.append_dir, {}); !status.ok()) return status;
  KillPoint("restore.moves-listed");
  restorer.NextPhase();
  status = InParallel(count, [&](uint32_t i) { return restorer.Copy(i, fresh, cuts[i]); });
  if (!status.ok()) return status;
  const Manifest restored = ManifestOf(**manifest, cuts, found);
  if (status = Verify(fs, fresh, restored); !status.ok()) return status;
  if (status = fs->SyncDir(fresh); !status.ok()) return status;
  KillPoint("restore.shards-synced");
  if (status = fs->ReplaceFile(JoinPath(fresh, kManifestName), EncodeManifest(restored)); !status.ok()) return status;
  KillPoint("restore.manifest-synced");
  if (status = Flip(fs, to.dir, to.append_dir); !status.ok()) return status;

  RestoreReport report;
  for (const Cut& cut : cuts) {
    report.shards.push_back({.end = cut.end,
                             .last_time = cut.last_time,
                             .records = cut.records,
                             .left_records = cut.left_records,
                             .left_bytes = cut.left_bytes});
  }
  return report;
}

}  // namespace skein::storage
