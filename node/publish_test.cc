// Publish and subscribe over real sessions, on one loop and across several; replies as redis-server gives them.
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "node/node_testing.h"
#include "storage/slot.h"

namespace skein::node {
namespace {

using Words = std::vector<std::string>;

class Publishing : public testing::TestWithParam<uint32_t> {
 protected:
  TestNode::Options Options(bool cluster = true) const {
    TestNode::Options options;
    options.loops = cluster ? GetParam() : 1;
    options.cluster = cluster;
    options.logs = false;
    return options;
  }
};
INSTANTIATE_TEST_SUITE_P(Loops, Publishing, testing::Values(1, 3),
                         [](const auto& info) { return "Loops" + std::to_string(info.param); });

// Enough clients to stand on every loop, whatever the order of accepts.
std::vector<TestClient> Clients(TestNode& node, size_t count) {
  std::vector<TestClient> clients;
  for (size_t i = 0; i < count; ++i) clients.emplace_back(node);
  for (TestClient& client : clients) EXPECT_EQ(client.Ask({"ECHO", "x"}), "$1\r\nx\r\n");
  return clients;
}

std::string Confirmation(const std::string& what, const std::string& name, int count) {
  return "*3\r\n$" + std::to_string(what.size()) + "\r\n" + what + "\r\n$" + std::to_string(name.size()) + "\r\n" +
         name + "\r\n:" + std::to_string(count) + "\r\n";
}

TEST_P(Publishing, WhoeverListensHearsItAndIsCounted) {
  TestNode node(Options());
  std::vector<TestClient> clients = Clients(node, 7);
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(clients[i].Ask({"SUBSCRIBE", "news"}), Confirmation("subscribe", "news", 1));
  }
  EXPECT_EQ(clients[5].Ask({"PSUBSCRIBE", "n*s"}), Confirmation("psubscribe", "n*s", 2));
  TestClient& publisher = clients[6];
  EXPECT_EQ(publisher.Ask({"PUBLISH", "news", "hello"}), ":7\r\n");
  EXPECT_EQ(publisher.Ask({"PUBLISH", "nos", "x"}), ":1\r\n");
  EXPECT_EQ(publisher.Ask({"PUBLISH", "other", "x"}), ":0\r\n");
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(clients[i].ReadReply(), "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n");
  }
  EXPECT_EQ(clients[5].ReadReply(), "*4\r\n$8\r\npmessage\r\n$3\r\nn*s\r\n$4\r\nnews\r\n$5\r\nhello\r\n");
  EXPECT_EQ(clients[5].ReadReply(), "*4\r\n$8\r\npmessage\r\n$3\r\nn*s\r\n$3\r\nnos\r\n$1\r\nx\r\n");
  EXPECT_EQ(publisher.Ask({"PUBSUB", "NUMSUB", "news", "none"}), "*4\r\n$4\r\nnews\r\n:6\r\n$4\r\nnone\r\n:0\r\n");
  EXPECT_EQ(publisher.Ask({"PUBSUB", "NUMPAT"}), ":1\r\n");
  EXPECT_EQ(publisher.Ask({"PUBSUB", "CHANNELS"}), "*1\r\n$4\r\nnews\r\n");
  EXPECT_EQ(publisher.Ask({"PUBSUB", "CHANNELS", "x*"}), "*0\r\n");
  const std::string info = publisher.Ask({"INFO", "stats"});
  EXPECT_NE(info.find("pubsub_channels:1\r\npubsub_patterns:1\r\npubsubshard_channels:0\r\n"), std::string::npos);
}

TEST_P(Publishing, KeepsTheOrderOfAPublisher) {
  TestNode node(Options());
  std::vector<TestClient> clients = Clients(node, 4);
  for (size_t i = 0; i < 3; ++i) clients[i].Ask({"SUBSCRIBE", "order"});
  constexpr int kMessages = 500;
  std::string pipeline;
  for (int i = 0; i < kMessages; ++i) pipeline += TestClient::Encode({"PUBLISH", "order", std::to_string(i)});
  clients[3].Send(pipeline);
  for (int i = 0; i < kMessages; ++i) EXPECT_EQ(clients[3].ReadReply(), ":3\r\n");
  for (size_t c = 0; c < 3; ++c) {
    for (int i = 0; i < kMessages; ++i) {
      const std::string n = std::to_string(i);
      ASSERT_EQ(clients[c].ReadReply(),
                "*3\r\n$7\r\nmessage\r\n$5\r\norder\r\n$" + std::to_string(n.size()) + "\r\n" + n + "\r\n");
    }
  }
}

