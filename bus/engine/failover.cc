// Failover by hand. The replica asks its primary to freeze its writes, waits until it has all of them, and stands for
// an election that voters grant though the primary lives. Error texts are those of Redis 7.2.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "bus/engine/core.h"

namespace skein::bus {
namespace {
constexpr int64_t kHandOverMs = 5000;

uint64_t Sum(const std::vector<uint64_t>& positions) {
  uint64_t sum = 0;
  for (uint64_t p : positions) sum += p;
  return sum;
}
}  // namespace

void EngineCore::On(uint64_t request, const FailoverCommand& c) {
  if (own_.primary_id().empty()) return Fail(request, "ERR You should send CLUSTER FAILOVER to a replica");
  Node* primary = Primary();
  if (primary == nullptr) return Fail(request, "ERR I'm a replica but my master is unknown to me");
  bool agreed = c.kind == FailoverKind::kAgreed;
  if (agreed && (primary->fail || primary->link() == 0)) {
    return Fail(request, "ERR Master is down or failed, please use CLUSTER FAILOVER FORCE");
  }
  if (c.kind != FailoverKind::kTakeover && !primary->fail && !SuccessorCanWrite(*primary, agreed)) {
    return Fail(request,
                "ERR too few primaries are reachable to confirm another one: wait until they are back, or the slots of "
                "this primary could not be written");
  }
  if (promote_epoch_ != 0) return Reply(request);  // on its way already
  election_ = Election();
  by_hand_ = ByHand();
  if (agreed) {
    AskToFreeze(primary);
    return Reply(request);
  }
  Note(EventKind::kRole,
       absl::StrCat("takes over from ", Name(*primary), " without its agreement: an operator's word"));
  if (c.kind == FailoverKind::kForce) {
    by_hand_.primary = primary->id();
    by_hand_.until_ms = now() + kHandOverMs;
    StandByHand(*primary, /*agreed=*/false);
    return Reply(request);
  }
  SlotSet claims;
  for (uint32_t s = 0; s < kSlots; ++s) claims[s] = owner_[s] == primary->index;
  HoldWritesAfter(*primary);
  const NodeId gone = primary->id();
  Win(MaxEpoch() + 1, claims, *primary, "CLUSTER FAILOVER TAKEOVER");
  LeaveElectorates(gone);  // an operator has not waited for it, so neither do we
  WaitDurable(request);
}

// At once, unless it has voted for another.
void EngineCore::StandByHand(const Node& primary, bool agreed) {
  election_ = Election();
  election_.phase = Election::kWaiting;
  election_.primary = primary.id();
  election_.rank = Rank(primary);
  election_.agreed = agreed;
  election_.forced = !agreed;
  election_.at_ms = now();
  TendElection();
}

// A successor is confirmed by as many others as elect one, until it is established. If its primary agrees and yields
// its own place, one less will do.
bool EngineCore::SuccessorCanWrite(const Node& primary, bool yields) const {
  if (primary.record().own_electorate) return true;
  uint32_t others = yields ? 1 : 0;
  for (const auto& node : table_.all())
    others += node.get() != &primary && !node->fail && !node->pfail && Decides(*node, &primary);
  return Voters(&primary) <= kFewOwners || others >= Quorum(&primary);
}

// Nobody has asked the primary to stop, and it may write until it hears of us or of nobody.
void EngineCore::HoldWritesAfter(const Node& primary) {
  replaced_ = primary.id();
  hold_writes_until_ms_ = primary.fail ? 0 : now() + timeout();
}

void EngineCore::AskToFreeze(Node* primary) {
  by_hand_ = ByHand();
  by_hand_.primary = primary->id();
  by_hand_.token = random_.Next() | 1;
  by_hand_.until_ms = now() + kHandOverMs;
  SendHandOver(*primary, proto::HAND_OVER_FREEZE, by_hand_.token);
  Note(EventKind::kRole, absl::StrCat("asks ", Name(*primary), " to hand over"));
}

void EngineCore::SendHandOver(const Node& to, int step, uint64_t token) {
  auto m = std::make_shared<proto::BusMessage>();
  m->mutable_hand_over()->set_step(static_cast<proto::HandOverStep>(step));
  m->mutable_hand_over()->set_token(token);
  if (step == proto::HAND_OVER_FROZEN) {
    for (uint64_t p : positions_) m->mutable_hand_over()->add_positions(p);
  }
  SendTo(to, std::move(m));
}

// A primary that is about to stop: its best replica begins, as if an operator had told it to.
void EngineCore::On(uint64_t request, const HandOverCommand&) {
  if (!self_->owner() || !self_->record().primary()) return Fail(request, "ERR this node has no slots to hand over");
  if (hand_over_.request != 0) return Fail(request, "ERR a hand-over is under way");
  Node* best = nullptr;
  for (const auto& node : table_.all()) {
    if (node->record().primary_id != self_->id() || node->fail || node->pfail || node->link() == 0) continue;
    if (node->record().no_failover) continue;
    if (best == nullptr || node->offset > best->offset) best = node.get();
  }
  if (best == nullptr) return Fail(request, "ERR no replica can take over");
  if (!SuccessorCanWrite(*self_, established_))
    return Fail(request, "ERR too few primaries are reachable to confirm another one");
  hand_over_ = {request, now() + kHandOverMs, best->id(), false};
  SendHandOver(*best, proto::HAND_OVER_STAND, 0);
  Note(EventKind::kRole, absl::StrCat("hands over to ", Name(*best)));
}

void EngineCore::OnHandOver(Node* from, const proto::HandOver& m) {
  Node* primary = Primary();
  if (m.positions_size() > static_cast<int>(kMaxPositions)) {
    ++stats_.messages_refused;
    return;
  }
  switch (m.step()) {
    case proto::HAND_OVER_STAND:
      if (from != primary || promote_epoch_ != 0 || by_hand_.until_ms != 0) break;
      election_ = Election();
      return AskToFreeze(primary);
    case proto::HAND_OVER_FREEZE:
      return FreezeFor(from, m.token());
    case proto::HAND_OVER_FROZEN:
      if (from != primary || by_hand_.until_ms == 0 || m.token() != by_hand_.token) break;
      by_hand_.frozen = true;
      by_hand_.target.assign(m.positions().begin(), m.positions().end());
      return;
    case proto::HAND_OVER_REFUSED:
      if (from != primary || by_hand_.until_ms == 0 || m.token() != by_hand_.token) break;
      Note(EventKind::kRole, absl::StrCat(Name(*from), " does not hand over"));
      by_hand_ = ByHand();
      return;
    case proto::HAND_OVER_SETTLED:
      hand_over_.settled |= from->id() == hand_over_.to;
      return;
    default:
      break;
  }
  ++stats_.messages_refused;
}

void EngineCore::FreezeFor(Node* replica, uint64_t token) {
  bool other = freeze_.until_ms != 0 && freeze_.replica != replica->id();
  if (!self_->owner() || replica->record().primary_id != self_->id() || promote_epoch_ != 0 || other || token == 0 ||
      !SuccessorCanWrite(*self_, established_)) {
    return SendHandOver(*replica, proto::HAND_OVER_REFUSED, token);
  }
  bool again = freeze_.until_ms != 0;
  freeze_.replica = replica->id();
  freeze_.token = token;
  if (again) {
    if (freeze_.frozen) SendHandOver(*replica, proto::HAND_OVER_FROZEN, token);
    return;
  }
  freeze_.until_ms = now() + kHandOverMs;
  freeze_.frozen = false;
  out_->push_back(FreezeWritesEffect{freeze_.until_ms});
  Note(EventKind::kRole, absl::StrCat("writes are frozen: ", Name(*replica), " takes over"));
}

void EngineCore::Frozen() {
  if (freeze_.until_ms == 0 || freeze_.frozen || now() >= freeze_.until_ms) return;
  freeze_.frozen = true;
  if (Node* replica = table_.Find(freeze_.replica); replica != nullptr) {
    SendHandOver(*replica, proto::HAND_OVER_FROZEN, freeze_.token);
  }
}

bool EngineCore::HasAllWrites() const {
  if (!by_hand_.frozen || data_age_ms_ < 0) return false;
  if (positions_.size() != by_hand_.target.size()) return Sum(positions_) >= Sum(by_hand_.target);
  for (size_t i = 0; i < positions_.size(); ++i) {
    if (positions_[i] < by_hand_.target[i]) return false;
  }
  return true;
}

void EngineCore::TendHandOver() {
  if (by_hand_.until_ms != 0) {
    Node* primary = Primary();
    if (primary == nullptr || primary->id() != by_hand_.primary || promote_epoch_ != 0) {
      by_hand_ = ByHand();
    } else if (now() >= by_hand_.until_ms) {
      Note(EventKind::kRole, "failover by hand not done in time: given up");
      by_hand_ = ByHand();
      election_ = Election();
    } else if (HasAllWrites() && election_.phase == Election::kNone) {
      StandByHand(*primary, /*agreed=*/true);
    }
  }
  bool primary = own_.primary_id().empty() && own_claims_.any();
  if (freeze_.until_ms != 0 && (!primary || now() >= freeze_.until_ms)) {
    // Without slots there is nothing to be frozen; and it must not outlive a way back.
    out_->push_back(FreezeWritesEffect{0});
    if (primary) Note(EventKind::kRole, "writes go on: nobody has taken over in time");
    freeze_ = Freeze();
  }
  if (hand_over_.request != 0) {
    const Node* to = table_.Find(hand_over_.to);
    const bool over = now() >= hand_over_.until_ms;
    if (!self_->record().primary()) {
      // It may need to hear that this node yields its place: nobody else could say so when this one has stopped.
      bool needed = to != nullptr && to->link() != 0 && self_->record().primary_id == to->id();
      if (hand_over_.settled || !needed || over) {
        Reply(hand_over_.request);
        hand_over_ = {};
      }
    } else if (!own_.primary_id().empty() && !over) {
      // Not yet durable.
    } else if (to == nullptr || to->link() == 0) {
      // It is stopping as well, say: when all are, nobody waits for anybody.
      Fail(hand_over_.request, "ERR the replica that was to take over has gone");
      hand_over_ = {};
    } else if (over) {
      Fail(hand_over_.request, "ERR no replica has taken over in time");
      hand_over_ = {};
    }
  }
}

}  // namespace skein::bus
