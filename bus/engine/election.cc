// A replica whose primary has failed stands for election: it waits for its turn, asks, counts, and is promoted.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "bus/engine/core.h"

namespace skein::bus {
namespace {
// Each replica with more data has so much longer to be first.
int64_t RankStep(int64_t timeout) { return std::clamp<int64_t>(timeout / 8, 100, 1000); }
// Time for the siblings to say how much they have.
int64_t FirstDelay(int64_t timeout) { return std::clamp<int64_t>(timeout / 40, 10, 300); }
int64_t RetryDelay(int64_t timeout) { return std::clamp<int64_t>(timeout / 8, 50, 1000); }
// For how long votes are waited for.
int64_t VotingTime(int64_t timeout) { return std::clamp<int64_t>(timeout / 2, 500, 5000); }
bool Contains(const std::vector<NodeId>& ids, const NodeId& id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}
}  // namespace

std::string EngineCore::WhyNotStand(const Node& primary) const {
  if (own_.no_failover()) return "cluster-replica-no-failover is set";
  if (Voters(&primary) - 1 < Quorum(&primary)) {
    return absl::StrCat("without its primary ", Voters(&primary) - 1, " of ", Voters(&primary),
                        " voters are left, which is no majority");
  }
  if (data_age_ms_ < 0) return "its data is not complete";
  int64_t age = data_age_ms_ + now() - data_age_at_ms_ - timeout();
  int64_t limit = timeout() * options_.replica_validity_factor;
  if (limit > 0 && age > limit) return absl::StrCat("its data is ", age, " ms too old, allowed are ", limit);
  return "";
}

// How many siblings should come before us: those with more data and, with as much, those with smaller ids.
uint32_t EngineCore::Rank(const Node& primary) const {
  uint64_t offset = 0;
  for (uint64_t p : positions_) offset += p;
  uint32_t rank = 0;
  for (const auto& node : table_.all()) {
    if (node->self || node->record().primary_id != primary.id()) continue;
    if (node->fail || node->pfail || node->record().no_failover) continue;
    rank += node->offset > offset || (node->offset == offset && node->id() < self_->id());
  }
  return rank;
}

// Elections of different primaries at the same time must not want the same epoch: each takes the next one by the place
// of its primary among those that have failed.
uint64_t EngineCore::SpreadEpoch(const Node& primary) {
  uint64_t failed = 0, place = 0;
  for (const auto& node : table_.all()) {
    if (!node->fail || !node->owner()) continue;
    ++failed;
    place += node->id() < primary.id();
  }
  if (election_.attempts > 0 && failed > 1) place = random_.Below(2 * failed);
  return MaxEpoch() + 1 + place;
}

void EngineCore::TendElection() {
  if (self_->record().primary() || promote_epoch_ != 0) return;
  Election& e = election_;
  Node* primary = Primary();
  bool wanted = primary != nullptr && primary->owner() && (primary->fail || e.agreed || e.forced) &&
                (e.phase == Election::kNone || e.primary == primary->id());
  if (!wanted) {
    if (e.phase != Election::kNone) {
      Note(EventKind::kElection, "no longer standing for election: the primary is not failed, or another");
    }
    e = Election();
    why_not_stand_.clear();
    return;
  }
  if (e.phase == Election::kNone) {
    std::string why = WhyNotStand(*primary);
    if (why != why_not_stand_ && !why.empty()) {
      Note(EventKind::kElection, absl::StrCat("not standing for election to replace ", Name(*primary), ": ", why));
    }
    why_not_stand_ = std::move(why);
    if (!why_not_stand_.empty()) return;
    for (const auto& node : table_.all()) {
      if (!node->self && node->record().primary_id == primary->id() && !node->fail) Ping(node.get(), Tell::kAll);
    }
    e.phase = Election::kWaiting;
    e.primary = primary->id();
    e.rank = Rank(*primary);
    int64_t first = FirstDelay(timeout());
    e.at_ms = now() + first + static_cast<int64_t>(random_.Below(static_cast<uint64_t>(first) + 1)) +
              e.rank * RankStep(timeout());
  } else if (e.phase == Election::kWaiting) {
    if (uint32_t rank = Rank(*primary); rank != e.rank && e.attempts == 0) {
      e.at_ms += (static_cast<int64_t>(rank) - e.rank) * RankStep(timeout());
      e.rank = rank;
    }
    // As a voter it is bound by what it has said to others.
    const bool by_hand = e.agreed || e.forced;
    const bool bound =
        Decides(*self_, primary) &&
        (RecentlyVoted(primary->id(), self_->id()) ||
         (by_hand ? TrustsAnother(*self_, primary->record().claims, primary) : TooEarly(*primary, *self_)));
    if (now() < e.at_ms || bound) return;
    if (!by_hand && !WhyNotStand(*primary).empty()) {
      e = Election();
      return;
    }
    Stand(primary);
  } else if (e.phase == Election::kVoting && now() >= e.at_ms) {
    LostElection(absl::StrCat(e.granted.size(), " votes in time, ", Quorum(primary), " needed"));
  }
}

void EngineCore::Stand(Node* primary) {
  Election& e = election_;
  e.phase = Election::kSaving;
  e.primary = primary->id();
  e.granted.clear();
  e.refused.clear();
  e.claims.reset();
  for (uint32_t s = 0; s < kSlots; ++s) e.claims[s] = owner_[s] == primary->index;
  e.epoch = SpreadEpoch(*primary);
  e.primary_version = primary->record().version;
  current_epoch_ = e.epoch;
  ++stats_.elections_started;
  Note(EventKind::kElection,
       absl::StrCat("standing for election to replace ", Name(*primary), ": epoch ", e.epoch, ", rank ", e.rank));
  if (Decides(*self_, primary)) {
    RememberVote({e.epoch, self_->id(), primary->id(), now(), {}});
    e.granted.push_back(self_->id());
  }
  ask_epoch_ = e.epoch;
  own_dirty_ = publish_ = true;
}

// The epoch is on disk.
void EngineCore::AskForVotes(uint64_t epoch) {
  Election& e = election_;
  Node* primary = Primary();
  if (e.phase != Election::kSaving || e.epoch != epoch || primary == nullptr || primary->id() != e.primary) return;
  e.phase = Election::kVoting;
  e.asked_ms = now();
  e.at_ms = now() + VotingTime(timeout());
  auto m = std::make_shared<proto::BusMessage>();
  proto::VoteRequest* request = m->mutable_vote_request();
  request->set_epoch(epoch);
  request->set_primary(primary->record().bytes);
  WriteSlots(e.claims, request->mutable_claim());
  for (uint64_t p : positions_) request->add_positions(p);
  request->set_valid_ms(static_cast<uint32_t>(VotingTime(timeout())));
  request->set_agreed(e.agreed);
  request->set_forced(e.forced);
  for (const auto& node : table_.all()) {
    if (!node->self && Decides(*node, primary)) SendTo(*node, m);
  }
  CountVotes();
}

void EngineCore::OnVoteReply(Node* from, const proto::VoteReply& reply) {
  Election& e = election_;
  Node* primary = Primary();
  if (e.phase != Election::kVoting || reply.epoch() != e.epoch || now() >= e.at_ms || primary == nullptr ||
      !Decides(*from, primary) || Contains(e.granted, from->id()) || Contains(e.refused, from->id())) {
    ++stats_.votes_ignored;
    return;
  }
  if (!reply.granted()) {
    e.refused.push_back(from->id());
    if (Voters(primary) - e.refused.size() < Quorum(primary)) LostElection("too many refused");
    return;
  }
  e.granted.push_back(from->id());
  // It will not vote against us for a timeout from now on, so it has confirmed us as well.
  int64_t& confirmed = table_.confirmed_ms(*from);
  confirmed = std::max(confirmed, e.asked_ms);
  CountVotes();
}

void EngineCore::CountVotes() {
  Election& e = election_;
  Node* primary = Primary();
  if (primary == nullptr) return;
  // Others may decide by now than those who were asked.
  if (primary->record().version != e.primary_version) return LostElection("its primary's record has changed");
  if (e.granted.size() < Quorum(primary)) return;
  // Only by its own vote is the primary bound not to write again when its freeze has run out.
  if (e.agreed && !Contains(e.granted, primary->id())) return;
  if (e.agreed) Release(self_->record().shard_id, primary->id());
  if (e.forced) HoldWritesAfter(*primary);
  Win(e.epoch, e.claims, *primary, absl::StrCat("elected by ", e.granted.size(), " of ", Voters(primary), " voters"));
}

void EngineCore::LostElection(const std::string& why) {
  Election& e = election_;
  Note(EventKind::kElection, absl::StrCat("not elected with epoch ", e.epoch, ": ", why));
  e.phase = Election::kWaiting;
  ++e.attempts;
  int64_t wait = e.agreed ? 10 : RetryDelay(timeout());
  e.at_ms = now() + wait + static_cast<int64_t>(random_.Below(static_cast<uint64_t>(wait) + 1));
}

void EngineCore::Win(uint64_t epoch, const SlotSet& claims, const Node& primary, const std::string& why) {
  ++stats_.elections_won;
  predecessor_ = primary.id();
  seat_to_ = NodeId();
  own_claims_ = claims;  // may be the election's
  election_ = Election();
  why_not_stand_.clear();
  own_.clear_primary_id();
  InheritElectorate(primary);
  own_.set_config_epoch(std::max(own_.config_epoch(), epoch));  // an operator may have raised it
  own_.set_elected_epoch(epoch);
  current_epoch_ = std::max(current_epoch_, epoch);
  promote_epoch_ = epoch;
  promote_asked_ = 0;
  OwnChanged();
  owners_dirty_ = publish_ = true;
  Note(EventKind::kElection, absl::StrCat("takes the place of ", Name(primary), " with epoch ", epoch, ": ", why));
}

void EngineCore::OnPromoted(uint64_t epoch) {
  if (epoch == 0 || epoch != promote_epoch_ || held_own_ == nullptr) {
    ++stats_.late_events;
    return;
  }
  promote_epoch_ = promote_asked_ = 0;
  TakeDurable(std::move(held_own_));
  held_own_ = nullptr;
  state_dirty_ = true;
  push_to_all_ = confirm_now_ = true;
  // What its predecessor has confirmed as a voter may still count.
  established_ = false;
  promoted_ms_ = now();
  for (const auto& node : table_.all()) node->lasting = false;
  begun_ms_ = std::max(now(), hold_writes_until_ms_);
  Note(EventKind::kRole, absl::StrCat("primary since epoch ", epoch, ", ", own_claims_.count(), " slots"));
}

}  // namespace skein::bus
