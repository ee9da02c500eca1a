// One save, from the first snapshot to the renamed file: an RDB file of all shards, or new bases of some.
//
// Runs on the saver's thread. The shards' threads only hand over chunks, through SaveQueue.
#ifndef SKEIN_STORAGE_SAVE_RUN_H_
#define SKEIN_STORAGE_SAVE_RUN_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/data_set.h"
#include "storage/file.h"
#include "storage/rdb/encoder.h"
#include "storage/record.h"
#include "storage/save_file.h"
#include "storage/saver.h"
#include "storage/snapshot.h"

namespace skein::storage {

// What a rewrite needs of the logs; LogSet has the same calls, with the same meaning (storage/log_set.h).
class SaverLogs {
 public:
  virtual ~SaverLogs() = default;
  struct NewBase {
    uint64_t sequence;
    std::string path;
    uint64_t life;
  };
  virtual absl::StatusOr<Lsn> Rotate(uint32_t shard) = 0;
  virtual absl::Status WaitDurable(uint32_t shard, Lsn lsn, uint64_t life) = 0;
  // Of logs that nobody follows: no wait.
  virtual void AwaitReplicated(uint32_t /*shard*/, Lsn /*lsn*/, const std::function<bool()>& /*cancelled*/) {}
  virtual void WakeReplicated() {}
  virtual NewBase NextBase(uint32_t shard) = 0;
  virtual absl::Status InstallBase(uint32_t shard, const NewBase& base, Lsn lsn, Lsn first_incr) = 0;
  virtual absl::Status Revive(uint32_t shard, const NewBase& base, Lsn lsn) = 0;
  virtual std::vector<Reign> HistoryUpTo(uint32_t shard, Lsn lsn) const = 0;
  // Whether a sync of this log has failed, so that only Revive lets writes in again.
  virtual bool Poisoned(uint32_t shard) const = 0;
  virtual DataSet::Stats stats() const = 0;
  // ---- Of logs that the shards do not have yet (LogSet::OpenAside)
  // What the shard gets when its snapshot begins.
  virtual Log* LogOf(uint32_t /*shard*/) { return nullptr; }
  // Where its first incr file starts.
  virtual Lsn FirstIncr(uint32_t /*shard*/) { return 0; }
  // Every shard has its base.
  virtual absl::Status TakePlace() { return absl::OkStatus(); }
};

// What the saver works with; everything outlives it.
struct SaverEnv {
  FileSystem* fs = nullptr;
  std::string dir;
  uint32_t shards = 0;
  DataSet::RunOnShard run_on_shard;
  SaverLogs* logs = nullptr;                    // null with appendonly no
  uint64_t changes = 0;                         // of the shards while they were loaded: as good as saved
  std::optional<SaveStatus> before;             // of a saver that has ended: this one's begins there; else anew
  std::function<void(uint32_t shard)> on_room;  // its snapshot's budget has room again; may be null
  // Changed by tests only.
  std::chrono::milliseconds tick{100};
  std::chrono::milliseconds retry{5000};  // after a failed save, before the next that nobody asked for
  std::chrono::milliseconds revive_first{1000}, revive_last{60000};
};

// From the shards' threads to the saver's. Bounded by the snapshots' budgets.
class SaveQueue final : public SnapshotSink {
 public:
  // A snapshot has begun, or not.
  struct Begun {
    absl::Status status;
    SnapshotStart start;      // if so
    uint64_t used_bytes = 0;  // of the shard
    uint64_t changes = 0;     // Shard::changes()
    UnixMillis time = 0;      // once it had begun
  };
  struct Event {
    enum class Kind : uint8_t { kBegun, kChunk, kEnd, kInterrupt };
    Kind kind = Kind::kInterrupt;
    uint32_t shard = 0;
    Begun begun;
    std::unique_ptr<SnapshotChunk> chunk;
    absl::Status status;
  };

  // ---- The shards' threads
  void Take(uint32_t shard, std::unique_ptr<SnapshotChunk> chunk) override;
  void End(uint32_t shard, absl::Status status) override;
  void Tell(uint32_t shard, Begun begun);

