#include "storage/memory_log.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "glog/logging.h"
#include "storage/effect_text.h"

namespace skein::storage {
namespace {

// Room for records that is kept.
constexpr size_t kKeep = size_t{1} << 20;
// How far ahead of the record that is being written its successors' memory is fetched.
constexpr size_t kFetchAhead = 256;
constexpr size_t kCacheLine = 64;

}  // namespace

MemoryLog::MemoryLog(Lsn end, std::vector<Reign> history) : end_(end), timed_(end) { history_.Set(std::move(history)); }

void MemoryLog::AppendEffect(uint32_t db, uint16_t slot, std::initializer_list<std::string_view> argv) {
  DCHECK(!follows_);
  if (record_ == nullptr) {
    MakeRoom(kRecordHeaderSize + EffectBound(argv));
    for (size_t line = 0; line < 2; ++line) __builtin_prefetch(record_ + kFetchAhead + line * kCacheLine, /*rw=*/1);
    record_size_ = kRecordHeaderSize;
    record_db_ = current_db_ = db;
    record_slot_ = slot;
  } else {
    if (slot != record_slot_) record_slot_ = kNoSlot;
    if (db != current_db_) Encode({"SELECT", std::to_string(db)});
    current_db_ = db;
  }
  Encode(argv);
}

void MemoryLog::Encode(std::initializer_list<std::string_view> argv) {
  MakeRoom(EffectBound(argv));
  record_size_ = static_cast<size_t>(PutEffect(record_ + record_size_, argv) - record_);
}

void MemoryLog::MakeRoom(size_t more) {
  const size_t size = record_size_ + more;
  if (size <= room_) return;
  if (backlog_ != nullptr && (record_ == nullptr || in_backlog_)) {
    if (char* const at = backlog_->Reserve(size)) {
      record_ = at;
      room_ = size;
      in_backlog_ = true;
      return;
    }
  }
  if (size > scratch_size_) {
    const size_t larger = std::max(size, 2 * scratch_size_);
    auto scratch = std::make_unique_for_overwrite<char[]>(larger);
    if (record_size_ != 0) std::memcpy(scratch.get(), record_, record_size_);
    scratch_ = std::move(scratch);
    scratch_size_ = larger;
  } else if (in_backlog_) {
    std::memcpy(scratch_.get(), record_, record_size_);
  }
  record_ = scratch_.get();
  room_ = scratch_size_;
  in_backlog_ = false;
}

Lsn MemoryLog::EndRecord(UnixMillis time) {
  if (record_ == nullptr) return 0;
  RecordHeader header;
  header.db = static_cast<uint16_t>(record_db_);
  header.slot = record_slot_;
  header.lsn = end();
  header.time = time;
  header.body_size = record_size_ - kRecordHeaderSize;
  EncodeRecordHeaderUnsummed(header, record_);
  if (in_backlog_) {
    backlog_->Advance(record_size_);
  } else if (backlog_ != nullptr) {
    backlog_->Append({record_, record_size_});
  }
  if (scratch_size_ > kKeep) {
    scratch_.reset();
    scratch_size_ = 0;
  }
  record_ = nullptr;
  record_size_ = room_ = 0;
  in_backlog_ = false;
  latest_ = std::max(latest_, time);
  end_.store(header.end(), std::memory_order_relaxed);
  return header.end();
}

void MemoryLog::AppendTime(UnixMillis now) {
  if (follows_ || end() == timed_) return;
  RecordHeader header;
  header.kind = RecordKind::kTime;
  header.lsn = end();
  header.time = std::max(latest_, now);
  char bytes[kRecordHeaderSize];
  EncodeRecordHeaderUnsummed(header, bytes);
  PutRecord(header.time, {bytes, sizeof(bytes)});
  timed_ = end();
}

absl::Status MemoryLog::AppendRecords(std::string_view records) {
  DCHECK(record_ == nullptr) << "inside a record";
  taken_.clear();
  begun_.clear();
  if (absl::Status status = TakeRecords(records, end(), &taken_, &begun_); !status.ok()) return status;
  for (const RecordView& record : taken_) PutRecord(record.header.time, record.bytes);
  for (const Reign& reign : begun_) history_.Add(reign);
  return absl::OkStatus();
}

Lsn MemoryLog::BeginReign(uint64_t epoch, UnixMillis now) {
  DCHECK(record_ == nullptr) << "inside a record";
  const Reign reign = NewReign(epoch, end());
  const UnixMillis time = std::max(latest_, now);
  PutRecord(time, EncodeReignRecord(reign, time));
  history_.Add(reign);
  return end();
}

void MemoryLog::PutRecord(UnixMillis time, std::string_view bytes) {
  if (backlog_ != nullptr) backlog_->Append(bytes);
  latest_ = std::max(latest_, time);
  end_.store(end() + bytes.size(), std::memory_order_relaxed);
}

void MemoryLog::KeepBacklog(uint64_t bytes) {
  DCHECK(record_ == nullptr) << "inside a record";
  if (bytes == 0) {
    backlog_.reset();
  } else if (backlog_ != nullptr) {
    backlog_->set_limit(bytes);
  } else {
    backlog_ = std::make_unique<Backlog>(end(), bytes);
  }
}

void MemoryLog::Restart(Lsn end, std::vector<Reign> history) {
  DCHECK(record_ == nullptr) << "inside a record";
  KeepBacklog(0);
  end_.store(end, std::memory_order_relaxed);
  timed_ = end;
  history_.Set(std::move(history));
}

}  // namespace skein::storage
