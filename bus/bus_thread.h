// The bus thread: joins the engine with its links, timers, the mailbox and the persister.
#ifndef SKEIN_BUS_BUS_THREAD_H_
#define SKEIN_BUS_BUS_THREAD_H_

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "bus/bus.h"
#include "bus/engine/engine.h"

namespace skein::bus {

using EngineFactory = std::function<std::unique_ptr<Engine>(const EngineOptions&, StatePtr)>;

// Bus::Start with an engine of the caller's choice.
absl::StatusOr<std::unique_ptr<Bus>> StartBus(const BusOptions& options, BusCallbacks callbacks,
                                              const EngineFactory& factory);

}  // namespace skein::bus

#endif  // SKEIN_BUS_BUS_THREAD_H_
