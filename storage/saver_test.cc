// What is saved, when, and what users are told of it.
#include "storage/saver.h"

#include <chrono>
#include <future>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "storage/fault_file.h"
#include "storage/save_file.h"
#include "storage/saver_testing.h"

namespace skein::storage {
namespace {

using Op = FaultFileSystem::Op;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

void Fill(ServedData* data, int keys, const std::string& tag) {
  for (int i = 0; i < keys; ++i) {
    data->Set(static_cast<uint32_t>(i % 3), "key:" + std::to_string(i), tag + std::to_string(i));
  }
}

// Until `met`, which must come: the test's own time limit is the only one.
template <typename Fn>
void Await(const Fn& met) {
  while (!met()) std::this_thread::sleep_for(milliseconds(1));
}

bool HasTemp(FaultFileSystem* fs) { return fs->Tree().find("temp-") != std::string::npos; }

TEST(Saver, RdbHoldsAllShardsAndSaysWhatRedisSays) {
  for (const uint32_t shards : {1u, 2u, 4u}) {
    FaultFileSystem fs;
    ServedData data(ServedData::OptionsOn(&fs, false, shards));
    Fill(&data, 500, "v");
    ASSERT_TRUE(data.SaveRdb().ok());
    const absl::StatusOr<RdbContents> read = ReadRdbFile(&fs, "/data/dump.rdb");
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->keys, data.Read());
    EXPECT_EQ(read->keys.size(), 500u);
    for (const char* name : {"redis-ver", "redis-bits", "ctime", "used-mem", "aof-base"}) {
      EXPECT_EQ(read->aux.count(name), 1u) << name;
    }
    EXPECT_EQ(read->aux.find("aof-base")->second, "0");
    EXPECT_FALSE(HasTemp(&fs));
    const SaveStatus status = data.saver().status();
    EXPECT_TRUE(status.last_save_ok);
    EXPECT_EQ(status.saves, 1u);
    EXPECT_EQ(status.keys_done, 0u) << "of nothing that runs";
    EXPECT_EQ(status.changes_at_save, 500u);
  }
}

TEST(Saver, SavesTheStateAtItsBeginAcrossWritesAndFlushAll) {
  FaultFileSystem fs;
  ServedData data(ServedData::OptionsOn(&fs, false, 2));
  Fill(&data, 2000, "old");
  const Contents before = data.Read();
  data.Hold(true);
  std::promise<absl::Status> begun, ended;
  bool scheduled = false;
  ASSERT_TRUE(data.saver()
                  .StartRdb(false, &scheduled,
                            {.begun = [&](const absl::Status& s) { begun.set_value(s); },
                             .ended = [&](const absl::Status& s) { ended.set_value(s); }})
                  .ok());
  ASSERT_TRUE(begun.get_future().get().ok());
  EXPECT_EQ(data.saver().status().running, SaveStatus::Kind::kRdb);
  EXPECT_EQ(data.saver().status().keys_total, 2000u);
  for (int i = 0; i < 500; ++i) data.Set(0, "key:" + std::to_string(i * 3), "new");
  data.FlushAll();
  Fill(&data, 100, "newer");
  data.Hold(false);
  ASSERT_TRUE(ended.get_future().get().ok());
  const absl::StatusOr<RdbContents> read = ReadRdbFile(&fs, "/data/dump.rdb");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->keys, before);
  EXPECT_EQ(data.Read().size(), 100u);
}

