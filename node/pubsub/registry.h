// Who of a loop's clients is subscribed to what. One loop's thread; subscribing, unsubscribing and leaving cost the
// same however many others are subscribed.
#ifndef SKEIN_NODE_PUBSUB_REGISTRY_H_
#define SKEIN_NODE_PUBSUB_REGISTRY_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "node/pubsub/interest.h"

namespace skein::node {

enum class SubscriptionKind : uint8_t { kChannel = 0, kPattern = 1, kShardChannel = 2 };
inline constexpr size_t kSubscriptionKinds = 3;

class Subscriber;

// A channel, or a pattern, that somebody is subscribed to.
struct Channel {
  std::string name;
  uint16_t slot = 0;  // of a shard channel
  std::vector<Subscriber*> subscribers;
};

// A client's subscriptions. Destroyed only after Registry::Drop.
class Subscriber {
 public:
  explicit Subscriber(void* owner) : owner(owner) {}
  Subscriber(const Subscriber&) = delete;
  void* const owner;
  size_t count(SubscriptionKind kind) const { return held_[static_cast<size_t>(kind)].size(); }
  // What SUBSCRIBE, PSUBSCRIBE and their opposites answer with.
  size_t classic() const { return count(SubscriptionKind::kChannel) + count(SubscriptionKind::kPattern); }
  size_t total() const { return classic() + count(SubscriptionKind::kShardChannel); }
  size_t memory() const { return memory_; }
  std::vector<std::string> names(SubscriptionKind kind) const;

 private:
  friend class Registry;
  // With the place among the channel's subscribers.
  std::array<std::unordered_map<Channel*, size_t>, kSubscriptionKinds> held_;
  size_t memory_ = 0;
};

class Registry {
 public:
  explicit Registry(Interest* interest) : interest_(interest) {}

  // False: it was subscribed already.
  bool Subscribe(Subscriber* subscriber, SubscriptionKind kind, std::string_view name, uint16_t slot = 0);
  // False: it was not subscribed.
  bool Unsubscribe(Subscriber* subscriber, SubscriptionKind kind, std::string_view name);
  // All that it has.
  void Drop(Subscriber* subscriber);

  // Calls `fn` for each who is to get what is published to `channel`; `pattern`: by which, null if it is by the channel
  // itself. One who is subscribed by several ways is called several times. `fn` changes no subscription.
  using Receiver = std::function<void(Subscriber& subscriber, const Channel* pattern)>;
  void ForEachReceiver(bool sharded, std::string_view channel, const Receiver& fn) const;
  size_t CountReceivers(bool sharded, std::string_view channel) const;

  size_t size(SubscriptionKind kind) const { return all_[static_cast<size_t>(kind)].size(); }
  size_t subscribers(SubscriptionKind kind, std::string_view name) const;
  // `fn` changes no subscription.
  void ForEach(SubscriptionKind kind, const std::function<void(const Channel&)>& fn) const;

 private:
  using Names = std::unordered_map<std::string_view, std::unique_ptr<Channel>>;  // keys: views of the channels' names
  void Remove(Subscriber* subscriber, SubscriptionKind kind, Channel* channel);

  Interest* const interest_;
  std::array<Names, kSubscriptionKinds> all_;
};

}  // namespace skein::node

#endif  // SKEIN_NODE_PUBSUB_REGISTRY_H_
