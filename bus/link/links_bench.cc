// What a bus message costs a node, sockets included: `bazel run -c opt //bus/link:links_bench`.
#include "benchmark/benchmark.h"
#include "bus/link/links_harness.h"

namespace skein::bus {
namespace {

// `burst` messages of about 100 bytes there, and as many back, over TCP on one thread. A time is that of one message:
// built, queued, encoded, written, read, checked, decoded and handed over.
void BM_Message(benchmark::State& state) {
  Loop loop;
  Peer a(&loop, 'a'), b(&loop, 'b');
  uint16_t port = b.Listen();
  b.on_message = [&](LinkId link, const MessagePtr& message) { b.links->Send(link, message); };
  a.links->Dial(1, "127.0.0.1", port);
  CHECK(loop.Until([&] { return a.up.size() == 1; }));
  const auto burst = static_cast<uint64_t>(state.range(0));
  uint64_t total = 0;
  for (auto _ : state) {
    for (uint64_t i = 0; i < burst; ++i) a.links->Send(1, MakePing(i, 80));
    total += burst;
    CHECK(loop.Until([&] { return a.received == total; }));
  }
  state.SetItemsProcessed(static_cast<int64_t>(2 * total));
}
BENCHMARK(BM_Message)->Arg(1)->Arg(32)->MinTime(0.3);

}  // namespace
}  // namespace skein::bus

BENCHMARK_MAIN();
