#include "storage/memory_log.h"

#include <algorithm>
#include <utility>

#include "glog/logging.h"
#include "storage/effect_text.h"

namespace skein::storage {
namespace {

// Room that is kept for the next batch.
constexpr size_t kKeep = size_t{1} << 20;

void AppendText(std::initializer_list<std::string_view> argv, std::string* out) {
  const size_t size = out->size();
  out->resize(size + EffectBound(argv));
  const char* const end = PutEffect(out->data() + size, argv);
  out->resize(static_cast<size_t>(end - out->data()));
}

}  // namespace

MemoryLog::MemoryLog(Lsn end, std::vector<Reign> history) : end_(end), timed_(end) { history_.Set(std::move(history)); }

void MemoryLog::AppendEffect(uint32_t db, uint16_t slot, std::initializer_list<std::string_view> argv) {
  DCHECK(!follows_);
  if (!open_) {
    open_ = true;
    record_at_ = fresh_.size();
    fresh_.append(kRecordHeaderSize, '\0');
    record_db_ = current_db_ = db;
    record_slot_ = slot;
  } else {
    if (slot != record_slot_) record_slot_ = kNoSlot;
    if (db != current_db_) AppendText({"SELECT", std::to_string(db)}, &fresh_);
    current_db_ = db;
  }
  AppendText(argv, &fresh_);
}

Lsn MemoryLog::EndRecord(UnixMillis time) {
  if (!open_) return 0;
  open_ = false;
  RecordHeader header;
  header.db = static_cast<uint16_t>(record_db_);
  header.slot = record_slot_;
  header.lsn = end();
  header.time = time;
  header.body_size = fresh_.size() - record_at_ - kRecordHeaderSize;
  EncodeRecordHeaderUnsummed(header, fresh_.data() + record_at_);
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

void MemoryLog::Kick() {
  if (fresh_.empty()) return;
  if (backlog_ != nullptr) backlog_->Append(fresh_);
  fresh_.clear();
  if (fresh_.capacity() > kKeep) fresh_.shrink_to_fit();
}

absl::Status MemoryLog::AppendRecords(std::string_view records) {
  DCHECK(!open_) << "inside a record";
  taken_.clear();
  begun_.clear();
  if (absl::Status status = TakeRecords(records, end(), &taken_, &begun_); !status.ok()) return status;
  for (const RecordView& record : taken_) PutRecord(record.header.time, record.bytes);
  for (const Reign& reign : begun_) history_.Add(reign);
  return absl::OkStatus();
}

Lsn MemoryLog::BeginReign(uint64_t epoch, UnixMillis now) {
  DCHECK(!open_) << "inside a record";
  const Reign reign = NewReign(epoch, end());
  const UnixMillis time = std::max(latest_, now);
  PutRecord(time, EncodeReignRecord(reign, time));
  history_.Add(reign);
  return end();
}

void MemoryLog::PutRecord(UnixMillis time, std::string_view bytes) {
  fresh_.append(bytes);
  latest_ = std::max(latest_, time);
  end_.store(end() + bytes.size(), std::memory_order_relaxed);
}

void MemoryLog::KeepBacklog(uint64_t bytes) {
  if (bytes == 0) {
    backlog_.reset();
  } else if (backlog_ != nullptr) {
    backlog_->set_limit(bytes);
  } else {
    Kick();
    backlog_ = std::make_unique<Backlog>(end(), bytes);
  }
}

void MemoryLog::Restart(Lsn end, std::vector<Reign> history) {
  DCHECK(!open_) << "inside a record";
  KeepBacklog(0);
  fresh_.clear();
  end_.store(end, std::memory_order_relaxed);
  timed_ = end;
  history_.Set(std::move(history));
}

}  // namespace skein::storage
