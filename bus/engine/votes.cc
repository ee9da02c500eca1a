// What a voter grants, and why it refuses.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "bus/engine/core.h"

namespace skein::bus {

void EngineCore::OnVoteRequest(Node* from, const proto::VoteRequest& request) {
  absl::StatusOr<Record> primary = ReadRecord(request.primary());
  AskedVote asked;
  if (!primary.ok() || request.epoch() == 0 || request.positions_size() > static_cast<int>(kMaxPositions) ||
      !ReadSlots(request.claim(), &asked.claims) || asked.claims.empty()) {
    ++stats_.messages_refused;
    return RefuseVote(from->id(), request.epoch(), proto::VOTE_REFUSAL_MALFORMED);
  }
  if (!EpochPlausible(request.epoch())) {
    return RefuseVote(from->id(), request.epoch(), proto::VOTE_REFUSAL_MALFORMED);
  }
  asked.candidate = from->id();
  asked.primary = primary->id;
  asked.primary_version = primary->version;
  asked.epoch = request.epoch();
  asked.offset = 0;
  for (uint64_t p : request.positions()) asked.offset += p;
  from->offset = asked.offset;
  asked.agreed = request.agreed();
  asked.forced = request.forced();
  asked.valid_ms = static_cast<uint32_t>(std::clamp<int64_t>(request.valid_ms(), 0, 2 * timeout()));
  asked.until_ms = now() + asked.valid_ms;
  TakeRecord(request.primary(), from);
  if (owners_dirty_) RebuildOwners();
  if (asked.epoch > current_epoch_) {
    current_epoch_ = asked.epoch;
    state_dirty_ = publish_ = true;
  }
  bool wait = false;
  proto::VoteRefusal why = Judge(asked, &wait);
  std::erase_if(asked_, [&](const AskedVote& a) { return a.candidate == asked.candidate; });
  if (why == proto::VOTE_REFUSAL_NONE) return GrantVote(asked);
  if (!wait || asked_.size() >= kMaxAskedVotes) return RefuseVote(asked.candidate, asked.epoch, why);
  asked_.push_back(std::move(asked));
}

// `wait`: it may yet be granted, when this node sees what the candidate sees.
proto::VoteRefusal EngineCore::Judge(const AskedVote& asked, bool* wait) {
  Node* primary = table_.Find(asked.primary);
  Node* candidate = table_.Find(asked.candidate);
  if (primary == nullptr || !primary->owner()) return proto::VOTE_REFUSAL_UNKNOWN_PRIMARY;
  if (!Decides(*self_, primary)) return proto::VOTE_REFUSAL_NOT_A_VOTER;
  if (candidate == nullptr || candidate->record().primary_id != asked.primary)
    return proto::VOTE_REFUSAL_NOT_ITS_REPLICA;
  if (primary->record().version > asked.primary_version) {
    SendRecords(*candidate, {primary});
    return proto::VOTE_REFUSAL_STALE;
  }
  for (SlotRange range : asked.claims) {
    for (uint32_t s = range.first; s <= range.last; ++s) {
      Node* owner = owner_[s] == kNobody ? nullptr : table_.At(owner_[s]);
      if (owner == nullptr || owner == primary || owner->record().config_epoch <= primary->record().config_epoch)
        continue;
      SendRecords(*candidate, {owner});
      return proto::VOTE_REFUSAL_STALE;
    }
  }
  if (asked.epoch <= primary->record().config_epoch || asked.epoch <= vote_floor_) return proto::VOTE_REFUSAL_OLD_EPOCH;
  for (const CastVote& vote : votes_) {
    if (vote.epoch == asked.epoch) return proto::VOTE_REFUSAL_ALREADY_VOTED;
  }
  if (RecentlyVoted(asked.primary, asked.candidate)) return proto::VOTE_REFUSAL_RECENTLY_VOTED;
  if (primary->self && !(asked.agreed && freeze_.frozen && freeze_.replica == asked.candidate)) {
    return proto::VOTE_REFUSAL_PRIMARY_ALIVE;
  }
  if (asked.agreed || asked.forced) {
    if (NoMandate(*primary)) return proto::VOTE_REFUSAL_NOT_A_VOTER;
    const bool trusts = TrustsAnother(*candidate, primary->record().claims, primary);
    return trusts ? proto::VOTE_REFUSAL_RECENTLY_VOTED : proto::VOTE_REFUSAL_NONE;
  }
  if (TooEarly(*primary, *candidate)) {
    *wait = true;
    return proto::VOTE_REFUSAL_PRIMARY_ALIVE;
  }
  uint64_t offset = 0;
  for (uint64_t p : positions_) offset += p;
  if (Primary() == primary && offset > asked.offset && WhyNotStand(*primary).empty()) return proto::VOTE_REFUSAL_BEHIND;
  return proto::VOTE_REFUSAL_NONE;
}

bool EngineCore::RecentlyVoted(const NodeId& primary, const NodeId& candidate) const {
  return std::any_of(votes_.begin(), votes_.end(), [&](const CastVote& vote) {
    return vote.primary == primary && vote.candidate != candidate && now() <= vote.until_ms;
  });
}

// What any other of the group may still write on our word must have run out.
bool EngineCore::TooEarly(const Node& primary, const Node& candidate) const {
  return !primary.fail || now() < begun_ms_ + timeout() || NoMandate(primary) ||
         TrustsAnother(candidate, primary.record().claims);
}

bool EngineCore::TrustsAnother(const Node& node, const std::vector<SlotRange>& slots, const Node* but) const {
  const NodeId& group = node.record().shard_id;
  if (!node.self && !(but != nullptr && but->self) && own_.shard_id() == group.bytes()) {
    bool standing = election_.phase == Election::kSaving || election_.phase == Election::kVoting;
    SlotSet ours = standing ? own_claims_ | election_.claims : own_claims_;
    if (ours.any() && (ours & ToSet(slots)).any()) return true;
  }
  auto it = grants_.find(group);
  if (it == grants_.end()) return false;
  return std::any_of(it->second.begin(), it->second.end(), [&](const Grant& grant) {
    if (grant.to == node.id() || now() >= grant.at_ms + timeout() || GaveWay(grant)) return false;
    if (but != nullptr && grant.to == but->id()) return false;
    const Node* other = table_.Find(grant.to);
    return Overlap(slots, grant.epoch > other->record().elected_epoch ? grant.claims : other->record().claims);
  });
}

void EngineCore::Release(const NodeId& group, const NodeId& node) {
  const auto it = grants_.find(group);
  if (it == grants_.end()) return;
  Grants& grants = it->second;
  grants.erase(std::remove_if(grants.begin(), grants.end(), [&](const Grant& grant) { return grant.to == node; }),
               grants.end());
  if (grants.empty()) grants_.erase(it);
}

// Whoever has won with its primary's agreement has that one's vote, which binds it.
void EngineCore::ReleaseReplaced(const Node& winner) {
  for (const CastVote& vote : votes_) {
    if (vote.agreed && vote.candidate == winner.id() && winner.record().elected_epoch == vote.epoch) {
      Release(winner.record().shard_id, vote.primary);
    }
  }
}

void EngineCore::Trust(const Node& node, Grant grant) {
  Grants& grants = grants_[node.record().shard_id];
  if (grants.size() == 1 && grants[0].to == grant.to) {
    grants[0] = std::move(grant);
    return;
  }
  const auto over = [&](const Grant& g) { return g.to == grant.to || now() >= g.at_ms + timeout() || GaveWay(g); };
  grants.erase(std::remove_if(grants.begin(), grants.end(), over), grants.end());
  grants.push_back(std::move(grant));
}

// Whether the candidate has not won that election and never will, or has won and lost since. It says so itself: how
// long ago it was asked proves nothing, for what it says may come late.
bool EngineCore::Lost(const Node& candidate, uint64_t epoch) const {
  return candidate.decided_epoch >= epoch &&
         !(candidate.record().primary() && candidate.record().elected_epoch >= epoch);
}

uint64_t EngineCore::DecidedEpoch() const {
  uint64_t open = promote_epoch_ != 0 ? promote_epoch_ : promoting_on_disk_;
  for (const PendingPersist& p : persists_) open = std::max(open, p.promote_epoch);
  if (open == 0 && (election_.phase == Election::kSaving || election_.phase == Election::kVoting)) {
    open = election_.epoch;
  }
  return open == 0 ? durable_epoch_ : std::min(durable_epoch_, open - 1);
}

// It has not won, or has won and given up all that it had won since.
bool EngineCore::GaveWay(const Grant& grant) const {
  const Node* node = table_.Find(grant.to);
  if (node == nullptr || node->self) return true;  // what this node itself does is known
  if (grant.epoch > node->record().elected_epoch) return Lost(*node, grant.epoch);
  return !node->record().primary() || node->record().claims.empty();
}

// One vote an epoch, also after a restart: it is sent when it is on disk.
void EngineCore::GrantVote(const AskedVote& asked) {
  RememberVote({asked.epoch, asked.candidate, asked.primary, now() + asked.valid_ms, asked.claims, asked.agreed});
  unsent_votes_.emplace_back(asked.candidate, asked.epoch);
  vote_dirty_ = lease_dirty_ = true;
  Node* candidate = table_.Find(asked.candidate);
  Trust(*candidate, {asked.candidate, now(), asked.epoch, asked.claims});
  Note(EventKind::kElection, absl::StrCat("vote for ", Name(*candidate), " in epoch ", asked.epoch));
}

void EngineCore::RememberVote(CastVote vote) {
  last_vote_epoch_ = std::max(last_vote_epoch_, vote.epoch);
  ++rivals_version_;
  votes_.push_back(std::move(vote));
  while (votes_.size() > kMaxVotes) {
    vote_floor_ = std::max(vote_floor_, votes_.front().epoch);
    votes_.pop_front();
  }
}

void EngineCore::SendVote(const NodeId& id, uint64_t epoch) {
  Node* candidate = table_.Find(id);
  if (candidate == nullptr) return;
  ++stats_.votes_given;
  auto m = std::make_shared<proto::BusMessage>();
  m->mutable_vote_reply()->set_epoch(epoch);
  m->mutable_vote_reply()->set_granted(true);
  SendTo(*candidate, std::move(m));
}

void EngineCore::RefuseVote(const NodeId& id, uint64_t epoch, proto::VoteRefusal why) {
  ++stats_.votes_refused[std::min<size_t>(why, kVoteRefusals - 1)];
  Node* candidate = table_.Find(id);
  if (candidate == nullptr) return;
  auto m = std::make_shared<proto::BusMessage>();
  m->mutable_vote_reply()->set_epoch(epoch);
  m->mutable_vote_reply()->set_refusal(why);
  SendTo(*candidate, std::move(m));
}

// Those who asked before this node saw what they saw.
void EngineCore::RecheckAsked() {
  for (size_t i = 0; i < asked_.size();) {
    const AskedVote& asked = asked_[i];
    Node* primary = table_.Find(asked.primary);
    Node* candidate = table_.Find(asked.candidate);
    bool over = now() >= asked.until_ms || primary == nullptr || candidate == nullptr;
    if (!over && TooEarly(*primary, *candidate)) {
      ++i;
      continue;
    }
    AskedVote ready = std::move(asked_[i]);
    asked_.erase(asked_.begin() + static_cast<std::ptrdiff_t>(i));
    if (over) {
      RefuseVote(ready.candidate, ready.epoch, proto::VOTE_REFUSAL_PRIMARY_ALIVE);
      continue;
    }
    bool wait = false;
    proto::VoteRefusal why = Judge(ready, &wait);
    if (why == proto::VOTE_REFUSAL_NONE) {
      GrantVote(ready);
    } else {
      RefuseVote(ready.candidate, ready.epoch, why);
    }
  }
}

}  // namespace skein::bus
