// Client sessions over TLS: what they share with plain ones, and the handshakes that they begin with.
#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "glog/logging.h"
#include "node/node_testing.h"
#include "node/session_tls_testing.h"
#include "storage/slot.h"

namespace skein::node {
namespace {

std::string Bulk(const std::string& s) { return "$" + std::to_string(s.size()) + "\r\n" + s + "\r\n"; }

class SessionTls : public testing::Test {
 protected:
  TestNode::Options Options(uint32_t loops = 1, uint32_t shards = 1) {
    return {.loops = loops, .shards = shards, .configure = [this](Config* c) {
              site_.Configure(c);
              if (more_) more_(c);
            }};
  }
  static uint64_t Field(TestNode& node, const std::string& name) {
    TestClient client(node);
    const std::string info = client.Ask({"INFO", "everything"});
    const size_t at = info.find("\r\n" + name + ":");
    CHECK(at != std::string::npos) << name;
    return std::stoull(info.substr(at + 3 + name.size()));
  }
  Site site_;
  std::function<void(Config*)> more_;
};

TEST_F(SessionTls, PlainAndTlsStandSideBySide) {
  TestNode node(Options());
  TestClient plain(node);
  SecureClient secure(node.node().tls_port(), &site_);
  ASSERT_TRUE(secure.ok);
  EXPECT_EQ(plain.Ask({"SET", "a", "1"}), "+OK\r\n");
  EXPECT_EQ(secure.Ask({"GET", "a"}), "1");
  EXPECT_EQ(secure.Ask({"SET", "a", "2"}), "+OK");
  EXPECT_EQ(plain.Ask({"GET", "a"}), Bulk("2"));
  EXPECT_EQ(node.node().connected_clients(), 2u);
}

TEST_F(SessionTls, WithPortZeroThereIsTlsOnly) {
  more_ = [](Config* c) { c->port = 0; };
  TestNode node(Options());
  EXPECT_EQ(node.port(), 0);
  SecureClient secure(node.node().tls_port(), &site_);
  EXPECT_EQ(secure.Ask({"PING"}), "+PONG");
}

TEST_F(SessionTls, LongPipelinesKeepTheirOrderOnAnyShape) {
  TestNode node(Options(4, 4));
  std::vector<std::thread> threads;
  for (int c = 0; c < 3; ++c) {
    threads.emplace_back([&, c] {
      SecureClient client(node.node().tls_port(), &site_);
      ASSERT_TRUE(client.ok);
      std::string send, expected;
      for (int i = 0; i < 10'000; ++i) {
        const std::string key = "c" + std::to_string(c) + "k" + std::to_string(i % 997), value = std::to_string(i);
        send += TestClient::Encode({"SET", key, value}) + TestClient::Encode({"GET", key});
        expected += "+OK\r\n" + Bulk(value);
      }
      client.Send(send);
      EXPECT_TRUE(client.Read(expected.size()) == expected);
    });
  }
  for (std::thread& t : threads) t.join();
}

TEST_F(SessionTls, LargeValuesGoBothWays) {
  TestNode node(Options());
  SecureClient client(node.node().tls_port(), &site_);
  std::string value(12 << 20, '\0');
  for (size_t i = 0; i < value.size(); ++i) value[i] = static_cast<char>(i * 37 >> 4);
  EXPECT_EQ(client.Ask({"SET", "big", value}), "+OK");
  EXPECT_TRUE(client.Ask({"GET", "big"}) == value);
  EXPECT_EQ(client.Ask({"PING"}), "+PONG");
}

// More than one read takes has been decrypted or read ahead, and the descriptor has nothing more to tell.
TEST_F(SessionTls, WhatHasBeenReadAheadIsServed) {
  TestNode node(Options());
  SecureClient client(node.node().tls_port(), &site_);
  const std::string ping = TestClient::Encode({"ECHO", std::string(1000, 'x')});
  std::string block;
  while (block.size() + ping.size() <= 16'000) block += ping;
  const size_t replies = block.size() / ping.size();
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 6; ++i) client.Send(block);  // a record each
    const std::string expected = Bulk(std::string(1000, 'x'));
    const std::string got = client.Read(6 * replies * expected.size());
    ASSERT_EQ(got.size(), 6 * replies * expected.size()) << "round " << round;
  }
}

TEST_F(SessionTls, ASlowReaderIsHeldBackAndLosesNothing) {
  TestNode node(Options());
  SecureClient slow(node.node().tls_port(), &site_), other(node.node().tls_port(), &site_);
  const std::string value(100'000, 'v');
  ASSERT_EQ(slow.Ask({"SET", "k", value}), "+OK");
  std::string send;
  for (int i = 0; i < 300; ++i) send += TestClient::Encode({"GET", "k"});
  slow.Send(send);
  EXPECT_EQ(other.Ask({"PING"}), "+PONG") << "others are served meanwhile";
  const std::string one = Bulk(value);
  for (int i = 0; i < 300; ++i) ASSERT_TRUE(slow.Read(one.size()) == one) << i;
  EXPECT_EQ(slow.Ask({"PING"}), "+PONG");
}

TEST_F(SessionTls, OutputLimitClosesTheClient) {
  more_ = [](Config* c) { c->output_normal.hard = 1 << 20; };
  TestNode node(Options());
  {
    SecureClient client(node.node().tls_port(), &site_);
    ASSERT_EQ(client.Ask({"SET", "k", std::string(600'000, 'v')}), "+OK");
    std::string send;
    for (int i = 0; i < 30; ++i) send += TestClient::Encode({"GET", "k"});
    client.Send(send);
    EXPECT_TRUE(Await([&] { return Field(node, "client_output_buffer_limit_disconnections") == 1; }));
  }
  EXPECT_TRUE(Await([&] { return node.node().connected_clients() == 0; }));
}

TEST_F(SessionTls, HalfClosedClientsGetTheirReplies) {
  TestNode node(Options());
  SecureClient client(node.node().tls_port(), &site_);
  std::string send, expected;
  for (int i = 0; i < 2000; ++i) {
    send += TestClient::Encode({"ECHO", std::to_string(i)});
    expected += Bulk(std::to_string(i));
  }
  client.Send(send);
  client.EndSending();
  EXPECT_EQ(client.Read(expected.size()), expected);
  EXPECT_EQ(client.Read(1), "");
  EXPECT_EQ(SSL_get_shutdown(client.ssl()) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN) << "it says goodbye";
}

TEST_F(SessionTls, L34_AHandshakeThatArrivesByteByByteIsDoneOnce) {
  TestNode node(Options());
  // The client's end of TLS is on a pair of BIOs; its bytes go out one by one.
  Site& site = site_;
  SSL_CTX* ctx = SSL_CTX_new(TLS_client_method());
  SSL_CTX_use_certificate_file(ctx, site.cert.c_str(), SSL_FILETYPE_PEM);
  SSL_CTX_use_PrivateKey_file(ctx, site.key.c_str(), SSL_FILETYPE_PEM);
  SSL* ssl = SSL_new(ctx);
  BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
  SSL_set_bio(ssl, in, out);
  SSL_set_connect_state(ssl);
  const int fd = Connect(node.node().tls_port());
  const auto flush = [&] {
    char byte;
    while (BIO_read(out, &byte, 1) == 1) ASSERT_EQ(send(fd, &byte, 1, MSG_NOSIGNAL), 1);
  };
  const auto fetch = [&] {
    char bytes[4096];
    const ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
    ASSERT_GT(n, 0);
    BIO_write(in, bytes, static_cast<int>(n));
  };
  while (SSL_do_handshake(ssl) != 1) {
    flush();
    fetch();
  }
  SSL_write(ssl, "PING\r\n", 6);
  flush();
  char reply[16];
  int n;
  while ((n = SSL_read(ssl, reply, sizeof(reply))) <= 0) fetch();
  EXPECT_EQ(std::string(reply, static_cast<size_t>(n)), "+PONG\r\n");
  EXPECT_EQ(Field(node, "tls_handshakes"), 1u);
  EXPECT_EQ(Field(node, "tls_handshake_failures"), 0u);
  SSL_free(ssl);
  SSL_CTX_free(ctx);
  close(fd);
}

TEST_F(SessionTls, L35_HandshakeChurnMovesTheCounter) {
  TestNode node(Options(2, 2));
  const uint64_t before = Field(node, "tls_handshakes"), failed = Field(node, "tls_handshake_failures");
  for (int i = 0; i < 25; ++i) {
    SecureClient client(node.node().tls_port(), &site_);
    ASSERT_TRUE(client.ok);
    ASSERT_EQ(client.Ask({"PING"}), "+PONG");
  }
  for (int i = 0; i < 5; ++i) {
    SecureClient stranger(node.node().tls_port(), nullptr);  // no certificate
    EXPECT_EQ(stranger.Ask({"PING"}), "<end>");
  }
  EXPECT_EQ(Field(node, "tls_handshakes"), before + 25);
  EXPECT_EQ(Field(node, "tls_handshake_failures"), failed + 5);
}

TEST_F(SessionTls, L01_NoHandshakeThatFailsIsMissed) {
  TestNode node(Options(4, 4));
  std::vector<int> half_open;
  for (int round = 0; round < 20; ++round) {
    const int garbage = Connect(node.node().tls_port());
    ASSERT_EQ(send(garbage, "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL), 18);
    char byte;
    while (recv(garbage, &byte, 1, 0) > 0) {
    }
    close(garbage);
    close(Connect(node.node().tls_port()));  // gone before it said anything
    half_open.push_back(Connect(node.node().tls_port()));
    // A record that announces more than it brings.
    ASSERT_EQ(send(half_open.back(), "\x16\x03\x01\x02\x00\x01", 6, MSG_NOSIGNAL), 6);
    SecureClient good(node.node().tls_port(), &site_);
    good.Send("*1\r\n$4\r\nPI");
  }
  EXPECT_TRUE(Await([&] { return node.node().connected_clients() == half_open.size(); }))
      << node.node().connected_clients();
  EXPECT_GE(Field(node, "tls_handshake_failures"), 20u);
  for (int fd : half_open) close(fd);
  EXPECT_TRUE(Await([&] { return node.node().connected_clients() == 0; })) << node.node().connected_clients();
  SecureClient client(node.node().tls_port(), &site_);
  EXPECT_EQ(client.Ask({"PING"}), "+PONG");
}

TEST_F(SessionTls, L01_HalfOpenHandshakesHaveADeadline) {
  more_ = [](Config* c) {
    c->tls_handshake_timeout = 1;
    c->hz = 100;
  };
  TestNode node(Options());
  SecureClient client(node.node().tls_port(), &site_);
  std::vector<int> half_open;
  for (int i = 0; i < 10; ++i) half_open.push_back(Connect(node.node().tls_port()));
  for (int fd : half_open) {
    char byte;
    EXPECT_EQ(recv(fd, &byte, 1, 0), 0) << "closed by the node";
    close(fd);
  }
  EXPECT_EQ(Field(node, "tls_handshake_timeouts"), 10u);
  EXPECT_EQ(client.Ask({"PING"}), "+PONG") << "who has shaken hands has no deadline";
  EXPECT_EQ(node.node().connected_clients(), 1u);
}

TEST_F(SessionTls, L03_FullHouse) {
  more_ = [](Config* c) { c->maxclients = 2; };
  TestNode node(Options());
  SecureClient first(node.node().tls_port(), &site_);
  ASSERT_EQ(first.Ask({"PING"}), "+PONG");
  {
    const int waiting = Connect(node.node().tls_port());  // counts from the accept on
    ASSERT_TRUE(Await([&] { return node.node().connected_clients() == 2; }));
    SecureClient third(node.node().tls_port(), &site_);
    EXPECT_FALSE(third.ok) << "it sees the end, as in Redis";
    TestClient plain(node);
    EXPECT_EQ(plain.ReadToEnd(), "-ERR max number of clients reached\r\n");
    close(waiting);
  }
  EXPECT_TRUE(Await([&] { return node.node().connected_clients() == 1; }));
  SecureClient next(node.node().tls_port(), &site_);
  EXPECT_EQ(next.Ask({"PING"}), "+PONG");
  EXPECT_EQ(node.node().desk().refused(), 2u);
}

TEST_F(SessionTls, ClientsInTheirHandshakeCanBeKilledAndDoNotHoldUpTheStop) {
  TestNode node(Options(2, 2));
  std::vector<int> half_open;
  for (int i = 0; i < 6; ++i) half_open.push_back(Connect(node.node().tls_port()));
  TestClient killer(node);
  ASSERT_TRUE(Await([&] { return node.node().connected_clients() == 7; }));
  EXPECT_EQ(killer.Ask({"CLIENT", "KILL", "TYPE", "normal"}), ":6\r\n");
  EXPECT_TRUE(Await([&] { return node.node().connected_clients() == 1; }));
  for (int fd : half_open) close(fd);
  const int late = Connect(node.node().tls_port());
  ASSERT_TRUE(Await([&] { return node.node().connected_clients() == 2; }));
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(node.Stop().ok());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
  close(late);
}

TEST_F(SessionTls, CertificatesAreReadAgainByConfigSetAllOrNone) {
  TestNode node(Options());
  SecureClient old(node.node().tls_port(), &site_);
  const std::string before = old.ServerFingerprint();
  const bus::TestCertificate fresh = site_.authority.Issue({.common_name = "fresh"});
  const std::string cert = site_.folder.Write("fresh.crt", fresh.cert),
                    key = site_.folder.Write("fresh.key", fresh.key);
  // One without the other does not fit, and nothing changes.
  EXPECT_EQ(old.Ask({"CONFIG", "SET", "tls-cert-file", cert}),
            "-ERR CONFIG SET failed (possibly related to argument 'tls-cert-file') - 'tls-key-file " + site_.key +
                "': key values mismatch (tls-cert-file " + cert + ")");
  EXPECT_EQ(old.Ask({"CONFIG", "SET", "maxclients", "77", "tls-ca-cert-file", "/none"}),
            "-ERR CONFIG SET failed (possibly related to argument 'tls-ca-cert-file') - 'tls-ca-cert-file /none': No "
            "such file or directory");
  EXPECT_NE(node.node().config()->maxclients, 77u) << "all or none";
  EXPECT_EQ(node.node().config()->tls_cert_file, site_.cert);
  EXPECT_EQ(SecureClient(node.node().tls_port(), &site_).ServerFingerprint(), before);

  EXPECT_EQ(old.Ask({"CONFIG", "SET", "tls-cert-file", cert, "tls-key-file", key}), "+OK");
  EXPECT_EQ(SecureClient(node.node().tls_port(), &site_).ServerFingerprint(), bus::TestFingerprint(fresh.cert));
  EXPECT_EQ(old.Ask({"PING"}), "+PONG") << "connections that exist go on";
  // The same names, other files: how certificates are renewed.
  const bus::TestCertificate renewed = site_.authority.Issue({.common_name = "renewed"});
  site_.folder.Write("fresh.crt", renewed.cert);
  site_.folder.Write("fresh.key", renewed.key);
  EXPECT_EQ(SecureClient(node.node().tls_port(), &site_).ServerFingerprint(), bus::TestFingerprint(fresh.cert));
  EXPECT_EQ(old.Ask({"CONFIG", "SET", "tls-cert-file", cert}), "+OK");
  EXPECT_EQ(SecureClient(node.node().tls_port(), &site_).ServerFingerprint(), bus::TestFingerprint(renewed.cert));
  // Who is asked for a certificate is a matter of new connections as well.
  EXPECT_EQ(SecureClient(node.node().tls_port(), nullptr).Ask({"PING"}), "<end>");
  EXPECT_EQ(old.Ask({"CONFIG", "SET", "tls-auth-clients", "no"}), "+OK");
  EXPECT_EQ(SecureClient(node.node().tls_port(), nullptr).Ask({"PING"}), "+PONG");
}

TEST_F(SessionTls, WhoCameByTlsIsToldTlsPorts) {
  TestNode node(Options(2, 2));
  node.bus().Change([](bus::Topology* t) {
    t->nodes.resize(2);
    t->nodes[0].port = 7000;
    t->nodes[0].tls_port = 7100;
    t->nodes[1].SetIdentity({.id = std::string(40, 'b'), .ip = "10.0.0.2"});
    t->nodes[1].port = 7001;
    t->nodes[1].tls_port = 7101;
    t->owner.fill(1);
    t->nodes[1].slots = {{0, 16383}};
  });
  TestClient plain(node);
  SecureClient secure(node.node().tls_port(), &site_);
  // Wherever the shard is: one key of each.
  for (const char* key : {"a", "b", "c", "d"}) {
    const std::string slot = std::to_string(storage::KeySlot(key));
    EXPECT_EQ(secure.Ask({"GET", key}), "-MOVED " + slot + " 10.0.0.2:7101");
    EXPECT_EQ(plain.Ask({"GET", key}), "-MOVED " + slot + " 10.0.0.2:7001\r\n");
  }
  EXPECT_NE(secure.Ask({"CLUSTER", "NODES"}).find("10.0.0.2:7101@"), std::string::npos);
  EXPECT_NE(plain.Ask({"CLUSTER", "NODES"}).find("10.0.0.2:7001@"), std::string::npos);
  EXPECT_NE(plain.Ask({"CLUSTER", "SLOTS"}).find(":7001\r\n"), std::string::npos);
  secure.Send(TestClient::Encode({"CLUSTER", "SLOTS"}));
  std::string slots;
  for (int i = 0; i < 8; ++i) slots += secure.ReadLine() + "\n";
  EXPECT_NE(slots.find(":7101\n"), std::string::npos) << slots;
  const std::string shards = plain.Ask({"CLUSTER", "SHARDS"});
  EXPECT_NE(shards.find("tls-port\r\n:7101\r\n"), std::string::npos);
  EXPECT_NE(shards.find("port\r\n:7001\r\n"), std::string::npos);
}

// Four clients do nothing but connect; another one measures.
TEST_F(SessionTls, AStormOfHandshakesDoesNotHoldUpTheOthers) {
  TestNode node(Options());
  TestClient measuring(node);
  std::atomic<bool> stop{false};
  std::atomic<int> shaken{0};
  std::vector<std::thread> storm;
  for (int t = 0; t < 4; ++t) {
    storm.emplace_back([&] {
      while (!stop) {
        SecureClient client(node.node().tls_port(), &site_);
        shaken += client.ok;
      }
    });
  }
  int asked = 0;
  while (shaken < 100) {
    ASSERT_EQ(measuring.Ask({"PING"}), "+PONG\r\n");
    ++asked;
  }
  stop = true;
  for (std::thread& t : storm) t.join();
  EXPECT_GT(asked, 50) << "it had a turn at least as often as they";
  EXPECT_TRUE(Await([&] { return node.node().connected_clients() == 1; }));
}

}  // namespace
}  // namespace skein::node
