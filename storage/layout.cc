#include "storage/layout.h"

#include "glog/logging.h"
#include "storage/flip.h"
#include "storage/kill_point.h"
#include "storage/runbook.h"

namespace skein::storage {
namespace {

uint64_t RandomSalt() {
  const Reign random = NewReign(0, 0);
  uint64_t salt = 0;
  for (int i = 0; i < 8; ++i) salt = salt << 8 | random.id[static_cast<size_t>(i)];
  return salt;
}

}  // namespace

FileSystem* FileSystemOf(const DataSetOptions& options) {
  return options.fs != nullptr ? options.fs : RealFileSystem();
}

std::string AppendDir(const DataSetOptions& options) { return JoinPath(options.dir, options.append_dir); }
std::string LockPath(const DataSetOptions& options) { return AppendDir(options) + ".lock"; }

absl::Status InUse(const DataSetOptions& options) {
  return absl::FailedPreconditionError(AppendDir(options) + ": is in use by another process (it holds " +
                                       LockPath(options) + "); stop that one, or choose another dir" +
                                       SeeRunbook("folder-in-use"));
}

absl::StatusOr<std::unique_ptr<FileLock>> LockFolder(const DataSetOptions& options) {
  absl::StatusOr<std::unique_ptr<FileLock>> lock = FileSystemOf(options)->Lock(LockPath(options));
  if (absl::IsFailedPrecondition(lock.status())) return InUse(options);
  return lock;
}

absl::Status CheckLock(const DataSetOptions& options) {
  const absl::StatusOr<bool> locked = FileSystemOf(options)->IsLocked(LockPath(options));
  if (!locked.ok()) return locked.status();
  return *locked ? InUse(options) : absl::OkStatus();
}

absl::Status CheckPlace(const DataSetOptions& options) {
  if (options.append_dir.empty() || options.append_dir.find('/') != std::string::npos || options.append_dir == "." ||
      options.append_dir == "..") {
    return absl::FailedPreconditionError("appenddirname must be a name, not a path: \"" + options.append_dir + "\"");
  }
  if (options.shards == 0 || options.shards > kMaxShards) {
    return absl::FailedPreconditionError("storage-shards must be 1 to " + std::to_string(kMaxShards));
  }
  if (options.databases == 0 || options.databases > kMaxDatabases) {
    return absl::FailedPreconditionError("databases must be 1 to " + std::to_string(kMaxDatabases));
  }
  if (absl::Status status = FileSystemOf(options)->CheckWritable(options.dir); !status.ok()) return status;
  const absl::Status inner = FileSystemOf(options)->CheckWritable(AppendDir(options));
  return absl::IsNotFound(inner) ? absl::OkStatus() : inner;
}

absl::StatusOr<std::optional<Manifest>> LoadManifest(const DataSetOptions& options) {
  return LoadManifestFrom(AppendDir(options), options);
}

absl::StatusOr<std::optional<Manifest>> LoadManifestFrom(const std::string& dir, const DataSetOptions& options) {
  FileSystem* const fs = FileSystemOf(options);
  const std::string path = JoinPath(dir, kManifestName);
  const absl::StatusOr<std::string> text = fs->ReadFile(path, kMaxManifestSize);
  if (absl::IsNotFound(text.status())) {
    const absl::StatusOr<std::vector<std::string>> names = fs->List(dir);
    if (absl::IsNotFound(names.status()) || (names.ok() && names->empty())) return std::optional<Manifest>();
    if (!names.ok()) return names.status();
    return absl::DataLossError(
        path + ": is missing, but the folder holds " + names->front() + (names->size() > 1 ? " and more" : "") +
        "; put back the manifest, or move the folder away to start empty" + SeeRunbook("corrupt-manifest"));
  }
  if (!text.ok()) return text.status();
  absl::StatusOr<Manifest> manifest = ParseManifest(*text);
  if (absl::IsUnimplemented(manifest.status())) {
    return absl::FailedPreconditionError(path + ": " + std::string(manifest.status().message()) +
                                         "; start the version that wrote it" + SeeRunbook("newer-version"));
  }
  if (!manifest.ok()) {
    return absl::DataLossError(path + ": is corrupt: " + std::string(manifest.status().message()) +
                               "; put it back from a copy, or move the folder away to start empty" +
                               SeeRunbook("corrupt-manifest"));
  }
  const size_t count = manifest->shards.size();
  const bool inherited = manifest->chosen == Manifest::Chosen::kInherited;
  if (count != options.shards && (options.shards_fixed || (options.shards_configured && !inherited))) {
    return absl::FailedPreconditionError(
        path + ": manifest=" + std::to_string(count) + ", config=" + std::to_string(options.shards) +
        ": the number of shards of a data set is part of it; set storage-shards to " + std::to_string(count) +
        ", or change it with skein-aof reshard" + SeeRunbook("shard-count"));
  }
  if (manifest->databases > options.databases && !inherited) {
    return absl::FailedPreconditionError(path + ": databases: manifest=" + std::to_string(manifest->databases) +
                                         ", config=" + std::to_string(options.databases) +
                                         ": set databases to at least " + std::to_string(manifest->databases) +
                                         SeeRunbook("shard-count"));
  }
  return std::optional<Manifest>(*std::move(manifest));
}

absl::Status CheckNotSwitchedOff(const DataSetOptions& options, const Manifest& manifest) {
  if (manifest.off == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      JoinPath(AppendDir(options), kManifestName) +
      ": the log was switched off (CONFIG SET appendonly no) at Unix time " + std::to_string(manifest.off / 1000) +
      ": what was written after that is not in it; start with appendonly no, which "
      "loads " +
      options.save.rdb_name + ", and switch it on again with CONFIG SET appendonly yes, or move the folder away" +
      SeeRunbook("switched-off"));
}

absl::Status FinishInterrupted(const DataSetOptions& options) {
  return FinishFlip(FileSystemOf(options), options.dir, options.append_dir);
}

uint64_t SizeOfListed(FileSystem* fs, const std::string& dir, const Manifest& manifest) {
  uint64_t sum = 0;
  const auto add = [&](const std::string& name) {
    const absl::StatusOr<std::unique_ptr<File>> file = fs->Open(JoinPath(dir, name), FileSystem::Mode::kRead);
    if (!file.ok()) return;
    if (const absl::StatusOr<uint64_t> size = (*file)->Size(); size.ok()) sum += *size;
  };
  for (uint32_t i = 0; i < manifest.shards.size(); ++i) {
    const Manifest::Shard& shard = manifest.shards[i];
    if (shard.base.has_value()) add(BaseName(i, shard.base->sequence));
    for (const Manifest::FileRef& incr : shard.incrs) add(IncrName(i, incr.sequence));
  }
  return sum;
}

absl::Status CheckFree(const DataSetOptions& options, Runbook page) {
  if (absl::Status status = CheckPlace(options); !status.ok()) return status;
  FileSystem* const fs = FileSystemOf(options);
  std::string held = AppendDir(options);
  absl::StatusOr<std::vector<std::string>> names = fs->List(held);
  if (absl::IsNotFound(names.status()) || (names.ok() && names->empty())) {
    const absl::StatusOr<std::optional<std::vector<Move>>> pending = PendingFlip(fs, options.dir, options.append_dir);
    if (!pending.ok()) return pending.status();
    if (!pending->has_value()) return absl::OkStatus();
    held += ".new";
    names = fs->List(held);
  }
  if (!names.ok()) return names.status();
  return absl::FailedPreconditionError(held + ": holds " + names->front() + (names->size() > 1 ? " and more" : "") +
                                       "; choose a folder without a data set" + SeeRunbook(page));
}

absl::Status RemoveAside(FileSystem* fs, const std::string& dir) {
  const absl::StatusOr<std::vector<std::string>> names = fs->List(dir);
  if (absl::IsNotFound(names.status())) return absl::OkStatus();
  if (!names.ok()) return names.status();
  for (const std::string& name : *names) {
    const std::string path = JoinPath(dir, name);
    const absl::StatusOr<std::vector<std::string>> inner = fs->List(path);
    if (!inner.ok()) {
      if (absl::Status status = fs->RemoveFile(path); !status.ok()) return status;
      continue;
    }
    for (const std::string& file : *inner) {
      if (absl::Status status = fs->RemoveFile(JoinPath(path, file)); !status.ok()) return status;
    }
    if (absl::Status status = fs->RemoveDir(path); !status.ok()) return status;
  }
  return fs->RemoveDir(dir);
}

std::vector<std::string> SupersededDirs(const DataSetOptions& options) {
  std::vector<std::string> dirs;
  const absl::StatusOr<std::vector<std::string>> names = FileSystemOf(options)->List(options.dir);
  const std::string superseded = options.append_dir + "." + std::string(kSupersededWord) + "-";
  for (const std::string& name : names.ok() ? *names : std::vector<std::string>()) {
    if (name.starts_with(superseded)) dirs.push_back(JoinPath(options.dir, name));
  }
  return dirs;
}

void RemoveSuperseded(const DataSetOptions& options) {
  FileSystem* const fs = FileSystemOf(options);
  const auto remove = [fs](const std::string& path, std::string_view what) {
    LOG(INFO) << path << ": " << what << "; removing it";
    if (absl::Status status = RemoveAside(fs, path); !status.ok()) LOG(WARNING) << path << ": " << status.message();
  };
  for (const std::string& dir : SupersededDirs(options)) remove(dir, "has been superseded by what the primary had");
  const std::string aside = AppendDir(options) + ".new";
  const absl::StatusOr<std::optional<std::vector<Move>>> pending = PendingFlip(fs, options.dir, options.append_dir);
  if (!pending.ok() || pending->has_value() || !fs->List(aside).ok()) return;
  const absl::StatusOr<std::string> text = fs->ReadFile(JoinPath(aside, kManifestName), kMaxManifestSize);
  if (absl::IsNotFound(text.status())) return remove(aside, "was being made, and has no manifest yet");
  if (!text.ok()) return;
  const absl::StatusOr<Manifest> manifest = ParseManifest(*text);
  if (!manifest.ok() || manifest->chosen != Manifest::Chosen::kInherited) return;
  remove(aside, "a part of what a primary had");
}

absl::Status WriteFirstIncr(FileSystem* fs, const std::string& dir, uint32_t shard, uint32_t count,
                            const LogStart& start, FileHeader* made) {
  const std::string shard_dir = JoinPath(dir, ShardDirName(shard));
  if (absl::Status status = fs->CreateDir(shard_dir); !status.ok()) return status;
  FileHeader header;
  header.shard = shard;
  header.shard_count = count;
  header.sequence = start.sequence;
  header.start_lsn = start.lsn;
  header.salt = RandomSalt();
  header.created = WallClock();
  if (made != nullptr) *made = header;
  absl::StatusOr<std::unique_ptr<File>> file =
      fs->Open(JoinPath(dir, IncrName(shard, start.sequence)), FileSystem::Mode::kCreateNew);
  if (!file.ok()) return file.status();
  if (absl::Status status = (*file)->WriteAt(0, EncodeFileHeader(header)); !status.ok()) return status;
  if (absl::Status status = (*file)->Sync(); !status.ok()) return status;
  return fs->SyncDir(shard_dir);
}

absl::StatusOr<Manifest> WriteEmptyLogs(const DataSetOptions& options, const std::string& dir,
                                        const std::vector<LogStart>& starts, std::vector<FileHeader>* headers) {
  FileSystem* const fs = FileSystemOf(options);
  if (absl::Status status = RemoveAside(fs, dir); !status.ok()) return status;
  if (absl::Status status = fs->CreateDir(dir); !status.ok()) return status;
  Manifest manifest;
  manifest.sequence = 1;
  manifest.chosen = options.shards_inherited    ? Manifest::Chosen::kInherited
                    : options.shards_configured ? Manifest::Chosen::kConfigured
                                                : Manifest::Chosen::kDefaulted;
  manifest.databases = options.databases;
  const auto count = static_cast<uint32_t>(starts.size());
  manifest.shards.resize(count);
  for (uint32_t shard = 0; shard < count; ++shard) {
    FileHeader header;
    if (absl::Status status = WriteFirstIncr(fs, dir, shard, count, starts[shard], &header); !status.ok()) {
      return status;
    }
    manifest.shards[shard].incrs = {{starts[shard].sequence, starts[shard].lsn}};
    if (headers != nullptr) headers->push_back(std::move(header));
  }
  KillPoint("create.shards-synced");
  const std::string manifest_path = JoinPath(dir, kManifestName);
  if (absl::Status status = fs->ReplaceFile(manifest_path, EncodeManifest(manifest)); !status.ok()) return status;
  KillPoint("create.manifest-synced");
  return manifest;
}

absl::StatusOr<Manifest> CreateDataSet(const DataSetOptions& options) {
  FileSystem* const fs = FileSystemOf(options);
  const std::string aside = AppendDir(options) + ".new";
  // What is in there may be all there is: it is not ours to remove.
  const absl::StatusOr<std::optional<std::vector<Move>>> pending = PendingFlip(fs, options.dir, options.append_dir);
  if (!pending.ok()) return pending.status();
  if (pending->has_value()) return absl::InternalError(aside + ": an interrupted change has to be finished first");
  absl::StatusOr<Manifest> manifest = WriteEmptyLogs(options, aside, std::vector<LogStart>(options.shards), nullptr);
  if (!manifest.ok()) return manifest.status();
  if (absl::Status status = fs->Rename(aside, AppendDir(options)); !status.ok()) return status;
  KillPoint("create.renamed");
  if (absl::Status status = fs->SyncDir(options.dir); !status.ok()) return status;
  KillPoint("create.synced");
  LOG(INFO) << AppendDir(options) << ": made a data set of " << options.shards << " shards";
  return manifest;
}

}  // namespace skein::storage
