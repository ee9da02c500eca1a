#include "bus/bus.h"

#include "bus/bus_thread.h"

namespace skein::bus {

absl::StatusOr<std::unique_ptr<Bus>> Bus::Start(const BusOptions& options, BusCallbacks callbacks) {
  return StartBus(options, std::move(callbacks), &Engine::Create);
}

absl::Status Bus::Check(const BusOptions& options) { return CheckBusOptions(options); }

}  // namespace skein::bus
