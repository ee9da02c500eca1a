// Whom this node follows: CLUSTER REPLICATE, a primary that was replaced, a primary that stands down.
#include "absl/strings/str_cat.h"
#include "bus/engine/core.h"

namespace skein::bus {

void EngineCore::On(uint64_t request, const ReplicateCommand& c) {
  Node* node = table_.FindHex(c.id);
  if (node == nullptr) return Fail(request, absl::StrCat("ERR Unknown node ", c.id));
  if (node->self) return Fail(request, "ERR Can't replicate myself");
  if (!node->record().primary()) return Fail(request, "ERR I can only replicate a master, not a replica.");
  if (own_.primary_id().empty() && (own_claims_.any() || self_->owned != 0 || c.has_keys)) {
    return Fail(request, "ERR To set a master the node must be empty and without assigned slots.");
  }
  if (own_.primary_id() != node->id().bytes()) Follow(node, "CLUSTER REPLICATE");
  WaitDurable(request);
}

Node* EngineCore::Primary() const { return started() ? table_.PrimaryOf(*self_) : nullptr; }

void EngineCore::Follow(Node* primary, const std::string& why) {
  own_.set_primary_id(primary->id().Bytes());
  own_.set_shard_id(primary->record().shard_id.Bytes());
  own_.set_own_electorate(false);
  own_.clear_witnesses();
  migrating_.clear();
  importing_.clear();
  election_ = Election();
  promote_epoch_ = promote_asked_ = 0;
  held_own_ = nullptr;
  past_.clear();
  stand_down_ = false;
  data_age_ms_ = -1;  // until the data plane says otherwise
  for (const auto& node : table_.all()) table_.confirmed_ms(*node) = table_.agreed_ms(*node) = 0;
  OwnChanged();
  publish_ = urgent_ = true;
  Note(EventKind::kRole, absl::StrCat("replica of ", Name(*primary), ": ", why));
}

Node* EngineCore::GroupOwner() const {
  Node* best = nullptr;
  for (const auto& node : table_.all()) {
    if (node->self || !node->owner() || node->record().shard_id.bytes() != own_.shard_id()) continue;
    if (best == nullptr || node->record().config_epoch > best->record().config_epoch) best = node.get();
  }
  return best;
}

// All slots are gone to others, one of them of our group: it has taken our place.
void EngineCore::StandDown() {
  stand_down_ = false;
  Node* owner = GroupOwner();
  if (owner == nullptr) return;
  // A place that was not yet its own is not its to give.
  if (predecessor_.empty()) seat_to_ = self_->id();
  Follow(owner, absl::StrCat("it has taken over with epoch ", owner->record().config_epoch));
}

// A replica stays with its group: it follows whoever took its primary's place, and never another replica.
void EngineCore::TendRole() {
  Node* primary = Primary();
  if (primary == nullptr || promote_epoch_ != 0 || own_.primary_id() != primary->id().bytes()) return;
  if (!primary->record().primary()) {
    Node* next = table_.PrimaryOf(*primary);
    if (next != nullptr && !next->self && next->record().primary()) {
      Follow(next, absl::StrCat("its primary ", Name(*primary), " is a replica of it"));
    }
    return;
  }
  if (primary->owned == 0 && !primary->record().claims.empty()) {
    if (Node* owner = GroupOwner(); owner != nullptr && owner != primary) {
      return Follow(owner, absl::StrCat("it has taken over from ", Name(*primary)));
    }
  }
  if (own_.shard_id() != primary->record().shard_id.bytes()) {
    own_.set_shard_id(primary->record().shard_id.Bytes());
    OwnChanged();
  }
}

}  // namespace skein::bus
