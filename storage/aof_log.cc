#include "storage/aof_log.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "glog/logging.h"

namespace skein::storage {
namespace {

// The most that '*' or '$', a 64-bit number and two line ends take.
constexpr size_t kFrame = 32;

// How far ahead of the record that is being written its successors' memory is fetched.
constexpr size_t kFetchAhead = 256;
constexpr size_t kCacheLine = 64;

char* PutNumber(char* out, char sign, size_t number) {
  if (number < 10) {
    const char text[4] = {sign, static_cast<char>('0' + number), '\r', '\n'};
    std::memcpy(out, text, sizeof(text));
    return out + sizeof(text);
  }
  *out++ = sign;
  if (number < 100) {
    const char text[4] = {static_cast<char>('0' + number / 10), static_cast<char>('0' + number % 10), '\r', '\n'};
    std::memcpy(out, text, sizeof(text));
    return out + sizeof(text);
  }
  char digits[20];
  size_t count = 0;
  for (; number > 0; number /= 10) digits[count++] = static_cast<char>('0' + number % 10);
  while (count > 0) *out++ = digits[--count];
  *out++ = '\r';
  *out++ = '\n';
  return out;
}

// memcpy whose calls are worth avoiding: most arguments are short.
inline char* PutBytes(char* out, std::string_view bytes) {
  const char* const from = bytes.data();
  const size_t n = bytes.size();
  if (n > 16) {
    std::memcpy(out, from, n);
  } else if (n >= 8) {
    std::memcpy(out, from, 8);
    std::memcpy(out + n - 8, from + n - 8, 8);
  } else if (n >= 4) {
    std::memcpy(out, from, 4);
    std::memcpy(out + n - 4, from + n - 4, 4);
  } else {
    for (size_t i = 0; i < n; ++i) out[i] = from[i];
  }
  return out + n;
}

}  // namespace

void AofLog::Start(AofFile file) {
  CHECK(writer_ == nullptr);
  const Lsn end = file.end;
  tail_.Start(end);
  end_.store(end, std::memory_order_relaxed);
  kicked_ = timed_ = end;
  latest_ = file.latest;
  writer_ = std::make_unique<AofWriter>(options_, std::move(file), &tail_);
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
  size_t bound = kFrame;
  for (const std::string_view arg : argv) bound += kFrame + arg.size();
  if (bound <= tail_.room() || bound <= LogTail::kContiguous) {
    char* at = tail_.Reserve(bound);
    at = PutNumber(at, '*', argv.size());
    for (const std::string_view arg : argv) {
      at = PutNumber(at, '$', arg.size());
      at = PutBytes(at, arg);
      *at++ = '\r';
      *at++ = '\n';
    }
    tail_.Advance(at);
    return;
  }
  char frame[kFrame];
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
  tail_.Publish(end);
  writer_->Nudge(pending_bytes());
}

}  // namespace skein::storage
