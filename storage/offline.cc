#include "storage/offline.h"

#include <mutex>
#include <utility>

#include "storage/data_set.h"
#include "storage/layout.h"
#include "storage/runbook.h"

namespace skein::storage {

absl::StatusOr<OfflineData> LoadOffline(const OfflinePlace& place, const OfflineProgress& progress) {
  DataSetOptions options;
  options.dir = place.dir;
  options.append_dir = place.append_dir;
  options.fs = place.fs;
  options.databases = kMaxDatabases;  // as many as the manifest says
  if (absl::Status status = CheckPlace(options); !status.ok()) return status;
  OfflineData data;
  absl::StatusOr<std::unique_ptr<FileLock>> lock = LockFolder(options);
  if (!lock.ok()) return lock.status();
  data.lock = *std::move(lock);
  if (absl::Status status = FinishInterrupted(options); !status.ok()) return status;
  absl::StatusOr<std::optional<Manifest>> manifest = LoadManifest(options);
  if (!manifest.ok()) return manifest.status();
  if (!manifest->has_value()) {
    return absl::NotFoundError(AppendDir(options) + ": there is no data set; name the folder that holds one" +
                               SeeRunbook("missing-file"));
  }
  data.manifest = **std::move(manifest);
  const auto count = static_cast<uint32_t>(data.manifest.shards.size());
  data.found.resize(count);
  ShardOptions shard_options;
  shard_options.count = count;
  shard_options.databases = data.manifest.databases;
  for (uint32_t i = 0; i < count; ++i) {
    shard_options.index = i;
    data.shards.push_back(std::make_unique<Shard>(shard_options, nullptr));
  }
  FileSystem* const fs = FileSystemOf(options);
  const uint64_t total = progress ? SizeOfListed(fs, AppendDir(options), data.manifest) : 0;
  uint64_t done = 0;
  std::mutex mutex;
  const auto count_bytes = [&](uint64_t bytes) {
    const std::lock_guard<std::mutex> guard(mutex);
    done += bytes;
    progress("reading", done, total);
  };
  const absl::Status status = InParallel(count, [&](uint32_t i) -> absl::Status {
    ShardSink sink(data.shards[i].get());
    absl::StatusOr<ShardRecovery> found = RecoverShard(fs, AppendDir(options), data.manifest, i, &sink,
                                                       progress ? count_bytes : std::function<void(uint64_t)>());
    if (found.ok()) data.found[i] = *std::move(found);
    return found.status();
  });
  if (!status.ok()) return status;
  return data;
}

}  // namespace skein::storage
