#include "storage/import/import.h"

#include <utility>

#include "glog/logging.h"
#include "storage/flip.h"
#include "storage/import/aof_runner.h"
#include "storage/import/redis_manifest.h"
#include "storage/import/shard_loaders.h"
#include "storage/kill_point.h"
#include "storage/layout.h"
#include "storage/layout_writer.h"
#include "storage/rdb/decoder.h"
#include "storage/runbook.h"

namespace skein::storage {
namespace {

constexpr size_t kRdbHead = 16;

std::string RedisManifestPath(const DataSetOptions& options) {
  return JoinPath(AppendDir(options), options.append_file + ".manifest");
}

absl::StatusOr<bool> IsFile(FileSystem* fs, const std::string& path) {
  const absl::StatusOr<bool> exists = fs->Exists(path);
  if (!exists.ok() || !*exists) return exists;
  // A folder of that name is no file; whatever else keeps it from being listed will show when it is read.
  return !fs->List(path).ok();
}

absl::Status Damaged(const std::string& what) {
  return absl::DataLossError(what + "; put back an intact copy, or move it away to start without its data" +
                             SeeRunbook("from-redis"));
}

// The same for an RDB, which begins its messages with the path or not.
absl::Status OfRdb(const std::string& path, const absl::Status& status) {
  std::string message(status.message());
  if (!message.starts_with(path)) message = path + ": " + message;
  if (absl::IsDataLoss(status)) return Damaged(message);
  if (absl::IsUnimplemented(status) || absl::IsFailedPrecondition(status)) {
    return absl::FailedPreconditionError(message +
                                         "; remove it at its source and save again, or move the file away to "
                                         "start without its data" +
                                         SeeRunbook("from-redis"));
  }
  return status;
}

// What it has read is in the tables when it has gone.
class Loader : public RdbVisitor {
 public:
  // `now`: keys past their time then are left out; 0: none are.
  Loader(const DataSetOptions& options, UnixMillis now, const std::vector<std::unique_ptr<Shard>>& shards,
         ImportReport* report)
      : options_(options), now_(now), report_(report), shards_(shards.size()), loaders_(shards) {}
  absl::Status OnItem(const RdbItem& item) override {
    if (absl::Status status = CheckImportDatabase(options_, item.db); !status.ok()) return status;
    if (now_ != 0 && item.expire_at != kNoExpiry && item.expire_at < now_) {
      ++report_->expired;
      return absl::OkStatus();
    }
    ++report_->keys;
    loaders_.Add(static_cast<uint32_t>(KeySlot(item.key) % shards_), item);
    return absl::OkStatus();
  }

