#include "storage/save_run.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <latch>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "glog/logging.h"
#include "storage/base_head.h"
#include "storage/kill_point.h"
#include "storage/log.h"
#include "storage/shard.h"
#include "storage/wall_clock.h"

namespace skein::storage {
namespace {

constexpr std::string_view kTempHead = "temp-", kTempTail = ".rdb";

std::string TempName() { return std::string(kTempHead) + std::to_string(getpid()) + std::string(kTempTail); }

absl::Status OfShard(uint32_t shard, const absl::Status& status) {
  return absl::Status(status.code(), "shard " + std::to_string(shard) + ": " + std::string(status.message()));
}

}  // namespace

struct SaveRun::Output {
  Output(FileSystem* fs, std::string path, bool incremental_sync, SavePace* pace, bool compress, bool checksum)
      : file(fs, std::move(path), incremental_sync, pace),
        encoder(RdbEncoderOptions{.compress = compress, .checksum = checksum}, file.buffer()) {}
  // What has been written since it was last asked.
  uint64_t NewBytes() { return file.written() - std::exchange(counted_, file.written()); }
  SaveFile file;
  RdbEncoder encoder;

 private:
  uint64_t counted_ = 0;
};

struct SaveRun::Part {
  uint32_t shard = 0;
  absl::Status status;
  std::shared_ptr<SnapshotBudget> budget;
  std::optional<SnapshotStart> start;
  UnixMillis time = 0;                                // when it had begun
  bool open = false;                                  // more will come of its snapshot
  bool cancelled = false;                             // its snapshot has been told to end
  bool done = false;                                  // a rewrite's base is in place
  std::vector<std::unique_ptr<SnapshotChunk>> early;  // that came before all could be written
  // Of a rewrite:
  bool revive = false;
  SaverLogs::NewBase base;
  Lsn first_incr = 0;
  std::unique_ptr<Output> output;
};

SaveRun::SaveRun(const SaverEnv& env, Plan plan)
    : env_(env),
      plan_(std::move(plan)),
      pace_(plan_.rate, [queue = plan_.queue](SavePace::Clock::time_point when) { return queue->WaitUntil(when); }) {
  part_of_.resize(env.shards);
  for (const uint32_t shard : plan_.shards) {
    part_of_[shard] = parts_.size();
    Part& part = parts_.emplace_back();
    part.shard = shard;
    part.budget = plan_.progress->budgets[shard];
  }
}

SaveRun::~SaveRun() = default;

absl::Status SaveRun::Execute() {
  if (rdb()) {
    if (absl::Status status = BeginRdb(); !status.ok()) {
      if (plan_.begun) plan_.begun(status);
      return status;
    }
  } else {
    BeginRewrite();
  }
  Pump();
  absl::Status result;
  for (const Part& part : parts_) {
    if (result.ok() && !part.status.ok()) result = OfShard(part.shard, part.status);
  }
  if (plan_.queue->interrupted() && !result.ok()) result = absl::CancelledError("cancelled");
  if (rdb() && result.ok()) {
    result = FinishRdb();
    if (!result.ok()) rdb_output_->file.Remove();
  }
  if (plan_.first) {
    if (result.ok() && plan_.queue->interrupted()) result = absl::CancelledError("cancelled");
    if (result.ok()) result = env_.logs->TakePlace();
    if (!result.ok()) DetachLogs();
  }
  return result;
}

// ---- Beginning -----------------------------------------------------------------------------------------------------

absl::Status SaveRun::BeginRdb() {
  rdb_output_ = std::make_unique<Output>(env_.fs, JoinPath(env_.dir, TempName()), plan_.options.incremental_sync,
                                         &pace_, plan_.options.compress, plan_.options.checksum);
  if (absl::Status status = rdb_output_->file.Open(); !status.ok()) return status;
  KillPoint("rdb.made");
  for (Part& part : parts_) StartSnapshot(part);
  return absl::OkStatus();
}

void SaveRun::BeginRewrite() {
  for (Part& part : parts_) {
    if (plan_.queue->interrupted()) {
      FailPart(part, absl::CancelledError("cancelled"));
      continue;
    }
    if (!part.status.ok()) continue;  // another's failed, and this is the first rewrite
    if (absl::Status status = PrepareRewrite(part); !status.ok()) {
      Fail(part, status);
      continue;
    }
    StartSnapshot(part);
  }
  if (waiting_ == 0) TellBegun();
}

absl::Status SaveRun::PrepareRewrite(Part& part) {
  part.revive = !plan_.first && env_.logs->Poisoned(part.shard);
  part.base = env_.logs->NextBase(part.shard);
  // The file first: a full disk is found before anything has changed.
  part.output = std::make_unique<Output>(env_.fs, part.base.path, plan_.options.rewrite_incremental_sync, &pace_,
                                         plan_.options.compress, /*checksum=*/true);
  if (absl::Status status = part.output->file.Open(); !status.ok()) return status;
  KillPoint("rewrite.base-made");
  if (plan_.first) {
    part.first_incr = env_.logs->FirstIncr(part.shard);
    return absl::OkStatus();
  }
  if (part.revive) return absl::OkStatus();
  absl::StatusOr<Lsn> first = env_.logs->Rotate(part.shard);
  if (!first.ok()) return first.status();
  part.first_incr = *first;
  return absl::OkStatus();
}

void SaveRun::StartSnapshot(Part& part) {
  ++open_;
  ++waiting_;
  part.open = true;
  Log* const log = plan_.first ? env_.logs->LogOf(part.shard) : nullptr;
  env_.run_on_shard(part.shard, [queue = plan_.queue, budget = part.budget, log](Shard& shard) {
    const auto before = [log](Shard& s) {
      // Nothing comes between: what the snapshot does not hold, the log does.
      if (log != nullptr) s.SetLog(log);
    };
    const auto tell = [queue, &shard](absl::StatusOr<SnapshotStart> start) {
      SaveQueue::Begun begun;
      begun.used_bytes = shard.used_bytes();
      begun.changes = shard.changes();
      begun.status = start.status();
      if (start.ok()) begun.start = *std::move(start);
      begun.time = WallClock();
      queue->Tell(shard.index(), std::move(begun));
    };
    shard.QueueSnapshot({.budget = budget, .sink = queue}, tell, before);
  });
}

// ---- What the shards say -------------------------------------------------------------------------------------------

void SaveRun::Pump() {
  while (open_ > 0) {
    while (plan_.step && plan_.queue->empty()) plan_.step();
    SaveQueue::Event event = plan_.queue->Next();
    if (event.kind == SaveQueue::Event::Kind::kInterrupt) {
      FailAll(absl::CancelledError("cancelled"));
      continue;
    }
    Part& part = parts_[part_of_[event.shard]];
    switch (event.kind) {
      case SaveQueue::Event::Kind::kBegun:
        OnBegun(part, std::move(event.begun));
        break;
      case SaveQueue::Event::Kind::kChunk:
        OnChunk(part, std::move(event.chunk));
        break;
      case SaveQueue::Event::Kind::kEnd:
        OnEnd(part, std::move(event.status));
        break;
      case SaveQueue::Event::Kind::kInterrupt:
        break;
    }
  }
}

void SaveRun::OnBegun(Part& part, SaveQueue::Begun begun) {
  --waiting_;
  used_bytes_ += begun.used_bytes;
  changes_ += begun.changes;
  if (begun.status.ok()) {
    part.start = std::move(begun.start);
    part.time = begun.time;
    for (const SnapshotStart::Db& db : part.start->databases) plan_.progress->keys_total += db.keys;
    any_begun_ = any_begun_ || part.status.ok();
  } else {
    Close(part);
    Fail(part, begun.status);
  }
  // An RDB has one head for all; each base has its own.
  if (rdb() && waiting_ == 0 && parts_[0].status.ok()) {
    if (absl::Status status = Head(*rdb_output_, nullptr); !status.ok()) FailAll(status);
    for (Part& p : parts_) EncodeEarly(p);
  } else if (!rdb() && part.status.ok()) {
    if (absl::Status status = Head(*part.output, &part); !status.ok()) Fail(part, status);
    EncodeEarly(part);
  }
  if (waiting_ == 0) TellBegun();
}

void SaveRun::EncodeEarly(Part& part) {
  std::vector<std::unique_ptr<SnapshotChunk>> early;
  early.swap(part.early);
  for (std::unique_ptr<SnapshotChunk>& chunk : early) {
    if (part.status.ok()) Encode(part, *chunk);
    chunk.reset();
  }
}

void SaveRun::TellBegun() {
  if (std::exchange(told_begun_, true) || !plan_.begun) return;
  const bool together = rdb() || plan_.first;
  const bool all_ok = std::all_of(parts_.begin(), parts_.end(), [](const Part& part) { return part.status.ok(); });
  if (any_begun_ && (!together || all_ok)) return plan_.begun(absl::OkStatus());
  for (const Part& part : parts_) {
    if (!part.status.ok()) return plan_.begun(OfShard(part.shard, part.status));
  }
}

void SaveRun::OnChunk(Part& part, std::unique_ptr<SnapshotChunk> chunk) {
  const uint64_t unwritten = plan_.progress->unwritten();
  if (unwritten > plan_.progress->peak.load(std::memory_order_relaxed)) {
    plan_.progress->peak.store(unwritten, std::memory_order_relaxed);
  }
  if (!part.status.ok()) return;
  if (rdb() ? waiting_ > 0 : !part.start.has_value()) {
    part.early.push_back(std::move(chunk));
    return;
  }
  Encode(part, *chunk);
}

void SaveRun::OnEnd(Part& part, absl::Status status) {
  Close(part);
  if (part.status.ok() && !status.ok()) return Fail(part, status);
  if (part.status.ok() && !rdb()) {
    if (absl::Status finished = FinishRewrite(part); !finished.ok()) Fail(part, finished);
  }
}

// ---- Writing -------------------------------------------------------------------------------------------------------

SaveRun::Output& SaveRun::output_of(Part& part) { return rdb() ? *rdb_output_ : *part.output; }

absl::Status SaveRun::Head(Output& output, const Part* part) {
  RdbEncoder& encoder = output.encoder;
  encoder.Begin();
  encoder.Aux("redis-ver", plan_.options.redis_version);
  encoder.Aux("redis-bits", std::to_string(sizeof(void*) * 8));
  encoder.Aux("ctime", std::to_string(WallClock() / 1000));
  encoder.Aux("used-mem", std::to_string(used_bytes_));
  encoder.Aux("aof-base", part != nullptr ? "1" : "0");
  std::map<uint32_t, SnapshotStart::Db> databases;
  const auto count = [&databases](const Part& p) {
    for (const SnapshotStart::Db& db : p.start->databases) {
      SnapshotStart::Db& sum = databases.try_emplace(db.db, SnapshotStart::Db{db.db, 0, 0}).first->second;
      sum.keys += db.keys;
      sum.expiring += db.expiring;
    }
  };
  if (part != nullptr) {
    WriteBaseHead({.shard = part->shard,
                   .shard_count = env_.shards,
                   .lsn = part->start->lsn,
                   .time = part->time,
                   .history = env_.logs->HistoryUpTo(part->shard, part->start->lsn)},
                  &encoder);
    count(*part);
  } else {
    for (const Part& p : parts_) count(p);
  }
  for (const auto& [index, db] : databases) encoder.SizeHint(db.db, db.keys, db.expiring);
  return output.file.WriteSome();
}

void SaveRun::Encode(Part& part, const SnapshotChunk& chunk) {
  Output& output = output_of(part);
  absl::Status status;
  chunk.ForEach([&](const RdbItem& item) {
    if (!status.ok()) return;
    output.encoder.Add(item);
    status = output.file.WriteSome();
  });
  plan_.progress->keys_done += chunk.keys();
  plan_.progress->bytes_written += output.NewBytes();
  if (!status.ok()) Fail(part, status);
}

absl::Status SaveRun::FinishRdb() {
  rdb_output_->encoder.End();
  SaveFile& file = rdb_output_->file;
  if (absl::Status status = file.Finish(); !status.ok()) return status;
  KillPoint("rdb.synced");
  plan_.progress->bytes_written += rdb_output_->NewBytes();
  if (plan_.queue->interrupted()) return absl::CancelledError("cancelled");
  const std::string path = JoinPath(env_.dir, plan_.options.rdb_name);
  if (absl::Status status = env_.fs->Rename(file.path(), path); !status.ok()) return status;
  KillPoint("rdb.renamed");
  if (absl::Status status = env_.fs->SyncDir(env_.dir); !status.ok()) return status;
  KillPoint("rdb.folder-synced");
  return absl::OkStatus();
}

absl::Status SaveRun::FinishRewrite(Part& part) {
  part.output->encoder.End();
  if (absl::Status status = part.output->file.Finish(); !status.ok()) return status;
  KillPoint("rewrite.base-synced");
  plan_.progress->bytes_written += part.output->NewBytes();
  const Lsn lsn = part.start->lsn;
  if (!part.revive) {
    if (absl::Status status = env_.logs->WaitDurable(part.shard, lsn, part.base.life); !status.ok()) return status;
    KillPoint("rewrite.log-durable");
    env_.logs->AwaitReplicated(part.shard, lsn, [this] { return plan_.queue->interrupted(); });
  }
  if (plan_.queue->interrupted()) return absl::CancelledError("cancelled");
  // From here on the manifest on disk may list the base, whatever is answered: it stays.
  part.output.reset();
  const absl::Status status = part.revive ? env_.logs->Revive(part.shard, part.base, lsn)
                                          : env_.logs->InstallBase(part.shard, part.base, lsn, part.first_incr);
  part.done = status.ok();
  return status;
}

// ---- Failing -------------------------------------------------------------------------------------------------------

void SaveRun::Fail(Part& part, const absl::Status& status) {
  FailPart(part, status);
  if (rdb() || plan_.first) FailAll(status);
}

void SaveRun::FailAll(const absl::Status& status) {
  for (Part& part : parts_) FailPart(part, status);
  if (rdb_output_ != nullptr) rdb_output_->file.Remove();
}

void SaveRun::FailPart(Part& part, const absl::Status& status) {
  if (part.done) return;
  if (part.status.ok()) part.status = status;
  part.early.clear();
  if (part.output != nullptr) {
    part.output->file.Remove();
    part.output.reset();
  }
  if (part.open && !std::exchange(part.cancelled, true)) {
    env_.run_on_shard(part.shard, [queue = plan_.queue](Shard& shard) { shard.CancelSnapshotOf(queue.get()); });
  }
}

void SaveRun::DetachLogs() {
  const auto detached = std::make_shared<std::latch>(static_cast<ptrdiff_t>(env_.shards));
  for (uint32_t i = 0; i < env_.shards; ++i) {
    env_.run_on_shard(i, [detached](Shard& shard) {
      if (shard.log() != nullptr) shard.log()->Kick();
      shard.SetLog(nullptr);
      detached->count_down();
    });
  }
  detached->wait();
}

void SaveRun::Close(Part& part) {
  if (std::exchange(part.open, false)) --open_;
}

// ---- Beside the saver ----------------------------------------------------------------------------------------------

absl::Status SaveRdbNow(FileSystem* fs, const std::string& dir, const SaveOptions& options,
                        const std::vector<Shard*>& shards) {
  SaverEnv env;
  env.fs = fs;
  env.dir = dir;
  env.shards = static_cast<uint32_t>(shards.size());
  env.run_on_shard = [&shards](uint32_t shard, const std::function<void(Shard&)>& fn) { fn(*shards[shard]); };
  SaveRun::Plan plan;
  plan.kind = SaveStatus::Kind::kRdb;
  plan.options = options;
  plan.rate = [] { return uint64_t{0}; };
  plan.queue = std::make_shared<SaveQueue>();
  plan.progress = std::make_shared<SaveProgress>();
  for (uint32_t i = 0; i < env.shards; ++i) {
    plan.shards.push_back(i);
    plan.progress->budgets.push_back(std::make_shared<SnapshotBudget>(options.buffer_limit, nullptr));
  }
  plan.step = [&shards] {
    for (Shard* const shard : shards) shard->StepSnapshot(256);
  };
  return SaveRun(env, std::move(plan)).Execute();
}

void RemoveLeftovers(FileSystem* fs, const std::string& dir) {
  const absl::StatusOr<std::vector<std::string>> names = fs->List(dir);
  if (!names.ok()) return;
  for (const std::string& name : *names) {
    if (name.size() <= kTempHead.size() + kTempTail.size() || !name.starts_with(kTempHead) ||
        !name.ends_with(kTempTail)) {
      continue;
    }
    const std::string digits = name.substr(kTempHead.size(), name.size() - kTempHead.size() - kTempTail.size());
    if (digits.size() > 9 || !std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; })) {
      continue;
    }
    // One that another process in this folder is writing now is left to it.
    const pid_t pid = static_cast<pid_t>(std::stol(digits));
    if (pid != getpid() && !(kill(pid, 0) != 0 && errno == ESRCH)) continue;
    const absl::Status status = fs->RemoveFile(JoinPath(dir, name));
    if (status.ok()) {
      LOG(INFO) << "removed " << JoinPath(dir, name) << ", which a save that did not end has left";
    } else {
      LOG(WARNING) << "could not remove " << status.message();
    }
  }
}

}  // namespace skein::storage
