#include "node/pubsub/registry.h"

#include <utility>

#include "node/util/glob.h"

namespace skein::node {
namespace {

constexpr size_t At(SubscriptionKind kind) { return static_cast<size_t>(kind); }
// What a subscription costs beside its name: its places in both maps.
constexpr size_t kOverhead = 96;

// A lone star means everything, also the channel without a name.
bool Matches(const std::string& pattern, std::string_view channel) {
  return pattern == "*" || GlobMatch(pattern, channel);
}

}  // namespace

std::vector<std::string> Subscriber::names(SubscriptionKind kind) const {
  std::vector<std::string> names;
  for (const auto& [channel, place] : held_[At(kind)]) names.push_back(channel->name);
  return names;
}

bool Registry::Subscribe(Subscriber* subscriber, SubscriptionKind kind, std::string_view name, uint16_t slot) {
  Names& names = all_[At(kind)];
  auto found = names.find(name);
  if (found == names.end()) {
    auto made = std::make_unique<Channel>();
    made->name = name;
    made->slot = slot;
    const std::string_view key = made->name;
    found = names.emplace(key, std::move(made)).first;
    if (kind == SubscriptionKind::kPattern) {
      interest_->AddPattern();
    } else {
      interest_->Add(kind == SubscriptionKind::kShardChannel, name);
    }
  }
  Channel* const channel = found->second.get();
  if (!subscriber->held_[At(kind)].try_emplace(channel, channel->subscribers.size()).second) return false;
  channel->subscribers.push_back(subscriber);
  subscriber->memory_ += kOverhead + name.size();
  return true;
}

void Registry::Remove(Subscriber* subscriber, SubscriptionKind kind, Channel* channel) {
  auto held = subscriber->held_[At(kind)].find(channel);
  const size_t place = held->second;
  subscriber->held_[At(kind)].erase(held);
  subscriber->memory_ -= kOverhead + channel->name.size();
  Subscriber* const last = channel->subscribers.back();
  channel->subscribers.pop_back();
  if (last != subscriber) {
    channel->subscribers[place] = last;
    last->held_[At(kind)][channel] = place;
  }
  if (!channel->subscribers.empty()) return;
  if (kind == SubscriptionKind::kPattern) {
    interest_->RemovePattern();
  } else {
    interest_->Remove(kind == SubscriptionKind::kShardChannel, channel->name);
  }
  all_[At(kind)].erase(std::string_view(channel->name));
}

bool Registry::Unsubscribe(Subscriber* subscriber, SubscriptionKind kind, std::string_view name) {
  const auto found = all_[At(kind)].find(name);
  if (found == all_[At(kind)].end() || !subscriber->held_[At(kind)].contains(found->second.get())) return false;
  Remove(subscriber, kind, found->second.get());
  return true;
}

void Registry::Drop(Subscriber* subscriber) {
  for (size_t kind = 0; kind < kSubscriptionKinds; ++kind) {
    while (!subscriber->held_[kind].empty()) {
      Remove(subscriber, static_cast<SubscriptionKind>(kind), subscriber->held_[kind].begin()->first);
    }
  }
}

void Registry::ForEachReceiver(bool sharded, std::string_view channel, const Receiver& fn) const {
  const Names& names = all_[At(sharded ? SubscriptionKind::kShardChannel : SubscriptionKind::kChannel)];
  if (const auto found = names.find(channel); found != names.end()) {
    for (Subscriber* subscriber : found->second->subscribers) fn(*subscriber, nullptr);
  }
  if (sharded) return;
  for (const auto& [name, pattern] : all_[At(SubscriptionKind::kPattern)]) {
    if (!Matches(pattern->name, channel)) continue;
    for (Subscriber* subscriber : pattern->subscribers) fn(*subscriber, pattern.get());
  }
}

size_t Registry::CountReceivers(bool sharded, std::string_view channel) const {
  size_t count = 0;
  ForEachReceiver(sharded, channel, [&count](Subscriber&, const Channel*) { ++count; });
  return count;
}

size_t Registry::subscribers(SubscriptionKind kind, std::string_view name) const {
  const auto found = all_[At(kind)].find(name);
  return found == all_[At(kind)].end() ? 0 : found->second->subscribers.size();
}

void Registry::ForEach(SubscriptionKind kind, const std::function<void(const Channel&)>& fn) const {
  for (const auto& [name, channel] : all_[At(kind)]) fn(*channel);
}

}  // namespace skein::node
