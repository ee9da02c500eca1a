// Rotations of a log that is being written to, with power lost, or an operation failing, at each operation in turn.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <string>
#include <thread>

#include "gtest/gtest.h"
#include "storage/log_testing.h"
#include "tests/sanitized.h"

namespace skein::storage {
namespace {

using Op = FaultFileSystem::Op;

// A thread that appends to one shard until it is told to stop, as a loop does: it asks first, and kicks in batches.
class Load {
 public:
  Load(AofLog* log, std::vector<std::string>* bodies) : log_(log), bodies_(bodies), thread_([this] { Run(); }) {}
  ~Load() { Stop(); }
  void Stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  uint64_t appended() const { return appended_.load(); }

 private:
  void Run() {
    while (!stop_) {
      for (int i = 0; i < 3 && log_->MayWrite().ok(); ++i) {
        const std::string value = std::to_string(appended_.load());
        log_->AppendEffect(0, 5, {"SET", "k", value});
        log_->EndRecord(1);
        bodies_->push_back(Body({"SET", "k", value}));
        ++appended_;
      }
      log_->Kick();
      std::this_thread::yield();
    }
  }
  AofLog* const log_;
  std::vector<std::string>* const bodies_;
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> appended_{0};
  std::thread thread_;
};

// Rotates twice under load. The `step`th operation from here on loses power (on a copy) or fails with `error`. Returns
// whether there was such an operation before the last rotation was over.
struct Trial {
  uint64_t step;
  int error;  // 0: power is lost there
  AppendFsync fsync;
};

bool RotateUnderLoad(const Trial& trial) {
  const std::string what = "step " + std::to_string(trial.step) + ", error " + std::to_string(trial.error);
  FaultFileSystem fs;
  std::atomic<uint64_t> count{0};
  std::atomic<bool> hit{false};
  std::mutex mutex;
  std::unique_ptr<FaultFileSystem> after;
  Lsn durable_before = 0;
  std::vector<std::string> bodies;
  {
    DataSetOptions options = TestOptions(&fs, 1, trial.fsync);
    std::atomic<bool> fatal{false};
    options.on_fatal = [&](const std::string&) { fatal = true; };
    AofOptions tuning = Brisk();
    tuning.sync_interval = std::chrono::microseconds(300);
    tuning.nap = std::chrono::microseconds(50);
    OpenedSet opened = OpenSet(options, tuning);
    EXPECT_TRUE(opened.status.ok()) << opened.status;
    AofLog& log = opened.set->log(0);
    fs.SetHook([&](Op op, const std::string& path) {
      if (op == Op::kRead || count.fetch_add(1) != trial.step) return 0;
      hit = true;
      if (trial.error != 0) return trial.error;
      const std::lock_guard<std::mutex> lock(mutex);
      durable_before = log.durable();
      after = fs.AfterPowerLoss(trial.step * 31 + path.size());
      return 0;
    });
    Load load(&log, &bodies);
    for (int i = 0; i < 2; ++i) {
      const absl::StatusOr<Lsn> at = opened.set->Rotate(0);
      if (trial.error == 0) {
        EXPECT_TRUE(at.ok()) << what << at.status();
      }
      const uint64_t so_far = load.appended();
      Progress progress;
      const auto off = [&] { return opened.set->NeedsRevival(0); };
      EXPECT_TRUE(progress.Await([&] { return off() || load.appended() > so_far; })) << what << ": the log goes on";
      if (off()) break;
    }
    const bool was_hit = hit.load();
    load.Stop();
    fs.SetHook(nullptr);
    if (opened.set->NeedsRevival(0)) {
      EXPECT_TRUE(trial.error != 0) << what;
      // What `always` would have died of. Everything up to durable() is on disk all the same.
      durable_before = log.durable();
      after = fs.AfterPowerLoss(trial.step);
    } else if (trial.error != 0) {
      // (A write may be failing at this instant.)
      Progress progress;
      EXPECT_TRUE(progress.Await([&] { return opened.set->WaitDurable(0, log.end()).ok(); })) << what;
      durable_before = log.durable();
      EXPECT_EQ(durable_before, log.end()) << what;
      after = fs.AfterPowerLoss(trial.step);
      EXPECT_TRUE(opened.set->Close().ok()) << what;
      // And nothing is left that nobody lists.
      const Manifest::Shard entry = opened.set->manifest().shards[0];
      EXPECT_EQ(fs.List("/appendonlydir/shard-0")->size(), entry.incrs.size()) << what << "\n" << fs.Tree();
    }
    if (!was_hit) return false;
  }
  if (after == nullptr) return false;
  const OpenedSet found = OpenSet(TestOptions(after.get(), 1));
  EXPECT_TRUE(found.status.ok()) << what << ": " << found.status;
  if (!found.status.ok()) return false;
  const std::vector<std::string>& kept = found.sinks[0].bodies;
  EXPECT_LE(kept.size(), bodies.size()) << what;
  EXPECT_TRUE(std::equal(kept.begin(), kept.end(), bodies.begin())) << what;
  EXPECT_GE(found.set->report().shards[0].end, durable_before) << what << ": something durable is gone";
  const Manifest::Shard entry = found.set->manifest().shards[0];
  EXPECT_EQ(after->List("/appendonlydir/shard-0")->size(), entry.incrs.size()) << what << ": leftovers are removed";
  return true;
}

constexpr uint64_t kSteps = kSanitized ? 24 : 64;

// Two rotations take about thirty operations, between those of the load, whose number differs from run to run: so each
// of the first ones is hit, and the last ones by chance.
TEST(RotationUnderLoad, L12_LosingPowerAtEachOperationLosesNothingDurable) {
  uint64_t hits = 0;
  for (uint64_t step = 0; step < kSteps; ++step) {
    for (const AppendFsync fsync : {AppendFsync::kAlways, AppendFsync::kEverySec}) {
      if (RotateUnderLoad({step, 0, fsync})) ++hits;
      if (testing::Test::HasFailure()) return;
    }
  }
  EXPECT_GT(hits, 30u);
}

TEST(RotationUnderLoad, L15_AnyOperationThatFailsLosesNothing) {
  uint64_t hits = 0;
  for (uint64_t step = 0; step < kSteps; ++step) {
    for (const int error : {ENOSPC, EIO}) {
      if (RotateUnderLoad({step, error, step % 2 == 0 ? AppendFsync::kEverySec : AppendFsync::kNo})) ++hits;
      if (testing::Test::HasFailure()) return;
    }
  }
  EXPECT_GT(hits, 30u);
}

}  // namespace
}  // namespace skein::storage
