#include "storage/data_set.h"

#include <utility>

#include "glog/logging.h"
#include "storage/background_free.h"
#include "storage/data_set_saver.h"
#include "storage/file.h"
#include "storage/log_set.h"
#include "storage/manifest.h"

namespace skein::storage {
namespace {

class ShardSink : public RecordSink {
 public:
  explicit ShardSink(Shard* shard) : shard_(shard) {}
  absl::Status Apply(uint32_t db, UnixMillis time, std::string_view body) override {
    return shard_->ApplyRecord(db, time, body);
  }

 private:
  Shard* const shard_;
};

class DataSetImpl : public DataSet {
 public:
  // `logs` may be null.
  DataSetImpl(const DataSetOptions& options, std::unique_ptr<LogSet> logs)
      : logs_(std::move(logs)), saver_(options, logs_.get()) {
    ShardOptions shard_options;
    shard_options.count = logs_ != nullptr ? logs_->shard_count() : options.shards;
    shard_options.databases = options.databases;
    shard_options.background_free = &background_free_;
    for (uint32_t i = 0; i < shard_options.count; ++i) {
      shard_options.index = i;
      shards_.push_back(std::make_unique<Shard>(shard_options, logs_ != nullptr ? &logs_->log(i) : nullptr));
    }
    report_.shards.resize(shard_options.count);
  }

  absl::Status Recover() {
    std::vector<ShardSink> sinks;
    for (const std::unique_ptr<Shard>& shard : shards_) {
      // A record of the log has been decided already: a key that is past its time goes when its DEL comes.
      shard->set_decides_expiry(false);
      sinks.emplace_back(shard.get());
    }
    if (absl::Status status = logs_->Recover([&](uint32_t i) { return &sinks[i]; }); !status.ok()) return status;
    for (const std::unique_ptr<Shard>& shard : shards_) shard->set_decides_expiry(true);
    report_ = logs_->report();
    for (uint32_t i = 0; i < shard_count(); ++i) {
      const RecoveryReport::PerShard& found = report_.shards[i];
      LOG(INFO) << "shard " << i << ": replayed " << found.records << " records, " << found.bytes
                << " bytes, up to LSN " << found.end;
    }
    return absl::OkStatus();
  }

  uint32_t shard_count() const override { return static_cast<uint32_t>(shards_.size()); }
  Shard& shard(uint32_t i) override { return *shards_[i]; }
  const RecoveryReport& report() const override { return report_; }
  void BeginServing(RunOnShard run_on_shard) override { saver_.Begin(shard_count(), std::move(run_on_shard)); }
  void EndServing() override { saver_.End(); }
  Saver* saver() override { return saver_.saver(); }
  absl::Status SaveNow() override {
    std::vector<Shard*> shards;
    for (const std::unique_ptr<Shard>& shard : shards_) shards.push_back(shard.get());
    return saver_.SaveNow(shards);
  }
  Stats stats() const override { return logs_ != nullptr ? logs_->stats() : Stats(); }
  absl::Status Close() override { return logs_ != nullptr ? logs_->Close() : absl::OkStatus(); }

 private:
  RecoveryReport report_;
  std::unique_ptr<LogSet> logs_;    // outlives the shards
  BackgroundFree background_free_;  // likewise: their last jobs run in its destructor
  std::vector<std::unique_ptr<Shard>> shards_;
  DataSetSaver saver_;  // ends before the shards and logs go
};

absl::Status CheckWithoutLogs(const DataSetOptions& options) {
  if (options.shards == 0 || options.shards > kMaxShards) {
    return absl::FailedPreconditionError("storage-shards must be 1 to " + std::to_string(kMaxShards));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<DataSet>> DataSet::Open(const DataSetOptions& options) {
  if (!options.append_only) {
    if (absl::Status status = CheckWithoutLogs(options); !status.ok()) return status;
    FileSystem* const fs = options.fs != nullptr ? options.fs : RealFileSystem();
    const std::string manifest = JoinPath(JoinPath(options.dir, options.append_dir), kManifestName);
    if (const absl::StatusOr<bool> exists = fs->Exists(manifest); exists.ok() && *exists) {
      LOG(WARNING) << manifest
                   << ": there is a data set here, which is neither read nor changed, because appendonly is no; "
                   << "this node starts empty";
    }
    return std::make_unique<DataSetImpl>(options, nullptr);
  }
  absl::StatusOr<std::unique_ptr<LogSet>> logs = LogSet::Open(options);
  if (!logs.ok()) return logs.status();
  auto set = std::make_unique<DataSetImpl>(options, *std::move(logs));
  if (absl::Status status = set->Recover(); !status.ok()) return status;
  return set;
}

absl::Status DataSet::Check(const DataSetOptions& options) {
  return options.append_only ? LogSet::Check(options) : CheckWithoutLogs(options);
}

}  // namespace skein::storage
