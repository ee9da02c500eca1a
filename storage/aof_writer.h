// The writer thread of one shard's log: carries whole records from the tail in memory to the incr file, puts marks
// between the groups, syncs by policy and publishes how far it has come.
//
// Source of the rules: DESIGN "AOF" and "Failed writes"; lessons L06, L15, L16, L18, L21.
#ifndef SKEIN_STORAGE_AOF_WRITER_H_
#define SKEIN_STORAGE_AOF_WRITER_H_

#include <sys/uio.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/file.h"
#include "storage/log.h"
#include "storage/log_tail.h"
#include "storage/parker.h"
#include "storage/place_index.h"
#include "storage/record.h"

namespace skein::storage {

// How an append-only log behaves; the durations are only ever changed by tests.
struct AofOptions {
  uint32_t shard = 0;
  AppendFsync fsync = AppendFsync::kEverySec;
  uint64_t buffer_limit = 64u << 20;
  std::function<void(uint32_t shard)> on_progress;              // as in DataSetOptions
  std::function<void(uint32_t shard, Lsn durable)> on_durable;  // as in DataSetOptions
  std::function<void(const std::string& why)> on_fatal;         // as in DataSetOptions
  std::chrono::nanoseconds sync_interval = std::chrono::seconds(1);
  std::chrono::nanoseconds slow_sync = std::chrono::seconds(2);
  // Unless the policy is `always`, how long the writer lets records gather before it looks again; with more than
  // `nap_bytes` waiting it is woken earlier.
  std::chrono::nanoseconds nap = std::chrono::milliseconds(2);
  uint64_t nap_bytes = 1u << 20;
  std::chrono::nanoseconds retry_first = std::chrono::milliseconds(10);
  std::chrono::nanoseconds retry_last = std::chrono::seconds(1);
};

// An incr file that is ready to be continued.
struct AofFile {
  std::unique_ptr<File> file;
  std::string path;
  uint64_t size = 0;  // where the next byte goes
  uint64_t salt = 0;
  Lsn end = 0;                      // of the last record; durable
  Lsn marked = 0;                   // what the last mark in the file says is durable
  UnixMillis latest = 0;            // the latest time of a record; only looked at when the log is opened
  std::vector<Reign> history = {};  // likewise
};

// A change to a new incr file, which the thread makes between two groups. Called on the thread, which writes nothing
// meanwhile: what can be done before has been done.
struct FileChange {
  // Makes the new file ready to be continued at `at` and lists it. After an error the old one is gone on with.
  std::function<absl::StatusOr<AofFile>(Lsn at)> begin;
  // After an error of `begin`: makes sure that the new file is not listed. Tried again, with writes off, until it
  // works.
  std::function<absl::Status()> settle;
};

class AofWriter {
 public:
  // Why writes are off.
  enum class State : uint8_t {
    kOk,
    kWriteFails,  // the same bytes are being tried again and again
    kPoisoned,    // a sync has failed; until Revive
  };

  // Starts the thread. `tail` has been started at file.end and outlives the writer.
  AofWriter(const AofOptions& options, AofFile file, LogTail* tail);
  // Ends the thread as Stop and Join do.
  ~AofWriter();

  // ---- The shard's loop
  // Something new has been published; `pending` bytes are waiting now. Wakes the writer if it is worth it.
  void Nudge(uint64_t pending) {
    const bool urgent =
        policy_.load(std::memory_order_relaxed) == AppendFsync::kAlways || pending >= options_.nap_bytes;
    parker_.Wake(urgent ? Parker::kNap : Parker::kSleep);
  }

