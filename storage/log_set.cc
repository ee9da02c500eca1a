#include "storage/log_set.h"

#include <unistd.h>

#include <chrono>
#include <optional>
#include <utility>

#include "glog/logging.h"

namespace skein::storage {
namespace {

FileSystem* FileSystemOf(const DataSetOptions& options) {
  return options.fs != nullptr ? options.fs : RealFileSystem();
}

std::string AppendDir(const DataSetOptions& options) { return JoinPath(options.dir, options.append_dir); }
std::string LockPath(const DataSetOptions& options) { return AppendDir(options) + ".lock"; }

UnixMillis WallClock() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

absl::Status InUse(const DataSetOptions& options) {
  return absl::FailedPreconditionError(AppendDir(options) + ": is in use by another process (it holds " +
                                       LockPath(options) + "); stop that one, or choose another dir");
}

// What is wrong with the options or the place by themselves.
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

// The folder's manifest, if it fits the options; nothing if there is no data set yet.
absl::StatusOr<std::optional<Manifest>> LoadManifest(const DataSetOptions& options) {
  FileSystem* const fs = FileSystemOf(options);
  const std::string dir = AppendDir(options);
  const std::string path = JoinPath(dir, kManifestName);
  const absl::StatusOr<std::string> text = fs->ReadFile(path, kMaxManifestSize);
  if (absl::IsNotFound(text.status())) {
    const absl::StatusOr<std::vector<std::string>> names = fs->List(dir);
    if (absl::IsNotFound(names.status()) || (names.ok() && names->empty())) return std::optional<Manifest>();
    if (!names.ok()) return names.status();
    return absl::DataLossError(path + ": is missing, but the folder holds " + names->front() +
                               (names->size() > 1 ? " and more" : "") +
                               "; put back the manifest, or move the folder away to start empty");
  }
  if (!text.ok()) return text.status();
  absl::StatusOr<Manifest> manifest = ParseManifest(*text);
  if (absl::IsUnimplemented(manifest.status())) {
    return absl::FailedPreconditionError(path + ": " + std::string(manifest.status().message()) +
                                         "; start the version that wrote it");
  }
  if (!manifest.ok()) {
    return absl::DataLossError(path + ": is corrupt: " + std::string(manifest.status().message()) +
                               "; put it back from a copy, or move the folder away to start empty");
  }
  const size_t count = manifest->shards.size();
  if (count != options.shards && options.shards_configured && manifest->chosen != Manifest::Chosen::kInherited) {
    return absl::FailedPreconditionError(
        path + ": manifest=" + std::to_string(count) + ", config=" + std::to_string(options.shards) +
        ": the number of shards of a data set cannot be changed; set storage-shards to " + std::to_string(count) +
        ", or start on an empty folder");
  }
  if (manifest->databases > options.databases) {
    return absl::FailedPreconditionError(path + ": databases: manifest=" + std::to_string(manifest->databases) +
                                         ", config=" + std::to_string(options.databases) +
                                         ": set databases to at least " + std::to_string(manifest->databases));
  }
  return std::optional<Manifest>(*std::move(manifest));
}

// Removes a folder of the kind that CreateDataSet makes, as far as it is there.
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

uint64_t RandomSalt() {
  const Reign random = NewReign(0, 0);
  uint64_t salt = 0;
  for (int i = 0; i < 8; ++i) salt = salt << 8 | random.id[static_cast<size_t>(i)];
  return salt;
}

absl::Status WriteFirstIncr(FileSystem* fs, const std::string& dir, uint32_t shard, uint32_t count) {
  const std::string shard_dir = JoinPath(dir, ShardDirName(shard));
  if (absl::Status status = fs->CreateDir(shard_dir); !status.ok()) return status;
  FileHeader header;
  header.shard = shard;
  header.shard_count = count;
  header.sequence = 1;
  header.salt = RandomSalt();
  header.created = WallClock();
  absl::StatusOr<std::unique_ptr<File>> file =
      fs->Open(JoinPath(dir, IncrName(shard, 1)), FileSystem::Mode::kCreateNew);
  if (!file.ok()) return file.status();
  if (absl::Status status = (*file)->WriteAt(0, EncodeFileHeader(header)); !status.ok()) return status;
  if (absl::Status status = (*file)->Sync(); !status.ok()) return status;
  return fs->SyncDir(shard_dir);
}

// Makes a data set of empty logs: in full aside, durable, then renamed.
absl::StatusOr<Manifest> CreateDataSet(const DataSetOptions& options) {
  FileSystem* const fs = FileSystemOf(options);
  const std::string aside = AppendDir(options) + ".new";
  if (absl::Status status = RemoveAside(fs, aside); !status.ok()) return status;
  if (absl::Status status = fs->CreateDir(aside); !status.ok()) return status;
  Manifest manifest;
  manifest.sequence = 1;
  manifest.chosen = options.shards_configured ? Manifest::Chosen::kConfigured : Manifest::Chosen::kDefaulted;
  manifest.databases = options.databases;
  manifest.shards.resize(options.shards);
  for (uint32_t shard = 0; shard < options.shards; ++shard) {
    if (absl::Status status = WriteFirstIncr(fs, aside, shard, options.shards); !status.ok()) return status;
    manifest.shards[shard].incrs = {{1, 0}};
  }
  const std::string manifest_path = JoinPath(aside, kManifestName);
  if (absl::Status status = fs->ReplaceFile(manifest_path, EncodeManifest(manifest)); !status.ok()) return status;
  if (absl::Status status = fs->Rename(aside, AppendDir(options)); !status.ok()) return status;
  if (absl::Status status = fs->SyncDir(options.dir); !status.ok()) return status;
  LOG(INFO) << AppendDir(options) << ": made a data set of " << options.shards << " shards";
  return manifest;
}

void DieOfFailedSync(const std::string& why) {
  LOG(ERROR) << why << "; exiting, because appendfsync is always";
  google::FlushLogFiles(google::GLOG_INFO);
  _exit(1);
}

}  // namespace

LogSet::LogSet(const DataSetOptions& options)
    : options_(options), fs_(FileSystemOf(options)), dir_(AppendDir(options)) {}

LogSet::~LogSet() {
  Close().IgnoreError();  // logged where it happened
}

absl::StatusOr<std::unique_ptr<LogSet>> LogSet::Open(const DataSetOptions& options, const AofOptions& tuning) {
  if (absl::Status status = CheckPlace(options); !status.ok()) return status;
  std::unique_ptr<LogSet> set(new LogSet(options));
  absl::StatusOr<std::unique_ptr<FileLock>> lock = set->fs_->Lock(LockPath(options));
  if (absl::IsFailedPrecondition(lock.status())) return InUse(options);
  if (!lock.ok()) return lock.status();
  set->lock_ = *std::move(lock);
  absl::StatusOr<std::optional<Manifest>> manifest = LoadManifest(options);
  if (!manifest.ok()) return manifest.status();
  if (manifest->has_value()) {
    set->manifest_ = **std::move(manifest);
  } else {
    absl::StatusOr<Manifest> made = CreateDataSet(options);
    if (!made.ok()) return made.status();
    set->manifest_ = *std::move(made);
  }
  const size_t count = set->manifest_.shards.size();
  if (count != options.shards) {
    LOG(WARNING) << set->dir_ << ": the data set has " << count << " shards; storage-shards " << options.shards
                 << (options.shards_configured ? "" : " (the default)") << " is ignored";
  }
  AofOptions log_options = tuning;
  log_options.fsync = options.fsync;
  log_options.buffer_limit = options.log_buffer_limit;
  log_options.on_progress = options.on_progress;
  log_options.on_fatal = options.on_fatal ? options.on_fatal : DieOfFailedSync;
  for (size_t shard = 0; shard < count; ++shard) {
    log_options.shard = static_cast<uint32_t>(shard);
    set->logs_.push_back(std::make_unique<AofLog>(log_options));
  }
  return set;
}

absl::Status LogSet::Check(const DataSetOptions& options) {
  if (absl::Status status = CheckPlace(options); !status.ok()) return status;
  FileSystem* const fs = FileSystemOf(options);
  const absl::StatusOr<bool> locked = fs->IsLocked(LockPath(options));
  if (!locked.ok()) return locked.status();
  if (*locked) return InUse(options);
  const absl::StatusOr<std::optional<Manifest>> manifest = LoadManifest(options);
  if (!manifest.ok()) return manifest.status();
  if (!manifest->has_value()) return absl::OkStatus();
  return InParallel(static_cast<uint32_t>((*manifest)->shards.size()), [&](uint32_t shard) {
    return RecoverShard(fs, AppendDir(options), **manifest, shard, nullptr).status();
  });
}

absl::Status LogSet::Recover(const std::function<RecordSink*(uint32_t shard)>& sink_of) {
  CHECK(!open_);
  const auto started = std::chrono::steady_clock::now();
  const uint32_t count = shard_count();
  std::vector<ShardRecovery> found(count);
  absl::Status status = InParallel(count, [&](uint32_t shard) -> absl::Status {
    absl::StatusOr<ShardRecovery> recovery = RecoverShard(fs_, dir_, manifest_, shard, sink_of(shard));
    if (!recovery.ok()) return recovery.status();
    found[shard] = *std::move(recovery);
    return absl::OkStatus();
  });
  if (!status.ok()) return status;

  std::vector<AofFile> files(count);
  Manifest next = manifest_;
  next.databases = options_.databases;
  status = InParallel(count, [&](uint32_t shard) {
    Manifest::Shard& entry = next.shards[shard];
    entry.history = std::move(found[shard].history);
    if (entry.history.size() == kMaxReigns) entry.history.erase(entry.history.begin());
    entry.history.emplace_back();
    const absl::Status begun = BeginReign(shard, found[shard], &files[shard], &entry.history.back());
    entry.durable = files[shard].end;
    return begun;
  });
  if (!status.ok()) return status;
  if (status = WriteManifest(std::move(next)); !status.ok()) return status;

  for (uint32_t shard = 0; shard < count; ++shard) {
    const ShardRecovery& recovery = found[shard];
    report_.shards.push_back(
        {.records = recovery.records, .bytes = recovery.bytes, .cut_bytes = recovery.cut_bytes, .end = recovery.end});
    logs_[shard]->Start(std::move(files[shard]));
  }
  open_ = true;
  report_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  return absl::OkStatus();
}

// Cuts the torn tail, makes what was read durable (the process that wrote it may have been killed before its sync),
// then starts a reign with a record of its own and makes that durable too.
absl::Status LogSet::BeginReign(uint32_t shard, const ShardRecovery& recovery, AofFile* file, Reign* reign) {
  absl::StatusOr<std::unique_ptr<File>> opened = fs_->Open(recovery.path, FileSystem::Mode::kWrite);
  if (!opened.ok()) return opened.status();
  file->file = *std::move(opened);
  if (recovery.cut_bytes > 0) {
    LOG(WARNING) << "shard " << shard << ": " << recovery.path << ": cutting a torn tail of " << recovery.cut_bytes
                 << " bytes at offset " << recovery.size << " (LSN " << recovery.end << "): " << recovery.cut_reason;
    if (absl::Status status = file->file->Truncate(recovery.size); !status.ok()) return status;
  }
  if (absl::Status status = file->file->Sync(); !status.ok()) return status;
  *reign = NewReign(0, recovery.end);
  std::string bytes;
  if (recovery.marked != recovery.end) {
    bytes.resize(kMarkSize);
    EncodeMark({.position = recovery.end, .durable = recovery.end, .salt = recovery.salt}, bytes.data());
  }
  const std::string record = EncodeReignRecord(*reign, WallClock());
  bytes += record;
  if (absl::Status status = file->file->WriteAt(recovery.size, bytes); !status.ok()) return status;
  if (absl::Status status = file->file->Sync(); !status.ok()) return status;
  file->path = recovery.path;
  file->size = recovery.size + bytes.size();
  file->salt = recovery.salt;
  file->end = recovery.end + record.size();
  file->marked = recovery.end;
  return absl::OkStatus();
}

absl::Status LogSet::WriteManifest(Manifest next) {
  next.sequence = manifest_.sequence + 1;
  if (absl::Status status = fs_->ReplaceFile(JoinPath(dir_, kManifestName), EncodeManifest(next)); !status.ok()) {
    return status;
  }
  manifest_ = std::move(next);
  return absl::OkStatus();
}

DataSet::Stats LogSet::stats() const {
  DataSet::Stats stats;
  stats.enabled = true;
  for (const std::unique_ptr<AofLog>& log : logs_) {
    if (!log->started()) continue;
    const AofWriter::Counters counters = log->writer().counters();
    stats.current_size += counters.file_size;
    stats.pending_bytes += log->pending_bytes();
    stats.delayed_fsync += counters.delayed_fsync;
    stats.write_errors += counters.write_errors;
    stats.fsync_errors += counters.fsync_errors;
    stats.fsyncs += counters.fsyncs;
    stats.writes += counters.writes;
    stats.last_write_ok = stats.last_write_ok && log->writer().state() == AofWriter::State::kOk;
  }
  return stats;
}

absl::Status LogSet::Close() {
  if (!open_) return absl::OkStatus();
  open_ = false;
  // All are asked first, so that they drain at the same time.
  for (const std::unique_ptr<AofLog>& log : logs_) log->writer().Stop();
  absl::Status result;
  Manifest next = manifest_;
  for (uint32_t shard = 0; shard < shard_count(); ++shard) {
    AofWriter& writer = logs_[shard]->writer();
    result.Update(writer.Join());
    next.shards[shard].durable = writer.durable();
  }
  // What is known to be on disk is written down even if one log failed: it is true for each by itself.
  if (absl::Status status = WriteManifest(std::move(next)); !status.ok()) {
    LOG(ERROR) << "closing " << dir_ << ": " << status.message();
    result.Update(status);
  }
  lock_.reset();
  return result;
}

}  // namespace skein::storage
