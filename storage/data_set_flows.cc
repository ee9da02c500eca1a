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

absl::Status BeingSwitched() { return absl::UnavailableError("the log is being switched on or off"); }

}  // namespace

DataSetFlows::~DataSetFlows() { End(); }

void DataSetFlows::Begin(SaverImpl* saver, uint32_t shards, DataSet::RunOnShard run_on_shard) {
  saver_ = saver;
  shards_ = shards;
  run_on_shard_ = std::move(run_on_shard);
  cancels_.resize(shards);
  for (uint32_t i = 0; i < shards; ++i) memory_.push_back(std::make_unique<MemoryLog>());
  if (switch_->logs() != nullptr) RemoveHalfLostRecords(FileSystemOf(options_), options_.dir);
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
    for (const std::function<void()>& cancel : cancels_) {
      if (cancel) cancel();
    }
  }
  for (Worker& worker : workers) worker.thread.join();
  // A rewrite that waits for a replica waits no more.
  const std::shared_ptr<LogSet> logs = switch_->logs();
  for (uint32_t i = 0; i < shards_ && logs != nullptr; ++i) logs->SetReplicated(i, std::nullopt);
}

void DataSetFlows::Supersede(uint32_t shard, std::function<void()> cancel) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (cancels_[shard]) cancels_[shard]();
  cancels_[shard] = std::move(cancel);
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

absl::StatusOr<std::unique_ptr<ShardReload>> DataSetFlows::BeginReload(Shard* shard, ShardReload::Callbacks callbacks) {
  if (switching()) return BeingSwitched();
  ShardReload::Env env;
  env.shard = shard->index();
  env.shards = shards_;
  env.databases = options_.databases;
  env.run_on_shard = run_on_shard_;
  env.fs = FileSystemOf(options_);
  env.logs = switch_->logs();
  if (env.logs == nullptr) env.memory = memory_[shard->index()].get();
  auto work = std::make_shared<ShardReload::Work>(env, std::move(callbacks));
  Supersede(shard->index(), [weak = std::weak_ptr<ShardReload::Work>(work)] {
    if (const std::shared_ptr<ShardReload::Work> before = weak.lock(); before != nullptr) before->Cancel();
  });
  work->Begin(*shard);
  const absl::Status begun = Run([work] { work->Run(); });
  if (!begun.ok()) work->Fail(begun);
  return std::make_unique<ShardReload>(std::move(work));
}

// ---- A loser's end -------------------------------------------------------------------------------------------------

void DataSetFlows::SetLostRecordsAside(uint32_t shard, Lsn from, Lsn to, LostDone done) {
  const std::shared_ptr<LogSet> logs = switch_->logs();
  if (logs == nullptr) {
    LostRecords lost{.shard = shard, .from = from, .to = to, .bytes = to - from, .bytes_gone = to - from, .path = {}};
    return done(std::move(lost));
  }
  const auto shared = std::make_shared<LostDone>(std::move(done));
  const absl::Status begun = Run([logs, shared, shard, from, to, dir = options_.dir] {
    (*shared)(storage::SetLostRecordsAside(logs, dir, shard, from, to));
  });
  if (!begun.ok()) (*shared)(begun);
}

absl::Status DataSetFlows::CutTo(Shard* shard, Lsn lsn, Done done) {
  if (switching()) return BeingSwitched();
  const uint32_t index = shard->index();
  const std::shared_ptr<LogSet> logs = switch_->logs();
  if (logs == nullptr || shard->log() != &logs->log(index)) {
    return absl::NotFoundError("shard " + std::to_string(index) + " has no files to be cut");
  }
  if (absl::Status status = logs->CanCut(index, lsn); !status.ok()) return status;
  const auto feeder = std::make_shared<ShardFeeder>(index, run_on_shard_);
  Supersede(index, [weak = std::weak_ptr<ShardFeeder>(feeder)] {
    if (const std::shared_ptr<ShardFeeder> before = weak.lock(); before != nullptr) before->Cancel();
  });
  DetachAndEmpty(*shard, logs.get());
  const auto shared = std::make_shared<Done>(std::move(done));
  const auto end = [run = run_on_shard_, index, logs, feeder, shared](const absl::Status& status) {
    run(index, [=](Shard& s) {
      if (feeder->cancelled()) return;
      if (status.ok()) GiveLog(s, &logs->log(index));
      (*shared)(status);
    });
  };
  const absl::Status begun = Run([logs, index, lsn, feeder, end] {
    FeedingSink sink(feeder);
    absl::Status status = logs->Cut(index, lsn, &sink);
    if (status.ok()) status = feeder->Await();
    if (!status.ok()) LOG(ERROR) << "shard " << index << ": could not be cut at LSN " << lsn << ": " << status;
    end(status);
  });
  if (!begun.ok()) end(begun);
  return absl::OkStatus();
}

void DataSetFlows::SetReplicated(uint32_t shard, std::optional<Lsn> durable) {
  const std::shared_ptr<LogSet> logs = switch_->logs();
  if (logs != nullptr) logs->SetReplicated(shard, durable);
}

}  // namespace skein::storage
