// A bounded first-in-first-out memory of what is finished (forgotten nodes, closed links), so that a late or repeated
// event for it creates nothing (lesson L41). Its size never exceeds the limit, however many come and go.
#ifndef SKEIN_BUS_ENGINE_GONE_H_
#define SKEIN_BUS_ENGINE_GONE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>

#include "absl/container/flat_hash_map.h"

namespace skein::bus {

template <typename Key>
class GoneMemory {
 public:
  explicit GoneMemory(size_t limit) : limit_(limit) {}

  // Remembers `key` until `until_ms` (a second call moves the time). The oldest goes when the limit is reached.
  void Add(const Key& key, int64_t until_ms) {
    auto [it, added] = until_.try_emplace(key, until_ms);
    it->second = until_ms;
    if (!added) return;
    order_.push_back(key);
    while (order_.size() > limit_) {
      until_.erase(order_.front());
      order_.pop_front();
    }
  }

  // Milliseconds left, 0 if it is not remembered.
  int64_t Left(const Key& key, int64_t now_ms) const {
    auto it = until_.find(key);
    return it == until_.end() || it->second <= now_ms ? 0 : it->second - now_ms;
  }
  bool Has(const Key& key, int64_t now_ms) const { return Left(key, now_ms) > 0; }

  // Ends the memory of `key` at once. It keeps its place in the order, so the bound holds.
  void Expire(const Key& key) {
    auto it = until_.find(key);
    if (it != until_.end()) it->second = 0;
  }

  // Drops what has expired, from the oldest on.
  void Purge(int64_t now_ms) {
    while (!order_.empty()) {
      auto it = until_.find(order_.front());
      if (it != until_.end() && it->second > now_ms) return;
      if (it != until_.end()) until_.erase(it);
      order_.pop_front();
    }
  }

  size_t size() const { return order_.size(); }

 private:
  size_t limit_;
  absl::flat_hash_map<Key, int64_t> until_;
  std::deque<Key> order_;
};

}  // namespace skein::bus

#endif  // SKEIN_BUS_ENGINE_GONE_H_
