#include "storage/recovery.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>

#include "glog/logging.h"
#include "storage/aof_reader.h"
#include "storage/base_head.h"
#include "storage/rdb/decoder.h"
#include "storage/runbook.h"
#include "storage/wall_clock.h"

namespace skein::storage {
namespace {

constexpr size_t kRecordBatch = 64;

constexpr std::string_view kWayOut = "; put back the folder from a copy, or remove it to start without its data";

absl::Status Lost(const std::string& what, Runbook page = "corrupt-file") {
  return absl::DataLossError(what + std::string(kWayOut) + SeeRunbook(page));
}

absl::Status Newer(const std::string& what) {
  return absl::UnimplementedError(what + "; start the version that wrote it" + SeeRunbook("newer-version"));
}

// A history that is listed somewhere (`where`) must be a part of what the files say.
absl::Status CheckHistory(const std::string& path, const std::vector<Reign>& listed, const std::vector<Reign>& found,
                          std::string_view where) {
  if (listed.empty()) return absl::OkStatus();
  const auto last = std::find(found.begin(), found.end(), listed.back());
  size_t same = 0;
  if (last != found.end()) {
    const size_t comparable = std::min<size_t>(listed.size(), static_cast<size_t>(last - found.begin()) + 1);
    while (same < comparable && listed[listed.size() - 1 - same] == *(last - static_cast<ptrdiff_t>(same))) ++same;
    if (same == comparable) return absl::OkStatus();
  }
  const Reign& missing = listed[listed.size() - 1 - same];
  return Lost(path + ": does not hold the reign " + missing.IdHex() + " at LSN " + std::to_string(missing.first_lsn) +
              " that " + std::string(where) + " lists");
}

std::string PlaceOf(uint32_t shard, size_t count) {
  return "shard " + std::to_string(shard) + " of " + std::to_string(count);
}

// Takes the keys of a base and what it says of itself.
class BaseVisitor : public RdbVisitor {
 public:
  BaseVisitor(const Manifest& manifest, uint32_t shard, RecordSink* sink)
      : manifest_(manifest), shard_(shard), sink_(sink) {}

  absl::Status OnAux(std::string_view name, std::string_view value) override { return head_.OnAux(name, value); }
  absl::Status OnItem(const RdbItem& item) override {
    if (item.db >= manifest_.databases) {
      return absl::DataLossError("a key of database " + std::to_string(item.db) + ", which does not exist");
    }
    if (KeySlot(item.key) % manifest_.shards.size() != shard_) {
      return absl::DataLossError("a key of another shard than " + PlaceOf(shard_, manifest_.shards.size()));
    }
    ++keys_;
    return sink_ == nullptr ? absl::OkStatus() : sink_->Load(item);
  }
  absl::StatusOr<std::optional<BaseHead>> head() const { return head_.Finish(); }
  uint64_t keys() const { return keys_; }

 private:
  const Manifest& manifest_;
  const uint32_t shard_;
  RecordSink* const sink_;
  BaseHeadReader head_;
  uint64_t keys_ = 0;
};

class ShardReader {
 public:
  ShardReader(FileSystem* fs, const std::string& dir, const Manifest& manifest, uint32_t shard, RecordSink* sink,
              const std::function<void(uint64_t)>& progress)
      : fs_(fs), dir_(dir), manifest_(manifest), shard_(shard), sink_(sink), progress_(progress) {}

  absl::StatusOr<ShardRecovery> Run() {
    const Manifest::Shard& entry = manifest_.shards[shard_];
    result_.end = entry.incrs.front().lsn;
    const Lsn base_lsn = entry.base.has_value() ? entry.base->lsn : 0;
    if (result_.end > base_lsn) {
      const std::string path = JoinPath(dir_, IncrName(shard_, entry.incrs.front().sequence));
      return Lost(path + ": starts at LSN " + std::to_string(result_.end) + ", but the manifest lists " +
                      (entry.base.has_value() ? "a base at LSN " + std::to_string(base_lsn) : "no base") +
                      ": what stood before is missing",
                  "missing-file");
    }
    if (entry.base.has_value()) {
      if (absl::Status status = ReadBase(*entry.base); !status.ok()) return status;
    }
    for (size_t i = 0; i < entry.incrs.size(); ++i) {
      if (absl::Status status = ReadIncr(entry.incrs[i], i + 1 == entry.incrs.size()); !status.ok()) return status;
    }
    const Lsn durable = std::max(entry.durable, base_lsn);
    if (result_.end < durable) {
      return Lost(result_.path + ": ends at offset " + std::to_string(result_.size) + " (LSN " +
                  std::to_string(result_.end) + "), but everything before LSN " + std::to_string(durable) +
                  " was on disk" + (result_.cut_reason.empty() ? "" : ": " + result_.cut_reason));
    }
    if (absl::Status status = CheckHistory(result_.path, entry.history, result_.history, "the manifest");
        !status.ok()) {
      return status;
    }
    if (absl::Status status = CheckBaseHistory(); !status.ok()) return status;
    return std::move(result_);
  }

