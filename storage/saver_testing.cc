#include "storage/saver_testing.h"

#include <algorithm>
#include <future>
#include <utility>

#include "glog/logging.h"
#include "storage/log.h"
#include "storage/rdb/decoder.h"

namespace skein::storage {

// ---- ShardThread ---------------------------------------------------------------------------------------------------

ShardThread::~ShardThread() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void ShardThread::Post(std::function<void(Shard&)> fn) {
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(fn));
  }
  changed_.notify_all();
}

void ShardThread::Wake() {
  {
    const std::lock_guard lock(mutex_);
    woken_ = true;
  }
  changed_.notify_all();
}

void ShardThread::Hold(bool hold) {
  {
    const std::lock_guard lock(mutex_);
    hold_ = hold;
  }
  changed_.notify_all();
}

void ShardThread::Main() {
  bool full = false;
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(
        lock, [&] { return stop_ || !tasks_.empty() || (!hold_ && shard_->snapshot_running() && (!full || woken_)); });
    if (!tasks_.empty()) {
      const std::function<void(Shard&)> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task(*shard_);
      if (shard_->log() != nullptr) shard_->log()->Kick();
      lock.lock();
      full = false;
      continue;
    }
    if (stop_) return;
    woken_ = false;
    lock.unlock();
    full = shard_->StepSnapshot(16) == SnapshotStep::kFull;
    lock.lock();
  }
}

// ---- ServedData ----------------------------------------------------------------------------------------------------

struct ServedData::Router {
  std::mutex mutex;  // of `threads`, until it is full, and of `moves`
  std::vector<std::unique_ptr<ShardThread>> threads;
  uint64_t moves = 0;  // of the logs
  std::condition_variable moved;
};

DataSetOptions ServedData::OptionsOn(FileSystem* fs, bool append_only, uint32_t shards) {
  DataSetOptions options;
  options.dir = "/data";
  options.fs = fs;
  options.append_only = append_only;
  options.shards = shards;
  options.shards_configured = true;
  return options;
}

ServedData::ServedData(DataSetOptions options) : router_(std::make_shared<Router>()) {
  absl::Status made = options.fs->CreateDir(options.dir);
  made.Update(options.fs->SyncDir("/"));
  CHECK(made.ok()) << made;
  options.on_progress = [router = router_](uint32_t shard) {
    const std::lock_guard lock(router->mutex);
    ++router->moves;
    router->moved.notify_all();
    if (shard < router->threads.size()) router->threads[shard]->Wake();
  };
  if (!options.on_fatal) options.on_fatal = [](const std::string& why) { LOG(ERROR) << why; };
  absl::StatusOr<std::unique_ptr<DataSet>> opened =
      options.shards_inherited ? DataSet::OpenInherited(options, nullptr) : DataSet::Open(options);
  CHECK(opened.ok()) << opened.status();
  data_ = *std::move(opened);
  {
    const std::lock_guard lock(router_->mutex);
    for (uint32_t i = 0; i < data_->shard_count(); ++i) {
      router_->threads.push_back(std::make_unique<ShardThread>(&data_->shard(i)));
    }
  }
  data_->BeginServing([router = router_.get()](uint32_t shard, std::function<void(Shard&)> fn) {
    router->threads[shard]->Post(std::move(fn));
  });
}

ServedData::~ServedData() { Close().IgnoreError(); }

absl::Status ServedData::Close() {
  if (std::exchange(closed_, true)) return absl::OkStatus();
  data_->EndServing();
  std::vector<std::unique_ptr<ShardThread>> threads;
  {
    const std::lock_guard lock(router_->mutex);
    threads.swap(router_->threads);
  }
  threads.clear();
  return data_->Close();
}

void ServedData::Run(uint32_t shard, const std::function<void(Shard&)>& fn) {
  if (closed_) return fn(data_->shard(shard));
  std::promise<void> done;
  router_->threads[shard]->Post([&](Shard& s) {
    fn(s);
    done.set_value();
  });
  done.get_future().wait();
}

void ServedData::Hold(bool hold) {
  for (auto& thread : router_->threads) thread->Hold(hold);
}

