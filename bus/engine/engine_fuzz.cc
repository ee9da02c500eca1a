// Messages of hostile peers and lying members into the engine. The bytes are a program: which link says what; messages
// are built of ids, epochs, versions and slots that lie on the engine's edges, or are taken as they come. Members may
// lie about themselves and may take slots by a higher epoch; nobody may change who this node is, make the engine hold
// more than its limits, or make it say what the wire does not carry.
#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "bus/engine/limits.h"
#include "bus/engine/rig.h"
#include "glog/logging.h"

namespace skein::bus {
namespace {

using proto::BusMessage;

constexpr int kMaxSteps = 48;
constexpr size_t kMaxSent = 1 << 20;  // the longest message of any kind

class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : at_(data), end_(data + size) {}
  bool empty() const { return at_ == end_; }
  uint8_t Byte() { return at_ == end_ ? 0 : *at_++; }
  template <typename T>
  T Pick(std::initializer_list<T> from) {
    return *(from.begin() + Byte() % from.size());
  }
  std::string Take(size_t n) {
    n = std::min(n, static_cast<size_t>(end_ - at_));
    std::string taken(reinterpret_cast<const char*>(at_), n);
    at_ += n;
    return taken;
  }
  uint64_t Number() {
    return Pick<uint64_t>({0, 1, 2, 3, 7, 100, 1u << 20, (1u << 20) + 1, uint64_t{1} << 32, uint64_t{1} << 63,
                           UINT64_MAX - 1, UINT64_MAX});
  }

 private:
  const uint8_t *at_, *end_;
};

class Fuzz {
 public:
  Fuzz(const uint8_t* data, size_t size)
      : in_(data, size), rig_(Options(size)), a_(1, "10.1.0.2"), b_(2, "10.1.0.3"), c_(3, "10.1.0.4") {
    rig_.Tick();
    rig_.PersistAll();
    rig_.Do(AddSlotsCommand{{{0, 99}}});
    rig_.Join(&a_);
    rig_.Join(&b_);
    a_.Claim(200, 299, 5);
    rig_.SendRecord(a_, a_);
    rig_.PersistAll();
    me_ = rig_.topology().me();
    for (const auto& ping : rig_.Sent(BusMessage::kPing)) {
      if (ping->ping().has_view()) members_ = ping->ping().view().members();
    }
    links_ = {a_.in, a_.out, b_.in, b_.out};
    rig_.effects.clear();
  }

  void Run() {
    for (int step = 0; step < kMaxSteps && !in_.empty(); ++step) {
      const uint64_t epoch = rig_.topology().current_epoch;
      Act();
      Check(epoch);
    }
  }

 private:
  static EngineOptions Options(size_t size) {
    EngineOptions options;
    options.hostname = "me.example";
    if (size % 2 != 0) options.small_cluster = 1;
    return options;
  }

  std::string Id() {
    const std::string own = NodeId::FromHex(me_.id())->Bytes();
    return in_.Pick<std::string>({own, a_.id(), b_.id(), c_.id(), std::string(), std::string(20, '\0'),
                                  std::string(19, 'x'), std::string(20, '\xff')});
  }

  std::string Record() {
    if (in_.Byte() % 4 == 0) return in_.Take(in_.Byte());
    proto::NodeRecord record;
    record.set_id(Id());
    record.set_version(in_.Number());
    record.set_shard_id(Id());
    record.set_ip(in_.Pick<std::string>({"10.1.0.2", "", "10.1.0.3", "not an address", std::string(100, '1')}));
    record.set_hostname(in_.Pick<std::string>({"", "other.example", std::string(300, 'h'), "a\nb"}));
    record.set_port(static_cast<uint32_t>(in_.Number()));
    record.set_bus_port(in_.Pick<uint32_t>({17000, 0, 65536, 1}));
    record.set_primary_id(in_.Byte() % 2 == 0 ? "" : Id());
    record.set_config_epoch(in_.Number());
    for (int n = in_.Byte() % 6; n > 0; --n) {
      record.add_slot_ranges(in_.Pick<uint32_t>({0, 50, 99, 100, 200, 300, 16383, 16384, UINT32_MAX}));
    }
    if (in_.Byte() % 4 == 0) record.set_slot_bitmap(std::string(in_.Pick<size_t>({2048, 2047, 1}), '\x11'));
    return record.SerializeAsString();
  }

