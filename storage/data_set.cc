#include "storage/data_set.h"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <optional>
#include <utility>

#include "glog/logging.h"
#include "storage/background_free.h"
#include "storage/data_set_flows.h"
#include "storage/data_set_saver.h"
#include "storage/file.h"
#include "storage/flip.h"
#include "storage/import/import.h"
#include "storage/layout.h"
#include "storage/log_set.h"
#include "storage/log_switch.h"
#include "storage/manifest.h"
#include "storage/recovery.h"

namespace skein::storage {
namespace {

class DataSetImpl : public DataSet {
 public:
  // `logs` may be null.
  DataSetImpl(const DataSetOptions& options, std::unique_ptr<LogSet> logs)
      : options_(options), switch_(options, std::move(logs)), flows_(options, &switch_), saver_(options) {
    const std::shared_ptr<LogSet> now = switch_.logs();
    ShardOptions shard_options;
    shard_options.count = now != nullptr ? now->shard_count() : options.shards;
    shard_options.databases = options.databases;
    shard_options.background_free = &background_free_;
    for (uint32_t i = 0; i < shard_options.count; ++i) {
      shard_options.index = i;
      Log* const log = now != nullptr && !options.shards_inherited ? &now->log(i) : nullptr;
      shards_.push_back(std::make_unique<Shard>(shard_options, log));
      shards_.back()->set_loading(options.shards_inherited);
      if (options.shards_inherited) shards_.back()->set_decides_expiry(false);
    }
    report_.shards.resize(shard_options.count);
  }

  ~DataSetImpl() override { EndServing(); }

  absl::Status Recover() {
    std::vector<ShardSink> sinks;
    sinks.reserve(shards_.size());
    for (const std::unique_ptr<Shard>& shard : shards_) sinks.emplace_back(shard.get());
    const std::shared_ptr<LogSet> logs = switch_.logs();
    if (absl::Status status = logs->Recover([&](uint32_t i) { return &sinks[i]; }); !status.ok()) return status;
    for (const std::unique_ptr<Shard>& shard : shards_) shard->set_decides_expiry(!options_.follow);
    report_ = logs->report();
    for (uint32_t i = 0; i < shard_count(); ++i) {
      const RecoveryReport::PerShard& found = report_.shards[i];
      LOG(INFO) << "shard " << i << ": loaded " << found.keys << " keys of a base, replayed " << found.records
                << " records, " << found.bytes << " bytes, up to LSN " << found.end;
    }
    // ops/bench reads this line.
    LOG(INFO) << "data set loaded in " << report_.seconds << " seconds";
    return absl::OkStatus();
  }

  // Without logs: what the RDB file holds, if there is one.
  absl::Status LoadRdb(const DataSetOptions& options) {
    const std::string path = JoinPath(options.dir, options.save.rdb_name);
    const auto started = std::chrono::steady_clock::now();
    const absl::StatusOr<ImportReport> report = ReadRdbIfThere(options, path, shards_);
    if (!report.ok()) return report.status();
    for (const std::unique_ptr<Shard>& shard : shards_) shard->set_decides_expiry(!options_.follow);
    report_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    if (report->keys + report->expired > 0) {
      LOG(INFO) << path << ": loaded " << report->keys << " keys; " << report->expired << " were past their time";
      LOG(INFO) << "data set loaded in " << report_.seconds << " seconds";
    }
    return absl::OkStatus();
  }

  static absl::StatusOr<ImportReport> ReadRdbIfThere(const DataSetOptions& options, const std::string& path,
                                                     const std::vector<std::unique_ptr<Shard>>& shards) {
    if (options.save.rdb_name.empty()) return ImportReport();
    const absl::StatusOr<bool> there = FileSystemOf(options)->Exists(path);
    if (!there.ok()) return there.status();
    if (!*there) return ImportReport();
    return ReadRdbFile(options, path, WallClock(), shards);
  }

