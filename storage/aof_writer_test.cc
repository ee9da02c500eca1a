// The writer thread: policies, pushing back, failed writes and syncs, ending.
#include "storage/aof_writer.h"

#include <atomic>
#include <cerrno>
#include <chrono>
#include <functional>
#include <string>
#include <thread>

#include "gtest/gtest.h"
#include "storage/log_testing.h"

namespace skein::storage {
namespace {

using Op = FaultFileSystem::Op;
using std::chrono::hours;
using std::chrono::milliseconds;

constexpr char kIncr[] = "/appendonlydir/shard-0/incr.1.aof";

// Holds operations back until it is opened.
class Gate {
 public:
  void Close() { Set(false); }
  void Open() { Set(true); }
  void Pass() {
    std::unique_lock<std::mutex> lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
    --waiting_;
  }
  void AwaitWaiter() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return waiting_ > 0; });
  }

 private:
  void Set(bool open) {
    const std::lock_guard<std::mutex> lock(mutex_);
    open_ = open;
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;
  int waiting_ = 0;
};

class WriterTest : public testing::Test {
 protected:
  void Open(AppendFsync fsync, AofOptions tuning = Brisk(), uint64_t buffer_limit = 64u << 20) {
    DataSetOptions options = TestOptions(&fs_, 1, fsync);
    options.log_buffer_limit = buffer_limit;
    options.on_progress = [this](uint32_t) { progress_.Poke(); };
    options.on_durable = on_durable_;
    options.on_fatal = [this](const std::string& why) {
      const std::lock_guard<std::mutex> lock(fatal_mutex_);
      fatal_ = why;
    };
    opened_ = OpenSet(options, tuning);
    ASSERT_TRUE(opened_.status.ok()) << opened_.status;
    want_.clear();
    for (const RecordingSink& sink : opened_.sinks) want_ = sink.bodies;
  }
  Log& log() { return opened_.set->log(0); }
  DataSet::Stats stats() { return opened_.set->stats(); }
  Lsn Append(const std::string& value) {
    want_.push_back(Body({"SET", "k", value}));
    return AppendSet(&log(), "k", value);
  }
  bool AwaitDurable(Lsn lsn) {
    return progress_.Await([&] { return log().durable() >= lsn; });
  }
  std::string Fatal() {
    const std::lock_guard<std::mutex> lock(fatal_mutex_);
    return fatal_;
  }
  // What a process that is started after this one was killed, or lost power, finds.
  void ExpectAllOn(std::unique_ptr<FaultFileSystem> fs, uint64_t cut_bytes = 0) {
    OpenedSet opened = OpenSet(TestOptions(fs.get(), 1));
    ASSERT_TRUE(opened.status.ok()) << opened.status;
    EXPECT_EQ(opened.sinks[0].bodies, want_);
    EXPECT_EQ(opened.set->report().shards[0].cut_bytes, cut_bytes);
  }

  // What hooks look at lives longer than the writer.
  Gate gate_;
  std::atomic<int> failing_{0};
  std::atomic<int> tries_{0};
  std::atomic<int> torn_{0};
  std::atomic<Lsn> told_{0};
  std::function<void(uint32_t, Lsn)> on_durable_;
  std::vector<std::string> before_;
  FaultFileSystem fs_;
  Progress progress_;
  std::mutex fatal_mutex_;
  std::string fatal_;
  std::vector<std::string> want_;
  OpenedSet opened_;
};

TEST_F(WriterTest, L06_DurableMovesOnlyAfterTheSyncThatCoversIt) {
  Open(AppendFsync::kAlways);
  fs_.SetHook([this](Op op, const std::string&) { return op == Op::kSync ? (gate_.Pass(), 0) : 0; });
  const Lsn before = log().durable();
  gate_.Close();
  const Lsn first = Append("one");
  gate_.AwaitWaiter();
  EXPECT_EQ(log().written(), first);
  EXPECT_EQ(log().durable(), before);
  EXPECT_EQ(progress_.count(), 0u);
  const uint64_t syncs = stats().fsyncs;
  for (int i = 0; i < 100; ++i) Append("more");
  gate_.Open();
  EXPECT_TRUE(AwaitDurable(log().end()));
  EXPECT_LE(stats().fsyncs, syncs + 2) << "what gathers during a sync shares the next";
  EXPECT_GT(progress_.count(), 0u);
  ExpectAllOn(fs_.AfterPowerLoss(1));
}

TEST_F(WriterTest, WhatIsDurableIsToldByACallOfItsOwn) {
  on_durable_ = [this](uint32_t shard, Lsn durable) {
    if (shard == 0 && log().durable() >= durable) told_ = durable;
  };
  Open(AppendFsync::kAlways);
  const Lsn end = Append("one");
  EXPECT_TRUE(progress_.Await([&] { return told_.load() == end; }));
  EXPECT_EQ(progress_.count(), 0u) << "there is nothing else to tell";
}

