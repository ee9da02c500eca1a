#include "storage/manifest_store.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "storage/kill_point.h"

namespace skein::storage {

ManifestStore::ManifestStore(FileSystem* fs, std::string dir, Manifest manifest)
    : fs_(fs), dir_(std::move(dir)), manifest_(std::move(manifest)), written_sequence_(manifest_.sequence) {
  for (const Manifest::Shard& shard : manifest_.shards) {
    uint64_t highest = shard.base.has_value() ? shard.base->sequence : 0;
    for (const Manifest::FileRef& incr : shard.incrs) highest = std::max(highest, incr.sequence);
    handed_out_.push_back(highest);
  }
}

Manifest ManifestStore::Get() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return manifest_;
}

Manifest::Shard ManifestStore::Get(uint32_t shard) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return manifest_.shards[shard];
}

absl::Status ManifestStore::Edit(const std::function<absl::Status(Manifest*)>& edit) {
  const std::lock_guard<std::mutex> lock(mutex_);
  Manifest next = manifest_;
  if (absl::Status status = edit(&next); !status.ok()) return status;
  if (absl::Status status = Write(&next); !status.ok()) return status;
  manifest_ = std::move(next);
  return absl::OkStatus();
}

absl::Status ManifestStore::Settle() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (settled_) return absl::OkStatus();
  return Write(&manifest_);
}

void ManifestStore::End() {
  const std::lock_guard<std::mutex> lock(mutex_);
  ended_ = true;
}

absl::Status ManifestStore::Write(Manifest* next) {
  if (ended_) return absl::CancelledError("the log has been switched off");
  next->sequence = written_sequence_ + 1;
  const std::string path = JoinPath(dir_, kManifestName);
  const std::string aside = path + ".tmp";
  {
    absl::StatusOr<std::unique_ptr<File>> file = fs_->Open(aside, FileSystem::Mode::kReplace);
    if (!file.ok()) return file.status();
    if (absl::Status status = (*file)->WriteAt(0, EncodeManifest(*next)); !status.ok()) return status;
    KillPoint("manifest.aside-written");
    if (absl::Status status = (*file)->Sync(); !status.ok()) return status;
  }
  KillPoint("manifest.aside-synced");
  // From here on nobody knows which one a start would find, until the folder is synced.
  settled_ = false;
  written_sequence_ = next->sequence;
  if (absl::Status status = fs_->Rename(aside, path); !status.ok()) return status;
  KillPoint("manifest.renamed");
  if (absl::Status status = fs_->SyncDir(dir_); !status.ok()) return status;
  KillPoint("manifest.folder-synced");
  settled_ = true;
  return absl::OkStatus();
}

void ManifestStore::Moved(std::string dir) {
  const std::lock_guard<std::mutex> lock(mutex_);
  dir_ = std::move(dir);
}

uint64_t ManifestStore::NextSequence(uint32_t shard) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return ++handed_out_[shard];
}

}  // namespace skein::storage