  void FillView(proto::View* view) {
    view->set_digest(in_.Number());
    view->set_members(in_.Byte() % 2 == 0 ? members_ : in_.Number());
    view->set_node_count(static_cast<uint32_t>(in_.Number()));
    view->set_current_epoch(in_.Number());
    view->set_version(in_.Number());
    for (int n = in_.Byte() % 4; n > 0; --n) view->add_positions(in_.Number());
    view->set_decided_epoch(in_.Number());
    view->set_age_first(static_cast<uint32_t>(in_.Number()));
    view->set_age_count(static_cast<uint32_t>(in_.Number()));
    view->set_age_unit_ms(static_cast<uint32_t>(in_.Number()));
    view->set_ages(in_.Take(in_.Byte() % 8));
    for (int n = in_.Byte() % 4; n > 0; --n) view->add_suspects(Id());
  }

  BusMessage Message() {
    BusMessage m;
    switch (in_.Byte() % 10) {
      case 0:
        m.mutable_hello()->set_id(Id());
        m.mutable_hello()->set_expected_id(Id());
        m.mutable_hello()->set_meet(in_.Byte() % 2 == 0);
        m.mutable_hello()->set_your_ip(in_.Take(in_.Byte() % 16));
        m.mutable_hello()->set_record(Record());
        break;
      case 1:
        m.mutable_welcome()->set_id(Id());
        m.mutable_welcome()->set_known(in_.Byte() % 2 == 0);
        m.mutable_welcome()->set_record(Record());
        break;
      case 2:
      case 3: {
        proto::Heartbeat* beat = in_.Byte() % 2 == 0 ? m.mutable_ping() : m.mutable_pong();
        beat->set_seq(in_.Number());
        beat->set_stalled_ms(in_.Number());
        beat->set_your_version(in_.Number());
        beat->set_ask(in_.Number());
        const int flags = in_.Byte();
        beat->set_withheld((flags & 1) != 0);
        beat->set_no_mandate((flags & 2) != 0);
        beat->set_yields((flags & 4) != 0);
        beat->set_lasting((flags & 8) != 0);
        beat->set_durable((flags & 16) != 0);
        if (in_.Byte() % 4 != 0) FillView(beat->mutable_view());
        break;
      }
      case 4:
        for (int n = in_.Byte() % 4; n >= 0; --n) m.mutable_records()->add_record(Record());
        break;
      case 5: {
        proto::Sync* sync = m.mutable_sync();
        for (int n = in_.Pick<int>({0, 64, 63, 65}); n > 0; --n) sync->add_buckets(in_.Byte());
        sync->set_covered(in_.Number());
        for (int n = in_.Byte() % 4; n > 0; --n) {
          proto::RecordVersion* have = sync->add_have();
          have->set_id(Id());
          have->set_version(in_.Number());
        }
        for (int n = in_.Byte() % 4; n > 0; --n) sync->add_want(Id());
        break;
      }
      case 6:
        for (int n = in_.Byte() % 4; n > 0; --n) m.mutable_suspicions()->add_suspect(Id());
        for (int n = in_.Byte() % 4; n > 0; --n) m.mutable_suspicions()->add_cleared(Id());
        break;
      case 7:
        for (int n = in_.Byte() % 4; n > 0; --n) m.mutable_failed()->add_id(Id());
        break;
      case 8:
        m.mutable_forgotten()->set_id(Id());
        m.mutable_forgotten()->set_ttl_ms(static_cast<uint32_t>(in_.Number()));
        break;
      default: {
        // Whatever decodes, of any kind there is.
        const std::string raw = in_.Take(in_.Byte());
        if (!m.ParseFromString(raw)) m.Clear();
      }
    }
    return m;
  }

