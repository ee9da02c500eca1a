#include "storage/log_feed.h"

#include <optional>
#include <utility>

#include "storage/record.h"

namespace skein::storage {

LogFeed::LogFeed(std::shared_ptr<LogSet> logs, uint32_t shard, Lsn from)
    : logs_(std::move(logs)), shard_(shard), life_(logs_->log(shard).writer().life()), lsn_(from) {}

LogFeed::~LogFeed() = default;

absl::StatusOr<std::unique_ptr<LogFeed>> LogFeed::Open(std::shared_ptr<LogSet> logs, uint32_t shard, Lsn from) {
  std::unique_ptr<LogFeed> feed(new LogFeed(std::move(logs), shard, from));
  // A rewrite may remove a file between two looks; the next look shows what it has left.
  constexpr int kTries = 3;
  for (int i = 0; i < kTries && feed->held_.empty(); ++i) {
    const Manifest::Shard listed = feed->logs_->Listed(shard);
    if (from < listed.incrs.front().lsn) {
      return absl::NotFoundError("the files of shard " + std::to_string(shard) + " begin at LSN " +
                                 std::to_string(listed.incrs.front().lsn) + ", not at " + std::to_string(from));
    }
    feed->HoldFrom(listed);
  }
  if (feed->held_.empty()) return absl::NotFoundError("rewrites have removed the files of that time");
  if (absl::Status status = feed->OpenFirst(); !status.ok()) return status;
  AofReader& reader = *feed->reader_;
  const PlaceIndex& places = feed->logs_->log(shard).writer().places();
  if (const std::optional<PlaceIndex::Place> place = places.Find(reader.header().salt, from)) {
    reader.Seek(place->offset, place->lsn);
  }
  feed->opened_at_ = reader.offset();
  return feed;
}

void LogFeed::Cancel() {
  cancelled_.store(true, std::memory_order_release);
  logs_->log(shard_).writer().WakeWaiters();
}

void LogFeed::HoldFrom(const Manifest::Shard& listed) {
  for (size_t i = 0; i < listed.incrs.size(); ++i) {
    const Manifest::FileRef& incr = listed.incrs[i];
    if (!held_.empty() ? incr.sequence <= held_.back().hold->sequence()
                       : i + 1 < listed.incrs.size() && listed.incrs[i + 1].lsn <= lsn_) {
      continue;
    }
    std::unique_ptr<LogSet::Hold> hold = logs_->HoldIncr(shard_, incr.sequence);
    if (hold == nullptr) return;
    held_.push_back({std::move(hold), incr.lsn});
  }
}

absl::Status LogFeed::OpenFirst() {
  const std::string path = logs_->IncrPath(shard_, held_.front().hold->sequence());
  absl::StatusOr<std::unique_ptr<File>> file = logs_->fs()->Open(path, FileSystem::Mode::kRead);
  if (!file.ok()) return file.status();
  absl::StatusOr<std::unique_ptr<AofReader>> reader = AofReader::Open(*std::move(file), path);
  if (!reader.ok()) return reader.status();
  reader_ = *std::move(reader);
  const FileHeader& header = reader_->header();
  if (header.shard == shard_ && header.shard_count == logs_->shard_count() &&
      header.sequence == held_.front().hold->sequence() && header.start_lsn == held_.front().start) {
    return absl::OkStatus();
  }
  return absl::DataLossError(path + ": is the file of another shard, or of another place in its log");
}

// What has been written before this call and stands before the end of what is asked for is there to be read.
absl::Status LogFeed::ReadOne() {
  for (bool grown = false;;) {
    absl::StatusOr<AofReader::Found> found = reader_->Next();
    if (!found.ok()) return found.status();
    if (*found == AofReader::Found::kRecord) return absl::OkStatus();
    // It may have been read while it was being written.
    if (!std::exchange(grown, true)) {
      if (absl::Status status = reader_->Grow(); !status.ok()) return status;
      continue;
    }
    if (*found == AofReader::Found::kDamage) return absl::DataLossError(reader_->Describe(reader_->damage()));
    if (held_.size() < 2) HoldFrom(logs_->Listed(shard_));
    if (held_.size() < 2 || held_[1].start != reader_->lsn()) {
      return absl::NotFoundError("rewrites have removed the file of shard " + std::to_string(shard_) +
                                 " that goes on from LSN " + std::to_string(reader_->lsn()));
    }
    held_.pop_front();
    if (absl::Status status = OpenFirst(); !status.ok()) return status;
    grown = false;
  }
}

absl::StatusOr<std::string_view> LogFeed::Next(Lsn to, size_t max_bytes) {
  bytes_.clear();
  if (cancelled_.load(std::memory_order_acquire)) return absl::CancelledError("cancelled");
  if (lsn_ >= to) return std::string_view();
  AofWriter& writer = logs_->log(shard_).writer();
  if (absl::Status status = writer.WaitWritten(to, life_, &cancelled_); !status.ok()) return status;
  // Whatever rewrites begin while this one is being read, the file behind it is kept.
  HoldFrom(logs_->Listed(shard_));
  while (reader_->lsn() < to && bytes_.size() < max_bytes) {
    if (cancelled_.load(std::memory_order_acquire)) return absl::CancelledError("cancelled");
    if (absl::Status status = ReadOne(); !status.ok()) return status;
    const RecordHeader& record = reader_->record();
    if (record.end() <= lsn_) continue;  // before what was asked for
    if (record.lsn != lsn_ || record.end() > to) {
      return absl::InvalidArgumentError("no record of shard " + std::to_string(shard_) + " starts at LSN " +
                                        std::to_string(record.lsn != lsn_ ? lsn_ : to));
    }
    char header[kRecordHeaderSize];
    EncodeRecordHeader(record, header);
    bytes_.append(header, sizeof(header));
    bytes_.append(reader_->body());
    lsn_ = record.end();
  }
  return std::string_view(bytes_);
}

}  // namespace skein::storage
