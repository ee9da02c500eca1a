// What changes the files of an open data set: rotations, new bases, the way back from a failed sync, removing what is
// not listed any more.
//
// Source: DESIGN "AOF", "Failed writes"; lessons L12, L17.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <set>
#include <thread>
#include <utility>

#include "glog/logging.h"
#include "storage/kill_point.h"
#include "storage/layout.h"
#include "storage/log_set.h"

namespace skein::storage {
namespace {

uint64_t RandomSalt() {
  const Reign random = NewReign(0, 0);
  uint64_t salt = 0;
  for (size_t i = 0; i < 8; ++i) salt = salt << 8 | random.id[i];
  return salt;
}

// Whether `name` is one that BaseName or IncrName makes, inside a shard's folder, or such a one being written.
bool IsOurs(std::string_view name) {
  if (name.ends_with(".tmp")) name.remove_suffix(4);
  if (name.starts_with("incr.") && name.ends_with(".aof")) {
    name.remove_prefix(5);
  } else if (name.starts_with("base.") && name.ends_with(".rdb")) {
    name.remove_prefix(5);
  } else {
    return false;
  }
  name.remove_suffix(4);
  uint64_t sequence = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), sequence);
  return error == std::errc() && end == name.data() + name.size() && std::to_string(sequence) == name;
}

absl::Status BeingReplaced(uint32_t shard) {
  return absl::FailedPreconditionError("shard " + std::to_string(shard) + " is being replaced by its primary's");
}

}  // namespace

std::vector<Reign> LogSet::HistoryUpTo(uint32_t shard, Lsn lsn) const { return logs_[shard]->HistoryUpTo(lsn); }

bool LogSet::NeedsRevival(uint32_t shard) {
  if (changes_[shard]->replacing.load() || !logs_[shard]->started() ||
      logs_[shard]->writer().state() != AofWriter::State::kPoisoned)
    return false;
  logs_[shard]->writer().Hold();
  return true;
}

// ---- New incr files ------------------------------------------------------------------------------------------------

absl::StatusOr<std::shared_ptr<LogSet::NewIncr>> LogSet::MakeIncr(uint32_t shard) {
  auto incr = std::make_shared<NewIncr>();
  FileHeader& header = incr->header;
  header.shard = shard;
  header.shard_count = shard_count();
  header.sequence = store_->NextSequence(shard);
  header.salt = RandomSalt();
  header.created = WallClock();
  // As far as it is certain to be in the file's head in the end: it only gets longer.
  header.history = HistoryUpTo(shard, logs_[shard]->written());
  incr->path = JoinPath(dir(), IncrName(shard, header.sequence));
  const auto make = [&]() -> absl::Status {
    absl::StatusOr<std::unique_ptr<File>> file = fs_->Open(incr->path, FileSystem::Mode::kReplace);
    if (!file.ok()) return file.status();
    incr->file = *std::move(file);
    if (absl::Status status = incr->file->WriteAt(0, EncodeFileHeader(header)); !status.ok()) return status;
    if (absl::Status status = incr->file->Sync(); !status.ok()) return status;
    return absl::OkStatus();
  };
  absl::Status status = make();
  if (status.ok()) return incr;
  if (incr->file != nullptr) RemoveLogged(incr->path);
  return status;
}

absl::StatusOr<AofFile> LogSet::BeginIncr(NewIncr* incr, Lsn at, std::vector<Reign> history) {
  incr->header.start_lsn = at;
  incr->header.history = std::move(history);
  const std::string bytes = EncodeFileHeader(incr->header);
  if (absl::Status status = incr->file->WriteAt(0, bytes); !status.ok()) return status;
  if (absl::Status status = incr->file->Sync(); !status.ok()) return status;
  AofFile file;
  file.file = std::move(incr->file);
  file.path = incr->path;
  file.size = bytes.size();
  file.salt = incr->header.salt;
  file.end = at;
  return file;
}