  uint32_t shard_count() const override { return static_cast<uint32_t>(shards_.size()); }
  uint32_t databases() const override { return options_.databases; }
  bool aside() const override {
    const std::shared_ptr<LogSet> logs = switch_.logs();
    return logs != nullptr && logs->aside();
  }
  std::shared_ptr<FileLock> lock() const override {
    const std::shared_ptr<LogSet> logs = switch_.logs();
    return logs != nullptr ? logs->lock() : nullptr;
  }
  Shard& shard(uint32_t i) override { return *shards_[i]; }
  const RecoveryReport& report() const override { return report_; }
  void GoOnFrom(DataSet& before) override {
    if (before.saver() != nullptr) saver_.GoOnFrom(before.saver()->status());
    {
      const std::lock_guard lock(stats_mutex_);
      stats_before_ = before.stats();
    }
    for (uint32_t i = 0; i < before.shard_count(); ++i) shards_[0]->AddExpiredKeys(before.shard(i).expired_keys());
  }
  void BeginServing(RunOnShard run_on_shard) override {
    saver_.Begin(AllShards(), run_on_shard, switch_.saver_logs());
    flows_.Begin(saver_.impl(), shard_count(), run_on_shard);
    switch_.Begin(saver_.impl(), std::move(run_on_shard));
  }
  void EndServing() override {
    flows_.End();
    saver_.End();
    switch_.End();
  }
  Flows* flows() override { return saver_.saver() == nullptr ? nullptr : &flows_; }
  Saver* saver() override { return saver_.saver(); }
  absl::Status SaveNow() override { return saver_.SaveNow(AllShards()); }
  void TurnOn(AppendFsync fsync, SwitchCallbacks callbacks) override { switch_.TurnOn(fsync, std::move(callbacks)); }
  void TurnOff(Done done) override { switch_.TurnOff(std::move(done)); }
  bool logged() const override { return switch_.logged(); }
  Stats stats() const override {
    const std::shared_ptr<LogSet> logs = switch_.logs();
    Stats stats = logs != nullptr ? logs->stats() : Stats();
    const std::lock_guard lock(stats_mutex_);
    stats.delayed_fsync += stats_before_.delayed_fsync;
    stats.write_errors += stats_before_.write_errors;
    stats.fsync_errors += stats_before_.fsync_errors;
    stats.fsyncs += stats_before_.fsyncs;
    stats.writes += stats_before_.writes;
    if (stats.last_error.empty()) stats.last_error = stats_before_.last_error;
    return stats;
  }
  void ResetStats() override {
    {
      const std::lock_guard lock(stats_mutex_);
      stats_before_.delayed_fsync = 0;
    }
    if (saver_.saver() != nullptr) saver_.saver()->ResetCounts();
    if (const std::shared_ptr<LogSet> logs = switch_.logs(); logs != nullptr) logs->ResetDelayed();
  }
  absl::Status Close() override {
    const std::shared_ptr<LogSet> logs = switch_.logs();
    return logs != nullptr ? logs->Close() : absl::OkStatus();
  }

 private:
  std::vector<Shard*> AllShards() {
    std::vector<Shard*> all;
    for (const std::unique_ptr<Shard>& shard : shards_) all.push_back(shard.get());
    return all;
  }

