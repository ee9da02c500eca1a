// What other threads ask of the writer: something durable, a new file, the way back from a failed sync.
#include <utility>

#include "glog/logging.h"
#include "storage/aof_writer.h"
#include "storage/kill_point.h"
#include "storage/runbook.h"

namespace skein::storage {

// ---- The threads that ask ------------------------------------------------------------------------------------------

void AofWriter::AskSync(Lsn lsn) {
  Lsn asked = sync_asked_.load(std::memory_order_seq_cst);
  while (asked < lsn && !sync_asked_.compare_exchange_weak(asked, lsn, std::memory_order_seq_cst)) {
  }
  if (asked < lsn) parker_.Wake(Parker::kNap);
}

absl::Status AofWriter::WaitDurable(Lsn lsn, uint64_t life) {
  // Counted before looking, so that what happens after the look is told.
  waiters_.fetch_add(1, std::memory_order_seq_cst);
  AskSync(lsn);
  absl::Status status = Wait(lsn, life, nullptr, [this] { return durable(); });
  waiters_.fetch_sub(1, std::memory_order_seq_cst);
  return status;
}

absl::Status AofWriter::WaitWritten(Lsn lsn, uint64_t life, const std::atomic<bool>* cancelled) {
  waiters_.fetch_add(1, std::memory_order_seq_cst);
  absl::Status status = Wait(lsn, life, cancelled, [this] { return written(); });
  waiters_.fetch_sub(1, std::memory_order_seq_cst);
  return status;
}

absl::Status AofWriter::Wait(Lsn lsn, uint64_t life, const std::atomic<bool>* cancelled,
                             const std::function<Lsn()>& reached) {
  std::unique_lock<std::mutex> lock(wait_mutex_);
  while (true) {
    if (cancelled != nullptr && cancelled->load(std::memory_order_acquire)) return absl::CancelledError("cancelled");
    if (this->life() != life) return absl::CancelledError("the log has been replaced");
    if (reached() >= lsn) return absl::OkStatus();
    if (state() != State::kOk) return absl::FailedPreconditionError(Reason());
    if (ended_) return absl::CancelledError("the log is being closed");
    wait_changed_.wait(lock);
  }
}

absl::Status AofWriter::Post(Request* request) {
  {
    const std::lock_guard<std::mutex> lock(wait_mutex_);
    if (ended_) return absl::CancelledError("the log is being closed");
    CHECK(request_.load() == nullptr) << "one at a time";
    request_.store(request, std::memory_order_seq_cst);
  }
  parker_.Wake(Parker::kPause);
  std::unique_lock<std::mutex> lock(wait_mutex_);
  wait_changed_.wait(lock, [request] { return request->done; });
  return request->status;
}

absl::StatusOr<AofWriter::Rotated> AofWriter::Rotate(FileChange change) {
  Request request;
  request.change = std::move(change);
  if (absl::Status status = Post(&request); !status.ok()) return status;
  return request.rotated;
}

absl::Status AofWriter::Revive(Lsn lsn, FileChange change) {
  Request request;
  request.kind = Request::Kind::kRevive;
  request.lsn = lsn;
  request.change = std::move(change);
  return Post(&request);
}

absl::Status AofWriter::Restart(Lsn lsn, FileChange change) {
  Request request;
  request.kind = Request::Kind::kRestart;
  request.lsn = lsn;
  request.change = std::move(change);
  return Post(&request);
}

// ---- The writer's thread -------------------------------------------------------------------------------------------

void AofWriter::WakeWaiters() {
  if (waiters_.load(std::memory_order_seq_cst) == 0) return;
  // Empty on purpose: a waiter is either before its look at what has changed, or waits already.
  { const std::lock_guard<std::mutex> lock(wait_mutex_); }
  wait_changed_.notify_all();
}

void AofWriter::Answer(absl::Status status) {
  const std::lock_guard<std::mutex> lock(wait_mutex_);
  Request* const request = request_.exchange(nullptr);
  request->status = std::move(status);
  request->done = true;
  wait_changed_.notify_all();
}

bool AofWriter::RequestReady() const {
  const Request* const request = request_.load(std::memory_order_seq_cst);
  if (request == nullptr) return false;
  // What the loop has appended, it publishes at the end of its batch.
  return request->kind != Request::Kind::kRevive || state() != State::kPoisoned || tail_->published() >= request->lsn;
}

void AofWriter::ServeRequest() {
  if (!RequestReady()) return;
  Request* const request = request_.load(std::memory_order_seq_cst);
  if (request->kind != Request::Kind::kRotate) {
    Answer(request->kind == Request::Kind::kRevive ? StartRevival(request) : StartRestart(request));
    return;
  }
  const FileChange change = request->change;
  bool unsettled = false;
  // Answered first: who asked may have to end before the disk works again.
  Answer(StartRotation(request, &unsettled));
  if (unsettled) SettleUntilDone(change);
}

absl::Status AofWriter::StartRotation(Request* request, bool* unsettled) {
  if (state() != State::kOk) return absl::FailedPreconditionError(Reason());
  if (durable() != written()) Sync();
  if (state() != State::kOk) return absl::FailedPreconditionError(Reason());
  KillPoint("rotate.old-synced");
  absl::StatusOr<AofFile> file = request->change.begin(written());
  *unsettled = !file.ok();
  if (!file.ok()) return file.status();
  request->rotated = {.at = written(), .ended_size = file_.size};
  file_ = *std::move(file);
  file_size_.store(file_.size, std::memory_order_relaxed);
  return absl::OkStatus();
}

void AofWriter::SettleUntilDone(const FileChange& change) {
  int tries_when_stopping = 0;
  std::chrono::nanoseconds pause = options_.retry_first;
  while (true) {
    const absl::Status status = change.settle();
    if (status.ok()) break;
    write_errors_.fetch_add(1, std::memory_order_relaxed);
    SetState(State::kWriteFails, "MISCONF Errors writing the manifest for shard " + std::to_string(options_.shard) +
                                     ": " + std::string(status.message()) + SeeRunbook("disk-full"));
    if (RequestReady()) Answer(absl::FailedPreconditionError(Reason()));
    if (!TryAgain(status, &tries_when_stopping, &pause)) return;
  }
  if (state() == State::kWriteFails) SetState(State::kOk, "");
}

absl::Status AofWriter::StartRevival(Request* request) {
  const Lsn lsn = request->lsn;
  if (state() != State::kPoisoned) return absl::FailedPreconditionError("no sync of this log has failed");
  if (tail_->cursor() > lsn) {
    return absl::FailedPreconditionError("the log went on to LSN " + std::to_string(tail_->cursor()) +
                                         " after the snapshot at " + std::to_string(lsn));
  }
  absl::StatusOr<AofFile> file = request->change.begin(lsn);
  // Both the old files and the new ones are true, whichever the manifest lists: nothing is appended to either.
  if (!file.ok()) return file.status();
  while (tail_->cursor() < lsn) tail_->Skip(tail_->Peek(lsn).size);
  tail_->Release();
  Adopt(*std::move(file), lsn);
  revivals_.fetch_add(1, std::memory_order_relaxed);
  KillPoint("revive.adopted");
  LOG(WARNING) << "shard " << options_.shard << ": saved anew at LSN " << lsn << "; writes are on again";
  SetState(State::kOk, "");
  return absl::OkStatus();
}

absl::Status AofWriter::StartRestart(Request* request) {
  absl::StatusOr<AofFile> file = request->change.begin(request->lsn);
  if (!file.ok()) return file.status();
  tail_->Restart(request->lsn);
  sync_asked_.store(0, std::memory_order_seq_cst);
  lives_.fetch_add(1, std::memory_order_seq_cst);
  Adopt(*std::move(file), request->lsn);
  SetState(State::kOk, "");
  WakeWaiters();
  return absl::OkStatus();
}

void AofWriter::Adopt(AofFile file, Lsn lsn) {
  file_ = std::move(file);
  file_size_.store(file_.size, std::memory_order_relaxed);
  dropped_ = true;
  places_.Clear();
  written_.store(lsn, std::memory_order_seq_cst);
  durable_.store(lsn, std::memory_order_seq_cst);
  result_ = absl::OkStatus();
  hold_.store(false, std::memory_order_seq_cst);
}

}  // namespace skein::storage
