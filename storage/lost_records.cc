#include "storage/lost_records.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "glog/logging.h"
#include "storage/kill_point.h"
#include "storage/log_feed.h"
#include "storage/records.h"
#include "storage/wall_clock.h"

namespace skein::storage {
namespace {

constexpr size_t kPiece = size_t{1} << 20;
constexpr int kNames = 1000;
constexpr std::string_view kHead = "lost-records-", kTail = ".aof", kAside = ".tmp";

// A name that nothing in `dir` has.
absl::StatusOr<std::string> FreePath(FileSystem* fs, const std::string& dir, uint32_t shard) {
  const std::string head = std::string(kHead) + std::to_string(WallClock() / 1000);
  for (int i = 1; i <= kNames; ++i) {
    const std::string path = JoinPath(
        dir, head + (i == 1 ? "" : "-" + std::to_string(i)) + "-shard-" + std::to_string(shard) + std::string(kTail));
    const absl::StatusOr<bool> exists = fs->Exists(path);
    if (!exists.ok()) return exists.status();
    if (!*exists) return path;
  }
  return absl::ResourceExhaustedError(dir + ": holds too many files of lost records; move some away");
}

absl::Status Write(LogFeed* feed, File* file, const FileHeader& header, Lsn to, uint64_t* records) {
  const std::string head = EncodeFileHeader(header);
  if (absl::Status status = file->WriteAt(0, head); !status.ok()) return status;
  uint64_t size = head.size();
  std::vector<RecordView> taken;
  while (true) {
    const Lsn at = feed->lsn();
    const absl::StatusOr<std::string_view> bytes = feed->Next(to, kPiece);
    if (!bytes.ok()) return bytes.status();
    if (bytes->empty()) return file->Sync();
    taken.clear();
    if (absl::Status status = TakeRecords(*bytes, at, &taken, nullptr); !status.ok()) return status;
    *records += static_cast<uint64_t>(std::count_if(
        taken.begin(), taken.end(), [](const RecordView& record) { return record.header.kind == RecordKind::kData; }));
    if (absl::Status status = file->WriteAt(size, *bytes); !status.ok()) return status;
    size += bytes->size();
  }
}

}  // namespace

absl::StatusOr<LostRecords> SetLostRecordsAside(std::shared_ptr<LogSet> logs, const std::string& dir, uint32_t shard,
                                                Lsn from, Lsn to) {
  FileSystem* const fs = logs->fs();
  LostRecords lost{.shard = shard, .from = from, .to = to, .bytes = to - from, .path = {}};
  const Lsn held = logs->Listed(shard).incrs.front().lsn;
  const Lsn start = std::clamp(held, from, to);
  lost.bytes_gone = start - from;
  absl::StatusOr<std::unique_ptr<LogFeed>> feed = LogFeed::Open(logs, shard, start);
  if (!feed.ok()) return feed.status();
  const absl::StatusOr<std::string> path = FreePath(fs, dir, shard);
  if (!path.ok()) return path.status();
  const std::string aside = *path + std::string(kAside);
  FileHeader header;
  header.shard = shard;
  header.shard_count = logs->shard_count();
  header.start_lsn = start;
  header.created = WallClock();
  const Reign random = NewReign(0, 0);
  std::memcpy(&header.salt, random.id.data(), sizeof(header.salt));
  header.history = logs->HistoryUpTo(shard, start);
  absl::StatusOr<std::unique_ptr<File>> file = fs->Open(aside, FileSystem::Mode::kReplace);
  if (!file.ok()) return file.status();
  absl::Status status = Write(feed->get(), file->get(), header, to, &lost.records);
  file->reset();
  // Reigns and times say nothing to a person.
  if (status.ok() && lost.records == 0) {
    if (status = fs->RemoveFile(aside); !status.ok()) return status;
    return lost;
  }
  if (status.ok()) {
    KillPoint("lost.synced");
    status = fs->Rename(aside, *path);
  }
  if (!status.ok()) {
    fs->RemoveFile(aside).IgnoreError();  // the error that matters is the first one
    return status;
  }
  KillPoint("lost.renamed");
  if (status = fs->SyncDir(dir); !status.ok()) return status;
  KillPoint("lost.folder-synced");
  lost.path = *path;
  LOG(WARNING) << "shard " << shard << ": " << lost.records << " records (" << lost.bytes << " bytes, LSN " << from
               << " to " << to << ") are not in the log of the new primary; they are kept in " << lost.path
               << " and leave this node's data; ops/aof dump shows them";
  return lost;
}

void RemoveHalfLostRecords(FileSystem* fs, const std::string& dir) {
  const absl::StatusOr<std::vector<std::string>> names = fs->List(dir);
  if (!names.ok()) return;
  for (const std::string& name : *names) {
    if (!name.starts_with(kHead) || !name.ends_with(std::string(kTail) + std::string(kAside))) continue;
    const absl::Status status = fs->RemoveFile(JoinPath(dir, name));
    if (!status.ok()) LOG(WARNING) << "could not remove " << status.message();
  }
}

}  // namespace skein::storage