  const DataSetOptions options_;
  RecoveryReport report_;
  mutable std::mutex stats_mutex_;
  Stats stats_before_;              // of the data set that this one has replaced
  LogSwitch switch_;                // its logs outlive the shards
  DataSetFlows flows_;              // likewise
  BackgroundFree background_free_;  // likewise: their last jobs run in its destructor
  std::vector<std::unique_ptr<Shard>> shards_;
  DataSetSaver saver_;  // ends before the shards and logs go
};

absl::Status CheckOptions(const DataSetOptions& options) {
  if (options.shards == 0 || options.shards > kMaxShards) {
    return absl::FailedPreconditionError("storage-shards must be 1 to " + std::to_string(kMaxShards));
  }
  return absl::OkStatus();
}

absl::Status CheckWithoutLogs(const DataSetOptions& options) {
  if (absl::Status status = CheckOptions(options); !status.ok()) return status;
  const std::vector<std::unique_ptr<Shard>> shards = ScratchShards(options, options.shards);
  const std::string path = JoinPath(options.dir, options.save.rdb_name);
  return DataSetImpl::ReadRdbIfThere(options, path, shards).status();
}

// What has to be done to a folder before its data set can be opened: an interrupted change is finished, what Redis or
// Valkey left is converted.
absl::Status MakeReady(const DataSetOptions& options) {
  if (absl::Status status = CheckPlace(options); !status.ok()) return status;
  const absl::StatusOr<std::unique_ptr<FileLock>> lock = LockFolder(options);
  if (!lock.ok()) return lock.status();
  if (absl::Status status = FinishInterrupted(options); !status.ok()) return status;
  const absl::StatusOr<std::optional<ImportSource>> source = FindImport(options);
  if (!source.ok()) return source.status();
  return source->has_value() ? Convert(options, **source) : absl::OkStatus();
}

// Reads the data set in `dir`, as its manifest says, into shards that are thrown away.
absl::Status CheckFolder(const DataSetOptions& configured, const std::string& dir) {
  DataSetOptions options = configured;
  const absl::StatusOr<std::optional<Manifest>> manifest = LoadManifestFrom(dir, options);
  if (!manifest.ok()) return manifest.status();
  if (!manifest->has_value()) return absl::OkStatus();
  if (absl::Status status = CheckNotSwitchedOff(options, **manifest); !status.ok()) return status;
  options.databases = std::max(options.databases, (*manifest)->databases);
  const auto count = static_cast<uint32_t>((*manifest)->shards.size());
  const std::vector<std::unique_ptr<Shard>> shards = ScratchShards(options, count);
  return InParallel(count, [&](uint32_t i) {
    ShardSink sink(shards[i].get());
    const absl::StatusOr<ShardRecovery> recovery = RecoverShard(FileSystemOf(options), dir, **manifest, i, &sink);
    if (!recovery.ok()) return recovery.status();
    if (absl::Status status = TornTailMayGo(*recovery, options.load_truncated); !status.ok()) return status;
    return CheckAppendable(FileSystemOf(options), *recovery);
  });
}

absl::Status CheckWithLogs(const DataSetOptions& options) {
  if (absl::Status status = CheckPlace(options); !status.ok()) return status;
  if (absl::Status status = CheckLock(options); !status.ok()) return status;
  const absl::StatusOr<std::optional<std::vector<Move>>> pending =
      PendingFlip(FileSystemOf(options), options.dir, options.append_dir);
  if (!pending.ok()) return pending.status();
  if (pending->has_value()) return CheckFolder(options, AppendDir(options) + ".new");
  const absl::StatusOr<std::optional<ImportSource>> source = FindImport(options);
  if (!source.ok()) return source.status();
  if (!source->has_value()) return CheckFolder(options, AppendDir(options));
  return ReadImport(options, **source, ScratchShards(options, options.shards)).status();
}

}  // namespace

absl::StatusOr<std::unique_ptr<DataSet>> DataSet::Open(const DataSetOptions& options) {
  if (!options.append_only) {
    if (absl::Status status = CheckOptions(options); !status.ok()) return status;
    const std::string manifest = JoinPath(AppendDir(options), kManifestName);
    if (const absl::StatusOr<bool> exists = FileSystemOf(options)->Exists(manifest); exists.ok() && *exists) {
      LOG(WARNING) << manifest
                   << ": there is a data set here, which is neither read nor changed, because appendonly is no";
    }
    auto set = std::make_unique<DataSetImpl>(options, nullptr);
    if (absl::Status status = set->LoadRdb(options); !status.ok()) return status;
    return set;
  }
  if (absl::Status status = MakeReady(options); !status.ok()) return status;
  absl::StatusOr<std::unique_ptr<LogSet>> logs = LogSet::Open(options);
  if (!logs.ok()) return logs.status();
  DataSetOptions found = options;
  found.databases = (*logs)->databases();
  auto set = std::make_unique<DataSetImpl>(found, *std::move(logs));
  if (absl::Status status = set->Recover(); !status.ok()) return status;
  return set;
}

absl::StatusOr<std::unique_ptr<DataSet>> DataSet::OpenInherited(const DataSetOptions& options,
                                                                std::shared_ptr<FileLock> lock) {
  if (absl::Status status = CheckOptions(options); !status.ok()) return status;
  if (!options.append_only) return std::make_unique<DataSetImpl>(options, nullptr);
  absl::StatusOr<std::unique_ptr<LogSet>> logs = LogSet::OpenInherited(options, std::move(lock));
  if (!logs.ok()) return logs.status();
  return std::make_unique<DataSetImpl>(options, *std::move(logs));
}

absl::Status DataSet::Check(const DataSetOptions& options) {
  return options.append_only ? CheckWithLogs(options) : CheckWithoutLogs(options);
}

}  // namespace skein::storage
