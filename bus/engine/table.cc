#include "bus/engine/table.h"

#include <algorithm>

#include "bus/engine/limits.h"

namespace skein::bus {
namespace {
bool IdLess(const std::unique_ptr<Node>& node, const NodeId& id) { return node->id() < id; }
}  // namespace

void NodeTable::Count(const Node& node, bool in) {
  uint64_t id = node.id().Hash(), both = Mix(id ^ Mix(node.record().version));
  members_ += in ? id : -id;
  digest_ += in ? both : -both;
  buckets_[node.id().bucket()] += in ? both : -both;
}

Node* NodeTable::Add(RecordPtr record) {
  if (nodes_.size() >= kMaxNodes) return nullptr;
  auto node = std::make_unique<Node>(std::move(record));
  Node* raw = node.get();
  if (free_.empty()) {
    raw->index = static_cast<uint16_t>(places_.size());
    places_.push_back(raw);
    confirmed_ms_.push_back(0);
    agreed_ms_.push_back(0);
    rank_.push_back(0);
  } else {
    raw->index = free_.back();
    free_.pop_back();
    places_[raw->index] = raw;
    confirmed_ms_[raw->index] = agreed_ms_[raw->index] = 0;
  }
  dues_.Add(raw->index);
  const auto rank = std::lower_bound(nodes_.begin(), nodes_.end(), raw->id(), IdLess) - nodes_.begin();
  order_.insert(order_.begin() + rank, raw->index);
  heard_.insert(heard_.begin() + rank, 0);
  nodes_.insert(nodes_.begin() + rank, std::move(node));
  RankFrom(static_cast<size_t>(rank));
  by_id_[raw->id()] = raw;
  Count(*raw, true);
  return raw;
}

void NodeTable::RankFrom(size_t rank) {
  for (; rank < order_.size(); ++rank) rank_[order_[rank]] = static_cast<uint16_t>(rank);
}

void NodeTable::Remove(Node* node) {
  Count(*node, false);
  by_id_.erase(node->id());
  places_[node->index] = nullptr;
  free_.push_back(node->index);
  const auto rank = static_cast<std::ptrdiff_t>(rank_[node->index]);
  order_.erase(order_.begin() + rank);
  heard_.erase(heard_.begin() + rank);
  nodes_.erase(nodes_.begin() + rank);
  RankFrom(static_cast<size_t>(rank));
}

int64_t NodeTable::HastenSilent(int64_t before_ms) {
  int64_t earliest = INT64_MAX;
  for (size_t rank = 0; rank < heard_.size(); ++rank) {
    earliest = std::min(earliest, heard_[rank]);
    if (heard_[rank] < before_ms) dues_.SetNow(order_[rank]);
  }
  return earliest;
}

void NodeTable::SetRecord(Node* node, RecordPtr record) {
  Count(*node, false);
  node->record_ = std::move(record);
  Count(*node, true);
}

Node* NodeTable::Find(const NodeId& id) const {
  auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : it->second;
}

Node* NodeTable::PrimaryOf(const Node& node) const {
  const NodeId& id = node.record().primary_id;
  if (id.empty()) return nullptr;
  if (Node* primary = At(node.primary_place_); primary != nullptr && primary->id() == id) return primary;
  Node* const primary = Find(id);
  if (primary != nullptr) node.primary_place_ = primary->index;
  return primary;
}

Node* NodeTable::FindHex(std::string_view hex) const {
  auto id = NodeId::FromHex(hex);
  return id ? Find(*id) : nullptr;
}

}  // namespace skein::bus
