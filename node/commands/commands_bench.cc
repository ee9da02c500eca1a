// What a look-up in the command table and the most frequent commands cost, without the network. Keys in cache: the cost
// of the code, not of memory.
#include <string>
#include <string_view>
#include <vector>

#include "benchmark/benchmark.h"
#include "node/command.h"
#include "node/commands/harness.h"

namespace skein::node {
namespace {

void BM_FindCommand(benchmark::State& state) {
  const std::vector<std::vector<std::string_view>> commands = {
      {"GET", "k"}, {"set", "k", "v"}, {"INCRBYFLOAT", "k", "1"}, {"object", "encoding", "k"}};
  size_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(FindCommand(commands[i++ % commands.size()]));
}
BENCHMARK(BM_FindCommand);

// The command of these words, run on a shard's bracket of its own.
void RunOne(benchmark::State& state, std::vector<std::string> words) {
  Harness h;
  storage::Shard shard(storage::ShardOptions{}, nullptr);
  const std::vector<std::string_view> views(words.begin(), words.end());
  Buffer out;
  ReplyWriter reply(&out, 2);
  Call call{.spec = FindCommand(views), .argv = views, .reply = &reply, .caller = {}};
  call.shard = &shard;
  call.config = &h.config;
  shard.Begin(h.now_ms);
  shard.SetString(0, storage::Key(words[1]), "0123456789abcdef", storage::kNoExpiry, "set");
  if (words[0] == "INCR") shard.SetInteger(0, storage::Key(words[1]), 1, "set");
  for (auto _ : state) {
    const storage::Key key(views[1]);
    call.first_key = &key;
    call.spec->run(call);
    out.Clear();
  }
  shard.End();
}
BENCHMARK_CAPTURE(RunOne, get, {"GET", "key:000000000001"});
BENCHMARK_CAPTURE(RunOne, set, {"SET", "key:000000000001", "0123456789abcdef"});
BENCHMARK_CAPTURE(RunOne, set_ex, {"SET", "key:000000000001", "0123456789abcdef", "EX", "100"});
BENCHMARK_CAPTURE(RunOne, incr, {"INCR", "key:000000000001"});
BENCHMARK_CAPTURE(RunOne, ttl, {"TTL", "key:000000000001"});
BENCHMARK_CAPTURE(RunOne, del_missing, {"DEL", "key:000000000001"});

}  // namespace
}  // namespace skein::node

BENCHMARK_MAIN();
