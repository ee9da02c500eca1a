// The simulated network: links, what is sent on them, names.
#include "proto/bus.pb.h"
#include "tests/sim/world_parts.h"

namespace skein::sim {

std::string TypeName(size_t body) {
  const auto* field = proto::BusMessage::descriptor()->FindFieldByNumber(static_cast<int>(body));
  return field == nullptr ? "unknown" : field->name();
}

int64_t World::Delay() {
  int64_t delay = Between(faults.delay_min, faults.delay_max);
  return faults.delay_tail > 0 && Chance(faults.delay_tail) ? delay + Between(0, 20 * faults.delay_max) : delay;
}

void World::Cut(int from, int to) {
  Log("cut " + std::to_string(from) + " -> " + std::to_string(to));
  cuts_.insert(static_cast<uint64_t>(from) << 32 | static_cast<uint32_t>(to));
}

void World::Heal() {
  Log("heal");
  cuts_.clear();
}

uint32_t* World::Place(int n, LinkId link) {
  std::vector<uint32_t>& table = nodes_[n]->links[link % 2];
  if (link / 2 >= table.size()) table.resize(link / 2 + 1);
  return &table[link / 2];
}

void World::Dial(int n, const bus::DialEffect& dial) {
  uint32_t index;
  if (free_links_.empty()) {
    index = static_cast<uint32_t>(links_.size());
    links_.emplace_back();
  } else {
    index = free_links_.back();
    free_links_.pop_back();
  }
  SimLink& link = links_[index];
  link.node[0] = n;
  link.id[0] = dial.link;
  link.life[0] = nodes_[n]->life;
  link.node[1] = -1;
  link.last[0] = link.last[1] = 0;
  link.up = false;
  *Place(n, dial.link) = index;
  int64_t at = now_ + Delay() * 2;
  At(at, [this, index, generation = link.generation, ip = dial.ip, port = dial.bus_port] {
    Dialled(index, generation, ip, port);
  });
}

void World::Dialled(uint32_t index, uint32_t generation, const std::string& ip, uint16_t port) {
  SimLink& link = links_[index];
  if (link.generation != generation) return;
  auto it = by_address_.find(ip);
  int from = link.node[0];
  if (it != by_address_.end() && (IsCut(from, it->second) || IsCut(it->second, from))) return;  // no answer at all
  LinkId id = link.id[0];
  uint32_t life = link.life[0];
  if (it == by_address_.end() || port != kBusPort) {  // refused
    FreeLink(index);
    return Feed(from, life, bus::LinkDownEvent{id});
  }
  int to = it->second;
  link.node[1] = to;
  link.id[1] = nodes_[to]->next_inbound;
  nodes_[to]->next_inbound += 2;
  link.life[1] = nodes_[to]->life;
  link.up = true;
  *Place(to, link.id[1]) = index;
  Feed(from, life, bus::LinkUpEvent{id});
}

void World::FreeLink(uint32_t index) {
  SimLink& link = links_[index];
  for (int side = 0; side < 2; ++side) {
    if (side == 0 || link.up) *Place(link.node[side], link.id[side]) = 0;
  }
  link.up = false;
  ++link.generation;
  free_links_.push_back(index);
}

// Ends a link for both sides; the side that did it hears nothing more of it.
void World::BreakLink(int n, LinkId id) {
  uint32_t index = *Place(n, id);
  if (index == 0) return;
  SimLink& link = links_[index];
  int me = link.node[0] == n && link.id[0] == id ? 0 : 1;
  Happening down{};
  down.kind = Happening::kLinkDown;
  bool up = link.up;
  if (up) {
    down.node = link.node[1 - me];
    down.number = link.id[1 - me];
    down.life = link.life[1 - me];
  }
  FreeLink(index);
  if (!up) return;
  // If the end of the connection does not arrive either, the other side finds out when the cut is over.
  int64_t at = now_ + (IsCut(n, down.node) ? 30000 : Delay());
  wheel_.Add(at, std::move(down));
}

void World::BreakLinks(int n) {
  SimNode& node = *nodes_[n];
  size_t most = std::max(node.links[0].size(), node.links[1].size());
  for (size_t i = 0; i < most; ++i) {
    for (int parity = 0; parity < 2; ++parity) {
      if (i < node.links[parity].size()) BreakLink(n, 2 * i + parity);
    }
  }
  node.links[0].clear();
  node.links[1].clear();
}

void World::Deliver(int n, const bus::SendEffect& send) {
  ++messages_;
  SimNode& node = *nodes_[n];
  uint64_t bytes = send.message->ByteSizeLong() + 8;
  node.bytes += bytes;
  Sent& sent = sent_[send.message->body_case() & 63];
  ++sent.messages;
  sent.bytes += bytes;
  uint32_t index = *Place(n, send.link);
  if (index == 0 || !links_[index].up) return;
  SimLink& link = links_[index];
  int me = link.node[0] == n && link.id[0] == send.link ? 0 : 1;
  int to = link.node[1 - me];
  if (IsCut(n, to) || Chance(faults.loss)) return;
  int copies = Chance(faults.duplicate) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    int64_t at = now_ + Delay();
    if (Chance(faults.reorder)) {
      at += Between(0, 200);
    } else {
      at = std::max(at, link.last[me]);
      link.last[me] = at;
    }
    Happening h{};
    h.kind = Happening::kMessage;
    h.side = static_cast<uint8_t>(me);
    h.link = index;
    h.generation = link.generation;
    h.data = plant == Plant::kNone ? send.message : Tampered(send.message);
    wheel_.Add(at, std::move(h));
  }
}

void World::Arrive(Happening& h) {
  const SimLink& link = links_[h.link];
  if (link.generation != h.generation) return;
  int from = link.node[h.side], to = link.node[1 - h.side];
  if (IsCut(from, to)) return;
  auto message = std::static_pointer_cast<const proto::BusMessage>(std::move(h.data));
  const bool greets = message->has_hello();  // no other tells the address
  Feed(to, link.life[1 - h.side],
       bus::MessageEvent{link.id[1 - h.side], std::move(message), greets ? nodes_[from]->ip : std::string()});
}

// Every name is that of a headless service: the addresses of all nodes that are up, perhaps those of a while ago.
void World::Resolve(int n, const bus::ResolveEffect& resolve) {
  int64_t at = now_ + Between(1, faults.resolve_max);
  std::vector<std::string> ips;
  if (Chance(faults.resolve_stale)) {
    ips = stale_ips_;
  } else if (!Chance(faults.resolve_fail)) {
    for (const auto& node : nodes_) {
      if (node->up) ips.push_back(node->ip);
    }
    if (stale_ips_.empty() || random_.Below(8) == 0) stale_ips_ = ips;
  }
  At(at, [this, n, life = nodes_[n]->life, id = resolve.id, ips] { Feed(n, life, bus::ResolvedEvent{id, ips}); });
}

}  // namespace skein::sim
