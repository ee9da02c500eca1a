// What a snapshot costs: to begin, a key saved in slices, and the effects beside it.
//
//   snapshot_bench [keys [bytes a value]]        2,000,000 keys of 100 bytes by default
//
// All times are CPU time of the shard's thread. Chunks are destroyed on a thread of their own, as a saver does.
#include <time.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "storage/keyspace.h"
#include "storage/shard.h"
#include "storage/snapshot.h"

namespace skein::storage {
namespace {

constexpr UnixMillis kNow = 1'700'000'000'000;

uint64_t CpuNanoseconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_nsec);
}

class Drain final : public SnapshotSink {
 public:
  Drain() : thread_([this] { Run(); }) {}
  ~Drain() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }
  void Take(uint32_t, std::unique_ptr<SnapshotChunk> chunk) override {
    keys += chunk->keys();
    {
      const std::lock_guard lock(mutex_);
      chunks_.push_back(std::move(chunk));
    }
    wake_.notify_one();
  }
  void End(uint32_t, absl::Status status) override {
    if (!status.ok() && !absl::IsCancelled(status)) std::abort();
  }
  uint64_t keys = 0;  // the shard's thread

 private:
  void Run() {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [this] { return stop_ || !chunks_.empty(); });
      if (chunks_.empty()) return;
      std::deque<std::unique_ptr<SnapshotChunk>> taken;
      taken.swap(chunks_);
      lock.unlock();
      taken.clear();
      lock.lock();
    }
  }
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::unique_ptr<SnapshotChunk>> chunks_;
  bool stop_ = false;
  std::thread thread_;
};

void WaitForRoom(const SnapshotBudget& budget) {
  while (budget.full()) std::this_thread::yield();
}

std::string Name(uint64_t i) {
  char text[32];
  std::snprintf(text, sizeof(text), "key:%012lu", i);
  return text;
}

// The longest of many, and their mean.
class Longest {
 public:
  void Add(uint64_t nanoseconds) {
    ++count_;
    sum_ += nanoseconds;
    all_.push_back(static_cast<uint32_t>(std::min<uint64_t>(nanoseconds, UINT32_MAX)));
  }
  uint64_t sum() const { return sum_; }
  void Print(const char* what) {
    std::sort(all_.begin(), all_.end());
    std::printf("%-44s %9lu times: mean %6.0f ns, p99.9 %6.1f us, longest in us:", what, count_,
                static_cast<double>(sum_) / static_cast<double>(count_), all_[all_.size() * 999 / 1000] / 1000.0);
    for (size_t i = 1; i <= 3 && i <= all_.size(); ++i) std::printf(" %.1f", all_[all_.size() - i] / 1000.0);
    std::printf("\n");
  }

 private:
  uint64_t count_ = 0, sum_ = 0;
  std::vector<uint32_t> all_;
};

void Run(uint64_t keys, size_t bytes) {
  Shard shard({0, 1, 16}, nullptr);
  const std::string value(bytes, 'v'), other(bytes, 'w');
  shard.Begin(kNow);
  for (uint64_t i = 0; i < keys; ++i) shard.SetString(0, Key(Name(i)), value, kNoExpiry, "set");
  shard.End();
  const auto budget = std::make_shared<SnapshotBudget>(8u << 20, nullptr);
  const auto sink = std::make_shared<Drain>();
  const auto begin = [&] {
    const uint64_t start = CpuNanoseconds();
    if (!shard.BeginSnapshot({budget, sink}).ok()) std::abort();
    return CpuNanoseconds() - start;
  };

  for (int i = 0; i < 3; ++i) {
    const uint64_t begun = begin();
    const uint64_t before = sink->keys;
    Longest steps;
    while (true) {
      const uint64_t step_start = CpuNanoseconds();
      const SnapshotStep step = shard.StepSnapshot(256);
      if (step == SnapshotStep::kFull) {
        WaitForRoom(*budget);
        continue;
      }
      steps.Add(CpuNanoseconds() - step_start);
      if (step == SnapshotStep::kDone) break;
    }
    const auto spent = static_cast<double>(steps.sum());
    std::printf("begin %.1f us; walk %.1f ns a key\n", static_cast<double>(begun) / 1000,
                spent / static_cast<double>(sink->keys - before));
    steps.Print("StepSnapshot(256)");
  }

  // Effects at random places: calm, and each of them meeting buckets not yet saved.
  uint64_t random = 88172645463325252;
  const auto next = [&random] {
    random ^= random << 13, random ^= random >> 7, random ^= random << 17;
    return random;
  };
  const auto measure = [&](const char* what, auto&& effect) {
    Longest longest;
    for (int i = 0; i < 100'000; ++i) {
      const std::string name = Name(next() % keys);
      const Key key(name);
      const uint64_t start = CpuNanoseconds();
      shard.Begin(kNow);
      effect(key);
      shard.End();
      longest.Add(CpuNanoseconds() - start);
      if (!shard.MayWrite().ok()) WaitForRoom(*budget);
    }
    longest.Print(what);
  };
  measure("calm: nothing", [&](const Key&) {});
  measure("calm: SET", [&](const Key& key) { shard.SetString(0, key, other, kNoExpiry, "set"); });
  measure("calm: DEL", [&](const Key& key) { shard.Delete(0, key, "del", true); });
  begin();
  measure("snapshot: SET", [&](const Key& key) { shard.SetString(0, key, value, kNoExpiry, "set"); });
  shard.CancelSnapshot();
  begin();
  measure("snapshot: DEL", [&](const Key& key) { shard.Delete(0, key, "del", true); });
  shard.CancelSnapshot();

  begin();
  const uint64_t start = CpuNanoseconds();
  shard.Begin(kNow);
  shard.FlushAll(true);
  shard.End();
  std::printf("FLUSHALL during a snapshot: %.1f us\n", static_cast<double>(CpuNanoseconds() - start) / 1000);
  const uint64_t before = sink->keys, walk = CpuNanoseconds();
  for (SnapshotStep step = SnapshotStep::kMore; step != SnapshotStep::kDone;) {
    step = shard.StepSnapshot(256);
    if (step == SnapshotStep::kFull) WaitForRoom(*budget);
  }
  std::printf("saved and freed: %.1f ns a key\n",
              static_cast<double>(CpuNanoseconds() - walk) / static_cast<double>(sink->keys - before));
}

}  // namespace
}  // namespace skein::storage

int main(int argc, char** argv) {
  const uint64_t keys = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 2'000'000;
  const size_t bytes = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 100;
  if (keys < 1000 || bytes > (1u << 20)) {
    std::fprintf(stderr, "usage: snapshot_bench [keys, at least 1000 [bytes a value, at most 1048576]]\n");
    return 2;
  }
  skein::storage::Run(keys, bytes);
  return 0;
}
