#include "ops/aof_tool/salvage.h"

#include "storage/recovery.h"

namespace skein::ops {

absl::StatusOr<Salvaged> Salvage(const Tool& tool, const Folder& folder) {
  const storage::Manifest& manifest = *folder.manifest;
  const auto count = static_cast<uint32_t>(manifest.shards.size());
  Salvaged salvaged;
  salvaged.problems.resize(count);
  storage::ShardOptions options;
  options.count = count;
  options.databases = manifest.databases;
  for (uint32_t i = 0; i < count; ++i) {
    options.index = i;
    salvaged.shards.push_back(std::make_unique<storage::Shard>(options, nullptr));
  }
  Progress progress(tool.console, "reading", ListedBytes(tool.fs, folder.path, manifest));
  const absl::Status status = storage::InParallel(count, [&](uint32_t i) -> absl::Status {
    storage::ShardSink sink(salvaged.shards[i].get());
    const absl::Status read = storage::RecoverShard(tool.fs, folder.path, manifest, i, &sink, [&](uint64_t bytes) {
                                progress.Advance(bytes);
                              }).status();
    sink.LoadEnd();  // what a damaged base had delivered
    if (!read.ok() && ExitCode(read) != kRefused) return read;
    if (!read.ok()) salvaged.problems[i] = Message(read);
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  for (const std::unique_ptr<storage::Shard>& shard : salvaged.shards) {
    for (uint32_t db = 0; db < shard->databases(); ++db) salvaged.keys += shard->KeyCount(db);
  }
  return salvaged;
}

}  // namespace skein::ops
