// sim --seed N [--nodes N] [--seeds COUNT] [--minutes M]
// Replays one seed with its trace, runs COUNT seeds from N on, or times M virtual minutes of an idle cluster.
#include <gflags/gflags.h>

#include <chrono>
#include <cstdio>

#include "tests/sim/scenario.h"

DEFINE_uint64(seed, 1, "the seed, or the first of --seeds");
DEFINE_uint64(seeds, 1, "how many seeds to run");
DEFINE_int32(nodes, 0, "nodes; 0: 3 to 8, by the seed");
DEFINE_int32(minutes, 0, "if not 0: form a cluster of --nodes and let it idle for so many virtual minutes");
DEFINE_int64(timeout, 15000, "node timeout with --minutes, ms");

namespace {

int Idle() {
  skein::bus::EngineOptions options;
  options.node_timeout_ms = FLAGS_timeout;
  skein::sim::World world(FLAGS_seed, options);
  auto start = std::chrono::steady_clock::now();
  auto seconds = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  int64_t formed = skein::sim::Form(&world, FLAGS_nodes, FLAGS_nodes, 60000);
  std::printf("%d nodes formed in %lld virtual ms, %.2f s: %s\n", FLAGS_nodes, static_cast<long long>(formed),
              seconds(), formed < 0 ? world.Disagreement().c_str() : "ok");
  uint64_t bytes = world.bytes_sent(0), messages = world.messages_sent();
  world.Run(FLAGS_minutes * 60000LL);
  double s = FLAGS_minutes * 60.0;
  std::printf("%d idle minutes in %.2f s: %.0f bytes/s and %.1f messages/s a node; %s\n", FLAGS_minutes, seconds(),
              static_cast<double>(world.bytes_sent(0) - bytes) / s,
              static_cast<double>(world.messages_sent() - messages) / s / FLAGS_nodes,
              world.failure().empty() ? world.Disagreement().c_str() : world.failure().c_str());
  return formed < 0 || !world.Disagreement().empty();
}

}  // namespace

int main(int argc, char** argv) {
  gflags::ParseCommandLineFlags(&argc, &argv, true);
  if (FLAGS_minutes > 0) return Idle();
  int failed = 0;
  int64_t worst_formed = 0, worst_healed = 0;
  for (uint64_t seed = FLAGS_seed; seed < FLAGS_seed + FLAGS_seeds; ++seed) {
    skein::sim::Outcome out = skein::sim::RunScenario(seed, FLAGS_nodes);
    worst_formed = std::max(worst_formed, out.formed_ms);
    worst_healed = std::max(worst_healed, out.healed_ms);
    if (out.failure.empty()) continue;
    ++failed;
    std::printf("%s\n", out.failure.c_str());
    if (FLAGS_seeds == 1) std::printf("%s\n", out.trace.c_str());
  }
  std::printf("%llu seeds, %d failed; slowest formation %lld ms, slowest healing %lld ms\n",
              static_cast<unsigned long long>(FLAGS_seeds), failed, static_cast<long long>(worst_formed),
              static_cast<long long>(worst_healed));
  return failed != 0;
}
