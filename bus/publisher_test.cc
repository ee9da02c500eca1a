#include "bus/publisher.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bus/link/links_harness.h"
#include "gtest/gtest.h"

namespace skein::bus {
namespace {

// A node as far as publishing goes: links, a publisher, and an engine that answers pings.
class Member : public LinkHandler {
 public:
  Member(Loop* loop, char id, LinksOptions options = {}, PublisherOptions publishing = {})
      : loop_(loop), id(40, id), links(std::make_unique<Links>(loop->get(), options, this)) {
    links->SetNodeId(this->id);
    publisher = std::make_unique<Publisher>(links.get(), publishing, [this](std::vector<PublishedMessage> messages) {
      for (PublishedMessage& message : messages) heard.push_back(std::move(message));
    });
    auto listeners = skein::bus::Listen({"127.0.0.1"}, &port);
    CHECK(listeners.ok()) << listeners.status();
    for (Fd& fd : *listeners) links->AddListener(std::move(fd));
  }
  ~Member() override {
    links->Stop();
    for (int i = 0; i < 10; ++i) loop_->Turn();
    publisher.reset();
  }
  // It knows these, all of `group` as of its replica group.
  void Knows(const std::vector<Member*>& others, const std::vector<Member*>& group = {}) {
    auto topology = std::make_shared<Topology>();
    topology->nodes.resize(1 + others.size());
    topology->nodes[0].SetIdentity({.id = id, .shard_id = "mine"});
    for (size_t i = 0; i < others.size(); ++i) {
      TopologyNode& node = topology->nodes[i + 1];
      const bool in_group = std::find(group.begin(), group.end(), others[i]) != group.end();
      node.SetIdentity({.id = others[i]->id, .shard_id = in_group ? "mine" : "another", .ip = "127.0.0.1"});
      node.bus_port = others[i]->port;
    }
    publisher->SetTopology(topology);
  }
  void Say(const std::string& channel, const std::string& message, bool sharded = false) {
    publisher->Publish({sharded, channel, message}, MonotonicMs());
  }
  size_t publish_links() const {
    size_t n = 0;
    for (const LinkView& view : links->View()) n += view.link_class == LinkClass::kPublish && view.up;
    return n;
  }
  uint64_t closed(CloseReason reason) const { return links->counters().of(reason); }

  void OnMessage(LinkId link, MessagePtr message, const std::string&) override {
    if (message->has_ping()) {
      auto pong = std::make_shared<proto::BusMessage>();
      pong->mutable_pong()->set_seq(message->ping().seq());
      links->Send(link, pong);
    } else if (message->has_pong()) {
      ++pongs;
    }
  }
  void OnLinkUp(LinkId) override { ++up; }
  void OnLinkDown(LinkId, const char*) override { ++down; }
  void OnPublished(LinkId link, MessagePtr message) override { publisher->OnMessage(link, *message); }
  void OnPublishedEnd() override { publisher->OnMessagesEnd(); }
  void OnPublishLinkUp(LinkId link) override { publisher->OnLinkUp(link); }
  void OnPublishLinkDown(LinkId link, size_t unsent) override { publisher->OnLinkDown(link, unsent, MonotonicMs()); }

 private:
  Loop* const loop_;

