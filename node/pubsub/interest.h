// What a loop's clients may be subscribed to, as any other loop can see it: so that what is published goes only where
// somebody may listen. A false "maybe" costs a message; a false "no" is impossible once SUBSCRIBE has been answered.
#ifndef SKEIN_NODE_PUBSUB_INTEREST_H_
#define SKEIN_NODE_PUBSUB_INTEREST_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

namespace skein::node {

class Interest {
 public:
  // The loop that it speaks of, when the first subscriber of a channel comes and the last one goes.
  void Add(bool sharded, std::string_view channel) { Slot(sharded, channel).fetch_add(1, std::memory_order_acq_rel); }
  void Remove(bool sharded, std::string_view channel) {
    Slot(sharded, channel).fetch_sub(1, std::memory_order_acq_rel);
  }
  void AddPattern() { patterns_.fetch_add(1, std::memory_order_acq_rel); }
  void RemovePattern() { patterns_.fetch_sub(1, std::memory_order_acq_rel); }

  // Any thread.
  bool Maybe(bool sharded, std::string_view channel) const {
    if (!sharded && patterns_.load(std::memory_order_acquire) != 0) return true;
    return const_cast<Interest*>(this)->Slot(sharded, channel).load(std::memory_order_acquire) != 0;
  }

 private:
  static constexpr size_t kSlots = 4096;
  std::atomic<uint32_t>& Slot(bool sharded, std::string_view channel) {
    return channels_[sharded][std::hash<std::string_view>()(channel) % kSlots];
  }
  std::array<std::array<std::atomic<uint32_t>, kSlots>, 2> channels_{};
  std::atomic<uint32_t> patterns_{0};
};

}  // namespace skein::node

#endif  // SKEIN_NODE_PUBSUB_INTEREST_H_
