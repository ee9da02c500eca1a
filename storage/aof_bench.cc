// What the log costs the loop, what it carries, and how fast it is replayed. Run by hand:
//   bazel run -c opt //storage:aof_bench
#include <benchmark/benchmark.h>
#include <stdlib.h>

#include <chrono>
#include <string>

#include "glog/logging.h"
#include "storage/data_set.h"
#include "storage/log_set.h"

namespace skein::storage {
namespace {

// The bytes go nowhere: what is left is the loop's part and the writer's encoding.
class NullFile : public File {
 public:
  absl::StatusOr<size_t> ReadAt(uint64_t, char*, size_t) override { return size_t{0}; }
  absl::Status WriteAt(uint64_t, const std::vector<iovec>&) override { return absl::OkStatus(); }
  absl::Status Truncate(uint64_t) override { return absl::OkStatus(); }
  absl::Status Sync() override { return absl::OkStatus(); }
  absl::StatusOr<uint64_t> Size() override { return uint64_t{0}; }
};

class CountingSink : public RecordSink {
 public:
  absl::Status Apply(uint32_t, UnixMillis, std::string_view body) override {
    bytes += body.size();
    return absl::OkStatus();
  }
  uint64_t bytes = 0;
};

// One SET with a 16-byte key and a value of the given size, kicked every 64; only the calling thread's time counts.
void BM_AppendEffect(benchmark::State& state) {
  AofOptions options;
  options.fsync = AppendFsync::kNo;
  AofLog log(options);
  AofFile file;
  file.file = std::make_unique<NullFile>();
  log.Start(std::move(file));
  const std::string key(16, 'k');
  const std::string value(static_cast<size_t>(state.range(0)), 'v');
  uint64_t count = 0;
  for (auto _ : state) {
    log.AppendEffect(0, 5, {"SET", key, value});
    benchmark::DoNotOptimize(log.EndRecord(1));
    if (++count % 64 == 0) {
      log.Kick();
      // Outrunning the writer measures the allocator instead.
      if (log.pending_bytes() > (4u << 20)) {
        state.PauseTiming();
        while (log.pending_bytes() > 0) std::this_thread::yield();
        state.ResumeTiming();
      }
    }
  }
  state.SetBytesProcessed(static_cast<int64_t>(log.end()));
}
BENCHMARK(BM_AppendEffect)->Arg(16)->Arg(100)->Arg(1000);

void BM_MayWrite(benchmark::State& state) {
  AofOptions options;
  AofLog log(options);
  AofFile file;
  file.file = std::make_unique<NullFile>();
  log.Start(std::move(file));
  for (auto _ : state) benchmark::DoNotOptimize(log.MayWrite());
}
BENCHMARK(BM_MayWrite);

// A whole data set on disk: appended by one thread, written and synced once at the end, then read back.
void BM_WriteAndReplay(benchmark::State& state) {
  char dir[] = "/tmp/aof_benchXXXXXX";
  CHECK(mkdtemp(dir) != nullptr);
  DataSetOptions options;
  options.dir = dir;
  options.append_only = true;
  options.fsync = AppendFsync::kNo;
  const std::string value(static_cast<size_t>(state.range(0)), 'v');
  CountingSink sink;
  double wrote = 0;
  {
    auto set = LogSet::Open(options);
    CHECK(set.ok()) << set.status();
    CHECK((*set)->Recover([&](uint32_t) { return &sink; }).ok());
    const auto start = std::chrono::steady_clock::now();
    Log& log = (*set)->log(0);
    while (log.end() < (256u << 20)) {
      if (!log.MayWrite().ok()) {
        std::this_thread::yield();
        continue;
      }
      for (int i = 0; i < 64; ++i) {
        log.AppendEffect(0, 5, {"SET", "key:0123456789ab", value});
        log.EndRecord(1);
      }
      log.Kick();
    }
    CHECK((*set)->Close().ok());
    wrote = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  uint64_t bytes = 0;
  for (auto _ : state) {
    auto set = LogSet::Open(options);
    CHECK(set.ok()) << set.status();
    CHECK((*set)->Recover([&](uint32_t) { return &sink; }).ok());
    bytes += (*set)->report().shards[0].bytes;
  }
  state.SetBytesProcessed(static_cast<int64_t>(bytes));
  state.counters["write_MB_s"] = 256.0 * 1.048576 / wrote;
  CHECK_EQ(system((std::string("rm -r ") + dir).c_str()), 0);
}
BENCHMARK(BM_WriteAndReplay)->Arg(16)->Arg(1000)->UseRealTime()->Iterations(3)->Unit(benchmark::kMillisecond);

// Replay into real shards: a million keys over as many shards as the argument says.
void BM_ReplayIntoShards(benchmark::State& state) {
  char dir[] = "/tmp/aof_benchXXXXXX";
  CHECK(mkdtemp(dir) != nullptr);
  DataSetOptions options;
  options.dir = dir;
  options.append_only = true;
  options.fsync = AppendFsync::kNo;
  options.shards = static_cast<uint32_t>(state.range(0));
  {
    auto set = DataSet::Open(options);
    CHECK(set.ok()) << set.status();
    for (uint32_t i = 0; i < 1'000'000; ++i) {
      char name[24];
      snprintf(name, sizeof(name), "key:%012u", i);
      const Key key(name);
      Shard& shard = (*set)->shard(key.slot % options.shards);
      shard.Begin(1);
      shard.SetString(0, key, "value of 16 byte", kNoExpiry, "set");
      shard.End();
      shard.log()->Kick();
    }
  }
  uint64_t bytes = 0;
  for (auto _ : state) {
    auto set = DataSet::Open(options);
    CHECK(set.ok()) << set.status();
    for (const RecoveryReport::PerShard& shard : (*set)->report().shards) bytes += shard.bytes;
    state.SetIterationTime((*set)->report().seconds);
  }
  state.SetBytesProcessed(static_cast<int64_t>(bytes));
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * 1'000'000);
  CHECK_EQ(system((std::string("rm -r ") + dir).c_str()), 0);
}
BENCHMARK(BM_ReplayIntoShards)->Arg(1)->Arg(2)->UseManualTime()->Iterations(2)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace skein::storage

BENCHMARK_MAIN();
