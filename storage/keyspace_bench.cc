// What a key costs: bytes, nanoseconds, and the longest single operation while a shard grows and shrinks.
//
//   keyspace_bench [keys [bytes|expiring|speed|longest|control [all|one]]]
//
// 10,000,000 keys by default. Each measurement runs in a process of its own, for all slots and for one.
#include <fcntl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/keyspace.h"
#include "storage/memory.h"
#include "storage/shard.h"

namespace skein::storage {
namespace {

constexpr UnixMillis kNow = 1'700'000'000'000;
constexpr std::string_view kValue = "value-of-16bytes";

// 16-byte names, in one slot ("{t}" in front) or in all.
class Name {
 public:
  Name(uint64_t number, bool one_slot) {
    std::memcpy(bytes_, one_slot ? "{t}:000000000000" : "key:000000000000", 16);
    for (int i = 15; number != 0; --i, number /= 10) bytes_[i] = static_cast<char>('0' + number % 10);
  }
  std::string_view text() const { return {bytes_, 16}; }

 private:
  char bytes_[16];
};

// A fixed disorder of 0..n-1: a step that shares no divisor with n.
class Order {
 public:
  explicit Order(uint64_t n) : n_(n), step_(n * 618 / 1000) {
    const auto divisor = [](uint64_t a, uint64_t b) {
      while (b != 0) a = std::exchange(b, a % b);
      return a;
    };
    while (divisor(step_, n_) != 1) ++step_;
  }
  uint64_t operator[](uint64_t i) const { return static_cast<uint64_t>(static_cast<__uint128_t>(i) * step_ % n_); }

 private:
  uint64_t n_;
  uint64_t step_;
};

uint64_t CpuNanoseconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_nsec);
}

