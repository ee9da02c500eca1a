#include "tests/sim/figures.h"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <functional>
#include <vector>

#include "tests/sim/scenario.h"

namespace skein::sim {
namespace {

// CPU time: the machine may have other things to do.
double Seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

bus::EngineOptions Options(int64_t timeout_ms) {
  bus::EngineOptions options;
  options.node_timeout_ms = timeout_ms;
  return options;
}

bool Settle(World* world, int64_t ms) {
  int64_t begin = world->now();
  return world->RunUntil(ms, [&] { return (world->now() - begin) % 500 == 0 && world->Disagreement().empty(); });
}

void Row(const std::string& name, const std::string& value, const std::string& goal) {
  std::printf("| %-46s | %-34s | %-18s |\n", name.c_str(), value.c_str(), goal.c_str());
  std::fflush(stdout);
}

std::string Number(const char* format, double a, double b = 0, double c = 0) {
  char text[100];
  std::snprintf(text, sizeof text, format, a, b, c);
  return text;
}

// From the death of a primary until its replica accepts writes, in node timeouts.
bool Promotion(int nodes, int kills, uint64_t seed) {
  constexpr int64_t kTimeout = 5000;
  std::vector<double> took;
  int primaries = nodes / 2;
  int lost = 0;
  for (uint64_t round = 0; static_cast<int>(took.size()) + lost < kills; ++round) {
    World world(seed + round, Options(kTimeout));
    world.quiet = true;
    world.AddCluster(primaries, primaries);
    if (!Settle(&world, 30000)) {
      Row("promotion", world.Disagreement() + world.failure(), "");
      return false;
    }
    world.write_rate = nodes < 100 ? 100 : 0;
    // A majority of primaries must live on.
    int victims = std::min(kills, (primaries - 1) / 2);
    for (int victim = 0; victim < victims && static_cast<int>(took.size()) + lost < kills; ++victim) {
      world.Run(3000 + static_cast<int64_t>(world.random().Below(kTimeout)));
      int64_t begin = world.now();
      world.Crash(victim);
      bool done = world.RunUntil(10 * kTimeout, [&] { return world.Accepts(primaries + victim); });
      if (!done) {
        ++lost;
      } else {
        took.push_back(static_cast<double>(world.now() - begin) / kTimeout);
      }
    }
    if (!world.failure().empty()) {
      Row("promotion", world.failure(), "");
      return false;
    }
  }
  std::sort(took.begin(), took.end());
  if (took.empty()) return false;
  double median = took[took.size() / 2], p99 = took[took.size() * 99 / 100];
  Row("kill to promoted and writing, " + std::to_string(nodes) + " nodes",
      Number("median %.2f, p99 %.2f timeouts", median, p99) + " of " + std::to_string(took.size()) +
          (lost > 0 ? ", " + std::to_string(lost) + " never" : ""),
      "median <= 1.25");
  return median <= 1.25 && lost == 0;
}

bool Accusations(int nodes, int64_t minutes, uint64_t seed) {
  World world(seed, Options(15000));
  world.quiet = true;
  world.AddCluster(nodes / 2, nodes / 2);
  if (!Settle(&world, 60000)) return false;
  uint64_t suspected = 0, failed = 0;
  world.on_note = [&](int, const bus::NoteEffect& note) {
    suspected += note.kind == bus::EventKind::kSuspect;
    failed += note.kind == bus::EventKind::kFail;
  };
  world.faults.loss = 10;
  world.faults.delay_max = 50;
  world.Run(minutes * 60000);
  Row("accused in " + std::to_string(minutes) + " min, " + std::to_string(nodes) + " nodes, 1 % loss, 50 ms jitter",
      std::to_string(suspected) + " suspected, " + std::to_string(failed) + " failed" + world.failure(), "0");
  return suspected == 0 && failed == 0 && world.failure().empty();
}

// Of 1000 nodes: 650 primaries, of which 300 of the 350 with a replica die at once. Other sizes in proportion.
bool ManyFailures(int nodes, uint64_t seed) {
  constexpr int64_t kTimeout = 5000;
  World world(seed, Options(kTimeout));
  world.quiet = true;
  const int primaries = nodes * 65 / 100, victims = nodes * 30 / 100;
  world.AddCluster(primaries, nodes - primaries);
  if (!Settle(&world, 60000)) {
    Row("many failures", world.Disagreement() + world.failure(), "");
    return false;
  }
  world.Run(4 * kTimeout);  // what was said while they started has been said anew
  uint64_t elections = 0;
  world.on_note = [&](int, const bus::NoteEffect& note) {
    elections += note.kind == bus::EventKind::kElection && note.text.starts_with("standing");
  };
  int64_t begin = world.now();
  for (int i = 0; i < victims; ++i) world.Crash(i);
  auto healed = [&] {
    for (int i = 0; i < victims; ++i) {
      if (!world.Accepts(primaries + i)) return false;
    }
    return true;
  };
  bool well = world.RunUntil(20 * kTimeout, healed);
  int accept = 0;
  for (int i = 0; i < victims; ++i) accept += world.Accepts(primaries + i);
  Row(std::to_string(victims) + " of " + std::to_string(primaries) + " primaries die at once",
      Number("%.2f timeouts, %.0f write, %.0f stood", static_cast<double>(world.now() - begin) / kTimeout, accept,
             static_cast<double>(elections)),
      "all, bounded");
  return well && world.failure().empty();
}

double Idle(int nodes, int primaries, uint64_t seed) {
  World world(seed, Options(5000));
  world.quiet = true;
  world.AddCluster(primaries, nodes - primaries);
  if (!Settle(&world, 60000)) return -1;
  world.Run(10000);
  uint64_t before = 0, after = 0;
  for (int n = 0; n < nodes; ++n) before += world.bytes_sent(n);
  world.Run(nodes > 500 ? 20000 : 60000);
  for (int n = 0; n < nodes; ++n) after += world.bytes_sent(n);
  return static_cast<double>(after - before) / nodes / (nodes > 500 ? 20 : 60);
}

bool Bytes(int nodes, uint64_t seed) {
  double all = Idle(nodes, nodes, seed), half = nodes > 3 ? Idle(nodes, nodes / 2, seed) : all;
  const double most = 10240 * (nodes > 80 ? 1.3 : 1);
  Row("bytes/s an idle node sends, " + std::to_string(nodes) + " nodes",
      Number("%.0f all primaries, %.0f half", all, half), Number("<= %.0f", most));
  return all > 0 && half > 0 && all <= most && half <= most;
}

bool Formation(int nodes, uint64_t seed) {
  World world(seed, Options(5000));
  world.quiet = true;
  int64_t ms = Form(&world, nodes, nodes, nodes > 80 ? 120000 : 20000, false);
  Row("formation of " + std::to_string(nodes) + " nodes",
      Number("%.0f ms, %.0f s of CPU", static_cast<double>(ms), Seconds()), nodes > 80 ? "" : "< 5000 ms");
  if (ms < 0) Row("", world.Disagreement() + world.failure(), "");
  return ms >= 0 && (ms < 5000 || nodes > 80);
}

}  // namespace

int Calm(int nodes, int replicas, int64_t timeout_ms, double virtual_s, uint64_t seed) {
  World world(seed, Options(timeout_ms));
  world.quiet = true;
  int primaries = std::max(1, nodes / (1 + replicas));
  world.AddCluster(primaries, nodes - primaries);
  bool well = Settle(&world, 60000);
  std::printf("%d nodes agree after %.1f virtual s, %.1f s of CPU: %s\n", world.size(),
              static_cast<double>(world.now()) / 1e3, Seconds(), well ? "ok" : world.Disagreement().c_str());
  world.Run(2 * timeout_ms);
  double begun = Seconds();
  uint64_t steps = world.steps(), messages = world.messages_sent();
  auto before = world.sent_by_type();
  world.Run(static_cast<int64_t>(virtual_s * 1000));
  double took = Seconds() - begun, node_s = virtual_s * world.size();
  std::printf("%.0f virtual s in %.1f s of CPU: %.0f times as fast, %.2f million steps/s, %.1f us a node and second\n",
              virtual_s, took, virtual_s / took, static_cast<double>(world.steps() - steps) / took / 1e6,
              took * 1e6 / node_s);
  std::printf("a node sends %.1f messages/s:\n", static_cast<double>(world.messages_sent() - messages) / node_s);
  double total = 0;
  for (size_t i = 0; i < before.size(); ++i) {
    double bytes = static_cast<double>(world.sent_by_type()[i].bytes - before[i].bytes) / node_s;
    double count = static_cast<double>(world.sent_by_type()[i].messages - before[i].messages) / node_s;
    if (count > 0) std::printf("  %-12s %8.2f/s %10.0f bytes/s\n", TypeName(i).c_str(), count, bytes);
    total += bytes;
  }
  std::printf("  %-12s %21.0f bytes/s\n%s\n", "all", total, world.failure().c_str());
  return !world.failure().empty() || !well;
}

int Figures(const std::string& only, int nodes, double minutes, uint64_t seed) {
  bool well = true;
  // Of each figure the sizes that are asked for, else those that do not take minutes.
  auto measure = [&](const char* name, std::vector<int> sizes, const std::function<bool(int)>& run) {
    if (!only.empty() && only != name) return;
    if (nodes > 0) sizes = {nodes};
    for (int size : sizes) well &= run(size);
  };
  measure("formation", {80}, [&](int n) { return Formation(n, seed); });
  measure("promotion", {6, 100}, [&](int n) { return Promotion(n, n < 500 ? 100 : 20, seed); });
  measure("accusations", {6}, [&](int n) {
    return Accusations(n, minutes > 0 ? static_cast<int64_t>(minutes) : n < 50 ? 24 * 60 : n < 500 ? 60 : 10, seed);
  });
  measure("bytes", {3, 20, 80}, [&](int n) { return Bytes(n, seed); });
  measure("many", {100}, [&](int n) { return ManyFailures(n, seed); });
  return well ? 0 : 1;
}

}  // namespace skein::sim