void ServedData::Set(uint32_t db, const std::string& key, const std::string& value) {
  const Key k(key);
  Run(k.slot % data_->shard_count(), [&](Shard& shard) {
    shard.Begin(1'000'000);
    shard.SetString(db, k, value, kNoExpiry, "set");
    shard.End();
  });
}

void ServedData::FlushAll() {
  for (uint32_t i = 0; i < data_->shard_count(); ++i) {
    Run(i, [](Shard& shard) {
      shard.Begin(1'000'000);
      shard.FlushAll(/*lazy=*/true);
      shard.End();
    });
  }
}

Contents ServedData::Read() {
  Contents all;
  for (uint32_t i = 0; i < data_->shard_count(); ++i) {
    Run(i, [&all](Shard& shard) {
      for (uint32_t db = 0; db < shard.databases(); ++db) {
        uint64_t cursor = 0;
        do {
          cursor = shard.Scan(db, cursor, 100, kNoSlot, [&](const Entry& entry) {
            IntText scratch;
            all[std::to_string(db) + "/" + std::string(entry.key())] = std::string(entry.string(&scratch));
          });
        } while (cursor != 0);
      }
    });
  }
  return all;
}

void ServedData::AwaitLog(const std::function<bool()>& met) {
  std::unique_lock lock(router_->mutex);
  while (true) {
    const uint64_t seen = router_->moves;
    lock.unlock();
    if (met()) return;
    lock.lock();
    router_->moved.wait(lock, [&] { return router_->moves != seen; });
  }
}

void ServedData::AwaitDurable() {
  for (uint32_t i = 0; i < data_->shard_count(); ++i) {
    Run(i, [](Shard& shard) { shard.log()->AskSync(shard.log()->end()); });
  }
  AwaitLog([this] {
    const DataSet::Stats stats = data_->stats();
    return std::all_of(stats.shards.begin(), stats.shards.end(),
                       [](const DataSet::Stats::PerShard& shard) { return shard.durable == shard.end; });
  });
}

absl::Status ServedData::SaveRdb() {
  auto ended = std::make_shared<std::promise<absl::Status>>();
  bool scheduled = false;
  const absl::Status started = saver().StartRdb(
      true, &scheduled, {.begun = nullptr, .ended = [ended](const absl::Status& s) { ended->set_value(s); }});
  return started.ok() ? ended->get_future().get() : started;
}

absl::Status ServedData::Rewrite() {
  auto ended = std::make_shared<std::promise<absl::Status>>();
  bool scheduled = false;
  const absl::Status started = saver().StartRewrite(
      &scheduled, {.begun = nullptr, .ended = [ended](const absl::Status& s) { ended->set_value(s); }});
  return started.ok() ? ended->get_future().get() : started;
}

// ---- Files ---------------------------------------------------------------------------------------------------------

namespace {

class Collect final : public RdbVisitor {
 public:
  explicit Collect(RdbContents* out) : out_(out) {}
  absl::Status OnAux(std::string_view name, std::string_view value) override {
    out_->aux.emplace(name, value);
    return absl::OkStatus();
  }
  absl::Status OnItem(const RdbItem& item) override {
    const bool fresh =
        out_->keys.emplace(std::to_string(item.db) + "/" + std::string(item.key), std::string(item.string)).second;
    return fresh ? absl::OkStatus() : absl::DataLossError("key stands twice: " + std::string(item.key));
  }

 private:
  RdbContents* const out_;
};

}  // namespace

absl::StatusOr<RdbContents> ReadRdbFile(FileSystem* fs, const std::string& path) {
  absl::StatusOr<std::unique_ptr<File>> file = fs->Open(path, FileSystem::Mode::kRead);
  if (!file.ok()) return file.status();
  RdbContents contents;
  Collect collect(&contents);
  const absl::StatusOr<RdbInfo> read = ReadRdb(file->get(), path, 0, RdbDecoderOptions(), &collect);
  if (!read.ok()) return read.status();
  return contents;
}

}  // namespace skein::storage