  // ---- Any thread --------------------------------------------------------------------------------------------------
  Lsn written() const { return written_.load(std::memory_order_seq_cst); }
  // Sequentially consistent: who announces that it waits, and then looks, is told or sees.
  Lsn durable() const { return durable_.load(std::memory_order_seq_cst); }
  State state() const { return state_.load(std::memory_order_acquire); }
  // The whole text of the refusal while state() is not kOk.
  std::string Reason() const;
  // Whether a sync has been running for longer than it may before writers are pushed back (`everysec` only).
  bool SyncIsSlow() const;
  // For how long the write or sync that is running has been running, in milliseconds; 0: none is.
  int64_t DiskBusyMs() const;
  // Asks for an on_progress call as soon as there is room. The caller looks once more after this.
  void AskForRoom() { room_asked_.store(true, std::memory_order_seq_cst); }
  void set_fsync(AppendFsync policy);
  AppendFsync fsync() const { return policy_.load(std::memory_order_relaxed); }

  struct Counters {
    uint64_t file_size = 0;
    uint64_t writes = 0;
    uint64_t write_errors = 0;
    uint64_t fsyncs = 0;
    uint64_t fsync_errors = 0;
    uint64_t delayed_fsync = 0;
    uint64_t revivals = 0;
  };
  Counters counters() const;
  // delayed_fsync begins anew (CONFIG RESETSTAT).
  void ResetDelayed() { delayed_fsync_.store(0, std::memory_order_relaxed); }

  // From now on, while a sync has failed, what is appended stays in memory until Revive, or the end.
  void Hold() { hold_.store(true, std::memory_order_seq_cst); }
  // Asks for a sync, whatever the policy, as soon as everything before `lsn` has been written.
  void AskSync(Lsn lsn);
  // Why writes are off, or were when they were off last; empty: never.
  std::string LastReason() const;

  // ---- Any thread that may wait for the disk -----------------------------------------------------------------------
  // Waits until durable() has reached `lsn`, which has been published, asking for a sync. FailedPrecondition if writes
  // go off before, Cancelled if the writer ends, or if the life is not the one that `lsn` is of.
  absl::Status WaitDurable(Lsn lsn) { return WaitDurable(lsn, life()); }
  absl::Status WaitDurable(Lsn lsn, uint64_t life);
  // Ends the file at a group boundary, where everything is durable, and goes on in the one that `change` makes.
  // FailedPrecondition if writes are off. After an error the log goes on in the old file. One at a time.
  struct Rotated {
    Lsn at = 0;               // where the new file starts
    uint64_t ended_size = 0;  // of the old one
  };
  absl::StatusOr<Rotated> Rotate(FileChange change);
  // After a failed sync: drops what the tail holds up to `lsn`, which the loop has appended and will publish, goes on
  // there in the file that `change` makes, and lets writes in again. FailedPrecondition if writes are not off for that
  // reason, or if the log went on past `lsn` (then nothing has been changed). One at a time.
  absl::Status Revive(Lsn lsn, FileChange change);
  // The log's content is replaced by another's: drops what the tail holds and goes on at `lsn`, wherever that is, in
  // the file that `change` makes, whatever state the writer was in. Nobody appends meanwhile. Waiters are told
  // Cancelled. After an error nothing has been changed. One at a time.
  absl::Status Restart(Lsn lsn, FileChange change);
  // Which life of the log this is: one more with every restart. Any thread.
  uint64_t life() const { return lives_.load(std::memory_order_seq_cst); }
  // Waits until everything before `lsn`, which has been published in this life, has been written. As WaitDurable,
  // without a sync; Cancelled if the life is another, or once `cancelled`, which may be null, is true: whoever makes it
  // so calls WakeWaiters.
  absl::Status WaitWritten(Lsn lsn, uint64_t life, const std::atomic<bool>* cancelled = nullptr);
  void WakeWaiters();
  // Where records start in the files that this writer has written.
  PlaceIndex& places() { return places_; }

  // Asks the thread to write and sync what has been published, and to end.
  void Stop();
  // Waits for it to have ended. The result of the last write and sync. Not concurrently with itself.
  absl::Status Join();

 private:
  using Clock = std::chrono::steady_clock;