absl::StatusOr<Lsn> LogSet::Rotate(uint32_t shard) {
  const std::lock_guard<std::mutex> one_at_a_time(changes_[shard]->mutex);
  if (changes_[shard]->replacing.load()) return BeingReplaced(shard);
  AofWriter& writer = logs_[shard]->writer();
  const Manifest::Shard before = store_->Get(shard);
  // A file without records is as good as a new one. (What is appended meanwhile may stand in either.)
  if (before.incrs.back().lsn == logs_[shard]->end()) return before.incrs.back().lsn;
  if (before.incrs.size() >= kMaxIncrFiles) {
    return absl::FailedPreconditionError("shard " + std::to_string(shard) + " has " +
                                         std::to_string(before.incrs.size()) + " incr files already");
  }
  if (writer.state() != AofWriter::State::kOk) return absl::FailedPreconditionError(writer.Reason());
  absl::StatusOr<std::shared_ptr<NewIncr>> made = MakeIncr(shard);
  if (!made.ok()) return made.status();
  const std::shared_ptr<NewIncr> incr = *std::move(made);
  KillPoint("rotate.file-made");
  if (absl::Status status = fs_->SyncDir(JoinPath(dir(), ShardDirName(shard))); !status.ok()) {
    RemoveLogged(incr->path);
    return status;
  }
  KillPoint("rotate.folder-synced");
  bool begun = false;
  FileChange change;
  change.begin = [this, shard, incr, &begun](Lsn at) -> absl::StatusOr<AofFile> {
    begun = true;
    absl::StatusOr<AofFile> file = BeginIncr(incr.get(), at, HistoryUpTo(shard, at));
    if (!file.ok()) return file.status();
    KillPoint("rotate.header-synced");
    const absl::Status listed = store_->Edit([&](Manifest* next) {
      Manifest::Shard& entry = next->shards[shard];
      entry.incrs.push_back({incr->header.sequence, at});
      entry.durable = std::max(entry.durable, at);
      entry.history = HistoryUpTo(shard, at);
      return absl::OkStatus();
    });
    if (!listed.ok()) return listed;
    KillPoint("rotate.listed");
    return file;
  };
  change.settle = [this, incr] {
    const absl::Status status = store_->Settle();
    if (status.ok()) RemoveLogged(incr->path);
    return status;
  };
  const absl::StatusOr<AofWriter::Rotated> rotated = writer.Rotate(std::move(change));
  if (!rotated.ok()) {
    // A change that was begun is settled by the writer, which removes the file then.
    if (!begun) RemoveLogged(incr->path);
    return rotated.status();
  }
  LOG(INFO) << "shard " << shard << ": goes on in " << incr->path << " from LSN " << rotated->at;
  const std::lock_guard<std::mutex> lock(sizes_mutex_);
  sizes_[shard].incrs[before.incrs.back().sequence] = rotated->ended_size;
  return rotated->at;
}

absl::Status LogSet::WaitDurable(uint32_t shard, Lsn lsn) { return logs_[shard]->writer().WaitDurable(lsn); }

absl::Status LogSet::WaitDurable(uint32_t shard, Lsn lsn, uint64_t life) {
  return logs_[shard]->writer().WaitDurable(lsn, life);
}

// ---- New bases -----------------------------------------------------------------------------------------------------

LogSet::NewBase LogSet::NextBase(uint32_t shard) {
  NewBase base;
  base.sequence = store_->NextSequence(shard);
  base.path = JoinPath(dir(), BaseName(shard, base.sequence));
  base.life = logs_[shard]->writer().life();
  return base;
}

// Syncs the shard's folder, so that `path` is in it for good, and looks how large that is.
absl::Status LogSet::MakeNameDurable(uint32_t shard, const std::string& path, uint64_t* size) {
  const absl::StatusOr<uint64_t> found = SizeOf(path);
  if (!found.ok()) return found.status();
  *size = *found;
  return fs_->SyncDir(JoinPath(dir(), ShardDirName(shard)));
}