 private:
  // ---- The base ----------------------------------------------------------------------------------------------------
  absl::Status ReadBase(const Manifest::FileRef& ref) {
    const std::string path = JoinPath(dir_, BaseName(shard_, ref.sequence));
    absl::StatusOr<std::unique_ptr<File>> file = fs_->Open(path, FileSystem::Mode::kRead);
    if (absl::IsNotFound(file.status())) return Lost(path + ": is missing, but the manifest lists it", "missing-file");
    if (!file.ok()) return file.status();
    RdbDecoderOptions options;
    uint64_t told = 0;
    if (progress_) {
      options.progress = [&](uint64_t offset) {
        progress_(offset - told);
        told = offset;
      };
    }
    BaseVisitor visitor(manifest_, shard_, sink_);
    const absl::StatusOr<RdbInfo> info = ReadRdb(file->get(), path, 0, options, &visitor);
    if (absl::IsUnimplemented(info.status())) return Newer(std::string(info.status().message()));
    if (absl::IsDataLoss(info.status())) return Lost(WithPath(path, info.status()));
    if (!info.ok()) return info.status();
    const absl::StatusOr<uint64_t> size = (*file)->Size();
    if (!size.ok()) return size.status();
    if (*size != info->size) {
      return Lost(path + ": at offset " + std::to_string(info->size) + ": " + std::to_string(*size - info->size) +
                  " bytes follow the end of the base");
    }
    const absl::StatusOr<std::optional<BaseHead>> head = visitor.head();
    if (!head.ok()) return Lost(WithPath(path, head.status()));
    if (!head->has_value()) return Lost(path + ": is an RDB file, but not a base: it names no shard and no LSN");
    base_ = **head;
    if (base_->shard != shard_ || base_->shard_count != manifest_.shards.size() || base_->lsn != ref.lsn) {
      return Lost(path + ": is the base of " + PlaceOf(base_->shard, base_->shard_count) + " at LSN " +
                  std::to_string(base_->lsn) + "; expected " + PlaceOf(shard_, manifest_.shards.size()) + " at LSN " +
                  std::to_string(ref.lsn));
    }
    if (sink_ != nullptr) sink_->LoadEnd();
    result_.keys = visitor.keys();
    result_.base_bytes = *size;
    result_.base_lsn = ref.lsn;
    result_.base_time = base_->time;
    result_.latest = base_->time;
    base_path_ = path;
    return absl::OkStatus();
  }

  // Messages of the RDB reader begin with the path, those of the visitor do not.
  static std::string WithPath(const std::string& path, const absl::Status& status) {
    const std::string message(status.message());
    return message.starts_with(path) ? message : path + ": " + message;
  }

  // The base's reigns and the log's up to its LSN must be the same, as far back as both go.
  absl::Status CheckBaseHistory() {
    if (!base_.has_value()) return absl::OkStatus();
    std::vector<Reign> before;
    for (const Reign& reign : result_.history) {
      if (reign.first_lsn < base_->lsn) before.push_back(reign);
    }
    const std::vector<Reign>& listed = base_->history;
    const size_t comparable = std::min(before.size(), listed.size());
    // A log keeps its newest reigns only; apart from that none may be missing on either side.
    const bool trimmed = result_.history.size() == kMaxReigns || listed.size() == kMaxReigns;
    bool same = trimmed || before.size() == listed.size();
    for (size_t i = 1; i <= comparable; ++i) same = same && before[before.size() - i] == listed[listed.size() - i];
    if (same) return absl::OkStatus();
    return Lost(base_path_ + ": is the base of another log: its history is not that of " + result_.path);
  }

