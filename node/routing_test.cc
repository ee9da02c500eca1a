#include "node/routing.h"

#include <string>
#include <utility>

#include "gtest/gtest.h"

namespace skein::node {
namespace {

constexpr uint16_t kMine = 1, kTheirs = 2, kGiving = 3, kTaking = 4, kOpen = 5;

std::shared_ptr<bus::Topology> MakeTopology() {
  auto t = std::make_shared<bus::Topology>();
  t->ok = true;
  t->nodes.resize(2);
  t->nodes[0].SetIdentity({.id = std::string(40, 'a'), .ip = "10.0.0.1"});
  t->nodes[0].port = 7000;
  t->nodes[1].SetIdentity({.id = std::string(40, 'b'), .ip = "10.0.0.2", .hostname = "b.example"});
  t->nodes[1].port = 7001;
  t->owner.fill(bus::kNobody);
  t->owner[kMine] = t->owner[kGiving] = 0;
  t->owner[kTheirs] = t->owner[kTaking] = 1;
  t->migrating = {{kGiving, std::string(40, 'b')}};
  t->importing = {{kTaking, std::string(40, 'b')}};
  return t;
}

class RoutingTest : public testing::Test {
 protected:
  void SetUp() override { Apply(); }
  void Apply() { routing_.Apply(topology_); }
  std::string Ask(uint16_t slot, bool write, Caller caller = {}, bool multiple = false, Routing::Presence p = {}) {
    CommandSpec spec{};
    spec.flags = write ? kFlagWrite : kFlagReadonly;
    const Verdict v =
        routing_.Decide(slot, spec, caller, multiple, config_.cluster_allow_reads_when_down, [&] { return p; });
    if (v == Verdict::kServe) return "serve";
    return Text(v, slot, caller.tls);
  }
  std::string Text(Verdict v, uint16_t slot, bool tls = false) {
    Buffer out;
    ReplyWriter reply(&out, 2);
    routing_.WriteRedirect(v, slot, config_, tls, &reply);
    return std::string(out.view());
  }

  std::shared_ptr<bus::Topology> topology_ = MakeTopology();
  Routing routing_;
  Config config_;
};

TEST_F(RoutingTest, WhoCameByTlsIsToldTlsPorts) {
  Caller by_tls;
  by_tls.tls = true;
  EXPECT_EQ(Ask(kTheirs, false, by_tls), "-MOVED 2 10.0.0.2:7001\r\n") << "the only port it has";
  topology_->nodes[1].tls_port = 7101;
  Apply();
  EXPECT_EQ(Ask(kTheirs, false, by_tls), "-MOVED 2 10.0.0.2:7101\r\n");
  EXPECT_EQ(Ask(kTheirs, false), "-MOVED 2 10.0.0.2:7001\r\n");
  topology_->nodes[1].port = 0;
  Apply();
  EXPECT_EQ(Ask(kTheirs, false), "-MOVED 2 10.0.0.2:7101\r\n");
}

TEST_F(RoutingTest, OwnAndForeignSlots) {
  EXPECT_TRUE(routing_.Plain(kMine));
  EXPECT_FALSE(routing_.Plain(kGiving));
  EXPECT_EQ(Ask(kMine, true), "serve");
  EXPECT_EQ(Ask(kTheirs, false), "-MOVED 2 10.0.0.2:7001\r\n");
  EXPECT_EQ(Ask(kOpen, false), "-CLUSTERDOWN Hash slot not served\r\n");
  EXPECT_EQ(Text(Verdict::kCrossSlot, kMine), "-CROSSSLOT Keys in request don't hash to the same slot\r\n");
}

TEST_F(RoutingTest, PreferredEndpoint) {
  config_.cluster_preferred_endpoint_type = "hostname";
  EXPECT_EQ(Ask(kTheirs, false), "-MOVED 2 b.example:7001\r\n");
  topology_->nodes[1].SetIdentity({.id = std::string(40, 'b'), .ip = "10.0.0.2"});
  EXPECT_EQ(Ask(kTheirs, false), "-MOVED 2 ?:7001\r\n");
  config_.cluster_preferred_endpoint_type = "unknown-endpoint";
  EXPECT_EQ(Ask(kTheirs, false), "-MOVED 2 :7001\r\n");
}

TEST_F(RoutingTest, MigratingSlot) {
  EXPECT_EQ(Ask(kGiving, true, {}, false, {0, 1}), "serve");
  EXPECT_EQ(Ask(kGiving, true, {}, false, {1, 0}), "-ASK 3 10.0.0.2:7001\r\n");
  EXPECT_EQ(Ask(kGiving, true, {}, true, {2, 0}), "-ASK 3 10.0.0.2:7001\r\n");
  EXPECT_EQ(Ask(kGiving, true, {}, true, {1, 1}), "-TRYAGAIN Multiple keys request during rehashing of slot\r\n");
}

TEST_F(RoutingTest, ImportingSlot) {
  const Caller asking{.asking = true};
  EXPECT_EQ(Ask(kTaking, true), "-MOVED 4 10.0.0.2:7001\r\n");
  EXPECT_EQ(Ask(kTaking, true, asking, false, {1, 0}), "serve");
  EXPECT_EQ(Ask(kTaking, true, asking, true, {0, 2}), "serve");
  EXPECT_EQ(Ask(kTaking, true, asking, true, {1, 1}), "-TRYAGAIN Multiple keys request during rehashing of slot\r\n");
}

TEST_F(RoutingTest, ClusterDown) {
  topology_->ok = false;
  Apply();
  EXPECT_FALSE(routing_.Plain(kMine));
  EXPECT_EQ(Ask(kMine, false), "-CLUSTERDOWN The cluster is down\r\n");
  EXPECT_EQ(Ask(kOpen, false), "-CLUSTERDOWN Hash slot not served\r\n");
  config_.cluster_allow_reads_when_down = true;
  EXPECT_EQ(Ask(kMine, false), "serve");
  EXPECT_EQ(Ask(kMine, true), "-CLUSTERDOWN The cluster is down and only accepts read commands\r\n");
}

TEST_F(RoutingTest, Replica) {
  topology_->nodes[0].primary = false;
  topology_->nodes[0].primary_index = 1;
  topology_->owner[kMine] = 1;
  Apply();
  const Caller readonly{.readonly = true};
  EXPECT_FALSE(routing_.is_primary());
  EXPECT_EQ(Ask(kMine, false), "-MOVED 1 10.0.0.2:7001\r\n");
  EXPECT_EQ(Ask(kMine, false, readonly), "serve");
  EXPECT_EQ(Ask(kMine, true, readonly), "-MOVED 1 10.0.0.2:7001\r\n");
}

TEST_F(RoutingTest, WithoutCluster) {
  Routing alone;
  alone.Apply(nullptr);
  for (uint16_t slot : {0, 1, 16383}) EXPECT_TRUE(alone.Plain(slot));
}

}  // namespace
}  // namespace skein::node
