#include "bus/engine/rig.h"

#include "glog/logging.h"

namespace skein::bus {

Rig::Rig(EngineOptions options, StatePtr state) : engine(Engine::Create(options, std::move(state))) {}

void Rig::Step(const Event& event) { engine->Step(event, now, &effects); }

void Rig::Tick(int64_t ms) {
  now.mono_ms += ms;
  now.unix_ms += ms;
  Step(TickEvent{});
}

void Rig::Run(int64_t ms) {
  for (; ms > 0; ms -= 100) Tick();
}

void Rig::PersistAll() {
  for (; persisted_ < effects.size(); ++persisted_) {
    const auto* persist = std::get_if<PersistEffect>(&effects[persisted_]);
    if (persist != nullptr) Step(PersistedEvent{uint64_t{persist->id}});
  }
}

void Rig::Clear() {
  effects.clear();
  persisted_ = 0;
}

void Rig::Fence() { Step(FencedEvent{engine->topology()->version}); }

uint64_t Rig::Command(OperatorCommand command) {
  Step(OperatorEvent{next_request_, std::move(command)});
  return next_request_++;
}

const OperatorReply* Rig::ReplyTo(uint64_t request) const {
  for (const Effect& effect : effects) {
    const auto* reply = std::get_if<ReplyEffect>(&effect);
    if (reply != nullptr && reply->request == request) return &reply->reply;
  }
  return nullptr;
}

std::string Rig::Do(OperatorCommand command) {
  uint64_t request = Command(std::move(command));
  PersistAll();
  Fence();
  PersistAll();
  const OperatorReply* reply = ReplyTo(request);
  if (reply == nullptr) return "(no reply)";
  return reply->kind == OperatorReply::Kind::kInteger ? std::to_string(reply->number) : reply->text;
}

LinkId Rig::Receive(const proto::BusMessage& message, LinkId link, const std::string& ip) {
  if (link == 0) {
    link = next_inbound_;
    next_inbound_ += 2;
  }
  Step(MessageEvent{link, std::make_shared<proto::BusMessage>(message), ip});
  return link;
}

void Rig::Join(Peer* peer) {
  proto::BusMessage hello;
  hello.mutable_hello()->set_id(peer->id());
  hello.mutable_hello()->set_meet(true);
  hello.mutable_hello()->set_your_ip("10.1.0.1");
  hello.mutable_hello()->set_record(peer->record.SerializeAsString());
  peer->in = Receive(hello, 0, peer->ip);
  for (size_t i = effects.size(); i-- > 0 && peer->out == 0;) {
    const auto* dial = std::get_if<DialEffect>(&effects[i]);
    if (dial != nullptr && dial->ip == peer->ip) peer->out = dial->link;
  }
  CHECK_NE(peer->out, 0u) << "not dialled";
  Step(LinkUpEvent{peer->out});
  proto::BusMessage welcome;
  welcome.mutable_welcome()->set_id(peer->id());
  welcome.mutable_welcome()->set_known(true);
  welcome.mutable_welcome()->set_record(peer->record.SerializeAsString());
  Receive(welcome, peer->out, peer->ip);
  hello.mutable_hello()->set_meet(false);
  Receive(hello, peer->in, peer->ip);
  PersistAll();
  Tick();
}

void Rig::Hello(Peer* peer) {
  proto::BusMessage hello;
  hello.mutable_hello()->set_id(peer->id());
  hello.mutable_hello()->set_record(peer->record.SerializeAsString());
  peer->in = Receive(hello, 0, peer->ip);
}

proto::Heartbeat Rig::Ping(const Peer& from) {
  proto::BusMessage ping;
  ping.mutable_ping()->set_seq(1);
  const size_t before = effects.size();
  Receive(ping, from.in, from.ip);
  const auto pongs = Sent(proto::BusMessage::kPong, before);
  CHECK_EQ(pongs.size(), 1u) << "not answered";
  return pongs[0]->pong();
}

void Rig::SendRecord(const Peer& from, const Peer& about) {
  proto::BusMessage m;
  m.mutable_records()->add_record(about.record.SerializeAsString());
  Receive(m, from.in, from.ip);
}

void Rig::Pong(const Peer& peer, uint64_t seq) {
  proto::BusMessage m;
  m.mutable_pong()->set_seq(seq);
  Receive(m, peer.out, peer.ip);
}

std::vector<MessagePtr> Rig::Sent(proto::BusMessage::BodyCase kind, size_t from) const {
  std::vector<MessagePtr> sent;
  for (size_t i = from; i < effects.size(); ++i) {
    const auto* send = std::get_if<SendEffect>(&effects[i]);
    if (send != nullptr && send->message->body_case() == kind) sent.push_back(send->message);
  }
  return sent;
}

const TopologyNode* Rig::Find(const std::string& hex) const {
  for (const TopologyNode& node : engine->topology()->nodes) {
    if (node.id() == hex) return &node;
  }
  return nullptr;
}

}  // namespace skein::bus
