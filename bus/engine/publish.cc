#include <algorithm>

#include "absl/strings/str_cat.h"
#include "bus/engine/core.h"

namespace skein::bus {

std::string EngineCore::Coverage() const {
  if (!options_.require_full_coverage) return "";
  if (unassigned_ != 0) return absl::StrCat(unassigned_, " slots are not assigned");
  for (const auto& node : table_.all()) {
    if (node->fail && node->owned > 0) return absl::StrCat(node->owned, " slots belong to the failed ", Name(*node));
  }
  return "";
}

std::string EngineCore::Majority() const {
  const Node* ballot = BallotOf(*self_);
  uint32_t reachable = Decides(*self_, ballot) ? 1 : 0;
  for (uint16_t place : own_voters_) {
    const Node* node = table_.At(place);
    reachable += !node->pfail && !node->fail;
  }
  if (reachable < Quorum(ballot)) {
    return absl::StrCat("only ", reachable, " of ", Voters(ballot), " voters are reachable");
  }
  if (self_->owner() && lease_ms_ <= now() && !freeze_.frozen)
    return "no majority of voters has confirmed this node lately";
  return "";
}

// A voter that was away may have been replaced: it first hears from a majority that they believe the same as it does.
bool EngineCore::Synced() const {
  if (!self_->owner() || Voters(self_) <= 1) return true;
  uint32_t agree = 1;
  for (uint16_t place : own_voters_) agree += table_.At(place)->synced_ms >= must_sync_since_ms_;
  return agree >= Quorum(self_);
}

void EngineCore::UpdateState() {
  check_state_ = false;
  groups_changed_ = true;
  lapsed_ = lease_ms_ <= now();
  suspects_.clear();
  for (const auto& node : table_.all()) {
    if (node->pfail || node->fail) suspects_.push_back(node->index);
  }
  std::string why = Majority();
  if (!why.empty()) {
    if (voters_ > 1) {
      must_sync_ = true;
      must_sync_since_ms_ = now();
      sync_delay_ms_ = std::clamp<int64_t>(timeout(), 500, 5000);
    }
    regained_ms_ = -1;
  } else {
    if (regained_ms_ < 0) regained_ms_ = now();
    if (must_sync_ && (Synced() || now() - regained_ms_ >= sync_delay_ms_)) must_sync_ = false;
    if (must_sync_) why = "waiting until a majority of voters agrees on the configuration";
  }
  // What an operator wants to know first.
  if (std::string coverage = Coverage(); !coverage.empty()) why = std::move(coverage);
  bool ok = why.empty();
  if (ok != ok_) {
    urgent_ = true;
    Note(EventKind::kState,
         ok ? std::string("cluster state changed: ok") : absl::StrCat("cluster state changed: fail: ", why));
  }
  if (ok != ok_ || why != why_not_ok_) publish_ = true;
  ok_ = ok;
  why_not_ok_ = std::move(why);
}

TopologyNode EngineCore::Describe(const Node& node) const {
  TopologyNode t;
  const Record& r = node.record();
  t.identity = r.identity;
  if (r.ip.empty() && !node.seen_ip.empty()) {
    t.SetIdentity({r.identity->id, r.identity->shard_id, node.seen_ip.str(), r.hostname});
  }
  t.port = r.port;
  t.tls_port = r.tls_port;
  t.bus_port = r.bus_port;
  t.primary = r.primary();
  t.myself = node.self;
  t.fail = node.fail;
  t.pfail = node.pfail && !node.fail;
  t.no_address = node.no_address;
  t.no_failover = r.no_failover;
  t.link_up = node.self || node.out.state == OutLink::kBound;
  t.config_epoch = r.config_epoch;
  t.ping_sent_ms = node.unanswered_ms != 0 ? node.unanswered_unix_ms : 0;
  t.pong_received_ms = node.self ? 0 : now_.unix_ms - (now() - table_.heard_ms(node));
  t.offset = node.offset;
  return t;
}

void EngineCore::Publish() {
  publish_pending_ = urgent_ = times_old_ = false;
  last_publish_ms_ = now();
  auto t = std::make_shared<Topology>();
  t->version = ++version_;
  for (Closing& c : closings_) {
    if (c.version == 0) c.version = version_;
  }
  std::vector<NodeIndex> place(table_.places(), kNobody);
  auto add = [&](const Node& node) {
    place[node.index] = static_cast<NodeIndex>(t->nodes.size());
    t->nodes.push_back(Describe(node));
  };
  t->nodes.reserve(table_.size() + handshakes_.size());
  self_->offset = 0;
  for (uint64_t p : positions_) self_->offset += p;
  add(*self_);
  for (const auto& node : table_.all()) {
    if (!node->self) add(*node);
  }
  for (const auto& node : table_.all()) {
    if (Node* primary = table_.PrimaryOf(*node)) {
      t->nodes[place[node->index]].primary_index = place[primary->index];
    }
  }
  for (const auto& h : handshakes_) {
    if (h->seed) continue;
    TopologyNode n;
    n.SetIdentity({h->shown_id.Hex(), h->shown_id.Hex(), h->ip, ""});
    n.port = h->port;
    n.bus_port = h->bus_port;
    n.handshake = true;
    n.link_up = h->out.state == OutLink::kGreeting;
    t->nodes.push_back(std::move(n));
  }
  for (uint32_t s = 0, end; s < kSlots; s = end) {
    end = RunEnd(owner_.data(), s);
    NodeIndex index = owner_[s] == kNobody ? kNobody : place[owner_[s]];
    std::fill(t->owner.begin() + s, t->owner.begin() + end, index);
    if (index == kNobody) continue;
    TopologyNode& n = t->nodes[index];
    n.slot_count += end - s;
    n.slots.push_back({static_cast<uint16_t>(s), static_cast<uint16_t>(end - 1)});
  }
  for (const auto& [slot, peer] : migrating_) t->migrating.push_back({slot, peer.Hex()});
  for (const auto& [slot, peer] : importing_) t->importing.push_back({slot, peer.Hex()});
  t->ok = ok_;
  t->why_not_ok = why_not_ok_;
  t->current_epoch = current_epoch_;
  t->size = owners_;
  t->slots_assigned = kSlots - unassigned_;
  for (const TopologyNode& n : t->nodes) {
    (n.fail ? t->slots_fail : n.pfail ? t->slots_pfail : t->slots_ok) += n.slot_count;
  }
  topology_ = std::move(t);
  out_->push_back(PublishEffect{topology_});
}

}  // namespace skein::bus