TEST_F(WriterTest, ASlowSyncThatEndsIsToldToWhoeverAsked) {
  on_durable_ = [](uint32_t, Lsn) {};
  AofOptions tuning = Brisk();
  tuning.sync_interval = milliseconds(1);
  tuning.slow_sync = milliseconds(5);
  Open(AppendFsync::kEverySec, tuning);
  fs_.SetHook([this](Op op, const std::string&) { return op == Op::kSync ? (gate_.Pass(), 0) : 0; });
  gate_.Close();
  const Lsn end = Append("one");
  gate_.AwaitWaiter();
  EXPECT_TRUE(progress_.Await([&] { return log().MayWrite().code() == absl::StatusCode::kUnavailable; }));
  const uint64_t called = progress_.count();
  gate_.Open();
  EXPECT_TRUE(AwaitDurable(end));
  EXPECT_TRUE(progress_.Await([&] { return progress_.count() > called; }));
}

TEST_F(WriterTest, EverySecSyncsAtMostOnceAnInterval) {
  AofOptions tuning = Brisk();
  tuning.sync_interval = milliseconds(20);
  Open(AppendFsync::kEverySec, tuning);
  EXPECT_TRUE(AwaitDurable(Append("first")));
  const auto start = std::chrono::steady_clock::now();
  const uint64_t syncs = stats().fsyncs;
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(AwaitDurable(Append("more")));
  const auto took = std::chrono::steady_clock::now() - start;
  EXPECT_LE(stats().fsyncs - syncs, static_cast<uint64_t>(took / milliseconds(20)) + 1);
}

TEST_F(WriterTest, NoSyncsOnlyAtTheEnd) {
  Open(AppendFsync::kNo);
  const Lsn before = log().durable();
  const Lsn end = Append("one");
  EXPECT_TRUE(progress_.Await([&] { return log().written() == end; }));
  EXPECT_EQ(log().durable(), before);
  EXPECT_EQ(log().pending_bytes(), 0u);
  EXPECT_TRUE(opened_.set->Close().ok());
  EXPECT_EQ(log().durable(), end);
}

TEST_F(WriterTest, PolicyChangesAtRunTime) {
  AofOptions tuning = Brisk();
  tuning.sync_interval = hours(1);
  Open(AppendFsync::kEverySec, tuning);
  const Lsn end = Append("one");
  EXPECT_TRUE(progress_.Await([&] { return log().written() == end; }));
  EXPECT_LT(log().durable(), end);
  log().set_fsync(AppendFsync::kAlways);
  EXPECT_TRUE(AwaitDurable(end));
  EXPECT_TRUE(AwaitDurable(Append("two")));
}

