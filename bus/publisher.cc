#include "bus/publisher.h"

#include <algorithm>
#include <utility>

#include "proto/bus.pb.h"

namespace skein::bus {
namespace {

constexpr size_t kPart = 64u << 10;  // bytes of a message in one frame
constexpr size_t kFrameOverhead = kFrameHeaderBytes + kTagBytes + 16;
constexpr int64_t kSteadyMs = 5000;  // a link that was up for so long has not failed

// The frames of a message; none if its channel is too long to be said.
std::vector<MessagePtr> FramesOf(PublishedMessage published, size_t* bytes) {
  std::vector<MessagePtr> frames;
  *bytes = 0;
  if (published.channel.size() > kPart) return frames;
  std::string& text = published.message;
  const auto add = [&](std::shared_ptr<proto::BusMessage> frame) {
    *bytes += frame->ByteSizeLong() + kFrameOverhead;
    frames.push_back(std::move(frame));
  };
  auto first = std::make_shared<proto::BusMessage>();
  proto::Publish* publish = published.sharded ? first->mutable_publishshard() : first->mutable_publish();
  publish->set_channel(std::move(published.channel));
  if (text.size() <= kPart) {
    publish->set_message(std::move(text));
    add(std::move(first));
    return frames;
  }
  publish->set_size(text.size());
  publish->set_message(text.substr(0, kPart));
  add(std::move(first));
  for (size_t at = kPart; at < text.size(); at += kPart) {
    auto part = std::make_shared<proto::BusMessage>();
    part->mutable_publishpart()->set_message(text.substr(at, kPart));
    add(std::move(part));
  }
  return frames;
}

}  // namespace

// ---- Whom to tell ---------------------------------------------------------------------------------------------------

void Publisher::SetTopology(TopologyPtr topology) {
  topology_ = std::move(topology);
  stale_ = true;
}

void Publisher::Retarget() {
  if (!std::exchange(stale_, false) || topology_ == nullptr) return;
  everyone_.clear();
  group_.clear();
  std::unordered_map<std::string, Peer> kept;
  for (size_t i = 1; i < topology_->nodes.size(); ++i) {
    const TopologyNode& node = topology_->nodes[i];
    if (node.handshake) continue;
    auto old = peers_.extract(node.id());
    auto at = old.empty() ? kept.try_emplace(node.id()).first : kept.insert(std::move(old)).position;
    Peer& peer = at->second;
    peer.id = node.id();
    peer.ip = node.ip();
    peer.bus_port = node.bus_port;
    if (node.fail || node.no_address || node.ip().empty()) continue;
    everyone_.push_back(&peer);
    if (node.shard_id() == topology_->me().shard_id()) group_.push_back(&peer);
  }
  // What is left are those that are members no more.
  for (auto& [id, peer] : peers_) {
    DropWaiting(&peer);
    if (peer.link == 0) continue;
    if (!peer.up) --connecting_;
    by_link_.erase(peer.link);
    links_->Close(peer.link, "publish-not-a-member");
  }
  peers_ = std::move(kept);
}

// ---- Sending --------------------------------------------------------------------------------------------------------

void Publisher::Publish(PublishedMessage published, int64_t now_ms) {
  Retarget();
  const std::vector<Peer*>& targets = published.sharded ? group_ : everyone_;
  if (targets.empty()) return;
  size_t bytes = 0;
  const std::vector<MessagePtr> frames = FramesOf(std::move(published), &bytes);
  if (frames.empty()) {
    counters_.dropped += targets.size();
    return;
  }
  for (Peer* peer : targets) Offer(peer, frames, bytes, now_ms);
  DialSome(now_ms);
}

void Publisher::Offer(Peer* peer, const std::vector<MessagePtr>& frames, size_t bytes, int64_t now_ms) {
  const size_t waits = peer->up ? links_->Unsent(peer->link) : peer->waiting_bytes;
  const bool must_dial = peer->link == 0 && !peer->queued;
  if (waits + bytes > options_.peer_limit || (must_dial && now_ms < peer->retry_ms)) {
    ++counters_.dropped;
    return;
  }
  peer->used_ms = now_ms;
  if (peer->up) {
    for (const MessagePtr& frame : frames) links_->Send(peer->link, frame);
    return;
  }
  peer->waiting.insert(peer->waiting.end(), frames.begin(), frames.end());
  peer->waiting_bytes += bytes;
  ++peer->waiting_messages;
  if (!must_dial) return;
  peer->queued = true;
  to_dial_.push_back(peer->id);
}

void Publisher::DropWaiting(Peer* peer) {
  counters_.dropped += peer->waiting_messages;
  peer->waiting.clear();
  peer->waiting_bytes = peer->waiting_messages = 0;
}

void Publisher::DialSome(int64_t now_ms) {
  while (connecting_ < options_.max_connecting && !to_dial_.empty()) {
    auto found = peers_.find(to_dial_.front());
    to_dial_.pop_front();
    if (found == peers_.end()) continue;
    Peer* peer = &found->second;
    peer->queued = false;
    if (peer->link != 0 || peer->waiting.empty()) continue;
    peer->link = std::exchange(next_link_, next_link_ + 2);
    peer->used_ms = now_ms;
    by_link_[peer->link] = peer;
    ++connecting_;
    links_->Dial(peer->link, peer->ip, peer->bus_port);
  }
}

void Publisher::OnLinkUp(LinkId link) {
  auto found = by_link_.find(link);
  if (found == by_link_.end()) return;
  Peer* peer = found->second;
  if (links_->PeerOf(link) != peer->id) {
    // Another node lives there now.
    links_->Close(link, "publish-another-node");
    return OnLinkDown(link, 0, MonotonicMs());
  }
  --connecting_;
  peer->up = true;
  peer->used_ms = MonotonicMs();
  peer->waiting_bytes = peer->waiting_messages = 0;
  for (const MessagePtr& frame : std::exchange(peer->waiting, {})) links_->Send(link, frame);
  DialSome(peer->used_ms);
}

void Publisher::OnLinkDown(LinkId link, size_t unsent, int64_t now_ms) {
  if (auto source = sources_.find(link); source != sources_.end()) {
    Forget(&source->second);
    sources_.erase(source);
    return;
  }
  auto found = by_link_.find(link);
  if (found == by_link_.end()) return;
  Peer* peer = found->second;
  by_link_.erase(found);
  counters_.dropped += unsent;
  DropWaiting(peer);
  if (!std::exchange(peer->up, false)) --connecting_;
  peer->link = 0;
  const int64_t grown = std::clamp(peer->backoff_ms * 2, options_.first_retry_ms, options_.last_retry_ms);
  peer->backoff_ms = now_ms - peer->used_ms > kSteadyMs ? options_.first_retry_ms : grown;
  peer->retry_ms = now_ms + peer->backoff_ms / 2 + static_cast<int64_t>(jitter_() % (peer->backoff_ms / 2 + 1));
}

void Publisher::Tick(int64_t now_ms) {
  Retarget();
  std::vector<LinkId> idle;
  for (const auto& [link, peer] : by_link_) {
    if (peer->up && now_ms - peer->used_ms > options_.idle_ms && links_->Unsent(link) == 0) idle.push_back(link);
  }
  for (LinkId link : idle) {
    Peer* peer = by_link_[link];
    by_link_.erase(link);
    peer->up = false;
    peer->link = 0;
    peer->backoff_ms = 0;
    links_->Close(link, "publish-idle");
  }
  DialSome(now_ms);
}

// ---- Receiving ------------------------------------------------------------------------------------------------------

bool Publisher::FromMember(LinkId link, Source* source) {
  Retarget();
  if (source->checked == topology_) return true;
  if (topology_ == nullptr || !peers_.contains(links_->PeerOf(link))) return false;
  source->checked = topology_;
  return true;
}

void Publisher::Forget(Source* source) {
  if (std::exchange(source->partial, false)) partial_bytes_ -= source->message.bytes() + source->missing;
  source->message = {};
  source->missing = 0;
}

void Publisher::OnMessage(LinkId link, const proto::BusMessage& message) {
  auto at = sources_.try_emplace(link).first;
  Source& source = at->second;
  if (!FromMember(link, &source)) {
    ++counters_.refused;
    Forget(&source);
    sources_.erase(at);
    return links_->Close(link, "publish-by-stranger");
  }
  if (message.has_publishpart()) {
    const std::string& part = message.publishpart().message();
    if (!source.partial || part.size() > source.missing) {
      ++counters_.refused;
      return Forget(&source);
    }
    source.message.message += part;
    source.missing -= part.size();
    if (source.missing > 0) return;
    partial_bytes_ -= source.message.bytes();
    source.partial = false;
    arrived_.push_back(std::exchange(source.message, {}));
    return;
  }
  if (source.partial) {
    ++counters_.refused;
    Forget(&source);
  }
  const bool sharded = message.has_publishshard();
  const proto::Publish& publish = sharded ? message.publishshard() : message.publish();
  PublishedMessage published{sharded, publish.channel(), publish.message()};
  if (publish.size() == 0) {
    arrived_.push_back(std::move(published));
    return;
  }
  const size_t room = options_.partial_limit - partial_bytes_;
  if (publish.size() <= publish.message().size() || publish.size() > room ||
      publish.size() + publish.channel().size() > room) {
    ++counters_.refused;
    return;
  }
  source.partial = true;
  source.missing = publish.size() - publish.message().size();
  partial_bytes_ += publish.size() + publish.channel().size();
  source.message = std::move(published);
}

void Publisher::OnMessagesEnd() {
  if (arrived_.empty()) return;
  std::vector<PublishedMessage> messages = std::exchange(arrived_, {});
  if (deliver_) deliver_(std::move(messages));
}

PublisherCounters Publisher::counters() const {
  PublisherCounters now = counters_;
  now.links = by_link_.size();
  for (const auto& [id, peer] : peers_) {
    now.waiting_bytes += peer.up ? links_->Unsent(peer.link) : peer.waiting_bytes;
  }
  now.partial_bytes = partial_bytes_;
  return now;
}

}  // namespace skein::bus
