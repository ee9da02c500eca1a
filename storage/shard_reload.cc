#include "storage/shard_reload.h"

#include <pthread.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "glog/logging.h"
#include "storage/base_head.h"
#include "storage/kill_point.h"
#include "storage/rdb/decoder.h"
#include "storage/save_file.h"

namespace skein::storage {
namespace {

// What has been fed, as a file that is read once from front to back; what is read is written aside.
class FedFile final : public File {
 public:
  // `copy` may be null.
  FedFile(ShardReload::Work* work, SaveFile* copy) : work_(work), copy_(copy) {}

  absl::StatusOr<size_t> ReadAt(uint64_t offset, char* out, size_t size) override {
    CHECK_EQ(offset, read_) << "read from front to back";
    const absl::StatusOr<size_t> got = work_->Read(out, size);
    if (!got.ok()) return got;
    read_ += *got;
    if (copy_ == nullptr) return got;
    copy_->buffer()->append(out, *got);
    if (absl::Status status = copy_->WriteSome(); !status.ok()) return status;
    return got;
  }
  absl::Status WriteAt(uint64_t, const std::vector<iovec>&) override { return absl::UnimplementedError("read only"); }
  absl::Status Truncate(uint64_t) override { return absl::UnimplementedError("read only"); }
  absl::Status Sync() override { return absl::OkStatus(); }
  // It is not known where it ends; it says so there.
  absl::StatusOr<uint64_t> Size() override { return std::numeric_limits<uint64_t>::max() / 4; }

  uint64_t read() const { return read_; }

 private:
  ShardReload::Work* const work_;
  SaveFile* const copy_;
  uint64_t read_ = 0;
};

class Visitor final : public RdbVisitor {
 public:
  Visitor(const ShardReload::Env& env, std::shared_ptr<ShardFeeder> feeder) : env_(env), sink_(std::move(feeder)) {}

  absl::Status OnAux(std::string_view name, std::string_view value) override { return head_.OnAux(name, value); }
  absl::Status OnItem(const RdbItem& item) override {
    if (item.db >= env_.databases) {
      return absl::FailedPreconditionError("the primary has a key in database " + std::to_string(item.db) +
                                           "; this node has " + std::to_string(env_.databases) +
                                           ": set databases to what the primary has");
    }
    if (KeySlot(item.key) % env_.shards != env_.shard) {
      return absl::DataLossError("a key of another shard than " + std::to_string(env_.shard) + " of " +
                                 std::to_string(env_.shards));
    }
    return sink_.Load(item);
  }
  absl::Status End() {
    sink_.LoadEnd();
    size_t none;
    return sink_.ApplyBatch({}, &none);
  }
  absl::StatusOr<BaseHead> head() const {
    absl::StatusOr<std::optional<BaseHead>> head = head_.Finish();
    if (!head.ok()) return head.status();
    if (!head->has_value()) return absl::DataLossError("what came is no base: it names no shard and no LSN");
    if ((*head)->shard != env_.shard || (*head)->shard_count != env_.shards) {
      return absl::DataLossError("what came is the base of shard " + std::to_string((*head)->shard) + " of " +
                                 std::to_string((*head)->shard_count));
    }
    return **std::move(head);
  }

 private:
  const ShardReload::Env& env_;
  FeedingSink sink_;
  BaseHeadReader head_;
};

}  // namespace

ShardReload::~ShardReload() { work_->Cancel(); }
bool ShardReload::Feed(std::string bytes) { return work_->Feed(std::move(bytes)); }
void ShardReload::Finish() { work_->Finish(); }

void ShardReload::Work::Begin(Shard& shard) { DetachAndEmpty(shard, env_.logs.get()); }

// ---- Fed -----------------------------------------------------------------------------------------------------------

bool ShardReload::Work::Feed(std::string bytes) {
  if (bytes.empty()) return true;
  bool full = false;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    fed_bytes_ += bytes.size();
    fed_.push_back(std::move(bytes));
    full = told_full_ = fed_bytes_ >= kQueueLimit;
  }
  changed_.notify_all();
  return !full;
}

void ShardReload::Work::Finish() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    finished_ = true;
  }
  changed_.notify_all();
}

void ShardReload::Work::Cancel() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    feeder_->Cancel();
    fed_.clear();
  }
  changed_.notify_all();
}

