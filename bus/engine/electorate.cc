// Who decides about whom: bus/ELECTIONS.md has the argument.
#include <algorithm>

#include "bus/engine/core.h"
#include "glog/logging.h"

namespace skein::bus {

// The primary whose electorate decides what `node` may do; null: there is none, so all electors are asked.
const Node* EngineCore::BallotOf(const Node& node) const {
  if (node.owner()) return &node;
  Node* primary = table_.PrimaryOf(node);
  return primary != nullptr && primary->owner() ? primary : nullptr;
}

bool EngineCore::Decides(const Node& voter, const Node* ballot) const {
  if (ballot == nullptr) return voter.elector;
  const Record& r = ballot->record();
  if (!r.own_electorate) return voter.owner();
  return voter.id() == r.id || std::find(r.witnesses.begin(), r.witnesses.end(), voter.id()) != r.witnesses.end();
}

uint32_t EngineCore::Voters(const Node* ballot) const {
  if (ballot == nullptr) return voters_;
  const Record& r = ballot->record();
  return r.own_electorate ? 1 + static_cast<uint32_t>(r.witnesses.size()) : owners_;
}

void EngineCore::CountElectors() {
  owners_ = voters_ = 0;
  for (const auto& node : table_.all()) {
    node->elector = node->owner();
    owners_ += node->owner();
  }
  if (owners_ <= kFewOwners) {
    for (const auto& node : table_.all()) {
      if (!node->owner() || !node->record().own_electorate) continue;
      for (const NodeId& id : node->record().witnesses) {
        if (Node* witness = table_.Find(id); witness != nullptr) witness->elector = true;
      }
    }
  }
  own_voters_.clear();
  const Node* ballot = BallotOf(*self_);
  for (const auto& node : table_.all()) {
    voters_ += node->elector;
    if (node->self) continue;
    if (!Decides(*node, ballot)) continue;
    own_voters_.push_back(node->index);
  }
}

// With one or two owners of slots, three nodes decide: the owners and as many replicas as are missing. What is not
// possible (too few replicas) leaves the owner alone with itself: nobody can replace it, so it needs nobody's word.
// Larger clusters need no witnesses. A former electorate is obeyed until too few believe in it to act on it.
void EngineCore::TendElectorate() {
  std::erase_if(past_, [&](const PastElectorate& past) {
    uint32_t unaware = 0;
    for (const NodeId& id : past.others) {
      Node* node = table_.Find(id);
      unaware += node == nullptr || node->knows_version < past.until_version;
    }
    // Without this node: who has not heard of its win believes in the electorate of the one it has replaced.
    bool over = unaware < past.others.size() / 2 + 1 && durable_own_ != nullptr &&
                durable_own_->version() >= past.until_version;
    if (over) lease_dirty_ = state_dirty_ = true;
    return over;
  });
  if (!self_->owner() || promote_epoch_ != 0 || !own_.primary_id().empty()) return;
  bool own = owners_ <= kFewOwners;
  std::vector<NodeId> witnesses;
  if (own) {
    std::vector<NodeId> free;  // replicas, those that are witnesses already first
    size_t replicas = 0;
    for (bool already : {true, false}) {
      for (const auto& node : table_.all()) {
        if (node->self) continue;
        if (already && node->owner()) witnesses.push_back(node->id());
        Node* primary = table_.PrimaryOf(*node);
        if (primary == nullptr || !primary->owner() || node->fail) continue;
        replicas += already;
        const auto& now_in = self_->record().witnesses;
        if ((std::find(now_in.begin(), now_in.end(), node->id()) != now_in.end()) == already)
          free.push_back(node->id());
      }
    }
    size_t missing = kFewOwners - witnesses.size();
    if (free.size() < missing) {
      if (witnesses.empty() && replicas != 0 && !lonely_) {
        Note(EventKind::kElection,
             "one replica alone cannot tell a dead primary from a cut: no failover without a third node");
      }
      lonely_ = witnesses.empty() && replicas != 0;
      witnesses.clear();
    } else {
      lonely_ = false;
      witnesses.insert(witnesses.end(), free.begin(), free.begin() + static_cast<std::ptrdiff_t>(missing));
    }
    std::sort(witnesses.begin(), witnesses.end());
  }
  std::vector<NodeId> said;
  for (const std::string& bytes : own_.witnesses()) said.push_back(*NodeId::FromBytes(bytes));
  if (own == own_.own_electorate() && said == witnesses) return;
  // Who is not confirmed by those of now may have been replaced, and does not know who decides.
  if (past_.size() >= kMaxPastElectorates || Lease() <= now() || !Confirmed(own, witnesses)) return;
  // Before the first of them, any two primaries may have thought that they decide.
  if (!own_.own_electorate()) {
    for (const auto& node : table_.all()) {
      if (!node->self && node->record().primary() && !node->record().claims.empty()) said.push_back(node->id());
    }
  }
  if (said.size() >= kFewOwners) past_.push_back({std::move(said), own_.version() + 1});
  own_.set_own_electorate(own);
  own_.clear_witnesses();
  for (const NodeId& id : witnesses) own_.add_witnesses(id.Bytes());
  OwnChanged();
}

// An operator's word that a node is gone for ever: it votes no more, and must not be waited for. What is left needs as
// many votes as before or one less, and never fewer than a majority of itself.
void EngineCore::LeaveElectorates(const NodeId& gone) {
  for (PastElectorate& past : past_) state_dirty_ |= std::erase(past.others, gone) != 0;
  std::vector<std::string> witnesses(own_.witnesses().begin(), own_.witnesses().end());
  if (std::erase(witnesses, gone.Bytes()) == 0) return;
  own_.mutable_witnesses()->Assign(witnesses.begin(), witnesses.end());
  OwnChanged();
}

// Whether those who are to decide confirm this node already, so that it need not stop in between. Asks those who do
// not.
bool EngineCore::Confirmed(bool own, const std::vector<NodeId>& witnesses) {
  std::vector<uint16_t> others;
  for (const auto& node : table_.all()) {
    bool in = own ? std::find(witnesses.begin(), witnesses.end(), node->id()) != witnesses.end() : node->owner();
    if (node->self || !in) continue;
    others.push_back(node->index);
    if (node->ping_sent_ms == 0 && now() - table_.confirmed_ms(*node) > timeout() / 3)
      Ping(node.get(), Tell::kNothing);
  }
  return LeaseFrom(others, others.size(), table_.confirmed_ms()) > now() + timeout() / 2;
}

// The winner's electorate is that of the primary whose place it takes, and itself.
void EngineCore::InheritElectorate(const Node& primary) {
  own_.set_own_electorate(primary.record().own_electorate);
  own_.clear_witnesses();
  if (!primary.record().own_electorate) return;
  own_.add_witnesses(primary.id().Bytes());
  for (const NodeId& id : primary.record().witnesses) {
    if (id != self_->id()) own_.add_witnesses(id.Bytes());
  }
}

// Until when a majority of this node and `others` has confirmed it.
int64_t EngineCore::LeaseFrom(const std::vector<uint16_t>& others, size_t count, const NodeTable::Times& when) const {
  size_t need = (count + 1) / 2;
  if (need == 0) return INT64_MAX;
  if (need > others.size()) return 0;
  std::vector<int64_t> sent;
  sent.reserve(others.size());
  for (uint16_t place : others) sent.push_back(when[place]);
  std::nth_element(sent.begin(), sent.begin() + static_cast<std::ptrdiff_t>(need - 1), sent.end(),
                   std::greater<int64_t>());
  // None of them suspects us before a timeout has passed since what it answered.
  return sent[need - 1] == 0 ? 0 : sent[need - 1] + timeout() - timeout() / 16;
}

// Having voted for another of its group, this node does not confirm a primary until it knows that the other has not
// won: from the other itself, after the election, or from enough who say that the other is dead. Nor does it while
// its word to another still counts, or when none of the primary's slots is left.
bool EngineCore::Withheld(const Node& primary) const {
  if (!primary.record().primary()) return false;
  if (primary.owned == 0 && !primary.self) return !primary.record().claims.empty();
  if (TrustsAnother(primary, primary.record().claims)) return true;
  if (!VotedForRival(primary)) return false;
  for (const CastVote& vote : votes_) {
    const Node* candidate = Rival(vote, primary);
    if (candidate == nullptr) continue;
    uint32_t dead = Decides(*self_, &primary) && candidate->pfail && !primary.self ? 1 : 0;
    for (const auto& [id, at_ms] : candidate->trouble().reports) {
      Node* reporter = table_.Find(id);
      dead +=
          reporter != nullptr && reporter != &primary && Decides(*reporter, &primary) && now() - at_ms <= 2 * timeout();
    }
    if (now() <= vote.until_ms || dead < Quorum(&primary)) return true;
  }
  return false;
}

// Whom a vote was for, if it may have been won, or still be, by another of the group of `primary` with a higher epoch
// than that of its own election.
const Node* EngineCore::Rival(const CastVote& vote, const Node& primary) const {
  if (vote.epoch <= primary.record().elected_epoch) return nullptr;
  const Node* candidate = table_.Find(vote.candidate);
  if (candidate == nullptr || candidate == &primary || candidate->self) return nullptr;
  if (vote.primary != primary.id() && candidate->record().shard_id != primary.record().shard_id) return nullptr;
  if (!vote.claims.empty() && !Overlap(vote.claims, primary.record().claims)) return nullptr;
  if (Lost(*candidate, vote.epoch)) return nullptr;
  // Once it is decided, what it has says what it has won: not the vote's claims, which a restart forgets, and of which
  // some may have been given to others since.
  const bool decided = candidate->decided_epoch >= vote.epoch;
  return decided && !Overlap(candidate->record().claims, primary.record().claims) ? nullptr : candidate;
}

// An old cluster remembers a thousand votes, which are too many to be looked at for each of many heartbeats.
bool EngineCore::VotedForRival(const Node& primary) const {
  const auto look = [&] {
    return std::any_of(votes_.begin(), votes_.end(),
                       [&](const CastVote& vote) { return Rival(vote, primary) != nullptr; });
  };
  if (!heartbeat_) return look();
  if (primary.no_rival_version == rivals_version_) {
    DCHECK(!look());
    return false;
  }
  const bool found = look();
  if (!found) primary.no_rival_version = rivals_version_;
  return found;
}

bool EngineCore::MayYieldTo(const Node& successor) const { return successor.owner() && !VotedForRival(successor); }

// From now on as many must confirm this node as confirm any other primary.
void EngineCore::Settle() {
  if (Node* node = table_.Find(predecessor_); node != nullptr) SendHandOver(*node, proto::HAND_OVER_SETTLED, 0);
  established_ = state_dirty_ = lease_dirty_ = true;
  predecessor_ = NodeId();
}

// Until when this node may write as a primary: as long as none who could replace it can have begun to.
int64_t EngineCore::Lease() const {
  // Slots that are on their way out are open in the data plane until that has let go of them.
  if (!self_->owner()) return closing_.any() ? lease_ms_ : INT64_MAX;
  if (Withheld(*self_)) return 0;
  if (now() < hold_writes_until_ms_) {
    Node* replaced = table_.Find(replaced_);
    if (replaced != nullptr && !replaced->record().claims.empty()) return 0;
  }
  int64_t lease = LeaseFrom(own_voters_, Voters(self_) - 1 + MoreVoters(), table_.confirmed_ms());
  for (const PastElectorate& past : past_) {
    std::vector<uint16_t> others;
    for (const NodeId& id : past.others) {
      if (Node* node = table_.Find(id); node != nullptr) others.push_back(node->index);
    }
    lease = std::min(lease, LeaseFrom(others, past.others.size(), table_.confirmed_ms()));
  }
  return lease;
}

void EngineCore::UpdateLease() {
  lease_dirty_ = false;
  if (self_->owner()) {
    if (!established_) {
      auto knows = [&](uint16_t place) { return table_.At(place)->lasting; };
      if (voters_ <= kFewOwners ||
          std::count_if(own_voters_.begin(), own_voters_.end(), knows) >= static_cast<std::ptrdiff_t>(Quorum(self_))) {
        Settle();
      }
    }
    const uint32_t others = Voters(self_) - 1 + MoreVoters();
    mandate_ms_ = Withheld(*self_) ? 0 : LeaseFrom(own_voters_, others, table_.agreed_ms());
  }
  int64_t lease = Lease();
  lease_wants_ = 0;
  if (lease <= now() && voters_ > options_.small_cluster) {
    auto counts = [&](uint16_t place) {
      return table_.confirmed_ms()[place] + timeout() - timeout() / 16 > now();
    };
    auto have = static_cast<uint32_t>(std::count_if(own_voters_.begin(), own_voters_.end(), counts));
    lease_wants_ = std::max(Quorum(self_) - 1, have) - have;
  }
  if (lease == lease_ms_) return;
  lease_ms_ = lease;
  out_->push_back(WritableUntilEffect{lease});
}

}  // namespace skein::bus
