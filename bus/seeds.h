// cluster-seeds as a person writes them.
#ifndef SKEIN_BUS_SEEDS_H_
#define SKEIN_BUS_SEEDS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bus/command.h"

namespace skein::bus {

// Words "host", "host:bus-port", "[v6]:bus-port" or "v6", also several in one word with commas between; a seed without
// a port gets `default_port`. InvalidArgument names the word and what is wrong with it. Repeated ones are kept once.
absl::StatusOr<std::vector<Seed>> ParseSeeds(const std::vector<std::string>& words, uint16_t default_port);

}  // namespace skein::bus

#endif  // SKEIN_BUS_SEEDS_H_
