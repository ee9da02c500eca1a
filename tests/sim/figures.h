// What the cluster reaches, measured in virtual time, and how fast the simulator is.
#ifndef SKEIN_TESTS_SIM_FIGURES_H_
#define SKEIN_TESTS_SIM_FIGURES_H_

#include <cstdint>
#include <string>

namespace skein::sim {

// A cluster of primaries with `replicas` each that idles for `seconds`: how fast, and what a node sends, by type.
// Returns 0 if all held.
int Calm(int nodes, int replicas, int64_t timeout_ms, double seconds, uint64_t seed);

// The figure named `only` (formation, promotion, accusations, bytes, many), or all, at a size of `nodes`, or at the
// small ones. Returns 0 if all goals are met.
int Figures(const std::string& only, int nodes, double minutes, uint64_t seed);

}  // namespace skein::sim

#endif  // SKEIN_TESTS_SIM_FIGURES_H_
