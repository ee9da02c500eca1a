// A shard's log without files (appendonly no): it issues LSNs and feeds those who follow, from memory alone.
//
// Thread: the shard's loop; end() and written() any. Nothing of it is ever durable.
#ifndef SKEIN_STORAGE_MEMORY_LOG_H_
#define SKEIN_STORAGE_MEMORY_LOG_H_

#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "storage/backlog.h"
#include "storage/history.h"
#include "storage/log.h"
#include "storage/record.h"
#include "storage/records.h"
#include "storage/types.h"

namespace skein::storage {

class MemoryLog final : public Log {
 public:
  // Goes on where another log ends, or begins at 0 with no history.
  explicit MemoryLog(Lsn end = 0, std::vector<Reign> history = {});

  absl::Status MayWrite() const override { return absl::OkStatus(); }
  void AppendEffect(uint32_t db, uint16_t slot, std::initializer_list<std::string_view> argv) override;
  Lsn EndRecord(UnixMillis time) override;
  void AppendTime(UnixMillis now) override;
  void Kick() override {}  // the backlog has it as soon as a record ends
  Lsn end() const override { return end_.load(std::memory_order_relaxed); }
  Lsn durable() const override { return 0; }
  Lsn written() const override { return end(); }
  uint64_t pending_bytes() const override { return 0; }
  void set_fsync(AppendFsync /*policy*/) override {}

  const std::vector<Reign>& history() const override { return history_.all(); }
  absl::Status AppendRecords(std::string_view records) override;
  Lsn BeginReign(uint64_t epoch, UnixMillis now) override;
  void set_follows(bool yes) override { follows_ = yes; }
  void KeepBacklog(uint64_t bytes) override;
  Backlog* backlog() override { return backlog_.get(); }

  // Goes on at another place, as the log with this history: its shard has been replaced. The backlog goes.
  void Restart(Lsn end, std::vector<Reign> history);

 private:
  void PutRecord(UnixMillis time, std::string_view bytes);
  void Encode(std::initializer_list<std::string_view> argv);
  // Makes the open record's room so many bytes more than it holds; opens it, if there is none.
  void MakeRoom(size_t more);

  std::atomic<Lsn> end_;
  bool follows_ = false;
  uint32_t record_db_ = 0, current_db_ = 0;
  uint16_t record_slot_ = kNoSlot;
  // The open record, in place at the backlog's end or, if there is no room in one piece, in scratch_.
  char* record_ = nullptr;
  size_t record_size_ = 0, room_ = 0;
  bool in_backlog_ = false;
  std::unique_ptr<char[]> scratch_;
  size_t scratch_size_ = 0;
  Lsn timed_;
  UnixMillis latest_ = 0;
  ReignList history_;
  std::unique_ptr<Backlog> backlog_;
  std::vector<RecordView> taken_;  // of AppendRecords, kept for its room
  std::vector<Reign> begun_;       // likewise
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_MEMORY_LOG_H_