TEST(Saver, OneAtATimeWithTheRepliesOfRedis) {
  FaultFileSystem fs;
  ServedData data(ServedData::OptionsOn(&fs, true, 2));
  Fill(&data, 200, "v");
  bool scheduled = false;
  std::promise<absl::Status> first, second, third;
  data.Hold(true);
  ASSERT_TRUE(
      data.saver()
          .StartRewrite(&scheduled, {.begun = nullptr, .ended = [&](const absl::Status& s) { first.set_value(s); }})
          .ok());
  EXPECT_FALSE(scheduled);
  EXPECT_EQ(data.saver().StartRewrite(&scheduled, {}).message(),
            "Background append only file rewriting already in progress");
  EXPECT_NE(data.saver().StartRdb(false, &scheduled, {}).message().find("Use BGSAVE SCHEDULE"), std::string::npos);
  ASSERT_TRUE(
      data.saver()
          .StartRdb(true, &scheduled, {.begun = nullptr, .ended = [&](const absl::Status& s) { second.set_value(s); }})
          .ok());
  EXPECT_TRUE(scheduled);
  EXPECT_TRUE(data.saver().status().rdb_scheduled);
  data.Hold(false);
  EXPECT_TRUE(first.get_future().get().ok());
  EXPECT_TRUE(second.get_future().get().ok());
  EXPECT_FALSE(data.saver().status().rdb_scheduled);
  // And a rewrite behind an RDB.
  data.Hold(true);
  ASSERT_TRUE(data.saver().StartRdb(false, &scheduled, {}).ok());
  EXPECT_EQ(data.saver().StartRdb(true, &scheduled, {}).message(), "Background save already in progress");
  ASSERT_TRUE(
      data.saver()
          .StartRewrite(&scheduled, {.begun = nullptr, .ended = [&](const absl::Status& s) { third.set_value(s); }})
          .ok());
  EXPECT_TRUE(scheduled);
  EXPECT_TRUE(data.saver().status().rewrite_scheduled);
  data.Hold(false);
  EXPECT_TRUE(third.get_future().get().ok());
  EXPECT_EQ(data.saver().status().rewrites, 2u);
  EXPECT_EQ(data.saver().status().saves, 2u);
}

TEST(Saver, L17_NeverSaysItHasBegunWhenNothingHas) {
  FaultFileSystem fs;
  {
    ServedData data(ServedData::OptionsOn(&fs, false, 2));
    bool scheduled = false;
    EXPECT_NE(data.saver().StartRewrite(&scheduled, {}).message().find("appendonly is no"), std::string::npos);
    EXPECT_EQ(data.saver().status().running, SaveStatus::Kind::kNone);
  }
  ServedData data(ServedData::OptionsOn(&fs, true, 2));
  Fill(&data, 50, "v");
  fs.SetHook([](Op op, const std::string& path) { return op == Op::kOpen && path.ends_with(".rdb") ? ENOSPC : 0; });
  for (const bool rdb : {true, false}) {
    std::promise<absl::Status> begun, ended;
    bool scheduled = false;
    const Saver::Callbacks callbacks{.begun = [&](const absl::Status& s) { begun.set_value(s); },
                                     .ended = [&](const absl::Status& s) { ended.set_value(s); }};
    ASSERT_TRUE(
        (rdb ? data.saver().StartRdb(false, &scheduled, callbacks) : data.saver().StartRewrite(&scheduled, callbacks))
            .ok());
    EXPECT_FALSE(begun.get_future().get().ok());
    EXPECT_FALSE(ended.get_future().get().ok());
    const SaveStatus status = data.saver().status();
    EXPECT_EQ(status.running, SaveStatus::Kind::kNone);
    EXPECT_FALSE(rdb ? status.last_save_ok : status.last_rewrite_ok);
    EXPECT_NE(status.last_error, "");
  }
  fs.SetHook(nullptr);
  EXPECT_TRUE(data.SaveRdb().ok());
  EXPECT_TRUE(data.Rewrite().ok());
  EXPECT_TRUE(data.saver().status().last_rewrite_ok);
}

