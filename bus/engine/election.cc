#include "bus/engine/core.h"

namespace skein::bus {

void EngineCore::On(uint64_t request, const ReplicateCommand&) {
  Fail(request, "ERR Replication is not available yet");
}

void EngineCore::On(uint64_t request, const FailoverCommand&) {
  Fail(request, "ERR You should send CLUSTER FAILOVER to a replica");
}

void EngineCore::OnPromoted(uint64_t) { ++stats_.late_events; }

}  // namespace skein::bus
