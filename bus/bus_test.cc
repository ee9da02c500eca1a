// The bus as the node uses it: the real engine, real sockets, real files, several nodes in one process.
#include "bus/bus.h"

#include <stdlib.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <fstream>
#include <future>
#include <mutex>
#include <thread>

#include "bus/state_file.h"
#include "bus/temp_dir.h"
#include "bus/tls/test_certificates.h"
#include "glog/logging.h"
#include "gtest/gtest.h"
#include "proto/bus.pb.h"
#include "proto/node_state.pb.h"

namespace skein::bus {
namespace {

class Node {
 public:
  static BusOptions Options(const std::string& dir, uint16_t bus_port, bool bootstrap, const std::string& ip,
                            bool announce, const BusOptions& base = {}) {
    BusOptions options = base;
    options.dir = dir;
    options.bind = {ip};
    if (announce) options.announce_ip = ip;
    options.bus_port = bus_port;
    options.node_timeout_ms = 2000;
    options.bootstrap = bootstrap;
    return options;
  }
  explicit Node(const std::string& dir, uint16_t bus_port = 0, bool bootstrap = false,
                const std::string& ip = "127.0.0.1", bool announce = true, const BusOptions& base = {})
      : Node(Options(dir, bus_port, bootstrap, ip, announce, base)) {}
  explicit Node(BusOptions options) : options_(std::move(options)) {
    BusCallbacks callbacks;
    callbacks.publish = [this](TopologyPtr topology) {
      std::lock_guard lock(mutex_);
      topology_ = std::move(topology);
      // As the shards do: at once it is applied.
      if (bus_ != nullptr) bus_->Fenced(topology_->version);
      changed_.notify_all();
    };
    callbacks.data_plane = [](DataPlane* now) { now->positions = {1, 2}; };
    auto started = Bus::Start(options_, callbacks);
    status_ = started.status();
    if (!started.ok()) return;
    std::lock_guard lock(mutex_);
    bus_ = *std::move(started);
    bus_->Fenced(topology_->version);
  }
  ~Node() {
    if (bus_ != nullptr) bus_->Stop().IgnoreError();
  }

  Bus* operator->() { return bus_.get(); }
  const absl::Status& status() const { return status_; }
  absl::Status Check() const { return Bus::Check(options_); }
  TopologyPtr topology() {
    std::lock_guard lock(mutex_);
    return topology_;
  }
  std::string id() { return topology()->me().id(); }
  // Waits for a topology that fits; false after 20 s.
  bool Await(const std::function<bool(const Topology&)>& fits) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), [&] { return fits(*topology_); });
  }
  OperatorReply Do(OperatorCommand command) {
    std::promise<OperatorReply> reply;
    bus_->Submit(std::move(command), [&](OperatorReply r) { reply.set_value(std::move(r)); });
    return reply.get_future().get();
  }
  BusStats Stats() {
    std::promise<BusStats> stats;
    bus_->GetStats([&](BusStats s) { stats.set_value(std::move(s)); });
    return stats.get_future().get();
  }

 private:
  BusOptions options_;
  absl::Status status_;
  std::mutex mutex_;
  std::condition_variable changed_;
  TopologyPtr topology_;
  std::unique_ptr<Bus> bus_;
};

bool Formed(const Topology& topology, size_t nodes) {
  if (topology.nodes.size() != nodes || !topology.ok || topology.slots_assigned != kSlots) return false;
  for (size_t i = 1; i < nodes; ++i) {
    if (!topology.nodes[i].link_up || topology.nodes[i].handshake || topology.nodes[i].slot_count == 0) return false;
  }
  return true;
}

