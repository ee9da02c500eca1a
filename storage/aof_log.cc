#include "storage/aof_log.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "glog/logging.h"
#include "storage/effect_text.h"
#include "storage/records.h"

namespace skein::storage {
namespace {

// How far ahead of the record that is being written its successors' memory is fetched.
constexpr size_t kFetchAhead = 256;
constexpr size_t kCacheLine = 64;

}  // namespace

void AofLog::Start(AofFile file) {
  CHECK(writer_ == nullptr);
  const Lsn end = file.end;
  tail_.Start(end);
  end_.store(end, std::memory_order_relaxed);
  kicked_ = timed_ = end;
  latest_ = file.latest;
  history_.Set(std::move(file.history));
  writer_ = std::make_unique<AofWriter>(options_, std::move(file), &tail_);
}

absl::Status AofLog::Restart(Lsn lsn, std::vector<Reign> history, UnixMillis latest, FileChange change) {
  CHECK(header_ == nullptr && backlog_ == nullptr);
  if (absl::Status status = writer_->Restart(lsn, std::move(change)); !status.ok()) return status;
  end_.store(lsn, std::memory_order_relaxed);
  kicked_ = timed_ = lsn;
  latest_ = latest;
  history_.Set(std::move(history));
  return absl::OkStatus();
}

absl::Status AofLog::MayWrite() const {
  if (writer_->state() == AofWriter::State::kOk && pending_bytes() < options_.buffer_limit && !writer_->SyncIsSlow()) {
    return absl::OkStatus();
  }
  return WhyNot();
}

absl::Status AofLog::WhyNot() const {
  // Asked for before looking again, so that room made in between is either seen here or reported.
  writer_->AskForRoom();
  if (writer_->state() != AofWriter::State::kOk) {
    if (provisional_.load(std::memory_order_relaxed)) return absl::OkStatus();
    std::string reason = writer_->Reason();
    // Empty if it has just come back.
    return reason.empty() ? absl::OkStatus() : absl::FailedPreconditionError(reason);
  }
  if (pending_bytes() >= options_.buffer_limit) return absl::UnavailableError("the log buffer is full");
  if (writer_->SyncIsSlow()) return absl::UnavailableError("a sync of the log is slow");
  return absl::OkStatus();
}

void AofLog::OpenRecord(uint32_t db, uint16_t slot) {
  header_ = tail_.Reserve(kRecordHeaderSize);
  for (size_t line = 0; line < 2; ++line) __builtin_prefetch(header_ + kFetchAhead + line * kCacheLine, /*rw=*/1);
  tail_.Advance(header_ + kRecordHeaderSize);
  record_db_ = current_db_ = db;
  record_slot_ = slot;
}

void AofLog::AppendEffect(uint32_t db, uint16_t slot, std::initializer_list<std::string_view> argv) {
  if (header_ == nullptr) {
    OpenRecord(db, slot);
  } else {
    if (slot != record_slot_) record_slot_ = kNoSlot;
    if (db != current_db_) {
      char number[24];
      const char* const end = PutNumber(number, 'x', db) - 2;
      Encode({"SELECT", {number + 1, static_cast<size_t>(end - number - 1)}});
      current_db_ = db;
    }
  }
  Encode(argv);
}

void AofLog::Encode(std::initializer_list<std::string_view> argv) {
  const size_t bound = EffectBound(argv);
  if (bound <= tail_.room() || bound <= LogTail::kContiguous) {
    tail_.Advance(PutEffect(tail_.Reserve(bound), argv));
    return;
  }
  char frame[kEffectFrame];
  tail_.Write({frame, static_cast<size_t>(PutNumber(frame, '*', argv.size()) - frame)});
  for (const std::string_view arg : argv) {
    tail_.Write({frame, static_cast<size_t>(PutNumber(frame, '$', arg.size()) - frame)});
    tail_.Write(arg);
    tail_.Write("\r\n");
  }
}

Lsn AofLog::EndRecord(UnixMillis time) {
  if (header_ == nullptr) return 0;
  const Lsn start = end();
  const Lsn position = tail_.position();
  RecordHeader header;
  header.db = static_cast<uint16_t>(record_db_);
  header.slot = record_slot_;
  header.lsn = start;
  header.time = time;
  latest_ = std::max(latest_, time);
  header.body_size = position - start - kRecordHeaderSize;
  EncodeRecordHeaderUnsummed(header, header_);
  header_ = nullptr;
  end_.store(position, std::memory_order_relaxed);
  return position;
}

void AofLog::AppendTime(UnixMillis now) {
  DCHECK(header_ == nullptr) << "inside a record";
  if (follows_) return;
  // Whoever saves a shard whose writes are off relies on its log to stand still.
  if (end() == timed_ || writer_->state() != AofWriter::State::kOk) return;
  char* const at = tail_.Reserve(kRecordHeaderSize);
  tail_.Advance(at + kRecordHeaderSize);
  RecordHeader header;
  header.kind = RecordKind::kTime;
  header.lsn = end();
  header.time = latest_ = std::max(latest_, now);
  EncodeRecordHeaderUnsummed(header, at);
  timed_ = tail_.position();
  end_.store(timed_, std::memory_order_relaxed);
}

void AofLog::Kick() {
  const Lsn end = this->end();
  if (end == kicked_) return;
  kicked_ = end;
  if (backlog_ != nullptr) CopyToBacklog();
  tail_.Publish(end);
  writer_->Nudge(pending_bytes());
}

// ---- Replication ---------------------------------------------------------------------------------------------------

absl::Status AofLog::AppendRecords(std::string_view records) {
  DCHECK(header_ == nullptr) << "inside a record";
  taken_.clear();
  begun_.clear();
  if (absl::Status status = TakeRecords(records, end(), &taken_, &begun_); !status.ok()) return status;
  for (const RecordView& record : taken_) PutRecord(record.header.time, record.bytes);
  for (const Reign& reign : begun_) history_.Add(reign);
  return absl::OkStatus();
}

Lsn AofLog::BeginReign(uint64_t epoch, UnixMillis now) {
  DCHECK(header_ == nullptr) << "inside a record";
  const Reign reign = NewReign(epoch, end());
  const UnixMillis time = std::max(latest_, now);
  PutRecord(time, EncodeReignRecord(reign, time));
  history_.Add(reign);
  return end();
}

// The writer finds a header in one piece, and fills in its checksums.
void AofLog::PutRecord(UnixMillis time, std::string_view bytes) {
  char* const header = tail_.Reserve(kRecordHeaderSize);
  std::memcpy(header, bytes.data(), kRecordHeaderSize);
  tail_.Advance(header + kRecordHeaderSize);
  tail_.Write(bytes.substr(kRecordHeaderSize));
  latest_ = std::max(latest_, time);
  end_.store(tail_.position(), std::memory_order_relaxed);
}

void AofLog::KeepBacklog(uint64_t bytes) {
  if (bytes == 0) {
    backlog_.reset();
  } else if (backlog_ != nullptr) {
    backlog_->set_limit(bytes);
  } else {
    Kick();
    backlog_ = std::make_unique<Backlog>(end(), bytes);
    copied_ = tail_.mark();
  }
}

// Before they are published: from then on they are the writer's, which changes them.
void AofLog::CopyToBacklog() {
  tail_.ReadFrom(&copied_, [this](std::string_view piece) { backlog_->Append(piece); });
}

}  // namespace skein::storage
