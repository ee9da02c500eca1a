#include "bus/engine/core.h"

namespace skein::bus {

void EngineCore::OnResolved(uint64_t, const std::vector<std::string>&) { ++stats_.late_events; }

}  // namespace skein::bus
