// A random life of a cluster: formed, troubled, healed.
#ifndef SKEIN_TESTS_SIM_SCENARIO_H_
#define SKEIN_TESTS_SIM_SCENARIO_H_

#include <cstdint>
#include <string>

#include "tests/sim/schedule.h"
#include "tests/sim/world.h"

namespace skein::sim {

struct Outcome {
  std::string failure;  // "" if all held
  std::string trace;    // of the last events, if not
  uint64_t hash = 0, steps = 0;
  int64_t virtual_ms = 0, formed_ms = 0, healed_ms = 0;
  DataStats data;
};

Outcome RunPlan(const Plan& plan, Plant plant = Plant::kNone);
// `nodes` 0: by the seed.
Outcome RunScenario(uint64_t seed, int nodes = 0);

// The plan with as few entries as still fail, by leaving out ever smaller parts (delta debugging, Zeller 2002); at most
// `runs` runs.
Plan Shrink(const Plan& plan, int runs = 300, Plant plant = Plant::kNone);

// Makes `n` nodes of which the first `primaries` share the slots, all met through node 0; the next `replicas` times
// `primaries` follow them in turn. Returns how long it took until all agree and all is ok, or -1.
int64_t Form(World* world, int n, int primaries, int64_t limit_ms, bool with_epochs = true, int replicas = 0);

}  // namespace skein::sim

#endif  // SKEIN_TESTS_SIM_SCENARIO_H_
