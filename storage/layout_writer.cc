#include "storage/layout_writer.h"

#include <atomic>
#include <mutex>
#include <utility>

#include "glog/logging.h"
#include "storage/base_head.h"
#include "storage/kill_point.h"
#include "storage/layout.h"
#include "storage/rdb/encoder.h"
#include "storage/recovery.h"

namespace skein::storage {
namespace {

constexpr size_t kWriteSize = 1u << 20;
constexpr size_t kScanStep = 1024;
constexpr uint64_t kFirstSequence = 1;

// Appends what an encoder makes to a file.
class Appender {
 public:
  explicit Appender(File* file) : file_(file) {}
  std::string* buffer() { return &buffer_; }
  absl::Status FlushIfFull() { return buffer_.size() < kWriteSize ? absl::OkStatus() : Flush(); }
  absl::Status Flush() {
    const absl::Status status = file_->WriteAt(offset_, buffer_);
    offset_ += buffer_.size();
    buffer_.clear();
    return status;
  }
  uint64_t offset() const { return offset_; }

 private:
  File* const file_;
  std::string buffer_;
  uint64_t offset_ = 0;
};

// How many keys have been written, told to whoever watches.
class Meter {
 public:
  Meter(const std::vector<std::unique_ptr<Shard>>& shards, const OfflineProgress& progress) : progress_(progress) {
    for (const std::unique_ptr<Shard>& shard : shards) {
      for (uint32_t db = 0; db < shard->databases(); ++db) total_ += shard->KeyCount(db);
    }
  }
  void Add(uint64_t keys) {
    if (!progress_) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    done_ += keys;
    progress_("writing", done_, total_);
  }

