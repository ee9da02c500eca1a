// The members this node knows, itself included, in the order of their ids, with the digests of what is known.
#ifndef SKEIN_BUS_ENGINE_TABLE_H_
#define SKEIN_BUS_ENGINE_TABLE_H_

#include <array>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "bus/engine/due.h"
#include "bus/engine/node.h"

namespace skein::bus {

class NodeTable {
 public:
  static constexpr int kBuckets = 64;

  // Takes a new member; its id must not be there. Null if the table is full.
  Node* Add(RecordPtr record);
  // The pointer and its index are invalid afterwards.
  void Remove(Node* node);
  // Replaces the record of a member (same id), keeping the digests right.
  void SetRecord(Node* node, RecordPtr record);

  Node* Find(const NodeId& id) const;
  Node* FindHex(std::string_view hex) const;
  // Of a replica: null if it is not a member. Of a primary null.
  Node* PrimaryOf(const Node& node) const;
  // By Node::index; null if that place is free. Indices stay below the largest number of members there ever was.
  Node* At(uint16_t index) const { return index < places_.size() ? places_[index] : nullptr; }
  size_t places() const { return places_.size(); }

  // Ascending ids.
  const std::vector<std::unique_ptr<Node>>& all() const { return nodes_; }
  size_t size() const { return nodes_.size(); }

  // Sums of mixed hashes: over (id, version), over ids alone, and over (id, version) within one bucket of ids.
  uint64_t digest() const { return digest_; }
  uint64_t members() const { return members_; }
  const std::array<uint64_t, kBuckets>& buckets() const { return buckets_; }

  // What is read of every member many times a second, by Node::index, side by side: a walk over the members
  // themselves costs a cache miss each.
  using Times = std::vector<int64_t>;
  // When the newest ping was sent that it has answered with its confirmation of us.
  int64_t& confirmed_ms(const Node& node) { return confirmed_ms_[node.index]; }
  const Times& confirmed_ms() const { return confirmed_ms_; }
  // The same, though nobody has confirmed it itself.
  int64_t& agreed_ms(const Node& node) { return agreed_ms_[node.index]; }
  const Times& agreed_ms() const { return agreed_ms_; }
  // Its last sign of life, its own or by others' word.
  int64_t& heard_ms(const Node& node) { return heard_[rank_[node.index]]; }
  int64_t heard_ms(const Node& node) const { return heard_[rank_[node.index]]; }
  // Of all members in the order of all(): views tell of them, and are taken, by the hundred.
  std::vector<int64_t>& heard() { return heard_; }
  // Lets those be tended that were last heard before `before_ms`: one walk over all times is cheaper than a place in
  // the wheel for each of many members, of which others bring word all the time. Returns the earliest of all times.
  int64_t HastenSilent(int64_t before_ms);
  // When members are to be tended, by Node::index. That of one that has gone may still come.
  Dues& dues() { return dues_; }

 private:
  void Count(const Node& node, bool in);
  void RankFrom(size_t rank);

  std::vector<std::unique_ptr<Node>> nodes_;
  absl::flat_hash_map<NodeId, Node*> by_id_;
  std::vector<Node*> places_;
  std::vector<uint16_t> free_;   // places
  std::vector<uint16_t> order_;  // Node::index of all(), in its order
  std::vector<uint16_t> rank_;   // by Node::index: its place in all()
  std::vector<int64_t> heard_;   // in the order of all()
  Times confirmed_ms_, agreed_ms_;
  Dues dues_;
  std::array<uint64_t, kBuckets> buckets_{};
  uint64_t members_ = 0, digest_ = 0;
};

}  // namespace skein::bus

#endif  // SKEIN_BUS_ENGINE_TABLE_H_
