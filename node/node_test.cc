// The node over real sockets: order of replies, limits, errors, admission, routing.
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "node/node_testing.h"
#include "storage/slot.h"

namespace skein::node {
namespace {

std::string Bulk(const std::string& s) { return "$" + std::to_string(s.size()) + "\r\n" + s + "\r\n"; }
std::string Key(int i) { return "key:" + std::to_string(i); }

// A key whose slot belongs to this shard.
std::string KeyOfShard(uint32_t shard, uint32_t shards, int n = 0) {
  for (int i = n * 1000;; ++i) {
    if (storage::KeySlot(Key(i)) % shards == shard) return Key(i);
  }
}

struct Shape {
  uint32_t loops, shards;
};

class NodeShapes : public testing::TestWithParam<Shape> {
 protected:
  TestNode::Options Options() { return {.loops = GetParam().loops, .shards = GetParam().shards, .configure = {}}; }
};

INSTANTIATE_TEST_SUITE_P(All, NodeShapes, testing::Values(Shape{1, 1}, Shape{1, 4}, Shape{4, 1}, Shape{4, 4}),
                         [](const auto& info) {
                           return std::to_string(info.param.loops) + "x" + std::to_string(info.param.shards);
                         });

TEST_P(NodeShapes, RepliesComeInTheOrderOfTheRequests) {
  TestNode node(Options());
  std::vector<std::thread> threads;
  for (int c = 0; c < 3; ++c) {
    threads.emplace_back([&node, c] {
      TestClient client(node);
      for (int round = 0; round < 5; ++round) {
        std::string send, expected;
        for (int i = 0; i < 400; ++i) {
          const std::string key = "c" + std::to_string(c) + Key(i), value = std::to_string(round * 1000 + i);
          send += TestClient::Encode({"SET", key, value});
          expected += "+OK\r\n";
          send += TestClient::Encode({"GET", key});
          expected += Bulk(value);
          if (i % 7 == 0) {
            send += TestClient::Encode({"ECHO", value});
            expected += Bulk(value);
          }
          if (i % 11 == 0) {
            send += TestClient::Encode({"APPEND", key, "x"}) + TestClient::Encode({"GET", key});
            expected += ":" + std::to_string(value.size() + 1) + "\r\n" + Bulk(value + "x");
          }
          if (i % 50 == 0) {
            send += TestClient::Encode({"NOSUCH"}) + "PING\r\n";
            expected += "-ERR unknown command 'NOSUCH', with args beginning with: \r\n+PONG\r\n";
          }
        }
        // In pieces that do not end with commands.
        for (size_t at = 0; at < send.size(); at += 7001) client.Send(std::string_view(send).substr(at, 7001));
        ASSERT_EQ(client.Read(expected.size()), expected);
      }
    });
  }
  for (std::thread& t : threads) t.join();
  TestClient client(node);
  EXPECT_EQ(client.Ask({"DBSIZE"}), ":1200\r\n");
  EXPECT_EQ(client.Ask({"FLUSHALL"}), "+OK\r\n");
  EXPECT_EQ(client.Ask({"DBSIZE"}), ":0\r\n");
}

TEST_P(NodeShapes, L07_RecordsGoToTheOwnersLogWhicheverLoopTheClientIsOn) {
  TestNode node(Options());
  const uint32_t shards = GetParam().shards;
  std::vector<TestClient> clients;
  for (int c = 0; c < 4; ++c) clients.emplace_back(node);
  for (int i = 0; i < 100; ++i) {
    for (TestClient& c : clients) ASSERT_EQ(c.Ask({"SET", Key(i), "v"}), "+OK\r\n");
  }
  size_t records = 0;
  for (uint32_t s = 0; s < shards; ++s) {
    for (uint16_t slot : node.log(s).slots()) EXPECT_EQ(slot % shards, s);
    records += node.log(s).slots().size();
  }
  EXPECT_EQ(records, 400u);
}

TEST_P(NodeShapes, ClientReplyModes) {
  TestNode node(Options());
  TestClient client(node);
  for (uint32_t s = 0; s < GetParam().shards; ++s) {
    const std::string key = KeyOfShard(s, GetParam().shards);
    client.Send("CLIENT REPLY SKIP\r\nSET " + key + " 1\r\nGET " + key + "\r\n");
    EXPECT_EQ(client.ReadReply(), Bulk("1"));
    client.Send("CLIENT REPLY OFF\r\nSET " + key + " 2\r\nNOSUCH\r\nGET " + key +
                "\r\nDBSIZE\r\nCLIENT REPLY ON\r\nGET " + key + "\r\n");
    EXPECT_EQ(client.ReadReply(), "+OK\r\n");
    EXPECT_EQ(client.ReadReply(), Bulk("2"));
  }
}

TEST_P(NodeShapes, L01_ClientsThatLeaveInTheMiddleAreNotMissed) {
  TestNode node(Options());
  for (int round = 0; round < 30; ++round) {
    std::vector<TestClient> clients;
    for (int c = 0; c < 8; ++c) {
      clients.emplace_back(node);
      std::string send;
      for (int i = 0; i < 50; ++i) send += TestClient::Encode({"SET", Key(i), "v"});
      send += TestClient::Encode({"CLIENT", "LIST"}) + TestClient::Encode({"DBSIZE"}) + "*2\r\n$3\r\nGE";
      clients.back().Send(send);
    }
  }
  EXPECT_TRUE(Await([&] { return node.node().connected_clients() == 0; })) << node.node().connected_clients();
  TestClient client(node);
  EXPECT_EQ(client.Ask({"PING"}), "+PONG\r\n");
}

// The reset is reported while data that came before it is still to be read.
TEST_P(NodeShapes, L01_ClientsThatResetBehindTheirDataAreNotMissed) {
  TestNode node(Options());
  for (int round = 0; round < 40; ++round) {
    std::vector<TestClient> clients;
    for (int c = 0; c < 8; ++c) clients.emplace_back(node);
    for (TestClient& c : clients) c.Send(TestClient::Encode({"ECHO", std::string(1000, 'x')}) + "*2\r\n$3\r\nGE");
    for (TestClient& c : clients) c.Reset();
  }
  EXPECT_TRUE(Await([&] { return node.node().connected_clients() == 0; })) << node.node().connected_clients();
}

TEST_P(NodeShapes, KilledClientsAndDeferredReplies) {
  TestNode node(Options());
  TestClient killer(node);
  std::vector<TestClient> victims;
  for (int i = 0; i < 8; ++i) {
    victims.emplace_back(node);
    ASSERT_EQ(victims.back().Ask({"PING"}), "+PONG\r\n");
  }
  EXPECT_EQ(killer.Ask({"CLIENT", "KILL", "TYPE", "normal"}), ":8\r\n");
  for (TestClient& v : victims) EXPECT_EQ(v.ReadToEnd(), "");
  EXPECT_TRUE(Await([&] { return node.node().connected_clients() == 1; }));
  killer.Send("CLIENT KILL TYPE normal SKIPME no\r\nPING\r\n");
  EXPECT_EQ(killer.ReadToEnd(), ":1\r\n");
}

TEST_P(NodeShapes, PauseHoldsCommandsBackAndLetsThemGo) {
  TestNode node(Options());
  TestClient client(node), other(node);
  const std::string key = KeyOfShard(GetParam().shards - 1, GetParam().shards);
  ASSERT_EQ(other.Ask({"CLIENT", "PAUSE", "60000", "WRITE"}), "+OK\r\n");
  client.Send("GET " + key + "\r\nSET " + key + " v\r\nGET " + key + "\r\n");
  EXPECT_EQ(client.ReadReply(), "$-1\r\n");
  EXPECT_EQ(other.Ask({"GET", key}), "$-1\r\n");
  EXPECT_FALSE(client.HasInput());
  ASSERT_EQ(other.Ask({"CLIENT", "UNPAUSE"}), "+OK\r\n");
  EXPECT_EQ(client.ReadReply(), "+OK\r\n");
  EXPECT_EQ(client.ReadReply(), Bulk("v"));
}

TEST_P(NodeShapes, L04_AStormOfConnectionsLeavesOne) {
  TestNode node(Options());
  for (int i = 0; i < 10; ++i) {
    TestClient client(node);
    ASSERT_EQ(client.Ask({"PING"}), "+PONG\r\n");
  }
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&node, t] {
      for (int i = 0; i < 100; ++i) {
        TestClient client(node);
        if (i % 3 != t % 3) client.Ask({"SET", Key(i), "v"});
      }
    });
  }
  for (std::thread& t : threads) t.join();
  TestClient last(node);
  EXPECT_EQ(last.Ask({"PING"}), "+PONG\r\n");
  EXPECT_TRUE(Await([&] { return node.node().connected_clients() == 1; })) << node.node().connected_clients();
}