  // What another thread waits for this one to do. Lives on that thread's stack.
  struct Request {
    enum class Kind : uint8_t { kRotate, kRevive, kRestart };
    Kind kind = Kind::kRotate;
    Lsn lsn = 0;  // where to go on; not of a rotation
    FileChange change;
    Rotated rotated;
    absl::Status status;
    bool done = false;  // under wait_mutex_
  };

  void Run();
  // Answers the request, if there is one that can be served now. Between two groups, or while a write fails.
  void ServeRequest();
  bool RequestReady() const;
  // `unsettled`: whether it failed so late that it must be settled.
  absl::Status StartRotation(Request* request, bool* unsettled);
  absl::Status StartRevival(Request* request);
  absl::Status StartRestart(Request* request);
  // Takes over the file that a request has made, at `lsn`.
  void Adopt(AofFile file, Lsn lsn);
  absl::Status Wait(Lsn lsn, uint64_t life, const std::atomic<bool>* cancelled, const std::function<Lsn()>& reached);
  void Answer(absl::Status status);
  // After a rotation that failed: until it works, or gives up because the writer is to end.
  void SettleUntilDone(const FileChange& change);
  absl::Status Post(Request* request);
  // After something failed with `status`: waits a little. False if it is not to be tried again: the writer is to end.
  bool TryAgain(const absl::Status& status, int* tries_when_stopping, std::chrono::nanoseconds* pause);

  // Writes one group of whole records, as long as it takes: until it gives up because the writer is to end, or a
  // revival has dropped it.
  void WriteGroup(Lsn published);
  void Gather(Lsn published);
  void AddPiece(char* data, size_t size);
  // Whether the group has been written.
  bool WriteUntilDone();
  // Whether what a sync has been asked for has been written and awaits it.
  bool SyncAsked() const;
  bool SyncDue(bool draining) const;
  void Sync();
  void Rest(bool wrote);
  void WaitAtMost(Parker::Depth depth, std::chrono::nanoseconds limit);
  void SetState(State state, std::string reason);
  void Progress();
  // on_progress, if somebody has asked for room since.
  void ReportRoom();
  void Note(const absl::Status& status);
  bool held() const { return state() == State::kPoisoned && hold_.load(std::memory_order_seq_cst) && !stopping(); }
  bool stopping() const { return stop_.load(std::memory_order_seq_cst); }

  const AofOptions options_;
  LogTail* const tail_;
  Parker parker_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> hold_{false};
  std::atomic<AppendFsync> policy_;

  // Written by the thread.
  alignas(64) std::atomic<Lsn> written_;
  std::atomic<Lsn> durable_;
  std::atomic<State> state_{State::kOk};
  std::atomic<bool> room_asked_{false};
  std::atomic<int64_t> sync_started_{0};  // steady clock, nanoseconds; 0: none is running
  std::atomic<int64_t> write_started_{0};
  std::atomic<uint64_t> file_size_, writes_{0}, write_errors_{0}, fsyncs_{0}, fsync_errors_{0}, delayed_fsync_{0},
      revivals_{0};
  std::atomic<Lsn> sync_asked_{0};
  PlaceIndex places_;
  mutable std::mutex reason_mutex_;  // only when writes are off
  std::string reason_;
  std::string last_reason_;

  // Those who wait: for something durable, or for a request to be served.
  std::mutex wait_mutex_;
  std::condition_variable wait_changed_;
  std::atomic<uint32_t> waiters_{0};
  std::atomic<uint64_t> lives_{0};  // one more with every restart
  std::atomic<Request*> request_{nullptr};
  bool ended_ = false;  // under wait_mutex_

  // The thread's own.
  AofFile file_;
  char mark_[kMarkSize];
  std::vector<iovec> group_;
  uint64_t group_size_ = 0;
  Lsn group_end_ = 0;
  bool group_marked_ = false;
  bool gave_up_ = false;
  bool dropped_ = false;  // the group, by a revival or a restart
  Clock::time_point last_sync_;
  absl::Status result_;
  std::thread thread_;
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_AOF_WRITER_H_
