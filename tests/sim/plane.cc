// The simulated data plane of each node: which slots its shards have open, how far its log is, whom it follows.
#include "tests/sim/world_parts.h"

namespace skein::sim {

void World::Later(int n, int64_t ms, std::function<void()> run) {
  At(now_ + ms, [this, n, life = nodes_[n]->life, run = std::move(run)]() mutable {
    SimNode& node = *nodes_[n];
    if (!node.up || node.life != life) return;
    if (!node.healthy || node.frozen) {
      node.stalled.push_back(std::move(run));
    } else {
      run();
    }
  });
}

void World::PlaneStops(int n) {
  SimNode& node = *nodes_[n];
  node.healthy = true;
  node.stalled.clear();
  node.writable_until = node.frozen_until = node.applied_at = 0;
  node.applied_ok = false;
  node.applied_primary = true;
  node.applied.reset();
  node.applied_ranges.clear();
  node.follows.clear();
  node.synced_at = node.contact_at = node.fed_at = -1;
}

void World::SetHealthy(int n, bool healthy) {
  SimNode& node = *nodes_[n];
  if (!node.up) return;
  node.healthy = healthy;
  if (healthy && !node.frozen) {
    CheckAccepts(n);  // a loop may serve clients before it looks into its mailbox
    std::deque<std::function<void()>> stalled = std::move(node.stalled);
    node.stalled.clear();
    for (auto& run : stalled) run();
  }
  FeedPlane(n);
}

void World::FeedPlane(int n) {
  SimNode& node = *nodes_[n];
  int64_t age = 0;
  if (!node.applied_primary) {
    age = node.contact_at < 0 || node.synced_at >= 0 ? -1 : now_ - node.contact_at;
  }
  node.fed_position = node.position;
  node.fed_at = now_;
  node.fed_age = age;
  Feed(n, node.life, bus::DataPlaneEvent{{node.position}, node.healthy, age, node.frozen_until > clock(n)});
}

void World::PlaneTick(int n) {
  SimNode& node = *nodes_[n];
  if (write_rate > 0 && Accepts(n)) {
    uint64_t wrote = 1 + random_.Below(static_cast<uint64_t>(write_rate) * 2 * kTickMs / 1000 + 1);
    node.position += wrote;
    data_.written += wrote;
    uint64_t& end = reign_end_[node.log.back().id];
    end = std::max(end, node.position);
  }
  if (!node.applied_primary && node.healthy) Follow(n);
  bool changed = node.position != node.fed_position || (node.fed_age < 0 && node.synced_at < 0) || !node.healthy;
  if ((changed && (write_rate > 0 || node.fed_at < 0 || !node.applied_primary)) || now_ - node.fed_at >= 1000) {
    FeedPlane(n);
  }
}

// A replica takes what its primary has, as far as the network lets it. A log that its primary's does not continue is
// replaced by a full synchronisation.
void World::Follow(int n) {
  SimNode& node = *nodes_[n];
  int p = Find(node.follows);
  if (p < 0 || p == n) return;
  SimNode& primary = *nodes_[p];
  if (!primary.up || primary.frozen || !primary.healthy || IsCut(n, p) || IsCut(p, n)) {
    node.synced_at = -1;
    return;
  }
  if (!primary.applied_primary) return;
  uint64_t end = 0;  // of our newest reign in the primary's log; 0: it is not there
  for (size_t i = 0; i < primary.log.size(); ++i) {
    if (primary.log[i].id != node.log.back().id || primary.log[i].first != node.log.back().first) continue;
    end = i + 1 < primary.log.size() ? primary.log[i + 1].first : primary.position;
  }
  bool continues = end != 0 && node.position <= end && node.position > 0;
  if (!continues && node.synced_at < 0) {
    node.synced_at = now_ + faults.sync_ms;
    ++data_.full_syncs;
  }
  if (node.synced_at >= 0 && now_ < node.synced_at) return;
  node.synced_at = -1;
  node.contact_at = now_;
  node.log = primary.log;
  node.position = primary.fed_position > node.position || !continues ? primary.fed_position : node.position;
}

void World::Publish(int n, bus::TopologyPtr topology) {
  CheckPublish(n, *topology);
  SimNode& node = *nodes_[n];
  int64_t at = std::max(node.applied_at, now_ + Between(faults.fence_min, faults.fence_max));
  node.applied_at = at;
  if (plant == Plant::kNoFence) Feed(n, node.life, bus::FencedEvent{topology->version});
  Happening h{};
  h.kind = Happening::kApply;
  h.node = n;
  h.life = node.life;
  h.data = std::move(topology);
  wheel_.Add(at, std::move(h));
}

void World::Apply(int n, const bus::Topology& t) {
  SimNode& node = *nodes_[n];
  const bus::TopologyNode& me = t.me();
  bool same = me.slots.size() == node.applied_ranges.size() && t.ok == node.applied_ok;
  for (size_t i = 0; same && i < me.slots.size(); ++i) {
    same = node.applied_ranges[i] == std::pair(me.slots[i].first, me.slots[i].last);
  }
  if (!same) {
    node.applied_ranges.clear();
    for (bus::SlotRange r : me.slots) node.applied_ranges.emplace_back(r.first, r.last);
    node.applied = bus::ToSet(me.slots);
    node.applied_ok = t.ok;
  }
  node.applied_primary = me.primary;
  std::string follows = me.primary || me.primary_index == bus::kNobody ? "" : t.nodes[me.primary_index].id();
  if (follows != node.follows) {
    node.follows = std::move(follows);
    node.synced_at = node.contact_at = -1;
  }
  if (!same) CheckAccepts(n);
  Feed(n, node.life, bus::FencedEvent{t.version});
}

void World::Promote(int n, uint64_t epoch) {
  CheckElected(n, epoch);
  Log(std::to_string(n) + " is promoted, epoch " + std::to_string(epoch));
  ++data_.promotions;
  SimNode& node = *nodes_[n];
  node.agreed = node.agreed_epoch == epoch;
  if (plant == Plant::kFalsePromotion) At(now_, [=, this] { Feed(n, nodes_[n]->life, bus::PromotedEvent{epoch}); });
  Later(n, Between(faults.promote_min, faults.promote_max), [this, n, epoch] { Opened(n, epoch); });
}

void World::Opened(int n, uint64_t epoch) {
  SimNode& node = *nodes_[n];
  uint64_t acked = reign_end_[node.log.back().id];
  if (acked > node.position) data_.lost += acked - node.position;
  if (acked > node.position && node.agreed) {
    return Broken("a failover that primary and replica had agreed on lost " + std::to_string(acked - node.position) +
                  " writes");
  }
  node.log.push_back({next_reign_++, node.position});
  node.synced_at = -1;
  node.applied_primary = true;
  node.follows.clear();
  if (plant == Plant::kNoPromotion) return;
  Feed(n, node.life, bus::PromotedEvent{epoch});
}

void World::FreezeWrites(int n, int64_t until) {
  Later(n, Between(faults.fence_min, faults.fence_max), [this, n, until] {
    SimNode& node = *nodes_[n];
    node.frozen_until = until;
    CheckAccepts(n);
    FeedPlane(n);
    if (plant == Plant::kLateFreeze) node.frozen_until = 0;
  });
}

bool World::Owns(int n) const {
  const SimNode& node = *nodes_[n];
  return node.up && node.applied_primary && node.applied.any();
}

bool World::Follows(int n, int primary) const { return nodes_[n]->follows == nodes_[primary]->own_id; }

bool World::Accepts(int n) const {
  const SimNode& node = *nodes_[n];
  if (!node.up || node.frozen || !node.healthy || !node.applied_ok || !node.applied_primary) return false;
  int64_t mono = clock(n);
  if (plant == Plant::kNoLease) return mono >= node.frozen_until && node.applied.any();
  return mono < node.writable_until && mono >= node.frozen_until && node.applied.any();
}

// Two nodes never accept writes for a slot at the same instant of true time. To be called when `n` may have begun to.
void World::CheckAccepts(int n) {
  if (!Accepts(n)) return;
  const SimNode& node = *nodes_[n];
  for (int other = 0; other < size(); ++other) {
    if (other == n || !Accepts(other)) continue;
    bus::SlotSet both = node.applied & nodes_[other]->applied & ~excused_;
    if (both.none()) continue;
    return Broken("nodes " + std::to_string(n) + " and " + std::to_string(other) + " both accept writes for slot " +
                  std::to_string(both._Find_first()));
  }
}

}  // namespace skein::sim
