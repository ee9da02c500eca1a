// What must hold after every step, and what must hold in the end.
#include <string_view>
#include <unordered_map>

#include "bus/engine/limits.h"
#include "proto/bus.pb.h"
#include "tests/sim/world_parts.h"

namespace skein::sim {
namespace {
std::string Hex(const std::string& bytes) {
  auto id = bus::NodeId::FromBytes(bytes);
  return id ? id->Hex() : "(bad id)";
}
}  // namespace

// Persisted before promised: whatever a node says of itself is what its disk holds, or held before.
void World::CheckSend(int n, const bus::SendEffect& send) {
  SimNode& node = *nodes_[n];
  std::vector<const std::string*> records;
  switch (send.message->body_case()) {
    case proto::BusMessage::kHello:
      records.push_back(&send.message->hello().record());
      break;
    case proto::BusMessage::kWelcome:
      records.push_back(&send.message->welcome().record());
      break;
    case proto::BusMessage::kRecords:
      for (const std::string& r : send.message->records().record()) records.push_back(&r);
      break;
    default:
      return;
  }
  proto::NodeRecord disk;
  disk.ParseFromString(node.disk_record);
  for (const std::string* bytes : records) {
    proto::NodeRecord said;
    if (!said.ParseFromString(*bytes)) return Broken("node " + std::to_string(n) + " sent an unreadable record");
    if (said.id() != disk.id()) {
      if (send.message->has_records()) continue;
      return Broken("node " + std::to_string(n) + " said that it is " + Hex(said.id()) + " before that was durable");
    }
    if (said.version() >= node.said_version) {
      if (said.config_epoch() < node.said_epoch) return Broken("the epoch of node " + std::to_string(n) + " went back");
      if (said.version() == node.said_version && said.config_epoch() != node.said_epoch && node.said_version != 0) {
        return Broken("node " + std::to_string(n) + " changed its epoch and not its version");
      }
      node.said_version = said.version();
      node.said_epoch = said.config_epoch();
    } else if (said.config_epoch() > node.said_epoch) {
      return Broken("an older record of node " + std::to_string(n) + " has a newer epoch");
    }
    // A slot is let go of by the data plane first.
    if (*bytes == node.disk_record && (node.applied & ~node.disk_claims).any()) {
      return Broken("node " + std::to_string(n) + " says that it has given up slot " +
                    std::to_string((node.applied & ~node.disk_claims)._Find_first()) + ", which its data plane has");
    }
    if (said.version() > node.disk_version || (said.version() == node.disk_version && *bytes != node.disk_record)) {
      return Broken("node " + std::to_string(n) + " sent its record " + std::to_string(said.version()) +
                    ", its disk has " + std::to_string(node.disk_version));
    }
  }
}

// A slot is open here only if the claim is durable, and never at two nodes under the same epoch while both may write.
void World::CheckPublish(int n, const bus::Topology& t) {
  SimNode& node = *nodes_[n];
  const bus::TopologyNode& me = t.nodes[0];
  if (!me.myself || t.nodes.size() > bus::kMaxNodes + bus::kMaxHandshakes) return Broken("malformed topology");
  for (const bus::TopologyNode& member : t.nodes) {
    // Clients are sent there.
    if (!member.myself && member.ip().empty()) return Broken("a member without an address was published");
  }
  if (me.id() != node.own_id) {
    node.own_id = me.id();
    node.epoch = node.said_version = node.said_epoch = 0;
    by_id_[me.id()] = n;
  }
  if (t.version <= node.version) return Broken("node " + std::to_string(n) + " published an older topology");
  node.version = t.version;
  if (t.current_epoch < node.epoch) return Broken("the current epoch of node " + std::to_string(n) + " went back");
  node.epoch = t.current_epoch;
  for (const auto& [id, until] : node.forgotten) {
    if (now_ >= until) continue;
    for (const bus::TopologyNode& member : t.nodes) {
      if (member.id() == id)
        return Broken("node " + std::to_string(n) + " knows again " + id + ", which was forgotten");
    }
  }
  std::vector<std::pair<uint16_t, uint16_t>> ranges;
  for (bus::SlotRange r : me.slots) ranges.emplace_back(r.first, r.last);
  if (node.was_replica && !ranges.empty() && !node.applied_primary) {
    return Broken("node " + std::to_string(n) + " opened slots before its data plane was promoted");
  }
  node.was_replica = !me.primary;
  if (ranges == node.open_ranges && me.config_epoch == node.open_epoch) return;
  bus::SlotSet open = bus::ToSet(me.slots);
  if ((open & ~node.disk_claims).any()) return Broken("node " + std::to_string(n) + " opened slots it has not on disk");
  node.open = open;
  node.open_epoch = me.config_epoch;
  node.open_ranges = std::move(ranges);
  for (int other = 0; other < size(); ++other) {
    const SimNode& o = *nodes_[other];
    if (other == n || !o.up || o.open_epoch != node.open_epoch || (o.open & open).none()) continue;
    // Operators can make two nodes claim a slot under one epoch; the smaller id wins as soon as they hear of it.
    if (o.engine->topology() == nullptr) continue;
    bool knows = false;
    for (const bus::TopologyNode& seen : t.nodes) {
      if (seen.id() != o.own_id || seen.config_epoch != o.open_epoch) continue;
      for (bus::SlotRange r : seen.slots) {
        for (uint32_t s = r.first; s <= r.last; ++s) knows |= open[s];
      }
    }
    if (knows) return Broken("two owners of a slot in one topology");
  }
}

// What an operator may break: slots given to several nodes, taken without asking, or claimed anew by an old owner.
void World::Excuse(int n, uint64_t request, const bus::OperatorCommand& command) {
  SimNode& node = *nodes_[n];
  auto ranges = [&](const std::vector<bus::SlotRange>& slots) {
    for (bus::SlotRange r : slots) {
      for (uint32_t s = r.first; s <= r.last && s < kSlots; ++s) excused_.set(s);
    }
  };
  if (auto* add = std::get_if<bus::AddSlotsCommand>(&command)) {
    ranges(add->ranges);
  } else if (auto* del = std::get_if<bus::DelSlotsCommand>(&command)) {
    ranges(del->ranges);
  } else if (auto* set = std::get_if<bus::SetSlotCommand>(&command)) {
    if (set->slot < kSlots && set->kind == bus::SetSlotKind::kNode) excused_.set(set->slot);
  } else if (std::holds_alternative<bus::BumpEpochCommand>(command) ||
             std::holds_alternative<bus::SetConfigEpochCommand>(command)) {
    excused_ |= node.disk_claims;
  } else if (auto* failover = std::get_if<bus::FailoverCommand>(&command)) {
    if (failover->kind == bus::FailoverKind::kAgreed) return;
    excused_ |= node.disk_claims;
    if (int p = Find(node.follows); p >= 0) excused_ |= nodes_[p]->disk_claims;
  } else if (auto* forget = std::get_if<bus::ForgetCommand>(&command)) {
    if (forget->id != node.own_id && node.engine->topology() != nullptr) {
      for (const bus::TopologyNode& member : node.engine->topology()->nodes) {
        bool met = last_meet_ >= 0 && now_ - last_meet_ < std::max<int64_t>(options_.node_timeout_ms, 1000) + 1000;
        if (member.id() == forget->id && !member.handshake && !met) node.forgetting[request] = {forget->id, now_};
      }
    }
  } else if (std::holds_alternative<bus::MeetCommand>(command)) {
    last_meet_ = now_;  // an operator's MEET is stronger than an earlier FORGET
    for (const auto& other : nodes_) {
      other->forgotten.clear();
      other->forgetting.clear();
    }
  }
}

void World::CheckSizes(int n) {
  bus::EngineSizes s = nodes_[n]->engine->sizes();
  auto over = [&](const char* what, size_t is, size_t limit) {
    if (is > limit) Broken("node " + std::to_string(n) + " holds " + std::to_string(is) + " " + what);
  };
  over("nodes", s.nodes, bus::kMaxNodes);
  over("handshakes", s.handshakes, bus::kMaxHandshakes);
  over("inbound links", s.inbound, s.nodes);
  over("outbound links", s.outbound, s.nodes + s.handshakes);
  over("forgotten ids", s.forgotten, bus::kMaxForgotten);
  over("gone links", s.gone_links, bus::kMaxGoneLinks);
  over("reports", s.reports, s.nodes * s.nodes);
  over("overrides", s.overrides, kSlots);
  over("waiting requests", s.waiting, bus::kMaxPending + 1);
}

// A replica follows a live primary that owns slots, and has its data.
std::string World::Stray(int n, const bus::Topology& t) const {
  const bus::TopologyNode& me = t.me();
  if (me.primary) return "";
  if (me.primary_index == bus::kNobody) return " follows nobody that it knows";
  int p = Find(t.nodes[me.primary_index].id());
  if (p < 0 || !nodes_[p]->up || !nodes_[p]->applied_primary) return " follows a node that is no primary";
  const SimNode& node = *nodes_[n];
  if (node.contact_at < 0 || now_ - node.contact_at > 2000 || node.synced_at >= 0) return " has no data";
  return "";
}

std::string World::Disagreement(bool need_ok) const {
  const bus::Topology* first = nullptr;
  int first_n = 0;
  std::unordered_map<std::string_view, uint16_t> place;  // id -> index in the first
  size_t alive = 0;
  for (const auto& node : nodes_) alive += node->up;
  for (int n = 0; n < size(); ++n) {
    if (!nodes_[n]->up) continue;
    bus::TopologyPtr t = nodes_[n]->engine->topology();
    std::string who = "node " + std::to_string(n);
    if (t == nullptr) return who + " has no topology";
    if (need_ok && !t->ok) return who + " is not ok: " + t->why_not_ok;
    if (t->nodes.size() != alive) return who + " knows " + std::to_string(t->nodes.size()) + " nodes";
    for (const bus::TopologyNode& peer : t->nodes) {
      if (peer.handshake || peer.pfail || peer.fail || peer.no_address || !peer.link_up) {
        return who + " is not content with " + peer.id();
      }
    }
    if (std::string why = Stray(n, *t); !why.empty()) return who + why;
    if (need_ok && t->me().slot_count > 0 && nodes_[n]->writable_until <= clock(n)) return who + " may not write";
    if (first == nullptr) {
      first = t.get();
      first_n = n;
      for (size_t i = 0; i < t->nodes.size(); ++i) place.emplace(t->nodes[i].id(), static_cast<uint16_t>(i));
      continue;
    }
    std::string pair = "nodes " + std::to_string(first_n) + " and " + std::to_string(n) + " differ in ";
    if (t->current_epoch != first->current_epoch) return pair + "the current epoch";
    std::vector<uint16_t> same_as(t->nodes.size(), bus::kNobody);  // index there -> index in the first
    for (size_t i = 0; i < t->nodes.size(); ++i) {
      if (auto it = place.find(t->nodes[i].id()); it != place.end()) same_as[i] = it->second;
    }
    for (uint32_t s = 0; s < kSlots; ++s) {
      uint16_t owner = t->owner[s] == bus::kNobody ? bus::kNobody : same_as[t->owner[s]];
      if (owner != first->owner[s]) return pair + "the owner of slot " + std::to_string(s);
    }
    size_t same = 0;
    for (size_t i = 0; i < t->nodes.size(); ++i) {
      const bus::TopologyNode& y = t->nodes[i];
      if (same_as[i] == bus::kNobody) continue;
      const bus::TopologyNode& x = first->nodes[same_as[i]];
      if (x.primary != y.primary || x.ip() != y.ip() || x.config_epoch != y.config_epoch ||
          x.shard_id() != y.shard_id()) {
        return pair + "what they know of " + x.id();
      }
      ++same;
    }
    if (same != first->nodes.size()) return pair + "who is a member";
  }
  return "";
}

}  // namespace skein::sim
