#include "bus/bus.h"

#include <algorithm>

#include "bus/bus_options.h"
#include "bus/bus_thread.h"
#include "bus/state_file.h"
#include "proto/bus.pb.h"
#include "proto/node_state.pb.h"

namespace skein::bus {

absl::StatusOr<std::unique_ptr<Bus>> Bus::Start(const BusOptions& options, BusCallbacks callbacks) {
  return StartBus(options, std::move(callbacks), &Engine::Create);
}

Bus::Begins Bus::BeginsAs(const BusOptions& options) {
  const absl::StatusOr<StatePtr> state = LoadState(StatePath(options.dir, options.config_file));
  proto::NodeRecord own, other;
  if (!state.ok() || *state == nullptr || !own.ParseFromString((*state)->own_record())) return Begins::kPrimary;
  if (!own.primary_id().empty() || (*state)->promoting_epoch() != 0) return Begins::kReplica;
  const bool followed =
      !own.id().empty() &&
      std::any_of((*state)->nodes().begin(), (*state)->nodes().end(), [&](const proto::KnownNode& known) {
        return other.ParseFromString(known.record()) && other.primary_id() == own.id();
      });
  return followed ? Begins::kPrimaryWithReplicas : Begins::kPrimary;
}

absl::Status Bus::Check(const BusOptions& options) { return CheckBusOptions(options); }

}  // namespace skein::bus
