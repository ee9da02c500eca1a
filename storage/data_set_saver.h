// What a data set adds to the saver: its logs, and the calls around serving.
#ifndef SKEIN_STORAGE_DATA_SET_SAVER_H_
#define SKEIN_STORAGE_DATA_SET_SAVER_H_

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "storage/data_set.h"
#include "storage/log_set.h"
#include "storage/saver_impl.h"

namespace skein::storage {

// LogSet as the saver sees it.
class LogSetForSaver final : public SaverLogs {
 public:
  explicit LogSetForSaver(LogSet* logs) : logs_(logs) {}
  absl::StatusOr<Lsn> Rotate(uint32_t shard) override { return logs_->Rotate(shard); }
  absl::Status WaitDurable(uint32_t shard, Lsn lsn, uint64_t life) override {
    return logs_->WaitDurable(shard, lsn, life);
  }
  void AwaitReplicated(uint32_t shard, Lsn lsn, const std::function<bool()>& cancelled) override {
    logs_->AwaitReplicated(shard, lsn, cancelled);
  }
  void WakeReplicated() override { logs_->WakeReplicated(); }
  NewBase NextBase(uint32_t shard) override {
    LogSet::NewBase base = logs_->NextBase(shard);
    return {base.sequence, std::move(base.path), base.life};
  }
  absl::Status InstallBase(uint32_t shard, const NewBase& base, Lsn lsn, Lsn first_incr) override {
    return logs_->InstallBase(shard, {base.sequence, base.path, base.life}, lsn, first_incr);
  }
  absl::Status Revive(uint32_t shard, const NewBase& base, Lsn lsn) override {
    return logs_->Revive(shard, {base.sequence, base.path, base.life}, lsn);
  }
  std::vector<Reign> HistoryUpTo(uint32_t shard, Lsn lsn) const override { return logs_->HistoryUpTo(shard, lsn); }
  bool Poisoned(uint32_t shard) const override { return logs_->NeedsRevival(shard); }
  DataSet::Stats stats() const override { return logs_->stats(); }
  Log* LogOf(uint32_t shard) override { return &logs_->log(shard); }
  Lsn FirstIncr(uint32_t shard) override { return logs_->FirstIncr(shard); }
  absl::Status TakePlace() override { return logs_->TakePlace(); }

 private:
  LogSet* const logs_;
};

// The saver of a data set, from BeginServing to the set's end.
class DataSetSaver {
 public:
  explicit DataSetSaver(const DataSetOptions& options) : options_(options) {}
  // Looks at the shards, which nobody else does yet. `logs` may be null.
  void Begin(const std::vector<Shard*>& shards, DataSet::RunOnShard run_on_shard, SaverLogs* logs);
  void End();
  // What it tells begins with this. Before Begin.
  void GoOnFrom(const SaveStatus& before) { before_ = before; }
  Saver* saver() { return saver_.get(); }
  SaverImpl* impl() { return saver_.get(); }
  // With the options that are set now.
  absl::Status SaveNow(const std::vector<Shard*>& shards) const;

 private:
  const DataSetOptions options_;
  std::optional<SaveStatus> before_;
  std::unique_ptr<SaverImpl> saver_;
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_DATA_SET_SAVER_H_
