// For tests of logs: a data set without tables, on a file system in memory.
#ifndef SKEIN_STORAGE_LOG_TESTING_H_
#define SKEIN_STORAGE_LOG_TESTING_H_

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"
#include "storage/fault_file.h"
#include "storage/log_set.h"

namespace skein::storage {

// Remembers what recovery gives it.
class RecordingSink : public RecordSink {
 public:
  absl::Status Apply(uint32_t db, UnixMillis time, std::string_view body) override {
    bodies.emplace_back(body);
    dbs.push_back(db);
    times.push_back(time);
    return absl::OkStatus();
  }
  std::vector<std::string> bodies;
  std::vector<uint32_t> dbs;
  std::vector<UnixMillis> times;
};

// Lets a test wait until something is true that changes with on_progress (or by a hook that calls Poke).
class Progress {
 public:
  void Poke() {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++count_;
    changed_.notify_all();
  }
  // Looks again at each change, and every few milliseconds for what has no callback. False after ten seconds.
  template <typename Predicate>
  bool Await(Predicate predicate) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      lock.unlock();
      if (predicate()) return true;
      lock.lock();
      if (std::chrono::steady_clock::now() > deadline) return false;
      changed_.wait_for(lock, std::chrono::milliseconds(2));
    }
  }
  uint64_t count() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return count_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t count_ = 0;
};

inline std::string Body(std::initializer_list<std::string_view> argv) {
  std::string body;
  AppendResp(argv, &body);
  return body;
}

// Options for a set in "/" of `fs`, as small as can be.
inline DataSetOptions TestOptions(FileSystem* fs, uint32_t shards, AppendFsync fsync = AppendFsync::kAlways) {
  DataSetOptions options;
  options.dir = "/";
  options.append_only = true;
  options.fsync = fsync;
  options.shards = shards;
  options.shards_configured = true;
  options.fs = fs;
  return options;
}

// Durations that do not make tests wait.
inline AofOptions Brisk() {
  AofOptions tuning;
  tuning.retry_first = std::chrono::milliseconds(1);
  tuning.retry_last = std::chrono::milliseconds(2);
  return tuning;
}

struct OpenedSet {
  absl::Status status;
  std::unique_ptr<LogSet> set;  // null unless status is OK
  std::vector<RecordingSink> sinks;
};

inline OpenedSet OpenSet(const DataSetOptions& options, const AofOptions& tuning = Brisk()) {
  OpenedSet opened;
  absl::StatusOr<std::unique_ptr<LogSet>> set = LogSet::Open(options, tuning);
  opened.status = set.status();
  if (!set.ok()) return opened;
  opened.sinks.resize((*set)->shard_count());
  opened.status = (*set)->Recover([&](uint32_t shard) { return &opened.sinks[shard]; });
  if (opened.status.ok()) opened.set = *std::move(set);
  return opened;
}

// Appends one record "SET key value" to database 0 and kicks.
inline Lsn AppendSet(Log* log, std::string_view key, std::string_view value, UnixMillis time = 1) {
  log->AppendEffect(0, 5, {"SET", key, value});
  const Lsn end = log->EndRecord(time);
  log->Kick();
  return end;
}

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_LOG_TESTING_H_
