// Seeds: names under which members may be found when no known address leads to them (cluster-seeds; the headless
// Service of Kubernetes). A node that knows nobody, or reaches nobody, resolves them again and again and greets every
// address it gets. What a seed may bring about:
//  * a member, known by its id, is linked to at its new address; its record then tells the others;
//  * a stranger is adopted only if one of the two is fresh, that is, knows of no slot that anybody owns. So new nodes
//    find each other and join a cluster, and two clusters that a wrong name has led to each other stay two;
//  * a node that has just been forgotten stays forgotten: a seed is no operator.
// A fresh node that has joined a node of a cluster is no longer fresh, from that moment on.
#include <arpa/inet.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "bus/engine/core.h"

namespace skein::bus {
namespace {
constexpr int64_t kFirstWaitMs = 500;
constexpr int64_t kLongestWaitMs = 10000;    // between two rounds while nobody is in reach
constexpr int64_t kSeldomMs = 30000;         // while only some are out of reach
constexpr int64_t kLookMs = 1000;            // how often to look whether they are needed
constexpr int64_t kLookupMs = 30000;         // after which an answer is not awaited any more
constexpr int64_t kStrangerMs = 10 * 60000;  // for how long a note on a node of another cluster is not repeated

bool IsNumeric(const std::string& host) {
  unsigned char address[sizeof(in6_addr)];
  return inet_pton(AF_INET, host.c_str(), address) == 1 || inet_pton(AF_INET6, host.c_str(), address) == 1;
}
}  // namespace

bool EngineCore::Fresh() const {
  return !attached_ && unassigned_ == kSlots && own_claims_.none() && self_->record().primary();
}

void EngineCore::On(uint64_t request, const SeedsCommand& c) {
  if (c.seeds.size() > kMaxSeeds) return Fail(request, absl::StrCat("ERR more than ", kMaxSeeds, " cluster-seeds"));
  options_.seeds = c.seeds;
  seeds_left_.clear();
  seed_rounds_ = 0;
  next_seed_ms_ = now();
  Reply(request);
}

void EngineCore::TendSeeds() {
  if (options_.seeds.empty() || !started()) return;
  std::erase_if(lookups_, [&](const auto& l) { return now() >= l.second.until_ms; });
  for (; !seeds_left_.empty() && lookups_.size() < kMaxLookups; seeds_left_.pop_front()) {
    Seed& seed = seeds_left_.front();
    if (IsNumeric(seed.host)) {
      GreetSeed(seed.host, seed.bus_port);
    } else {
      lookups_[next_lookup_] = {seed.bus_port, now() + kLookupMs};
      out_->push_back(ResolveEffect{next_lookup_++, std::move(seed.host)});
    }
  }
  if (now() < next_seed_ms_) return;
  own_addresses_.Purge(now());
  strangers_.Purge(now());
  size_t linked = 0;
  for (const auto& node : table_.all()) linked += node->link() != 0 && now() - node->direct_ms <= timeout();
  bool alone = linked == 0;
  if (linked + 1 >= table_.size() && !alone) {
    seed_rounds_ = 0;
    next_seed_ms_ = now() + kLookMs;
    return;
  }
  // What is known is tried first; and many nodes that start together do not ask at once.
  int64_t wait = alone ? std::min(kLongestWaitMs, kFirstWaitMs << std::min<uint32_t>(seed_rounds_, 10)) : kSeldomMs;
  if (++seed_rounds_ == 1) wait = table_.size() == 1 ? kFirstWaitMs / 4 : std::min<int64_t>(timeout(), 1000);
  next_seed_ms_ = now() + wait / 2 + static_cast<int64_t>(random_.Below(static_cast<uint64_t>(wait) + 1));
  if (seed_rounds_ > 1) seeds_left_.assign(options_.seeds.begin(), options_.seeds.end());
}

void EngineCore::OnResolved(uint64_t id, const std::vector<std::string>& ips) {
  auto it = lookups_.find(id);
  if (it == lookups_.end()) {
    ++stats_.late_events;
    return;
  }
  uint16_t bus_port = it->second.bus_port;
  lookups_.erase(it);
  // Of more than can be greeted at once, others each time.
  size_t count = std::min(ips.size(), kMaxSeedAddresses);
  size_t start = ips.size() > count ? random_.Below(ips.size()) : 0;
  for (size_t i = 0; i < count; ++i) GreetSeed(ips[(start + i) % ips.size()], bus_port);
}

void EngineCore::GreetSeed(const std::string& ip, uint16_t bus_port) {
  if (!PlausibleIp(ip, false) || bus_port == 0) return;
  if (ip == self_->record().ip && bus_port == self_->record().bus_port) return;
  if (own_addresses_.Has(absl::StrCat(ip, ":", bus_port), now())) return;
  for (const auto& node : table_.all()) {
    if (node->out.state == OutLink::kBound && node->out.ip.str() == ip && node->record().bus_port == bus_port) return;
  }
  StartHandshake(ip, 0, bus_port, NodeId(), Introduction::kSeed);
}

// Whether the unknown node that a seed has led to, or that a seed has led here, becomes a member.
bool EngineCore::MayAdopt(const Handshake& handshake, const NodeId& id, const proto::Welcome& welcome) {
  // It came by itself, one of us was fresh then, and it has adopted us since.
  bool mutual = welcome.known() && handshake.id == id;
  if (!forgotten_.Has(id, now()) && (Fresh() || welcome.fresh() || mutual)) return true;
  if (!strangers_.Has(id, now())) {
    Note(EventKind::kAddress, absl::StrCat("the node ", id.Hex(), " that a seed led to at ", handshake.ip, ":",
                                           handshake.bus_port, " belongs to another cluster: left alone"));
  }
  strangers_.Add(id, now() + kStrangerMs);
  return false;
}

}  // namespace skein::bus
