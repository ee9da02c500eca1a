#include <arpa/inet.h>

#include <algorithm>
#include <bit>

#include "absl/strings/str_cat.h"
#include "bus/engine/core.h"

namespace skein::bus {
namespace {
constexpr int64_t kHelloRetryMs = 200;
constexpr int64_t kMaxBackoffMs = 2000;
constexpr int64_t kOwnAddressMs = 60000;  // for so long this node does not call itself there again
}  // namespace

void EngineCore::Send(LinkId link, std::shared_ptr<proto::BusMessage> message) {
  out_->push_back(SendEffect{link, std::move(message)});
}

void EngineCore::SendTo(const Node& node, std::shared_ptr<proto::BusMessage> message) {
  if (LinkId link = node.link(); link != 0) Send(link, std::move(message));
}

Node* EngineCore::Sender(LinkId link) {
  const bool in = link % 2 == 0;
  Node* node = recent_[link & (recent_.size() - 1)];
  if (node == nullptr || (in ? node->in : node->out.id) != link) {
    if (in) {
      auto it = inbound_.find(link);
      node = it == inbound_.end() ? nullptr : it->second;
    } else {
      auto it = outbound_.find(link);
      node = it == outbound_.end() ? nullptr : it->second.node;
    }
    if (node == nullptr) return nullptr;
    // Drivers number links one after the other, so nearly all find room.
    const size_t links = inbound_.size() + outbound_.size();
    if (recent_.size() < links) recent_.assign(std::bit_ceil(links), nullptr);
    recent_[link & (recent_.size() - 1)] = node;
  }
  return in || node->out.state == OutLink::kBound ? node : nullptr;
}

// Forgets the link in every map, then tells the driver.
void EngineCore::Close(LinkId link, const char* reason) {
  if (link == 0) return;
  OnLinkDown(link);
  out_->push_back(CloseEffect{link, reason});
}

void EngineCore::Dial(OutLink* out, Outbound whom, Text ip, uint16_t bus_port) {
  out->id = next_link_;
  next_link_ += 2;
  out->state = OutLink::kDialing;
  out->since_ms = now();
  outbound_[out->id] = whom;
  out_->push_back(DialEffect{out->id, ip.str(), bus_port});
  out->ip = std::move(ip);
}

void EngineCore::Greet(OutLink* out, const NodeId& expected, Introduction as) {
  out->state = OutLink::kGreeting;
  out->next_try_ms = now() + kHelloRetryMs;
  auto m = std::make_shared<proto::BusMessage>();
  proto::Hello* hello = m->mutable_hello();
  hello->set_id(self_->id().Bytes());
  if (!expected.empty()) hello->set_expected_id(expected.Bytes());
  hello->set_meet(as == Introduction::kMeet);
  if (as == Introduction::kSeed) {
    hello->set_introduce(true);
    hello->set_fresh(Fresh());
  }
  hello->set_your_ip(out->ip.str());
  hello->set_record(self_->record().bytes);
  Send(out->id, std::move(m));
}

void EngineCore::OnLinkUp(LinkId link) {
  auto it = outbound_.find(link);
  if (it == outbound_.end()) {
    ++stats_.late_events;
    return;
  }
  OutLink* out = it->second.node != nullptr ? &it->second.node->out : &it->second.handshake->out;
  if (out->state != OutLink::kDialing) return;
  out->since_ms = now();
  if (!started()) return Close(link, "starting");
  if (it->second.node != nullptr) {
    Greet(out, it->second.node->id(), it->second.node->introduce);
  } else {
    // One that is being answered (it has an id) has introduced itself already.
    const Handshake& h = *it->second.handshake;
    Greet(out, NodeId(),
          h.meet                   ? Introduction::kMeet
          : h.seed && h.id.empty() ? Introduction::kSeed
                                   : Introduction::kNone);
  }
}

// After a failure the next try waits longer, with jitter so that many nodes do not come at once.
void EngineCore::LostOut(OutLink* out) {
  bool was_bound = out->state == OutLink::kBound;
  out->state = OutLink::kNone;
  out->id = 0;
  int64_t wait = 0;
  if (was_bound) {
    out->failures = 0;
  } else {
    wait = std::min<int64_t>(kMaxBackoffMs, 50 << std::min<uint32_t>(out->failures, 8));
    wait += static_cast<int64_t>(random_.Below(wait / 2 + 1));
    ++out->failures;
  }
  out->next_try_ms = now() + wait;
}

void EngineCore::OnLinkDown(LinkId link) {
  gone_links_.Add(link, INT64_MAX);
  recent_[link & (recent_.size() - 1)] = nullptr;
  if (link % 2 == 0) {
    auto it = inbound_.find(link);
    if (it == inbound_.end()) return;
    if (it->second->in == link) it->second->in = 0;
    inbound_.erase(it);
    return;
  }
  auto it = outbound_.find(link);
  if (it == outbound_.end()) return;
  Outbound whom = it->second;
  outbound_.erase(it);
  OutLink* out = whom.node != nullptr ? &whom.node->out : &whom.handshake->out;
  LostOut(out);
  if (Node* node = whom.node; node != nullptr) {
    publish_ = true;
    Stir(node);
    node->ping_sent_ms = 0;
    if (node->unanswered_ms == 0) {
      node->unanswered_ms = now();
      node->unanswered_unix_ms = now_.unix_ms;
    }
  }
}

void EngineCore::OnHello(const MessageEvent& event, const proto::Hello& hello) {
  auto id = NodeId::FromBytes(hello.id());
  if (!id || event.link % 2 != 0 || hello.record().size() > kMaxRecordBytes || !PlausibleIp(hello.your_ip(), true)) {
    return Refuse(event.link, "bad hello");
  }
  Node* node = *id == self_->id() ? nullptr : table_.Find(*id);
  if (Node* before = Sender(event.link); before != nullptr && before != node) {
    return Refuse(event.link, "identity changed");
  }
  // A stranger may tell us our address if we have none; to move it takes a member.
  if (hello.meet() && *id != self_->id() && (node != nullptr || own_.ip().empty())) {
    LearnOwnIp(hello.your_ip(), "CLUSTER MEET");
  }
  // A seed is no operator: it brings no forgotten node back, and joins only those of whom one is fresh.
  bool introduced = !hello.meet() && hello.introduce() && (hello.fresh() || Fresh()) && !forgotten_.Has(*id, now());
  if (node != nullptr) {
    if (node->in != event.link) {
      LinkId old = node->in;
      node->in = 0;
      Close(old, "replaced");
      node->in = event.link;
      inbound_[event.link] = node;
    }
    if (PlausibleIp(event.remote_ip, false) && node->seen_ip.str() != event.remote_ip) {
      node->seen_ip = Text(event.remote_ip, node->shared_record());
      node->no_address = false;
      members_dirty_ = publish_ = true;
    }
    if (TakeRecord(hello.record(), node) == Taken::kRefused) ++stats_.messages_refused;
    Heard(node);
    // It lives and knows us: no reason to wait with our own link.
    if (node->out.state == OutLink::kNone || node->out.state == OutLink::kGreeting) {
      node->out.next_try_ms = std::min(node->out.next_try_ms, now());
    }
  } else if ((hello.meet() || introduced) && *id != self_->id() && started()) {
    absl::StatusOr<Record> record = ReadRecord(hello.record());
    if (!record.ok() || record->id != *id) return Refuse(event.link, "bad hello");
    // What a node that has moved says of its own address is older than what its link shows.
    const std::string& ip = record->ip_fixed ? record->ip : event.remote_ip;
    Introduction as = introduced ? Introduction::kSeed : Introduction::kNone;
    if (!StartHandshake(ip, record->port, record->bus_port, *id, as)) ++stats_.messages_refused;
  } else if (*id != self_->id()) {
    ++stats_.messages_from_strangers;
  }
  auto m = std::make_shared<proto::BusMessage>();
  proto::Welcome* welcome = m->mutable_welcome();
  welcome->set_id(self_->id().Bytes());
  welcome->set_known(node != nullptr);
  welcome->set_fresh(Fresh());
  if (PlausibleIp(event.remote_ip, false)) welcome->set_your_ip(event.remote_ip);
  welcome->set_record(self_->record().bytes);
  Send(event.link, std::move(m));
  if (node != nullptr) TendLink(node);
}

void EngineCore::OnWelcome(const MessageEvent& event, const proto::Welcome& welcome) {
  auto it = outbound_.find(event.link);
  auto id = NodeId::FromBytes(welcome.id());
  if (it == outbound_.end()) {
    ++stats_.late_events;
    return;
  }
  OutLink& out = it->second.node != nullptr ? it->second.node->out : it->second.handshake->out;
  if (!id || out.state == OutLink::kDialing || !PlausibleIp(welcome.your_ip(), true)) {
    return Refuse(event.link, "bad welcome");
  }
  if (it->second.handshake != nullptr) return WelcomeFromHandshake(it->second.handshake, *id, welcome);
  WelcomeFromNode(it->second.node, *id, welcome);
}

void EngineCore::WelcomeFromHandshake(Handshake* handshake, const NodeId& id, const proto::Welcome& welcome) {
  if (id == self_->id()) {
    std::string address = absl::StrCat(handshake->ip, ":", handshake->bus_port);
    own_addresses_.Add(address, now() + kOwnAddressMs);
    if (!handshake->seed) Note(EventKind::kAddress, absl::StrCat("the node at ", address, " is this node itself"));
    return DropHandshake(handshake, "self");
  }
  if (!handshake->id.empty() && handshake->id != id) return DropHandshake(handshake, "wrong node");
  Node* node = table_.Find(id);
  if (node == nullptr) {
    absl::StatusOr<RecordPtr> record = Read(welcome.record());
    if (!record.ok() || (*record)->id != id || !EpochPlausible((*record)->config_epoch)) {
      ++stats_.messages_refused;
      return DropHandshake(handshake, "bad welcome");
    }
    if (handshake->seed && !MayAdopt(*handshake, id, welcome)) return DropHandshake(handshake, "another cluster");
    attached_ |= !welcome.fresh();
    forgotten_.Expire(id);  // an operator's MEET is stronger than an earlier FORGET
    current_epoch_ = std::max(current_epoch_, (*record)->config_epoch);
    node = table_.Add(*std::move(record));
    if (node == nullptr) return DropHandshake(handshake, "too many nodes");
    table_.heard_ms(*node) = node->direct_ms = now();
    node->seen_ip = handshake->out.ip;
    node->last_sync_ms = now() - 1000;
    if (handshake->id.empty()) node->introduce = handshake->seed ? Introduction::kSeed : Introduction::kMeet;
    news_.push_back(id);
    owners_dirty_ = members_dirty_ = publish_ = lease_dirty_ = true;
    Note(EventKind::kJoin, absl::StrCat("node ", Name(*node), " joined: ", handshake->seed ? "found by a seed" : "met",
                                        " at ", handshake->ip, ":", handshake->bus_port));
  }
  // A link on which it has proven itself is better than one that is still being tried, perhaps at an old address.
  if (node->out.state == OutLink::kDialing || node->out.state == OutLink::kGreeting) Close(node->out.id, "found");
  if (node->out.state == OutLink::kNone) {  // its link becomes the node's
    node->out = handshake->out;
    outbound_[node->out.id] = {node, nullptr};
    handshake->out = OutLink();
    DropHandshake(handshake, "met");
    WelcomeFromNode(node, id, welcome);
  } else {
    DropHandshake(handshake, "already linked");
  }
}

void EngineCore::WelcomeFromNode(Node* node, const NodeId& id, const proto::Welcome& welcome) {
  if (id != node->id()) {
    LinkId link = node->out.id;
    if (!node->no_address) {
      Note(EventKind::kAddress, absl::StrCat("another node, ", id.Hex(), ", answers at the address of ", Name(*node)));
    }
    node->no_address = publish_ = true;
    node->out.failures = std::max<uint32_t>(node->out.failures, 6);
    return Close(link, id == self_->id() ? "self" : "wrong node");
  }
  node->no_address = false;
  node->seen_ip = node->out.ip;
  if (TakeRecord(welcome.record(), node) == Taken::kRefused) ++stats_.messages_refused;
  Heard(node);
  Observe(node, welcome.your_ip());
  if (!welcome.known()) {
    // It lives, but has not heard of us yet, or has forgotten us: say Hello again, ever more seldom.
    node->unanswered_ms = 0;
    node->out.failures++;
    // Often enough that its answers keep it from being suspected.
    int64_t slow = std::clamp<int64_t>(timeout() / 3, 100, kMaxBackoffMs);
    node->out.next_try_ms = now() + std::min<int64_t>(slow, kHelloRetryMs * node->out.failures);
    if (node->out.state == OutLink::kBound) {
      node->out.state = OutLink::kGreeting;
      publish_ = true;
      Stir(node);
    }
    return;
  }
  if (node->out.state == OutLink::kGreeting) Bound(node);
}

void EngineCore::Bound(Node* node) {
  node->out.state = OutLink::kBound;
  node->introduce = Introduction::kNone;
  node->out.since_ms = now();
  node->out.failures = 0;
  node->out.asked_ms = 0;
  node->unanswered_ms = 0;
  node->ping_sent_ms = 0;
  publish_ = true;
  Ping(node, TellIfSmall());
}

// A stranger's address must be acceptable, and there must be room.
bool EngineCore::StartHandshake(const std::string& ip, uint16_t port, uint16_t bus_port, const NodeId& id,
                                Introduction as) {
  if (!PlausibleIp(ip, false) || bus_port == 0) return false;
  for (const auto& h : handshakes_) {
    if (h->ip == ip && h->bus_port == bus_port) {
      if (as == Introduction::kMeet) {
        h->meet = true;
        h->seed = false;
      }
      return true;
    }
  }
  if (handshakes_.size() >= kMaxHandshakes) return false;
  auto h = std::make_unique<Handshake>();
  h->shown_id = NodeId::Make(&random_);
  h->id = id;
  h->ip = ip;
  h->port = port;
  h->bus_port = bus_port;
  h->meet = as == Introduction::kMeet;
  h->seed = as == Introduction::kSeed;
  h->until_ms = now() + (h->seed ? std::clamp<int64_t>(timeout() / 2, 1000, 5000) : std::max<int64_t>(timeout(), 1000));
  h->out.next_try_ms = now();
  handshakes_.push_back(std::move(h));
  publish_ |= !handshakes_.back()->seed;
  if (started())
    Dial(&handshakes_.back()->out, {nullptr, handshakes_.back().get()}, Text(ip, self_->shared_record()), bus_port);
  return true;
}

void EngineCore::DropHandshake(Handshake* handshake, const char* reason) {
  Close(handshake->out.id, reason);
  auto it = std::find_if(handshakes_.begin(), handshakes_.end(), [&](const auto& h) { return h.get() == handshake; });
  handshakes_.erase(it);
  publish_ = true;
}

void EngineCore::TendHandshakes() {
  for (size_t i = handshakes_.size(); i-- > 0;) {
    Handshake* h = handshakes_[i].get();
    if (now() >= h->until_ms) {
      if (!h->seed)
        Note(EventKind::kAddress, absl::StrCat("no node proved itself at ", h->ip, ":", h->bus_port, ": given up"));
      DropHandshake(h, "handshake timeout");
    } else if (h->out.state == OutLink::kNone && now() >= h->out.next_try_ms && started()) {
      Dial(&h->out, {nullptr, h}, Text(h->ip, self_->shared_record()), h->bus_port);
    } else if (h->out.state == OutLink::kGreeting && now() >= h->out.next_try_ms + 1000) {
      Close(h->out.id, "no welcome");
    }
  }
}

// Keeps one outbound link to each member.
void EngineCore::TendLink(Node* node) {
  OutLink& out = node->out;
  int64_t patience = std::max<int64_t>(timeout() / 2, 500);
  if (out.state == OutLink::kNone && started() && dials_left_ > 0 && now() >= out.next_try_ms) {
    const Record& r = node->record();
    // The record's address, unless that has failed and the node was seen elsewhere.
    bool seen = r.ip.empty() || (out.failures % 2 == 1 && !node->seen_ip.empty());
    Text ip = seen ? node->seen_ip : Text(r.ip, node->shared_record());
    if (ip.empty() || (node->fail && dead_dials_left_ == 0)) return;
    --dials_left_;
    if (node->fail) --dead_dials_left_;
    Dial(&out, {node, nullptr}, std::move(ip), r.bus_port);
  } else if (out.state == OutLink::kDialing && now() - out.since_ms > patience) {
    Close(out.id, "dial timeout");
  } else if (out.state == OutLink::kGreeting && now() >= out.next_try_ms) {
    if (now() - out.since_ms > patience && node->direct_ms < now() - patience) {
      Close(out.id, "no welcome");
    } else {
      Greet(&out, node->id(), node->introduce);
    }
  } else if (out.state == OutLink::kBound && out.asked_ms != 0 && now() - out.asked_ms > patience) {
    Close(out.id, "no pong");  // perhaps only the connection is dead
  }
}

void EngineCore::LearnOwnIp(const std::string& ip, const char* how) {
  if (options_.ip.empty() && PlausibleIp(ip, false) && own_.ip() != ip) {
    Note(EventKind::kAddress, absl::StrCat("own address is ", ip, ", learnt from ", how));
    own_.set_ip(ip);
    OwnChanged();
  }
}

// What `from` sees as our address. One differing word does not move a node that others see where it was.
void EngineCore::Observe(Node* from, const std::string& ip) {
  if (!PlausibleIp(ip, false)) return;
  from->observed_me = Text(ip, self_->shared_record());
  if (own_.ip() == ip || !options_.ip.empty()) return;
  size_t news = 0, olds = 0;
  for (const auto& node : table_.all()) {
    news += node->observed_me.str() == ip;
    olds += !own_.ip().empty() && node->observed_me.str() == own_.ip();
  }
  if (news > olds) LearnOwnIp(ip, "how others see us");
}

void EngineCore::DropNode(Node* node, const char* reason) {
  Close(node->out.id, reason);
  for (auto it = inbound_.begin(); it != inbound_.end();) {
    LinkId link = it->first;
    bool its = it->second == node;
    ++it;
    if (its) Close(link, reason);
  }
  for (auto* moves : {&migrating_, &importing_}) {
    for (auto it = moves->begin(); it != moves->end();) {
      it = it->second == node->id() ? moves->erase(it) : std::next(it);
    }
  }
  if (node->voter()) {  // nobody else's reports are kept
    for (const auto& other : table_.all()) {
      if (other->troubled()) other->change_trouble().reports.erase(node->id());
    }
  }
  std::erase(own_voters_, node->index);
  table_.Remove(node);
  owners_dirty_ = members_dirty_ = publish_ = lease_dirty_ = true;
}

}  // namespace skein::bus