TEST(Bus, ThreeNodesFormAClusterAndComeBack) {
  TempDir dirs[3];
  std::string ids[3];
  uint16_t ports[3];
  {
    Node a(dirs[0].path()), b(dirs[1].path()), c(dirs[2].path());
    Node* nodes[3] = {&a, &b, &c};
    for (size_t i = 0; i < 3; ++i) {
      ASSERT_TRUE(nodes[i]->status().ok()) << nodes[i]->status();
      ids[i] = nodes[i]->id();
      ports[i] = (*nodes[i])->bus_port();
      OperatorReply reply = nodes[i]->Do(
          AddSlotsCommand{{{static_cast<uint16_t>(i * kSlots / 3), static_cast<uint16_t>((i + 1) * kSlots / 3 - 1)}}});
      EXPECT_EQ(reply.text, "OK");
    }
    EXPECT_EQ(a.Do(MeetCommand{"127.0.0.1", 6379, ports[1]}).text, "OK");
    EXPECT_EQ(a.Do(MeetCommand{"127.0.0.1", 6379, ports[2]}).text, "OK");
    for (Node* node : nodes) {
      ASSERT_TRUE(node->Await([](const Topology& topology) { return Formed(topology, 3); }))
          << node->topology()->why_not_ok;
    }
    std::promise<std::vector<LinkInfo>> links;
    a->GetLinks([&](std::vector<LinkInfo> infos) { links.set_value(std::move(infos)); });
    EXPECT_GE(links.get_future().get().size(), 4u);
    BusStats stats = a.Stats();
    EXPECT_GT(stats.bytes_received, 0u);
    EXPECT_EQ(stats.messages_refused, 0u);
    for (Node* node : nodes) EXPECT_TRUE((*node)->Stop().ok());
  }
  // All restart, one after another, and find each other by what they kept.
  Node a(dirs[0].path(), ports[0]), b(dirs[1].path(), ports[1]), c(dirs[2].path(), ports[2]);
  Node* nodes[3] = {&a, &b, &c};
  for (size_t i = 0; i < 3; ++i) {
    ASSERT_TRUE(nodes[i]->status().ok()) << nodes[i]->status();
    EXPECT_EQ(nodes[i]->id(), ids[i]);
    EXPECT_EQ(nodes[i]->topology()->me().slot_count, (i + 1) * kSlots / 3 - i * kSlots / 3);
  }
  for (Node* node : nodes) {
    ASSERT_TRUE(node->Await([](const Topology& topology) { return Formed(topology, 3); }));
  }
}

// Peers tell a node where it came from, and it takes that for its address.
TEST(Bus, LinksComeFromTheAddressTheNodeListensOn) {
  TempDir a_dir, b_dir;
  Node a(a_dir.path(), 0, true, "127.0.0.2", false), b(b_dir.path(), 0, false, "127.0.0.3", false);
  ASSERT_TRUE(a.status().ok() && b.status().ok()) << a.status() << b.status();
  EXPECT_EQ(a.Do(MeetCommand{"127.0.0.3", 6379, b->bus_port()}).text, "OK");
  auto met = [](const Topology& t) {
    return t.nodes.size() == 2 && !t.nodes[1].handshake && t.nodes[1].link_up && !t.me().ip().empty();
  };
  ASSERT_TRUE(a.Await(met));
  ASSERT_TRUE(b.Await(met));
  EXPECT_EQ(a.topology()->me().ip(), "127.0.0.2");
  EXPECT_EQ(a.topology()->nodes[1].ip(), "127.0.0.3");
  EXPECT_EQ(b.topology()->me().ip(), "127.0.0.3");
  EXPECT_EQ(b.topology()->nodes[1].ip(), "127.0.0.2");
}

TEST(Bus, WhoIsAReplicaIsKnownBeforeTheStart) {
  TempDir dir;
  BusOptions options;
  options.dir = dir.path();
  const auto begins = [&] { return Bus::BeginsAs(options); };
  EXPECT_EQ(begins(), Bus::Begins::kPrimary);  // a new node
  const auto save = [&](const std::string& primary, uint64_t promoting) {
    proto::NodeRecord own;
    own.set_id(std::string(20, 'a'));
    own.set_primary_id(primary);
    proto::NodeState state;
    state.set_format(1);
    state.set_own_record(own.SerializeAsString());
    state.set_promoting_epoch(promoting);
    ASSERT_TRUE(SaveState(StatePath(options.dir, options.config_file), state).ok());
  };
  save("", 0);
  EXPECT_EQ(begins(), Bus::Begins::kPrimary);
  save(std::string(20, 'b'), 0);
  EXPECT_EQ(begins(), Bus::Begins::kReplica);
  save("", 7);
  EXPECT_EQ(begins(), Bus::Begins::kReplica);

  proto::NodeRecord own, other;
  own.set_id(std::string(20, 'a'));
  const auto know = [&](const std::string& primary_of_other) {
    other.set_id(std::string(20, 'c'));
    other.set_primary_id(primary_of_other);
    proto::NodeState state;
    state.set_format(1);
    state.set_own_record(own.SerializeAsString());
    state.add_nodes()->set_record(other.SerializeAsString());
    ASSERT_TRUE(SaveState(StatePath(options.dir, options.config_file), state).ok());
  };
  know(std::string(20, 'b'));
  EXPECT_EQ(begins(), Bus::Begins::kPrimary);
  know(own.id());
  EXPECT_EQ(begins(), Bus::Begins::kPrimaryWithReplicas);
  own.set_primary_id(std::string(20, 'b'));
  know(own.id());
  EXPECT_EQ(begins(), Bus::Begins::kReplica);  // that others follow
}

