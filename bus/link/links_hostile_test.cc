// Peers that misbehave, over real sockets, on links that ask for no proof.
#include <sys/resource.h>

#include "bus/link/links_harness.h"
#include "gtest/gtest.h"

namespace skein::bus {
namespace {

class HostileTest : public ::testing::TestWithParam<LinkMode> {
 protected:
  LinksOptions Options() const { return OptionsOf(GetParam()); }
};

INSTANTIATE_TEST_SUITE_P(, HostileTest, ::testing::ValuesIn(kPlainModes),
                         [](const auto& param) { return param.param.name; });

TEST_P(HostileTest, L32_AnUnreadLinkIsClosedAtItsLimitAndCounted) {
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

// A link whose peer does not read: `unsent` bytes wait on it at least.
struct UnreadLink {
  UnreadLink(Loop* loop, const LinksOptions& options, size_t unsent) : b(loop, 'b', options) {
    int pair[2];
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    const int large = 1 << 20;  // what it says is there at once
    CHECK_EQ(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &large, sizeof(large)), 0);
    b.links->Admit(Fd(pair[1]), {"127.0.0.1", 1});
    raw = std::make_unique<RawPeer>(Fd(pair[0]));
    raw->Say(EncodeHello({1, 1, std::string(40, 'c')}));
    CHECK(loop->Until([&] { return b.links->View().at(0).up; }));
    CHECK(loop->Until([&] {
      if (unsent == 0) return true;
      if (!View().waits_for_write && View().send_bytes == 0) Send();
      return View().waits_for_write && View().jobs == 0;
    }));
    while (View().send_bytes < unsent) Send();
    CHECK(loop->Until([&] { return View().jobs == 0; }));
  }
  LinkView View() const { return b.links->View().at(0); }
  void Send() { b.links->Send(View().id, MakePing(1, 20'000)); }

  Peer b;
  std::unique_ptr<RawPeer> raw;
};

TEST_P(HostileTest, L32_WhatIsReceivedAndWhatIsToBeSentCountTogether) {
  Loop loop;
  LinksOptions options = Options();
  options.buffer_limit = 400 << 10;
  // Half of a message waits for its end: what is queued has only the rest.
  UnreadLink half(&loop, options, 0);
  const std::string frame = MakeFrame(MakePing(1, 150'000));
  half.raw->Say(frame.substr(0, 140'000));
  ASSERT_TRUE(loop.Until([&] { return half.View().receive_bytes >= 140'000 && half.View().jobs == 0; }));
  const size_t received = half.View().receive_bytes;
  size_t sent = 0;
  for (; half.b.links->size() == 1; ++sent) {
    EXPECT_LE(half.View().send_bytes + half.View().receive_bytes, options.buffer_limit);
    half.Send();
  }
  EXPECT_EQ(half.b.closed(CloseReason::kOverBufferLimit), 1u);
  EXPECT_GT(sent * MakeFrame(MakePing(1, 20'000)).size() + received, options.buffer_limit);
  // And the other way round: no room for a message is no message.
  UnreadLink full(&loop, options, 300 << 10);
  full.raw->Say(frame);
  ASSERT_TRUE(loop.Until([&] { return full.b.links->size() == 0; }));
  EXPECT_EQ(full.b.closed(CloseReason::kOverBufferLimit), 1u);
  EXPECT_EQ(full.b.received, 0u);
  // With room it is one.
  UnreadLink room(&loop, options, 20'000);
  room.raw->Say(frame);
  ASSERT_TRUE(loop.Until([&] { return room.b.received == 1; }));
  // The messages of one job count as well.
  options.budget.messages = 1000;
  UnreadLink many(&loop, options, 250 << 10);
  std::string small;
  for (uint64_t i = 0; i < 150; ++i) small += MakeFrame(MakePing(i, 1000));
  many.raw->Say(small);
  ASSERT_TRUE(loop.Until([&] { return many.b.links->size() == 0; }));
  EXPECT_EQ(many.b.closed(CloseReason::kOverBufferLimit), 1u);
}

// Counted as sent is what has been written, not what was queued.
TEST_P(HostileTest, L28_WhatIsCountedAsSentIsWhatArrives) {
  Loop loop;
  Peer a(&loop, 'a', Options());
  uint16_t port = 0;
  std::vector<Fd> listening = *Listen({"127.0.0.1"}, &port);
  a.links->Dial(1, "127.0.0.1", port);
  Fd accepted;
  ASSERT_TRUE(loop.Until([&] {
    SocketAddress from;
    int error;
    accepted = Accept(listening[0].get(), &from, &error);
    return static_cast<bool>(accepted);
  }));
  RawPeer slow(std::move(accepted));
  slow.Say(EncodeHello({1, 1, std::string(40, 'b')}));
  ASSERT_TRUE(loop.Until([&] { return a.up.size() == 1; }));
  const size_t frame = MakeFrame(MakePing(1, 50'000)).size();
  constexpr size_t kQueued = 400;
  size_t unsent = 0;
  for (size_t i = 0; i < kQueued; ++i) a.links->Send(1, MakePing(1, 50'000));
  ASSERT_TRUE(loop.Until([&] {  // until the kernel takes no more
    const LinkView view = a.links->View().at(0);
    unsent = view.send_bytes;
    return view.waits_for_write && view.jobs == 0;
  }));
  ASSERT_GT(unsent, frame);
  const LinkCounters before = a.links->counters();
  EXPECT_EQ(before.sent[3], kQueued - (unsent + frame - 1) / frame);
  EXPECT_GE(before.bytes_sent, before.sent[3] * frame);
  a.links->Close(1, "test");
  ASSERT_TRUE(loop.Until([&] { return slow.Closed(); }));
  const size_t hello = EncodeHello({}).size();
  EXPECT_EQ(slow.heard.size(), before.bytes_sent);
  EXPECT_EQ((slow.heard.size() - hello) / frame, before.sent[3]);
}

// What a flooder has ready in the socket is read by turns, between which others are heard.
TEST_P(HostileTest, L30_AFullSocketDoesNotHoldUpAnother) {
  Loop loop;
  LinksOptions options = Options();
  options.budget = {8, 256 << 10};
  Peer b(&loop, 'b', options);
  const uint16_t port = b.Listen();
  RawPeer flooder(port), quiet(port);
  flooder.Say(EncodeHello({1, 1, std::string(40, 'c')}));
  quiet.Say(EncodeHello({1, 1, std::string(40, 'd')}));
  ASSERT_TRUE(loop.Until([&] { return b.links->inbound() == 2 && b.links->unproven() == 0; }));
  constexpr size_t kFlood = 2000;
  std::string flood;
  for (size_t i = 0; i < kFlood; ++i) flood += MakeFrame(MakePing(1000 + i));
  size_t before = 0;
  bool heard = false;
  b.on_message = [&](LinkId, const MessagePtr& message) {
    heard |= message->ping().seq() == 1;
    if (b.received == 100) quiet.Say(MakeFrame(MakePing(1)));
    before += b.received > 100 && !heard;
  };
  flooder.Say(flood);
  ASSERT_TRUE(loop.Until([&] { return b.received == kFlood + 1; }));
  EXPECT_LE(before, GetParam().workers == 0 ? 3 * 8u : kFlood / 2);
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

TEST_P(HostileTest, L29_HostilePeersAreClosedCountedAndToldNothing) {
  Loop loop;
  Peer b(&loop, 'b', Options());
  uint16_t port = b.Listen();
  for (const Attack& attack : Attacks()) {
    SCOPED_TRACE(attack.name);
    uint64_t before = b.closed(attack.reason);
    RawPeer client(port);
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

TEST_P(HostileTest, ATruncatedFrameIsNoMessage) {
  Loop loop;
  Peer b(&loop, 'b', Options());
  uint16_t port = b.Listen();
  {
    RawPeer client(port);
    std::string frame = MakeFrame(MakePing(1, 100));
    client.Say(EncodeHello({1, 1, std::string(40, 'c')}) + MakeFrame(MakePing(0)) + frame.substr(0, frame.size() - 1));
    ASSERT_TRUE(loop.Until([&] { return b.received == 1; }));
  }
  ASSERT_TRUE(loop.Until([&] { return b.links->inbound() == 0; }));
  EXPECT_EQ(b.received, 1u);
}

TEST_P(HostileTest, L43_AThousandSilentConnects) {
  Loop loop;
  LinksOptions options = Options();
  options.max_unproven = 100;
  options.max_unproven_per_address = 60;
  options.hello_timeout_ms = 50;
  Peer b(&loop, 'b', options);
  uint16_t port = b.Listen();
  std::vector<std::unique_ptr<RawPeer>> clients;
  for (int i = 0; i < 1000; ++i) {
    clients.push_back(std::make_unique<RawPeer>(port));
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

TEST_P(HostileTest, TheCeilingOfUnprovenOnesHoldsOverAll) {
  Loop loop;
  LinksOptions options = Options();
  options.max_unproven = 3;
  Peer b(&loop, 'b', options);
  uint16_t port = b.Listen();
  std::vector<std::unique_ptr<RawPeer>> clients;
  for (int i = 0; i < 5; ++i) clients.push_back(std::make_unique<RawPeer>(port));
  ASSERT_TRUE(loop.Until([&] { return b.links->counters().accepts_inline == 5; }));
  EXPECT_EQ(b.closed(CloseReason::kUnprovenCeiling), 2u);
  EXPECT_EQ(b.links->unproven(), 3u);
}

TEST_P(HostileTest, ADialThatIsNotAnsweredEndsAtItsDeadline) {
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

TEST_P(HostileTest, OnLoopbackOnlyOthersAreRefusedAndCounted) {
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

TEST_P(HostileTest, AShortageOfDescriptorsPausesAcceptingUntilTheNextTick) {
  Loop loop;
  Peer b(&loop, 'b', Options());
  RawPeer client(b.Listen());
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

TEST(Loopback, Addresses) {
  for (const char* ip : {"127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"}) EXPECT_TRUE(IsLoopback(ip)) << ip;
  for (const char* ip : {"", "10.0.0.1", "0.0.0.0", "::", "::ffff:10.0.0.1", "localhost", "127.0.0.1 "}) {
    EXPECT_FALSE(IsLoopback(ip)) << ip;
  }
}

}  // namespace
}  // namespace skein::bus