absl::Status LogSet::InstallBase(uint32_t shard, const NewBase& base, Lsn lsn, Lsn first_incr) {
  uint64_t size = 0;
  absl::Status status = WaitDurable(shard, lsn, base.life);
  const std::lock_guard<std::mutex> one_at_a_time(changes_[shard]->mutex);
  // What the base holds may be something else's state than the log's by now.
  if (changes_[shard]->replacing.load() || logs_[shard]->writer().life() != base.life) status = BeingReplaced(shard);
  if (status.ok()) status = MakeNameDurable(shard, base.path, &size);
  if (!status.ok()) {
    RemoveLogged(base.path);
    return status;
  }
  KillPoint("install.folder-synced");
  Manifest::Shard before, after;
  const absl::Status listed = store_->Edit([&](Manifest* next) -> absl::Status {
    Manifest::Shard& entry = next->shards[shard];
    before = entry;
    std::erase_if(entry.incrs, [first_incr](const Manifest::FileRef& incr) { return incr.lsn < first_incr; });
    if (entry.incrs.empty() || entry.incrs.front().lsn != first_incr || lsn < first_incr) {
      return absl::InvalidArgumentError("shard " + std::to_string(shard) + ": no incr file starts at LSN " +
                                        std::to_string(first_incr) + " for a base at " + std::to_string(lsn));
    }
    entry.base = {base.sequence, lsn};
    entry.durable = std::max(entry.durable, lsn);
    entry.history = HistoryUpTo(shard, entry.durable);
    after = entry;
    return absl::OkStatus();
  });
  if (!listed.ok()) {
    // Not while the manifest's file may say that it is needed.
    if (store_->Settle().ok()) RemoveLogged(base.path);
    return listed;
  }
  KillPoint("install.listed");
  RemoveUnlisted(shard, before, after);
  logs_[shard]->writer().places().Forget(first_incr);
  KillPoint("install.old-removed");
  const std::lock_guard<std::mutex> lock(sizes_mutex_);
  Sizes& sizes = sizes_[shard];
  std::erase_if(sizes.incrs, [&after](const auto& incr) { return incr.first < after.incrs.front().sequence; });
  sizes.base = size;
  sizes.after_rewrite = size + logs_[shard]->writer().counters().file_size;
  for (const auto& [sequence, bytes] : sizes.incrs) sizes.after_rewrite += bytes;
  return absl::OkStatus();
}

absl::Status LogSet::Revive(uint32_t shard, const NewBase& base, Lsn lsn) {
  const std::lock_guard<std::mutex> one_at_a_time(changes_[shard]->mutex);
  AofWriter& writer = logs_[shard]->writer();
  absl::StatusOr<std::shared_ptr<NewIncr>> made = MakeIncr(shard);
  if (!made.ok()) {
    RemoveLogged(base.path);
    return made.status();
  }
  const std::shared_ptr<NewIncr> incr = *std::move(made);
  KillPoint("revive.file-made");
  uint64_t size = 0;
  if (absl::Status status = MakeNameDurable(shard, base.path, &size); !status.ok()) {
    RemoveLogged(incr->path);
    RemoveLogged(base.path);
    return status;
  }
  KillPoint("revive.folder-synced");
  Manifest::Shard before, after;
  bool listing = false;
  FileChange change;
  change.begin = [&, this](Lsn at) -> absl::StatusOr<AofFile> {
    absl::StatusOr<AofFile> file = BeginIncr(incr.get(), at, HistoryUpTo(shard, at));
    if (!file.ok()) return file.status();
    listing = true;
    const absl::Status listed = store_->Edit([&](Manifest* next) {
      Manifest::Shard& entry = next->shards[shard];
      before = entry;
      entry.base = {base.sequence, lsn};
      entry.incrs = {{incr->header.sequence, at}};
      entry.durable = at;
      entry.history = HistoryUpTo(shard, at);
      after = entry;
      return absl::OkStatus();
    });
    if (!listed.ok()) return listed;
    KillPoint("revive.listed");
    return file;
  };
  if (absl::Status status = writer.Revive(lsn, std::move(change)); !status.ok()) {
    // Listed or not, both are true; but what may be listed stays.
    if (!listing || store_->Settle().ok()) {
      RemoveLogged(incr->path);
      RemoveLogged(base.path);
    }
    return status;
  }
  RemoveUnlisted(shard, before, after);
  const std::lock_guard<std::mutex> lock(sizes_mutex_);
  sizes_[shard] = {.incrs = {}, .base = size, .after_rewrite = size + writer.counters().file_size};
  return absl::OkStatus();
}

