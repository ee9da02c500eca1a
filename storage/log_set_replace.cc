// What replication changes in the files of an open data set: a shard replaced as a whole, reigns listed, files held.
#include <algorithm>
#include <chrono>
#include <utility>

#include "glog/logging.h"
#include "storage/aof_reader.h"
#include "storage/kill_point.h"
#include "storage/log_set.h"

namespace skein::storage {

void LogSet::BeginReplace(uint32_t shard) { changes_[shard]->replacing.store(true); }

absl::Status LogSet::Replace(uint32_t shard, const NewBase& base, Lsn lsn, std::vector<Reign> history,
                             UnixMillis latest, const std::function<bool()>& wanted) {
  const absl::Status status = ReplaceFiles(shard, base, lsn, std::move(history), latest, wanted);
  return status.ok() ? TakeInheritedPlace() : status;
}

absl::Status LogSet::ReplaceFiles(uint32_t shard, const NewBase& base, Lsn lsn, std::vector<Reign> history,
                                  UnixMillis latest, const std::function<bool()>& wanted) {
  const std::lock_guard<std::mutex> one_at_a_time(changes_[shard]->mutex);
  absl::StatusOr<std::shared_ptr<NewIncr>> made =
      wanted() ? MakeIncr(shard) : absl::StatusOr<std::shared_ptr<NewIncr>>(absl::CancelledError("cancelled"));
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
  KillPoint("reload.old-removed");
  const std::lock_guard<std::mutex> lock(sizes_mutex_);
  sizes_[shard] = {.incrs = {}, .base = size, .after_rewrite = size + logs_[shard]->writer().counters().file_size};
  return absl::OkStatus();
}

// ---- Cutting a loser's log -----------------------------------------------------------------------------------------

absl::Status LogSet::CanCut(uint32_t shard, Lsn lsn) const {
  const Manifest::Shard listed = store_->Get(shard);
  const Lsn base = listed.base.has_value() ? listed.base->lsn : 0;
  if (base <= lsn && listed.incrs.front().lsn <= lsn) return absl::OkStatus();
  return absl::NotFoundError("shard " + std::to_string(shard) + " has no base at or below LSN " + std::to_string(lsn));
}

// Finds where `lsn` is in the file that holds it, having read that file up to there.
absl::StatusOr<std::unique_ptr<AofReader>> LogSet::FindCut(uint32_t shard, const Manifest::FileRef& incr, Lsn lsn) {
  const std::string path = IncrPath(shard, incr.sequence);
  absl::StatusOr<std::unique_ptr<File>> file = fs_->Open(path, FileSystem::Mode::kRead);
  if (!file.ok()) return file.status();
  absl::StatusOr<std::unique_ptr<AofReader>> reader = AofReader::Open(*std::move(file), path);
  if (!reader.ok()) return reader.status();
  while ((*reader)->lsn() < lsn) {
    const absl::StatusOr<AofReader::Found> found = (*reader)->Next();
    if (!found.ok()) return found.status();
    if (*found == AofReader::Found::kRecord) continue;
    return absl::DataLossError((*reader)->Describe("the log does not reach LSN " + std::to_string(lsn)));
  }
  if ((*reader)->lsn() == lsn) return reader;
  return absl::InvalidArgumentError((*reader)->Describe("no record starts at LSN " + std::to_string(lsn)));
}

absl::Status LogSet::Cut(uint32_t shard, Lsn lsn, RecordSink* sink) {
  const absl::Status status = CutFiles(shard, lsn, sink);
  return status.ok() ? TakeInheritedPlace() : status;
}

absl::Status LogSet::CutFiles(uint32_t shard, Lsn lsn, RecordSink* sink) {
  const std::lock_guard<std::mutex> one_at_a_time(changes_[shard]->mutex);
  if (absl::Status status = CanCut(shard, lsn); !status.ok()) return status;
  AofWriter& writer = logs_[shard]->writer();
  if (absl::Status status = writer.WaitWritten(lsn, writer.life()); !status.ok()) return status;
  const Manifest::Shard before = store_->Get(shard);
  Manifest::Shard after = before;
  while (after.incrs.size() > 1 && after.incrs.back().lsn >= lsn) after.incrs.pop_back();
  const Manifest::FileRef last = after.incrs.back();
  const absl::StatusOr<std::unique_ptr<AofReader>> cut = FindCut(shard, last, lsn);
  if (!cut.ok()) return cut.status();
  std::vector<Reign> history = HistoryUpTo(shard, lsn);
  const auto list = [&](Manifest* next) {
    after.durable = lsn;
    after.history = history;
    next->shards[shard] = after;
    return absl::OkStatus();
  };
  FileChange change;
  change.begin = [&, this](Lsn at) -> absl::StatusOr<AofFile> {
    AofFile file;
    file.path = IncrPath(shard, last.sequence);
    absl::StatusOr<std::unique_ptr<File>> opened = fs_->Open(file.path, FileSystem::Mode::kWrite);
    if (!opened.ok()) return opened.status();
    file.file = *std::move(opened);
    file.size = (*cut)->offset();
    file.salt = (*cut)->header().salt;
    file.end = at;
    file.marked = (*cut)->marked();
    // What is to be listed as durable.
    if (absl::Status status = file.file->Sync(); !status.ok()) return status;
    // The list first: the file may hold more than it says, never less.
    if (absl::Status status = store_->Edit(list); !status.ok()) return status;
    KillPoint("cut.listed");
    if (absl::Status status = file.file->Truncate(file.size); !status.ok()) return status;
    KillPoint("cut.truncated");
    if (absl::Status status = file.file->Sync(); !status.ok()) return status;
    KillPoint("cut.synced");
    return file;
  };
  if (absl::Status status = logs_[shard]->Restart(lsn, history, 0, std::move(change)); !status.ok()) return status;
  RemoveUnlisted(shard, before, after);
  {
    const std::lock_guard<std::mutex> lock(sizes_mutex_);
    sizes_[shard].incrs.clear();
  }
  LearnSizes();
  const absl::StatusOr<ShardRecovery> left = RecoverShard(fs_, dir(), store_->Get(), shard, sink);
  if (!left.ok()) return left.status();
  logs_[shard]->set_latest(left->latest);
  changes_[shard]->replacing.store(false);
  return absl::OkStatus();
}

// ---- Replicas ------------------------------------------------------------------------------------------------------

void LogSet::SetReplicated(uint32_t shard, std::optional<Lsn> durable) {
  {
    const std::lock_guard<std::mutex> lock(replicated_mutex_);
    replicated_[shard] = durable;
  }
  replicated_changed_.notify_all();
}

void LogSet::AwaitReplicated(uint32_t shard, Lsn lsn, const std::function<bool()>& cancelled) {
  constexpr std::chrono::seconds kPatience(10);
  std::unique_lock<std::mutex> lock(replicated_mutex_);
  replicated_changed_.wait_for(
      lock, kPatience, [&] { return !replicated_[shard].has_value() || *replicated_[shard] >= lsn || cancelled(); });
}

void LogSet::WakeReplicated() {
  // Empty on purpose: a waiter is either before its look at what has changed, or waits already.
  { const std::lock_guard<std::mutex> lock(replicated_mutex_); }
  replicated_changed_.notify_all();
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
  return JoinPath(dir(), IncrName(shard, sequence));
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
