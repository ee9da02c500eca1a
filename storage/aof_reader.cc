#include "storage/aof_reader.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace skein::storage {
namespace {

constexpr uint64_t kWindow = 1u << 20;

}  // namespace

absl::StatusOr<std::unique_ptr<AofReader>> AofReader::Open(std::unique_ptr<File> file, const std::string& path) {
  std::unique_ptr<AofReader> reader(new AofReader(std::move(file), path));
  const absl::StatusOr<uint64_t> size = reader->file_->Size();
  if (!size.ok()) return size.status();
  reader->size_ = *size;
  const absl::StatusOr<std::string_view> head = reader->View(0, kMaxFileHeader);
  if (!head.ok()) return head.status();
  size_t header_size = 0;
  absl::StatusOr<FileHeader> header = DecodeFileHeader(*head, &header_size);
  if (!header.ok()) return absl::Status(header.status().code(), path + ": " + std::string(header.status().message()));
  reader->header_ = *std::move(header);
  reader->offset_ = header_size;
  reader->lsn_ = reader->header_.start_lsn;
  return reader;
}

absl::StatusOr<std::string_view> AofReader::View(uint64_t offset, uint64_t size) {
  size = std::min(size, offset < size_ ? size_ - offset : 0);
  if (size == 0) return std::string_view();
  if (offset < window_at_ || offset + size > window_at_ + window_.size()) {
    window_.resize(std::min(std::max(size, kWindow), size_ - offset));
    window_at_ = offset;
    const absl::StatusOr<size_t> got = file_->ReadAt(offset, window_.data(), window_.size());
    if (!got.ok()) return got.status();
    if (*got < window_.size()) return absl::InternalError(path_ + ": shrank while it was read");
  }
  return std::string_view(window_).substr(offset - window_at_, size);
}

absl::StatusOr<AofReader::Found> AofReader::Next() {
  while (true) {
    if (offset_ == size_) return Found::kEnd;
    const absl::StatusOr<std::string_view> head = View(offset_, kRecordHeaderSize);
    if (!head.ok()) return head.status();
    if (const std::optional<Mark> mark = DecodeMark(*head, header_.salt); mark.has_value()) {
      if (mark->position != lsn_ || mark->durable > lsn_) {
        return absl::DataLossError(Describe("a mark that belongs to LSN " + std::to_string(mark->position)));
      }
      marked_ = std::max(marked_, mark->durable);
      offset_ += kMarkSize;
      continue;
    }
    absl::StatusOr<RecordHeader> header = DecodeRecordHeader(*head);
    if (absl::IsDataLoss(header.status())) return Damaged(std::string(header.status().message()));
    if (!header.ok()) {
      return absl::Status(header.status().code(),
                          Describe(std::string(header.status().message()) + "; it was written by a newer version"));
    }
    if (header->lsn != lsn_) {
      return absl::DataLossError(Describe("a record that says it starts at LSN " + std::to_string(header->lsn)));
    }
    const uint64_t body_at = offset_ + kRecordHeaderSize;
    if (header->body_size > size_ - body_at) return Damaged("incomplete record");
    const absl::StatusOr<std::string_view> body = View(body_at, header->body_size);
    if (!body.ok()) return body.status();
    if (Crc32c(*body) != header->body_crc) return Damaged("checksum of the record's body does not match");
    record_ = *header;
    body_ = *body;
    offset_ = body_at + header->body_size;
    lsn_ = header->end();
    return Found::kRecord;
  }
}

bool AofReader::NextIsInWindow() const {
  const uint64_t end = window_at_ + window_.size();
  uint64_t at = offset_;
  const auto head = [&] { return std::string_view(window_).substr(at - window_at_); };
  while (at + kRecordHeaderSize <= end && head().starts_with(MarkMagic())) at += kMarkSize;
  if (at < window_at_ || at + kRecordHeaderSize > end) return false;
  return RawBodySize(head().data()) <= end - at - kRecordHeaderSize;
}

absl::StatusOr<AofReader::Found> AofReader::NextBatch(size_t limit, std::vector<Item>* items) {
  items->clear();
  if (held_back_.has_value()) return *held_back_;
  do {
    absl::StatusOr<Found> found = Next();
    if (!found.ok() || *found != Found::kRecord) {
      if (items->empty()) return found;
      held_back_ = std::move(found);
      return Found::kRecord;
    }
    // Marks may stand before it, which Next has passed.
    items->push_back({record_, body_, offset_ - (record_.end() - record_.lsn)});
  } while (items->size() < limit && NextIsInWindow());
  return Found::kRecord;
}

absl::Status AofReader::Grow() {
  const absl::StatusOr<uint64_t> size = file_->Size();
  if (!size.ok()) return size.status();
  size_ = *size;
  window_.clear();
  held_back_.reset();
  return absl::OkStatus();
}

AofReader::Found AofReader::Damaged(std::string_view why) {
  damage_ = why;
  return Found::kDamage;
}

absl::StatusOr<Lsn> AofReader::HighestMarkAhead() {
  Lsn highest = 0;
  uint64_t at = offset_;
  while (at + kMarkSize <= size_) {
    const absl::StatusOr<std::string_view> view = View(at, kWindow);
    if (!view.ok()) return view.status();
    for (size_t hit = view->find(MarkMagic()); hit != std::string_view::npos; hit = view->find(MarkMagic(), hit + 1)) {
      const std::optional<Mark> mark = DecodeMark(view->substr(hit), header_.salt);
      if (mark.has_value()) highest = std::max(highest, mark->durable);
    }
    // The next view starts so that a mark over the edge lies in it whole.
    at += view->size() - (kMarkSize - 1);
  }
  return highest;
}

std::string AofReader::Describe(uint64_t offset, Lsn lsn, std::string_view what) const {
  return path_ + ": at offset " + std::to_string(offset) + " (LSN " + std::to_string(lsn) + "): " + std::string(what);
}

}  // namespace skein::storage