 public:
  const std::string id;
  uint16_t port = 0;
  size_t pongs = 0, up = 0, down = 0;
  std::vector<PublishedMessage> heard;
  std::unique_ptr<Links> links;
  std::unique_ptr<Publisher> publisher;
};

class PublisherModes : public testing::TestWithParam<LinkMode> {};
INSTANTIATE_TEST_SUITE_P(All, PublisherModes, testing::ValuesIn(kLinkModes),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(PublisherModes, MembersHearInOrderTheGroupAloneHearsShardedOnes) {
  Loop loop;
  Member a(&loop, 'a', OptionsOf(GetParam())), b(&loop, 'b', OptionsOf(GetParam())),
      c(&loop, 'c', OptionsOf(GetParam()));
  a.Knows({&b, &c}, {&b});
  b.Knows({&a, &c});
  c.Knows({&a, &b});
  constexpr size_t kMessages = 1000;
  for (size_t i = 0; i < kMessages; ++i) a.Say("news", std::to_string(i));
  a.Say("mine", "sharded", true);
  ASSERT_TRUE(loop.Until([&] { return b.heard.size() > kMessages && c.heard.size() == kMessages; }));
  for (size_t i = 0; i < kMessages; ++i) {
    ASSERT_EQ(b.heard[i].message, std::to_string(i));
    ASSERT_EQ(c.heard[i].message, std::to_string(i));
    ASSERT_FALSE(c.heard[i].sharded);
  }
  EXPECT_EQ(b.heard.back().channel, "mine");
  EXPECT_TRUE(b.heard.back().sharded);
  EXPECT_EQ(a.publisher->counters().dropped, 0u);
  EXPECT_EQ(a.up + b.up + c.up + a.down + b.down + c.down, 0u) << "the engine has nothing to do with it";
}

TEST_P(PublisherModes, LongMessagesTravelInParts) {
  Loop loop;
  Member a(&loop, 'a', OptionsOf(GetParam())), b(&loop, 'b', OptionsOf(GetParam()));
  a.Knows({&b});
  b.Knows({&a});
  std::string channel("ch\0annel", 8), text(3'000'001, 'x');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 7919 >> 3);
  a.Say("before", "");
  a.Say(channel, text);
  a.Say("after", "y");
  ASSERT_TRUE(loop.Until([&] { return b.heard.size() == 3; }));
  EXPECT_EQ(b.heard[1].channel, channel);
  EXPECT_TRUE(b.heard[1].message == text);
  EXPECT_EQ(b.heard[2].message, "y");
  EXPECT_EQ(b.publisher->counters().partial_bytes, 0u);
}

TEST(Publisher, DialsWhenThereIsSomethingToSayAndClosesWhatIsIdle) {
  Loop loop;
  Member a(&loop, 'a'), b(&loop, 'b');
  a.Knows({&b});
  b.Knows({&a});
  for (int i = 0; i < 20; ++i) loop.Turn();
  EXPECT_EQ(a.links->size(), 0u);
  a.Say("x", "1");
  ASSERT_TRUE(loop.Until([&] { return b.heard.size() == 1; }));
  EXPECT_EQ(a.publish_links(), 1u);
  a.publisher->Tick(MonotonicMs() + 1000);
  EXPECT_EQ(a.publish_links(), 1u);
  a.publisher->Tick(MonotonicMs() + 20'000);
  EXPECT_EQ(a.links->size(), 0u);
  ASSERT_TRUE(loop.Until([&] { return b.links->size() == 0; }));
  a.Say("x", "2");
  ASSERT_TRUE(loop.Until([&] { return b.heard.size() == 2; }));
  EXPECT_EQ(a.publisher->counters().dropped, 0u);
}

// What waits for a peer that reads nothing is bounded, and the rest counted; the others get everything.
TEST(Publisher, APeerThatDoesNotReadCostsABoundedQueue) {
  Loop loop;
  PublisherOptions publishing;
  publishing.peer_limit = 256 << 10;
  Member a(&loop, 'a', {}, publishing), b(&loop, 'b');
  uint16_t dead_port = 0;
  auto dead = skein::bus::Listen({"127.0.0.1"}, &dead_port);  // accepts, and says nothing
  ASSERT_TRUE(dead.ok());
  Member c(&loop, 'c');
  c.port = dead_port;
  a.Knows({&b, &c});
  b.Knows({&a, &c});
  constexpr size_t kMessages = 2000;
  const std::string text(1000, 'm');
  for (size_t i = 0; i < kMessages; ++i) {
    a.Say("x", text);
    ASSERT_TRUE(loop.Until([&] { return b.heard.size() == i + 1; }));
    ASSERT_LE(a.publisher->counters().waiting_bytes, 2u * publishing.peer_limit);
  }
  const uint64_t dropped = a.publisher->counters().dropped;
  EXPECT_GT(dropped, kMessages / 2);
  EXPECT_LT(dropped, kMessages);
}

TEST(Publisher, WhoIsNotAMemberIsNotHeard) {
  Loop loop;
  Member a(&loop, 'a'), b(&loop, 'b');
  a.Knows({&b});
  b.Knows({});
  a.Say("x", "1");
  ASSERT_TRUE(loop.Until([&] { return a.publisher->counters().links == 0 && b.publisher->counters().refused == 1; }));
  EXPECT_TRUE(b.heard.empty());
  EXPECT_EQ(b.links->counters().closed_by_engine.at("publish-by-stranger"), 1u);
  // Not tried again at once, and the message is counted.
  a.Say("x", "2");
  EXPECT_EQ(a.publisher->counters().dropped, 1u);
  EXPECT_EQ(a.links->size(), 0u);
}

TEST(Publisher, AnotherNodeAtTheAddressHearsNothing) {
  Loop loop;
  Member a(&loop, 'a'), b(&loop, 'b'), c(&loop, 'c');
  Member moved(&loop, 'd');
  moved.port = b.port;
  a.Knows({&moved});
  b.Knows({&a});
  a.Say("x", "1");
  ASSERT_TRUE(loop.Until([&] { return a.publisher->counters().dropped == 1; }));
  EXPECT_TRUE(b.heard.empty());
  EXPECT_EQ(a.links->counters().closed_by_engine.at("publish-another-node"), 1u);
}

// A member that is forgotten takes its link and what waited with it.
TEST(Publisher, TheForgottenAreClosed) {
  Loop loop;
  Member a(&loop, 'a'), b(&loop, 'b');
  a.Knows({&b});
  b.Knows({&a});
  a.Say("x", "1");
  ASSERT_TRUE(loop.Until([&] { return b.heard.size() == 1; }));
  a.Knows({});
  a.publisher->Tick(MonotonicMs());
  EXPECT_EQ(a.links->size(), 0u);
  EXPECT_EQ(a.publisher->counters().links, 0u);
}

// Each class says only what belongs to it.
TEST(Publisher, AMessageOnALinkOfAnotherClassClosesIt) {
  Loop loop;
  Member a(&loop, 'a'), b(&loop, 'b');
  b.Knows({&a});
  auto published = std::make_shared<proto::BusMessage>();
  published->mutable_publish()->set_channel("x");
  a.links->Dial(1, "127.0.0.1", b.port);
  ASSERT_TRUE(loop.Until([&] { return a.up == 1; }));
  a.links->Send(1, published);
  ASSERT_TRUE(loop.Until([&] { return b.closed(CloseReason::kWrongClass) == 1; }));
  a.links->Dial(kPublishLinks + 1, "127.0.0.1", b.port);
  a.links->Send(kPublishLinks + 1, MakePing(1));
  ASSERT_TRUE(loop.Until([&] { return b.closed(CloseReason::kWrongClass) == 2; }));
  EXPECT_TRUE(b.heard.empty());
}

// L30: two peers publish as fast as they can, more than the link takes; a heartbeat is answered beside it in bounded
// time, however much waits.
TEST_P(PublisherModes, L30_AFloodOfPublishesDoesNotDelayHeartbeats) {
  Loop loop;
  PublisherOptions publishing;
  publishing.peer_limit = 8 << 20;
  Member a(&loop, 'a', OptionsOf(GetParam()), publishing), b(&loop, 'b', OptionsOf(GetParam()));
  a.Knows({&b});
  b.Knows({&a});
  a.links->Dial(1, "127.0.0.1", b.port);
  ASSERT_TRUE(loop.Until([&] { return a.up == 1; }));
  const std::string text(2000, 'f');
  const auto fill = [&] {
    for (int i = 0; i < 400; ++i) a.Say("flood", text);
  };
  while (a.publisher->counters().dropped == 0) fill();
  std::vector<int64_t> waits;
  for (size_t i = 1; i <= 20; ++i) {
    fill();
    const size_t heard_before = b.heard.size();
    const int64_t sent = MonotonicMs();
    a.links->Send(1, MakePing(i));
    ASSERT_TRUE(loop.Until([&] { return a.pongs == i; }));
    waits.push_back(MonotonicMs() - sent);
    // A bound in messages, which no slow machine can shift: what is served beside one round trip.
    EXPECT_LT(b.heard.size() - heard_before, GetParam().workers == 0 ? 1000u : 3000u);
    EXPECT_GT(a.publisher->counters().waiting_bytes, 1u << 20) << "the flood has ended too early";
    b.heard.clear();
  }
  std::sort(waits.begin(), waits.end());
  EXPECT_LE(waits[waits.size() / 2], 50);
}

}  // namespace
}  // namespace skein::bus
