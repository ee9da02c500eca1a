// sim --seed N                       replays a seed; on failure with its trace and the least that makes it fail
// sim --rounds N | --minutes M       random seeds from --seed on, over --jobs threads; prints a table
// sim --calm --nodes N --hours H     an idle cluster: how fast, and what a node sends
// sim --figures [--only NAME --nodes N]  promotion, false accusations, bytes, formation, many failures at once
// sim --plant NAME|all               an error planted on purpose: how many seeds until it is seen
#include <gflags/gflags.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <string>
#include <thread>

#include "tests/sim/figures.h"
#include "tests/sim/scenario.h"

DEFINE_uint64(seed, 0, "replay this seed, or the first of --rounds");
DEFINE_uint64(rounds, 0, "how many seeds to run");
DEFINE_double(minutes, 0, "run seeds for so long; with --calm and accusations virtual time");
DEFINE_int32(jobs, 0, "threads of --rounds and --minutes; 0: all cores");
DEFINE_int32(nodes, 0, "nodes; 0: by the seed");
DEFINE_bool(calm, false, "let a cluster of --nodes idle for --hours and --minutes of virtual time");
DEFINE_double(hours, 0, "with --calm and accusations");
DEFINE_int32(replicas, 2, "of each primary, with --calm");
DEFINE_int64(timeout, 15000, "node timeout with --calm, ms");
DEFINE_bool(figures, false, "measure and print the table of figures");
DEFINE_string(only, "", "one figure: formation, promotion, accusations, bytes or many; at --nodes, if given");
DEFINE_string(plant, "", "an error to plant, or all");
DEFINE_bool(storms, false, "with --rounds, --minutes and --plant: storms; seeds from 1000000000 on are");
DEFINE_bool(shrink, true, "look for the least that fails");

// Read by the allocator: large clusters spend much of their time on address translation otherwise.
extern "C" const char* malloc_conf;
const char* malloc_conf = "thp:always,metadata_thp:always";

namespace skein::sim {
namespace {

int Replay(uint64_t seed) {
  Plan plan = MakePlan(seed, FLAGS_nodes);
  Outcome out = RunPlan(plan);
  if (out.failure.empty()) {
    std::printf("%sseed %llu holds: %llu steps, %.1f virtual s\n", Show(plan).c_str(),
                static_cast<unsigned long long>(seed), static_cast<unsigned long long>(out.steps),
                static_cast<double>(out.virtual_ms) / 1e3);
    return 0;
  }
  Plan least = FLAGS_shrink ? Shrink(plan) : plan;
  Outcome again = RunPlan(least);
  std::printf("%s\nThe least that fails, %zu of %zu entries:\n%s\n%s\n%s\n", out.failure.c_str(), least.entries.size(),
              plan.entries.size(), Show(least).c_str(), again.trace.c_str(), again.failure.c_str());
  return 1;
}

int Campaign() {
  auto start = std::chrono::steady_clock::now();
  auto minutes = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / 60; };
  std::atomic<uint64_t> next{FLAGS_seed};
  std::mutex mutex;
  uint64_t seeds = 0, failed = 0, steps = 0;
  int64_t virtual_ms = 0, formed = 0, healed = 0;
  DataStats data;
  auto work = [&] {
    for (;;) {
      uint64_t seed = next.fetch_add(1);
      if (FLAGS_rounds > 0 ? seed >= FLAGS_seed + FLAGS_rounds : minutes() >= FLAGS_minutes) return;
      Outcome out = RunScenario(seed, FLAGS_nodes);
      std::lock_guard lock(mutex);
      ++seeds;
      steps += out.steps;
      virtual_ms += out.virtual_ms;
      formed = std::max(formed, out.formed_ms);
      healed = std::max(healed, out.healed_ms);
      data.written += out.data.written;
      data.lost += out.data.lost;
      data.promotions += out.data.promotions;
      data.full_syncs += out.data.full_syncs;
      if (out.failure.empty()) continue;
      ++failed;
      std::printf("%s\n", out.failure.c_str());
      std::fflush(stdout);
    }
  };
  std::vector<std::thread> threads;
  unsigned jobs = FLAGS_jobs > 0 ? static_cast<unsigned>(FLAGS_jobs) : std::thread::hardware_concurrency();
  for (unsigned i = 0; i < jobs; ++i) threads.emplace_back(work);
  for (std::thread& t : threads) t.join();
  auto row = [](const char* what, double value, const char* unit) {
    std::printf("%-28s %14.0f %s\n", what, value, unit);
  };
  row("seeds", static_cast<double>(seeds), "");
  row("failed", static_cast<double>(failed), "");
  row("virtual time", static_cast<double>(virtual_ms) / 3.6e6, "hours");
  row("engine steps", static_cast<double>(steps), "");
  row("promotions", static_cast<double>(data.promotions), "");
  row("writes acknowledged", static_cast<double>(data.written), "");
  row("of them lost by promotions", static_cast<double>(data.lost), "");
  row("full synchronisations", static_cast<double>(data.full_syncs), "");
  row("slowest formation", static_cast<double>(formed), "ms");
  row("slowest healing", static_cast<double>(healed), "ms");
  return failed != 0;
}

int Plants() {
  bool all_seen = true;
  for (int p = 1; p <= static_cast<int>(Plant::kLast); ++p) {
    Plant plant = static_cast<Plant>(p);
    if (FLAGS_plant != "all" && FLAGS_plant != Name(plant)) continue;
    uint64_t most = FLAGS_rounds > 0 ? FLAGS_rounds : 500;
    std::string seen;
    for (uint64_t seed = FLAGS_seed; seed < FLAGS_seed + most && seen.empty(); ++seed) {
      seen = RunPlan(MakePlan(seed), plant).failure;
    }
    std::printf("%-18s %s\n", Name(plant), seen.empty() ? "NOT SEEN" : seen.c_str());
    std::fflush(stdout);
    all_seen &= !seen.empty();
  }
  return all_seen ? 0 : 1;
}

}  // namespace
}  // namespace skein::sim

int main(int argc, char** argv) {
  gflags::ParseCommandLineFlags(&argc, &argv, true);
  if (FLAGS_storms && FLAGS_seed < skein::sim::kStorms) FLAGS_seed += skein::sim::kStorms;
  if (FLAGS_calm) {
    double seconds = FLAGS_hours * 3600 + FLAGS_minutes * 60;
    return skein::sim::Calm(FLAGS_nodes, FLAGS_replicas, FLAGS_timeout, seconds, FLAGS_seed);
  }
  if (FLAGS_figures) return skein::sim::Figures(FLAGS_only, FLAGS_nodes, FLAGS_hours * 60 + FLAGS_minutes, FLAGS_seed);
  if (!FLAGS_plant.empty()) return skein::sim::Plants();
  if (FLAGS_rounds > 0 || FLAGS_minutes > 0) return skein::sim::Campaign();
  return skein::sim::Replay(FLAGS_seed);
}
