// Switches the log of a running data set on and off: CONFIG SET appendonly.
//
// On: empty logs are opened aside, the saver's first rewrite gives them to the shards and writes bases, and when every
// base is durable the new folder takes its place. Until then nothing on disk that a start reads has changed, and nobody
// relies on the logs. Off: the manifest says so, the shards let go of their logs, what they have appended is written
// and synced, the logs end. One at a time, on a thread of its own. Source: DESIGN "AOF", "Snapshots never fork".
#ifndef SKEIN_STORAGE_LOG_SWITCH_H_
#define SKEIN_STORAGE_LOG_SWITCH_H_

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "storage/data_set.h"
#include "storage/data_set_saver.h"
#include "storage/log_set.h"
#include "storage/saver_impl.h"

namespace skein::storage {

class LogSwitch {
 public:
  // `logs`: recovered ones, or null.
  LogSwitch(const DataSetOptions& options, std::unique_ptr<LogSet> logs);
  ~LogSwitch();  // End

  // `saver` outlives End.
  void Begin(SaverImpl* saver, DataSet::RunOnShard run_on_shard);
  // Where a shard's next log starts at least. Before Begin.
  void set_floor(std::function<Lsn(uint32_t shard)> floor) { floor_ = std::move(floor); }
  // Where the last logs have ended that are not in use any more.
  Lsn EndOfLast(uint32_t shard) const;
  // The saver has stopped: what was under way ends. Nothing starts from then on.
  void End();

  // Any thread. Data set's calls of the same names.
  void TurnOn(AppendFsync fsync, DataSet::SwitchCallbacks callbacks);
  void TurnOff(DataSet::Done done);
  bool logged() const {
    if (!logged_.load(std::memory_order_acquire)) return false;
    const std::shared_ptr<LogSet> logs = this->logs();
    return logs != nullptr && !logs->aside();
  }

  // No shard is replaced meanwhile: whoever would asks this, on the shard's thread. Any thread.
  bool switching() const { return switching_.load(std::memory_order_acquire); }

  // The newest logs, those being switched on included; null: off.
  std::shared_ptr<LogSet> logs() const;
  // What the saver starts with.
  SaverLogs* saver_logs() const { return for_saver_.get(); }

 private:
  struct Task {
    std::optional<AppendFsync> on;  // else off
    DataSet::SwitchCallbacks callbacks;
  };
  void Post(Task task);
  void Main();
  void RunOn(const Task& task);
  void RunOff(const Task& task);
  // FailedPrecondition, and nothing is switched, while a shard is being replaced or was not to its end. Else none will
  // be until EndSwitch.
  absl::Status BeginSwitch();
  void EndSwitch() { switching_.store(false, std::memory_order_release); }
  absl::Status TurnOffNow(LogSet* logs);
  // The first rewrite, to its end.
  absl::Status WriteBases(const DataSet::SwitchCallbacks& callbacks, bool* told);
  void OnProgress(uint32_t shard);
  void Adopt(std::unique_ptr<LogSet> logs);
  // Nobody appends to the logs any more; replies may still ask how far they are durable.
  void Retire();
  void DetachShards();

  const DataSetOptions options_;
  const uint32_t shards_;
  SaverImpl* saver_ = nullptr;
  DataSet::RunOnShard run_on_shard_;
  std::atomic<bool> logged_{false};
  std::atomic<bool> switching_{false};
  std::function<Lsn(uint32_t shard)> floor_;
  std::vector<LogStart> starts_;  // where the next logs go on: in files of other names than any before them had

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Task> tasks_;
  bool cancelled_ = false;  // what is being switched on is to be switched off
  bool stopping_ = false;
  std::shared_ptr<LogSet> logs_;
  std::unique_ptr<LogSetForSaver> for_saver_;
  // The last ones that were in use.
  std::deque<std::pair<std::unique_ptr<LogSetForSaver>, std::shared_ptr<LogSet>>> retired_;
  std::thread thread_;  // begun when it is needed first
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_LOG_SWITCH_H_