TEST_P(Publishing, UnsubscribingAnswersForEachOrForNothing) {
  TestNode node(Options());
  TestClient c(node);
  EXPECT_EQ(c.Ask({"UNSUBSCRIBE"}), "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n");
  EXPECT_EQ(c.Ask({"PUNSUBSCRIBE", "none"}), Confirmation("punsubscribe", "none", 0));
  EXPECT_EQ(c.Ask({"SUNSUBSCRIBE"}), "*3\r\n$12\r\nsunsubscribe\r\n$-1\r\n:0\r\n");
  c.Send(TestClient::Encode({"SUBSCRIBE", "a", "b", "a"}));
  EXPECT_EQ(c.ReadReply(), Confirmation("subscribe", "a", 1));
  EXPECT_EQ(c.ReadReply(), Confirmation("subscribe", "b", 2));
  EXPECT_EQ(c.ReadReply(), Confirmation("subscribe", "a", 2));
  EXPECT_EQ(c.Ask({"PSUBSCRIBE", "p"}), Confirmation("psubscribe", "p", 3));
  EXPECT_EQ(c.Ask({"SSUBSCRIBE", "s"}), Confirmation("ssubscribe", "s", 1));
  c.Send(TestClient::Encode({"UNSUBSCRIBE"}));
  EXPECT_EQ(
      std::set<std::string>({c.ReadReply().substr(0, 29), c.ReadReply().substr(0, 29)}),
      std::set<std::string>({"*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n", "*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n"}));
  EXPECT_EQ(c.Ask({"PUNSUBSCRIBE"}), Confirmation("punsubscribe", "p", 0));
  EXPECT_EQ(c.Ask({"SUNSUBSCRIBE"}), Confirmation("sunsubscribe", "s", 0));
  EXPECT_EQ(c.Ask({"ECHO", "free"}), "$4\r\nfree\r\n");
}

