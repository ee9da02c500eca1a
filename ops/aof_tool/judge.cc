#include "ops/aof_tool/judge.h"

#include <optional>
#include <utility>

#include "storage/layout.h"
#include "storage/shard.h"

namespace skein::ops {

using storage::Manifest;

namespace {

constexpr uint64_t kScratchBytes = 16u << 20;
constexpr int kTries = 3;  // when a running node changes the manifest under us

// Applies each record as a starting node would, to a shard that is emptied now and then: whether a record can be
// applied does not hang on what was applied before.
class ScratchSink : public storage::RecordSink {
 public:
  ScratchSink(const Manifest& manifest, uint32_t index)
      : shard_({.index = index,
                .count = static_cast<uint32_t>(manifest.shards.size()),
                .databases = manifest.databases,
                .background_free = nullptr},
               nullptr) {
    shard_.set_decides_expiry(false);
  }

  absl::Status Apply(uint32_t db, storage::UnixMillis time, std::string_view body) override {
    if (shard_.used_bytes() > kScratchBytes) {
      shard_.Begin(time);
      shard_.FlushAll(false);
      shard_.End();
      while (shard_.Housekeep()) {
      }
    }
    return shard_.ApplyRecord(db, time, body);
  }

 private:
  storage::Shard shard_;
};

}  // namespace

std::vector<ShardJudgement> JudgeShards(const Tool& tool, Folder* folder, const std::string& label) {
  for (int tries = 1;; ++tries) {
    const Manifest& manifest = *folder->manifest;
    std::vector<ShardJudgement> judgements(manifest.shards.size());
    {
      Progress progress(tool.console, label, ListedBytes(tool.fs, folder->path, manifest));
      const absl::Status all =
          storage::InParallel(static_cast<uint32_t>(judgements.size()), [&](uint32_t shard) -> absl::Status {
            ScratchSink sink(manifest, shard);
            absl::StatusOr<storage::ShardRecovery> recovery = storage::RecoverShard(
                tool.fs, folder->path, manifest, shard, &sink, [&](uint64_t bytes) { progress.Advance(bytes); });
            judgements[shard].status = recovery.status();
            if (recovery.ok()) judgements[shard].recovery = *std::move(recovery);
            return recovery.status();
          });
      if (all.ok() || !folder->in_use || tries == kTries) return judgements;
    }
    absl::StatusOr<std::optional<Manifest>> again = storage::LoadManifest(OptionsOf(tool, folder->place));
    if (!again.ok() || !again->has_value() || (*again)->sequence == manifest.sequence) return judgements;
    folder->manifest = **std::move(again);
  }
}

absl::Status FirstRefusal(const std::vector<ShardJudgement>& judgements) {
  for (const ShardJudgement& judgement : judgements) {
    if (!judgement.status.ok()) return judgement.status;
  }
  return absl::OkStatus();
}

}  // namespace skein::ops
