#include "tests/sim/world.h"

#include "proto/bus.pb.h"
#include "proto/node_state.pb.h"
#include "tests/sim/world_parts.h"

namespace skein::sim {

namespace {
constexpr uint16_t kBusPort = 17000;
constexpr int64_t kTickMs = 100;
constexpr size_t kTraceLines = 400;
constexpr int64_t kUnixOffset = 1700000000000;
}  // namespace

World::World(uint64_t seed, bus::EngineOptions options) : options_(std::move(options)), random_(seed) {}
World::~World() = default;

void World::Log(std::string line) {
  for (char c : line) hash_ = bus::Mix(hash_ ^ static_cast<uint8_t>(c));
  trace_.push_back(std::to_string(now_) + " " + std::move(line));
  if (trace_.size() > kTraceLines) trace_.pop_front();
}

std::string World::Trace() const {
  std::string all;
  for (const std::string& line : trace_) all += line + "\n";
  return all;
}

std::vector<std::pair<int, std::string>> World::TakeNotes() {
  std::vector<std::pair<int, std::string>> notes(notes_.begin(), notes_.end());
  notes_.clear();
  return notes;
}

void World::Broken(std::string what) {
  if (!failure_.empty()) return;
  failure_ = std::move(what);
  Log("BROKEN: " + failure_);
}

void World::At(int64_t at, std::function<void()> run) { timers_.push({at, order_++, std::move(run)}); }

void World::Run(int64_t ms) {
  int64_t end = now_ + ms;
  while (failure_.empty() && !timers_.empty() && timers_.top().at <= end) {
    // The queue gives only const access; the timer is popped at once, so moving its function out is safe.
    auto run = std::move(const_cast<Timer&>(timers_.top()).run);
    now_ = timers_.top().at;
    timers_.pop();
    run();
  }
  if (failure_.empty()) now_ = end;
}

bool World::RunUntil(int64_t ms, const std::function<bool()>& done) {
  for (int64_t end = now_ + ms; now_ < end && failure_.empty();) {
    if (done()) return true;
    Run(10);
  }
  return failure_.empty() && done();
}

int World::AddNode() {
  int n = size();
  nodes_.push_back(std::make_unique<SimNode>());
  Start(n, nullptr);
  return n;
}

void World::Start(int n, bus::StatePtr state) {
  SimNode& node = *nodes_[n];
  if (node.ip.empty()) {
    node.ip = "10.0." + std::to_string(next_ip_ / 250) + "." + std::to_string(next_ip_ % 250 + 1);
    ++next_ip_;
  }
  by_address_[node.ip] = n;
  bus::EngineOptions options = options_;
  options.seed = random_.Next();
  options.bus_port = kBusPort;
  options.port = 7000;
  node.engine = bus::Engine::Create(options, std::move(state));
  node.up = true;
  node.frozen = false;
  node.held.clear();
  node.next_inbound = 2;
  node.disk_id = 0;
  node.writable_until = 0;
  node.open.reset();
  node.open_ranges.clear();
  uint64_t life = ++node.life;
  Log("start " + std::to_string(n) + " at " + node.ip);
  At(now_ + static_cast<int64_t>(random_.Below(kTickMs)), [this, n, life] { Tick(n, life); });
}

void World::Tick(int n, uint64_t life) {
  SimNode& node = *nodes_[n];
  if (!node.up || node.life != life) return;
  if (!node.frozen) Step(n, bus::TickEvent{});
  At(now_ + kTickMs, [this, n, life] { Tick(n, life); });
}

bool World::up(int n) const { return nodes_[n]->up; }
const std::string& World::ip(int n) const { return nodes_[n]->ip; }
std::string World::id(int n) const { return nodes_[n]->own_id; }
bus::TopologyPtr World::topology(int n) const { return nodes_[n]->engine->topology(); }
const bus::EngineStats& World::stats(int n) const { return nodes_[n]->engine->stats(); }
bus::EngineSizes World::sizes(int n) const { return nodes_[n]->engine->sizes(); }
int64_t World::writable_until(int n) const { return nodes_[n]->writable_until; }
uint64_t World::bytes_sent(int n) const { return nodes_[n]->bytes; }

void World::Crash(int n) {
  SimNode& node = *nodes_[n];
  if (!node.up) return;
  Log("crash " + std::to_string(n));
  node.up = false;
  ++node.life;
  node.engine.reset();
  node.open.reset();
  node.open_ranges.clear();
  by_address_.erase(node.ip);
  std::vector<LinkId> its;  // breaking one may take another with it: both ends of a link to itself are here
  for (auto it = links_.lower_bound({n, 0}); it != links_.end() && it->first.first == n; ++it) {
    its.push_back(it->first.second);
  }
  for (LinkId id : its) BreakLink(n, id);
}

void World::Restart(int n, bool new_ip, bool lose_disk) {
  SimNode& node = *nodes_[n];
  Crash(n);
  if (new_ip) node.ip.clear();
  if (lose_disk) {
    node.disk = nullptr;
    node.disk_version = 0;
    node.disk_record.clear();
    node.disk_claims.reset();
    node.own_id.clear();
  }
  Start(n, node.disk);
}

void World::Freeze(int n) {
  if (nodes_[n]->up && !nodes_[n]->frozen) {
    Log("freeze " + std::to_string(n));
    nodes_[n]->frozen = true;
  }
}

void World::Thaw(int n) {
  SimNode& node = *nodes_[n];
  if (!node.up || !node.frozen) return;
  Log("thaw " + std::to_string(n));
  node.frozen = false;
  std::deque<bus::Event> held = std::move(node.held);
  node.held.clear();
  for (const bus::Event& event : held) {
    if (node.up) Step(n, event);
  }
}

void World::SetHealthy(int n, bool healthy) {
  if (nodes_[n]->up) Feed(n, nodes_[n]->life, bus::DataPlaneEvent{{}, healthy});
}

void World::Cut(int from, int to) {
  Log("cut " + std::to_string(from) + " -> " + std::to_string(to));
  cuts_.insert({from, to});
}

void World::Heal() {
  Log("heal");
  cuts_.clear();
}

ReplyPtr World::Command(int n, bus::OperatorCommand command) {
  auto reply = std::make_shared<Reply>();
  SimNode& node = *nodes_[n];
  if (!node.up) return reply;
  uint64_t request = node.next_request++;
  node.requests[request] = reply;
  Log("command " + std::to_string(command.index()) + " to " + std::to_string(n));
  Feed(n, node.life, bus::OperatorEvent{request, std::move(command)});
  return reply;
}

LinkId World::Inject(int n, bus::MessagePtr message, LinkId link, const std::string& from_ip) {
  SimNode& node = *nodes_[n];
  if (link == 0) {
    link = node.next_inbound;
    node.next_inbound += 2;
  }
  Feed(n, node.life, bus::MessageEvent{link, std::move(message), from_ip});
  return link;
}

void World::Feed(int n, uint64_t life, bus::Event event) {
  SimNode& node = *nodes_[n];
  if (!node.up || node.life != life || !failure_.empty()) return;
  if (node.frozen) {
    node.held.push_back(std::move(event));
  } else {
    Step(n, event);
  }
}

void World::Step(int n, const bus::Event& event) {
  SimNode& node = *nodes_[n];
  bus::Effects effects;
  ++steps_;
  node.engine->Step(event, {now_, now_ + kUnixOffset}, &effects);
  for (bus::Effect& effect : effects) Do(n, effect);
  if (steps_ % 64 == 0) CheckSizes(n);
}

void World::Do(int n, bus::Effect& effect) {
  SimNode& node = *nodes_[n];
  uint64_t life = node.life;
  if (auto* send = std::get_if<bus::SendEffect>(&effect)) {
    CheckSend(n, *send);
    Deliver(n, *send);
  } else if (auto* dial = std::get_if<bus::DialEffect>(&effect)) {
    Dial(n, *dial);
  } else if (auto* close = std::get_if<bus::CloseEffect>(&effect)) {
    Log(std::to_string(n) + " closes a link: " + close->reason);
    BreakLink(n, close->link);
  } else if (auto* persist = std::get_if<bus::PersistEffect>(&effect)) {
    uint64_t id = persist->id;
    bool fail = Chance(faults.persist_fail);
    At(now_ + Between(faults.persist_min, faults.persist_max), [this, n, life, id, fail, state = persist->state] {
      SimNode& node = *nodes_[n];
      if (!node.up || node.life != life) return;
      if (fail) return Feed(n, life, bus::PersistFailedEvent{id, "No space left on device"});
      proto::NodeRecord own;
      own.ParseFromString(state->own_record());
      std::vector<bus::SlotRange> claims;
      if (!bus::ReadSlots(own, &claims)) Broken("own record with bad slots");
      // Writes may overtake each other here: an older state never replaces a newer one.
      if (id > node.disk_id) {
        node.disk_id = id;
        node.disk = state;
        node.disk_version = own.version();
        node.disk_record = state->own_record();
        node.disk_claims = bus::ToSet(claims);
      }
      Feed(n, life, bus::PersistedEvent{id});
    });
  } else if (auto* publish = std::get_if<bus::PublishEffect>(&effect)) {
    CheckPublish(n, *publish->topology);
    uint64_t version = publish->topology->version;
    At(now_ + Between(faults.fence_min, faults.fence_max),
       [this, n, life, version] { Feed(n, life, bus::FencedEvent{version}); });
  } else if (auto* reply = std::get_if<bus::ReplyEffect>(&effect)) {
    auto it = node.requests.find(reply->request);
    if (it == node.requests.end()) return Broken("a request was answered twice");
    it->second->done = true;
    it->second->reply = reply->reply;
    Log(std::to_string(n) + " replies " + reply->reply.text);
    node.requests.erase(it);
  } else if (auto* until = std::get_if<bus::WritableUntilEffect>(&effect)) {
    node.writable_until = until->mono_ms;
  } else if (auto* note = std::get_if<bus::NoteEffect>(&effect)) {
    Log(std::to_string(n) + ": " + note->text);
    notes_.emplace_back(n, std::move(note->text));
    if (notes_.size() > kTraceLines) notes_.pop_front();
  }
}

void World::Dial(int n, const bus::DialEffect& dial) {
  auto link = std::make_shared<SimLink>();
  link->node[0] = n;
  link->id[0] = dial.link;
  link->life[0] = nodes_[n]->life;
  link->node[1] = -1;
  links_[{n, dial.link}] = link;
  At(now_ + 2 * Delay(), [this, link, ip = dial.ip, port = dial.bus_port] {
    if (link->broken) return;
    auto it = by_address_.find(ip);
    int from = link->node[0];
    if (it != by_address_.end() && (IsCut(from, it->second) || IsCut(it->second, from))) return;  // no answer at all
    if (it == by_address_.end() || port != kBusPort) {                                            // refused
      link->broken = true;
      links_.erase({from, link->id[0]});
      return Feed(from, link->life[0], bus::LinkDownEvent{link->id[0]});
    }
    int to = it->second;
    link->node[1] = to;
    link->id[1] = nodes_[to]->next_inbound;
    nodes_[to]->next_inbound += 2;
    link->life[1] = nodes_[to]->life;
    link->up = true;
    links_[{to, link->id[1]}] = link;
    Feed(from, link->life[0], bus::LinkUpEvent{link->id[0]});
  });
}

// Ends a link for both sides; the side that did it hears nothing more of it.
void World::BreakLink(int n, LinkId id) {
  auto it = links_.find({n, id});
  if (it == links_.end()) return;
  std::shared_ptr<SimLink> link = it->second;
  link->broken = true;
  int me = link->node[0] == n && link->id[0] == id ? 0 : 1;
  links_.erase(it);
  if (!link->up) return;
  int other = link->node[1 - me];
  links_.erase({other, link->id[1 - me]});
  if (IsCut(n, other)) {
    // The end of the connection does not arrive either; the other side finds out when the cut is over.
    At(now_ + 30000,
       [this, link, me, other] { Feed(other, link->life[1 - me], bus::LinkDownEvent{link->id[1 - me]}); });
    return;
  }
  At(now_ + Delay(),
     [this, link, me, other] { Feed(other, link->life[1 - me], bus::LinkDownEvent{link->id[1 - me]}); });
}

void World::Deliver(int n, const bus::SendEffect& send) {
  ++messages_;
  nodes_[n]->bytes += send.message->ByteSizeLong() + 8;
  auto it = links_.find({n, send.link});
  if (it == links_.end() || !it->second->up) return;
  std::shared_ptr<SimLink> link = it->second;
  int me = link->node[0] == n && link->id[0] == send.link ? 0 : 1;
  int to = link->node[1 - me];
  if (IsCut(n, to) || Chance(faults.loss)) return;
  int copies = Chance(faults.duplicate) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    int64_t at = now_ + Delay();
    if (Chance(faults.reorder)) {
      at += Between(0, 200);
    } else {
      at = std::max(at, link->last[me]);
      link->last[me] = at;
    }
    At(at, [this, link, me, to, message = send.message] {
      if (link->broken || IsCut(link->node[me], to)) return;
      Feed(to, link->life[1 - me], bus::MessageEvent{link->id[1 - me], message, nodes_[link->node[me]]->ip});
    });
  }
}

}  // namespace skein::sim
