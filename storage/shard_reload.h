// A replica's shard, replaced as a whole by a base that its primary streams.
//
// Begin empties the shard and detaches its log; what is fed is parsed on a thread of its own, written aside as a new
// base if there are files, and loaded on the shard's thread in small batches. At its end base and a new incr are listed
// together, nothing older with them, and the shard gets its log back, at the base's LSN, with the base's history.
// A crash before that leaves the old files, one after it the new ones. If it fails, the shard stays as it is then,
// without a log and not whole (Shard::loading), until another reload, or a start, which reads the old files.
#ifndef SKEIN_STORAGE_SHARD_RELOAD_H_
#define SKEIN_STORAGE_SHARD_RELOAD_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/base_head.h"
#include "storage/data_set.h"
#include "storage/file.h"
#include "storage/log_set.h"
#include "storage/memory_log.h"
#include "storage/shard.h"
#include "storage/shard_feeder.h"
#include "storage/types.h"

namespace skein::storage {

class ShardReload {
 public:
  // Both come on the shard's thread, and not once this object is gone.
  struct Callbacks {
    std::function<void()> on_room;  // Feed may go on
    // The shard is whole, with its log at `lsn`; or why not. Once.
    std::function<void(absl::StatusOr<Lsn> lsn)> done;
  };
  struct Env {
    uint32_t shard = 0;
    uint32_t shards = 1;
    uint32_t databases = 16;
    DataSet::RunOnShard run_on_shard;
    FileSystem* fs = nullptr;
    std::shared_ptr<LogSet> logs;  // null: no files
    MemoryLog* memory = nullptr;   // then
  };
  // What is fed and not yet parsed is about this much at most.
  static constexpr size_t kQueueLimit = size_t{4} << 20;

  class Work;

  // Takes the work that Flows::BeginReload has begun.
  explicit ShardReload(std::shared_ptr<Work> work) : work_(std::move(work)) {}
  // Gives up, unless it has ended. Does not wait.
  ~ShardReload();
  ShardReload(const ShardReload&) = delete;
  ShardReload& operator=(const ShardReload&) = delete;

  // ---- The shard's thread
  // The next bytes of the base. False: it is full now, wait for on_room before the next ones.
  bool Feed(std::string bytes);
  // Everything has been fed. `done` follows.
  void Finish();

 private:
  const std::shared_ptr<Work> work_;
};

// What the reload's thread, its owner and the shard's thread share.
class ShardReload::Work : public std::enable_shared_from_this<ShardReload::Work> {
 public:
  Work(Env env, Callbacks callbacks)
      : env_(std::move(env)),
        callbacks_(std::move(callbacks)),
        feeder_(std::make_shared<ShardFeeder>(env_.shard, env_.run_on_shard)) {}

  // On the shard's thread, before anything else.
  void Begin(Shard& shard);
  // The whole of it; on a thread that may wait.
  void Run();
  // Instead of Run: there is no thread for it.
  void Fail(const absl::Status& status);

  bool Feed(std::string bytes);
  void Finish();
  // Any thread. Nothing is loaded, listed or called from now on.
  void Cancel();
  bool cancelled() const { return feeder_->cancelled(); }

  // Takes up to `size` of the bytes that have been fed, at least one, unless all have been.
  absl::StatusOr<size_t> Read(char* out, size_t size);

 private:
  // `head`: what the base says of itself.
  absl::Status Replace(BaseHead* head);
  // The next piece that was fed, as current_. False: there is none; with `wait`, nor will be.
  absl::StatusOr<bool> TakeFed(bool wait);

  const Env env_;
  const Callbacks callbacks_;  // called on the shard's thread only
  const std::shared_ptr<ShardFeeder> feeder_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> fed_;
  size_t fed_bytes_ = 0;
  bool finished_ = false, told_full_ = false;
  // The thread's own: copied from without the lock, which the shard's thread waits for.
  std::string current_;
  size_t taken_ = 0;  // of it
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_SHARD_RELOAD_H_