uint64_t ResidentBytes() {
  char text[128] = {};
  const int fd = open("/proc/self/statm", O_RDONLY);
  const ssize_t n = read(fd, text, sizeof(text) - 1);
  close(fd);
  unsigned long pages = 0;
  if (n <= 0 || std::sscanf(text, "%*u %lu", &pages) != 1) std::abort();
  return pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

uint64_t OverflowBuckets(Shard& shard) { return shard.keyspace().db(0).context().overflow_buckets; }

void PrintBytes(Shard& shard, uint64_t resident_before, uint64_t used_before, uint64_t keys, const char* what) {
  const auto n = static_cast<double>(keys);
  std::printf("%-28s %9lu keys: %6.2f bytes a key resident, %6.2f counted, overflow buckets %.3f a key\n", what, keys,
              static_cast<double>(ResidentBytes() - resident_before) / n,
              static_cast<double>(shard.used_bytes() - used_before) / n,
              static_cast<double>(OverflowBuckets(shard)) / n);
}

void Bytes(uint64_t keys, bool one_slot, bool expiring) {
  const uint64_t resident = ResidentBytes();
  Shard shard({0, 1, 16}, nullptr);
  const uint64_t used = shard.used_bytes();
  const char* what = one_slot ? (expiring ? "one slot, all expiring" : "one slot")
                              : (expiring ? "all slots, all expiring" : "all slots");
  // On the way as well: growth must not cost more in the middle. Every eighth of a doubling from a tenth on.
  double next = static_cast<double>(keys) / 10;
  double worst = 0;
  uint64_t worst_at = 0;
  for (uint64_t i = 0; i < keys; ++i) {
    shard.Begin(kNow);
    shard.SetString(0, Key(Name(i, one_slot).text()), kValue, expiring ? kNow + 1'000'000 : kNoExpiry, "set");
    shard.End();
    if (static_cast<double>(i + 1) < next) continue;
    next *= 1.0905;
    const double per_key = static_cast<double>(ResidentBytes() - resident) / static_cast<double>(i + 1);
    if (per_key > worst) worst = per_key, worst_at = i + 1;
  }
  PrintBytes(shard, resident, used, keys, what);
  std::printf("%-28s worst on the way: %.2f bytes a key resident, at %lu keys\n", "", worst, worst_at);
}

void Fill(Shard* shard, uint64_t keys, bool one_slot) {
  for (uint64_t i = 0; i < keys; ++i) {
    shard->Begin(kNow);
    shard->SetString(0, Key(Name(i, one_slot).text()), kValue, kNoExpiry, "set");
    shard->End();
  }
}

// CPU time of `operation` over `total` keys in a scattered order, in batches of kBatch with or without prefetching.
template <typename F>
double PerOperation(Shard& shard, uint64_t keys, uint64_t total, bool one_slot, bool prefetch, F&& operation) {
  constexpr uint64_t kBatch = 16;
  constexpr uint64_t kNames = 64 * kBatch;  // made outside the measured time
  const Order order(keys);
  uint64_t spent = 0;
  std::vector<Key> batch;
  std::vector<Name> names;
  for (uint64_t done = 0; done < total; done += kNames) {
    names.clear();
    for (uint64_t j = 0; j < kNames; ++j) names.emplace_back(order[(done + j) % keys], one_slot);
    const uint64_t start = CpuNanoseconds();
    for (uint64_t i = 0; i < kNames; i += kBatch) {
      batch.clear();
      for (uint64_t j = 0; j < kBatch; ++j) batch.emplace_back(names[i + j].text());
      if (prefetch) {
        for (int stage = 0; stage < 3; ++stage) {
          for (const Key& key : batch) shard.Prefetch(0, key, stage);
        }
      }
      for (const Key& key : batch) {
        shard.Begin(kNow);
        operation(key);
        shard.End();
      }
    }
    spent += CpuNanoseconds() - start;
  }
  return static_cast<double>(spent) / static_cast<double>((total + kNames - 1) / kNames * kNames);
}

void Speed(uint64_t keys, bool one_slot) {
  Shard shard({0, 1, 16}, nullptr);
  Fill(&shard, keys, one_slot);
  const uint64_t total = std::min<uint64_t>(keys, 2'000'000);
  uint64_t found = 0;
  for (const bool prefetch : {false, true}) {
    const double find = PerOperation(shard, keys, total, one_slot, prefetch, [&](const Key& key) {
      IntText scratch;
      found += static_cast<unsigned char>(shard.Find(0, key)->string(&scratch)[0]) != 0;
    });
    const double set = PerOperation(shard, keys, total, one_slot, prefetch,
                                    [&](const Key& key) { shard.SetString(0, key, kValue, kNoExpiry, "set"); });
    std::printf("%-28s %9lu keys: Find %5.0f ns, SetString %5.0f ns, %s (hash and slot included)\n",
                one_slot ? "one slot" : "all slots", keys, find, set, prefetch ? "prefetched by 16" : "one by one");
  }
  if (found < 2 * total) std::abort();
}

// The five longest of many operations, and what else is to know of them.
class Longest {
 public:
  void Add(uint64_t nanoseconds) {
    ++count_;
    sum_ += nanoseconds;
    if (worst_.size() == kKept && nanoseconds <= worst_.front()) return;
    worst_.insert(std::lower_bound(worst_.begin(), worst_.end(), nanoseconds), nanoseconds);
    if (worst_.size() > kKept) worst_.erase(worst_.begin());
  }
  void Print(const char* what, bool one_slot) const {
    std::printf(
        "%-9s %-9s %9lu operations: mean %.0f ns of CPU time; longest, in us:", one_slot ? "one slot" : "all slots",
        what, count_, static_cast<double>(sum_) / static_cast<double>(count_));
    for (auto it = worst_.rbegin(); it != worst_.rend(); ++it) std::printf(" %.1f", static_cast<double>(*it) / 1000);
    std::printf("\n");
  }

 private:
  static constexpr size_t kKept = 5;
  uint64_t count_ = 0;
  uint64_t sum_ = 0;
  std::vector<uint64_t> worst_;  // ascending
};

// The longest operations while a shard grows to `keys` and shrinks to nothing again.
void LongestOperations(uint64_t keys, bool one_slot) {
  AllocateFromReserve(0);
  Shard shard({0, 1, 16}, nullptr);
  const TableContext& context = shard.keyspace().db(0).context();
  const Order order(keys);
  for (const bool growing : {true, false}) {
    Longest longest;
    uint64_t moves = 0;
    for (uint64_t i = 0; i < keys; ++i) {
      const Name name(growing ? i : order[i], one_slot);
      const uint64_t moved = context.moves;
      const uint64_t start = CpuNanoseconds();
      shard.Begin(kNow);
      if (growing) {
        shard.SetString(0, Key(name.text()), kValue, kNoExpiry, "set");
      } else {
        shard.Delete(0, Key(name.text()), "del", false);
      }
      shard.End();
      longest.Add(CpuNanoseconds() - start);
      moves = std::max(moves, context.moves - moved);
    }
    longest.Print(growing ? "growing" : "shrinking", one_slot);
    std::printf("%-19s most moved by one operation: %lu\n", "", moves);
  }
}

// What the machine alone adds to a thread's CPU time, and the allocator without the reserve: reading the clock twice;
// allocations of 64 bytes, kept, then freed.
void LongestAllocations(uint64_t keys) {
  Longest nothing;
  for (uint64_t i = 0; i < keys; ++i) {
    const uint64_t start = CpuNanoseconds();
    nothing.Add(CpuNanoseconds() - start);
  }
  nothing.Print("nothing", false);
  std::vector<void*> kept(keys);
  const Order order(keys);
  for (const bool growing : {true, false}) {
    Longest longest;
    for (uint64_t i = 0; i < keys; ++i) {
      void*& place = kept[growing ? i : order[i]];
      const uint64_t start = CpuNanoseconds();
      if (growing) {
        place = std::malloc(64);
        std::memset(place, 1, 64);
      } else {
        std::free(place);
      }
      longest.Add(CpuNanoseconds() - start);
    }
    longest.Print(growing ? "malloc" : "free", false);
  }
}

void Run(uint64_t keys, std::string_view part, bool one_slot) {
  if (part == "bytes") Bytes(keys, one_slot, false);
  if (part == "expiring") Bytes(keys, one_slot, true);
  if (part == "speed") Speed(keys, one_slot);
  if (part == "longest") LongestOperations(keys, one_slot);
  if (part == "control") LongestAllocations(keys);
}

// One measurement, in a process of its own.
void Spawn(uint64_t keys, const char* part, bool one_slot) {
  std::fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) {
    execl("/proc/self/exe", "keyspace_bench", std::to_string(keys).c_str(), part, one_slot ? "one" : "all", nullptr);
    _exit(127);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  if (status != 0) std::abort();
}

void RunAll(uint64_t keys, std::string_view only) {
  for (const char* part : {"bytes", "expiring", "speed", "longest", "control"}) {
    if (!only.empty() && part != only) continue;
    const bool control = std::string_view(part) == "control";
    for (const bool one_slot : {false, true}) {
      if (control && one_slot) continue;
      if (!control && std::string_view(part) != "longest") Spawn(keys / 10, part, one_slot);
      Spawn(keys, part, one_slot);
    }
  }
}

}  // namespace
}  // namespace skein::storage

int main(int argc, char** argv) {
  const uint64_t keys = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 10'000'000;
  if (keys < 1000) {
    std::fprintf(stderr,
                 "usage: keyspace_bench [keys, at least 1000 [bytes|expiring|speed|longest|control [all|one]]]\n");
    return 2;
  }
  const std::string_view part = argc > 2 ? argv[2] : "";
  if (argc > 3) {
    skein::storage::Run(keys, part, std::string_view(argv[3]) == "one");
  } else {
    skein::storage::RunAll(keys, part);
  }
  return 0;
}