TEST(Saver, L17_OneShardThatFailsLeavesTheOthersDone) {
  FaultFileSystem fs;
  ServedData data(ServedData::OptionsOn(&fs, true, 3));
  Fill(&data, 300, "v");
  fs.SetHook([](Op op, const std::string& path) {
    return op == Op::kSync && path.find("shard-1/base") != std::string::npos ? EIO : 0;
  });
  const absl::Status status = data.Rewrite();
  EXPECT_FALSE(status.ok());
  EXPECT_NE(status.message().find("shard 1"), std::string::npos) << status;
  const DataSet::Stats stats = data.data().stats();
  EXPECT_GT(stats.shards[0].base_size, 0u);
  EXPECT_EQ(stats.shards[1].base_size, 0u);
  EXPECT_GT(stats.shards[2].base_size, 0u);
  EXPECT_EQ(fs.Tree().find("shard-1/base"), std::string::npos);
  EXPECT_EQ(data.saver().status().consecutive_rewrite_failures, 1u);
  fs.SetHook(nullptr);
  EXPECT_TRUE(data.Rewrite().ok());
  EXPECT_EQ(data.saver().status().consecutive_rewrite_failures, 0u);
}

TEST(Saver, BasesSayWhatTheyAreOf) {
  FaultFileSystem fs;
  ServedData data(ServedData::OptionsOn(&fs, true, 2));
  Fill(&data, 300, "v");
  const Contents before = data.Read();
  ASSERT_TRUE(data.Rewrite().ok());
  const DataSet::Stats stats = data.data().stats();
  Contents both;
  for (uint32_t shard = 0; shard < 2; ++shard) {
    const std::string dir = "/data/appendonlydir/shard-" + std::to_string(shard);
    const auto names = fs.List(dir);
    ASSERT_TRUE(names.ok());
    int bases = 0;
    for (const std::string& name : *names) {
      if (!name.starts_with("base.")) continue;
      ++bases;
      const absl::StatusOr<RdbContents> read = ReadRdbFile(&fs, dir + "/" + name);
      ASSERT_TRUE(read.ok()) << read.status();
      both.insert(read->keys.begin(), read->keys.end());
      EXPECT_EQ(read->aux.find("skein-shard")->second, std::to_string(shard));
      EXPECT_EQ(read->aux.find("skein-shards")->second, "2");
      EXPECT_EQ(read->aux.find("skein-lsn")->second, std::to_string(stats.shards[shard].end));
      EXPECT_EQ(read->aux.count("skein-reign"), 1u);
      EXPECT_EQ(read->aux.find("aof-base")->second, "1");
    }
    EXPECT_EQ(bases, 1);
  }
  EXPECT_EQ(both, before);
}

TEST(Saver, CancelLeavesNoTraceAtAnyInstant) {
  FaultFileSystem fs;
  ServedData data(ServedData::OptionsOn(&fs, true, 2));
  Fill(&data, 500, "v");
  ASSERT_TRUE(data.SaveRdb().ok());
  const std::string first = fs.Bytes("/data/dump.rdb");
  data.Set(0, "later", "1");
  std::mt19937 random(7);
  int cancelled = 0;
  for (int round = 0; round < 60; ++round) {
    const bool rdb = round % 2 == 0;
    bool scheduled = false;
    std::promise<absl::Status> ended;
    const Saver::Callbacks callbacks{.begun = nullptr, .ended = [&](const absl::Status& s) { ended.set_value(s); }};
    const bool held = round % 3 == 0;
    data.Hold(held);
    ASSERT_TRUE(
        (rdb ? data.saver().StartRdb(false, &scheduled, callbacks) : data.saver().StartRewrite(&scheduled, callbacks))
            .ok());
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 2000));
    data.saver().Cancel();
    EXPECT_EQ(data.saver().status().running, SaveStatus::Kind::kNone);
    const absl::Status status = ended.get_future().get();
    if (!status.ok()) {
      EXPECT_TRUE(absl::IsCancelled(status)) << status;
      ++cancelled;
    }
    EXPECT_FALSE(HasTemp(&fs));
    EXPECT_TRUE(data.saver().status().last_save_ok) << "whoever cancels has not failed";
  }
  EXPECT_GT(cancelled, 10);
  data.Hold(false);
  for (uint32_t i = 0; i < 2; ++i) data.Run(i, [](Shard& shard) { EXPECT_FALSE(shard.snapshot_running()); });
  EXPECT_TRUE(data.SaveRdb().ok());
  EXPECT_NE(fs.Bytes("/data/dump.rdb"), first);
}

