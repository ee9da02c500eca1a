// Links over TLS: what is required of a certificate, and who handshakes where.
#include "bus/link/links_harness.h"
#include "gtest/gtest.h"

namespace skein::bus {
namespace {

// An authority and certificates of it, as files.
struct Site {
  TlsContextPtr Issue(const TestSubject& subject) const {
    const TestCertificate own = authority.Issue(subject);
    TlsOptions options;
    options.cert_file = folder.Write("cert", own.cert);
    options.key_file = folder.Write("key", own.key);
    options.ca_cert_file = folder.Write("ca", authority.cert());
    return TestSite::Context(options);
  }
  TestFolder folder;
  TestAuthority authority{"bus"};
};

const LinkMode kTlsModes[] = {{"Inline", 0, false, true}, {"Workers", 2, false, true}, {"BothWorkers", 2, true, true}};

class TlsTest : public ::testing::TestWithParam<LinkMode> {
 protected:
  LinksOptions Options(TlsContextPtr tls) const {
    LinksOptions options = OptionsOf(GetParam());
    options.tls = std::move(tls);
    return options;
  }
  LinksOptions Options() const { return OptionsOf(GetParam()); }
};

INSTANTIATE_TEST_SUITE_P(, TlsTest, ::testing::ValuesIn(kTlsModes), [](const auto& param) { return param.param.name; });

TEST_P(TlsTest, L34_L35_L37_HandshakesAreCountedOnceWhereTheyAreDone) {
  Loop loop;
  Peer a(&loop, 'a', Options()), b(&loop, 'b', Options());
  uint16_t port = b.Listen();
  const LinkCounters& at_b = b.links->counters();
  // A baseline of its own, after some churn.
  for (int i = 0; i < 3; ++i) a.links->Dial(a.NextId(), "127.0.0.1", port);
  ASSERT_TRUE(loop.Until([&] { return a.up.size() == 3; }));
  const uint64_t offloaded = at_b.accepts_offloaded, inline_ = at_b.accepts_inline;
  for (int i = 0; i < 20; ++i) a.links->Dial(a.NextId(), "127.0.0.1", port);
  ASSERT_TRUE(loop.Until([&] { return a.up.size() == 23; }));
  const bool workers = GetParam().workers > 0;
  EXPECT_EQ(at_b.accepts_offloaded - offloaded, workers ? 20u : 0u);
  EXPECT_EQ(at_b.accepts_inline - inline_, workers ? 0u : 20u);
  EXPECT_EQ(b.links->inbound(), 23u);
  EXPECT_EQ(b.links->unproven(), 0u);
  // With the workers gone the bus thread does it, and says so.
  b.links->SetWorkers(0);
  const uint64_t before = at_b.accepts_inline;
  a.links->Dial(a.NextId(), "127.0.0.1", port);
  ASSERT_TRUE(loop.Until([&] { return a.up.size() == 24; }));
  EXPECT_EQ(at_b.accepts_inline, before + 1);
  // Dialling is not accepting.
  EXPECT_EQ(a.links->counters().accepts_offloaded + a.links->counters().accepts_inline, 0u);
}

TEST_P(TlsTest, OnlyCertificatesOfTheAuthorityOpenALink) {
  Loop loop;
  Site site, other;
  Peer b(&loop, 'b', Options(site.Issue({"b"})));
  uint16_t port = b.Listen();
  TlsOptions no_certificate;
  no_certificate.ca_cert_file = site.folder.Write("ca", site.authority.cert());
  struct Case {
    const char* name;
    TlsContextPtr context;
    bool good;
  };
  const Case cases[] = {
      {"good", site.Issue({"a"}), true},
      {"another authority", other.Issue({"a"}), false},
      {"expired", site.Issue({"a", "", -7200, -3600}), false},
      {"not yet valid", site.Issue({"a", "", 3600, 7200}), false},
  };
  char id = 'c';
  uint64_t refused = 0;
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    Peer peer(&loop, id++, Options(one.context));
    peer.links->Dial(1, "127.0.0.1", port);
    ASSERT_TRUE(loop.Until([&] { return peer.up.size() + peer.down.size() == 1; }));
    EXPECT_EQ(peer.up.size() == 1, one.good);
    if (one.good) continue;
    ++refused;
    ASSERT_TRUE(loop.Until([&] { return b.closed(CloseReason::kTlsFailed) == refused; }));
  }
  ASSERT_TRUE(loop.Until([&] { return b.links->inbound() == 0; }));
  EXPECT_EQ(b.links->unproven(), 0u);
  EXPECT_EQ(b.received, 0u);
}

TEST_P(TlsTest, PlainAndTlsPeersAreToldApartCountedAndClosed) {
  Loop loop;
  LinksOptions plain = Options();
  plain.tls = nullptr;
  Peer with(&loop, 'a', Options()), without(&loop, 'b', plain);
  uint16_t tls_port = with.Listen(), plain_port = without.Listen();
  without.links->Dial(1, "127.0.0.1", tls_port);
  with.links->Dial(1, "127.0.0.1", plain_port);
  ASSERT_TRUE(loop.Until([&] { return without.down.size() == 1 && with.down.size() == 1; }));
  EXPECT_EQ(with.closed(CloseReason::kPeerHasNoTls), 1u);
  EXPECT_EQ(without.closed(CloseReason::kPeerHasTls), 1u);
  EXPECT_EQ(without.closed(CloseReason::kHandshakeEnded), 1u);
  EXPECT_EQ(with.closed(CloseReason::kTlsFailed), 1u);
  // A plain peer gets not one byte.
  RawPeer client(tls_port);
  client.Say(EncodeHello({1, 1, std::string(40, 'c'), false, {}}));
  ASSERT_TRUE(loop.Until([&] { return client.Closed(); }));
  EXPECT_TRUE(client.heard.empty());
  EXPECT_EQ(with.closed(CloseReason::kPeerHasNoTls), 2u);
}

TEST_P(TlsTest, ANodeIdStaysWithTheNamesOfItsCertificate) {
  Loop loop;
  Site site;
  Peer b(&loop, 'b', Options(site.Issue({"b", "DNS:b.example"})));
  uint16_t port = b.Listen();
  const auto dial = [&](char id, const TestSubject& subject) {
    Peer peer(&loop, id, Options(site.Issue(subject)));
    const size_t before = b.links->counters().of(CloseReason::kCertificateMismatch);
    peer.links->Dial(1, "127.0.0.1", port);
    // The dialler may be up for a moment, until it hears that it has been refused.
    EXPECT_TRUE(loop.Until([&] {
      return b.closed(CloseReason::kCertificateMismatch) > before || b.links->inbound() > b.links->unproven();
    }));
    const bool up = b.links->inbound() > b.links->unproven();
    return up;
  };
  const auto left = [&] { return loop.Until([&] { return b.links->inbound() == 0; }); };
  EXPECT_TRUE(dial('1', {"node-1", "DNS:one.example"}));
  ASSERT_TRUE(left());
  // A renewed certificate has another key and the same names.
  EXPECT_TRUE(dial('1', {"node-1", "DNS:one.example"}));
  ASSERT_TRUE(left());
  EXPECT_TRUE(dial('2', {"node-2", "DNS:two.example"}));
  ASSERT_TRUE(left());
  // Another member's certificate does not make it that member.
  EXPECT_FALSE(dial('1', {"node-2", "DNS:two.example"}));
  EXPECT_FALSE(dial('1', {"node-1", "DNS:two.example"}));
  EXPECT_FALSE(dial('1', {"node-1", "DNS:one.example,DNS:two.example"}));
  EXPECT_FALSE(dial('1', {"node-1\\nDNS:one.example"}));
  EXPECT_EQ(b.closed(CloseReason::kCertificateMismatch), 4u);
  EXPECT_EQ(b.links->pairings(), 2u);
  // One certificate for all: every id goes with it.
  EXPECT_TRUE(dial('3', {"node-2", "DNS:two.example"}));
  ASSERT_TRUE(left());
  EXPECT_EQ(b.links->pairings(), 3u);
  // The dialling side holds to it, too.
  Peer a(&loop, 'a', Options(site.Issue({"a"})));
  Peer impostor(&loop, 'b', Options(site.Issue({"node-2", "DNS:two.example"})));
  uint16_t false_port = impostor.Listen();
  a.links->Dial(1, "127.0.0.1", port);
  ASSERT_TRUE(loop.Until([&] { return a.up.size() == 1; }));
  a.links->Dial(3, "127.0.0.1", false_port);
  ASSERT_TRUE(loop.Until([&] { return a.down.size() == 1; }));
  EXPECT_EQ(a.closed(CloseReason::kCertificateMismatch), 1u);
}

TEST_P(TlsTest, NewCertificatesReachEveryLinkInBoundedTime) {
  Loop loop;
  Site site;
  LinksOptions options = Options(site.Issue({"b"}));
  options.renew_within_ms = 600;
  Peer b(&loop, 'b', options);
  options.tls = site.Issue({"a"});
  Peer a(&loop, 'a', options);
  uint16_t port = b.Listen();
  std::vector<LinkId> up;
  a.on_down = [&](LinkId) { a.links->Dial(a.NextId(), "127.0.0.1", port); };
  for (int i = 0; i < 10; ++i) a.links->Dial(a.NextId(), "127.0.0.1", port);
  ASSERT_TRUE(loop.Until([&] { return a.up.size() == 10; }));
  b.links->SetTls(site.Issue({"b"}));
  const int64_t since = MonotonicMs();
  // One after the other, not at once.
  size_t fewest = 10;
  ASSERT_TRUE(loop.Until([&] {
    b.links->Tick();
    size_t good = 0;
    for (const LinkView& view : a.links->View()) good += view.up;
    fewest = std::min(fewest, good);
    return b.closed(CloseReason::kTlsRenewed) == 10 && good == 10;
  }));
  EXPECT_LT(MonotonicMs() - since, 5000);
  EXPECT_GT(fewest, 0u);
  EXPECT_EQ(b.closed(CloseReason::kCertificateMismatch), 0u);
  for (int i = 0; i < 5; ++i) b.links->Tick();
  EXPECT_EQ(b.closed(CloseReason::kTlsRenewed), 10u);
  a.on_down = nullptr;
}

TEST_P(TlsTest, LargeMessagesBothWaysAtOnce) {
  Loop loop;
  Peer a(&loop, 'a', Options()), b(&loop, 'b', Options());
  LinkId link = a.Join(&b);
  ASSERT_TRUE(loop.Until([&] { return a.up.size() == 1; }));
  // More than the sockets hold: writing waits for reading on both sides, records end in the middle of messages.
  bool in_order = true;
  uint64_t next_a = 1, next_b = 0;
  a.on_message = [&](LinkId, const MessagePtr& message) { in_order &= message->ping().seq() == next_a++; };
  b.on_message = [&](LinkId from, const MessagePtr& message) {
    in_order &= message->ping().seq() == next_b++;
    b.links->Send(from, MakePing(message->ping().seq() + 1, 90'000 + next_b % 7000));
  };
  for (uint64_t i = 0; i < 100; ++i) a.links->Send(link, MakePing(i, 100'000 + i * 13));
  ASSERT_TRUE(loop.Until([&] { return a.received == 100; }));
  EXPECT_TRUE(in_order);
}

TEST_P(TlsTest, L43_HalfOpenHandshakesEndAtTheirDeadline) {
  Loop loop;
  LinksOptions options = Options();
  options.hello_timeout_ms = 60;
  options.max_unproven_per_address = 30;
  Peer b(&loop, 'b', options);
  uint16_t port = b.Listen();
  std::vector<std::unique_ptr<RawPeer>> clients;
  for (int i = 0; i < 40; ++i) {
    clients.push_back(std::make_unique<RawPeer>(port));
    // Nothing, or the beginning of a handshake.
    if (i % 2 == 0) clients.back()->Say(std::string("\x16\x03\x01\x02\x00\x01", 6));
  }
  ASSERT_TRUE(loop.Until([&] { return b.closed(CloseReason::kAddressLimit) == 10; }));
  EXPECT_EQ(b.links->unproven(), 30u);
  ASSERT_TRUE(loop.Until([&] {
    b.links->Tick();
    return b.links->inbound() == 0;
  }));
  EXPECT_EQ(b.closed(CloseReason::kHelloTimeout), 30u);
  ASSERT_TRUE(loop.Until([&] { return b.links->closing() == 0; }));
}

}  // namespace
}  // namespace skein::bus