  // Before others know of it: what Interrupt calls as well.
  void set_on_interrupt(std::function<void()> fn) { on_interrupt_ = std::move(fn); }

  // ---- Any thread: the save is to end.
  void Interrupt();

  // ---- The saver's thread
  // Waits for the next. An interrupt comes before everything else, once.
  Event Next();
  // False as soon as the save is interrupted, also if it was before.
  bool WaitUntil(SavePace::Clock::time_point when);
  bool interrupted() const;
  bool empty() const;

 private:
  void Push(Event event);

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Event> events_;
  std::function<void()> on_interrupt_;
  bool interrupted_ = false, told_ = false;
};

// What others may see of a running save.
struct SaveProgress {
  std::atomic<uint64_t> keys_total{0}, keys_done{0}, bytes_written{0}, peak{0};
  std::vector<std::shared_ptr<SnapshotBudget>> budgets;  // as the saver made them, one a shard
  uint64_t unwritten() const;
};

class SaveRun {
 public:
  struct Plan {
    SaveStatus::Kind kind;
    std::vector<uint32_t> shards;  // whose files are rewritten; all for an RDB
    bool first = false;            // of a rewrite: env.logs are new, and the shards get them
    SaveOptions options;
    std::function<uint64_t()> rate;  // as it is now
    std::shared_ptr<SaveQueue> queue;
    std::shared_ptr<SaveProgress> progress;
    std::function<void(const absl::Status&)> begun;
    // Called while there is nothing to take, where the shards have no threads of their own: lets them go on. Else null.
    std::function<void()> step;
  };
  SaveRun(const SaverEnv& env, Plan plan);
  ~SaveRun();

  // To its end. Cancelled if it was interrupted. Of a rewrite: the first error, the other shards may be done; of the
  // first one no shard is then, and none has a log.
  absl::Status Execute();
  // Sum of the shards' changes when their snapshots began.
  uint64_t changes() const { return changes_; }

 private:
  struct Output;
  struct Part;

  absl::Status BeginRdb();
  void BeginRewrite();
  absl::Status PrepareRewrite(Part& part);
  void StartSnapshot(Part& part);
  void Pump();
  void OnBegun(Part& part, SaveQueue::Begun begun);
  void OnChunk(Part& part, std::unique_ptr<SnapshotChunk> chunk);
  void OnEnd(Part& part, absl::Status status);
  void TellBegun();
  absl::Status Head(Output& output, const Part* part);
  void EncodeEarly(Part& part);
  void Encode(Part& part, const SnapshotChunk& chunk);
  absl::Status FinishRdb();
  absl::Status FinishRewrite(Part& part);
  // The shards have no logs again, all of them, when this returns.
  void DetachLogs();
  // The part's save has failed; of an RDB, everything has.
  void Fail(Part& part, const absl::Status& status);
  void FailPart(Part& part, const absl::Status& status);
  void FailAll(const absl::Status& status);
  void Close(Part& part);
  Output& output_of(Part& part);
  bool rdb() const { return plan_.kind == SaveStatus::Kind::kRdb; }

  const SaverEnv& env_;
  Plan plan_;
  SavePace pace_;
  std::vector<Part> parts_;
  std::vector<size_t> part_of_;  // by shard
  std::unique_ptr<Output> rdb_output_;
  size_t waiting_ = 0;  // parts whose snapshot has not yet said that it has begun
  size_t open_ = 0;     // parts that will still say something
  bool any_begun_ = false, told_begun_ = false;
  uint64_t changes_ = 0, used_bytes_ = 0;
};

// Saves the RDB in the calling thread, which is the only one that touches the shards.
absl::Status SaveRdbNow(FileSystem* fs, const std::string& dir, const SaveOptions& options,
                        const std::vector<Shard*>& shards);

// Removes what saves of processes that are no more have left in `dir`.
void RemoveLeftovers(FileSystem* fs, const std::string& dir);

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_SAVE_RUN_H_
