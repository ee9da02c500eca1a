#include "ops/aof_tool/facts.h"

#include <algorithm>
#include <utility>

#include "ops/aof_tool/effect.h"
#include "ops/aof_tool/tool.h"

namespace skein::ops {

using storage::AofReader;
using storage::FileSystem;
using storage::RecordHeader;
using storage::RecordKind;
using storage::UnixMillis;

namespace {

void Widen(UnixMillis time, std::optional<UnixMillis>* first, std::optional<UnixMillis>* last) {
  *first = std::min(first->value_or(time), time);
  *last = std::max(last->value_or(time), time);
}

}  // namespace

void RecordFacts::Take(const RecordHeader& header) {
  switch (header.kind) {
    case RecordKind::kData:
      ++data;
      break;
    case RecordKind::kReign:
      ++reign;
      break;
    case RecordKind::kTime:
      ++time;
      break;
  }
  bytes += header.end() - header.lsn;
  Widen(header.time, &first_time, &last_time);
}

void RecordFacts::Add(const RecordFacts& other) {
  data += other.data;
  reign += other.reign;
  time += other.time;
  effects += other.effects;
  bytes += other.bytes;
  if (!other.first_time.has_value()) return;
  Widen(*other.first_time, &first_time, &last_time);
  Widen(*other.last_time, &first_time, &last_time);
}

absl::StatusOr<IncrFacts> ReadIncr(FileSystem* fs, const std::string& path,
                                   const std::function<absl::Status(const AofReader&)>& on_record) {
  absl::StatusOr<std::unique_ptr<storage::File>> file = fs->Open(path, FileSystem::Mode::kRead);
  if (!file.ok()) return file.status();
  absl::StatusOr<std::unique_ptr<AofReader>> opened = AofReader::Open(*std::move(file), path);
  if (!opened.ok()) return opened.status();
  AofReader& reader = **opened;
  IncrFacts facts;
  facts.path = path;
  facts.size = reader.size();
  facts.header = reader.header();
  absl::StatusOr<AofReader::Found> found = reader.Next();
  for (; found.ok() && *found == AofReader::Found::kRecord; found = reader.Next()) {
    facts.records.Take(reader.record());
    if (reader.record().kind == RecordKind::kReign) {
      const absl::StatusOr<storage::Reign> reign = storage::DecodeReignRecord(reader.record(), reader.body());
      if (reign.ok()) facts.reigns.push_back(*reign);
    }
    if (reader.record().kind == RecordKind::kData) {
      ForEachEffect(reader.record().db, reader.body(), [&](const Effect&) {
        ++facts.records.effects;
      }).IgnoreError();  // counted as far as it reads; verify judges
    }
    if (on_record) {
      if (absl::Status status = on_record(reader); !status.ok()) return status;
    }
  }
  facts.end = reader.lsn();
  facts.marked = reader.marked();
  facts.whole = reader.offset();
  if (!found.ok()) {
    if (!absl::IsDataLoss(found.status()) && !absl::IsUnimplemented(found.status())) return found.status();
    facts.problem = Message(found.status());
  } else if (*found == AofReader::Found::kDamage) {
    facts.problem = reader.Describe(reader.damage());
    const absl::StatusOr<storage::Lsn> ahead = reader.HighestMarkAhead();
    if (!ahead.ok()) return ahead.status();
    facts.torn = *ahead <= facts.end;
  }
  return facts;
}

absl::StatusOr<TailFacts> ReadTail(FileSystem* fs, const std::string& path, uint64_t offset, uint64_t limit) {
  const absl::StatusOr<std::unique_ptr<storage::File>> file = fs->Open(path, FileSystem::Mode::kRead);
  if (!file.ok()) return file.status();
  const absl::StatusOr<uint64_t> size = (*file)->Size();
  if (!size.ok()) return size.status();
  TailFacts facts;
  facts.looked_at = std::min(limit, *size > offset ? *size - offset : 0);
  std::string tail(facts.looked_at, '\0');
  const absl::StatusOr<size_t> got = (*file)->ReadAt(offset, tail.data(), tail.size());
  if (!got.ok()) return got.status();
  tail.resize(*got);
  const std::string_view view = tail;
  for (size_t at = 0; at + storage::kRecordHeaderSize <= view.size();) {
    // Most places are none: the cheap signs first.
    const auto kind = static_cast<uint8_t>(view[at]);
    if (kind < 1 || kind > 3 || view[at + 1] != 0 || view[at + 6] != 0 || view[at + 7] != 0) {
      ++at;
      continue;
    }
    const absl::StatusOr<RecordHeader> header = storage::DecodeRecordHeader(view.substr(at));
    if (!header.ok()) {
      ++at;
      continue;
    }
    if (facts.headers++ == 0) facts.first_lsn = header->lsn;
    facts.last_lsn = header->lsn;
    Widen(header->time, &facts.first_time, &facts.last_time);
    at += storage::kRecordHeaderSize;
    if (header->body_size > view.size() - at) continue;
    if (storage::Crc32c(view.substr(at, header->body_size)) != header->body_crc) continue;
    ++facts.records;
    at += header->body_size;
  }
  return facts;
}

}  // namespace skein::ops