TEST(Saver, EndServingEndsAWaitingSave) {
  FaultFileSystem fs;
  auto data = std::make_unique<ServedData>(ServedData::OptionsOn(&fs, false, 2));
  Fill(data.get(), 100, "v");
  data->Hold(true);
  std::promise<absl::Status> ended;
  bool scheduled = false;
  ASSERT_TRUE(
      data->saver()
          .StartRdb(false, &scheduled, {.begun = nullptr, .ended = [&](const absl::Status& s) { ended.set_value(s); }})
          .ok());
  data->data().EndServing();
  EXPECT_TRUE(absl::IsCancelled(ended.get_future().get()));
  EXPECT_FALSE(data->saver().StartRdb(false, &scheduled, {}).ok());
  EXPECT_FALSE(HasTemp(&fs));
}

TEST(Saver, SavePointFiresOnceItsChangesAndTimeAreThere) {
  FaultFileSystem fs;
  DataSetOptions options = ServedData::OptionsOn(&fs, false, 2);
  options.save.save_points = {{3600, 1}, {1, 100}};
  ServedData data(options);
  Fill(&data, 99, "v");
  std::this_thread::sleep_for(milliseconds(1300));
  EXPECT_EQ(data.saver().status().saves, 0u) << "99 changes are not 100";
  data.Set(0, "the hundredth", "1");
  Await([&] { return data.saver().status().changes_at_save == 100; });
  EXPECT_EQ(ReadRdbFile(&fs, "/data/dump.rdb")->keys.size(), 100u);
  // Changed while it runs.
  SaveOptions now = options.save;
  now.save_points = {{1, 1}};
  now.rdb_name = "other.rdb";
  data.saver().SetOptions(now);
  data.Set(0, "one more", "1");
  Await([&] { return data.saver().status().changes_at_save == 101; });
  EXPECT_TRUE(ReadRdbFile(&fs, "/data/other.rdb").ok());
}

TEST(Saver, WritesAreRefusedAfterAFailedSaveUntilOneSucceeds) {
  FaultFileSystem fs;
  DataSetOptions options = ServedData::OptionsOn(&fs, false, 1);
  options.save.save_points = {{3600, 1}};
  ServedData data(options);
  data.Set(0, "a", "1");
  fs.SetHook([](Op op, const std::string&) { return op == Op::kWrite ? ENOSPC : 0; });
  EXPECT_FALSE(data.saver().refuses_writes());
  EXPECT_FALSE(data.SaveRdb().ok());
  EXPECT_TRUE(data.saver().refuses_writes());
  EXPECT_EQ(data.saver().refusal().rfind("MISCONF Redis is configured to save RDB snapshots", 0), 0u);
  EXPECT_NE(data.saver().refusal().find("No space left"), std::string::npos) << data.saver().refusal();
  EXPECT_NE(data.saver().refusal().find("ops/runbooks/disk-full.md"), std::string::npos);
  SaveOptions changed = options.save;
  changed.stop_writes_on_error = false;
  data.saver().SetOptions(changed);
  EXPECT_FALSE(data.saver().refuses_writes());
  data.saver().SetOptions(options.save);
  EXPECT_TRUE(data.saver().refuses_writes());
  changed = options.save;
  changed.save_points.clear();
  data.saver().SetOptions(changed);
  EXPECT_FALSE(data.saver().refuses_writes());
  data.saver().SetOptions(options.save);
  fs.SetHook(nullptr);
  EXPECT_TRUE(data.SaveRdb().ok());
  EXPECT_FALSE(data.saver().refuses_writes());
}

