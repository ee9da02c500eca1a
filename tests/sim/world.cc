#include "tests/sim/world.h"

#include <algorithm>
#include <numeric>

#include "bus/engine/limits.h"
#include "bus/engine/node.h"
#include "proto/bus.pb.h"
#include "proto/node_state.pb.h"
#include "tests/sim/world_parts.h"

namespace skein::sim {
namespace {
constexpr size_t kTraceLines = 400;
constexpr int kLeaveOutTicks = 100;  // from so many nodes on
}  // namespace

World::World(uint64_t seed, bus::EngineOptions options)
    : options_(std::move(options)), records_(std::make_shared<bus::RecordPool>()), random_(seed) {
  links_.emplace_back();
}
World::~World() = default;

void World::Log(std::string line) {
  hash_ = bus::Mix(hash_ ^ std::hash<std::string>()(line));
  if (quiet) return;
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

// ---- Time

void World::At(int64_t at, std::function<void()> run) {
  Happening h{};
  h.kind = Happening::kCall;
  if (free_calls_.empty()) {
    h.number = calls_.size();
    calls_.push_back(std::move(run));
  } else {
    h.number = free_calls_.back();
    free_calls_.pop_back();
    calls_[h.number] = std::move(run);
  }
  wheel_.Add(at, std::move(h));
}

void World::Happen(Happening& h) {
  switch (h.kind) {
    case Happening::kTick:
      return Tick(h.node, h.life);
    case Happening::kMessage:
      return Arrive(h);
    case Happening::kLinkDown:
      return Feed(h.node, h.life, bus::LinkDownEvent{h.number});
    case Happening::kApply: {
      SimNode& node = *nodes_[h.node];
      if (!node.up || node.life != h.life) return;
      auto topology = std::static_pointer_cast<const bus::Topology>(h.data);
      if (!node.healthy || node.frozen) {
        node.stalled.push_back([this, n = h.node, topology] { Apply(n, *topology); });
        return;
      }
      return Apply(h.node, *topology);
    }
    case Happening::kCall: {
      std::function<void()> run = std::move(calls_[h.number]);
      free_calls_.push_back(h.number);
      return run();
    }
  }
}

void World::Run(int64_t ms) {
  int64_t end = now_ + ms;
  Happening h;
  while (failure_.empty() && wheel_.Take(end, &h)) {
    now_ = wheel_.now();
    // Of a large cluster nearly nothing is in the processor's caches.
    if (const Happening* next = wheel_.Ahead(2); next != nullptr && next->kind == Happening::kMessage) {
      __builtin_prefetch(&links_[next->link]);
      __builtin_prefetch(next->data.get());
    }
    Happen(h);
    h.data.reset();
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

// ---- Nodes

int World::AddNode() {
  int n = size();
  nodes_.push_back(std::make_unique<SimNode>());
  nodes_[n]->log = {{next_reign_++, 0}};
  Start(n, nullptr);
  return n;
}

void World::AddCluster(int primaries, int replicas) {
  int first = size(), n = primaries + replicas;
  std::vector<std::string> records;
  std::vector<bus::NodeId> ids, shards;
  for (int i = 0; i < n; ++i) {
    ids.push_back(bus::NodeId::Make(&random_));
    if (i < primaries) shards.push_back(bus::NodeId::Make(&random_));
    auto node = std::make_unique<SimNode>();
    node->ip = "10.0." + std::to_string(next_ip_ / 250) + "." + std::to_string(next_ip_ % 250 + 1);
    ++next_ip_;
    node->log = i < primaries ? std::vector<Reign>{{next_reign_++, 0}} : nodes_[first + i % primaries]->log;
    proto::NodeRecord r;
    r.set_id(ids[i].Bytes());
    r.set_shard_id(shards[i % primaries].Bytes());
    r.set_ip(node->ip);
    r.set_port(kClientPort);
    r.set_bus_port(kBusPort);
    r.set_software("skein");
    r.set_version(1);
    if (i < primaries) {
      r.set_config_epoch(static_cast<uint64_t>(i) + 1);
      r.add_slot_ranges(static_cast<uint32_t>(int64_t{kSlots} * i / primaries));
      r.add_slot_ranges(static_cast<uint32_t>(int64_t{kSlots} * (i + 1) / primaries - 1));
    } else {
      r.set_primary_id(ids[i % primaries].Bytes());
    }
    records.push_back(r.SerializeAsString());
    nodes_.push_back(std::move(node));
  }
  std::vector<int> by_id(static_cast<size_t>(n));  // as engines write it, and take it in with the least work
  std::iota(by_id.begin(), by_id.end(), 0);
  std::sort(by_id.begin(), by_id.end(), [&](int a, int b) { return ids[a] < ids[b]; });
  for (int i = 0; i < n; ++i) {
    auto state = std::make_shared<proto::NodeState>();
    state->set_format(1);
    state->set_own_record(records[i]);
    state->set_current_epoch(static_cast<uint64_t>(primaries));
    for (int j : by_id) {
      if (j != i) state->add_nodes()->set_record(records[j]);
    }
    SetDisk(nodes_[first + i].get(), state);
    Start(first + i, std::move(state));
  }
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
  options.records = records_;
  options.leaves_out_ticks = size() >= kLeaveOutTicks;
  options.bus_port = kBusPort;
  options.port = kClientPort;
  if (plant == Plant::kSlowClock && n == 0) node.clock_ppm = -300000;
  node.engine = bus::Engine::Create(options, std::move(state));
  node.up = true;
  node.next_inbound = 2;
  node.disk_id = 0;
  node.version = node.epoch = 0;
  node.forgotten.clear();
  node.forgetting.clear();
  ++node.life;
  Log("start " + std::to_string(n) + " at " + node.ip);
  NextTick(n, now_ + static_cast<int64_t>(random_.Below(kTickMs)));
}

void World::Tick(int n, uint32_t life) {
  SimNode& node = *nodes_[n];
  if (!node.up || node.life != life || now_ < node.next_tick) return;
  if (!node.frozen) {
    PlaneTick(n);
    Step(n, bus::TickEvent{});
  }
  NextTick(n, now_ + kTickMs);
}

void World::NextTick(int n, int64_t at) {
  SimNode& node = *nodes_[n];
  node.next_tick = at;
  // The first that finds something to do.
  if (const int64_t calm = CalmUntil(n); calm > at) node.next_tick += (calm - at + kTickMs - 1) / kTickMs * kTickMs;
  Happening tick{};
  tick.kind = Happening::kTick;
  tick.node = n;
  tick.life = node.life;
  wheel_.Add(node.next_tick, std::move(tick));
}

// Of large clusters in which nothing happens most ticks are left out, as far as the engine and the data plane allow.
int64_t World::CalmUntil(int n) const {
  const SimNode& node = *nodes_[n];
  if (write_rate > 0 || node.frozen || !node.healthy || node.engine == nullptr) return 0;
  const int64_t calm = node.engine->calm_until_ms();
  return calm == 0 ? 0 : std::min(calm - clock(n) + now_, now_ + 1000);
}

bool World::up(int n) const { return nodes_[n]->up; }
const std::string& World::ip(int n) const { return nodes_[n]->ip; }
std::string World::id(int n) const { return nodes_[n]->own_id; }
int World::Find(const std::string& id) const {
  auto it = by_id_.find(id);
  return it == by_id_.end() || nodes_[it->second]->own_id != id ? -1 : it->second;
}
bus::TopologyPtr World::topology(int n) const { return nodes_[n]->engine->topology(); }
const bus::EngineStats& World::stats(int n) const { return nodes_[n]->engine->stats(); }
bus::EngineSizes World::sizes(int n) const { return nodes_[n]->engine->sizes(); }
int64_t World::writable_until(int n) const { return nodes_[n]->writable_until; }
uint64_t World::bytes_sent(int n) const { return nodes_[n]->bytes; }
uint64_t World::position(int n) const { return nodes_[n]->position; }

int64_t World::clock(int n) const {
  const SimNode& node = *nodes_[n];
  return now_ + node.clock_offset + now_ * node.clock_ppm / 1000000;
}

void World::SetClock(int n, int64_t offset_ms, int64_t rate_ppm) {
  nodes_[n]->clock_offset = offset_ms;
  nodes_[n]->clock_ppm = rate_ppm;
}

void World::JumpUnix(int n, int64_t ms) { nodes_[n]->unix_offset += ms; }

void World::Crash(int n) {
  SimNode& node = *nodes_[n];
  if (!node.up) return;
  Log("crash " + std::to_string(n));
  node.up = false;
  ++node.life;
  node.engine.reset();
  node.open.reset();
  node.open_ranges.clear();
  node.was_replica = false;
  node.frozen = false;
  node.held.clear();
  node.requests.clear();
  PlaneStops(n);
  by_address_.erase(node.ip);
  BreakLinks(n);
}

void World::Restart(int n, bool new_ip, bool lose_disk) {
  SimNode& node = *nodes_[n];
  if (size() >= kLeaveOutTicks) return Broken("no node of a large cluster can be restarted: its disk is not kept");
  Crash(n);
  if (new_ip) node.ip.clear();
  if (lose_disk) {
    node.disk = node.disk_before = nullptr;
    node.disk_version = node.said_version = node.said_epoch = 0;
    node.disk_record.clear();
    node.disk_claims.reset();
    node.own_id.clear();
    node.log = {{next_reign_++, 0}};
    node.position = 0;
  }
  bus::StatePtr state = plant == Plant::kForgottenClaims && node.disk_before != nullptr ? node.disk_before : node.disk;
  if (plant == Plant::kForgottenVotes && state != nullptr) {
    auto less = std::make_shared<proto::NodeState>(*state);
    less->clear_votes();
    less->clear_last_vote_epoch();
    less->clear_vote_floor();
    state = std::move(less);
  }
  Start(n, std::move(state));
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
  CheckAccepts(n);  // its loops may run before its bus does
  std::deque<bus::Event> held = std::move(node.held);
  node.held.clear();
  for (const bus::Event& event : held) {
    if (node.up && failure_.empty()) Step(n, event);
  }
  if (node.healthy) SetHealthy(n, true);
}

ReplyPtr World::Command(int n, bus::OperatorCommand command) {
  auto reply = std::make_shared<Reply>();
  SimNode& node = *nodes_[n];
  if (!node.up) return reply;
  uint64_t request = node.next_request++;
  node.requests[request] = reply;
  Log("command " + std::to_string(command.index()) + " to " + std::to_string(n));
  Excuse(n, request, command);
  Feed(n, node.life, bus::OperatorEvent{request, std::move(command)});
  return reply;
}

bus::LinkId World::Inject(int n, bus::MessagePtr message, LinkId link, const std::string& from_ip) {
  SimNode& node = *nodes_[n];
  if (link == 0) {
    link = node.next_inbound;
    node.next_inbound += 2;
  }
  Feed(n, node.life, bus::MessageEvent{link, std::move(message), from_ip});
  return link;
}

// ---- Steps

void World::Feed(int n, uint32_t life, const bus::Event& event) {
  SimNode& node = *nodes_[n];
  if (!node.up || node.life != life || !failure_.empty()) return;
  if (node.frozen) {
    node.held.push_back(event);
  } else {
    Step(n, event);
  }
}

void World::Step(int n, const bus::Event& event) {
  SimNode& node = *nodes_[n];
  bus::Effects effects = std::move(effects_);
  effects.clear();
  ++steps_;
  hash_ = bus::Mix(hash_ ^ (static_cast<uint64_t>(now_) << 20 | static_cast<uint64_t>(n) << 4 | event.index()));
  int64_t mono = clock(n);
  node.engine->Step(event, {mono, now_ + node.unix_offset}, &effects);
  for (bus::Effect& effect : effects) Do(n, effect);
  effects_ = std::move(effects);
  if (node.next_tick > now_ + kTickMs && CalmUntil(n) == 0) NextTick(n, now_ + kTickMs);
  if (steps_ % (size() < 64 ? 64 : 4096) == 0) CheckSizes(n);
}

void World::Do(int n, bus::Effect& effect) {
  SimNode& node = *nodes_[n];
  if (auto* send = std::get_if<bus::SendEffect>(&effect)) {
    CheckSend(n, *send);
    CheckVotes(n, *send);
    Deliver(n, *send);
  } else if (auto* dial = std::get_if<bus::DialEffect>(&effect)) {
    Dial(n, *dial);
  } else if (auto* close = std::get_if<bus::CloseEffect>(&effect)) {
    Log(std::to_string(n) + " closes a link: " + close->reason);
    BreakLink(n, close->link);
  } else if (auto* persist = std::get_if<bus::PersistEffect>(&effect)) {
    Persist(n, *persist);
  } else if (auto* publish = std::get_if<bus::PublishEffect>(&effect)) {
    Publish(n, publish->topology);
  } else if (auto* reply = std::get_if<bus::ReplyEffect>(&effect)) {
    auto it = node.requests.find(reply->request);
    if (it == node.requests.end()) return Broken("a request was answered twice");
    it->second->done = true;
    it->second->reply = reply->reply;
    Log(std::to_string(n) + " replies " + reply->reply.text);
    if (auto forget = node.forgetting.find(reply->request); forget != node.forgetting.end()) {
      const auto& [id, since] = forget->second;
      if (reply->reply.text == "OK") node.forgotten[id] = since + bus::kForgetMs - 1000;
      node.forgetting.erase(forget);
    }
    node.requests.erase(it);
  } else if (auto* until = std::get_if<bus::WritableUntilEffect>(&effect)) {
    bool over = node.writable_until <= clock(n);
    node.writable_until = until->mono_ms;
    if (over) CheckAccepts(n);
  } else if (auto* note = std::get_if<bus::NoteEffect>(&effect)) {
    if (on_note) on_note(n, *note);
    Log(std::to_string(n) + ": " + note->text);
    if (quiet) return;
    notes_.emplace_back(n, std::move(note->text));
    if (notes_.size() > kTraceLines) notes_.pop_front();
  } else if (auto* promote = std::get_if<bus::PromoteEffect>(&effect)) {
    Promote(n, promote->epoch);
  } else if (auto* freeze = std::get_if<bus::FreezeWritesEffect>(&effect)) {
    FreezeWrites(n, freeze->until_mono_ms);
  } else if (auto* resolve = std::get_if<bus::ResolveEffect>(&effect)) {
    Resolve(n, *resolve);
  }
}

void World::Persist(int n, const bus::PersistEffect& persist) {
  bool fail = Chance(faults.persist_fail);
  int64_t at = now_ + Between(faults.persist_min, faults.persist_max);
  if (plant == Plant::kEarlyPersisted && !fail) {
    At(now_, [this, n, life = nodes_[n]->life, id = persist.id] { Feed(n, life, bus::PersistedEvent{id}); });
  }
  At(at, [this, n, life = nodes_[n]->life, id = persist.id, fail, state = persist.state] {
    SimNode& node = *nodes_[n];
    if (!node.up || node.life != life) return;
    if (fail) return Feed(n, life, bus::PersistFailedEvent{id, "No space left on device"});
    // Writes may overtake each other here: an older state never replaces a newer one.
    if (id > node.disk_id) {
      node.disk_id = id;
      node.disk_before = node.disk;
      SetDisk(&node, state);
    }
    Feed(n, life, bus::PersistedEvent{id});
  });
}

void World::SetDisk(SimNode* node, bus::StatePtr state) {
  proto::NodeRecord own;
  own.ParseFromString(state->own_record());
  std::vector<bus::SlotRange> claims;
  if (!bus::ReadSlots(own, &claims)) Broken("own record with bad slots");
  if (size() >= kLeaveOutTicks) {
    // Who else is known is not looked at, and of all would take the square of their number (see Restart).
    auto less = std::make_shared<proto::NodeState>();
    less->set_own_record(state->own_record());
    less->set_current_epoch(state->current_epoch());
    *less->mutable_votes() = state->votes();
    state = std::move(less);
  }
  node->disk = std::move(state);
  node->disk_version = own.version();
  node->disk_record = node->disk->own_record();
  node->disk_claims = bus::ToSet(claims);
}

}  // namespace skein::sim
