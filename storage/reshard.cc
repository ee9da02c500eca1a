#include "storage/reshard.h"

#include <utility>

#include "storage/data_set.h"
#include "storage/flip.h"
#include "storage/kill_point.h"
#include "storage/layout.h"
#include "storage/layout_writer.h"
#include "storage/runbook.h"

namespace skein::storage {
namespace {

// Puts every key of `from` into the shard of its slot among `to`.
void Distribute(const Shard& from, std::vector<ShardSink>* to) {
  constexpr size_t kStep = 1024;
  for (uint32_t db = 0; db < from.databases(); ++db) {
    if (from.KeyCount(db) == 0) continue;
    uint64_t cursor = 0;
    do {
      cursor = from.Scan(db, cursor, kStep, kNoSlot, [&](const Entry& entry) {
        IntText scratch;
        // A sink takes whatever has been checked already.
        (*to)[KeySlot(entry.key()) % to->size()].Load(ItemOf(db, entry, &scratch)).IgnoreError();
      });
    } while (cursor != 0);
  }
}

}  // namespace

absl::StatusOr<ReshardReport> Reshard(const ReshardOptions& options) {
  if (options.to == 0 || options.to > kMaxShards) {
    return absl::FailedPreconditionError("the number of shards must be 1 to " + std::to_string(kMaxShards) +
                                         SeeRunbook("shard-count"));
  }
  DataSetOptions target;
  target.dir = options.target_dir.empty() ? options.place.dir : options.target_dir;
  target.append_dir = options.place.append_dir;
  target.fs = options.place.fs;
  FileSystem* const fs = FileSystemOf(target);
  const bool in_place = options.target_dir.empty() || options.target_dir == options.place.dir;
  std::unique_ptr<FileLock> target_lock;
  if (!in_place) {
    if (absl::Status status = CheckFree(target, "shard-count"); !status.ok()) return status;
    absl::StatusOr<std::unique_ptr<FileLock>> lock = LockFolder(target);
    if (!lock.ok()) return lock.status();
    target_lock = *std::move(lock);
  }
  absl::StatusOr<OfflineData> data = LoadOffline(options.place, options.progress);
  if (!data.ok()) return data.status();
  ReshardReport report;
  report.from = static_cast<uint32_t>(data->shards.size());
  report.to = options.to;
  if (report.from == report.to) {
    return absl::FailedPreconditionError(AppendDir(target) + ": has " + std::to_string(report.to) + " shards already" +
                                         SeeRunbook("shard-count"));
  }
  for (const ShardRecovery& found : data->found) report.cut_bytes += found.cut_bytes;

  std::vector<std::unique_ptr<Shard>> shards;
  std::vector<ShardSink> sinks;
  ShardOptions shard_options;
  shard_options.count = options.to;
  shard_options.databases = data->manifest.databases;
  sinks.reserve(options.to);
  for (uint32_t i = 0; i < options.to; ++i) {
    shard_options.index = i;
    shards.push_back(std::make_unique<Shard>(shard_options, nullptr));
    sinks.emplace_back(shards.back().get());
  }
  for (std::unique_ptr<Shard>& shard : data->shards) {
    Distribute(*shard, &sinks);
    shard.reset();  // so that no more than one shard is in memory twice
  }
  for (ShardSink& sink : sinks) sink.LoadEnd();
  for (const std::unique_ptr<Shard>& shard : shards) {
    for (uint32_t db = 0; db < shard->databases(); ++db) report.keys += shard->KeyCount(db);
  }

  const std::string fresh = AppendDir(target) + ".new";
  if (absl::Status status = RemoveAside(fs, fresh); !status.ok()) return status;
  if (absl::Status status = fs->CreateDir(fresh); !status.ok()) return status;
  std::vector<Move> moves;
  if (in_place) {
    const absl::StatusOr<std::string> kept = FreeName(fs, target.dir, target.append_dir, "resharded");
    if (!kept.ok()) return kept.status();
    moves = {{target.append_dir, *kept}};
    report.kept = JoinPath(target.dir, *kept);
  }
  if (absl::Status status = WriteMoves(fs, target.dir, target.append_dir, moves); !status.ok()) return status;
  KillPoint("layout.moves-listed");
  LayoutWriterOptions layout;
  layout.databases = data->manifest.databases;
  layout.chosen = Manifest::Chosen::kConfigured;
  layout.off = data->manifest.off;
  layout.progress = options.progress;
  const absl::StatusOr<Manifest> made = WriteLayout(fs, fresh, shards, layout);
  if (!made.ok()) return made.status();
  if (absl::Status status = Flip(fs, target.dir, target.append_dir); !status.ok()) return status;
  return report;
}

}  // namespace skein::storage
