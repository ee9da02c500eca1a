// What a bus message costs a node, sockets included: `bazel run -c opt //bus/link:links_bench`.
#include "benchmark/benchmark.h"
#include "bus/link/links_harness.h"

namespace skein::bus {
namespace {

// `burst` messages of about 100 bytes there, and as many back, over TCP on one thread. A time is that of one message:
// built, queued, encoded, written, read, checked, decoded and handed over.
void Message(benchmark::State& state, bool secret, bool tls) {
  Loop loop;
  const LinksOptions options = OptionsOf({"", 0, secret, tls});
  Peer a(&loop, 'a', options), b(&loop, 'b', options);
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
BENCHMARK_CAPTURE(Message, plain, false, false)->Arg(1)->Arg(32)->MinTime(0.3);
BENCHMARK_CAPTURE(Message, secret, true, false)->Arg(1)->Arg(32)->MinTime(0.3);
BENCHMARK_CAPTURE(Message, tls, false, true)->Arg(1)->Arg(32)->MinTime(0.3);
BENCHMARK_CAPTURE(Message, both, true, true)->Arg(1)->Arg(32)->MinTime(0.3);

// A link made and closed, both sides.
void Connection(benchmark::State& state, bool secret, bool tls) {
  Loop loop;
  const LinksOptions options = OptionsOf({"", 0, secret, tls});
  Peer a(&loop, 'a', options), b(&loop, 'b', options);
  uint16_t port = b.Listen();
  for (auto _ : state) {
    a.up.clear();
    LinkId link = a.NextId();
    a.links->Dial(link, "127.0.0.1", port);
    CHECK(loop.Until([&] { return a.up.size() == 1; }));
    a.links->Close(link, "bench");
    CHECK(loop.Until([&] { return b.links->size() == 0; }));
  }
}
BENCHMARK_CAPTURE(Connection, plain, false, false)->MinTime(0.3);
BENCHMARK_CAPTURE(Connection, secret, true, false)->MinTime(0.3);
BENCHMARK_CAPTURE(Connection, tls, false, true)->MinTime(0.3);

}  // namespace
}  // namespace skein::bus

BENCHMARK_MAIN();