TEST(Saver, LogIsRewrittenOnceItHasGrown) {
  FaultFileSystem fs;
  DataSetOptions options = ServedData::OptionsOn(&fs, true, 2);
  options.save.rewrite_min_size = 64 << 10;
  ServedData data(options);
  const std::string tag(1000, 'x');
  // One shard's key alone: the other shard's files stay small.
  for (int i = 0; i < 100; ++i) data.Set(0, "same", tag + std::to_string(i));
  const uint32_t shard = Key(std::string("same")).slot % 2;
  Await([&] { return data.data().stats().shards[shard].base_size > 0; });
  Await([&] { return data.saver().status().running == SaveStatus::Kind::kNone; });
  EXPECT_EQ(data.data().stats().shards[1 - shard].base_size, 0u) << "by shard";
  EXPECT_LT(data.data().stats().shards[shard].incr_size, 64u << 10);
  EXPECT_EQ(data.saver().status().rewrites, 1u);
  SaveOptions off = options.save;
  off.rewrite_percentage = 0;
  data.saver().SetOptions(off);
  for (int i = 0; i < 100; ++i) data.Set(0, "same", tag + std::to_string(i));
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_EQ(data.saver().status().rewrites, 1u) << "0 means never";
}

TEST(Saver, RateHoldsWritingBack) {
  for (const uint64_t rate : {uint64_t{0}, uint64_t{1} << 20}) {
    FaultFileSystem fs;
    DataSetOptions options = ServedData::OptionsOn(&fs, false, 1);
    options.save.max_rate = rate;
    options.save.compress = false;
    ServedData data(options);
    std::mt19937_64 random(1);
    for (int i = 0; i < 300; ++i) data.Set(0, "key:" + std::to_string(i), std::string(1000, 'a'));
    const auto before = steady_clock::now();
    ASSERT_TRUE(data.SaveRdb().ok());
    const double seconds = std::chrono::duration<double>(steady_clock::now() - before).count();
    if (rate != 0) {
      EXPECT_GT(seconds, 0.15) << "300 kB at 1 MB a second";
    }
  }
}

TEST(Saver, RateMayBeLiftedWhileASaveWaits) {
  FaultFileSystem fs;
  DataSetOptions options = ServedData::OptionsOn(&fs, false, 1);
  options.save.max_rate = 1;
  options.save.compress = false;
  ServedData data(options);
  for (int i = 0; i < 100; ++i) data.Set(0, "key:" + std::to_string(i), std::string(1000, 'a'));
  std::promise<absl::Status> ended;
  bool scheduled = false;
  ASSERT_TRUE(
      data.saver()
          .StartRdb(false, &scheduled, {.begun = nullptr, .ended = [&](const absl::Status& s) { ended.set_value(s); }})
          .ok());
  std::future<absl::Status> result = ended.get_future();
  EXPECT_EQ(result.wait_for(milliseconds(100)), std::future_status::timeout) << "100 kB at a byte a second";
  options.save.max_rate = 0;
  data.saver().SetOptions(options.save);
  EXPECT_TRUE(result.get().ok());
}