TEST_F(WriterTest, L18_AFullBufferPushesBackAndDropsNothing) {
  Open(AppendFsync::kAlways, Brisk(), 10'000);
  fs_.SetHook([this](Op op, const std::string&) { return op == Op::kWrite ? (gate_.Pass(), 0) : 0; });
  gate_.Close();
  int appended = 0;
  while (log().MayWrite().ok()) {
    Append(std::string(100, 'x'));
    ASSERT_LT(++appended, 1000);
  }
  EXPECT_EQ(log().MayWrite().code(), absl::StatusCode::kUnavailable);
  EXPECT_GE(log().pending_bytes(), 10'000u);
  Append("a command that has started may append");
  const uint64_t called = progress_.count();
  gate_.Open();
  EXPECT_TRUE(progress_.Await([&] { return log().MayWrite().ok(); }));
  EXPECT_TRUE(progress_.Await([&] { return progress_.count() > called; })) << "whoever waits for room is called";
  EXPECT_TRUE(AwaitDurable(log().end()));
  ExpectAllOn(fs_.AfterPowerLoss(1));
}

TEST_F(WriterTest, RoomIsReportedWithoutASync) {
  Open(AppendFsync::kNo, Brisk(), 1000);
  fs_.SetHook([this](Op op, const std::string&) { return op == Op::kWrite ? (gate_.Pass(), 0) : 0; });
  gate_.Close();
  Append(std::string(2000, 'x'));
  EXPECT_EQ(log().MayWrite().code(), absl::StatusCode::kUnavailable);
  gate_.Open();
  EXPECT_TRUE(progress_.Await([&] { return progress_.count() > 0; }));
  EXPECT_TRUE(log().MayWrite().ok());
}

TEST_F(WriterTest, L15_AFullDiskTurnsWritesOffUntilThereIsRoom) {
  Open(AppendFsync::kAlways);
  EXPECT_TRUE(AwaitDurable(Append("before")));
  const Lsn durable = log().durable();
  const uint64_t size = fs_.Bytes(kIncr).size();
  fs_.SetRoom(70);  // a mark and half a header fit
  const Lsn end = Append(std::string(500, 'x'));
  EXPECT_TRUE(progress_.Await([&] { return !log().MayWrite().ok(); }));
  const absl::Status refusal = log().MayWrite();
  EXPECT_EQ(refusal.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(refusal.message(), std::string("MISCONF Errors writing to the AOF file of shard 0: ") + kIncr +
                                   ": No space left on device; see ops/runbooks/disk-full.md");
  EXPECT_EQ(log().durable(), durable);
  EXPECT_FALSE(stats().last_write_ok);
  // What had started before may go on, and is kept.
  const Lsn later = Append("started before");
  EXPECT_TRUE(progress_.Await([&] { return stats().write_errors >= 3; })) << "it is tried again and again";
  fs_.SetRoom(FaultFileSystem::kUnlimited);
  EXPECT_TRUE(AwaitDurable(later));
  EXPECT_GT(later, end);
  EXPECT_TRUE(log().MayWrite().ok()) << "it comes back by itself";
  EXPECT_TRUE(stats().last_write_ok);
  EXPECT_GT(fs_.Bytes(kIncr).size(), size + 500);
  ExpectAllOn(fs_.AfterPowerLoss(1));
}

TEST_F(WriterTest, AFailedWriteLeavesWholeRecordsInTheFile) {
  Open(AppendFsync::kAlways);
  EXPECT_TRUE(AwaitDurable(Append("before")));
  before_ = want_;
  // Every write is torn, and cut off again before the next try: seen from outside at the moment of the next try.
  fs_.SetHook([this](Op op, const std::string& path) {
    if (op != Op::kWrite || path != kIncr) return 0;
    const std::unique_ptr<FaultFileSystem> killed = fs_.AfterKill();
    OpenedSet opened = OpenSet(TestOptions(killed.get(), 1));
    if (!opened.status.ok() || opened.sinks[0].bodies != before_ || opened.set->report().shards[0].cut_bytes != 0)
      ++torn_;
    if (++tries_ == 4) fs_.SetRoom(FaultFileSystem::kUnlimited);
    return 0;
  });
  fs_.SetRoom(100);
  EXPECT_TRUE(AwaitDurable(Append(std::string(300, 'y'))));
  EXPECT_GE(tries_.load(), 4);
  EXPECT_EQ(torn_.load(), 0);
  fs_.SetHook(nullptr);
  ExpectAllOn(fs_.AfterPowerLoss(2));
}

TEST_F(WriterTest, WritesAndTruncationsThatFailAreTriedAgain) {
  Open(AppendFsync::kAlways);
  failing_ = 5;
  fs_.SetHook([this](Op op, const std::string&) {
    if (op == Op::kTruncate) return EIO;
    return op == Op::kWrite && failing_.fetch_sub(1) > 0 ? EIO : 0;
  });
  EXPECT_TRUE(AwaitDurable(Append("stubborn")));
  EXPECT_EQ(stats().write_errors, 5u);
  EXPECT_TRUE(progress_.Await([&] { return log().MayWrite().ok(); }));
  fs_.SetHook(nullptr);
  ExpectAllOn(fs_.AfterPowerLoss(3));
}

TEST_F(WriterTest, L15_AFailedSyncUnderAlwaysIsFatal) {
  Open(AppendFsync::kAlways);
  EXPECT_TRUE(AwaitDurable(Append("before")));
  fs_.SetHook([](Op op, const std::string&) { return op == Op::kSync ? EIO : 0; });
  const Lsn durable = log().durable();
  Append("lost");
  EXPECT_TRUE(progress_.Await([&] { return !Fatal().empty(); }));
  EXPECT_NE(Fatal().find("shard 0"), std::string::npos) << Fatal();
  EXPECT_NE(Fatal().find("Input/output error"), std::string::npos) << Fatal();
  EXPECT_EQ(log().durable(), durable);
  EXPECT_EQ(stats().fsync_errors, 1u);
}

TEST_F(WriterTest, L15_AFailedSyncUnderEverySecTurnsWritesOffForGood) {
  AofOptions tuning = Brisk();
  tuning.sync_interval = milliseconds(1);
  Open(AppendFsync::kEverySec, tuning);
  EXPECT_TRUE(AwaitDurable(Append("before")));
  failing_ = 1;
  fs_.SetHook([this](Op op, const std::string&) { return op == Op::kSync && failing_.fetch_sub(1) > 0 ? EIO : 0; });
  const Lsn durable = log().durable();
  Append("unsure");
  EXPECT_TRUE(progress_.Await([&] { return !log().MayWrite().ok(); }));
  const absl::Status refusal = log().MayWrite();
  EXPECT_EQ(refusal.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(std::string(refusal.message()).starts_with("MISCONF Errors syncing the AOF file of shard 0: "))
      << refusal.message();
  EXPECT_TRUE(std::string(refusal.message()).ends_with("; see ops/runbooks/failed-sync.md")) << refusal.message();
  const uint64_t syncs = fs_.syncs();
  const Lsn end = Append("started before");
  EXPECT_TRUE(progress_.Await([&] { return log().written() == end; }));
  EXPECT_FALSE(log().MayWrite().ok());
  EXPECT_EQ(log().durable(), durable) << "a later sync that succeeds says nothing about what the failed one lost";
  EXPECT_EQ(fs_.syncs(), syncs);
  EXPECT_EQ(stats().fsync_errors, 1u);
  EXPECT_FALSE(stats().last_write_ok);
  EXPECT_TRUE(Fatal().empty());
  EXPECT_FALSE(opened_.set->Close().ok()) << "the status of the syncs";
  EXPECT_EQ(log().durable(), durable) << "nor does the one at the end";
  EXPECT_EQ(opened_.set->manifest().shards[0].durable, durable);
  ExpectAllOn(fs_.AfterKill());
}

TEST_F(WriterTest, L15_ASyncThatFailsAtTheEndIsReported) {
  Open(AppendFsync::kNo);
  Append("one");
  fs_.SetHook([](Op op, const std::string& path) { return op == Op::kSync && path == kIncr ? EIO : 0; });
  const absl::Status closed = opened_.set->Close();
  EXPECT_NE(closed.message().find("Input/output error"), std::string_view::npos) << closed;
  EXPECT_EQ(stats().fsync_errors, 1u);
}

TEST_F(WriterTest, ASlowSyncPushesWritersBack) {
  AofOptions tuning = Brisk();
  tuning.sync_interval = milliseconds(1);
  tuning.slow_sync = milliseconds(5);
  Open(AppendFsync::kEverySec, tuning);
  fs_.SetHook([this](Op op, const std::string&) { return op == Op::kSync ? (gate_.Pass(), 0) : 0; });
  gate_.Close();
  const Lsn end = Append("one");
  gate_.AwaitWaiter();
  EXPECT_TRUE(progress_.Await([&] { return log().MayWrite().code() == absl::StatusCode::kUnavailable; }));
  EXPECT_EQ(stats().delayed_fsync, 1u) << "while it lasts";
  const uint64_t called = progress_.count();
  gate_.Open();
  EXPECT_TRUE(AwaitDurable(end));
  EXPECT_TRUE(progress_.Await([&] { return log().MayWrite().ok() && progress_.count() > called; }));
  EXPECT_GE(stats().delayed_fsync, 1u);
}

TEST_F(WriterTest, L16_AnIdleOrNappingWriterEndsAtOnceAndSyncsWhatItHas) {
  for (const AppendFsync fsync : {AppendFsync::kAlways, AppendFsync::kEverySec, AppendFsync::kNo}) {
    for (const bool idle : {true, false}) {
      AofOptions tuning = Brisk();
      tuning.sync_interval = hours(1);
      tuning.nap = hours(1);
      Open(fsync, tuning);
      if (!idle) {
        const Lsn first = Append("one");
        EXPECT_TRUE(progress_.Await([&] { return log().written() == first; }));
        Append("while it naps");
      }
      EXPECT_TRUE(opened_.set->Close().ok());  // would take an hour
      EXPECT_EQ(log().durable(), log().end());
      opened_ = OpenedSet();
      ExpectAllOn(fs_.AfterPowerLoss(7));
    }
  }
}

TEST_F(WriterTest, L16_AWriterThatCannotWriteEndsWithAnError) {
  Open(AppendFsync::kAlways);
  fs_.SetHook([](Op op, const std::string& path) { return op == Op::kWrite && path == kIncr ? ENOSPC : 0; });
  Append("kept in memory only");
  EXPECT_TRUE(progress_.Await([&] { return !log().MayWrite().ok(); }));
  EXPECT_EQ(opened_.set->Close().code(), absl::StatusCode::kResourceExhausted);
  want_.pop_back();
  ExpectAllOn(fs_.AfterKill());
}

TEST_F(WriterTest, L21_ClosingDrainsEverythingAndWritesDownHowFar) {
  Open(AppendFsync::kEverySec);
  for (int i = 0; i < 5000; ++i) Append(std::string(200, 'z'));
  const Lsn end = log().end();
  EXPECT_TRUE(opened_.set->Close().ok());
  EXPECT_EQ(log().durable(), end);
  EXPECT_EQ(opened_.set->manifest().shards[0].durable, end);
  EXPECT_TRUE(opened_.set->Close().ok()) << "again does nothing";
  opened_ = OpenedSet();
  ExpectAllOn(fs_.AfterPowerLoss(9));
}

}  // namespace
}  // namespace skein::storage