TEST(Node, L03_FullHouse) {
  TestNode node({.loops = 2, .shards = 2, .configure = [](Config* c) { c->maxclients = 3; }});
  std::vector<TestClient> clients;
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back(node);
    ASSERT_EQ(clients.back().Ask({"PING"}), "+PONG\r\n");
  }
  {
    TestClient refused(node);
    EXPECT_EQ(refused.ReadToEnd(), "-ERR max number of clients reached\r\n");
  }
  EXPECT_EQ(node.node().desk().refused(), 1u);
  clients.pop_back();
  EXPECT_TRUE(Await([&] { return node.node().connected_clients() == 2; }));
  TestClient next(node);
  EXPECT_EQ(next.Ask({"PING"}), "+PONG\r\n");
}

TEST(Node, ProtocolErrorsAreToldBehindWhatCameBeforeAndEndTheConnection) {
  TestNode node({.loops = 2, .shards = 2, .configure = {}});
  const std::pair<std::string, std::string> kCases[] = {
      {"*x\r\n", "-ERR Protocol error: invalid multibulk length\r\n"},
      {"*1\r\nPING\r\n", "-ERR Protocol error: expected '$', got 'P'\r\n"},
      {"*1\r\n$-5\r\n", "-ERR Protocol error: invalid bulk length\r\n"},
      {"GET \"a\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"},
  };
  for (const auto& [bytes, error] : kCases) {
    TestClient client(node);
    client.Send("SET a 1\r\nSET b 2\r\n" + bytes);
    client.CloseWriting();
    EXPECT_EQ(client.ReadToEnd(), "+OK\r\n+OK\r\n" + error);
  }
  TestClient hostile(node);
  hostile.Send("POST / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(hostile.ReadToEnd(), "");
}

TEST(Node, PasswordLimitsAndNoAuth) {
  TestNode node({.configure = [](Config* c) { c->requirepass = "secret"; }});
  TestClient client(node);
  EXPECT_EQ(client.Ask({"GET", "a"}), "-NOAUTH Authentication required.\r\n");
  EXPECT_EQ(client.Ask({"GET"}), "-ERR wrong number of arguments for 'get' command\r\n");
  // What follows AUTH in the same packet has the limits of one who is known.
  client.Send(TestClient::Encode({"AUTH", "secret"}) + TestClient::Encode({"SET", "a", std::string(20000, 'x')}));
  EXPECT_EQ(client.ReadReply(), "+OK\r\n");
  EXPECT_EQ(client.ReadReply(), "+OK\r\n");
  TestClient stranger(node);
  stranger.Send("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$20000\r\n");
  EXPECT_EQ(stranger.ReadToEnd(), "-ERR Protocol error: unauthenticated bulk length\r\n");
}

TEST(Node, LargeArgumentsAndQueryBufferLimit) {
  TestNode node({.loops = 2, .shards = 2, .configure = [](Config* c) {
                   c->client_query_buffer_limit = 8u << 20;
                   c->proto_max_bulk_len = 64u << 20;
                 }});
  TestClient client(node);
  for (uint32_t shard : {0, 1}) {
    const std::string key = KeyOfShard(shard, 2), value(5u << 20, static_cast<char>('a' + shard));
    client.Send(TestClient::Encode({"SET", key, value}) + TestClient::Encode({"STRLEN", key}));
    EXPECT_EQ(client.ReadReply(), "+OK\r\n");
    EXPECT_EQ(client.ReadReply(), ":5242880\r\n");
    EXPECT_TRUE(client.Ask({"GET", key}) == Bulk(value));
  }
  client.Send("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$20000000\r\n" + std::string(9u << 20, 'x'));
  EXPECT_EQ(client.ReadToEnd(), "");
}

TEST(Node, ASlowReaderIsHeldBackAndLosesNothing) {
  TestNode node({.loops = 2, .shards = 2, .configure = {}});
  TestClient client(node), other(node);
  const std::string value(256 * 1024, 'v');
  for (uint32_t shard : {0, 1}) ASSERT_EQ(client.Ask({"SET", KeyOfShard(shard, 2), value}), "+OK\r\n");
  std::string send;
  constexpr int kGets = 600;  // 150 MiB of replies
  for (int i = 0; i < kGets; ++i) send += TestClient::Encode({"GET", KeyOfShard(i % 2, 2)});
  client.Send(send);
  // Others are served meanwhile.
  for (int i = 0; i < 20; ++i) ASSERT_EQ(other.Ask({"PING"}), "+PONG\r\n");
  const std::string expected = Bulk(value);
  for (int i = 0; i < kGets; ++i) ASSERT_TRUE(client.ReadReply() == expected) << i;
  EXPECT_EQ(client.Ask({"PING"}), "+PONG\r\n");
}

TEST(Node, OutputLimitClosesTheClient) {
  TestNode node({.configure = [](Config* c) { c->output_normal.hard = 1u << 20; }});
  TestClient client(node);
  ASSERT_EQ(client.Ask({"SET", "a", std::string(512 * 1024, 'v')}), "+OK\r\n");
  std::string send;
  for (int i = 0; i < 100; ++i) send += TestClient::Encode({"GET", "a"});
  client.Send(send);
  EXPECT_TRUE(Await([&] { return node.node().connected_clients() == 0; }));
}

TEST(Node, IdleClientsAreTimedOut) {
  TestNode node({.configure = [](Config* c) {
    c->timeout = 1;
    c->hz = 100;
  }});
  TestClient client(node);
  EXPECT_EQ(client.Ask({"PING"}), "+PONG\r\n");
  EXPECT_EQ(client.ReadToEnd(), "");
  EXPECT_TRUE(Await([&] { return node.node().connected_clients() == 0; }));
}

TEST(Node, HalfClosedClientsGetTheirReplies) {
  TestNode node({.loops = 4, .shards = 4, .configure = {}});
  for (int round = 0; round < 10; ++round) {
    TestClient client(node);
    std::string send, expected;
    for (int i = 0; i < 50; ++i) {
      send += TestClient::Encode({"SET", Key(i), "v"});
      expected += "+OK\r\n";
    }
    client.Send(send);
    client.CloseWriting();
    EXPECT_EQ(client.ReadToEnd(), expected);
  }
}

// ---- Routing, with slots of another node ---------------------------------------------------------------------------

TEST_P(NodeShapes, RedirectionsAreDecidedWhereTheShardIs) {
  TestNode node(Options());
  TestClient client(node), second(node);
  const uint32_t shards = GetParam().shards;
  for (uint32_t s = 0; s < shards; ++s) {
    const std::string a = "{" + KeyOfShard(s, shards) + "}a", b = "{" + KeyOfShard(s, shards) + "}b";
    const uint16_t slot = storage::KeySlot(a);
    const std::string n = std::to_string(slot);
    for (TestClient* c : {&client, &second}) {
      ASSERT_EQ(c->Ask({"SET", a, "1"}), "+OK\r\n");
      node.bus().Change([&](bus::Topology* t) {
        t->nodes.resize(2);
        t->nodes[1].SetIdentity({.id = std::string(40, 'b'), .ip = "10.0.0.2"});
        t->nodes[1].port = 7001;
        t->migrating = {{slot, std::string(40, 'b')}};
      });
      EXPECT_EQ(c->Ask({"GET", a}), Bulk("1"));
      EXPECT_EQ(c->Ask({"GET", b}), "-ASK " + n + " 10.0.0.2:7001\r\n");
      EXPECT_EQ(c->Ask({"MGET", a, b}), "-TRYAGAIN Multiple keys request during rehashing of slot\r\n");
      node.bus().Change([&](bus::Topology* t) {
        t->migrating.clear();
        t->owner[slot] = 1;
      });
      EXPECT_EQ(c->Ask({"GET", a}), "-MOVED " + n + " 10.0.0.2:7001\r\n");
      node.bus().Change([&](bus::Topology* t) { t->importing = {{slot, std::string(40, 'b')}}; });
      EXPECT_EQ(c->Ask({"SET", b, "2"}), "-MOVED " + n + " 10.0.0.2:7001\r\n");
      c->Send("ASKING\r\nSET " + b + " 2\r\nGET " + b + "\r\n");
      EXPECT_EQ(c->ReadReply(), "+OK\r\n");
      EXPECT_EQ(c->ReadReply(), "+OK\r\n");
      EXPECT_EQ(c->ReadReply(), "-MOVED " + n + " 10.0.0.2:7001\r\n");
      node.bus().Change([&](bus::Topology* t) {
        t->importing.clear();
        t->owner[slot] = 0;
      });
      EXPECT_EQ(c->Ask({"DEL", b}), ":1\r\n");
      node.bus().set_writable_until(0);
      EXPECT_EQ(c->Ask({"GET", a}), Bulk("1"));
      EXPECT_TRUE(Await([&] { return c->Ask({"SET", a, "1"}) == "-CLUSTERDOWN The cluster is down\r\n"; }));
      node.bus().set_writable_until(INT64_MAX);
      EXPECT_TRUE(Await([&] { return c->Ask({"SET", a, "1"}) == "+OK\r\n"; }));
    }
  }
  EXPECT_EQ(client.Ask({"MGET", "a", "b"}), "-CROSSSLOT Keys in request don't hash to the same slot\r\n");
  node.bus().Change([&](bus::Topology* t) { t->ok = false; });
  EXPECT_EQ(client.Ask({"GET", "a"}), "-CLUSTERDOWN The cluster is down\r\n");
}

TEST(Node, WithoutClusterThereIsOneShardAndEveryKey) {
  TestNode node({.loops = 3, .shards = 1, .cluster = false, .configure = {}});
  std::vector<TestClient> clients;
  for (int i = 0; i < 6; ++i) clients.emplace_back(node);
  for (size_t i = 0; i < clients.size(); ++i) {
    EXPECT_EQ(clients[i].Ask({"MSET", "a", std::to_string(i), "b", "2"}), "+OK\r\n");
    EXPECT_EQ(clients[(i + 1) % clients.size()].Ask({"MGET", "a", "b"}),
              "*2\r\n" + Bulk(std::to_string(i)) + Bulk("2"));
  }
}

}  // namespace
}  // namespace skein::node