TEST(Saver, LargeValuesPassThroughASmallBuffer) {
  FaultFileSystem fs;
  DataSetOptions options = ServedData::OptionsOn(&fs, false, 2);
  options.save.buffer_limit = 64 << 10;
  ServedData data(options);
  std::mt19937_64 random(3);
  for (int i = 0; i < 20; ++i) {
    std::string value(300'000, '\0');
    for (char& c : value) c = static_cast<char>(random());
    data.Set(0, "large:" + std::to_string(i), value);
  }
  Fill(&data, 1000, "v");
  ASSERT_TRUE(data.SaveRdb().ok());
  EXPECT_EQ(ReadRdbFile(&fs, "/data/dump.rdb")->keys, data.Read());
  EXPECT_GT(data.saver().status().last_save_peak, 0u);
}

TEST(Saver, LeftoversOfACrashGoAtTheStart) {
  FaultFileSystem fs;
  ASSERT_TRUE(fs.CreateDir("/data").ok());
  // The first process id is past what the system gives out.
  for (const char* name : {"temp-99999999.rdb", "temp-1.rdb", "temp-x.rdb"}) {
    ASSERT_TRUE(fs.Open(JoinPath("/data", name), FileSystem::Mode::kCreateNew).ok());
  }
  ServedData data(ServedData::OptionsOn(&fs, false, 1));
  EXPECT_FALSE(*fs.Exists("/data/temp-99999999.rdb"));
  EXPECT_TRUE(*fs.Exists("/data/temp-1.rdb")) << "of a process that lives";
  EXPECT_TRUE(*fs.Exists("/data/temp-x.rdb"));
}

TEST(Saver, SaveNowInTheCallingThread) {
  FaultFileSystem fs;
  ServedData data(ServedData::OptionsOn(&fs, false, 2));
  Fill(&data, 5000, "v");
  const Contents before = data.Read();
  ASSERT_TRUE(data.Close().ok());
  ASSERT_TRUE(data.data().SaveNow().ok());
  EXPECT_EQ(ReadRdbFile(&fs, "/data/dump.rdb")->keys, before);
  fs.SetHook([](Op op, const std::string&) { return op == Op::kSync ? EIO : 0; });
  EXPECT_FALSE(data.data().SaveNow().ok());
  fs.SetHook(nullptr);
  EXPECT_EQ(ReadRdbFile(&fs, "/data/dump.rdb")->keys, before);
  EXPECT_FALSE(HasTemp(&fs));
}

TEST(Saver, LogThatCouldNotBeSyncedIsRevived) {
  FaultFileSystem fs;
  DataSetOptions options = ServedData::OptionsOn(&fs, true, 2);
  ServedData data(options);
  Fill(&data, 100, "v");
  fs.SetHook([](Op op, const std::string& path) {
    return op == Op::kSync && path.find("shard-0/incr") != std::string::npos ? EIO : 0;
  });
  Fill(&data, 100, "w");
  Await([&] { return data.data().stats().fsync_errors > 0; });
  fs.SetHook(nullptr);
  const Contents before = data.Read();
  Await([&] { return data.data().stats().shards[0].ok; });
  Await([&] { return data.saver().status().running == SaveStatus::Kind::kNone; });
  data.Run(0, [](Shard& shard) { EXPECT_TRUE(shard.MayWrite().ok()); });
  EXPECT_GT(data.data().stats().shards[0].base_size, 0u);
  EXPECT_EQ(data.data().stats().shards[1].base_size, 0u);
  EXPECT_EQ(data.Read(), before);
}

// What fails at once and again costs a snapshot of the shard each time.
TEST(Saver, ARevivalThatFailsIsNotTriedAgainAtOnce) {
  FaultFileSystem fs;
  ServedData data(ServedData::OptionsOn(&fs, true, 1));
  Fill(&data, 10, "v");
  std::mutex mutex;
  std::vector<std::chrono::steady_clock::time_point> tries;
  fs.SetHook([&](Op op, const std::string& path) {
    if (path.find("/base.") != std::string::npos && op != Op::kRemove) {
      const std::lock_guard<std::mutex> lock(mutex);
      tries.push_back(std::chrono::steady_clock::now());
      return EIO;
    }
    return op == Op::kSync && path.find("/incr.") != std::string::npos ? EIO : 0;
  });
  Fill(&data, 10, "w");
  Await([&] {
    const std::lock_guard<std::mutex> lock(mutex);
    return tries.size() >= 2;
  });
  fs.SetHook(nullptr);
  const std::lock_guard<std::mutex> lock(mutex);
  EXPECT_GE(tries[1] - tries[0], std::chrono::milliseconds(990));
}

}  // namespace
}  // namespace skein::storage