TEST_P(Publishing, Resp2AllowsOnlySubscribingWhileSubscribed) {
  TestNode node(Options());
  TestClient c(node);
  c.Ask({"SUBSCRIBE", "a"});
  EXPECT_EQ(
      c.Ask({"GET", "x"}),
      "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this "
      "context\r\n");
  EXPECT_EQ(c.Ask({"CONFIG", "GET", "x"}).substr(0, 32), "-ERR Can't execute 'config|get':");
  EXPECT_EQ(c.Ask({"PUBLISH", "a", "x"}).substr(0, 29), "-ERR Can't execute 'publish':");
  EXPECT_EQ(c.Ask({"PUBSUB", "NUMPAT"}).substr(0, 35), "-ERR Can't execute 'pubsub|numpat':");
  EXPECT_EQ(c.Ask({"NOSUCH"}).substr(0, 20), "-ERR unknown command");
  EXPECT_EQ(c.Ask({"PING"}), "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
  EXPECT_EQ(c.Ask({"PING", "hi"}), "*2\r\n$4\r\npong\r\n$2\r\nhi\r\n");
  EXPECT_EQ(c.Ask({"RESET"}), "+RESET\r\n");
  EXPECT_EQ(c.Ask({"PING"}), "+PONG\r\n");
  TestClient other(node);
  EXPECT_EQ(other.Ask({"PUBLISH", "a", "x"}), ":0\r\n");
  EXPECT_EQ(other.Ask({"PUBSUB", "CHANNELS"}), "*0\r\n");
}

TEST_P(Publishing, Resp3PushesAndAnswersAnything) {
  TestNode node(Options());
  TestClient c(node);
  c.Ask({"HELLO", "3"});
  EXPECT_EQ(c.Ask({"SUBSCRIBE", "a"}), ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
  EXPECT_EQ(c.Ask({"PING"}), "+PONG\r\n");
  EXPECT_EQ(c.Ask({"SET", "k", "v"}), "+OK\r\n");
  // Its own message comes behind the reply of the command that sent it.
  EXPECT_EQ(c.Ask({"PUBLISH", "a", "self"}), ":1\r\n");
  EXPECT_EQ(c.ReadReply(), ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$4\r\nself\r\n");
  EXPECT_EQ(c.Ask({"UNSUBSCRIBE"}), ">3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n");
  EXPECT_EQ(c.Ask({"UNSUBSCRIBE"}), ">3\r\n$11\r\nunsubscribe\r\n_\r\n:0\r\n");
}

// CLIENT REPLY OFF silences replies, not messages.
TEST_P(Publishing, ReplyOffLeavesMessages) {
  TestNode node(Options());
  std::vector<TestClient> clients = Clients(node, 2);
  clients[0].Ask({"HELLO", "3"});
  clients[0].Send(TestClient::Encode({"CLIENT", "REPLY", "OFF"}) + TestClient::Encode({"SUBSCRIBE", "a"}) +
                  TestClient::Encode({"PING"}));
  EXPECT_EQ(clients[0].ReadReply(), ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
  ASSERT_TRUE(Await([&] { return clients[1].Ask({"PUBLISH", "a", "m"}) == ":1\r\n"; }));
  EXPECT_EQ(clients[0].ReadReply(), ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nm\r\n");
}

TEST_P(Publishing, ClientListAndKillKnowTheirType) {
  TestNode node(Options());
  std::vector<TestClient> clients = Clients(node, 3);
  clients[0].Ask({"SUBSCRIBE", "a", "b"});
  clients[0].ReadReply();
  clients[0].Ask({"PSUBSCRIBE", "c"});
  const std::string list = clients[2].Ask({"CLIENT", "LIST", "TYPE", "pubsub"});
  EXPECT_NE(list.find(" flags=P "), std::string::npos) << list;
  EXPECT_NE(list.find(" sub=2 psub=1 ssub=0 "), std::string::npos) << list;
  EXPECT_EQ(clients[2].Ask({"CLIENT", "LIST", "TYPE", "normal"}).find("sub=2"), std::string::npos);
  EXPECT_EQ(clients[2].Ask({"CLIENT", "KILL", "TYPE", "pubsub"}), ":1\r\n");
  EXPECT_EQ(clients[0].ReadToEnd(), "");
  EXPECT_EQ(clients[2].Ask({"PUBLISH", "a", "x"}), ":0\r\n");
  EXPECT_NE(clients[2].Ask({"INFO", "stats"}).find("pubsub_channels:0\r\npubsub_patterns:0\r\n"), std::string::npos);
}

// A subscriber that does not read is closed when its limit is passed, and costs no more than that.
TEST_P(Publishing, TheOutputLimitOfSubscribersIsKept) {
  TestNode::Options options = Options();
  options.configure = [](Config* config) { config->output_pubsub = {1u << 20, 0, 0}; };
  TestNode node(options);
  std::vector<TestClient> clients = Clients(node, 3);
  clients[0].Ask({"SUBSCRIBE", "flood"});
  clients[1].Ask({"SUBSCRIBE", "calm"});
  const std::string text(64 << 10, 'x');
  ASSERT_TRUE(Await([&] { return clients[2].Ask({"PUBLISH", "flood", text}) == ":0\r\n"; }));
  EXPECT_NE(clients[2].Ask({"INFO", "stats"}).find("client_output_buffer_limit_disconnections:1\r\n"),
            std::string::npos);
  EXPECT_EQ(clients[2].Ask({"PUBLISH", "calm", "x"}), ":1\r\n");
  EXPECT_EQ(clients[1].ReadReply(), "*3\r\n$7\r\nmessage\r\n$4\r\ncalm\r\n$1\r\nx\r\n");
}

// L39: clients come, subscribe to the same channels and go, on all loops; nothing is left.
TEST_P(Publishing, L39_SubscribersThatVanishLeaveNothing) {
  TestNode node(Options());
  TestClient publisher(node);
  for (int round = 0; round < 5; ++round) {
    std::vector<TestClient> clients = Clients(node, 12);
    for (size_t i = 0; i < clients.size(); ++i) {
      clients[i].Ask({"SUBSCRIBE", "c" + std::to_string(i % 3)});
      clients[i].Ask({"PSUBSCRIBE", "c*"});
      clients[i].Ask({"SSUBSCRIBE", "s"});
    }
    EXPECT_EQ(publisher.Ask({"PUBLISH", "c0", "x"}), ":16\r\n");
    EXPECT_EQ(publisher.Ask({"SPUBLISH", "s", "x"}), ":12\r\n");
    for (size_t i = 0; i < clients.size(); ++i) i % 2 == 0 ? clients[i].Reset() : clients[i].Close();
    ASSERT_TRUE(Await([&] { return publisher.Ask({"PUBLISH", "c0", "x"}) == ":0\r\n"; }));
  }
  EXPECT_NE(
      publisher.Ask({"INFO", "stats"}).find("pubsub_channels:0\r\npubsub_patterns:0\r\npubsubshard_channels:0\r\n"),
      std::string::npos);
}

// Events that a client's own command causes come behind its reply; other loops hear them, too.
TEST_P(Publishing, KeyspaceNotifications) {
  TestNode::Options options = Options();
  options.shards = options.loops;
  TestNode node(options);
  std::vector<TestClient> clients = Clients(node, 4);
  TestClient& own = clients[0];
  EXPECT_EQ(own.Ask({"CONFIG", "SET", "notify-keyspace-events", "Km"}).substr(0, 4), "-ERR");
  for (TestClient& c : clients) {
    c.Ask({"HELLO", "3"});
    EXPECT_EQ(c.Ask({"PSUBSCRIBE", "__key*@0__:*"}), ">3\r\n$10\r\npsubscribe\r\n$12\r\n__key*@0__:*\r\n:1\r\n");
  }
  const auto event = [](const std::string& channel, const std::string& message) {
    const auto bulk = [](const std::string& s) { return "$" + std::to_string(s.size()) + "\r\n" + s + "\r\n"; };
    return ">4\r\n" + bulk("pmessage") + bulk("__key*@0__:*") + bulk(channel) + bulk(message);
  };
  EXPECT_EQ(own.Ask({"SET", "quiet", "1"}), "+OK\r\n");
  EXPECT_EQ(own.Ask({"CONFIG", "SET", "notify-keyspace-events", "KEg$"}), "+OK\r\n");
  // Every loop has heard of the change once it has answered this.
  for (TestClient& c : clients) c.Ask({"CLIENT", "LIST"});
  const std::vector<std::string> keys = {"a", "b", "c", "d", "e", "f"};
  for (const std::string& key : keys) {
    own.Send(TestClient::Encode({"SET", key, "1"}));
    std::multiset<std::string> heard = {own.ReadReply(), own.ReadReply(), own.ReadReply()};
    EXPECT_EQ(heard, (std::multiset<std::string>{"+OK\r\n", event("__keyspace@0__:" + key, "set"),
                                                 event("__keyevent@0__:set", key)}));
    for (size_t i = 1; i < clients.size(); ++i) {
      EXPECT_EQ(clients[i].ReadReply(), event("__keyspace@0__:" + key, "set"));
      EXPECT_EQ(clients[i].ReadReply(), event("__keyevent@0__:set", key));
    }
  }
  // Only what was asked for; and a flush names no key.
  EXPECT_EQ(own.Ask({"CONFIG", "SET", "notify-keyspace-events", "Kx"}), "+OK\r\n");
  for (TestClient& c : clients) c.Ask({"CLIENT", "LIST"});
  EXPECT_EQ(own.Ask({"DEL", "a"}), ":1\r\n");
  EXPECT_EQ(own.Ask({"FLUSHALL"}), "+OK\r\n");
  EXPECT_EQ(own.Ask({"ECHO", "x"}), "$1\r\nx\r\n");
}

// ---- In a cluster --------------------------------------------------------------------------------------------------

void WithAnotherNode(bus::Topology* t) {
  t->nodes.resize(2);
  t->nodes[1].SetIdentity({.id = std::string(40, 'b'), .ip = "10.0.0.2"});
  t->nodes[1].port = 7002;
}

TEST_P(Publishing, WhatIsPublishedGoesToTheBusAndWhatComesFromItToSubscribers) {
  TestNode node(Options());
  node.bus().Change(WithAnotherNode);
  std::vector<TestClient> clients = Clients(node, 4);
  for (size_t i = 0; i < 3; ++i) clients[i].Ask({"SUBSCRIBE", "a"});
  EXPECT_EQ(clients[3].Ask({"PUBLISH", "b", "out"}), ":0\r\n");
  EXPECT_EQ(clients[3].Ask({"SPUBLISH", "s", "sharded"}), ":0\r\n");
  ASSERT_TRUE(Await([&] { return node.bus().published().size() == 2; }));
  EXPECT_EQ(node.bus().published()[0].message, "out");
  EXPECT_FALSE(node.bus().published()[0].sharded);
  EXPECT_TRUE(node.bus().published()[1].sharded);
  node.bus().Deliver({{false, "a", "in"}, {false, "nobody", "in"}, {true, "a", "in"}});
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(clients[i].ReadReply(), "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nin\r\n");
  }
  EXPECT_EQ(node.bus().published().size(), 2u) << "it is not passed on";
}

TEST_P(Publishing, ShardChannelsObeyTheSlots) {
  TestNode node(Options());
  const uint16_t slot = storage::KeySlot("theirs");
  node.bus().Change([&](bus::Topology* t) {
    WithAnotherNode(t);
    t->owner[slot] = 1;
  });
  TestClient c(node);
  const std::string moved = "-MOVED " + std::to_string(slot) + " 10.0.0.2:7002\r\n";
  EXPECT_EQ(c.Ask({"SSUBSCRIBE", "theirs"}), moved);
  EXPECT_EQ(c.Ask({"SUNSUBSCRIBE", "theirs"}), moved);
  EXPECT_EQ(c.Ask({"SPUBLISH", "theirs", "x"}), moved);
  EXPECT_EQ(c.Ask({"SSUBSCRIBE", "theirs", "other"}), "-CROSSSLOT Keys in request don't hash to the same slot\r\n");
  EXPECT_EQ(c.Ask({"PUBLISH", "theirs", "x"}), ":0\r\n") << "other channels belong to no slot";
  EXPECT_EQ(c.Ask({"SUBSCRIBE", "theirs"}), Confirmation("subscribe", "theirs", 1));
}

TEST_P(Publishing, AReplicaServesTheShardChannelsOfItsPrimary) {
  TestNode node(Options());
  node.bus().Change([](bus::Topology* t) {
    WithAnotherNode(t);
    t->owner.fill(1);
    t->nodes[0].primary = false;
    t->nodes[0].primary_index = 1;
  });
  TestClient c(node);
  EXPECT_EQ(c.Ask({"SSUBSCRIBE", "s"}), Confirmation("ssubscribe", "s", 1));
  node.bus().Deliver({{true, "s", "from above"}});
  EXPECT_EQ(c.ReadReply(), "*3\r\n$8\r\nsmessage\r\n$1\r\ns\r\n$10\r\nfrom above\r\n");
}

TEST_P(Publishing, ASlotThatIsGivenAwayTakesItsChannelsAlong) {
  TestNode node(Options());
  node.bus().Change(WithAnotherNode);
  std::vector<TestClient> clients = Clients(node, 4);
  for (TestClient& c : clients) {
    EXPECT_EQ(c.Ask({"SSUBSCRIBE", "{x}1", "{x}2"}), Confirmation("ssubscribe", "{x}1", 1));
    EXPECT_EQ(c.ReadReply(), Confirmation("ssubscribe", "{x}2", 2));
    EXPECT_EQ(c.Ask({"SSUBSCRIBE", "kept"}), Confirmation("ssubscribe", "kept", 3));
  }
  node.bus().Change([](bus::Topology* t) { t->owner[storage::KeySlot("x")] = 1; });
  for (TestClient& c : clients) {
    // In either order; the count is that of what is left.
    const std::string first = c.ReadReply(), second = c.ReadReply();
    const bool in_order = first == Confirmation("sunsubscribe", "{x}1", 2);
    EXPECT_TRUE(in_order || first == Confirmation("sunsubscribe", "{x}2", 2)) << first;
    EXPECT_EQ(second, Confirmation("sunsubscribe", in_order ? "{x}2" : "{x}1", 1));
  }
  TestClient publisher(node);
  EXPECT_EQ(publisher.Ask({"SPUBLISH", "kept", "m"}), ":4\r\n");
  for (TestClient& c : clients) {
    EXPECT_EQ(c.ReadReply(), "*3\r\n$8\r\nsmessage\r\n$4\r\nkept\r\n$1\r\nm\r\n");
  }
}

TEST_P(Publishing, ShardChannelsWhileTheClusterIsDown) {
  TestNode::Options options = Options();
  TestNode node(options);
  node.bus().Change([](bus::Topology* t) { t->ok = false; });
  TestClient c(node);
  EXPECT_EQ(c.Ask({"SPUBLISH", "s", "x"}), ":0\r\n");
  EXPECT_EQ(c.Ask({"CONFIG", "SET", "cluster-allow-pubsubshard-when-down", "no"}), "+OK\r\n");
  EXPECT_EQ(c.Ask({"SPUBLISH", "s", "x"}), "-CLUSTERDOWN The cluster is down\r\n");
}

TEST_P(Publishing, WithoutAClusterSlotsMeanNothing) {
  TestNode node(Options(/*cluster=*/false));
  TestClient c(node);
  EXPECT_EQ(c.Ask({"SSUBSCRIBE", "a", "b"}), Confirmation("ssubscribe", "a", 1));
  EXPECT_EQ(c.ReadReply(), Confirmation("ssubscribe", "b", 2));
}

}  // namespace
}  // namespace skein::node
