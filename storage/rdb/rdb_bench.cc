// What a key of 100 bytes costs to encode, to decode and to load: rdb_bench.
#include <benchmark/benchmark.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "glog/logging.h"
#include "storage/rdb/decoder.h"
#include "storage/rdb/encoder.h"
#include "storage/rdb/rdb_testing.h"
#include "storage/shard.h"

namespace skein::storage {
namespace {

enum Content : int64_t { kNoise = 0, kText, kRepeated };

std::string Value(Content content, size_t size, std::mt19937_64* random) {
  static constexpr std::string_view kWords[] = {"\"name\":", "\"street\":", "\"2024-05-", "true,",
                                                "null,",     "Maria ",      "customer "};
  std::string value;
  while (value.size() < size) {
    if (content == kNoise) value += static_cast<char>((*random)());
    if (content == kText) value.append(kWords[(*random)() % 7]).append(std::to_string((*random)() % 1000));
    if (content == kRepeated) value += "x";
  }
  value.resize(size);
  return value;
}

struct Data {
  std::vector<std::string> keys, values;
};

Data Make(Content content, size_t count, size_t size) {
  std::mt19937_64 random(1);
  Data data;
  for (size_t i = 0; i < count; ++i) {
    data.keys.push_back("key:" + std::to_string(random() % 100'000'000));
    data.values.push_back(Value(content, size, &random));
  }
  return data;
}

std::string Encode(const Data& data, bool compress) {
  std::string out;
  RdbEncoder encoder({.compress = compress}, &out);
  encoder.Begin();
  RdbItem item;
  for (size_t i = 0; i < data.keys.size(); ++i) {
    item.key = data.keys[i];
    item.string = data.values[i];
    encoder.Add(item);
  }
  encoder.End();
  return out;
}

// Arguments: the content, whether to compress.
void BM_Encode(benchmark::State& state) {
  const Data data = Make(static_cast<Content>(state.range(0)), 10'000, 100);
  std::string out;
  uint64_t bytes = 0, keys = 0;
  for (auto _ : state) {
    RdbEncoder encoder({.compress = state.range(1) != 0}, &out);
    encoder.Begin();
    RdbItem item;
    for (size_t i = 0; i < data.keys.size(); ++i) {
      item.key = data.keys[i];
      item.string = data.values[i];
      item.expire_at = i % 2 == 0 ? kNoExpiry : 1'900'000'000'000;
      encoder.Add(item);
      if (out.size() > 64 << 10) {
        bytes += out.size();
        out.clear();
      }
    }
    encoder.End();
    bytes += out.size();
    out.clear();
    keys += data.keys.size();
  }
  state.counters["ns/key"] =
      benchmark::Counter(static_cast<double>(keys), benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  state.counters["bytes/key"] = static_cast<double>(bytes) / static_cast<double>(keys);
}
BENCHMARK(BM_Encode)->Args({kNoise, 0})->Args({kNoise, 1})->Args({kText, 0})->Args({kText, 1})->Args({kRepeated, 1});

struct Nothing : RdbVisitor {
  absl::Status OnItem(const RdbItem& item) override {
    benchmark::DoNotOptimize(item.string.data());
    return absl::OkStatus();
  }
};

void BM_Decode(benchmark::State& state) {
  const Data data = Make(static_cast<Content>(state.range(0)), 10'000, 100);
  const std::string bytes = Encode(data, state.range(1) != 0);
  BytesFile file(bytes);
  uint64_t keys = 0;
  for (auto _ : state) {
    Nothing nothing;
    const auto info = ReadRdb(&file, "bench", 0, {}, &nothing);
    CHECK(info.ok());
    keys += info->keys;
  }
  state.counters["ns/key"] =
      benchmark::Counter(static_cast<double>(keys), benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK(BM_Decode)->Args({kNoise, 0})->Args({kText, 0})->Args({kText, 1});

// A million keys into the tables of a shard, as they come from an RDB file of another server.
void BM_Load(benchmark::State& state) {
  const Data data = Make(kText, 1'000'000, 100);
  const std::string bytes = Encode(data, false);
  BytesFile file(bytes);
  struct Loading : RdbVisitor {
    explicit Loading(Shard* s) : shard(s) {}
    absl::Status OnItem(const RdbItem& item) override {
      shard->LoadItem(item);
      return absl::OkStatus();
    }
    Shard* shard;
  };
  uint64_t keys = 0;
  for (auto _ : state) {
    auto shard = std::make_unique<Shard>(ShardOptions{}, nullptr);
    Loading loading(shard.get());
    const auto info = ReadRdb(&file, "bench", 0, {}, &loading);
    CHECK(info.ok());
    keys += info->keys;
    state.PauseTiming();
    shard.reset();
    state.ResumeTiming();
  }
  state.counters["ns/key"] =
      benchmark::Counter(static_cast<double>(keys), benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK(BM_Load)->Unit(benchmark::kMillisecond)->Iterations(2);

}  // namespace
}  // namespace skein::storage

BENCHMARK_MAIN();
