#include "storage/aof_writer.h"

#include <pthread.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "glog/logging.h"
#include "storage/runbook.h"

namespace skein::storage {
namespace {

// A group is closed once it holds this much, so that what is durable moves on under any load.
constexpr uint64_t kGroupLimit = 16u << 20;
// How often a write that fails is tried again once the writer is to end.
constexpr int kTriesWhenStopping = 3;

int64_t Nanos(std::chrono::steady_clock::time_point t) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(t.time_since_epoch()).count();
}

}  // namespace

AofWriter::AofWriter(const AofOptions& options, AofFile file, LogTail* tail)
    : options_(options),
      tail_(tail),
      policy_(options.fsync),
      written_(file.end),
      durable_(file.end),
      file_size_(file.size),
      file_(std::move(file)),
      last_sync_(Clock::now()) {
  thread_ = std::thread([this] { Run(); });
}

AofWriter::~AofWriter() {
  Stop();
  Join().IgnoreError();  // logged where it happened
}

void AofWriter::Stop() {
  stop_.store(true, std::memory_order_seq_cst);
  parker_.Wake(Parker::kPause);
}

absl::Status AofWriter::Join() {
  if (thread_.joinable()) thread_.join();
  return result_;
}

void AofWriter::set_fsync(AppendFsync policy) {
  policy_.store(policy, std::memory_order_seq_cst);
  parker_.Wake(Parker::kNap);
}

std::string AofWriter::Reason() const {
  const std::lock_guard<std::mutex> lock(reason_mutex_);
  return reason_;
}

std::string AofWriter::LastReason() const {
  const std::lock_guard<std::mutex> lock(reason_mutex_);
  return last_reason_;
}

bool AofWriter::SyncIsSlow() const {
  const int64_t started = sync_started_.load(std::memory_order_seq_cst);
  return started != 0 && fsync() == AppendFsync::kEverySec &&
         Nanos(Clock::now()) - started > options_.slow_sync.count();
}

int64_t AofWriter::DiskBusyMs() const {
  const int64_t write = write_started_.load(std::memory_order_relaxed);
  const int64_t started = write != 0 ? write : sync_started_.load(std::memory_order_relaxed);
  return started == 0 ? 0 : std::max<int64_t>(0, (Nanos(Clock::now()) - started) / 1'000'000);
}

AofWriter::Counters AofWriter::counters() const {
  Counters c;
  c.file_size = file_size_.load(std::memory_order_relaxed);
  c.writes = writes_.load(std::memory_order_relaxed);
  c.write_errors = write_errors_.load(std::memory_order_relaxed);
  c.fsyncs = fsyncs_.load(std::memory_order_relaxed);
  c.fsync_errors = fsync_errors_.load(std::memory_order_relaxed);
  // A sync that is slow right now counts already; when it ends it is counted for good.
  c.delayed_fsync = delayed_fsync_.load(std::memory_order_relaxed) + (SyncIsSlow() ? 1 : 0);
  c.revivals = revivals_.load(std::memory_order_relaxed);
  return c;
}

void AofWriter::Run() {
  // What top and gdb show: at most 15 characters.
  pthread_setname_np(pthread_self(), ("log-" + std::to_string(options_.shard)).c_str());
  while (!gave_up_) {
    // Read before what is published: everything published before Stop is seen.
    const bool draining = stopping();
    const Lsn published = tail_->published();
    // Looked at after what is published, so that nothing appended after Hold is written.
    const bool wrote = published > written() && (draining || !held());
    if (wrote) WriteGroup(published);
    const bool drained = draining && (gave_up_ || written() == tail_->published());
    if (SyncDue(drained)) Sync();
    ServeRequest();
    if (drained) break;
    Rest(wrote);
  }
  if (gave_up_ || state() == State::kPoisoned) {
    LOG(ERROR) << "shard " << options_.shard << ": " << file_.path << ": the log ended with "
               << tail_->published() - durable() << " bytes that are not known to be on disk";
  }
  const std::lock_guard<std::mutex> lock(wait_mutex_);
  ended_ = true;
  if (Request* const request = request_.exchange(nullptr); request != nullptr) {
    request->status = absl::CancelledError("the log is being closed");
    request->done = true;
  }
  wait_changed_.notify_all();
}