 private:
  const OfflineProgress& progress_;
  std::mutex mutex_;
  uint64_t total_ = 0;
  uint64_t done_ = 0;
};

absl::Status WriteKeys(const Shard& shard, RdbEncoder* encoder, Appender* out, Meter* meter) {
  for (uint32_t db = 0; db < shard.databases(); ++db) {
    if (shard.KeyCount(db) == 0) continue;
    uint64_t cursor = 0;
    do {
      uint64_t keys = 0;
      cursor = shard.Scan(db, cursor, kScanStep, kNoSlot, [&](const Entry& entry) {
        IntText scratch;
        encoder->Add(ItemOf(db, entry, &scratch));
        ++keys;
      });
      meter->Add(keys);
      if (absl::Status status = out->FlushIfFull(); !status.ok()) return status;
    } while (cursor != 0);
  }
  return absl::OkStatus();
}

absl::Status WriteBase(FileSystem* fs, const std::string& path, const Shard& shard, uint32_t count,
                       const LayoutWriterOptions& options, Meter* meter) {
  absl::StatusOr<std::unique_ptr<File>> file = fs->Open(path, FileSystem::Mode::kCreateNew);
  if (!file.ok()) return file.status();
  Appender out(file->get());
  RdbEncoder encoder({.compress = options.compress, .checksum = true}, out.buffer());
  encoder.Begin();
  WriteBaseHead({.shard = shard.index(), .shard_count = count, .lsn = 0, .time = WallClock(), .history = {}}, &encoder);
  for (uint32_t db = 0; db < shard.databases(); ++db) {
    if (shard.KeyCount(db) > 0) encoder.SizeHint(db, shard.KeyCount(db), shard.ExpiringKeyCount(db));
  }
  if (absl::Status status = WriteKeys(shard, &encoder, &out, meter); !status.ok()) return status;
  encoder.End();
  if (absl::Status status = out.Flush(); !status.ok()) return status;
  return (*file)->Sync();
}

}  // namespace

RdbItem ItemOf(uint32_t db, const Entry& entry, IntText* scratch) {
  CHECK(entry.type() == ValueType::kString) << "a type that cannot be written";
  RdbItem item;
  item.db = db;
  item.key = entry.key();
  item.expire_at = entry.expire_at();
  item.access = entry.access();
  item.type = entry.type();
  item.string = entry.string(scratch);
  return item;
}

absl::StatusOr<Manifest> WriteLayout(FileSystem* fs, const std::string& dir,
                                     const std::vector<std::unique_ptr<Shard>>& shards,
                                     const LayoutWriterOptions& options) {
  const auto count = static_cast<uint32_t>(shards.size());
  Meter meter(shards, options.progress);
  Manifest manifest;
  manifest.sequence = 1;
  manifest.chosen = options.chosen;
  manifest.databases = options.databases;
  manifest.off = options.off;
  manifest.shards.resize(count);
  if (absl::Status status = fs->CreateDir(dir); !status.ok()) return status;
  absl::Status status = InParallel(count, [&](uint32_t i) -> absl::Status {
    const std::string shard_dir = JoinPath(dir, ShardDirName(i));
    if (absl::Status made = fs->CreateDir(shard_dir); !made.ok()) return made;
    const std::string base = JoinPath(dir, BaseName(i, kFirstSequence));
    if (absl::Status wrote = WriteBase(fs, base, *shards[i], count, options, &meter); !wrote.ok()) return wrote;
    KillPoint("layout.base-synced");
    if (absl::Status wrote = WriteFirstIncr(fs, dir, i, count); !wrote.ok()) return wrote;
    KillPoint("layout.incr-synced");
    manifest.shards[i].base = Manifest::FileRef{kFirstSequence, 0};
    manifest.shards[i].incrs = {{kFirstSequence, 0}};
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  // The names of the shards' folders.
  if (status = fs->SyncDir(dir); !status.ok()) return status;
  KillPoint("layout.shards-synced");
  if (status = fs->ReplaceFile(JoinPath(dir, kManifestName), EncodeManifest(manifest)); !status.ok()) return status;
  KillPoint("layout.manifest-synced");
  return manifest;
}

absl::StatusOr<uint64_t> WritePlainRdb(FileSystem* fs, const std::string& path,
                                       const std::vector<std::unique_ptr<Shard>>& shards,
                                       const LayoutWriterOptions& options) {
  const std::string aside = path + ".tmp";
  absl::StatusOr<std::unique_ptr<File>> file = fs->Open(aside, FileSystem::Mode::kReplace);
  if (!file.ok()) return file.status();
  Meter meter(shards, options.progress);
  Appender out(file->get());
  RdbEncoder encoder({.compress = options.compress, .checksum = true}, out.buffer());
  encoder.Begin();
  encoder.Aux("ctime", std::to_string(WallClock() / 1000));
  for (uint32_t db = 0; db < options.databases; ++db) {
    uint64_t keys = 0;
    uint64_t expiring = 0;
    for (const std::unique_ptr<Shard>& shard : shards) {
      if (db >= shard->databases()) continue;
      keys += shard->KeyCount(db);
      expiring += shard->ExpiringKeyCount(db);
    }
    if (keys > 0) encoder.SizeHint(db, keys, expiring);
  }
  absl::Status status;
  for (const std::unique_ptr<Shard>& shard : shards) {
    status.Update(WriteKeys(*shard, &encoder, &out, &meter));
  }
  encoder.End();
  status.Update(out.Flush());
  const auto next = [&status](const auto& step, KillPointName done) {
    if (!status.ok()) return;
    status = step();
    if (status.ok()) KillPoint(done);
  };
  if (status.ok()) KillPoint("export.written");
  next([&] { return (*file)->Sync(); }, "export.synced");
  next([&] { return fs->Rename(aside, path); }, "export.renamed");
  next([&] { return fs->SyncDir(DirName(path)); }, "export.folder-synced");
  if (!status.ok()) {
    fs->RemoveFile(aside).IgnoreError();  // the error that matters is the first one
    return status;
  }
  return out.offset();
}

}  // namespace skein::storage
