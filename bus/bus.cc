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

bool Bus::BeginsAsReplica(const BusOptions& options) {
  const absl::StatusOr<StatePtr> state = LoadState(StatePath(options.dir, options.config_file));
  if (!state.ok() || *state == nullptr) return false;
  proto::NodeRecord own;
  return own.ParseFromString((*state)->own_record()) && (!own.primary_id().empty() || (*state)->promoting_epoch() != 0);
}

bool Bus::BeginsWithReplicas(const BusOptions& options) {
  const absl::StatusOr<StatePtr> state = LoadState(StatePath(options.dir, options.config_file));
  proto::NodeRecord own, other;
  if (!state.ok() || *state == nullptr || BeginsAsReplica(options)) return false;
  if (!own.ParseFromString((*state)->own_record()) || own.id().empty()) return false;
  return std::any_of((*state)->nodes().begin(), (*state)->nodes().end(), [&](const proto::KnownNode& known) {
    return other.ParseFromString(known.record()) && other.primary_id() == own.id();
  });
}

absl::Status Bus::Check(const BusOptions& options) { return CheckBusOptions(options); }

}  // namespace skein::bus
