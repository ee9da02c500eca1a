// What must hold of votes and elections, and the planted errors that show that it is looked at.
#include "proto/bus.pb.h"
#include "proto/node_state.pb.h"
#include "tests/sim/world_parts.h"

namespace skein::sim {

// At most one is elected for a slot in an epoch, and its claim is durable by then.
void World::CheckElected(int n, uint64_t epoch) {
  const SimNode& node = *nodes_[n];
  proto::NodeRecord own;
  own.ParseFromString(node.disk_record);
  if (own.config_epoch() < epoch || !own.primary_id().empty()) {
    return Broken("node " + std::to_string(n) + " is promoted before that is on its disk");
  }
  if (node.by_force) return;
  auto [begin, end] = elected_.equal_range(epoch);
  for (auto it = begin; it != end; ++it) {
    if (it->second.node == n || (it->second.slots & node.disk_claims & ~excused_).none()) continue;
    return Broken("nodes " + std::to_string(n) + " and " + std::to_string(it->second.node) +
                  " were both elected in epoch " + std::to_string(epoch));
  }
  elected_.emplace(epoch, Elected{n, node.disk_claims});
}

const char* Name(Plant plant) {
  static constexpr const char* kNames[] = {
      "none",         "no-lease",        "no-fence",      "early-persisted", "forgotten-votes", "forgotten-claims",
      "no-promotion", "false-promotion", "stale-records", "late-freeze",     "slow-clock"};
  static_assert(std::size(kNames) == static_cast<size_t>(Plant::kLast) + 1);
  return kNames[static_cast<size_t>(plant)];
}

bus::MessagePtr World::Tampered(bus::MessagePtr message) {
  const proto::BusMessage& m = *message;
  auto other = std::make_shared<proto::BusMessage>(m);
  if (plant == Plant::kStaleRecords && m.has_records() && random_.Below(4) == 0) {
    for (std::string& bytes : *other->mutable_records()->mutable_record()) {
      proto::NodeRecord record;
      record.ParseFromString(bytes);
      if (record.config_epoch() > 0) record.set_config_epoch(record.config_epoch() - 1);
      record.set_version(record.version() + 1);
      bytes = record.SerializeAsString();
    }
  } else {
    return message;
  }
  return other;
}

}  // namespace skein::sim
