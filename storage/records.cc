#include "storage/records.h"

#include <string>

namespace skein::storage {

size_t WholeRecords(std::string_view bytes) {
  size_t whole = 0;
  while (bytes.size() - whole >= kRecordHeaderSize) {
    const uint64_t body = RawBodySize(bytes.data() + whole);
    if (body > bytes.size() - whole - kRecordHeaderSize) break;
    whole += kRecordHeaderSize + body;
  }
  return whole;
}

absl::Status TakeRecords(std::string_view bytes, Lsn at, std::vector<RecordView>* records, std::vector<Reign>* reigns) {
  const auto bad = [&at](const std::string& why) {
    return absl::InvalidArgumentError("a record at LSN " + std::to_string(at) + ": " + why);
  };
  while (!bytes.empty()) {
    const absl::StatusOr<RecordHeader> header = DecodeRecordHeaderUnsummed(bytes);
    if (!header.ok()) return bad(std::string(header.status().message()));
    if (header->lsn != at) return bad("it says that it starts at LSN " + std::to_string(header->lsn));
    if (header->body_size > bytes.size() - kRecordHeaderSize) return bad("it is not whole");
    const std::string_view body = bytes.substr(kRecordHeaderSize, header->body_size);
    switch (header->kind) {
      case RecordKind::kData:
        if (body.empty()) return bad("it has no effect");
        break;
      case RecordKind::kReign: {
        const absl::StatusOr<Reign> reign = DecodeReignRecord(*header, body);
        if (!reign.ok()) return bad(std::string(reign.status().message()));
        if (reigns != nullptr) reigns->push_back(*reign);
        break;
      }
      case RecordKind::kTime:
        if (!body.empty()) return bad("a time with a body");
        break;
    }
    const size_t size = kRecordHeaderSize + header->body_size;
    records->push_back({*header, bytes.substr(0, size)});
    bytes.remove_prefix(size);
    at += size;
  }
  return absl::OkStatus();
}

}  // namespace skein::storage
