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
  buckets_[node.id().bucket()] += in ? both : -both;
}

uint64_t NodeTable::digest() const {
  uint64_t sum = 0;
  for (uint64_t b : buckets_) sum += b;
  return sum;
}

Node* NodeTable::Add(RecordPtr record) {
  if (nodes_.size() >= kMaxNodes) return nullptr;
  auto node = std::make_unique<Node>(std::move(record));
  Node* raw = node.get();
  auto free = std::find(places_.begin(), places_.end(), nullptr);
  raw->index = static_cast<uint16_t>(free - places_.begin());
  if (free == places_.end()) {
    places_.push_back(raw);
    pulses_.emplace_back();
    quiet_ms_.push_back(0);
  } else {
    *free = raw;
    pulses_[raw->index] = Pulse();
    quiet_ms_[raw->index] = 0;
  }
  auto place = std::lower_bound(nodes_.begin(), nodes_.end(), raw->id(), IdLess);
  order_.insert(order_.begin() + (place - nodes_.begin()), raw->index);
  nodes_.insert(place, std::move(node));
  by_id_[raw->id()] = raw;
  Count(*raw, true);
  return raw;
}

void NodeTable::Remove(Node* node) {
  Count(*node, false);
  by_id_.erase(node->id());
  places_[node->index] = nullptr;
  auto place = std::lower_bound(nodes_.begin(), nodes_.end(), node->id(), IdLess);
  order_.erase(order_.begin() + (place - nodes_.begin()));
  nodes_.erase(place);
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

Node* NodeTable::FindHex(std::string_view hex) const {
  auto id = NodeId::FromHex(hex);
  return id ? Find(*id) : nullptr;
}

}  // namespace skein::bus
