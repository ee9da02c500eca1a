#include <algorithm>

#include "absl/strings/str_cat.h"
#include "bus/engine/core.h"
#include "glog/logging.h"

namespace skein::bus {

void EngineCore::NewIdentity() {
  own_.Clear();
  own_.set_id(NodeId::Make(&random_).Bytes());
  own_.set_shard_id(NodeId::Make(&random_).Bytes());
}

// What was persisted was checked when it was learnt, and the file has a checksum; what is unreadable all the same (a
// newer program's) is left out, never fatal, except for the identity, without which there is nothing to continue.
void EngineCore::LoadState(const proto::NodeState& state) {
  absl::StatusOr<Record> own = ReadRecord(state.own_record());
  if (!own.ok()) {
    NewIdentity();
    return;
  }
  auto durable = std::make_shared<proto::NodeRecord>();
  durable->ParseFromString(state.own_record());
  own_ = *durable;
  durable_own_ = std::move(durable);
  primary_since_ = own_.version();
  own_claims_ = durable_claims_ = ToSet(own->claims);
  current_epoch_ = std::max(state.current_epoch(), own->config_epoch);
  last_vote_epoch_ = state.last_vote_epoch();
  vote_floor_ = state.vote_floor();
  durable_epoch_ = state.current_epoch();
  promoting_on_disk_ = state.promoting_epoch();
  if (auto id = NodeId::FromBytes(state.predecessor())) predecessor_ = *id;
  established_ = predecessor_.empty();
  if (auto id = NodeId::FromBytes(state.seat_to())) seat_to_ = durable_seat_to_ = *id;
  for (const proto::CastVote& vote : state.votes()) {
    auto candidate = NodeId::FromBytes(vote.candidate()), primary = NodeId::FromBytes(vote.primary());
    if (candidate && primary && votes_.size() < kMaxVotes)
      votes_.push_back({vote.epoch(), *candidate, *primary, 0, {}});
  }
  for (const proto::PastElectorate& past : state.past_electorates()) {
    PastElectorate p{{}, past.until_version()};
    for (const std::string& bytes : past.members()) {
      if (auto id = NodeId::FromBytes(bytes)) p.others.push_back(*id);
    }
    if (past_.size() < kMaxPastElectorates) past_.push_back(std::move(p));
  }
  // An election won, but the data plane may not have heard of it: as then, it comes first.
  if (state.promoting_epoch() != 0 && own->primary() && state.promoting_epoch() == own->elected_epoch) {
    promote_epoch_ = own->elected_epoch;
    durable_own_ = nullptr;
    durable_claims_.reset();
  }
  RefreshSelf();
  for (const proto::KnownNode& known : state.nodes()) {
    absl::StatusOr<RecordPtr> record = Read(known.record());
    if (!record.ok() || table_.Find((*record)->id) != nullptr) continue;
    current_epoch_ = std::max(current_epoch_, (*record)->config_epoch);
    Node* node = table_.Add(*std::move(record));
    if (node != nullptr && PlausibleIp(known.ip(), true)) node->seen_ip = Text(known.ip(), node->shared_record());
  }
  for (const auto& [moves, into] : {std::pair{&state.migrating(), &migrating_}, {&state.importing(), &importing_}}) {
    for (const proto::SlotMoveState& move : *moves) {
      auto peer = NodeId::FromBytes(move.peer());
      if (move.slot() < kSlots && peer && table_.Find(*peer) != nullptr) {
        (*into)[static_cast<uint16_t>(move.slot())] = *peer;
      }
    }
  }
}

void EngineCore::SayOptions() {
  if (!options_.ip.empty()) {
    own_.set_ip(options_.ip);
  } else if (own_.ip_fixed()) {
    own_.clear_ip();
  }
  own_.set_ip_fixed(!options_.ip.empty());
  own_.set_hostname(options_.hostname);
  own_.set_name(options_.name);
  own_.set_preferred_endpoint(static_cast<proto::EndpointType>(options_.preferred_endpoint));
  own_.set_port(options_.port);
  own_.set_tls_port(options_.tls_port);
  own_.set_bus_port(options_.bus_port);
  own_.set_no_failover(options_.no_failover);
  own_.set_software("skein");
}

bool EngineCore::AdoptOptions() {
  std::string before = own_.SerializeAsString();
  SayOptions();
  if (own_.SerializeAsString() == before) return false;
  // The durable record has addresses that are no longer true: say nothing until the new one is durable.
  durable_own_ = nullptr;
  return true;
}

// The self node's record is the durable one. Before there is one it shows the identity and addresses, and claims
// nothing.
void EngineCore::RefreshSelf() {
  const proto::NodeRecord& from = durable_own_ != nullptr ? *durable_own_ : own_;
  Record r;
  r.bytes = from.SerializeAsString();
  r.id = *NodeId::FromBytes(from.id());
  r.shard_id = *NodeId::FromBytes(from.shard_id());
  r.version = from.version();
  r.ip = from.ip();
  r.ip_fixed = from.ip_fixed();
  r.hostname = from.hostname();
  r.name = from.name();
  r.port = static_cast<uint16_t>(from.port());
  r.tls_port = static_cast<uint16_t>(from.tls_port());
  r.bus_port = static_cast<uint16_t>(from.bus_port());
  if (auto primary = NodeId::FromBytes(from.primary_id())) r.primary_id = *primary;
  r.config_epoch = from.config_epoch();
  r.elected_epoch = from.elected_epoch();
  r.no_failover = from.no_failover();
  r.own_electorate = from.own_electorate();
  for (const std::string& bytes : from.witnesses()) {
    if (auto witness = NodeId::FromBytes(bytes)) r.witnesses.push_back(*witness);
  }
  r.claims = ToRanges(durable_claims_);
  if (self_ == nullptr) {
    self_ = table_.Add(Share(std::move(r)));
    self_->self = true;
  } else {
    table_.SetRecord(self_, Share(std::move(r)));
  }
  owners_dirty_ = publish_ = lease_dirty_ = true;
}

void EngineCore::WaitDurable(uint64_t request, std::string text) {
  wait_next_persist_.push_back({request, std::move(text)});
  own_dirty_ = true;
}

void EngineCore::PersistNow() {
  own_dirty_ = members_dirty_ = state_dirty_ = vote_dirty_ = false;
  WriteSlots(own_claims_, &own_);
  // A new version only if there is something new to say: relays and digests go by it.
  const PendingPersist* newest = persists_.empty() ? nullptr : &persists_.back();
  const proto::NodeRecord* said = newest != nullptr      ? newest->own.get()
                                  : held_own_ != nullptr ? held_own_.get()
                                                         : durable_own_.get();
  if (said == nullptr || said->SerializeAsString() != own_.SerializeAsString()) own_.set_version(own_.version() + 1);
  auto own = std::make_shared<proto::NodeRecord>(own_);
  auto state = std::make_shared<proto::NodeState>();
  state->set_format(1);
  state->set_own_record(own->SerializeAsString());
  state->set_current_epoch(current_epoch_);
  state->set_last_vote_epoch(last_vote_epoch_);
  state->set_vote_floor(vote_floor_);
  state->set_promoting_epoch(promote_epoch_);
  if (!predecessor_.empty()) state->set_predecessor(predecessor_.Bytes());
  if (seat_to_ == self_->id()) {
    auto primary = NodeId::FromBytes(own_.primary_id());
    if (Node* node = primary ? table_.Find(*primary) : nullptr; node != nullptr && MayYieldTo(*node)) {
      seat_to_ = node->id();
    }
  }
  if (!seat_to_.empty()) state->set_seat_to(seat_to_.Bytes());
  for (const PastElectorate& past : past_) {
    proto::PastElectorate* p = state->add_past_electorates();
    for (const NodeId& id : past.others) p->add_members(id.Bytes());
    p->set_until_version(past.until_version);
  }
  for (const CastVote& vote : votes_) {
    proto::CastVote* cast = state->add_votes();
    cast->set_epoch(vote.epoch);
    cast->set_candidate(vote.candidate.Bytes());
    cast->set_primary(vote.primary.Bytes());
  }
  for (const auto& node : table_.all()) {
    if (node->self) continue;
    proto::KnownNode* known = state->add_nodes();
    known->set_record(node->record().bytes);
    known->set_ip(node->seen_ip.str());
  }
  for (const auto& [slot, peer] : migrating_) {
    auto* move = state->add_migrating();
    move->set_slot(slot);
    move->set_peer(peer.Bytes());
  }
  for (const auto& [slot, peer] : importing_) {
    auto* move = state->add_importing();
    move->set_slot(slot);
    move->set_peer(peer.Bytes());
  }
  uint64_t id = next_persist_++;
  persists_.push_back({id, std::move(own), std::move(wait_next_persist_), std::move(unsent_votes_), ask_epoch_,
                       promote_epoch_, current_epoch_, ownership_, seat_to_});
  wait_next_persist_.clear();
  unsent_votes_.clear();
  ask_epoch_ = 0;
  last_persist_ms_ = now();
  out_->push_back(PersistEffect{id, std::move(state)});
}

void EngineCore::OnPersisted(uint64_t id) {
  std::shared_ptr<const proto::NodeRecord> newest;
  std::vector<Waiting> done;
  std::vector<std::pair<NodeId, uint64_t>> votes;
  uint64_t ask_epoch = 0, promote_epoch = 0;
  while (!persists_.empty() && persists_.front().id <= id) {
    PendingPersist& p = persists_.front();
    if (p.id >= persist_floor_) {
      newest = p.own;
      durable_epoch_ = p.epoch;
      promoting_on_disk_ = p.promote_epoch;
      durable_ownership_ = p.ownership;
      durable_seat_to_ = p.seat_to;
      promote_epoch = p.promote_epoch;
      votes.insert(votes.end(), p.votes.begin(), p.votes.end());
      ask_epoch = std::max(ask_epoch, p.ask_epoch);
    }
    for (Waiting& w : p.waiting) done.push_back(std::move(w));
    persists_.pop_front();
  }
  if (newest != nullptr && promote_epoch != 0 && promote_epoch == promote_epoch_) {
    held_own_ = std::move(newest);  // not said before the data plane has carried it out
    if (promote_asked_ != promote_epoch_) out_->push_back(PromoteEffect{promote_epoch_});
    promote_asked_ = promote_epoch_;
  } else if (newest != nullptr && (durable_own_ == nullptr || newest->version() > durable_own_->version())) {
    TakeDurable(std::move(newest));
  }
  for (const auto& [candidate, epoch] : votes) SendVote(candidate, epoch);
  if (ask_epoch != 0) AskForVotes(ask_epoch);
  for (Waiting& w : done) Reply(w.request, std::move(w.text));
}

void EngineCore::TakeDurable(std::shared_ptr<const proto::NodeRecord> own) {
  if (own->primary_id().empty() && !self_->record().primary()) primary_since_ = own->version();
  durable_own_ = std::move(own);
  std::vector<SlotRange> claims;
  CHECK(ReadSlots(*durable_own_, &claims)) << "own record has bad slots";
  durable_claims_ = ToSet(claims);
  RefreshSelf();
  push_own_ = urgent_ = true;
}

// Nothing was promised yet, so nothing is taken back: the change stays wanted, and is written again after a while.
void EngineCore::OnPersistFailed(uint64_t id, const std::string& why) {
  bool any = false;
  while (!persists_.empty() && persists_.front().id <= id) {
    any = true;
    for (Waiting& w : persists_.front().waiting) {
      Fail(w.request, absl::StrCat("ERR error saving the cluster node config: ", why));
    }
    for (const auto& [candidate, epoch] : persists_.front().votes) {
      RefuseVote(candidate, epoch, proto::VOTE_REFUSAL_NOT_DURABLE);
    }
    if (persists_.front().ask_epoch == election_.epoch && election_.phase == Election::kSaving) {
      LostElection("its epoch could not be saved");
    }
    persists_.pop_front();
  }
  if (!any) return;
  Note(EventKind::kConfig, absl::StrCat("cluster configuration could not be saved: ", why));
  retry_persist_ms_ = now() + 1000;
}

}  // namespace skein::bus
