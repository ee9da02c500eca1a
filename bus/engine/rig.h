// One engine driven by hand, for unit tests: events in, effects looked at, peers played by the test.
#ifndef SKEIN_BUS_ENGINE_RIG_H_
#define SKEIN_BUS_ENGINE_RIG_H_

#include <memory>
#include <string>
#include <vector>

#include "bus/engine/engine.h"
#include "bus/engine/ids.h"
#include "proto/bus.pb.h"
#include "proto/node_state.pb.h"

namespace skein::bus {

inline EngineOptions WithTimeout(int64_t node_timeout_ms) {
  EngineOptions options;
  options.node_timeout_ms = node_timeout_ms;
  return options;
}

// A node that the test plays.
struct Peer {
  explicit Peer(uint64_t seed, std::string address = "10.1.0.9") : random(seed), ip(std::move(address)) {
    record.set_id(NodeId::Make(&random).Bytes());
    record.set_shard_id(NodeId::Make(&random).Bytes());
    record.set_version(1);
    record.set_ip(ip);
    record.set_port(7000);
    record.set_bus_port(17000);
  }
  std::string id() const { return record.id(); }
  std::string hex() const { return NodeId::FromBytes(record.id())->Hex(); }
  void Claim(uint32_t first, uint32_t last, uint64_t epoch) {
    record.clear_slot_ranges();
    record.add_slot_ranges(first);
    record.add_slot_ranges(last);
    record.set_config_epoch(epoch);
    record.set_version(record.version() + 1);
  }

  Random random;
  std::string ip;
  proto::NodeRecord record;
  LinkId in = 0, out = 0;  // its link to the engine, the engine's to it
};

class Rig {
 public:
  explicit Rig(EngineOptions options = {}, StatePtr state = nullptr);

  // One event at the present time; effects are appended to `effects`.
  void Step(const Event& event);
  void Tick(int64_t ms = 100);
  // Ticks of 100 ms.
  void Run(int64_t ms);
  // Answers all Persist effects so far.
  void PersistAll();
  // Answers Fenced for the newest topology.
  void Fence();
  // Forgets the effects so far, answered or not.
  void Clear();
  uint64_t Command(OperatorCommand command);
  // The reply to a request, or null so far.
  const OperatorReply* ReplyTo(uint64_t request) const;
  // Gives the command, the disk and the data plane what they need, and returns the reply's text.
  std::string Do(OperatorCommand command);

  // Feeds a message; returns the link. 0: a new inbound link.
  LinkId Receive(const proto::BusMessage& message, LinkId link = 0, const std::string& ip = "10.1.0.9");
  // The peer dials, says Hello (with MEET), is dialled back and proves itself: afterwards both links are bound.
  void Join(Peer* peer);
  // A member says Hello on a new link, as after a restart of either.
  void Hello(Peer* peer);
  // The answer to a member's ping.
  proto::Heartbeat Ping(const Peer& from);
  void SendRecord(const Peer& from, const Peer& about);
  void Pong(const Peer& peer, uint64_t seq);
  // Messages of one kind sent since `from` in `effects`.
  std::vector<MessagePtr> Sent(proto::BusMessage::BodyCase kind, size_t from = 0) const;
  template <typename T>
  const T* Last() const {
    for (size_t i = effects.size(); i-- > 0;) {
      if (const T* e = std::get_if<T>(&effects[i])) return e;
    }
    return nullptr;
  }
  const Topology& topology() const { return *engine->topology(); }
  const TopologyNode* Find(const std::string& hex) const;

  std::unique_ptr<Engine> engine;
  Effects effects;
  Now now{1000, 1700000000000};

 private:
  LinkId next_inbound_ = 2;
  uint64_t next_request_ = 1;
  size_t persisted_ = 0;  // effects looked at by PersistAll
};

}  // namespace skein::bus

#endif  // SKEIN_BUS_ENGINE_RIG_H_