void AofWriter::Rest(bool wrote) {
  if (fsync() == AppendFsync::kAlways && tail_->published() > written()) return;
  if (wrote && fsync() != AppendFsync::kAlways) {
    // More will come: let it gather. Only an end, a new policy or a lot of it breaks this.
    if (!stopping()) WaitAtMost(Parker::kNap, options_.nap);
    return;
  }
  std::chrono::nanoseconds limit(-1);
  if (fsync() == AppendFsync::kEverySec && durable() < written() && state() != State::kPoisoned) {
    limit = std::max<std::chrono::nanoseconds>(last_sync_ + options_.sync_interval - Clock::now(),
                                               std::chrono::nanoseconds(0));
  }
  WaitAtMost(Parker::kSleep, limit);
}

void AofWriter::WaitAtMost(Parker::Depth depth, std::chrono::nanoseconds limit) {
  const AppendFsync policy = fsync();
  parker_.Prepare(depth);
  const bool asked = sync_asked_.load(std::memory_order_seq_cst) > durable() && state() != State::kPoisoned;
  const bool work = (depth == Parker::kSleep || asked) && tail_->published() > written() && !held();
  if (stopping() || work || SyncAsked() || RequestReady() || policy_.load(std::memory_order_seq_cst) != policy) {
    parker_.Cancel();
    return;
  }
  parker_.Park(limit);
}

void AofWriter::WriteGroup(Lsn published) {
  Gather(published);
  if (!WriteUntilDone()) return;
  writes_.fetch_add(1, std::memory_order_relaxed);
  places_.Note({.lsn = written(), .offset = file_.size, .salt = file_.salt});
  file_.size += group_size_;
  if (group_marked_) file_.marked = durable();
  file_size_.store(file_.size, std::memory_order_relaxed);
  tail_->Release();
  written_.store(group_end_, std::memory_order_seq_cst);
  WakeWaiters();
  if (state() == State::kWriteFails) {
    LOG(WARNING) << "shard " << options_.shard << ": writing to " << file_.path << " works again";
    SetState(State::kOk, "");
  }
  ReportRoom();
}

// Collects whole records up to `published` and fills in their checksums, which the loop has left to this thread.
void AofWriter::Gather(Lsn published) {
  group_.clear();
  group_size_ = 0;
  group_marked_ = durable() != file_.marked;
  if (group_marked_) {
    EncodeMark({.position = written(), .durable = durable(), .salt = file_.salt}, mark_);
    AddPiece(mark_, kMarkSize);
  }
  while (tail_->cursor() < published && group_size_ < kGroupLimit) {
    const LogTail::Piece head = tail_->Peek(published);
    DCHECK_GE(head.size, kRecordHeaderSize) << "the loop keeps a header in one piece";
    const uint64_t body_size = RawBodySize(head.data);
    AddPiece(head.data, kRecordHeaderSize);
    tail_->Skip(kRecordHeaderSize);
    uint32_t crc = 0;
    for (uint64_t left = body_size; left > 0;) {
      const LogTail::Piece piece = tail_->Peek(published);
      const size_t n = std::min<uint64_t>(left, piece.size);
      CHECK_GT(n, 0u) << "published in the middle of a record";
      crc = Crc32c({piece.data, n}, crc);
      AddPiece(piece.data, n);
      tail_->Skip(n);
      left -= n;
    }
    SumRecordHeader(head.data, crc);
  }
  group_end_ = tail_->cursor();
}

void AofWriter::AddPiece(char* data, size_t size) {
  group_size_ += size;
  if (!group_.empty() && static_cast<char*>(group_.back().iov_base) + group_.back().iov_len == data) {
    group_.back().iov_len += size;
  } else {
    group_.push_back({data, size});
  }
}

bool AofWriter::WriteUntilDone() {
  int tries_when_stopping = 0;
  uint64_t failures = 0;
  std::chrono::nanoseconds pause = options_.retry_first;
  dropped_ = false;
  while (true) {
    write_started_.store(Nanos(Clock::now()), std::memory_order_relaxed);
    const absl::Status status = file_.file->WriteAt(file_.size, group_);
    write_started_.store(0, std::memory_order_relaxed);
    if (status.ok()) return true;
    write_errors_.fetch_add(1, std::memory_order_relaxed);
    // Logged at 1, 2, 4, … failures in a row.
    if (std::has_single_bit(++failures)) {
      LOG(ERROR) << "shard " << options_.shard << ": writing " << group_size_ << " bytes at offset " << file_.size
                 << " failed, will be tried again (" << failures << " so far): " << status.message()
                 << SeeRunbook("disk-full");
    }
    // Back to the last whole record. If this fails too, the same bytes go to the same place later, which is as good.
    if (const absl::Status cut = file_.file->Truncate(file_.size); !cut.ok() && failures == 1) {
      LOG(ERROR) << "shard " << options_.shard << ": truncating to " << file_.size << " failed: " << cut.message();
    }
    if (state() != State::kPoisoned) {
      SetState(State::kWriteFails, "MISCONF Errors writing to the AOF file of shard " + std::to_string(options_.shard) +
                                       ": " + std::string(status.message()) + SeeRunbook("disk-full"));
    }
    ServeRequest();
    if (dropped_) return false;
    if (!TryAgain(status, &tries_when_stopping, &pause)) return false;
  }
}

