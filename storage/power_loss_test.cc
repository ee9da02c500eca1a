// Power is lost at any instant: what was reported durable is there, and nothing is there that was not appended.
#include <atomic>
#include <random>
#include <string>
#include <thread>

#include "gtest/gtest.h"
#include "storage/log_testing.h"
#include "tests/sanitized.h"

namespace skein::storage {
namespace {

using Op = FaultFileSystem::Op;

constexpr uint64_t kSeeds = kSanitized ? 2 : 6;

// One shard's appended records, over all lives of the data set, with their ends.
struct Appended {
  std::vector<std::string> bodies;
  std::vector<Lsn> ends;
};

void AppendSome(Log* log, std::mt19937_64* rng, Appended* appended) {
  const int effects = 1 + static_cast<int>((*rng)() % 3);
  std::string body;
  for (int i = 0; i < effects; ++i) {
    const std::string value((*rng)() % 300, static_cast<char>('a' + (*rng)() % 26));
    log->AppendEffect(0, 5, {"SET", "key", value});
    AppendResp({"SET", "key", value}, &body);
  }
  appended->bodies.push_back(body);
  appended->ends.push_back(log->EndRecord(1));
  if ((*rng)() % 4 != 0) log->Kick();
}

// Opens what the crash left and compares: a prefix of what was appended, at least up to `durable`. What was lost is
// taken out of `appended`, so that life can go on.
void ExpectRecovered(const OpenedSet& opened, const std::vector<Lsn>& durable, std::vector<Appended>* appended,
                     const std::string& what) {
  ASSERT_TRUE(opened.status.ok()) << what << ": " << opened.status;
  for (size_t shard = 0; shard < durable.size(); ++shard) {
    Appended& mine = (*appended)[shard];
    const std::vector<std::string>& found = opened.sinks[shard].bodies;
    ASSERT_LE(found.size(), mine.bodies.size()) << what;
    ASSERT_TRUE(std::equal(found.begin(), found.end(), mine.bodies.begin())) << what;
    if (found.size() < mine.ends.size()) {
      ASSERT_GT(mine.ends[found.size()], durable[shard])
          << what << ": a durable record of shard " << shard << " is gone";
    }
    mine.bodies.resize(found.size());
    mine.ends.resize(found.size());
  }
}

class PowerLoss : public testing::TestWithParam<std::tuple<uint32_t, AppendFsync>> {};

TEST_P(PowerLoss, L05_EveryLsnReportedDurableIsThereAfterReopening) {
  const auto [shards, fsync] = GetParam();
  AofOptions tuning = Brisk();
  tuning.sync_interval = std::chrono::microseconds(300);
  tuning.nap = std::chrono::microseconds(50);
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    std::mt19937_64 rng(seed);
    std::unique_ptr<FaultFileSystem> fs = std::make_unique<FaultFileSystem>();
    std::vector<Appended> appended(shards);
    std::vector<Lsn> durable(shards, 0);
    // Several lives on the same disk, each ended by losing power while the writers work.
    for (int life = 0; life < 5; ++life) {
      const std::string what = "seed " + std::to_string(seed) + ", life " + std::to_string(life);
      std::unique_ptr<FaultFileSystem> after;
      {
        OpenedSet opened = OpenSet(TestOptions(fs.get(), shards, fsync), tuning);
        ExpectRecovered(opened, durable, &appended, what);
        if (HasFatalFailure()) return;
        const uint64_t steps = 20 + rng() % 400;
        for (uint64_t step = 0; step < steps; ++step) {
          const uint32_t shard = static_cast<uint32_t>(rng() % shards);
          AppendSome(&opened.set->log(shard), &rng, &appended[shard]);
          if (rng() % 16 == 0) std::this_thread::yield();
        }
        for (uint32_t shard = 0; shard < shards; ++shard) durable[shard] = opened.set->log(shard).durable();
        after = fs->AfterPowerLoss(rng());
      }
      fs = std::move(after);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, PowerLoss,
                         testing::Combine(testing::Values(1u, 2u, 4u, 8u),
                                          testing::Values(AppendFsync::kAlways, AppendFsync::kEverySec,
                                                          AppendFsync::kNo)));

// Opening is interrupted by a loss of power before each of its operations in turn.
void LosePowerAtEachStepOfOpening(const FaultFileSystem& start, uint32_t shards, const std::vector<Lsn>& durable,
                                  const std::vector<Appended>& appended) {
  uint64_t step = 0;
  for (bool finished = false; !finished; ++step) {
    for (uint64_t seed = 0; seed < kSeeds; ++seed) {
      const std::unique_ptr<FaultFileSystem> fs = start.AfterKill();
      std::atomic<uint64_t> count{0};
      std::mutex mutex;
      std::unique_ptr<FaultFileSystem> after;
      fs->SetHook([&](Op, const std::string&) {
        if (count.fetch_add(1) == step) {
          const std::lock_guard<std::mutex> lock(mutex);
          after = fs->AfterPowerLoss(step * 100 + seed);
        }
        return 0;
      });
      {
        OpenedSet first = OpenSet(TestOptions(fs.get(), shards));
        ASSERT_TRUE(first.status.ok()) << first.status;
        fs->SetHook(nullptr);
      }
      if (after == nullptr) {
        finished = true;
        break;
      }
      std::vector<Appended> want = appended;
      const OpenedSet opened = OpenSet(TestOptions(after.get(), shards));
      ExpectRecovered(opened, durable, &want, "step " + std::to_string(step) + ", seed " + std::to_string(seed));
      if (testing::Test::HasFatalFailure()) return;
    }
  }
  EXPECT_GT(step, 20u) << "opening has that many operations at least";
}

TEST(PowerLossAtOpen, L12_AnEmptyFolderBecomesADataSetOrStaysEmpty) {
  const FaultFileSystem empty;
  LosePowerAtEachStepOfOpening(empty, 2, {0, 0}, std::vector<Appended>(2));
}

TEST(PowerLossAtOpen, L12_ReopeningAfterACrashMayCrashAnywhere) {
  FaultFileSystem fs;
  std::vector<Appended> appended(2);
  std::vector<Lsn> durable;
  std::unique_ptr<FaultFileSystem> crashed;
  {
    OpenedSet opened = OpenSet(TestOptions(&fs, 2));
    ASSERT_TRUE(opened.status.ok()) << opened.status;
    std::mt19937_64 rng(5);
    Progress progress;
    for (uint32_t shard = 0; shard < 2; ++shard) {
      for (int i = 0; i < 20; ++i) AppendSome(&opened.set->log(shard), &rng, &appended[shard]);
      opened.set->log(shard).Kick();
      ASSERT_TRUE(progress.Await([&] { return opened.set->log(shard).durable() == opened.set->log(shard).end(); }));
      durable.push_back(opened.set->log(shard).durable());
    }
    crashed = fs.AfterPowerLoss(1);
  }
  // And a torn tail, which the first opening cuts.
  const std::string incr = "/appendonlydir/shard-1/incr.1.aof";
  crashed->SetBytes(incr, crashed->Bytes(incr) + std::string(57, 'x'));
  LosePowerAtEachStepOfOpening(*crashed, 2, durable, appended);
}

// A killed process leaves bytes that were written and never synced; the machine stays up, and goes down while the next
// one opens. Nothing may say that they were durable before they are.
TEST(PowerLossAtOpen, L12_WhatAKilledProcessHadWrittenMayStillBeLost) {
  FaultFileSystem fs;
  std::vector<Appended> appended(2);
  std::unique_ptr<FaultFileSystem> killed;
  std::vector<Lsn> durable;
  {
    OpenedSet opened = OpenSet(TestOptions(&fs, 2, AppendFsync::kNo));
    ASSERT_TRUE(opened.status.ok()) << opened.status;
    std::mt19937_64 rng(5);
    for (uint32_t shard = 0; shard < 2; ++shard) {
      Log& log = opened.set->log(shard);
      durable.push_back(log.durable());
      for (int i = 0; i < 20; ++i) AppendSome(&log, &rng, &appended[shard]);
      log.Kick();
      Progress progress;
      ASSERT_TRUE(progress.Await([&] { return log.written() == log.end(); }));
    }
    killed = fs.AfterKill();
  }
  LosePowerAtEachStepOfOpening(*killed, 2, durable, appended);
}

}  // namespace
}  // namespace skein::storage
