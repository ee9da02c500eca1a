// What replication changes in the files of an open data set: a shard replaced as a whole, reigns listed, files held.
#include <utility>

#include "glog/logging.h"
#include "storage/kill_point.h"
#include "storage/log_set.h"

namespace skein::storage {

void LogSet::BeginReplace(uint32_t shard) { changes_[shard]->replacing.store(true); }

absl::Status LogSet::Replace(uint32_t shard, const NewBase& base, Lsn lsn, std::vector<Reign> history,
                             UnixMillis latest, const std::function<bool()>& wanted) {
  const std::lock_guard<std::mutex> one_at_a_time(changes_[shard]->mutex);
  absl::StatusOr<std::shared_ptr<NewIncr>> made = MakeIncr(shard);
  if (!made.ok()) {
    RemoveLogged(base.path);
    return made.status();
  }
  const std::shared_ptr<NewIncr> incr = *std::move(made);
  KillPoint("reload.file-made");
  uint64_t size = 0;
  if (absl::Status status = MakeNameDurable(shard, base.path, &size); !status.ok()) {
    RemoveLogged(incr->path);
    RemoveLogged(base.path);
    return status;
  }
  KillPoint("reload.folder-synced");
  Manifest::Shard before, after;
  bool listing = false;
  FileChange change;
  change.begin = [&, this](Lsn at) -> absl::StatusOr<AofFile> {
    absl::StatusOr<AofFile> file = BeginIncr(incr.get(), at, history);
    if (!file.ok()) return file.status();
    if (!wanted()) return absl::CancelledError("cancelled");
    listing = true;
    const absl::Status listed = store_->Edit([&](Manifest* next) {
      Manifest::Shard& entry = next->shards[shard];
      before = entry;
      entry.base = {base.sequence, lsn};
      entry.incrs = {{incr->header.sequence, at}};
      entry.durable = at;
      entry.history = history;
      after = entry;
      return absl::OkStatus();
    });
    if (!listed.ok()) return listed;
    KillPoint("reload.listed");
    return file;
  };
  if (absl::Status status = logs_[shard]->Restart(lsn, history, latest, std::move(change)); !status.ok()) {
    // What may be listed stays: the next start finds the old state or the new one.
    if (!listing || store_->Settle().ok()) {
      RemoveLogged(incr->path);
      RemoveLogged(base.path);
    }
    return status;
  }
  KillPoint("reload.adopted");
  changes_[shard]->replacing.store(false);
  RemoveUnlisted(shard, before, after);
  const std::lock_guard<std::mutex> lock(sizes_mutex_);
  sizes_[shard] = {.incrs = {}, .base = size, .after_rewrite = size + logs_[shard]->writer().counters().file_size};
  return absl::OkStatus();
}

absl::Status LogSet::ListReigns(const std::vector<Lsn>& ends) {
  for (uint32_t shard = 0; shard < shard_count(); ++shard) logs_[shard]->writer().AskSync(ends[shard]);
  for (uint32_t shard = 0; shard < shard_count(); ++shard) {
    if (absl::Status status = WaitDurable(shard, ends[shard]); !status.ok()) return status;
  }
  KillPoint("promote.reigns-durable");
  const absl::Status listed = store_->Edit([&](Manifest* next) {
    for (uint32_t shard = 0; shard < shard_count(); ++shard) {
      if (ends[shard] == 0 || changes_[shard]->replacing.load()) continue;
      Manifest::Shard& entry = next->shards[shard];
      entry.durable = std::max(entry.durable, ends[shard]);
      entry.history = HistoryUpTo(shard, entry.durable);
    }
    return absl::OkStatus();
  });
  if (listed.ok()) KillPoint("promote.reigns-listed");
  return listed;
}

// ---- Holds ---------------------------------------------------------------------------------------------------------

std::string LogSet::IncrPath(uint32_t shard, uint64_t sequence) const {
  return JoinPath(dir_, IncrName(shard, sequence));
}

std::unique_ptr<LogSet::Hold> LogSet::HoldIncr(uint32_t shard, uint64_t sequence) {
  const std::lock_guard<std::mutex> lock(holds_mutex_);
  const Manifest::Shard listed = store_->Get(shard);
  for (const Manifest::FileRef& incr : listed.incrs) {
    if (incr.sequence != sequence) continue;
    ++holds_[{shard, sequence}].holds;
    return std::make_unique<Hold>(this, shard, sequence);
  }
  return nullptr;
}

bool LogSet::LeftToHolds(uint32_t shard, uint64_t sequence) {
  const std::lock_guard<std::mutex> lock(holds_mutex_);
  const auto held = holds_.find({shard, sequence});
  if (held == holds_.end()) return false;
  held->second.unlisted = true;
  return true;
}

void LogSet::Release(uint32_t shard, uint64_t sequence) {
  {
    const std::lock_guard<std::mutex> lock(holds_mutex_);
    const auto held = holds_.find({shard, sequence});
    if (--held->second.holds > 0) return;
    const bool unlisted = held->second.unlisted;
    holds_.erase(held);
    if (!unlisted) return;
  }
  RemoveInSteps(IncrPath(shard, sequence));
}

}  // namespace skein::storage
