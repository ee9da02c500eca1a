// A shard's log with an append-only file behind it.
#ifndef SKEIN_STORAGE_AOF_LOG_H_
#define SKEIN_STORAGE_AOF_LOG_H_

#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "storage/aof_writer.h"
#include "storage/backlog.h"
#include "storage/history.h"
#include "storage/log.h"
#include "storage/log_tail.h"
#include "storage/records.h"
#include "storage/types.h"

namespace skein::storage {

class AofLog final : public Log {
 public:
  // A log that is not open yet: nothing but Start may be called.
  explicit AofLog(const AofOptions& options) : options_(options) {}
  ~AofLog() override = default;

  // Opens it at file.end, the end of what recovery found and of the new reign's record. Starts the writer. Once.
  void Start(AofFile file);
  bool started() const { return writer_ != nullptr; }

  // Its shard, which is detached from it, has been replaced: goes on at `lsn` as the log with this history, in the file
  // that `change` makes. Waits for the disk. After an error it is where it was.
  absl::Status Restart(Lsn lsn, std::vector<Reign> history, UnixMillis latest, FileChange change);

  // Of a restarted log, before its shard has it: no record before its end is later.
  void set_latest(UnixMillis time) { latest_ = time; }

  // While it is provisional, nobody relies on it yet: that it cannot be written is no reason to refuse writes. Any
  // thread.
  void set_provisional(bool yes) { provisional_.store(yes, std::memory_order_relaxed); }

  absl::Status MayWrite() const override;
  void AppendEffect(uint32_t db, uint16_t slot, std::initializer_list<std::string_view> argv) override;
  Lsn EndRecord(UnixMillis time) override;
  void AppendTime(UnixMillis now) override;
  void Kick() override;
  Lsn end() const override { return end_.load(std::memory_order_relaxed); }
  Lsn durable() const override { return writer_->durable(); }
  Lsn written() const override { return writer_->written(); }
  int64_t DiskBusyMs() const override { return writer_->DiskBusyMs(); }
  uint64_t pending_bytes() const override {
    // The end is read last: it is never behind what is written, unless the log is being restarted.
    const Lsn written = writer_->written();
    const Lsn end = this->end();
    return end > written ? end - written : 0;
  }
  void AskSync(Lsn lsn) override { writer_->AskSync(lsn); }
  void set_fsync(AppendFsync policy) override { writer_->set_fsync(policy); }

  const std::vector<Reign>& history() const override { return history_.all(); }
  absl::Status AppendRecords(std::string_view records) override;
  Lsn BeginReign(uint64_t epoch, UnixMillis now) override;
  void set_follows(bool yes) override { follows_ = yes; }
  void KeepBacklog(uint64_t bytes) override;
  Backlog* backlog() override { return backlog_.get(); }
  // The reigns that began before `lsn`. Any thread.
  std::vector<Reign> HistoryUpTo(Lsn lsn) const { return history_.UpTo(lsn); }

  AofWriter& writer() { return *writer_; }
  const AofWriter& writer() const { return *writer_; }

 private:
  void OpenRecord(uint32_t db, uint16_t slot);
  void Encode(std::initializer_list<std::string_view> argv);
  absl::Status WhyNot() const;
  void PutRecord(UnixMillis time, std::string_view bytes);
  void CopyToBacklog();

  const AofOptions options_;
  // The loop's own, but for the end, which others may read.
  std::atomic<Lsn> end_{0};
  std::atomic<bool> provisional_{false};
  Lsn kicked_ = 0;
  Lsn timed_ = 0;           // end of the last time record, or where the log was opened
  UnixMillis latest_ = 0;   // of all records: a time record is not earlier, whatever the clock does
  char* header_ = nullptr;  // of the open record; null: none is open
  uint32_t record_db_ = 0;
  uint32_t current_db_ = 0;
  uint16_t record_slot_ = kNoSlot;
  LogTail tail_;
  bool follows_ = false;
  ReignList history_;
  std::unique_ptr<Backlog> backlog_;
  LogTail::Mark copied_;               // how far the tail is in the backlog
  std::vector<RecordView> taken_;      // of AppendRecords, kept for its room
  std::vector<Reign> begun_;           // likewise
  std::unique_ptr<AofWriter> writer_;  // ends before the tail goes
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_AOF_LOG_H_
