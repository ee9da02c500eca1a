#include "storage/recovery.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>

#include "storage/aof_reader.h"

namespace skein::storage {
namespace {

constexpr std::string_view kWayOut = "; put back the folder from a copy, or remove it to start without its data";

absl::Status Lost(const std::string& what) { return absl::DataLossError(what + std::string(kWayOut)); }

// The manifest's history must be a part of what the files say.
absl::Status CheckHistory(const std::string& path, const std::vector<Reign>& listed, const std::vector<Reign>& found) {
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
              " that the manifest lists");
}

class ShardReader {
 public:
  ShardReader(FileSystem* fs, const std::string& dir, const Manifest& manifest, uint32_t shard, RecordSink* sink)
      : fs_(fs), dir_(dir), manifest_(manifest), shard_(shard), sink_(sink) {}

  absl::StatusOr<ShardRecovery> Run() {
    const Manifest::Shard& entry = manifest_.shards[shard_];
    if (entry.base.has_value()) {
      return absl::UnimplementedError(JoinPath(dir_, BaseName(shard_, entry.base->sequence)) +
                                      ": this version cannot read base files; start the version that wrote it");
    }
    result_.end = entry.incrs.front().lsn;
    for (size_t i = 0; i < entry.incrs.size(); ++i) {
      if (absl::Status status = ReadIncr(entry.incrs[i], i + 1 == entry.incrs.size()); !status.ok()) return status;
    }
    if (result_.end < entry.durable) {
      return Lost(result_.path + ": ends at offset " + std::to_string(result_.size) + " (LSN " +
                  std::to_string(result_.end) + "), but everything before LSN " + std::to_string(entry.durable) +
                  " was on disk" + (result_.cut_reason.empty() ? "" : ": " + result_.cut_reason));
    }
    if (absl::Status status = CheckHistory(result_.path, entry.history, result_.history); !status.ok()) return status;
    return std::move(result_);
  }

 private:
  absl::Status ReadIncr(const Manifest::FileRef& ref, bool last) {
    const std::string path = JoinPath(dir_, IncrName(shard_, ref.sequence));
    absl::StatusOr<std::unique_ptr<File>> file = fs_->Open(path, FileSystem::Mode::kRead);
    if (absl::IsNotFound(file.status())) return Lost(path + ": is missing, but the manifest lists it");
    if (!file.ok()) return file.status();
    absl::StatusOr<std::unique_ptr<AofReader>> opened = AofReader::Open(*std::move(file), path);
    if (absl::IsDataLoss(opened.status())) return Lost(std::string(opened.status().message()));
    if (!opened.ok()) return opened.status();
    AofReader& reader = **opened;
    const FileHeader& header = reader.header();
    if (header.shard != shard_ || header.shard_count != manifest_.shards.size() || header.sequence != ref.sequence ||
        header.start_lsn != ref.lsn || header.start_lsn != result_.end) {
      return Lost(path + ": is the file of shard " + std::to_string(header.shard) + " of " +
                  std::to_string(header.shard_count) + ", sequence " + std::to_string(header.sequence) + ", from LSN " +
                  std::to_string(header.start_lsn) + "; expected shard " + std::to_string(shard_) + " of " +
                  std::to_string(manifest_.shards.size()) + ", sequence " + std::to_string(ref.sequence) +
                  ", from LSN " + std::to_string(result_.end));
    }
    if (result_.history.empty()) result_.history = header.history;
    result_.path = path;
    result_.salt = header.salt;
    absl::StatusOr<AofReader::Found> found = reader.Next();
    for (; found.ok() && *found == AofReader::Found::kRecord; found = reader.Next()) {
      if (absl::Status status = Take(reader); !status.ok()) return status;
    }
    if (absl::IsDataLoss(found.status())) return Lost(std::string(found.status().message()));
    if (!found.ok()) return found.status();
    result_.end = reader.lsn();
    result_.size = reader.offset();
    result_.marked = reader.marked();
    return *found == AofReader::Found::kDamage ? Judge(&reader, last) : absl::OkStatus();
  }

  absl::Status Take(const AofReader& reader) {
    const RecordHeader& record = reader.record();
    result_.latest = std::max(result_.latest, record.time);
    result_.bytes += kRecordHeaderSize + record.body_size;
    if (record.kind == RecordKind::kReign) {
      const absl::StatusOr<Reign> reign = DecodeReignRecord(record, reader.body());
      if (!reign.ok()) return Lost(reader.Describe(std::string(reign.status().message())) + " (before this place)");
      result_.history.push_back(*reign);
      if (result_.history.size() > kMaxReigns) result_.history.erase(result_.history.begin());
      return absl::OkStatus();
    }
    if (record.kind != RecordKind::kData) return absl::OkStatus();
    if (record.db >= manifest_.databases) {
      return Lost(reader.Describe("the record before this place is for database " + std::to_string(record.db)));
    }
    ++result_.records;
    if (sink_ == nullptr) return absl::OkStatus();
    const absl::Status applied = sink_->Apply(record.db, record.time, reader.body());
    if (applied.ok()) return applied;
    return Lost(reader.Describe("the record before this place cannot be applied: " + std::string(applied.message())));
  }

  // A torn tail, which may be cut, or a corrupt middle.
  absl::Status Judge(AofReader* reader, bool last) {
    const absl::StatusOr<Lsn> ahead = reader->HighestMarkAhead();
    if (!ahead.ok()) return ahead.status();
    const Lsn durable = std::max(*ahead, manifest_.shards[shard_].durable);
    if (durable > reader->lsn()) {
      return Lost(reader->Describe(reader->damage() + ": the file is corrupt in the middle, everything before LSN " +
                                   std::to_string(durable) + " was on disk"));
    }
    if (!last) return Lost(reader->Describe(reader->damage() + ": the file is corrupt, newer files follow it"));
    result_.cut_bytes = reader->size() - reader->offset();
    result_.cut_reason = reader->damage();
    return absl::OkStatus();
  }

  FileSystem* const fs_;
  const std::string dir_;
  const Manifest& manifest_;
  const uint32_t shard_;
  RecordSink* const sink_;
  ShardRecovery result_;
};

}  // namespace

absl::StatusOr<ShardRecovery> RecoverShard(FileSystem* fs, const std::string& dir, const Manifest& manifest,
                                           uint32_t shard, RecordSink* sink) {
  return ShardReader(fs, dir, manifest, shard, sink).Run();
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
