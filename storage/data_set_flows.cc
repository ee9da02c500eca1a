#include "storage/data_set_flows.h"

#include <algorithm>
#include <utility>

#include "glog/logging.h"
#include "storage/layout.h"
#include "storage/wall_clock.h"

namespace skein::storage {
namespace {

// Those that were cancelled end soon; more than this for each shard means that the disk hangs.
constexpr size_t kWorkersPerShard = 3;
// A log with files takes the place of one in memory: made while that one goes on, it starts so far beyond it.
constexpr Lsn kHeadStart = Lsn{1} << 30;

}  // namespace

DataSetFlows::~DataSetFlows() { End(); }

void DataSetFlows::Begin(SaverImpl* saver, uint32_t shards, DataSet::RunOnShard run_on_shard) {
  saver_ = saver;
  shards_ = shards;
  run_on_shard_ = std::move(run_on_shard);
  reloads_.resize(shards);
  for (uint32_t i = 0; i < shards; ++i) memory_.push_back(std::make_unique<MemoryLog>());
  switch_->set_floor([this](uint32_t shard) {
    const Lsn end = memory_[shard]->end();
    return end == 0 ? 0 : end + kHeadStart;
  });
}

void DataSetFlows::End() {
  std::vector<Worker> workers;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    workers = std::move(workers_);
    for (const std::weak_ptr<ShardReload::Work>& reload : reloads_) {
      if (const std::shared_ptr<ShardReload::Work> work = reload.lock(); work != nullptr) work->Cancel();
    }
  }
  for (Worker& worker : workers) worker.thread.join();
}

absl::Status DataSetFlows::Run(std::function<void()> fn) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (stopping_) return absl::UnavailableError("the node is stopping");
  std::erase_if(workers_, [](Worker& worker) {
    if (!worker.ended->load()) return false;
    worker.thread.join();
    return true;
  });
  if (workers_.size() >= kWorkersPerShard * shards_ + 1) {
    return absl::UnavailableError("too many changes of shards wait for the disk");
  }
  auto ended = std::make_shared<std::atomic<bool>>(false);
  workers_.push_back({std::thread([fn = std::move(fn), ended] {
                        fn();
                        ended->store(true);
                      }),
                      ended});
  return absl::OkStatus();
}

void DataSetFlows::StartMemoryLogs(bool follow, Done done) {
  if (switch_->logs() != nullptr) return done(absl::OkStatus());
  const auto left = std::make_shared<std::atomic<uint32_t>>(shards_);
  const auto all_done = std::make_shared<Done>(std::move(done));
  for (uint32_t i = 0; i < shards_; ++i) {
    run_on_shard_(i, [log = memory_[i].get(), last = switch_->EndOfLast(i), follow, left, all_done](Shard& shard) {
      if (shard.log() == nullptr && !shard.loading()) {
        log->Restart(std::max(log->end(), last), {});
        log->set_follows(follow);
        if (!follow) log->BeginReign(0, WallClock());
        shard.SetLog(log);
      }
      if (left->fetch_sub(1) == 1) (*all_done)(absl::OkStatus());
    });
  }
}

void DataSetFlows::ListReigns(std::vector<Lsn> ends, Done done) {
  const std::shared_ptr<LogSet> logs = switch_->logs();
  if (logs == nullptr) return done(absl::OkStatus());
  const auto shared = std::make_shared<Done>(std::move(done));
  const absl::Status begun = Run([logs, ends = std::move(ends), shared] { (*shared)(logs->ListReigns(ends)); });
  if (!begun.ok()) (*shared)(begun);
}

absl::StatusOr<std::unique_ptr<LogFeed>> DataSetFlows::OpenFeed(uint32_t shard, Lsn from) {
  const std::shared_ptr<LogSet> logs = switch_->logs();
  if (logs == nullptr) return absl::NotFoundError("there are no files: appendonly is no");
  return LogFeed::Open(logs, shard, from);
}

std::unique_ptr<SnapshotStream> DataSetFlows::StreamSnapshot(uint32_t shard, SnapshotStream::OnBegin on_begin) {
  SnapshotStream::Env env;
  env.shard = shard;
  env.shards = shards_;
  env.run_on_shard = run_on_shard_;
  env.save = saver_->options();
  if (options_.on_progress) env.on_room = [on_progress = options_.on_progress, shard] { on_progress(shard); };
  env.on_begin = std::move(on_begin);
  return std::make_unique<SnapshotStream>(std::move(env));
}

std::unique_ptr<ShardReload> DataSetFlows::BeginReload(Shard* shard, ShardReload::Callbacks callbacks) {
  ShardReload::Env env;
  env.shard = shard->index();
  env.shards = shards_;
  env.databases = options_.databases;
  env.run_on_shard = run_on_shard_;
  env.fs = FileSystemOf(options_);
  env.logs = switch_->logs();
  if (env.logs == nullptr) env.memory = memory_[shard->index()].get();
  auto work = std::make_shared<ShardReload::Work>(env, std::move(callbacks));
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::weak_ptr<ShardReload::Work>& last = reloads_[shard->index()];
    if (const std::shared_ptr<ShardReload::Work> before = last.lock(); before != nullptr) before->Cancel();
    last = work;
  }
  work->Begin(*shard);
  const absl::Status begun = Run([work] { work->Run(); });
  if (!begun.ok()) work->Fail(begun);
  return std::make_unique<ShardReload>(std::move(work));
}

}  // namespace skein::storage
