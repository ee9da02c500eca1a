// What a data set adds to replication's work: its logs, with files or in memory, and threads for what waits.
#ifndef SKEIN_STORAGE_DATA_SET_FLOWS_H_
#define SKEIN_STORAGE_DATA_SET_FLOWS_H_

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "storage/data_set.h"
#include "storage/flows.h"
#include "storage/log_switch.h"
#include "storage/memory_log.h"
#include "storage/saver_impl.h"

namespace skein::storage {

class DataSetFlows final : public Flows {
 public:
  // `logs` outlives this.
  DataSetFlows(const DataSetOptions& options, LogSwitch* logs) : options_(options), switch_(logs) {}
  ~DataSetFlows() override;  // End

  // `saver` outlives End.
  void Begin(SaverImpl* saver, uint32_t shards, DataSet::RunOnShard run_on_shard);
  // Cancels what is under way and waits for it, while the shards' threads still run. Nothing starts from then on.
  void End();

  void StartMemoryLogs(bool follow, Done done) override;
  void ListReigns(std::vector<Lsn> ends, Done done) override;
  absl::StatusOr<std::unique_ptr<LogFeed>> OpenFeed(uint32_t shard, Lsn from) override;
  std::unique_ptr<SnapshotStream> StreamSnapshot(uint32_t shard, SnapshotStream::OnBegin on_begin) override;
  void SetLostRecordsAside(uint32_t shard, Lsn from, Lsn to, LostDone done) override;
  absl::Status CutTo(Shard* shard, Lsn lsn, Done done) override;
  void SetReplicated(uint32_t shard, std::optional<Lsn> durable) override;
  bool switching() const override { return switch_->switching(); }
  absl::StatusOr<std::unique_ptr<ShardReload>> BeginReload(Shard* shard, ShardReload::Callbacks callbacks) override;

 private:
  struct Worker {
    std::thread thread;
    std::shared_ptr<std::atomic<bool>> ended;
  };
  // Runs it on a thread of its own. Unavailable if too many run, or after End.
  absl::Status Run(std::function<void()> fn);
  // Cancels what replaces the shard now; `cancel` is for what does from now on.
  void Supersede(uint32_t shard, std::function<void()> cancel);

  const DataSetOptions options_;
  LogSwitch* const switch_;
  SaverImpl* saver_ = nullptr;
  uint32_t shards_ = 0;
  DataSet::RunOnShard run_on_shard_;
  std::vector<std::unique_ptr<MemoryLog>> memory_;  // by shard

  std::mutex mutex_;
  bool stopping_ = false;
  std::vector<Worker> workers_;
  std::vector<std::function<void()>> cancels_;  // by shard: the last replacement's
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_DATA_SET_FLOWS_H_
