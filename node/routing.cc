#include "node/routing.h"

#include <string>
#include <utility>

namespace skein::node {

void Routing::Apply(bus::TopologyPtr topology) {
  topology_ = std::move(topology);
  if (topology_ == nullptr) {
    ok_ = primary_ = true;
    states_.fill(SlotState::kOwned);
    return;
  }
  const bus::Topology& t = *topology_;
  ok_ = t.ok;
  primary_ = t.me().primary;
  const bus::NodeIndex upstream = primary_ ? bus::kNobody : t.me().primary_index;
  for (uint32_t slot = 0; slot < bus::kSlots; ++slot) {
    const bus::NodeIndex owner = t.owner[slot];
    states_[slot] = owner == 0              ? SlotState::kOwned
                    : owner == bus::kNobody ? SlotState::kNobody
                    : owner == upstream     ? SlotState::kReplica
                                            : SlotState::kForeign;
  }
  for (const bus::SlotMove& m : t.migrating) {
    if (states_[m.slot] == SlotState::kOwned) states_[m.slot] = SlotState::kMigrating;
  }
  for (const bus::SlotMove& m : t.importing) {
    if (states_[m.slot] == SlotState::kForeign) states_[m.slot] = SlotState::kImporting;
  }
}

std::string_view PreferredEndpoint(const bus::TopologyNode& node, const Config& config) {
  if (config.cluster_preferred_endpoint_type == "hostname") {
    if (node.hostname().empty()) return "?";
    return node.hostname();
  }
  if (config.cluster_preferred_endpoint_type == "unknown-endpoint") return "";
  return node.ip();
}

void Routing::WriteRedirect(Verdict verdict, uint16_t slot, const Config& config, bool tls, ReplyWriter* reply) const {
  switch (verdict) {
    case Verdict::kCrossSlot:
      return reply->Error("CROSSSLOT Keys in request don't hash to the same slot");
    case Verdict::kTryAgain:
      return reply->Error("TRYAGAIN Multiple keys request during rehashing of slot");
    case Verdict::kDown:
      return reply->Error("CLUSTERDOWN The cluster is down");
    case Verdict::kDownReadOnly:
      return reply->Error("CLUSTERDOWN The cluster is down and only accepts read commands");
    case Verdict::kServe:
    case Verdict::kUnbound:
      return reply->Error("CLUSTERDOWN Hash slot not served");
    case Verdict::kMoved:
    case Verdict::kAsk:
      break;
  }
  const bus::TopologyNode* to = nullptr;
  if (verdict == Verdict::kAsk) {
    for (const bus::SlotMove& m : topology_->migrating) {
      if (m.slot != slot) continue;
      for (const bus::TopologyNode& n : topology_->nodes) {
        if (n.id() == m.peer_id) to = &n;
      }
    }
  } else if (topology_->owner[slot] < topology_->nodes.size()) {
    to = &topology_->nodes[topology_->owner[slot]];
  }
  if (to == nullptr) return reply->Error("CLUSTERDOWN Hash slot not served");
  std::string text = verdict == Verdict::kAsk ? "ASK " : "MOVED ";
  text += std::to_string(slot);
  text += ' ';
  text += PreferredEndpoint(*to, config);
  text += ':';
  text += std::to_string(to->client_port(tls));
  reply->Error(text);
}

}  // namespace skein::node
