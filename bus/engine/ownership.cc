#include <algorithm>

#include "absl/strings/str_cat.h"
#include "bus/engine/core.h"

namespace skein::bus {

// The owner of a slot is the primary that claims it with the highest epoch; between equal epochs the smaller id, which
// is also the one that takes a new epoch then (ResolveCollision), so its claim stands in the end too. The same records
// give the same owners everywhere.
void EngineCore::RebuildOwners() {
  owners_dirty_ = false;
  std::vector<uint16_t> before = owner_;
  std::fill(owner_.begin(), owner_.end(), kNobody);
  std::vector<const Node*> claimants;  // the one that wins comes last
  for (const auto& node : table_.all()) {
    if (!node->self && node->record().primary() && !node->record().claims.empty()) claimants.push_back(node.get());
  }
  auto before_in_rank = [](const Record& a, const Record& b) {
    return a.config_epoch != b.config_epoch ? a.config_epoch < b.config_epoch : b.id < a.id;
  };
  std::sort(claimants.begin(), claimants.end(),
            [&](const Node* a, const Node* b) { return before_in_rank(a->record(), b->record()); });
  for (const Node* node : claimants) {
    for (SlotRange r : node->record().claims) std::fill(&owner_[r.first], &owner_[r.last] + 1, node->index);
  }
  // Calls with each run of slots of `mine` that one other node has, and that node.
  auto contested = [&](const SlotSet& mine, auto&& call) {
    for (SlotRange r : ToRanges(mine)) {
      for (uint32_t s = r.first, end; s <= r.last; s = end) {
        end = std::min<uint32_t>(RunEnd(owner_.data(), s), r.last + 1u);
        call(s, end, owner_[s] == kNobody ? nullptr : table_.At(owner_[s]));
      }
    }
  };
  SlotSet lost;
  // A claim of ours counts against others with the epoch that we are about to have.
  const uint64_t own_epoch = own_.config_epoch();
  contested(own_claims_ & ~closing_, [&](uint32_t first, uint32_t end, const Node* other) {
    if (other == nullptr) return;
    const Record& r = other->record();
    if (r.config_epoch > own_epoch || (r.config_epoch == own_epoch && r.id < self_->id())) {
      SetRange(&lost, first, end - 1);
    }
  });
  if (self_->record().primary()) {
    contested(OpenClaims(), [&](uint32_t first, uint32_t end, const Node* other) {
      if (other != nullptr && before_in_rank(self_->record(), other->record())) return;
      std::fill(owner_.begin() + first, owner_.begin() + end, self_->index);
    });
  }
  ApplyOverrides();
  for (const auto& [slot, o] : overrides_) {
    if (o.target == self_->id()) lost.reset(slot);
  }
  for (const auto& node : table_.all()) node->owned = 0;
  unassigned_ = 0;
  for (uint32_t s = 0, end; s < kSlots; s = end) {
    end = RunEnd(owner_.data(), s);
    (owner_[s] == kNobody ? unassigned_ : table_.At(owner_[s])->owned) += end - s;
  }
  CountElectors();
  if (owner_ != before) publish_ = true;
  lease_dirty_ = check_state_ = groups_changed_ = true;
  if (lost.any()) {
    Note(EventKind::kSlots, absl::StrCat(lost.count(), " slots go to nodes that claim them with a higher epoch"));
    stand_down_ |= (own_claims_ & ~closing_ & ~lost).none() && GroupOwner() != nullptr;
    GiveUp(lost, {});
  }
}

void EngineCore::ApplyOverrides() {
  if (overrides_.empty()) return;
  const SlotSet open = OpenClaims();
  bool outdone = false;
  for (auto it = overrides_.begin(); it != overrides_.end();) {
    const auto& [slot, o] = *it;
    Node* winner = owner_[slot] == kNobody ? nullptr : table_.At(owner_[slot]);
    Node* target = o.target.empty() ? nullptr : table_.Find(o.target);
    const uint64_t epoch = winner == nullptr ? 0 : winner->record().config_epoch;
    bool newer = winner != nullptr && winner != target && epoch > o.epoch;
    bool gone = !o.target.empty() && target == nullptr;
    if (newer && target != nullptr && target->self && own_claims_[slot] && !closing_[slot] && now() < o.until_ms) {
      // The giver's epoch rose, but its claim is the one that the operator's word ended (a new claim would have ended
      // that word). Giving way would leave the slot to nobody once the giver hears of the move.
      outdone |= own_.config_epoch() <= epoch;
      ++it;
      continue;
    }
    if (now() >= o.until_ms || newer || gone) {
      it = overrides_.erase(it);
      continue;
    }
    if (target == nullptr) {
      owner_[slot] = kNobody;
    } else if (!target->self || open[slot]) {
      owner_[slot] = target->index;
    }  // else ours but not yet durable: until then whoever has it
    ++it;
  }
  if (outdone && closing_.none())
    SetConfigEpoch(MaxEpoch() + 1, "the giver of a slot that moved here has raised its own");
}

void EngineCore::SetOverride(uint16_t slot, const NodeId& target, int64_t ms) {
  overrides_[slot] = {target, MaxEpoch(), now() + ms};
  owners_dirty_ = publish_ = true;
}

// A claim that comes after the operator's word is newer than it.
void EngineCore::DropOverrides(const Node& node, const std::vector<SlotRange>& claims) {
  if (overrides_.empty()) return;
  SlotSet fresh = ToSet(claims) & ~ToSet(node.record().claims);
  owners_dirty_ |=
      std::erase_if(overrides_, [&](const auto& o) { return fresh[o.first] && o.second.target != node.id(); }) != 0;
}

// Closes the slots here at once; they leave our record when the data plane has let go of them.
void EngineCore::GiveUp(const SlotSet& slots, std::vector<Waiting> waiting) {
  closing_ |= slots;
  closings_.push_back({slots, 0, std::move(waiting)});
  owners_dirty_ = publish_ = urgent_ = true;
}

void EngineCore::OnFenced(uint64_t version) {
  bool any = false;
  while (!closings_.empty() && closings_.front().version != 0 && closings_.front().version <= version) {
    own_claims_ &= ~closings_.front().slots;
    for (Waiting& w : closings_.front().waiting) wait_next_persist_.push_back(std::move(w));
    closings_.pop_front();
    any = true;
  }
  if (!any) return;
  closing_.reset();
  for (const Closing& c : closings_) closing_ |= c.slots;
  owners_dirty_ = true;
  OwnChanged();
  if (stand_down_ && own_claims_.none()) StandDown();
  RunHeld();
}

bool EngineCore::HoldForClosing(uint64_t request, OperatorCommand command) {
  if (closing_.none()) return false;
  held_.push_back({request, std::move(command)});
  return true;
}

void EngineCore::RunHeld() {
  if (closing_.any() || held_.empty()) return;
  std::vector<OperatorEvent> held = std::move(held_);
  held_.clear();
  for (const OperatorEvent& event : held) OnOperator(event);
}

uint64_t EngineCore::MaxEpoch() const {
  uint64_t max = std::max(current_epoch_, own_.config_epoch());
  for (const auto& node : table_.all()) max = std::max(max, node->record().config_epoch);
  return max;
}

void EngineCore::SetConfigEpoch(uint64_t epoch, const std::string& why) {
  own_.set_config_epoch(epoch);
  current_epoch_ = std::max(current_epoch_, epoch);
  OwnChanged();
  owners_dirty_ = publish_ = true;
  Note(EventKind::kEpoch, absl::StrCat("config epoch set to ", epoch, ": ", why));
}

bool EngineCore::BumpEpoch() {
  uint64_t max = MaxEpoch();
  if (own_.config_epoch() != 0 && own_.config_epoch() == max) return false;
  SetConfigEpoch(max + 1, "bumped by an operator");
  return true;
}

// Owners of slots must have epochs of their own. Of those that share one, the greatest id keeps it; the others move up,
// each by its rank, so that all who see the same collision choose different epochs at once.
void EngineCore::ResolveCollision() {
  uint64_t epoch = self_->record().config_epoch;
  if (!self_->record().primary() || own_claims_.none() || closing_.any() || !started() ||
      own_.config_epoch() != epoch) {
    return;
  }
  uint64_t above = 0;
  for (const auto& node : table_.all()) {
    above += !node->self && node->record().primary() && node->record().config_epoch == epoch &&
             !node->record().claims.empty() && self_->id() < node->id();
  }
  if (above == 0) return;
  SetConfigEpoch(MaxEpoch() + above, absl::StrCat("collision on epoch ", epoch));
}

}  // namespace skein::bus
