// What must hold of votes and elections, and the planted errors that show that it is looked at.
#include "proto/bus.pb.h"
#include "proto/node_state.pb.h"
#include "tests/sim/world_parts.h"

namespace skein::sim {

// No node votes twice in an epoch, also over a restart, and a vote and a candidate's epoch are on disk before they are
// sent.
void World::CheckVotes(int n, const bus::SendEffect& send) {
  const proto::BusMessage& m = *send.message;
  const SimNode& node = *nodes_[n];
  std::string who = "node " + std::to_string(n);
  if (m.has_vote_request()) {
    nodes_[n]->agreed_epoch = m.vote_request().agreed() ? m.vote_request().epoch() : 0;
    if (node.disk == nullptr || node.disk->current_epoch() < m.vote_request().epoch()) {
      Broken(who + " stands in epoch " + std::to_string(m.vote_request().epoch()) + ", which is not on its disk");
    }
    return;
  }
  if (!m.has_vote_reply() || !m.vote_reply().granted()) return;
  uint32_t index = *Place(n, send.link);
  if (index == 0 || !links_[index].up) return;
  const SimLink& link = links_[index];
  int to = link.node[0] == n && link.id[0] == send.link ? link.node[1] : link.node[0];
  uint64_t epoch = m.vote_reply().epoch();
  auto [vote, first] = votes_.try_emplace({node.own_id, epoch}, nodes_[to]->own_id);
  if (!first && vote->second != nodes_[to]->own_id) {
    return Broken(who + " votes twice in epoch " + std::to_string(epoch));
  }
  bool durable = false;
  for (const proto::CastVote& cast : node.disk->votes()) {
    auto id = bus::NodeId::FromBytes(cast.candidate());
    durable |= cast.epoch() == epoch && id && id->Hex() == nodes_[to]->own_id;
  }
  if (!durable) Broken(who + " sends a vote in epoch " + std::to_string(epoch) + " that is not on its disk");
}

// At most one is elected for a slot in an epoch, and its claim is durable by then.
void World::CheckElected(int n, uint64_t epoch) {
  const SimNode& node = *nodes_[n];
  proto::NodeRecord own;
  own.ParseFromString(node.disk_record);
  if (own.config_epoch() < epoch || !own.primary_id().empty()) {
    return Broken("node " + std::to_string(n) + " is promoted before that is on its disk");
  }
  if (node.by_force) return;
  auto [begin, end] = elected_.equal_range(epoch);
  for (auto it = begin; it != end; ++it) {
    if (it->second.node == n || (it->second.slots & node.disk_claims & ~excused_).none()) continue;
    return Broken("nodes " + std::to_string(n) + " and " + std::to_string(it->second.node) +
                  " were both elected in epoch " + std::to_string(epoch));
  }
  elected_.emplace(epoch, Elected{n, node.disk_claims});
}

const char* Name(Plant plant) {
  static constexpr const char* kNames[] = {
      "none",       "no-lease", "no-fence",     "early-persisted", "forgotten-votes", "forgotten-claims",
      "grant-all",  "forced",   "no-promotion", "false-promotion", "stale-records",   "late-freeze",
      "slow-clock", "confirmed"};
  static_assert(std::size(kNames) == static_cast<size_t>(Plant::kLast) + 1);
  return kNames[static_cast<size_t>(plant)];
}

bus::MessagePtr World::Tampered(bus::MessagePtr message) {
  const proto::BusMessage& m = *message;
  auto other = std::make_shared<proto::BusMessage>(m);
  if (plant == Plant::kGrantAll && m.has_vote_reply()) {
    other->mutable_vote_reply()->set_granted(true);
    other->mutable_vote_reply()->clear_refusal();
  } else if (plant == Plant::kForced && m.has_vote_request()) {
    other->mutable_vote_request()->set_forced(true);
  } else if (plant == Plant::kStaleRecords && m.has_records() && random_.Below(4) == 0) {
    for (std::string& bytes : *other->mutable_records()->mutable_record()) {
      proto::NodeRecord record;
      record.ParseFromString(bytes);
      if (record.config_epoch() > 0) record.set_config_epoch(record.config_epoch() - 1);
      record.set_version(record.version() + 1);
      bytes = record.SerializeAsString();
    }
  } else if (plant == Plant::kConfirmed && m.has_pong()) {
    other->mutable_pong()->set_withheld(false);
  } else {
    return message;
  }
  return other;
}

}  // namespace skein::sim
