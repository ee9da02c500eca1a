#include "storage/export.h"

#include "storage/layout_writer.h"
#include "storage/runbook.h"

namespace skein::storage {

absl::StatusOr<ExportReport> Export(const ExportOptions& options) {
  FileSystem* const fs = options.place.fs != nullptr ? options.place.fs : RealFileSystem();
  const absl::StatusOr<bool> exists = fs->Exists(options.path);
  if (!exists.ok()) return exists.status();
  if (*exists) {
    return absl::FailedPreconditionError(options.path + ": exists already; choose another name" +
                                         SeeRunbook("back-to-redis"));
  }
  const absl::StatusOr<OfflineData> data = LoadOffline(options.place, options.progress);
  if (!data.ok()) return data.status();
  ExportReport report;
  for (const ShardRecovery& found : data->found) report.cut_bytes += found.cut_bytes;
  for (const std::unique_ptr<Shard>& shard : data->shards) {
    for (uint32_t db = 0; db < shard->databases(); ++db) report.keys += shard->KeyCount(db);
  }
  LayoutWriterOptions writer;
  writer.databases = data->manifest.databases;
  writer.compress = options.compress;
  writer.progress = options.progress;
  const absl::StatusOr<uint64_t> bytes = WritePlainRdb(fs, options.path, data->shards, writer);
  if (!bytes.ok()) return bytes.status();
  report.bytes = *bytes;
  return report;
}

}  // namespace skein::storage
