// For tests of replication: nodes in one process, with real logs, that follow each other.
#ifndef SKEIN_NODE_REPLICATION_REPLICATION_TESTING_H_
#define SKEIN_NODE_REPLICATION_REPLICATION_TESTING_H_

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <utility>

#include "bus/state_file.h"
#include "glog/logging.h"
#include "node/node_testing.h"
#include "node/replication/replica_control.h"
#include "node/replication/replication.h"
#include "proto/bus.pb.h"
#include "proto/node_state.pb.h"

namespace skein::node {

class Live {
 public:
  struct Options {
    bool cluster = false;
    bool logs = true;
    uint32_t loops = 2, shards = 1;
    std::function<void(Config*)> configure;
    std::function<void(bus::Topology*)> topology = nullptr;  // at the start, of a cluster
  };
  explicit Live(Options options) : options_(std::move(options)) {
    char name[] = "/tmp/replication-test-XXXXXX";
    dir_ = mkdtemp(name);
    Start();
  }
  ~Live() {
    node_.reset();
    std::filesystem::remove_all(dir_);
  }
  void Start() {
    auto config = std::make_shared<Config>();
    config->bind = {"127.0.0.1"};
    config->dir = dir_;
    config->save = "";
    config->client_loops = options_.loops;
    config->storage_shards = options_.cluster ? options_.shards : 0;
    config->cluster_enabled = options_.cluster;
    config->appendonly = options_.logs;
    if (options_.configure) options_.configure(config.get());
    NodeOptions o;
    o.config = config;
    o.any_port = true;
    o.start_bus = [this](bus::BusOptions, bus::BusCallbacks callbacks) -> absl::StatusOr<std::unique_ptr<bus::Bus>> {
      auto bus = std::make_unique<HandBus>(std::move(callbacks));
      bus_ = bus.get();
      bus->Change([this](bus::Topology* t) {
        AloneWithAllSlots(t);
        if (options_.topology) options_.topology(t);
      });
      return bus;
    };
    absl::StatusOr<std::unique_ptr<NodeImpl>> node = NodeImpl::Start(std::move(o));
    CHECK(node.ok()) << node.status().message();
    node_ = *std::move(node);
  }
  void Stop() { node_.reset(); }
  // It has persisted that a node on this port is its replica.
  void KnowReplica(uint16_t port) {
    proto::NodeRecord own, other;
    own.set_id(std::string(20, '\xaa'));
    other.set_id(std::string(20, '\xbb'));
    other.set_primary_id(own.id());
    proto::NodeState state;
    state.set_format(1);
    state.set_own_record(own.SerializeAsString());
    state.add_nodes()->set_record(other.SerializeAsString());
    ASSERT_TRUE(bus::SaveState(bus::StatePath(dir_, "nodes.conf"), state).ok());
    options_.topology = [port](bus::Topology* t) {
      t->nodes.resize(2);
      t->nodes[1].SetIdentity({.id = std::string(40, 'b'), .ip = "127.0.0.1"});
      t->nodes[1].port = port;
      t->nodes[1].primary = false;
      t->nodes[1].primary_index = 0;
    };
  }
  NodeImpl& node() { return *node_; }
  HandBus& bus() { return *bus_; }
  // As commands get them: on a loop, where nothing is exchanged meanwhile.
  ReplicationInfo Info() {
    std::promise<ReplicationInfo> info;
    node_->Post(0, [&](LoopImpl&) { info.set_value(node_->replication()->Info()); });
    return info.get_future().get();
  }
  uint64_t offset() {
    std::promise<uint64_t> offset;
    node_->Post(0, [&](LoopImpl&) {
      uint64_t sum = 0;
      for (uint32_t i = 0; i < node_->shard_count(); ++i) sum += node_->ShardEnd(i);
      offset.set_value(sum);
    });
    return offset.get_future().get();
  }
  void Follow(Live& primary) {
    if (!options_.cluster) {
      TestClient client(node_->port());
      ASSERT_EQ(client.Ask({"REPLICAOF", "127.0.0.1", std::to_string(primary.node().port())}), "+OK\r\n");
    } else {
      bus_->Change([&](bus::Topology* t) {
        t->nodes.resize(2);
        t->nodes[0].SetIdentity({.id = std::string(40, 'b'), .ip = "127.0.0.1"});
        t->nodes[0].primary = false;
        t->nodes[0].primary_index = 1;
        t->nodes[1].SetIdentity({.id = std::string(40, 'a'), .ip = "127.0.0.1"});  // as every node here begins
        t->nodes[1].port = primary.node().port();
        t->nodes[1].primary = true;
        t->owner.fill(1);
      });
    }
  }
  bool linked() {
    const ReplicationInfo info = Info();
    if (!info.upstream) return false;
    for (const auto& flow : info.flows) {
      if (flow.state != FlowState::kConnected) return false;
    }
    return !info.flows.empty();
  }

 private:
  Options options_;
  std::string dir_;
  HandBus* bus_ = nullptr;
  std::unique_ptr<NodeImpl> node_;
};

inline std::string Set(TestClient& client, int i) {
  return client.Ask({"SET", "key:" + std::to_string(i), std::string(100, 'v')});
}

}  // namespace skein::node

#endif  // SKEIN_NODE_REPLICATION_REPLICATION_TESTING_H_