  void Act() {
    const uint8_t what = in_.Byte();
    if (what % 16 == 0) {
      rig_.Run(in_.Pick<int64_t>({100, 1000, 8000, 16000}));
    } else if (what % 16 == 1) {
      rig_.Step(LinkDownEvent{Link()});
    } else if (what % 16 == 2) {
      // The links that the engine has dialled meanwhile come up.
      for (LinkId link : std::vector<LinkId>(dialled_)) rig_.Step(LinkUpEvent{link});
      links_.insert(links_.end(), dialled_.begin(), dialled_.end());
      dialled_.clear();
    } else if (what % 16 == 3 && links_.size() < 32) {
      links_.push_back(rig_.Receive(Message(), 0, "10.1.0.4"));
    } else {
      rig_.Receive(Message(), Link(), "10.1.0.3");
    }
    // The disk answers; what it writes last is what counts.
    for (size_t i = 0; i < rig_.effects.size(); ++i) {
      if (const auto* persist = std::get_if<PersistEffect>(&rig_.effects[i])) rig_.Step(PersistedEvent{persist->id});
      CHECK_LT(i, 20000u) << "every answer makes the engine persist again";
    }
    rig_.Fence();
  }

  LinkId Link() { return links_[in_.Byte() % links_.size()]; }

  void Check(uint64_t epoch_before) {
    for (const Effect& effect : rig_.effects) {
      if (const auto* send = std::get_if<SendEffect>(&effect)) CHECK_LE(send->message->ByteSizeLong(), kMaxSent);
      if (const auto* close = std::get_if<CloseEffect>(&effect)) CHECK(close->reason != nullptr);
      if (const auto* dial = std::get_if<DialEffect>(&effect)) {
        CHECK(!dial->ip.empty() && dial->bus_port != 0);
        if (dialled_.size() < 32) dialled_.push_back(dial->link);
      }
    }
    rig_.effects.clear();
    CheckTopology(epoch_before);
    const EngineSizes sizes = rig_.engine->sizes();
    CHECK_LE(sizes.nodes, kMaxNodes);
    CHECK_LE(sizes.handshakes, kMaxHandshakes);
    CHECK_LE(sizes.forgotten, kMaxForgotten);
    CHECK_LE(sizes.gone_links, kMaxGoneLinks);
    CHECK_LE(sizes.waiting, kMaxPending);
    // Only ids that exist in this small world can have become known.
    CHECK_LE(sizes.nodes, 64u);
    CHECK_LE(sizes.reports, 64u * 64u);
  }

  void CheckTopology(uint64_t epoch_before) {
    const Topology& topology = rig_.topology();
    if (std::exchange(checked_, topology.version) == topology.version) return;
    const TopologyNode& me = topology.me();
    CHECK_EQ(me.id(), me_.id());
    CHECK_EQ(me.port, me_.port);
    CHECK_EQ(me.bus_port, me_.bus_port);
    CHECK_EQ(me.hostname(), me_.hostname());
    std::set<std::string> ids;
    for (size_t i = 0; i < topology.nodes.size(); ++i) {
      CHECK(ids.insert(topology.nodes[i].id()).second) << "a node stands there twice";
      CHECK_EQ(topology.nodes[i].myself, i == 0);
      CHECK_LE(topology.nodes[i].hostname().size(), kMaxHostName);
      CHECK_LE(topology.nodes[i].ip().size(), kMaxIpText);
    }
    for (NodeIndex owner : topology.owner) CHECK(owner == kNobody || owner < topology.nodes.size());
    CHECK_LE(topology.current_epoch - epoch_before, (1u << 20) * static_cast<uint64_t>(kMaxSteps));
  }

  Bytes in_;
  Rig rig_;
  Peer a_, b_, c_;
  uint64_t members_ = 0;  // what the views of those agree on who know the same members
  TopologyNode me_;
  std::vector<LinkId> links_, dialled_;
  uint64_t checked_ = 0;  // version of the topology
};

}  // namespace
}  // namespace skein::bus

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  skein::bus::Fuzz(data, size).Run();
  return 0;
}
