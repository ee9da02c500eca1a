// Links of several nodes on one loop: each test runs with the work done inline and by workers.
#include "bus/link/links.h"

#include <malloc.h>
#include <sys/resource.h>

#include <cstdlib>
#include <random>

#include "bus/link/links_harness.h"
#include "gtest/gtest.h"

namespace skein::bus {
namespace {

class LinksTest : public ::testing::TestWithParam<size_t> {
 protected:
  LinksOptions Options() const {
    LinksOptions options;
    options.workers = GetParam();
    return options;
  }
};

INSTANTIATE_TEST_SUITE_P(, LinksTest, ::testing::Values(0, 2),
                         [](const auto& param) { return param.param == 0 ? "Inline" : "Workers"; });

TEST_P(LinksTest, DialMeetTalkAndEnd) {
  Loop loop;
  Peer a(&loop, 'a', Options()), b(&loop, 'b', Options());
  uint16_t port = b.Listen();
  b.on_message = [&](LinkId link, const MessagePtr& message) { b.links->Send(link, message); };
  uint64_t next = 0;
  bool in_order = true;
  a.on_message = [&](LinkId, const MessagePtr& message) { in_order &= message->ping().seq() == next++; };
  LinkId link = a.NextId();
  a.links->Dial(link, "127.0.0.1", port);
  ASSERT_TRUE(loop.Until([&] { return a.up.size() == 1; }));
  for (uint64_t i = 0; i < 2000; ++i) a.links->Send(link, MakePing(i, i % 300));
  ASSERT_TRUE(loop.Until([&] { return a.received == 2000; }));
  EXPECT_TRUE(in_order);
  EXPECT_EQ(b.last_ip, "127.0.0.1");
  std::vector<LinkView> views = a.links->View();
  ASSERT_EQ(views.size(), 1u);
  EXPECT_EQ(views[0].peer_id, b.node_id);
  EXPECT_EQ(views[0].send_bytes, 0u);
  // L28: what was counted as sent was counted as received, by type, inline or not.
  const LinkCounters &at_a = a.links->counters(), &at_b = b.links->counters();
  EXPECT_EQ(at_a.sent, at_b.received);
  EXPECT_EQ(at_b.sent, at_a.received);
  EXPECT_EQ(at_a.sent[3], 2000u);
  EXPECT_EQ(at_a.bytes_sent, at_b.bytes_received);
  EXPECT_EQ(at_b.bytes_sent, at_a.bytes_received);
  // L33: with no workers all of it is inline, with workers (nearly) none.
  if (GetParam() == 0) {
    EXPECT_EQ(at_a.reads_offloaded + at_a.writes_offloaded, 0u);
    EXPECT_GT(at_a.reads_inline, 0u);
    EXPECT_GT(at_a.writes_inline, 0u);
  } else {
    EXPECT_GT(at_a.reads_offloaded, 0u);
    EXPECT_GT(at_a.writes_offloaded, 0u);
    EXPECT_EQ(at_a.reads_inline + at_a.writes_inline, 0u);
  }
  // The end shows on the other side once, and Close is not told to who asked for it.
  a.links->Close(link, "test");
  ASSERT_TRUE(loop.Until([&] { return b.down.size() == 1; }));
  EXPECT_TRUE(a.down.empty());
  EXPECT_EQ(a.links->counters().closed_by_engine.at("test"), 1u);
  EXPECT_EQ(b.closed(CloseReason::kEndOfStream), 1u);
  EXPECT_EQ(b.links->inbound(), 0u);
  ASSERT_TRUE(loop.Until([&] { return a.links->outbound() == 0; }));
}

TEST_P(LinksTest, AFailedDialIsToldOnce) {
  Loop loop;
  LinksOptions options = Options();
  options.loopback_only = true;
  Peer a(&loop, 'a', options);
  uint16_t port = 0;
  { auto nobody = Listen({"127.0.0.1"}, &port); }
  a.links->Dial(1, "127.0.0.1", port);
  a.links->Dial(3, "no address", 1);
  a.links->Dial(5, "192.0.2.1", 6379);
  a.links->Dial(7, "127.0.0.1", 0);
  ASSERT_TRUE(loop.Until([&] { return a.down.size() == 4; }));
  EXPECT_EQ(a.closed(CloseReason::kConnectFailed), 1u);
  EXPECT_EQ(a.closed(CloseReason::kBadAddress), 2u);
  EXPECT_EQ(a.closed(CloseReason::kNotLoopback), 1u);
  EXPECT_EQ(a.links->size(), 0u);
}

TEST_P(LinksTest, ANodeThatReachesItselfCloses) {
  Loop loop;
  Peer a(&loop, 'a', Options());
  uint16_t port = a.Listen();
  a.links->Dial(1, "127.0.0.1", port);
  ASSERT_TRUE(loop.Until([&] { return a.down.size() == 1; }));
  EXPECT_EQ(a.closed(CloseReason::kSelf), 1u);
  EXPECT_TRUE(a.up.empty());
}

TEST_P(LinksTest, L32_AnUnreadLinkIsClosedAtItsLimitAndCounted) {
  Loop loop;
  LinksOptions options = Options();
  options.buffer_limit = 1 << 20;
  Peer a(&loop, 'a', options);
  auto listening = std::vector<Fd>();
  uint16_t port = 0;
  listening = *Listen({"127.0.0.1"}, &port);
  a.links->Dial(1, "127.0.0.1", port);
  Fd silent;
  ASSERT_TRUE(loop.Until([&] {
    SocketAddress from;
    int error;
    if (!silent) silent = Accept(listening[0].get(), &from, &error);
    return static_cast<bool>(silent);
  }));
  std::string hello = EncodeHello({1, 1, std::string(40, 'b')});
  ASSERT_EQ(send(silent.get(), hello.data(), hello.size(), 0), static_cast<ssize_t>(hello.size()));
  ASSERT_TRUE(loop.Until([&] { return a.up.size() == 1; }));
  // It reads nothing: the kernel's buffers fill, then the link's.
  size_t most = 0, sent = 0;
  while (a.links->size() == 1) {
    a.links->Send(1, MakePing(sent++, 50'000));
    for (const LinkView& view : a.links->View()) {
      if (!view.closing) most = std::max(most, view.send_bytes);
    }
    loop.Turn();
    ASSERT_LT(sent, 10'000u);
  }
  EXPECT_LE(most, options.buffer_limit);
  EXPECT_GT(most, options.buffer_limit / 2);
  EXPECT_EQ(a.closed(CloseReason::kOverBufferLimit), 1u);
  ASSERT_EQ(a.down.size(), 1u);
  EXPECT_EQ(a.down[0].second, "over-buffer-limit");
}

TEST_P(LinksTest, AMessageThatIsTooLongClosesTheLinkThatWouldSendIt) {
  Loop loop;
  Peer a(&loop, 'a', Options()), b(&loop, 'b', Options());
  LinkId link = a.Join(&b);
  ASSERT_TRUE(loop.Until([&] { return a.up.size() == 1; }));
  a.links->Send(link, MakePing(1, 300 << 10));
  EXPECT_EQ(a.closed(CloseReason::kMessageTooLong), 1u);
  ASSERT_TRUE(loop.Until([&] { return b.down.size() == 1; }));
  EXPECT_EQ(b.received, 0u);
}

TEST_P(LinksTest, L30_AFloodFromOnePeerDoesNotHoldUpAnother) {
  Loop loop;
  LinksOptions options = Options();
  Peer hub(&loop, 'b', options), flooder(&loop, 'f', Options()), quiet(&loop, 'a', Options());
  LinkId flood = flooder.Join(&hub), calm = quiet.Join(&hub);
  ASSERT_TRUE(loop.Until([&] { return flooder.up.size() == 1 && quiet.up.size() == 1; }));
  for (uint64_t i = 0; i < 50'000; ++i) flooder.links->Send(flood, MakePing(1'000'000 + i));
  uint64_t before = 0;
  bool heard = false;
  hub.on_message = [&](LinkId, const MessagePtr& message) {
    if (message->ping().seq() < 1'000'000) heard = true;
    if (!heard) ++before;
  };
  // Let the flood run first.
  ASSERT_TRUE(loop.Until([&] { return hub.received > 1000; }));
  before = 0;
  quiet.links->Send(calm, MakePing(7));
  ASSERT_TRUE(loop.Until([&] { return heard; }));
  // A few turns of one budget each, not what is left of the flood. (With workers the turns of the three threads are not
  // in step, so the bound is looser.)
  EXPECT_LE(before, GetParam() == 0 ? options.budget.messages * 8u : 25'000u);
  ASSERT_TRUE(loop.Until([&] { return hub.received == 50'001; }));
}

TEST_P(LinksTest, L25_L26_ClosesAtRandomInstants) {
  Loop loop;
  LinksOptions options = Options();
  options.budget = {4, 2048};  // many jobs
  Peer a(&loop, 'a', options), b(&loop, 'b', options);
  std::mt19937 random(7);
  size_t joined = 0;
  // The rule asks for 100,000: SKEIN_CLOSES=100000, under AddressSanitizer.
  const char* closes = getenv("SKEIN_CLOSES");
  const size_t total = closes != nullptr ? static_cast<size_t>(atoll(closes)) : 3000;
  std::vector<LinkId> mine;
  auto mischief = [&](Peer* peer, LinkId link) {
    switch (random() % 8) {
      case 0:
        peer->links->Close(link, "random");
        break;
      case 1:
        if (!mine.empty()) a.links->Close(mine[random() % mine.size()], "random");
        break;
      default:
        for (uint64_t n = random() % 4; n > 0; --n) peer->links->Send(link, MakePing(n, random() % 2000));
    }
  };
  a.on_message = [&](LinkId link, const MessagePtr&) { mischief(&a, link); };
  b.on_message = [&](LinkId link, const MessagePtr&) { mischief(&b, link); };
  a.on_up = [&](LinkId link) {
    for (int i = 0; i < 3; ++i) a.links->Send(link, MakePing(9, 500));
  };
  ASSERT_TRUE(loop.Until(
      [&] {
        while (joined < total && a.links->outbound() < 30) {
          a.Join(&b);
          ++joined;
        }
        mine.clear();
        for (const LinkView& view : a.links->View()) mine.push_back(view.id);
        // From outside of any job, too; at the end all of them.
        for (LinkId link : mine) {
          if (joined == total || random() % 50 == 0) a.links->Close(link, "random");
        }
        return joined == total && a.links->size() == 0;
      },
      20'000 + static_cast<int64_t>(total) * 5));
  ASSERT_TRUE(loop.Until([&] { return b.links->size() == 0 && a.links->closing() + b.links->closing() == 0; }));
  EXPECT_EQ(a.links->outbound(), 0u);
  EXPECT_EQ(b.links->inbound(), 0u);
  EXPECT_EQ(b.links->unproven(), 0u);
  EXPECT_GT(a.received, 0u);
  uint64_t ends = 0;
  for (uint64_t count : a.links->counters().closed) ends += count;
  EXPECT_EQ(ends, total);  // each once
}

TEST_P(LinksTest, L41_LateEventsForAFinishedLinkCreateNothing) {
  Loop loop;
  Peer a(&loop, 'a', Options()), b(&loop, 'b', Options());
  LinkId link = a.Join(&b);
  ASSERT_TRUE(loop.Until([&] { return a.up.size() == 1; }));
  a.links->Close(link, "test");
  for (int i = 0; i < 3; ++i) {
    a.links->Send(link, MakePing(1));
    a.links->Close(link, "again");
  }
  a.links->Send(999'999, MakePing(1));
  ASSERT_TRUE(loop.Until([&] { return b.links->size() == 0; }));
  EXPECT_EQ(a.links->size(), 0u);
  EXPECT_EQ(a.links->counters().closed_by_engine.count("again"), 0u);
  EXPECT_EQ(a.links->counters().sent[3], 0u);
}

TEST_P(LinksTest, L39_L43_TheInboundCeilingHoldsAndIsGivenBack) {
  Loop loop;
  LinksOptions options = Options();
  options.max_inbound = 5;
  Peer b(&loop, 'b', options), a(&loop, 'a', Options());
  uint16_t port = b.Listen();
  std::vector<LinkId> ids;
  for (int i = 0; i < 8; ++i) {
    ids.push_back(a.NextId());
    a.links->Dial(ids.back(), "127.0.0.1", port);
  }
  ASSERT_TRUE(loop.Until([&] { return a.up.size() + a.down.size() == 8; }));
  EXPECT_EQ(a.up.size(), 5u);
  EXPECT_EQ(b.closed(CloseReason::kInboundCeiling), 3u);
  EXPECT_EQ(b.links->inbound(), 5u);
  EXPECT_EQ(b.links->unproven(), 0u);
  EXPECT_EQ(b.links->unproven_addresses(), 0u);  // L39: forgotten with the last
  // One leaves, the next is served.
  a.links->Close(a.up[0], "test");
  ASSERT_TRUE(loop.Until([&] { return b.links->inbound() == 4; }));
  a.links->Dial(a.NextId(), "127.0.0.1", port);
  ASSERT_TRUE(loop.Until([&] { return a.up.size() == 6; }));
  EXPECT_EQ(b.closed(CloseReason::kInboundCeiling), 3u);
}

TEST_P(LinksTest, L36_WorkersComeAndGoWhileMessagesFlow) {
  Loop loop;
  Peer a(&loop, 'a', Options()), b(&loop, 'b', Options());
  std::vector<LinkId> ids;
  for (int i = 0; i < 8; ++i) ids.push_back(a.Join(&b));
  ASSERT_TRUE(loop.Until([&] { return a.up.size() == 8; }));
  std::vector<uint64_t> next(64, 0);
  bool in_order = true;
  b.on_message = [&](LinkId link, const MessagePtr& message) { in_order &= message->ping().seq() == next[link]++; };
  uint64_t sent = 0, turn = 0;
  ASSERT_TRUE(loop.Until([&] {
    if (sent < 20'000) {
      for (LinkId id : ids) a.links->Send(id, MakePing(sent / 8, sent % 500)), ++sent;
      if (++turn % 50 == 0) {
        a.links->SetWorkers(turn / 50 % 4);
        b.links->SetWorkers(turn / 50 % 3);
      }
    }
    return sent >= 20'000 && b.received == sent;
  }));
  EXPECT_TRUE(in_order);
  EXPECT_EQ(a.links->counters().sent[3], sent);
  EXPECT_EQ(a.links->size(), 8u);
}

TEST_P(LinksTest, L44_ManyLinksComeAndGoAndLeaveNothing) {
  Loop loop;
  Peer a(&loop, 'a', Options()), b(&loop, 'b', Options());
  size_t first = 0;
  for (int round = 0; round < 2000; ++round) {
    LinkId link = a.Join(&b);
    ASSERT_TRUE(loop.Until([&] { return a.up.size() == 1; }));
    a.links->Send(link, MakePing(1));
    ASSERT_TRUE(loop.Until([&] { return b.received == 1; }));
    a.links->Close(link, "test");
    ASSERT_TRUE(loop.Until([&] { return b.links->size() == 0 && a.links->closing() == 0; }));
    a.up.clear();
    b.down.clear();
    b.received = 0;
    if (round == 500) first = mallinfo2().uordblks;
  }
  // Nothing is left of the later ones. (Under a sanitizer's allocator both are 0.)
  EXPECT_LE(mallinfo2().uordblks, first + first / 100);
  EXPECT_EQ(b.links->inbound() + a.links->outbound() + b.links->unproven(), 0u);
  EXPECT_EQ(b.closed(CloseReason::kEndOfStream), 2000u);
}

// ---- Hostile peers

struct Attack {
  const char* name;
  std::string bytes;
  CloseReason reason;
};

std::vector<Attack> Attacks() {
  const std::string hello = EncodeHello({1, 1, std::string(40, 'c')});
  std::string oversize = MakeFrame(MakePing(1));
  oversize[11] = '\x7f';
  std::string flipped = MakeFrame(MakePing(2, 30));
  flipped[30] ^= 1;
  std::string hello_oversize = hello;
  hello_oversize[10] = 1;
  return {
      {"garbage", std::string(1000, 'G'), CloseReason::kBadMagic},
      {"a client of Redis", "*1\r\n$4\r\nPING\r\n....", CloseReason::kBadMagic},
      {"an oversize Hello", hello_oversize, CloseReason::kFrameTooLong},
      {"an empty id", EncodeHello({1, 1, ""}), CloseReason::kBadHello},
      {"no id", EncodeHello({1, 1, std::string(40, ' ')}), CloseReason::kBadHello},
      {"a version from the future", EncodeHello({7, 9, std::string(40, 'c')}), CloseReason::kNoCommonVersion},
      {"our own id", EncodeHello({1, 1, std::string(40, 'b')}), CloseReason::kSelf},
      {"a message first", MakeFrame(MakePing(1)), CloseReason::kUnexpectedFrame},
      {"a second Hello", hello + hello, CloseReason::kUnexpectedFrame},
      {"an oversize frame", hello + oversize, CloseReason::kFrameTooLong},
      {"a flipped bit", hello + flipped, CloseReason::kBadChecksum},
  };
}

TEST_P(LinksTest, L29_HostilePeersAreClosedCountedAndToldNothing) {
  Loop loop;
  Peer b(&loop, 'b', Options());
  uint16_t port = b.Listen();
  for (const Attack& attack : Attacks()) {
    SCOPED_TRACE(attack.name);
    uint64_t before = b.closed(attack.reason);
    RawClient client(port);
    client.Say(attack.bytes);
    ASSERT_TRUE(loop.Until([&] { return client.Closed(); }));
    EXPECT_EQ(b.closed(attack.reason), before + 1);
    bool introduced = attack.bytes.size() > 64 && attack.bytes.starts_with(EncodeHello({1, 1, std::string(40, 'c')}));
    // At most our Hello, to who has said one.
    EXPECT_LE(client.heard.size(), introduced ? EncodeHello({}).size() : 0u);
  }
  EXPECT_EQ(b.received, 0u);
  EXPECT_EQ(b.links->inbound(), 0u);
  EXPECT_EQ(b.links->unproven(), 0u);
}

TEST_P(LinksTest, ATruncatedFrameIsNoMessage) {
  Loop loop;
  Peer b(&loop, 'b', Options());
  uint16_t port = b.Listen();
  {
    RawClient client(port);
    std::string frame = MakeFrame(MakePing(1, 100));
    client.Say(EncodeHello({1, 1, std::string(40, 'c')}) + MakeFrame(MakePing(0)) + frame.substr(0, frame.size() - 1));
    ASSERT_TRUE(loop.Until([&] { return b.received == 1; }));
  }
  ASSERT_TRUE(loop.Until([&] { return b.links->inbound() == 0; }));
  EXPECT_EQ(b.received, 1u);
}

TEST_P(LinksTest, L43_AThousandSilentConnects) {
  Loop loop;
  LinksOptions options = Options();
  options.max_unproven = 100;
  options.max_unproven_per_address = 60;
  options.hello_timeout_ms = 50;
  Peer b(&loop, 'b', options);
  uint16_t port = b.Listen();
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 1000; ++i) {
    clients.push_back(std::make_unique<RawClient>(port));
    if (i % 100 == 99) loop.Turn();
    EXPECT_LE(b.links->unproven(), 60u);
  }
  ASSERT_TRUE(loop.Until([&] { return b.links->counters().accepts_inline == 1000; }));
  uint64_t refused = b.closed(CloseReason::kAddressLimit);
  EXPECT_EQ(refused + b.links->inbound(), 1000u);
  EXPECT_EQ(b.links->inbound(), 60u);
  ASSERT_TRUE(loop.Until([&] {
    b.links->Tick();
    return b.links->inbound() == 0;
  }));
  EXPECT_EQ(b.closed(CloseReason::kHelloTimeout), 60u);
  EXPECT_EQ(b.links->unproven(), 0u);
  EXPECT_EQ(b.links->unproven_addresses(), 0u);
  for (auto& client : clients) {
    ASSERT_TRUE(loop.Until([&] { return client->Closed(); }));
    EXPECT_TRUE(client->heard.empty());
  }
  EXPECT_TRUE(b.down.empty());  // the engine has never heard of them
  // And an honest one is served.
  Peer a(&loop, 'a', Options());
  a.links->Dial(1, "127.0.0.1", port);
  ASSERT_TRUE(loop.Until([&] { return a.up.size() == 1; }));
}

TEST_P(LinksTest, TheCeilingOfUnprovenOnesHoldsOverAll) {
  Loop loop;
  LinksOptions options = Options();
  options.max_unproven = 3;
  Peer b(&loop, 'b', options);
  uint16_t port = b.Listen();
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 5; ++i) clients.push_back(std::make_unique<RawClient>(port));
  ASSERT_TRUE(loop.Until([&] { return b.links->counters().accepts_inline == 5; }));
  EXPECT_EQ(b.closed(CloseReason::kUnprovenCeiling), 2u);
  EXPECT_EQ(b.links->unproven(), 3u);
}

TEST_P(LinksTest, ADialThatIsNotAnsweredEndsAtItsDeadline) {
  Loop loop;
  LinksOptions options = Options();
  options.connect_timeout_ms = 30;
  Peer a(&loop, 'a', options);
  uint16_t port = 0;
  auto silent = Listen({"127.0.0.1"}, &port);
  a.links->Dial(1, "127.0.0.1", port);
  ASSERT_TRUE(loop.Until([&] {
    a.links->Tick();
    return a.down.size() == 1;
  }));
  EXPECT_EQ(a.closed(CloseReason::kConnectTimeout), 1u);
}

TEST_P(LinksTest, OnLoopbackOnlyOthersAreRefusedAndCounted) {
  Loop loop;
  LinksOptions options = Options();
  options.loopback_only = true;
  Peer b(&loop, 'b', options);
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
  Fd stranger(pair[0]);
  b.links->Admit(Fd(pair[1]), {"10.1.2.3", 4567});
  EXPECT_EQ(b.closed(CloseReason::kNotLoopback), 1u);
  EXPECT_EQ(b.links->inbound(), 0u);
  char byte;
  EXPECT_EQ(recv(stranger.get(), &byte, 1, 0), 0);
}

TEST_P(LinksTest, AShortageOfDescriptorsPausesAcceptingUntilTheNextTick) {
  Loop loop;
  Peer b(&loop, 'b', Options());
  RawClient client(b.Listen());
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  int next = dup(0);
  ASSERT_GE(next, 0);
  close(next);
  rlimit low = before;
  low.rlim_cur = static_cast<rlim_t>(next);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  for (int i = 0; i < 20; ++i) loop.Turn();
  EXPECT_EQ(b.links->counters().accepts_inline, 0u);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  // Not by itself: a waiting connection would have kept the loop spinning.
  for (int i = 0; i < 20; ++i) loop.Turn();
  EXPECT_EQ(b.links->counters().accepts_inline, 0u);
  b.links->Tick();
  ASSERT_TRUE(loop.Until([&] { return b.links->inbound() == 1; }));
}

TEST(SourceFor, TheOnlyAddressOfTheFamily) {
  EXPECT_EQ(SourceFor({}, "10.0.0.9"), "");
  EXPECT_EQ(SourceFor({"*", "-::*"}, "10.0.0.9"), "");
  EXPECT_EQ(SourceFor({"10.0.0.1"}, "10.0.0.9"), "10.0.0.1");
  EXPECT_EQ(SourceFor({"10.0.0.1", "-fd00::1"}, "10.0.0.9"), "10.0.0.1");
  EXPECT_EQ(SourceFor({"10.0.0.1", "-fd00::1"}, "fd00::9"), "fd00::1");
  EXPECT_EQ(SourceFor({"10.0.0.1", "127.0.0.1"}, "10.0.0.9"), "");
  EXPECT_EQ(SourceFor({"0.0.0.0"}, "10.0.0.9"), "");
  EXPECT_EQ(SourceFor({"127.0.0.1"}, "10.0.0.9"), "");
  EXPECT_EQ(SourceFor({"127.0.0.2"}, "127.0.0.1"), "127.0.0.2");
}

TEST(Loopback, Addresses) {
  for (const char* ip : {"127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"}) EXPECT_TRUE(IsLoopback(ip)) << ip;
  for (const char* ip : {"", "10.0.0.1", "0.0.0.0", "::", "::ffff:10.0.0.1", "localhost", "127.0.0.1 "}) {
    EXPECT_FALSE(IsLoopback(ip)) << ip;
  }
}

}  // namespace
}  // namespace skein::bus