 private:
  const DataSetOptions& options_;
  const UnixMillis now_;
  ImportReport* const report_;
  const size_t shards_;
  ShardLoaders loaders_;
};

// Reads the RDB at the start of `file`; how long it is.
absl::StatusOr<uint64_t> LoadRdb(const DataSetOptions& options, File* file, const std::string& path, UnixMillis now,
                                 const std::vector<std::unique_ptr<Shard>>& shards, ImportReport* report) {
  Loader loader(options, now, shards, report);
  RdbDecoderOptions decoder;
  decoder.now = WallClock();
  decoder.verify_checksum = options.save.checksum;
  const absl::StatusOr<RdbInfo> info = ReadRdb(file, path, 0, decoder, &loader);
  if (!info.ok()) return OfRdb(path, info.status());
  return info->size;
}

// Reads one file of an append-only folder, or the single file: an RDB, commands, or one after the other.
absl::Status LoadAof(const DataSetOptions& options, const std::string& path, bool last,
                     const std::vector<std::unique_ptr<Shard>>& shards, ImportReport* report) {
  FileSystem* const fs = FileSystemOf(options);
  absl::StatusOr<std::unique_ptr<File>> file = fs->Open(path, FileSystem::Mode::kRead);
  if (absl::IsNotFound(file.status())) return Damaged(path + ": is missing, but the manifest beside it lists it");
  if (!file.ok()) return file.status();
  char head[kRdbHead];
  const absl::StatusOr<size_t> got = (*file)->ReadAt(0, head, sizeof(head));
  if (!got.ok()) return got.status();
  uint64_t offset = 0;
  if (LooksLikeRdb({head, *got})) {
    // Keys past their time stay: the commands that follow were written while they were there.
    const absl::StatusOr<uint64_t> size = LoadRdb(options, file->get(), path, 0, shards, report);
    if (!size.ok()) return size.status();
    offset = *size;
  }
  std::vector<Shard*> pointers;
  for (const std::unique_ptr<Shard>& shard : shards) pointers.push_back(shard.get());
  return AofRunner(options, std::move(pointers), report).Run(file->get(), path, offset, last);
}

absl::Status LoadFolder(const DataSetOptions& options, const std::string& path,
                        const std::vector<std::unique_ptr<Shard>>& shards, ImportReport* report) {
  const absl::StatusOr<std::string> text = FileSystemOf(options)->ReadFile(path, kMaxRedisManifest);
  if (!text.ok()) return text.status();
  const absl::StatusOr<RedisManifest> manifest = ParseRedisManifest(*text);
  if (!manifest.ok()) return Damaged(path + ": is corrupt: " + std::string(manifest.status().message()));
  std::vector<std::string> names = manifest->incrs;
  if (manifest->base.has_value()) names.insert(names.begin(), *manifest->base);
  for (size_t i = 0; i < names.size(); ++i) {
    const std::string file = JoinPath(AppendDir(options), names[i]);
    if (absl::Status status = LoadAof(options, file, i + 1 == names.size(), shards, report); !status.ok()) {
      return status;
    }
  }
  return absl::OkStatus();
}

std::string Summary(const ImportReport& report) {
  std::string text = std::to_string(report.keys) + " keys and " + std::to_string(report.commands) + " commands";
  if (report.expired > 0) text += "; " + std::to_string(report.expired) + " keys were past their time";
  return text;
}

}  // namespace

absl::StatusOr<std::optional<ImportSource>> FindImport(const DataSetOptions& options) {
  using None = std::optional<ImportSource>;
  FileSystem* const fs = FileSystemOf(options);
  const absl::StatusOr<std::vector<std::string>> names = fs->List(AppendDir(options));
  if (!names.ok() && !absl::IsNotFound(names.status())) return names.status();
  if (names.ok() && !names->empty()) {
    for (const std::string& name : *names) {
      if (name == kManifestName) return None();
    }
    const std::string manifest = RedisManifestPath(options);
    const absl::StatusOr<bool> redis = IsFile(fs, manifest);
    if (!redis.ok()) return redis.status();
    if (!*redis) return None();  // the refusal of a folder without a manifest
    return None({ImportSource::Kind::kFolder, options.append_dir, manifest});
  }
  for (const auto& [kind, name] : {std::pair(ImportSource::Kind::kSingleFile, options.append_file),
                                   std::pair(ImportSource::Kind::kRdb, options.save.rdb_name)}) {
    if (name.empty()) continue;
    const std::string path = JoinPath(options.dir, name);
    const absl::StatusOr<bool> there = IsFile(fs, path);
    if (!there.ok()) return there.status();
    if (*there) return None({kind, name, path});
  }
  return None();
}

absl::Status CheckImportDatabase(const DataSetOptions& options, uint64_t db) {
  if (db >= options.databases) {
    return absl::FailedPreconditionError("the data is in database " + std::to_string(db) + ", but databases is " +
                                         std::to_string(options.databases) + ": set it to more than " +
                                         std::to_string(db));
  }
  if (options.import_databases != 0 && db >= options.import_databases) {
    return absl::FailedPreconditionError("the data is in database " + std::to_string(db) +
                                         ", but with cluster-enabled yes there is database 0 only");
  }
  return absl::OkStatus();
}

std::vector<std::unique_ptr<Shard>> ScratchShards(const DataSetOptions& options, uint32_t count) {
  std::vector<std::unique_ptr<Shard>> shards;
  ShardOptions shard_options;
  shard_options.count = count;
  shard_options.databases = options.databases;
  for (uint32_t i = 0; i < count; ++i) {
    shard_options.index = i;
    shards.push_back(std::make_unique<Shard>(shard_options, nullptr));
    shards.back()->set_decides_expiry(false);
  }
  return shards;
}

absl::StatusOr<ImportReport> ReadRdbFile(const DataSetOptions& options, const std::string& path, UnixMillis now,
                                         const std::vector<std::unique_ptr<Shard>>& shards) {
  ImportReport report;
  absl::StatusOr<std::unique_ptr<File>> file = FileSystemOf(options)->Open(path, FileSystem::Mode::kRead);
  if (!file.ok()) return file.status();
  const absl::StatusOr<uint64_t> size = LoadRdb(options, file->get(), path, now, shards, &report);
  if (!size.ok()) return size.status();
  return report;
}

absl::StatusOr<ImportReport> ReadImport(const DataSetOptions& options, const ImportSource& source,
                                        const std::vector<std::unique_ptr<Shard>>& shards) {
  ImportReport report;
  absl::Status status;
  switch (source.kind) {
    case ImportSource::Kind::kFolder:
      status = LoadFolder(options, source.path, shards, &report);
      break;
    case ImportSource::Kind::kSingleFile:
      status = LoadAof(options, source.path, /*last=*/true, shards, &report);
      break;
    case ImportSource::Kind::kRdb:
      return ReadRdbFile(options, source.path, WallClock(), shards);
  }
  if (!status.ok()) return status;
  return report;
}

absl::Status Convert(const DataSetOptions& options, const ImportSource& source) {
  FileSystem* const fs = FileSystemOf(options);
  const std::string fresh = AppendDir(options) + ".new";
  LOG(WARNING) << source.path << ": found data of Redis or Valkey and no data set of Skein's: taking it in";
  if (source.kind == ImportSource::Kind::kRdb) {
    LOG(WARNING) << source.path << ": with appendonly yes redis-server would not have read this file and started empty";
  }
  if (absl::Status status = RemoveAside(fs, fresh); !status.ok()) return status;
  const std::vector<std::unique_ptr<Shard>> shards = ScratchShards(options, options.shards);
  const absl::StatusOr<ImportReport> report = ReadImport(options, source, shards);
  if (!report.ok()) return report.status();
  if (!report->cut.empty()) LOG(WARNING) << report->cut;
  const absl::StatusOr<std::string> aside = FreeName(fs, options.dir, source.name, "imported");
  if (!aside.ok()) return aside.status();
  if (absl::Status status = fs->CreateDir(fresh); !status.ok()) return status;
  if (absl::Status status = WriteMoves(fs, options.dir, options.append_dir, {{source.name, *aside}}); !status.ok()) {
    return status;
  }
  KillPoint("layout.moves-listed");
  LayoutWriterOptions layout;
  layout.databases = options.databases;
  layout.chosen = options.shards_configured ? Manifest::Chosen::kConfigured : Manifest::Chosen::kDefaulted;
  layout.compress = options.save.compress;
  const absl::StatusOr<Manifest> made = WriteLayout(fs, fresh, shards, layout);
  if (!made.ok()) return made.status();
  if (absl::Status status = Flip(fs, options.dir, options.append_dir); !status.ok()) return status;
  LOG(WARNING) << AppendDir(options) << ": made a data set of " << shards.size() << " shards from " << source.path
               << " (" << Summary(*report) << "); the original is kept as " << JoinPath(options.dir, *aside);
  return absl::OkStatus();
}

}  // namespace skein::storage
