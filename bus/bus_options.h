// What BusOptions mean for the parts of the bus, and whether they can be used.
#ifndef SKEIN_BUS_BUS_OPTIONS_H_
#define SKEIN_BUS_BUS_OPTIONS_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "bus/bus.h"
#include "bus/engine/engine.h"
#include "bus/link/links.h"

namespace skein::bus {

// Bytes of what waits to be sent that close a link; 0 (no limit) is the largest there is.
uint64_t LinkBufferLimit(uint64_t bytes);
// Half of what closes a link: publishing too much drops messages, and no link.
size_t PublishLimit(uint64_t link_buffer_limit);
LinksOptions MakeLinksOptions(const BusOptions& options);
// `bus_port`: the one listened on. Every call draws another seed.
EngineOptions MakeEngineOptions(const BusOptions& options, uint16_t bus_port);
// Bus::Check.
absl::Status CheckBusOptions(const BusOptions& options);

}  // namespace skein::bus

#endif  // SKEIN_BUS_BUS_OPTIONS_H_