bool AofWriter::TryAgain(const absl::Status& status, int* tries_when_stopping, std::chrono::nanoseconds* pause) {
  if (stopping() && ++*tries_when_stopping >= kTriesWhenStopping) {
    Note(status);
    gave_up_ = true;
    return false;
  }
  parker_.Prepare(Parker::kPause);
  // An end is a reason to try at once, but not to spin.
  if ((stopping() && *tries_when_stopping <= 1) || RequestReady()) {
    parker_.Cancel();
  } else {
    parker_.Park(*pause);
  }
  *pause = std::min(*pause * 2, options_.retry_last);
  return true;
}

bool AofWriter::SyncAsked() const {
  if (durable() == written() || state() == State::kPoisoned) return false;
  const Lsn asked = sync_asked_.load(std::memory_order_seq_cst);
  return asked > durable() && asked <= written();
}

bool AofWriter::SyncDue(bool draining) const {
  if (durable() == written() || state() == State::kPoisoned) return false;
  if (draining || fsync() == AppendFsync::kAlways || SyncAsked()) return true;
  return fsync() == AppendFsync::kEverySec && Clock::now() >= last_sync_ + options_.sync_interval;
}

void AofWriter::Sync() {
  const Lsn reached = written();
  const Clock::time_point started = Clock::now();
  sync_started_.store(Nanos(started), std::memory_order_relaxed);
  const absl::Status status = file_.file->Sync();
  sync_started_.store(0, std::memory_order_seq_cst);  // before looking whether somebody has asked for room
  last_sync_ = Clock::now();
  const Clock::duration took = last_sync_ - started;
  if (took > options_.slow_sync && fsync() == AppendFsync::kEverySec) {
    delayed_fsync_.fetch_add(1, std::memory_order_relaxed);
    LOG(WARNING) << "shard " << options_.shard << ": a sync of " << file_.path << " took "
                 << std::chrono::duration_cast<std::chrono::milliseconds>(took).count()
                 << " ms; writers were pushed back. Is the disk busy?";
  }
  if (status.ok()) {
    fsyncs_.fetch_add(1, std::memory_order_relaxed);
    durable_.store(reached, std::memory_order_seq_cst);
    WakeWaiters();
    if (!options_.on_durable) return Progress();
    ReportRoom();
    options_.on_durable(options_.shard, reached);
    return;
  }
  fsync_errors_.fetch_add(1, std::memory_order_relaxed);
  Note(status);
  const std::string why =
      "Errors syncing the AOF file of shard " + std::to_string(options_.shard) + ": " + std::string(status.message());
  const bool fatal = fsync() == AppendFsync::kAlways;
  LOG(ERROR) << why << "; records from LSN " << durable() << " to " << reached << " may not be on disk"
             << (fatal ? "" : "; writes are off until the shard has been saved anew") << SeeRunbook("failed-sync");
  SetState(State::kPoisoned,
           "MISCONF " + why + "; writes are off until the shard has been saved anew" + SeeRunbook("failed-sync"));
  if (fatal && options_.on_fatal) options_.on_fatal(why);
}

void AofWriter::SetState(State state, std::string reason) {
  {
    const std::lock_guard<std::mutex> lock(reason_mutex_);
    if (state_.load(std::memory_order_relaxed) == state && reason_ == reason) return;
    reason_ = std::move(reason);
    if (!reason_.empty()) last_reason_ = reason_;
    state_.store(state, std::memory_order_seq_cst);
  }
  WakeWaiters();
  Progress();
}

void AofWriter::Progress() {
  if (options_.on_progress) options_.on_progress(options_.shard);
}

void AofWriter::ReportRoom() {
  if (room_asked_.load(std::memory_order_seq_cst) && room_asked_.exchange(false, std::memory_order_seq_cst)) Progress();
}

void AofWriter::Note(const absl::Status& status) {
  if (!status.ok() && result_.ok()) result_ = status;
}

}  // namespace skein::storage
