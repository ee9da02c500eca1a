// For tests of saves: a data set whose shards have a thread each, as loops would be, on a file system in memory.
#ifndef SKEIN_STORAGE_SAVER_TESTING_H_
#define SKEIN_STORAGE_SAVER_TESTING_H_

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/data_set.h"
#include "storage/fault_file.h"
#include "storage/saver.h"
#include "storage/shard.h"

namespace skein::storage {

// "db/key" to value.
using Contents = std::map<std::string, std::string>;

// A shard's thread: runs what it is given in order, and slices of a snapshot between.
class ShardThread {
 public:
  explicit ShardThread(Shard* shard) : shard_(shard), thread_([this] { Main(); }) {}
  ~ShardThread();
  void Post(std::function<void(Shard&)> fn);
  // Looks again whether the snapshot may go on.
  void Wake();
  // Holds slices back, so that a test decides when they go on.
  void Hold(bool hold);

 private:
  void Main();

  Shard* const shard_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void(Shard&)>> tasks_;
  bool stop_ = false, hold_ = false, woken_ = false;
  std::thread thread_;
};

// An open data set that serves.
class ServedData {
 public:
  static DataSetOptions OptionsOn(FileSystem* fs, bool append_only, uint32_t shards);
  // CHECKs that it opens (DataSet::OpenInherited, if the options say so). The folder is made if need be.
  explicit ServedData(DataSetOptions options);
  ~ServedData();

  DataSet& data() { return *data_; }
  Saver& saver() { return *data_->saver(); }
  // Runs on the shard's thread and waits.
  void Run(uint32_t shard, const std::function<void(Shard&)>& fn);
  void Hold(bool hold);
  // "SET": the shard follows from the key.
  void Set(uint32_t db, const std::string& key, const std::string& value);
  void FlushAll();
  Contents Read();
  // Until `met`, which must come and is looked at again when a log has moved.
  void AwaitLog(const std::function<bool()>& met);
  // Asks for syncs, whatever the policy is.
  void AwaitDurable();
  // Ends serving and closes; the shards stay.
  absl::Status Close();

  // Asks for a save and waits for its end; an error also if it could not start.
  absl::Status SaveRdb();
  absl::Status Rewrite();

 private:
  struct Router;
  std::shared_ptr<Router> router_;
  std::unique_ptr<DataSet> data_;
  bool closed_ = false;
};

// Takes the disk as it would be found after losing power, before every operation.
class PowerCuts {
 public:
  explicit PowerCuts(FaultFileSystem* fs) : fs_(fs) {
    fs->SetHook([this](FaultFileSystem::Op op, const std::string&) {
      if (op == FaultFileSystem::Op::kRead) return 0;
      const std::lock_guard lock(mutex_);
      for (uint64_t seed = 0; seed < 3; ++seed) disks_.push_back(fs_->AfterPowerLoss(disks_.size() * 7 + seed));
      return 0;
    });
  }
  std::vector<std::unique_ptr<FaultFileSystem>> End() {
    fs_->SetHook(nullptr);
    const std::lock_guard lock(mutex_);
    disks_.push_back(fs_->AfterPowerLoss(1));
    return std::move(disks_);
  }

 private:
  FaultFileSystem* const fs_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<FaultFileSystem>> disks_;
};

// Lets the nth operation fail, or all from it on.
class FailAt {
 public:
  FailAt(FaultFileSystem* fs, int nth, bool from_there_on) : fs_(fs) {
    fs->SetHook([this, nth, from_there_on](FaultFileSystem::Op op, const std::string&) {
      if (op == FaultFileSystem::Op::kRead) return 0;
      const int now = at_.fetch_add(1);
      return now == nth || (from_there_on && now > nth) ? EIO : 0;
    });
  }
  // Whether it came to that.
  bool End(int nth) {
    fs_->SetHook(nullptr);
    return at_.load() > nth;
  }

 private:
  FaultFileSystem* const fs_;
  std::atomic<int> at_{0};
};

// What an RDB file holds, and its auxiliary fields.
struct RdbContents {
  Contents keys;
  std::multimap<std::string, std::string> aux;
};
absl::StatusOr<RdbContents> ReadRdbFile(FileSystem* fs, const std::string& path);

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_SAVER_TESTING_H_
