// The saver: decides when to save, runs one save at a time on its own thread, and remembers how they went.
#ifndef SKEIN_STORAGE_SAVER_IMPL_H_
#define SKEIN_STORAGE_SAVER_IMPL_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "storage/back_off.h"
#include "storage/save_run.h"
#include "storage/saver.h"

namespace skein::storage {

class SaverImpl final : public Saver {
 public:
  // Removes what earlier processes left, then starts the thread.
  SaverImpl(SaverEnv env, const SaveOptions& options);
  ~SaverImpl() override;  // Stop

  // Cancels what is running and ends the thread. From then on nothing starts. While the shards' threads still run.
  void Stop();

  absl::Status StartRdb(bool schedule, bool* scheduled, Callbacks callbacks) override;
  absl::Status StartRewrite(bool* scheduled, Callbacks callbacks) override;
  // The rewrite that gives the shards these logs (LogSet::OpenAside), which outlive it. If it ends well they are the
  // saver's from then on; if not, the shards have none again, and the saver has let go of them.
  absl::Status StartFirstRewrite(SaverLogs* logs, bool* scheduled, Callbacks callbacks);
  // Tells the first rewrite to end, if it runs or is scheduled. Does not block.
  void InterruptFirstRewrite();
  // Ends a rewrite that runs or is scheduled, and forgets the logs: when this returns nobody uses them. Not on a
  // shard's or the saver's thread.
  void ForgetLogs();
  void Cancel() override;
  SaveStatus status() const override;
  void SetOptions(const SaveOptions& options) override;
  void ResetCounts() override;
  std::string refusal() const override;

  SaveOptions options() const;

 private:
  using Clock = std::chrono::steady_clock;
  using Kind = SaveStatus::Kind;

  // A save that has been asked for. Several may have asked for the same.
  struct Request {
    Kind kind = Kind::kNone;
    std::vector<uint32_t> shards;
    std::vector<Callbacks> callbacks;
    bool reviving = false;
    SaverLogs* first = nullptr;  // of the first rewrite
  };

  void ThreadMain();
  void RunOne(std::unique_lock<std::mutex>& lock);
  void Finished(const Request& request, const absl::Status& status, uint64_t changes, int64_t seconds);
  // With the lock held: from now on it runs.
  void Begin(Request request);
  void BeginScheduled();
  static void TellAll(const std::vector<Callbacks>& all, const absl::Status& status);
  std::vector<uint32_t> AllShards() const;
  // Saves that nobody asked for.
  void Tick(std::unique_lock<std::mutex>& lock);
  bool SavePointReached() const;
  void AskForChanges();
  std::vector<uint32_t> GrownShards(const DataSet::Stats& stats) const;
  void UpdateRefusal();

  const SaverEnv env_;
  mutable std::mutex mutex_;
  std::condition_variable wake_, idle_;
  SaveOptions options_;
  std::atomic<uint64_t> rate_{0};
  SaveStatus status_;
  std::optional<Request> next_;  // begun, and not yet taken by the thread
  std::optional<Request> scheduled_rdb_, scheduled_rewrite_;
  SaverLogs* logs_;                         // null with appendonly no
  SaverLogs* first_logs_ = nullptr;         // of the running first rewrite
  bool ticking_ = false;                    // looks at logs_ without the lock
  std::shared_ptr<SaveQueue> queue_;        // of what is running
  std::shared_ptr<SaveProgress> progress_;  // likewise
  Clock::time_point started_{};
  bool cancelling_ = false;  // nothing new begins meanwhile
  bool stopping_ = false;
  BackOff rdb_back_off_, rewrite_back_off_, revive_back_off_;

  // The shards' changes, as they last said; outlives questions that are on their way.
  struct Changes {
    std::vector<std::atomic<uint64_t>> of_shard;
    std::atomic<uint32_t> asked{0};  // answers that have not come yet
    explicit Changes(uint32_t shards) : of_shard(shards) {}
  };
  const std::shared_ptr<Changes> changes_;
  Clock::time_point next_question_{};
  std::thread thread_;
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_SAVER_IMPL_H_