  // ---- The records behind it ---------------------------------------------------------------------------------------
  absl::Status ReadIncr(const Manifest::FileRef& ref, bool last) {
    const std::string path = JoinPath(dir_, IncrName(shard_, ref.sequence));
    absl::StatusOr<std::unique_ptr<File>> file = fs_->Open(path, FileSystem::Mode::kRead);
    if (absl::IsNotFound(file.status())) return Lost(path + ": is missing, but the manifest lists it", "missing-file");
    if (!file.ok()) return file.status();
    absl::StatusOr<std::unique_ptr<AofReader>> opened = AofReader::Open(*std::move(file), path);
    if (absl::IsDataLoss(opened.status())) return Lost(std::string(opened.status().message()));
    if (absl::IsUnimplemented(opened.status())) return Newer(std::string(opened.status().message()));
    if (!opened.ok()) return opened.status();
    AofReader& reader = **opened;
    const FileHeader& header = reader.header();
    if (!result_.path.empty() && header.start_lsn == ref.lsn && result_.end != ref.lsn) {
      return Lost(result_.path + ": ends at offset " + std::to_string(result_.size) + " (LSN " +
                  std::to_string(result_.end) + "), but " + path + " goes on from LSN " + std::to_string(ref.lsn));
    }
    if (header.shard != shard_ || header.shard_count != manifest_.shards.size() || header.sequence != ref.sequence ||
        header.start_lsn != ref.lsn || header.start_lsn != result_.end) {
      return Lost(path + ": is the file of " + PlaceOf(header.shard, header.shard_count) + ", sequence " +
                  std::to_string(header.sequence) + ", from LSN " + std::to_string(header.start_lsn) + "; expected " +
                  PlaceOf(shard_, manifest_.shards.size()) + ", sequence " + std::to_string(ref.sequence) +
                  ", from LSN " + std::to_string(result_.end));
    }
    if (result_.path.empty()) {
      result_.history = header.history;
    } else if (absl::Status status = CheckHistory(path, header.history, result_.history, "its head"); !status.ok()) {
      return status;
    }
    result_.path = path;
    result_.salt = header.salt;
    uint64_t told = 0;
    absl::StatusOr<AofReader::Found> found = reader.NextBatch(kRecordBatch, &items_);
    for (; found.ok() && *found == AofReader::Found::kRecord; found = reader.NextBatch(kRecordBatch, &items_)) {
      if (absl::Status status = Take(reader); !status.ok()) return status;
      if (progress_ && reader.offset() - told >= kProgressStep) {
        progress_(reader.offset() - told);
        told = reader.offset();
      }
    }
    if (absl::IsDataLoss(found.status())) return Lost(std::string(found.status().message()));
    if (absl::IsUnimplemented(found.status())) return Newer(std::string(found.status().message()));
    if (!found.ok()) return found.status();
    if (progress_) progress_(reader.offset() - told);
    result_.end = reader.lsn();
    result_.size = reader.offset();
    result_.marked = reader.marked();
    return *found == AofReader::Found::kDamage ? Judge(&reader, last) : absl::OkStatus();
  }

  // The records in items_.
  absl::Status Take(const AofReader& reader) {
    refs_.clear();
    taken_.clear();
    for (const AofReader::Item& item : items_) {
      const RecordHeader& record = item.header;
      result_.bytes += kRecordHeaderSize + record.body_size;
      result_.latest = std::max(result_.latest, record.time);
      const auto at = [&](std::string_view what) { return reader.Describe(item.offset, record.lsn, what); };
      if (base_.has_value() && record.lsn < base_->lsn && record.end() > base_->lsn) {
        return Lost(at("a record goes on past LSN " + std::to_string(base_->lsn) + ", where " + base_path_ + " ends"));
      }
      if (record.kind == RecordKind::kReign) {
        const absl::StatusOr<Reign> reign = DecodeReignRecord(record, item.body);
        if (!reign.ok()) return Lost(at(std::string(reign.status().message())));
        result_.history.push_back(*reign);
        if (result_.history.size() > kMaxReigns) result_.history.erase(result_.history.begin());
        continue;
      }
      if (record.kind != RecordKind::kData) continue;
      if (record.db >= manifest_.databases) {
        return Lost(at("a record for database " + std::to_string(record.db) + ", which does not exist"));
      }
      if (base_.has_value() && record.lsn < base_->lsn) continue;  // its effects are in the base
      refs_.push_back({record.db, record.time, item.body});
      taken_.push_back(&item);
    }
    result_.records += refs_.size();
    if (sink_ == nullptr || refs_.empty()) return absl::OkStatus();
    size_t applied = 0;
    const absl::Status status = sink_->ApplyBatch(refs_, &applied);
    if (status.ok()) return status;
    const AofReader::Item& item = *taken_[applied];
    return Lost(reader.Describe(item.offset, item.header.lsn,
                                "a record that cannot be applied: " + std::string(status.message())));
  }

