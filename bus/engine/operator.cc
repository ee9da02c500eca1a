// CLUSTER subcommands. Replies and error texts are those of Redis 7.2 (https://redis.io/commands/?group=cluster).
#include <arpa/inet.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "bus/engine/core.h"

namespace skein::bus {
namespace {
// How long an operator's word on the owner of a slot stands here against records that do not say so yet.
constexpr int64_t kUnassignMs = 5000;
constexpr int64_t kAssignMs = 30000;
}  // namespace

void EngineCore::Reply(uint64_t request, std::string text) {
  replies_.push_back({request, {OperatorReply::Kind::kStatus, std::move(text), 0}});
}

void EngineCore::Fail(uint64_t request, std::string text) {
  replies_.push_back({request, {OperatorReply::Kind::kError, std::move(text), 0}});
}

void EngineCore::OnOperator(const OperatorEvent& event) {
  if (sizes().waiting >= kMaxPending) {
    return Fail(event.request, "ERR too many cluster commands wait for the disk or the data plane");
  }
  std::visit([&](const auto& command) { On(event.request, command); }, event.command);
}

void EngineCore::On(uint64_t request, const MeetCommand& c) {
  unsigned char address[sizeof(in6_addr)];
  uint32_t bus_port = c.bus_port != 0 ? c.bus_port : c.port + 10000u;
  bool valid = inet_pton(AF_INET, c.ip.c_str(), address) == 1 || inet_pton(AF_INET6, c.ip.c_str(), address) == 1;
  if (!valid || c.port == 0 || bus_port > 65535) {
    return Fail(request, absl::StrCat("ERR Invalid node address specified: ", c.ip, ":", c.port));
  }
  if (!StartHandshake(c.ip, c.port, static_cast<uint16_t>(bus_port), NodeId(), Introduction::kMeet)) {
    return Fail(request, "ERR too many nodes are being met at the moment");
  }
  Reply(request);
}

void EngineCore::ForgetNode(Node* node, int64_t ms, const char* reason) {
  Note(EventKind::kLeave, absl::StrCat("node ", Name(*node), " left: ", reason));
  forgotten_.Add(node->id(), now() + ms);
  LeaveElectorates(node->id());
  DropNode(node, "forgotten");
}

void EngineCore::On(uint64_t request, const ForgetCommand& c) {
  Node* node = table_.FindHex(c.id);
  if (node == nullptr) {
    auto id = NodeId::FromHex(c.id);
    if (id && forgotten_.Has(*id, now())) return Reply(request);
    return Fail(request, absl::StrCat("ERR Unknown node ", c.id));
  }
  if (node->self) return Fail(request, "ERR I tried hard but I can't forget myself...");
  if (self_->record().primary_id == node->id()) return Fail(request, "ERR Can't forget my master!");
  auto m = std::make_shared<proto::BusMessage>();
  m->mutable_forgotten()->set_id(node->id().Bytes());
  m->mutable_forgotten()->set_ttl_ms(static_cast<uint32_t>(kForgetMs));
  for (const auto& other : table_.all()) {
    if (!other->self && other.get() != node) SendTo(*other, m);
  }
  ForgetNode(node, kForgetMs, "CLUSTER FORGET");
  WaitDurable(request);
}

void EngineCore::On(uint64_t request, const ResetCommand& c) {
  if (c.has_keys && self_->record().primary()) {
    return Fail(request, "ERR CLUSTER RESET can't be called with master nodes containing keys");
  }
  // First the data plane lets go of what it has.
  if (SlotSet open = own_claims_ & ~closing_; open.any()) GiveUp(open, {});
  if (HoldForClosing(request, c)) return;
  while (!handshakes_.empty()) DropHandshake(handshakes_.back().get(), "reset");
  std::vector<Node*> others;
  for (const auto& node : table_.all()) {
    if (!node->self) others.push_back(node.get());
  }
  for (Node* node : others) DropNode(node, "reset");
  migrating_.clear();
  importing_.clear();
  overrides_.clear();
  news_.clear();
  say_suspect_.clear();
  say_cleared_.clear();
  say_failed_.clear();
  round_.clear();
  must_sync_ = attached_ = false;
  for (Closing& closing : closings_) {
    for (Waiting& w : closing.waiting) wait_next_persist_.push_back(std::move(w));
  }
  closings_.clear();
  own_claims_.reset();
  durable_claims_.reset();
  closing_.reset();
  // A group of its own from now on.
  if (!own_.primary_id().empty()) own_.set_shard_id(NodeId::Make(&random_).Bytes());
  own_.clear_primary_id();
  own_.set_own_electorate(false);
  own_.clear_witnesses();
  election_ = Election();
  promote_epoch_ = promote_asked_ = 0;
  held_own_ = nullptr;
  stand_down_ = false;
  asked_.clear();
  by_hand_ = ByHand();
  freeze_ = Freeze();
  past_.clear();
  predecessor_ = seat_to_ = durable_seat_to_ = NodeId();
  established_ = true;
  if (c.hard) {
    current_epoch_ = last_vote_epoch_ = vote_floor_ = durable_epoch_ = 0;
    votes_.clear();
    NewIdentity();
    own_.set_version(0);
    primary_since_ = 0;
    AdoptOptions();
    if (!self_->record().ip_fixed) own_.set_ip(self_->record().ip);
    table_.Remove(self_);
    self_ = nullptr;
    Note(EventKind::kConfig, "reset: this node has a new id");
  } else {
    Note(EventKind::kConfig, "reset: all other nodes and slots forgotten");
  }
  // Nothing is said in the meantime, and no older record that is still being written may come back as ours.
  durable_own_ = nullptr;
  persist_floor_ = next_persist_;
  RefreshSelf();
  WaitDurable(request);
  RunHeld();
}

bool EngineCore::SlotBusy(uint16_t slot) const {
  if (own_claims_[slot] && !closing_[slot]) return true;
  uint16_t owner = owner_[slot];
  return owner != kNobody && owner != self_->index;
}

// Shared by ADDSLOTS and DELSLOTS. Answers errors itself.
bool EngineCore::ReadRanges(uint64_t request, const std::vector<SlotRange>& ranges, bool del, SlotSet* slots) {
  for (SlotRange r : ranges) {
    if (r.first >= kSlots || r.last >= kSlots) {
      Fail(request, "ERR Invalid or out of range slot");
      return false;
    }
    if (r.first > r.last) {
      Fail(request, absl::StrCat("ERR start slot number ", r.first, " is greater than end slot number ", r.last));
      return false;
    }
    for (uint32_t s = r.first; s <= r.last; ++s) {
      bool busy = SlotBusy(static_cast<uint16_t>(s));
      if (busy != del) {
        Fail(request, absl::StrCat("ERR Slot ", s, del ? " is already unassigned" : " is already busy"));
        return false;
      }
      if ((*slots)[s]) {
        Fail(request, absl::StrCat("ERR Slot ", s, " specified multiple times"));
        return false;
      }
      slots->set(s);
    }
  }
  return true;
}

void EngineCore::On(uint64_t request, const AddSlotsCommand& c) {
  SlotSet slots;
  if (!ReadRanges(request, c.ranges, false, &slots)) return;
  for (uint32_t s = 0; s < kSlots; ++s) {
    if (!slots[s]) continue;
    importing_.erase(static_cast<uint16_t>(s));
    if (overrides_.contains(static_cast<uint16_t>(s))) {
      SetOverride(static_cast<uint16_t>(s), self_->id(), kUnassignMs);
    }
  }
  own_claims_ |= slots;
  for (Closing& closing : closings_) closing.slots &= ~slots;  // taken back before they were gone
  closing_ &= ~slots;
  owners_dirty_ = true;
  WaitDurable(request);
}

void EngineCore::On(uint64_t request, const DelSlotsCommand& c) {
  SlotSet slots;
  if (!ReadRanges(request, c.ranges, true, &slots)) return;
  SlotSet mine = slots & own_claims_ & ~closing_;
  for (uint32_t s = 0; s < kSlots; ++s) {
    if (!slots[s]) continue;
    uint16_t slot = static_cast<uint16_t>(s);
    importing_.erase(slot);
    migrating_.erase(slot);
    overrides_.erase(slot);
    if (owner_[s] != kNobody && owner_[s] != self_->index) SetOverride(slot, NodeId(), kUnassignMs);
  }
  state_dirty_ = true;
  if (mine.none()) return Reply(request);
  GiveUp(mine, {{request, "OK"}});
}

void EngineCore::On(uint64_t request, const FlushSlotsCommand& c) {
  if (c.has_keys) return Fail(request, "ERR DB must be empty to perform CLUSTER FLUSHSLOTS.");
  SlotSet mine = own_claims_ & ~closing_;
  if (mine.none()) return Reply(request);
  migrating_.clear();
  for (uint32_t s = 0; s < kSlots; ++s) {
    if (mine[s]) overrides_.erase(static_cast<uint16_t>(s));
  }
  GiveUp(mine, {{request, "OK"}});
}

void EngineCore::On(uint64_t request, const BumpEpochCommand& c) {
  if (HoldForClosing(request, c)) return;
  const char* word = BumpEpoch() ? "BUMPED " : "STILL ";
  WaitDurable(request, absl::StrCat(word, own_.config_epoch()));
}

void EngineCore::On(uint64_t request, const SetConfigEpochCommand& c) {
  size_t met = std::count_if(handshakes_.begin(), handshakes_.end(), [](const auto& h) { return !h->seed; });
  if (table_.size() + met > 1) {
    return Fail(request, "ERR The user can assign a config epoch only when the node does not know any other node.");
  }
  if (own_.config_epoch() != 0) return Fail(request, "ERR Node config epoch is already non-zero");
  SetConfigEpoch(c.epoch, "CLUSTER SET-CONFIG-EPOCH");
  WaitDurable(request);
}

void EngineCore::On(uint64_t request, const SaveConfigCommand&) { WaitDurable(request); }

void EngineCore::On(uint64_t request, const CountFailureReportsCommand& c) {
  Node* node = table_.FindHex(c.id);
  if (node == nullptr) return Fail(request, absl::StrCat("ERR Unknown node ", c.id));
  replies_.push_back({request, {OperatorReply::Kind::kInteger, "", CountReports(node)}});
}

void EngineCore::On(uint64_t request, const SetSlotCommand& c) {
  if (!self_->record().primary() || !own_.primary_id().empty()) {
    return Fail(request, "ERR Please use SETSLOT only with masters.");
  }
  if (c.slot >= kSlots) return Fail(request, "ERR Invalid or out of range slot");
  bool mine = own_claims_[c.slot] && !closing_[c.slot];
  if (c.kind == SetSlotKind::kNode) return SetSlotToNode(request, c);
  if (c.kind == SetSlotKind::kStable) {
    migrating_.erase(c.slot);
    importing_.erase(c.slot);
  } else {
    bool out = c.kind == SetSlotKind::kMigrating;
    if (out && !mine) return Fail(request, absl::StrCat("ERR I'm not the owner of hash slot ", c.slot));
    if (!out && mine) return Fail(request, absl::StrCat("ERR I'm already the owner of hash slot ", c.slot));
    Node* node = table_.FindHex(c.id);
    if (node == nullptr) return Fail(request, absl::StrCat("ERR I don't know about node ", c.id));
    if (!node->record().primary()) return Fail(request, "ERR Target node is not a master");
    (out ? migrating_ : importing_)[c.slot] = node->id();
  }
  publish_ = true;
  WaitDurable(request);
}

void EngineCore::SetSlotToNode(uint64_t request, const SetSlotCommand& c) {
  Node* node = table_.FindHex(c.id);
  if (node == nullptr) return Fail(request, absl::StrCat("ERR Unknown node ", c.id));
  if (!node->record().primary()) return Fail(request, "ERR Target node is not a master");
  bool mine = own_claims_[c.slot] && !closing_[c.slot];
  if (mine && !node->self && c.keys_in_slot != 0) {
    return Fail(request, absl::StrCat("ERR Can't assign hashslot ", c.slot,
                                      " to a different node while I still hold keys for this hash slot."));
  }
  if (node->self && importing_.contains(c.slot) && HoldForClosing(request, c)) return;
  if (c.keys_in_slot == 0) migrating_.erase(c.slot);
  publish_ = true;
  if (node->self) {
    if (!mine) {
      own_claims_.set(c.slot);
      for (Closing& closing : closings_) closing.slots.reset(c.slot);
      closing_.reset(c.slot);
      SetOverride(c.slot, self_->id(), kAssignMs);
    }
    // The new epoch is what makes the others believe it.
    if (importing_.erase(c.slot) != 0) BumpEpoch();
    return WaitDurable(request);
  }
  SetOverride(c.slot, node->id(), kAssignMs);
  if (!mine) return WaitDurable(request);
  SlotSet slot;
  slot.set(c.slot);
  GiveUp(slot, {{request, "OK"}});
}

void EngineCore::On(uint64_t request, const AnnounceCommand& c) {
  if (!PlausibleIp(c.ip, true)) return Fail(request, absl::StrCat("ERR Invalid address: ", c.ip));
  if (!PlausibleHostname(c.hostname)) return Fail(request, absl::StrCat("ERR Invalid host name: ", c.hostname));
  if (!PlausibleName(c.name)) return Fail(request, absl::StrCat("ERR Invalid human node name: ", c.name));
  const bool freed = c.ip.empty() && own_.ip_fixed();
  const std::string ip = own_.ip();
  options_.ip = c.ip;
  options_.hostname = c.hostname;
  options_.name = c.name;
  options_.preferred_endpoint = c.preferred_endpoint;
  options_.port = c.port;
  options_.tls_port = c.tls_port;
  if (c.bus_port != 0) options_.bus_port = c.bus_port;
  SayOptions();
  if (freed) own_.set_ip(ip);  // until others say how they see us
  WaitDurable(request);
}

void EngineCore::On(uint64_t request, const SettingsCommand& c) {
  if (c.node_timeout_ms <= 0) return Fail(request, "ERR cluster-node-timeout must be positive");
  options_.node_timeout_ms = c.node_timeout_ms;
  options_.require_full_coverage = c.require_full_coverage;
  options_.replica_validity_factor = c.replica_validity_factor;
  options_.migration_barrier = c.migration_barrier;
  options_.allow_replica_migration = c.allow_replica_migration;
  check_state_ = lease_dirty_ = publish_ = true;
  next_sweep_ms_ = next_lease_look_ms_ = 0;
  for (const auto& node : table_.all()) Stir(node.get());
  if (options_.no_failover == c.no_failover) return Reply(request);
  own_.set_no_failover(options_.no_failover = c.no_failover);
  WaitDurable(request);
}

}  // namespace skein::bus