// ---- What is there -------------------------------------------------------------------------------------------------

void LogSet::RemoveLogged(const std::string& path) {
  const absl::Status status = fs_->RemoveFile(path);
  if (status.ok() || absl::IsNotFound(status)) return;
  LOG(WARNING) << "could not remove a file that is not needed any more, the next start will: " << status.message();
}

void LogSet::RemoveInSteps(const std::string& path) {
  constexpr std::chrono::milliseconds kPause(5);
  const absl::StatusOr<std::unique_ptr<File>> file = fs_->Open(path, FileSystem::Mode::kWrite);
  if (file.ok()) {
    for (uint64_t size = (*file)->Size().value_or(0); size > remove_step_;) {
      size -= remove_step_;
      if (!(*file)->Truncate(size).ok()) break;  // then all at once
      std::this_thread::sleep_for(kPause);
    }
  }
  RemoveLogged(path);
}

void LogSet::RemoveUnlisted(uint32_t shard, const Manifest::Shard& before, const Manifest::Shard& after) {
  for (const Manifest::FileRef& incr : before.incrs) {
    if (std::find(after.incrs.begin(), after.incrs.end(), incr) == after.incrs.end() &&
        !LeftToHolds(shard, incr.sequence)) {
      RemoveInSteps(JoinPath(dir(), IncrName(shard, incr.sequence)));
    }
  }
  if (before.base.has_value() && before.base != after.base) {
    RemoveInSteps(JoinPath(dir(), BaseName(shard, before.base->sequence)));
  }
}

void LogSet::RemoveLeftovers() {
  const Manifest manifest = store_->Get();
  for (uint32_t shard = 0; shard < shard_count(); ++shard) {
    const Manifest::Shard& entry = manifest.shards[shard];
    std::set<std::string> listed;
    for (const Manifest::FileRef& incr : entry.incrs) listed.insert(JoinPath(dir(), IncrName(shard, incr.sequence)));
    if (entry.base.has_value()) listed.insert(JoinPath(dir(), BaseName(shard, entry.base->sequence)));
    const std::string shard_dir = JoinPath(dir(), ShardDirName(shard));
    const absl::StatusOr<std::vector<std::string>> names = fs_->List(shard_dir);
    if (!names.ok()) {
      LOG(WARNING) << "could not look for leftovers: " << names.status().message();
      continue;
    }
    for (const std::string& name : *names) {
      const std::string path = JoinPath(shard_dir, name);
      if (!IsOurs(name) || listed.contains(path)) continue;
      LOG(INFO) << path << ": is listed nowhere, left by an interrupted change of files; removing it";
      RemoveLogged(path);
    }
  }
}

absl::StatusOr<uint64_t> LogSet::SizeOf(const std::string& path) {
  const absl::StatusOr<std::unique_ptr<File>> file = fs_->Open(path, FileSystem::Mode::kRead);
  if (!file.ok()) return file.status();
  return (*file)->Size();
}

void LogSet::LearnSizes() {
  const Manifest manifest = store_->Get();
  const std::lock_guard<std::mutex> lock(sizes_mutex_);
  for (uint32_t shard = 0; shard < shard_count(); ++shard) {
    const Manifest::Shard& entry = manifest.shards[shard];
    Sizes& sizes = sizes_[shard];
    for (size_t i = 0; i + 1 < entry.incrs.size(); ++i) {
      const uint64_t sequence = entry.incrs[i].sequence;
      sizes.incrs[sequence] = SizeOf(JoinPath(dir(), IncrName(shard, sequence))).value_or(0);
    }
    if (entry.base.has_value()) {
      sizes.base = SizeOf(JoinPath(dir(), BaseName(shard, entry.base->sequence))).value_or(0);
    }
    sizes.after_rewrite = sizes.base;
  }
}

}  // namespace skein::storage
