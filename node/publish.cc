// Publish and subscribe, as a loop does it: it knows the subscriptions of its own sessions, and delivers to them what
// its clients publish, what other loops hand it, and what other nodes have published.
//
// A message goes to the loops that may have a subscriber for it (Interest), by their mailboxes, so the order of one
// publisher's messages stays; the publisher's later commands wait until those loops have counted, so it has at most one
// message on its way to them. What comes from other nodes, and what changes of keys say to other loops, is bounded in
// bytes for each loop, and dropped past that.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "glog/logging.h"
#include "node/loop_impl.h"
#include "node/node_impl.h"
#include "node/pubsub/keyspace_events.h"

namespace skein::node {
namespace {

// What a loop's clients publish is handed to the bus at the end of a batch of commands, or when it is so much.
constexpr size_t kHandOverMessages = 512, kHandOverBytes = 256u << 10;
// Bytes from other nodes that wait for one loop.
constexpr size_t kMaxBacklog = 64u << 20;

constexpr std::string_view kSubscribed[] = {"subscribe", "psubscribe", "ssubscribe"};
constexpr std::string_view kUnsubscribed[] = {"unsubscribe", "punsubscribe", "sunsubscribe"};

}  // namespace

// ---- What a client is told -----------------------------------------------------------------------------------------

void LoopImpl::PushTo(ClientSession& s, std::string_view bytes) {
  if (s.closing || s.st.close_after_reply || s.st.close_now) return;
  // It is past its limit, and closed when it is flushed: what waits is never more than the limit and a message.
  const uint64_t hard = config_->output_pubsub.hard;
  if (hard != 0 && s.output_bytes() + s.pushes.size() > hard) return;
  if (executing_ == &s) {
    s.pushes.Append(bytes);
  } else {
    s.out.Append(bytes);
    Touch(s);
  }
}

void LoopImpl::TakePushes(ClientSession& s) {
  if (s.pushes.empty()) return;
  s.out.Append(s.pushes.view());
  s.pushes.Release();
}

void LoopImpl::Confirm(ClientSession& s, std::string_view what, SubscriptionKind kind, const std::string_view* name) {
  ClientState& st = s.st;
  st.channels = static_cast<uint32_t>(s.subscriber->count(SubscriptionKind::kChannel));
  st.patterns = static_cast<uint32_t>(s.subscriber->count(SubscriptionKind::kPattern));
  st.shard_channels = static_cast<uint32_t>(s.subscriber->count(SubscriptionKind::kShardChannel));
  if (what.empty()) return;
  Buffer text;
  ReplyWriter reply(&text, st.resp);
  reply.Push(3);
  reply.Bulk(what);
  if (name != nullptr) {
    reply.Bulk(*name);
  } else {
    reply.Null();
  }
  reply.Integer(kind == SubscriptionKind::kShardChannel ? st.shard_channels : st.channels + st.patterns);
  PushTo(s, text.view());
}

// ---- Subscriptions -------------------------------------------------------------------------------------------------

void LoopImpl::Subscribe(Session& session, SubscriptionKind kind, Args names) {
  auto& s = static_cast<ClientSession&>(session);
  if (s.subscriber == nullptr) s.subscriber = std::make_unique<Subscriber>(&s);
  for (const std::string_view name : names) {
    const uint16_t slot = kind == SubscriptionKind::kShardChannel ? storage::KeySlot(name) : uint16_t{0};
    subscriptions_.Subscribe(s.subscriber.get(), kind, name, slot);
    Confirm(s, kSubscribed[static_cast<size_t>(kind)], kind, &name);
  }
}

void LoopImpl::Unsubscribe(Session& session, SubscriptionKind kind, Args names) {
  auto& s = static_cast<ClientSession&>(session);
  if (s.subscriber == nullptr) s.subscriber = std::make_unique<Subscriber>(&s);
  const std::string_view what = kUnsubscribed[static_cast<size_t>(kind)];
  const auto one = [&](std::string_view name) {
    subscriptions_.Unsubscribe(s.subscriber.get(), kind, name);
    Confirm(s, what, kind, &name);
  };
  for (const std::string_view name : names) one(name);
  if (!names.empty()) return;
  const std::vector<std::string> all = s.subscriber->names(kind);
  for (const std::string& name : all) one(name);
  if (all.empty()) Confirm(s, what, kind, nullptr);
}

void LoopImpl::UnsubscribeAll(Session& session) {
  auto& s = static_cast<ClientSession&>(session);
  if (s.subscriber == nullptr) return;
  subscriptions_.Drop(s.subscriber.get());
  Confirm(s, {}, SubscriptionKind::kChannel, nullptr);
}

bool LoopImpl::ServesChannels(uint16_t slot, const Caller& caller, ReplyWriter* reply) const {
  if (!cluster_) return true;
  const SlotState state = routing_.state(slot);
  Verdict verdict = Verdict::kMoved;
  if (state == SlotState::kNobody) {
    verdict = Verdict::kUnbound;
  } else if (!topology()->ok && !config_->cluster_allow_pubsubshard_when_down) {
    verdict = Verdict::kDown;
  } else if (state == SlotState::kOwned || state == SlotState::kMigrating || state == SlotState::kReplica ||
             (state == SlotState::kImporting && caller.asking)) {
    return true;
  }
  routing_.WriteRedirect(verdict, slot, *config_, caller.tls, reply);
  return false;
}

// Slots that this node's group has no more take their channels along, and the clients are told.
void LoopImpl::DropForeignChannels() {
  if (subscriptions_.size(SubscriptionKind::kShardChannel) == 0) return;
  std::vector<std::pair<ClientSession*, std::string>> lost;
  subscriptions_.ForEach(SubscriptionKind::kShardChannel, [&](const Channel& channel) {
    const SlotState state = routing_.state(channel.slot);
    if (state != SlotState::kForeign && state != SlotState::kNobody) return;
    for (const Subscriber* subscriber : channel.subscribers) {
      lost.emplace_back(static_cast<ClientSession*>(subscriber->owner), channel.name);
    }
  });
  for (const auto& [session, name] : lost) {
    subscriptions_.Unsubscribe(session->subscriber.get(), SubscriptionKind::kShardChannel, name);
    const std::string_view view = name;
    Confirm(*session, kUnsubscribed[static_cast<size_t>(SubscriptionKind::kShardChannel)],
            SubscriptionKind::kShardChannel, &view);
  }
}

// ---- Publishing ----------------------------------------------------------------------------------------------------

size_t LoopImpl::Deliver(bool sharded, std::string_view channel, std::string_view message) {
  size_t receivers = 0;
  const Channel* last_pattern = nullptr;
  Buffer encoded[2];  // RESP2, RESP3: of the channel's own, then of each pattern's
  subscriptions_.ForEachReceiver(sharded, channel, [&](Subscriber& subscriber, const Channel* pattern) {
    ++receivers;
    auto& s = *static_cast<ClientSession*>(subscriber.owner);
    if (std::exchange(last_pattern, pattern) != pattern) {
      for (Buffer& buffer : encoded) buffer.Clear();
    }
    Buffer& text = encoded[s.st.resp == 3];
    if (text.empty()) {
      ReplyWriter reply(&text, s.st.resp);
      reply.Push(pattern != nullptr ? 4 : 3);
      reply.Bulk(pattern != nullptr ? "pmessage" : sharded ? "smessage" : "message");
      if (pattern != nullptr) reply.Bulk(pattern->name);
      reply.Bulk(channel);
      reply.Bulk(message);
    }
    PushTo(s, text.view());
  });
  return receivers;
}

void LoopImpl::TellPeers(bool sharded, std::string_view channel, std::string_view message) {
  if (!cluster_ || topology() == nullptr || topology()->nodes.size() < 2) return;
  for_peers_.push_back({sharded, std::string(channel), std::string(message)});
  for_peers_bytes_ += for_peers_.back().bytes();
  if (for_peers_.size() >= kHandOverMessages || for_peers_bytes_ >= kHandOverBytes) HandToBus();
}

void LoopImpl::HandToBus() {
  for_peers_bytes_ = 0;
  node_->bus()->Publish(std::exchange(for_peers_, {}));
}

void LoopImpl::Publish(Call& call, bool sharded) {
  const std::string_view channel = call.argv[1], message = call.argv[2];
  TellPeers(sharded, channel, message);
  std::vector<uint32_t> others;
  for (uint32_t i = 0; i < node_->loop_count(); ++i) {
    if (i != index_ && node_->loop(i).interest().Maybe(sharded, channel)) others.push_back(i);
  }
  const size_t here = Deliver(sharded, channel, message);
  if (others.empty()) return call.reply->Integer(static_cast<int64_t>(here));
  struct Round {
    const bus::PublishedMessage published;
    const uint64_t session_id, ticket;
    // The publisher's loop's own.
    size_t receivers;
    size_t left;
  };
  auto& session = static_cast<ClientSession&>(*call.session);
  auto round = std::shared_ptr<Round>(new Round{
      {sharded, std::string(channel), std::string(message)}, session.st.id, DeferReply(session), here, others.size()});
  for (const uint32_t other : others) {
    node_->Post(other, [round, home = index_](LoopImpl& loop) {
      const bus::PublishedMessage& p = round->published;
      const size_t there = loop.Deliver(p.sharded, p.channel, p.message);
      loop.node().Post(home, [round, there](LoopImpl& loop) {
        round->receivers += there;
        if (--round->left != 0) return;
        loop.CompleteDeferred(round->session_id, round->ticket, [&](ClientSession&, ReplyWriter& reply) {
          reply.Integer(static_cast<int64_t>(round->receivers));
        });
      });
    });
  }
}

void LoopImpl::PublishHere(std::string channel, std::string message) {
  Deliver(/*sharded=*/false, channel, message);
  std::shared_ptr<const std::vector<bus::PublishedMessage>> messages;
  for (uint32_t i = 0; i < node_->loop_count(); ++i) {
    if (i == index_ || !node_->loop(i).interest().Maybe(/*sharded=*/false, channel)) continue;
    if (messages == nullptr) {
      messages =
          std::make_shared<const std::vector<bus::PublishedMessage>>(1, bus::PublishedMessage{false, channel, message});
    }
    node_->loop(i).TakePublished(messages, sizeof(bus::PublishedMessage) + channel.size() + message.size());
  }
}

void KeyspaceNotifier::OnChange(const storage::Change& change) {
  if ((events & (kByKey | kByEvent)) == 0 || change.key.empty() || (events & ClassOfEvent(change.event)) == 0) return;
  const std::string key(change.key), event(change.event);
  if ((events & kByKey) != 0) loop_->PublishHere(absl::StrCat("__keyspace@", change.db, "__:", key), event);
  if ((events & kByEvent) != 0) loop_->PublishHere(absl::StrCat("__keyevent@", change.db, "__:", event), key);
}

// ---- From other nodes ----------------------------------------------------------------------------------------------

void LoopImpl::TakePublished(const std::shared_ptr<const std::vector<bus::PublishedMessage>>& messages, size_t bytes) {
  if (published_backlog_.fetch_add(bytes, std::memory_order_relaxed) + bytes > kMaxBacklog) {
    published_backlog_.fetch_sub(bytes, std::memory_order_relaxed);
    published_dropped_.fetch_add(messages->size(), std::memory_order_relaxed);
    return;
  }
  mailbox_.Post(std::make_unique<ClosureMessage>([messages, bytes](LoopImpl& loop) {
    loop.published_backlog_.fetch_sub(bytes, std::memory_order_relaxed);
    for (const bus::PublishedMessage& m : *messages) loop.Deliver(m.sharded, m.channel, m.message);
  }));
}

void NodeImpl::Deliver(std::vector<bus::PublishedMessage> published) {
  size_t bytes = 0;
  for (const bus::PublishedMessage& m : published) bytes += sizeof(m) + m.bytes();
  const auto messages = std::make_shared<const std::vector<bus::PublishedMessage>>(std::move(published));
  for (const auto& loop : loops_) {
    const bool maybe = std::any_of(messages->begin(), messages->end(), [&](const bus::PublishedMessage& m) {
      return loop->interest().Maybe(m.sharded, m.channel);
    });
    if (maybe) loop->TakePublished(messages, bytes);
  }
}

}  // namespace skein::node