TEST(Bus, ASingleNodeWithAllSlotsMayWrite) {
  TempDir dir;
  Node node(dir.path(), 0, true);
  ASSERT_TRUE(node.status().ok()) << node.status();
  ASSERT_TRUE(node.Await([](const Topology& topology) { return topology.ok; }));
  EXPECT_EQ(node.topology()->me().slot_count, kSlots);
  EXPECT_EQ(node->writable_until_ms(), INT64_MAX);
}

// With both kinds of proof and workers that come and go, new secrets and certificates reach every link while the
// cluster goes on as if nothing were.
TEST(Bus, L22_L36_SecretsAndCertificatesChangeOnALiveCluster) {
  TestAuthority authority("bus");
  TempDir dirs[3];
  std::unique_ptr<Node> nodes[3];
  const auto certify = [&](size_t i) {
    TlsOptions tls;
    const TestCertificate own = authority.Issue({"node-" + std::to_string(i)});
    std::string names[] = {dirs[i].path() + "/cert", dirs[i].path() + "/key", dirs[i].path() + "/ca"};
    std::ofstream(names[0]) << own.cert;
    std::ofstream(names[1]) << own.key;
    std::ofstream(names[2]) << authority.cert();
    tls.cert_file = names[0];
    tls.key_file = names[1];
    tls.ca_cert_file = names[2];
    return tls;
  };
  BusOptions options[3];
  for (size_t i = 0; i < 3; ++i) {
    options[i].secrets = {"the first secret of three nodes"};
    options[i].tls_cluster = true;
    options[i].tls = certify(i);
    options[i].io_threads = static_cast<uint32_t>(i);
    options[i].renew_within_ms = 300;
    nodes[i] = std::make_unique<Node>(dirs[i].path(), 0, false, "127.0.0.1", true, options[i]);
    ASSERT_TRUE(nodes[i]->status().ok()) << nodes[i]->status();
    nodes[i]->Do(
        AddSlotsCommand{{{static_cast<uint16_t>(i * kSlots / 3), static_cast<uint16_t>((i + 1) * kSlots / 3 - 1)}}});
  }
  for (size_t i : {1, 2}) nodes[0]->Do(MeetCommand{"127.0.0.1", 6379, (*nodes[i])->bus_port()});
  const auto formed = [&] {
    for (auto& node : nodes) {
      if (!node->Await([](const Topology& topology) { return Formed(topology, 3); })) return false;
    }
    return true;
  };
  ASSERT_TRUE(formed());
  for (const std::vector<std::string>& secrets :
       {std::vector<std::string>{"the first secret of three nodes", "and the one that comes next"},
        {"and the one that comes next", "the first secret of three nodes"},
        {"and the one that comes next"}}) {
    for (size_t i = 0; i < 3; ++i) {
      options[i].secrets = secrets;
      options[i].tls = certify(i);
      absl::StatusOr<BusTrust> trust = LoadTrust(options[i]);
      ASSERT_TRUE(trust.ok()) << trust.status();
      (*nodes[i])->SetSecrets(trust->secrets);
      (*nodes[i])->SetTls(trust->tls);
      (*nodes[i])->SetIoThreads(static_cast<uint32_t>(secrets.size() + i) % 3);
    }
  }
  const auto count = [](Node* node, const std::string& reason) {
    for (const auto& [name, closes] : node->Stats().closes) {
      if (name == reason) return closes;
    }
    return uint64_t{0};
  };
  // Both are worth nothing any more, so the links were made anew; a node is not lost over it.
  const auto renewed = [&] {
    uint64_t closes = 0;
    for (auto& node : nodes) closes += count(node.get(), "tls-renewed") + count(node.get(), "secret-withdrawn");
    return closes >= 6;
  };
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!renewed() && std::chrono::steady_clock::now() < end) {
    for (auto& node : nodes) {
      const TopologyPtr seen = node->topology();
      for (const TopologyNode& peer : seen->nodes) ASSERT_FALSE(peer.fail);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_TRUE(renewed());
  ASSERT_TRUE(formed());
  for (auto& node : nodes) {
    EXPECT_EQ(count(node.get(), "bad-proof"), 0u);
    EXPECT_EQ(count(node.get(), "certificate-mismatch"), 0u);
  }
}

TEST(Bus, L14_TrustThatIsNoneIsRefusedByCheckAndStartAlike) {
  TempDir dir;
  const auto refused = [&](const BusOptions& options) {
    Node node(dir.path(), 0, false, "127.0.0.1", true, options);
    EXPECT_FALSE(node.status().ok());
    EXPECT_EQ(node.status(), node.Check());
    return std::string(node.status().message());
  };
  BusOptions options;
  options.secrets = {"tooshort"};
  EXPECT_NE(refused(options).find("'cluster-secret': the secret must have 16"), std::string::npos);
  EXPECT_EQ(refused(options).find("tooshort"), std::string::npos);
  options.secret_file = dir.path() + "/secrets";
  EXPECT_NE(refused(options).find("set one of them"), std::string::npos);
  options.secrets.clear();
  EXPECT_NE(refused(options).find("No such file"), std::string::npos);
  std::ofstream(options.secret_file) << "\n \n";
  EXPECT_NE(refused(options).find("no secret in it"), std::string::npos);
  std::ofstream(options.secret_file) << std::string(20'000, 'x');
  EXPECT_NE(refused(options).find("longer than"), std::string::npos);
  std::ofstream(options.secret_file) << "a secret in a file\r\n\nanother secret in it\n";
  EXPECT_EQ((*LoadTrust(options)).secrets->size(), 2u);
  options.tls_cluster = true;
  EXPECT_NE(refused(options).find("tls-cluster yes"), std::string::npos);
}

TEST(Bus, TwoCannotShareAFileOrAPort) {
  TempDir dir, other;
  Node node(dir.path());
  ASSERT_TRUE(node.status().ok()) << node.status();
  Node same(dir.path());
  EXPECT_EQ(same.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(same.status().message().find("in use by another process"), absl::string_view::npos) << same.status();
  Node port(other.path(), node->bus_port());
  EXPECT_FALSE(port.status().ok());
  EXPECT_NE(port.status().message().find(std::to_string(node->bus_port())), absl::string_view::npos) << port.status();
  EXPECT_NE(access((other.path() + "/nodes.conf").c_str(), F_OK), 0) << "a failed start leaves no identity behind";
}

TEST(Bus, L14_CheckRefusesInTheSameWordsAsStart) {
  TempDir dir;
  std::ofstream(dir.path() + "/nodes.conf") << "vars currentEpoch 6 lastVoteEpoch 0\n";
  Node node(dir.path());
  EXPECT_EQ(node.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(node.status(), node.Check());
  EXPECT_NE(access((dir.path() + "/nodes.conf.lock").c_str(), F_OK), 0);
}

// A name whose addresses the test gives, as a headless Service does.
class Names {
 public:
  void Set(std::vector<std::string> ips) {
    std::lock_guard lock(mutex_);
    ips_ = std::move(ips);
  }
  std::vector<std::string> Get(const std::string& host) {
    std::lock_guard lock(mutex_);
    return host == "skein.test" ? ips_ : std::vector<std::string>{};
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> ips_;
};

TEST(Bus, NodesFindEachOtherByANameAndAgainAtOtherAddresses) {
  TempDir dirs[3];
  auto names = std::make_shared<Names>();
  uint16_t port = 0;
  {  // a port that is free, so likely on the other loopback addresses, too
    TempDir dir;
    Node probe(dir.path());
    ASSERT_TRUE(probe.status().ok()) << probe.status();
    port = probe->bus_port();
  }
  std::string ids[3];
  for (int net = 1; net <= 2; ++net) {
    std::vector<std::string> ips;
    std::vector<std::unique_ptr<Node>> nodes;
    for (size_t i = 0; i < 3; ++i) {
      ips.push_back("127.0." + std::to_string(net) + "." + std::to_string(i + 1));
      BusOptions options = Node::Options(dirs[i].path(), port, false, ips[i], false);  // its address is learnt
      options.seeds = {{"skein.test", port}};
      options.resolve = [names](const std::string& host) { return names->Get(host); };
      nodes.push_back(std::make_unique<Node>(options));
      ASSERT_TRUE(nodes[i]->status().ok()) << nodes[i]->status();
      if (net == 1) ids[i] = nodes[i]->id();
      EXPECT_EQ(nodes[i]->id(), ids[i]);
    }
    if (net == 1) {
      EXPECT_EQ(nodes[0]->Do(AddSlotsCommand{{{0, kSlots - 1}}}).text, "OK");
    }
    names->Set(ips);
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_TRUE(nodes[i]->Await([&](const Topology& t) {
        size_t right = 0;
        for (const TopologyNode& n : t.nodes) {
          for (size_t k = 0; k < 3; ++k) right += n.id() == ids[k] && n.ip() == ips[k] && n.link_up && !n.handshake;
        }
        return t.ok && t.nodes.size() == 3 && right == 3;
      })) << "net "
          << net << ", node " << i;
    }
    for (auto& node : nodes) EXPECT_TRUE((*node)->Stop().ok());
  }
}

}  // namespace
}  // namespace skein::bus