absl::StatusOr<size_t> ShardReload::Work::Read(char* out, size_t size) {
  size_t got = 0;
  while (got < size) {
    if (taken_ == current_.size()) {
      const absl::StatusOr<bool> more = TakeFed(/*wait=*/got == 0);
      if (!more.ok()) return more.status();
      if (!*more) break;
    }
    const size_t n = std::min(size - got, current_.size() - taken_);
    std::memcpy(out + got, current_.data() + taken_, n);
    got += n;
    taken_ += n;
  }
  return got;
}

absl::StatusOr<bool> ShardReload::Work::TakeFed(bool wait) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (wait) changed_.wait(lock, [this] { return !fed_.empty() || finished_ || cancelled(); });
  if (cancelled()) return absl::CancelledError("cancelled");
  if (fed_.empty()) return false;
  const std::string before = std::exchange(current_, std::move(fed_.front()));  // freed without the lock
  taken_ = 0;
  fed_.pop_front();
  fed_bytes_ -= current_.size();
  const bool room = told_full_ && fed_bytes_ < kQueueLimit / 2;
  if (room) told_full_ = false;
  lock.unlock();
  if (room) {
    env_.run_on_shard(env_.shard, [self = shared_from_this()](Shard&) {
      if (!self->cancelled() && self->callbacks_.on_room) self->callbacks_.on_room();
    });
  }
  return true;
}

// ---- The thread ----------------------------------------------------------------------------------------------------

void ShardReload::Work::Run() {
  pthread_setname_np(pthread_self(), ("reload-" + std::to_string(env_.shard)).c_str());
  BaseHead head;
  const absl::Status status = Replace(&head);
  if (!status.ok() && !cancelled()) {
    LOG(ERROR) << "shard " << env_.shard << ": could not be replaced by its primary's: " << status.message();
  }
  env_.run_on_shard(env_.shard, [self = shared_from_this(), status, head = std::move(head)](Shard& shard) {
    // Whoever cancels begins another one, or leaves the shard as it is.
    if (self->cancelled()) return;
    if (!status.ok()) return self->callbacks_.done(status);
    const Env& env = self->env_;
    if (env.memory != nullptr) env.memory->Restart(head.lsn, head.history);
    GiveLog(shard, env.memory != nullptr ? static_cast<Log*>(env.memory) : &env.logs->log(env.shard));
    self->callbacks_.done(head.lsn);
  });
  if (status.ok() && env_.logs != nullptr) env_.logs->RemoveSupersededFiles();
}

void ShardReload::Work::Fail(const absl::Status& status) {
  env_.run_on_shard(env_.shard, [self = shared_from_this(), status](Shard&) {
    if (!self->cancelled()) self->callbacks_.done(status);
  });
}

absl::Status ShardReload::Work::Replace(BaseHead* out) {
  SavePace pace([] { return uint64_t{0}; }, [](SavePace::Clock::time_point) { return true; });
  LogSet::NewBase base{};
  std::unique_ptr<SaveFile> copy;
  if (env_.logs != nullptr) {
    base = env_.logs->NextBase(env_.shard);
    copy = std::make_unique<SaveFile>(env_.fs, base.path, /*incremental_sync=*/true, &pace);
    if (absl::Status status = copy->Open(); !status.ok()) return status;
  }
  const auto give_up = [&](const absl::Status& status) {
    if (copy != nullptr) copy->Remove();
    return status;
  };
  FedFile file(this, copy.get());
  Visitor visitor(env_, feeder_);
  const absl::StatusOr<RdbInfo> info = ReadRdb(&file, "the primary's base", 0, RdbDecoderOptions(), &visitor);
  if (!info.ok()) return give_up(info.status());
  // Until it says that this was all: what follows does not belong to it.
  char more;
  const absl::StatusOr<size_t> rest = file.read() == info->size ? Read(&more, 1) : absl::StatusOr<size_t>(size_t{1});
  if (!rest.ok()) return give_up(rest.status());
  if (*rest != 0) return give_up(absl::DataLossError("the primary's base: bytes follow its end"));
  const absl::StatusOr<BaseHead> head = visitor.head();
  if (!head.ok()) return give_up(head.status());
  absl::Status status = visitor.End();
  if (status.ok()) status = feeder_->Await();
  if (status.ok() && copy != nullptr) status = copy->Finish();
  if (!status.ok()) return give_up(status);
  *out = *head;
  if (copy == nullptr) return absl::OkStatus();
  KillPoint("reload.base-synced");
  copy.reset();  // From here on the manifest may list it.
  return env_.logs->Replace(env_.shard, base, head->lsn, head->history, head->time, [this] { return !cancelled(); });
}

}  // namespace skein::storage
