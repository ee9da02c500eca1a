#include <algorithm>
#include <bit>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "bus/engine/core.h"

namespace skein::bus {
namespace {
constexpr size_t kAllAtOnce = 64;   // members up to which a comparison starts with all versions
constexpr size_t kPushToAll = 16;   // peers up to which the owner tells everyone itself
constexpr size_t kRelayFanout = 4;  // peers told by each node that learns something, above that
}  // namespace

absl::StatusOr<RecordPtr> EngineCore::Read(std::string_view bytes) {
  if (options_.records != nullptr) return options_.records->Read(bytes);
  absl::StatusOr<Record> read = ReadRecord(bytes);
  if (!read.ok()) return read.status();
  return Share(*std::move(read));
}

bool EngineCore::EpochPlausible(uint64_t epoch) {
  if (epoch <= current_epoch_ || epoch - current_epoch_ <= options_.max_epoch_jump) return true;
  ++stats_.epoch_jumps_refused;
  return false;
}

// Records come several times each, and most of the cost of one is taking it apart. They begin with id and version.
bool EngineCore::Known(std::string_view bytes) const {
  constexpr size_t kVersionAt = 2 + 20 + 1;
  if (bytes.size() <= kVersionAt || bytes[0] != '\x0a' || bytes[1] != 20 || bytes[kVersionAt - 1] != '\x10')
    return false;
  auto id = NodeId::FromBytes(bytes.substr(2, 20));
  Node* node = id ? table_.Find(*id) : nullptr;
  if (node == nullptr || node->self) return false;
  uint64_t version = 0;
  for (size_t i = kVersionAt, shift = 0; i < bytes.size() && shift < 63; ++i, shift += 7) {
    version |= static_cast<uint64_t>(bytes[i] & 0x7f) << shift;
    if ((bytes[i] & 0x80) == 0) return version != 0 && version <= node->record().version;
  }
  return false;
}

EngineCore::Taken EngineCore::TakeRecord(std::string_view bytes, Node* from) {
  if (Known(bytes)) return Taken::kOld;
  absl::StatusOr<RecordPtr> read = Read(bytes);
  if (!read.ok()) {
    ++stats_.records_refused;
    return Taken::kRefused;
  }
  const Record& record = **read;
  if (record.id == self_->id()) {
    SawOwnRecord(record);
    return Taken::kOld;
  }
  Node* node = table_.Find(record.id);
  if (node == nullptr && forgotten_.Has(record.id, now())) return Taken::kOld;
  // Of no use to us or our clients before it knows where it lives; that makes a new version, which will be told as
  // well.
  if (node == nullptr && record.ip.empty()) return Taken::kOld;
  uint64_t known = node == nullptr ? 0 : node->record().version;
  if (record.version <= known) return Taken::kOld;
  if (record.version - known > kMaxVersionJump || !EpochPlausible(record.config_epoch)) {
    ++stats_.records_refused;
    return Taken::kRefused;
  }
  if (record.config_epoch > current_epoch_) current_epoch_ = record.config_epoch;
  ++ownership_;
  if (node == nullptr) {
    node = table_.Add(*read);
    if (node == nullptr) {
      ++stats_.records_refused;
      return Taken::kRefused;
    }
    table_.heard_ms(*node) = node->direct_ms = now();
    node->last_sync_ms = now() - 1000;
    node->out.next_try_ms = now();
    members_dirty_ = groups_changed_ = true;
    owners_dirty_ |= !node->record().claims.empty();
    Note(EventKind::kJoin, absl::StrCat("node ", Name(*node), " joined: told by ", Name(*from)));
    TendLink(node);
  } else {
    owners_dirty_ |= record.config_epoch != node->record().config_epoch ||
                     record.primary_id != node->record().primary_id ||
                     ToSet(record.claims) != ToSet(node->record().claims);
    DropOverrides(*node, record.claims);
    if (record.own_electorate != node->record().own_electorate || record.witnesses != node->record().witnesses ||
        record.primary_id != node->record().primary_id) {
      owners_dirty_ = members_dirty_ = true;  // it counts on our not forgetting it
    }
    confirm_now_ |= !established_ && record.id == predecessor_ && record.primary_id == self_->id();
    if (record.ip != node->record().ip || record.bus_port != node->record().bus_port) {
      node->no_address = false;
      members_dirty_ = true;  // where to find it after a restart
      node->out.next_try_ms = std::min(node->out.next_try_ms, now());
    }
    node->had_replicas |=
        !node->record().primary() && record.primary() && !record.claims.empty();  // its primary's place
    table_.SetRecord(node, *read);
  }
  if (record.primary()) ReleaseReplaced(*node);
  news_.push_back(node->id());
  state_dirty_ = publish_ = true;
  lease_dirty_ |= !Many();  // else by the tick, or when owners change
  return Taken::kNew;
}

// Someone holds a newer record of us than we do, so our disk is behind (restored from a copy): speak over it.
void EngineCore::SawOwnRecord(const Record& record) {
  if (record.version <= own_.version() || record.version - own_.version() > kMaxVersionJump) return;
  own_.set_version(record.version);
  OwnChanged();
  if (EpochPlausible(record.config_epoch) && record.config_epoch > current_epoch_) current_epoch_ = record.config_epoch;
}

void EngineCore::SendRecords(const Node& peer, const std::vector<const Node*>& nodes) {
  std::shared_ptr<proto::BusMessage> m;
  size_t bytes = 0;
  for (const Node* node : nodes) {
    if (node->self && !started()) continue;
    if (m == nullptr) m = std::make_shared<proto::BusMessage>();
    m->mutable_records()->add_record(node->record().bytes);
    bytes += node->record().bytes.size();
    if (bytes >= kMaxRecordsBytes) {
      SendTo(peer, std::move(m));
      m = nullptr;
      bytes = 0;
    }
  }
  if (m != nullptr) SendTo(peer, std::move(m));
}

std::vector<Node*> EngineCore::PickPeers(size_t n) {
  std::vector<Node*> peers;
  for (const auto& node : table_.all()) {
    if (!node->self && node->link() != 0) peers.push_back(node.get());
  }
  for (size_t i = 0; i < n && i < peers.size(); ++i) std::swap(peers[i], peers[i + random_.Below(peers.size() - i)]);
  if (peers.size() > n) peers.resize(n);
  return peers;
}

void EngineCore::PushOwnRecord() {
  push_own_ = false;
  size_t n = push_to_all_ ? table_.size() : table_.size() - 1 <= kPushToAll ? kPushToAll : 2 * kRelayFanout;
  push_to_all_ = false;
  for (Node* peer : PickPeers(n)) SendRecords(*peer, {self_});
}

// What was new to us is probably new to others. In small clusters the owner has told everyone.
void EngineCore::RelayNews() {
  if (news_.empty()) return;
  std::sort(news_.begin(), news_.end());
  news_.erase(std::unique(news_.begin(), news_.end()), news_.end());
  std::vector<const Node*> nodes;
  for (const NodeId& id : news_) {
    if (Node* node = table_.Find(id); node != nullptr) nodes.push_back(node);
  }
  news_.clear();
  for (Node* peer : PickPeers(kRelayFanout)) SendRecords(*peer, nodes);
}

void EngineCore::StartSync(Node* peer) {
  auto m = std::make_shared<proto::BusMessage>();
  proto::Sync* sync = m->mutable_sync();
  if (table_.size() <= kAllAtOnce) {
    sync->set_covered(~uint64_t{0});
    for (const auto& node : table_.all()) {
      auto* have = sync->add_have();
      have->set_id(node->id().Bytes());
      have->set_version(node->record().version);
    }
  } else {
    for (uint64_t b : table_.buckets()) sync->add_buckets(b);
  }
  SendTo(*peer, std::move(m));
}

void EngineCore::OnSync(Node* from, const proto::Sync& sync) {
  if (sync.have_size() > static_cast<int>(kMaxNodes) || sync.want_size() > static_cast<int>(kMaxNodes) ||
      (sync.buckets_size() != 0 && sync.buckets_size() != NodeTable::kBuckets)) {
    ++stats_.messages_refused;
    return;
  }
  auto answer = std::make_shared<proto::BusMessage>();
  proto::Sync* reply = answer->mutable_sync();
  if (sync.buckets_size() != 0) {
    uint64_t differ = 0;
    for (int b = 0; b < NodeTable::kBuckets; ++b) {
      if (sync.buckets(b) != table_.buckets()[b]) differ |= uint64_t{1} << b;
    }
    reply->set_covered(differ);
    for (const auto& node : table_.all()) {
      if ((differ >> node->id().bucket() & 1) == 0) continue;
      auto* have = reply->add_have();
      have->set_id(node->id().Bytes());
      have->set_version(node->record().version);
    }
  }
  std::vector<const Node*> give;
  absl::flat_hash_set<NodeId> named;
  for (const proto::RecordVersion& have : sync.have()) {
    auto id = NodeId::FromBytes(have.id());
    if (!id || !named.insert(*id).second) continue;
    Node* node = table_.Find(*id);
    if (node == nullptr ? !forgotten_.Has(*id, now()) : have.version() > node->record().version) {
      reply->add_want(id->Bytes());
    } else if (node != nullptr && have.version() < node->record().version) {
      give.push_back(node);
    }
  }
  if (sync.covered() != 0) {
    for (const auto& node : table_.all()) {
      if ((sync.covered() >> node->id().bucket() & 1) != 0 && !named.contains(node->id())) give.push_back(node.get());
    }
  }
  absl::flat_hash_set<NodeId> wanted;
  for (const std::string& bytes : sync.want()) {
    auto id = NodeId::FromBytes(bytes);
    if (!id || !wanted.insert(*id).second) continue;
    if (Node* node = table_.Find(*id); node != nullptr) give.push_back(node);
  }
  SendRecords(*from, give);
  if (reply->have_size() != 0 || reply->covered() != 0 || reply->want_size() != 0) SendTo(*from, std::move(answer));
}

void EngineCore::OnRecords(Node* from, const proto::Records& records) {
  if (records.record_size() > static_cast<int>(kMaxNodes)) {
    ++stats_.messages_refused;
    return;
  }
  for (const std::string& bytes : records.record()) TakeRecord(bytes, from);
}

void EngineCore::OnForgotten(Node* from, const proto::Forgotten& message) {
  auto id = NodeId::FromBytes(message.id());
  Node* node = id ? table_.Find(*id) : nullptr;
  if (!id || *id == self_->id() || node == from || self_->record().primary_id == *id) return;
  int64_t ms = std::min<int64_t>(message.ttl_ms(), kForgetMs);
  if (ms <= 0) return;
  if (node != nullptr) {
    ForgetNode(node, ms, "forgotten by another node");
  } else {
    forgotten_.Add(*id, now() + ms);
  }
}

}  // namespace skein::bus
