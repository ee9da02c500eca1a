#include "storage/log_set.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "glog/logging.h"
#include "storage/kill_point.h"
#include "storage/layout.h"
#include "storage/runbook.h"

namespace skein::storage {
namespace {

void DieOfFailedSync(const std::string& why) {
  LOG(ERROR) << why << "; exiting, because appendfsync is always" << SeeRunbook("failed-sync");
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
  RemoveSuperseded(options);
  absl::StatusOr<std::optional<Manifest>> manifest = LoadManifest(options);
  if (!manifest.ok()) return manifest.status();
  if (manifest->has_value()) {
    if (absl::Status status = CheckNotSwitchedOff(options, **manifest); !status.ok()) return status;
  } else {
    absl::StatusOr<Manifest> made = CreateDataSet(options);
    if (!made.ok()) return made.status();
    *manifest = *std::move(made);
  }
  const size_t count = (*manifest)->shards.size();
  set->store_ = std::make_unique<ManifestStore>(set->fs_, set->dir_, **std::move(manifest));
  if (count != options.shards) {
    LOG(WARNING) << set->dir_ << ": the data set has " << count << " shards; storage-shards " << options.shards
                 << (options.shards_configured ? "" : " (the default)") << " is ignored";
  }
  set->MakeLogs(static_cast<uint32_t>(count), tuning);
  return set;
}

void LogSet::MakeLogs(uint32_t count, const AofOptions& tuning) {
  sizes_.resize(count);
  replicated_.resize(count);
  for (uint32_t shard = 0; shard < count; ++shard) changes_.push_back(std::make_unique<ShardChange>());
  AofOptions log_options = tuning;
  log_options.fsync = options_.fsync;
  log_options.buffer_limit = options_.log_buffer_limit;
  log_options.on_progress = options_.on_progress;
  log_options.on_durable = options_.on_durable;
  log_options.on_fatal = [this](const std::string& why) {
    if (aside()) return;
    options_.on_fatal ? options_.on_fatal(why) : DieOfFailedSync(why);
  };
  for (uint32_t shard = 0; shard < count; ++shard) {
    log_options.shard = shard;
    logs_.push_back(std::make_unique<AofLog>(log_options));
  }
}

absl::Status LogSet::Recover(const std::function<RecordSink*(uint32_t shard)>& sink_of) {
  CHECK(!open_);
  const auto started = std::chrono::steady_clock::now();
  const uint32_t count = shard_count();
  const Manifest manifest = store_->Get();
  std::vector<ShardRecovery> found(count);
  absl::Status status = InParallel(count, [&](uint32_t shard) -> absl::Status {
    absl::StatusOr<ShardRecovery> recovery = RecoverShard(fs_, dir_, manifest, shard, sink_of(shard));
    if (!recovery.ok()) return recovery.status();
    found[shard] = *std::move(recovery);
    return CheckAppendable(fs_, found[shard]);
  });
  for (const ShardRecovery& recovery : found) {
    if (status.ok()) status = TornTailMayGo(recovery, options_.load_truncated);
  }
  if (!status.ok()) return status;
  for (const ShardRecovery& recovery : found) {
    report_.shards.push_back({.keys = recovery.keys,
                              .records = recovery.records,
                              .bytes = recovery.bytes,
                              .cut_bytes = recovery.cut_bytes,
                              .end = recovery.end});
  }
  if (status = OpenLogs(std::move(found)); !status.ok()) return status;
  report_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  return absl::OkStatus();
}

absl::Status LogSet::OpenLogs(std::vector<ShardRecovery> found) {
  const uint32_t count = shard_count();
  std::vector<AofFile> files(count);
  Manifest next = store_->Get();
  next.databases = databases();
  absl::Status status = InParallel(count, [&](uint32_t shard) {
    Manifest::Shard& entry = next.shards[shard];
    entry.history = std::move(found[shard].history);
    absl::Status begun;
    if (inherits_ || (options_.follow && !aside())) {
      begun = OpenTail(shard, found[shard], &files[shard]);
    } else {
      if (entry.history.size() == kMaxReigns) entry.history.erase(entry.history.begin());
      entry.history.emplace_back();
      begun = BeginReign(shard, found[shard], &files[shard], &entry.history.back());
    }
    files[shard].history = entry.history;
    entry.durable = files[shard].end;
    return begun;
  });
  if (!status.ok()) return status;
  status = store_->Edit([&next](Manifest* edited) {
    *edited = std::move(next);
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  KillPoint("open.listed");
  RemoveLeftovers();
  KillPoint("open.leftovers-removed");
  LearnSizes();

  for (uint32_t shard = 0; shard < count; ++shard) logs_[shard]->Start(std::move(files[shard]));
  open_ = true;
  return absl::OkStatus();
}

absl::Status LogSet::OpenTail(uint32_t shard, const ShardRecovery& recovery, AofFile* file) {
  absl::StatusOr<std::unique_ptr<File>> opened = fs_->Open(recovery.path, FileSystem::Mode::kWrite);
  if (!opened.ok()) return opened.status();
  file->file = *std::move(opened);
  if (recovery.cut_bytes > 0) {
    LOG(WARNING) << "shard " << shard << ": " << recovery.path << ": cutting a torn tail of " << recovery.cut_bytes
                 << " bytes at offset " << recovery.size << " (LSN " << recovery.end << "): " << recovery.cut_reason;
    if (absl::Status status = file->file->Truncate(recovery.size); !status.ok()) return status;
    KillPoint("open.tail-cut");
  }
  // The process that wrote it may have been killed before its sync.
  if (absl::Status status = file->file->Sync(); !status.ok()) return status;
  KillPoint("open.tail-synced");
  file->path = recovery.path;
  file->size = recovery.size;
  file->salt = recovery.salt;
  file->end = recovery.end;
  file->marked = recovery.marked;
  file->latest = recovery.latest;
  return absl::OkStatus();
}

// Starts a reign with a record of its own and makes that durable.
absl::Status LogSet::BeginReign(uint32_t shard, const ShardRecovery& recovery, AofFile* file, Reign* reign) {
  if (absl::Status status = OpenTail(shard, recovery, file); !status.ok()) return status;
  *reign = NewReign(0, recovery.end);
  file->latest = std::max(recovery.latest, WallClock());
  std::string bytes;
  if (recovery.marked != recovery.end) {
    bytes.resize(kMarkSize);
    EncodeMark({.position = recovery.end, .durable = recovery.end, .salt = recovery.salt}, bytes.data());
  }
  const std::string record = EncodeReignRecord(*reign, file->latest);
  bytes += record;
  if (absl::Status status = file->file->WriteAt(recovery.size, bytes); !status.ok()) return status;
  KillPoint("open.reign-written");
  if (absl::Status status = file->file->Sync(); !status.ok()) return status;
  KillPoint("open.reign-synced");
  file->size = recovery.size + bytes.size();
  file->end = recovery.end + record.size();
  file->marked = recovery.end;
  return absl::OkStatus();
}

DataSet::Stats LogSet::stats() const {
  DataSet::Stats stats;
  stats.enabled = true;
  const std::lock_guard<std::mutex> lock(sizes_mutex_);
  for (size_t shard = 0; shard < logs_.size(); ++shard) {
    const AofLog& log = *logs_[shard];
    DataSet::Stats::PerShard& mine = stats.shards.emplace_back();
    if (!log.started()) continue;
    const AofWriter& writer = log.writer();
    const AofWriter::Counters counters = writer.counters();
    // In this order none is ahead of the next.
    mine.durable = log.durable();
    mine.written = log.written();
    mine.end = log.end();
    mine.ok = writer.state() == AofWriter::State::kOk;
    mine.incr_size = counters.file_size;
    for (const auto& [sequence, size] : sizes_[shard].incrs) mine.incr_size += size;
    mine.base_size = sizes_[shard].base;
    mine.size_after_rewrite = sizes_[shard].after_rewrite;
    stats.current_size += mine.incr_size;
    stats.base_size += mine.base_size;
    stats.pending_bytes += mine.end - mine.written;
    stats.delayed_fsync += counters.delayed_fsync;
    stats.write_errors += counters.write_errors;
    stats.fsync_errors += counters.fsync_errors;
    stats.fsyncs += counters.fsyncs;
    stats.writes += counters.writes;
    // Of several reasons, one that still holds.
    if (stats.last_error.empty() || (stats.last_write_ok && !mine.ok)) stats.last_error = writer.LastReason();
    stats.last_write_ok = stats.last_write_ok && mine.ok;
  }
  return stats;
}

absl::Status LogSet::Close() {
  if (!open_) return absl::OkStatus();
  open_ = false;
  // All are asked first, so that they drain at the same time.
  for (const std::unique_ptr<AofLog>& log : logs_) log->writer().Stop();
  absl::Status result;
  std::vector<Lsn> durable;
  for (const std::unique_ptr<AofLog>& log : logs_) {
    result.Update(log->writer().Join());
    durable.push_back(log->durable());
  }
  KillPoint("close.logs-ended");
  // What is known to be on disk is written down even if one log failed: it is true for each by itself.
  const absl::Status status = store_->Edit([&durable, this](Manifest* next) {
    for (uint32_t shard = 0; shard < durable.size(); ++shard) {
      // What the log says of a shard that was not replaced to the end is not about the files that are listed.
      if (changes_[shard]->replacing.load()) continue;
      next->shards[shard].durable = durable[shard];
      next->shards[shard].history = logs_[shard]->HistoryUpTo(durable[shard]);
    }
    return absl::OkStatus();
  });
  if (!status.ok()) {
    LOG(ERROR) << "closing " << dir_ << ": " << status.message();
    result.Update(status);
  }
  KillPoint("close.listed");
  if (aside() && dir() != AppendDir(options_)) {
    const absl::Status removed = RemoveAside(fs_, dir());
    if (!removed.ok()) LOG(WARNING) << "could not remove what is not needed any more: " << removed.message();
  }
  lock_.reset();
  return result;
}

}  // namespace skein::storage