  // A torn tail, which may be cut, or a corrupt middle.
  absl::Status Judge(AofReader* reader, bool last) {
    const absl::StatusOr<Lsn> ahead = reader->HighestMarkAhead();
    if (!ahead.ok()) return ahead.status();
    const Manifest::Shard& entry = manifest_.shards[shard_];
    const Lsn durable = std::max({*ahead, entry.durable, entry.base.has_value() ? entry.base->lsn : 0});
    if (durable > reader->lsn()) {
      return Lost(reader->Describe(reader->damage() + ": the file is corrupt in the middle, everything before LSN " +
                                   std::to_string(durable) + " was on disk"));
    }
    if (!last) return Lost(reader->Describe(reader->damage() + ": the file is corrupt, newer files follow it"));
    result_.cut_bytes = reader->size() - reader->offset();
    result_.cut_reason = reader->damage();
    return absl::OkStatus();
  }

  static constexpr uint64_t kProgressStep = 1u << 20;

  FileSystem* const fs_;
  const std::string dir_;
  const Manifest& manifest_;
  const uint32_t shard_;
  RecordSink* const sink_;
  const std::function<void(uint64_t)>& progress_;
  std::optional<BaseHead> base_;
  std::string base_path_;
  std::vector<AofReader::Item> items_;
  std::vector<Shard::RecordRef> refs_;
  std::vector<const AofReader::Item*> taken_;  // of refs_
  ShardRecovery result_;
};

}  // namespace

absl::Status RecordSink::ApplyBatch(std::span<const Shard::RecordRef> records, size_t* applied) {
  *applied = 0;
  for (const Shard::RecordRef& record : records) {
    if (absl::Status status = Apply(record.db, record.time, record.body); !status.ok()) return status;
    ++*applied;
  }
  return absl::OkStatus();
}

ShardSink::ShardSink(Shard* shard) : shard_(shard) {
  shard->set_decides_expiry(false);
  shard->set_loading_time(WallClock());
}

absl::Status ShardSink::Load(const RdbItem& item) {
  if (!batch_.Add(item)) {
    LoadEnd();
    CHECK(batch_.Add(item));
  }
  return absl::OkStatus();
}

void ShardSink::LoadEnd() {
  shard_->LoadItems(batch_.items());
  batch_.Clear();
}

absl::Status ShardSink::Apply(uint32_t db, UnixMillis time, std::string_view body) {
  return shard_->ApplyRecord(db, time, body);
}

absl::Status ShardSink::ApplyBatch(std::span<const Shard::RecordRef> records, size_t* applied) {
  return shard_->ApplyRecords(records, applied);
}

absl::StatusOr<ShardRecovery> RecoverShard(FileSystem* fs, const std::string& dir, const Manifest& manifest,
                                           uint32_t shard, RecordSink* sink,
                                           const std::function<void(uint64_t)>& progress) {
  return ShardReader(fs, dir, manifest, shard, sink, progress).Run();
}

absl::Status CheckAppendable(FileSystem* fs, const ShardRecovery& recovery) {
  return fs->Open(recovery.path, FileSystem::Mode::kWrite).status();
}

absl::Status TornTailMayGo(const ShardRecovery& recovery, bool load_truncated) {
  if (load_truncated || recovery.cut_bytes == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      recovery.path + ": a torn tail of " + std::to_string(recovery.cut_bytes) + " bytes at offset " +
      std::to_string(recovery.size) + " (LSN " + std::to_string(recovery.end) + "): " + recovery.cut_reason +
      ": not cut, because aof-load-truncated is no; set it to yes, or cut it with ops/aof repair" +
      SeeRunbook("torn-tail"));
}

absl::Status InParallel(uint32_t count, const std::function<absl::Status(uint32_t)>& fn) {
  std::vector<absl::Status> results(count);
  std::atomic<uint32_t> next{0};
  const auto work = [&] {
    for (uint32_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) results[i] = fn(i);
  };
  std::vector<std::thread> threads;
  const uint32_t wanted = std::min(count, std::max(1u, std::thread::hardware_concurrency()));
  for (uint32_t i = 1; i < wanted; ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& status : results) {
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace skein::storage
