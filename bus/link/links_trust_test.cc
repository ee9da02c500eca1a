// Links whose peers must prove a secret: honest ones, and those that know less than they say.
#include "bus/link/links_harness.h"
#include "gtest/gtest.h"

namespace skein::bus {
namespace {

const std::string kStranger(40, 'c');

class TrustTest : public ::testing::TestWithParam<LinkMode> {
 protected:
  LinksOptions Options(const std::vector<std::string>& secrets = {kTestSecret}) const {
    LinksOptions options;
    options.workers = GetParam().workers;
    options.secrets = MakeSecrets(secrets);
    return options;
  }
};

INSTANTIATE_TEST_SUITE_P(, TrustTest, ::testing::ValuesIn(kPlainModes),
                         [](const auto& param) { return param.param.name; });

// A peer that speaks the protocol by hand, frame by frame.
class Scripted {
 public:
  Scripted(Loop* loop, uint16_t port) : loop_(loop), client_(std::make_unique<RawPeer>(port)) {}
  Scripted(Loop* loop, Fd fd) : loop_(loop), client_(std::make_unique<RawPeer>(std::move(fd))) {}

  void Say(const std::string& bytes) { client_->Say(bytes); }
  bool Ends() {
    return loop_->Until([&] { return client_->Closed(); });
  }
  // The next frame of the handshake that comes; empty if the connection ends first.
  std::string Hear(FrameType type) {
    FrameHeader header;
    const auto whole = [&] {
      const auto* bytes = reinterpret_cast<const uint8_t*>(client_->heard.data()) + at_;
      return client_->heard.size() - at_ >= kFrameHeaderBytes &&
             ReadHeader(bytes, false, &header) == FrameError::kNone && client_->heard.size() - at_ >= header.size();
    };
    bool closed = false;
    if (!loop_->Until([&] { return (closed = client_->Closed()) || whole(); }) || !whole()) return "";
    EXPECT_EQ(header.type, type);
    std::string payload = client_->heard.substr(at_ + kFrameHeaderBytes, header.length);
    at_ += header.size();
    return payload;
  }
  size_t heard() const { return client_->heard.size(); }

  // As the dialling side, up to the proof.
  void Introduce(const std::string& id = kStranger) {
    about.purpose = "bus";
    about.min_version = about.max_version = 1;
    about.dialler_id = id;
    about.dialler_nonce = NewNonce();
    Say(EncodeHello({1, 1, id, true, about.dialler_nonce}));
    Challenge challenge;
    if (!DecodeChallenge(Hear(FrameType::kChallenge), &challenge)) return;
    about.version = challenge.version;
    about.acceptor_nonce = challenge.nonce;
  }
  // And to the end; false if it is not taken.
  bool Prove(const SecretsPtr& secrets, const std::string& id = kStranger) {
    Introduce(id);
    Say(EncodeProof(secrets->Prove(0, TrustRole::kDialler, about)));
    Acceptance acceptance;
    if (!DecodeAccept(Hear(FrameType::kAccept), &acceptance)) return false;
    about.acceptor_id = acceptance.node_id;
    EXPECT_EQ(secrets->Check(TrustRole::kAcceptor, about, acceptance.proof), 0);
    tags = std::make_unique<FrameTags>(secrets->FrameKey(0, TrustRole::kDialler, about));
    return true;
  }
  std::string Tagged(uint64_t seq, FrameTags* by = nullptr) {
    MessagePtr message = MakePing(seq, 20);
    const std::string body = message->SerializeAsString();
    std::string frame = std::string(kFrameHeaderBytes, '\0') + body + std::string(kTagBytes, '\0');
    SealFrame(FrameType::kMessage, MessageKind(*message), reinterpret_cast<uint8_t*>(frame.data()),
              static_cast<uint32_t>(body.size()), by != nullptr ? by : tags.get());
    return frame;
  }

  Introduction about;
  std::unique_ptr<FrameTags> tags;

 private:
  Loop* const loop_;
  std::unique_ptr<RawPeer> client_;
  size_t at_ = 0;
};

// A socket that waits for one connection.
class Trap {
 public:
  Trap() { listeners_ = *Listen({"127.0.0.1"}, &port); }
  Scripted Catch(Loop* loop) {
    Fd fd;
    SocketAddress from;
    int error;
    EXPECT_TRUE(loop->Until([&] { return static_cast<bool>(fd = bus::Accept(listeners_[0].get(), &from, &error)); }));
    return Scripted(loop, std::move(fd));
  }
  uint16_t port = 0;

 private:
  std::vector<Fd> listeners_;
};

TEST_P(TrustTest, WhoProvesTheSecretIsServedAndNobodyElse) {
  Loop loop;
  Peer b(&loop, 'b', Options());
  uint16_t port = b.Listen();
  LinksOptions none;
  none.workers = GetParam().workers;
  Peer good(&loop, 'a', Options()), wrong(&loop, 'd', Options({kOtherSecret})), bare(&loop, 'e', none);
  for (Peer* peer : {&good, &wrong, &bare}) peer->links->Dial(1, "127.0.0.1", port);
  ASSERT_TRUE(loop.Until([&] { return good.up.size() == 1 && wrong.down.size() == 1 && bare.down.size() == 1; }));
  EXPECT_EQ(b.closed(CloseReason::kBadProof), 1u);
  EXPECT_EQ(b.closed(CloseReason::kPeerHasNoSecret), 1u);
  // They are told that it has ended and not why.
  EXPECT_EQ(wrong.down[0].second, "handshake-ended");
  EXPECT_EQ(bare.down[0].second, "handshake-ended");
  EXPECT_EQ(b.links->inbound(), 1u);
  EXPECT_EQ(b.links->unproven(), 0u);
  EXPECT_TRUE(b.down.empty());  // the engine has heard of none of them
  // And the other way round: a secret is not shown to who has none.
  uint16_t open = bare.Listen();
  good.links->Dial(3, "127.0.0.1", open);
  ASSERT_TRUE(loop.Until([&] { return good.down.size() == 1; }));
  EXPECT_EQ(bare.closed(CloseReason::kPeerHasSecret), 1u);
}

TEST_P(TrustTest, L42_AnUnprovenPeerIsToldNothing) {
  Loop loop;
  Peer b(&loop, 'b', Options());
  uint16_t port = b.Listen();
  {
    Scripted bare(&loop, port);
    bare.Say(EncodeHello({1, 1, kStranger, false, {}}));
    ASSERT_TRUE(bare.Ends());
    EXPECT_EQ(bare.heard(), 0u);
    EXPECT_EQ(b.closed(CloseReason::kPeerHasNoSecret), 1u);
  }
  Scripted guesser(&loop, port);
  guesser.Introduce();
  guesser.Say(EncodeProof(Proof{}));
  ASSERT_TRUE(guesser.Ends());
  // A version and randomness: no id, no name, no proof.
  EXPECT_EQ(guesser.heard(), EncodeChallenge({}).size());
  EXPECT_EQ(b.closed(CloseReason::kBadProof), 1u);
  for (const std::string& id : {std::string(), std::string(40, 'X'), std::string(39, 'c')}) {
    Scripted malformed(&loop, port);
    malformed.Say(EncodeHello({1, 1, id, true, NewNonce()}));
    ASSERT_TRUE(malformed.Ends());
    EXPECT_EQ(malformed.heard(), 0u);
  }
  EXPECT_EQ(b.closed(CloseReason::kBadHello), 3u);
  EXPECT_EQ(b.links->unproven_addresses(), 0u);
  EXPECT_EQ(b.received, 0u);
}

TEST_P(TrustTest, ARecordedSessionIsWorthNothing) {
  Loop loop;
  Peer b(&loop, 'b', Options());
  uint16_t port = b.Listen();
  SecretsPtr secrets = MakeSecrets({kTestSecret});
  Scripted first(&loop, port);
  ASSERT_TRUE(first.Prove(secrets));
  const std::string message = first.Tagged(7);
  first.Say(message);
  ASSERT_TRUE(loop.Until([&] { return b.received == 1; }));
  const std::string hello = EncodeHello({1, 1, kStranger, true, first.about.dialler_nonce});
  const std::string proof = EncodeProof(secrets->Prove(0, TrustRole::kDialler, first.about));
  Scripted again(&loop, port);
  again.Say(hello);
  ASSERT_FALSE(again.Hear(FrameType::kChallenge).empty());
  again.Say(proof + message);
  ASSERT_TRUE(again.Ends());
  EXPECT_EQ(b.closed(CloseReason::kBadProof), 1u);
  // A message of one link on another of the same peer: a replayed vote.
  Scripted second(&loop, port);
  ASSERT_TRUE(second.Prove(secrets));
  second.Say(message);
  ASSERT_TRUE(second.Ends());
  EXPECT_EQ(b.closed(CloseReason::kBadTag), 1u);
  EXPECT_EQ(b.received, 1u);
}

TEST_P(TrustTest, FramesThatAreChangedRepeatedSwappedOrDroppedCloseTheLink) {
  Loop loop;
  Peer b(&loop, 'b', Options());
  uint16_t port = b.Listen();
  SecretsPtr secrets = MakeSecrets({kTestSecret});
  uint64_t bad = 0, received = 0;
  const auto attack = [&](const char* name, CloseReason reason, uint64_t delivered,
                          const std::function<std::string(const std::vector<std::string>&)>& change) {
    SCOPED_TRACE(name);
    Scripted peer(&loop, port);
    ASSERT_TRUE(peer.Prove(secrets));
    std::vector<std::string> frames;
    for (uint64_t i = 0; i < 4; ++i) frames.push_back(peer.Tagged(i));
    const uint64_t before = b.closed(reason);
    peer.Say(change(frames));
    ASSERT_TRUE(peer.Ends());
    EXPECT_EQ(b.closed(reason), before + 1);
    received += delivered;
    EXPECT_EQ(b.received, received);
    ++bad;
  };
  using Frames = std::vector<std::string>;
  for (size_t at : {6, 12, 16, 20}) {  // kind, the place of the checksum, payload
    attack("a flipped bit", CloseReason::kBadTag, 1, [at](const Frames& f) {
      std::string bytes = f[0] + f[1];
      bytes[f[0].size() + at] ^= 1;
      return bytes;
    });
  }
  attack("a flipped tag", CloseReason::kBadTag, 0, [](const Frames& f) {
    std::string bytes = f[0];
    bytes.back() ^= 1;
    return bytes;
  });
  attack("repeated", CloseReason::kBadTag, 1, [](const Frames& f) { return f[0] + f[0]; });
  attack("swapped", CloseReason::kBadTag, 0, [](const Frames& f) { return f[1] + f[0]; });
  attack("dropped", CloseReason::kBadTag, 2, [](const Frames& f) { return f[0] + f[1] + f[3]; });
  attack("without a tag", CloseReason::kBadLayout, 1, [](const Frames& f) { return f[0] + MakeFrame(MakePing(1)); });
  attack("a frame of the handshake", CloseReason::kBadLayout, 1,
         [](const Frames& f) { return f[0] + EncodeProof({}); });
  {
    // In the direction of the other side.
    Scripted peer(&loop, port);
    ASSERT_TRUE(peer.Prove(secrets));
    FrameTags other(secrets->FrameKey(0, TrustRole::kAcceptor, peer.about));
    const uint64_t before = b.closed(CloseReason::kBadTag);
    peer.Say(peer.Tagged(0, &other));
    ASSERT_TRUE(peer.Ends());
    EXPECT_EQ(b.closed(CloseReason::kBadTag), before + 1);
  }
  {
    // Truncated: no message.
    Scripted peer(&loop, port);
    ASSERT_TRUE(peer.Prove(secrets));
    std::string frame = peer.Tagged(0);
    frame.pop_back();
    peer.Say(frame);
  }
  ASSERT_TRUE(loop.Until([&] { return b.links->inbound() == 0; }));
  EXPECT_EQ(b.received, received);
  EXPECT_EQ(b.down.size(), bad + 2);
}

TEST_P(TrustTest, AnImpostorThatIsDialledLearnsNothingItCouldUse) {
  Loop loop;
  Peer a(&loop, 'a', Options());
  uint16_t own = a.Listen();
  Trap trap;
  SecretsPtr wrong = MakeSecrets({kOtherSecret});
  LinkId next = 1;
  const auto dial = [&](Hello* hello) {
    a.links->Dial(next, "127.0.0.1", trap.port);
    next += 2;
    Scripted peer = trap.Catch(&loop);
    EXPECT_TRUE(DecodeHello(peer.Hear(FrameType::kHello), hello));
    EXPECT_TRUE(hello->has_nonce);
    return peer;
  };
  Hello hello;
  {
    // A Hello in return, as if neither had a secret.
    Scripted peer = dial(&hello);
    peer.Say(EncodeHello({1, 1, kStranger, false, {}}));
    ASSERT_TRUE(peer.Ends());
    EXPECT_EQ(a.closed(CloseReason::kPeerHasNoSecret), 1u);
  }
  {
    // The dialler's own nonce.
    Scripted peer = dial(&hello);
    peer.Say(EncodeChallenge({1, hello.nonce}));
    ASSERT_TRUE(peer.Ends());
    EXPECT_EQ(a.closed(CloseReason::kReflected), 1u);
  }
  {
    // The dialler's own proof.
    Scripted peer = dial(&hello);
    peer.Say(EncodeChallenge({1, NewNonce()}));
    Acceptance back{kStranger, {}};
    ASSERT_TRUE(DecodeProof(peer.Hear(FrameType::kProof), &back.proof));
    peer.Say(EncodeAccept(back));
    ASSERT_TRUE(peer.Ends());
    EXPECT_EQ(a.closed(CloseReason::kBadProof), 1u);
  }
  {
    // A proof by another secret; and messages before any proof.
    Scripted peer = dial(&hello);
    Introduction about{"bus", 1, 1, 1, hello.nonce, NewNonce(), hello.node_id, kStranger};
    peer.Say(EncodeChallenge({1, about.acceptor_nonce}));
    peer.Hear(FrameType::kProof);
    peer.Say(EncodeAccept({kStranger, wrong->Prove(0, TrustRole::kAcceptor, about)}));
    ASSERT_TRUE(peer.Ends());
    EXPECT_EQ(a.closed(CloseReason::kBadProof), 2u);
    Scripted early = dial(&hello);
    early.Say(EncodeChallenge({1, NewNonce()}) + MakeFrame(MakePing(1)));
    ASSERT_TRUE(early.Ends());
    EXPECT_EQ(a.closed(CloseReason::kUnexpectedFrame), 1u);
  }
  {
    // A version that was not offered.
    Scripted peer = dial(&hello);
    peer.Say(EncodeChallenge({9, NewNonce()}));
    ASSERT_TRUE(peer.Ends());
    EXPECT_EQ(a.closed(CloseReason::kNoCommonVersion), 1u);
  }
  {
    // What the node says as a dialler does not open it as an acceptor: its challenge is carried to its own dialling
    // side and the proof back, under its own id and under another.
    Scripted peer = dial(&hello);
    for (const std::string& id : {std::string(40, 'a'), kStranger}) {
      Scripted back(&loop, own);
      back.Say(EncodeHello({1, 1, id, true, hello.nonce}));
      Challenge challenge;
      if (!DecodeChallenge(back.Hear(FrameType::kChallenge), &challenge)) continue;
      peer.Say(EncodeChallenge(challenge));
      Proof proof;
      ASSERT_TRUE(DecodeProof(peer.Hear(FrameType::kProof), &proof));
      back.Say(EncodeProof(proof));
      ASSERT_TRUE(back.Ends());
    }
    EXPECT_EQ(a.closed(CloseReason::kSelf), 1u);
    EXPECT_EQ(a.closed(CloseReason::kBadProof), 3u);
  }
  EXPECT_TRUE(a.up.empty());
  EXPECT_EQ(a.received, 0u);
  EXPECT_EQ(a.links->counters().sent[1] + a.links->counters().sent[3], 0u);
}

TEST_P(TrustTest, WhatIsSaidInTheHandshakeCannotBeChanged) {
  Loop loop;
  Peer b(&loop, 'b', Options());
  uint16_t port = b.Listen();
  SecretsPtr secrets = MakeSecrets({kTestSecret});
  // Each field that a man in the middle could change, as seen by the side that then checks.
  const std::vector<std::function<void(Introduction*)>> changes = {
      [](Introduction* about) { about->max_version = 2; },
      [](Introduction* about) { about->version = 2; },
      [](Introduction* about) { about->dialler_nonce[0] ^= 1; },
      [](Introduction* about) { about->acceptor_nonce[0] ^= 1; },
      [](Introduction* about) { about->dialler_id[0] = 'd'; },
      [](Introduction* about) { about->purpose = "replication"; },
  };
  for (const auto& change : changes) {
    Scripted peer(&loop, port);
    peer.Introduce();
    change(&peer.about);
    peer.Say(EncodeProof(secrets->Prove(0, TrustRole::kDialler, peer.about)));
    ASSERT_TRUE(peer.Ends());
  }
  EXPECT_EQ(b.closed(CloseReason::kBadProof), changes.size());
  // As the other role.
  Scripted peer(&loop, port);
  peer.Introduce();
  peer.about.acceptor_id = b.node_id;
  peer.Say(EncodeProof(secrets->Prove(0, TrustRole::kAcceptor, peer.about)));
  ASSERT_TRUE(peer.Ends());
  EXPECT_EQ(b.closed(CloseReason::kBadProof), changes.size() + 1);
}

TEST_P(TrustTest, L43_LimitsOfTheUnprovenHoldUntilTheProof) {
  Loop loop;
  LinksOptions options = Options();
  options.max_unproven = 6;
  options.max_unproven_per_address = 4;
  options.hello_timeout_ms = 150;
  Peer b(&loop, 'b', options);
  uint16_t port = b.Listen();
  std::vector<std::unique_ptr<Scripted>> half;
  for (int i = 0; i < 4; ++i) {
    half.push_back(std::make_unique<Scripted>(&loop, port));
    half.back()->Introduce();  // as far as one gets without the secret
  }
  EXPECT_EQ(b.links->unproven(), 4u);
  Scripted refused(&loop, port);
  ASSERT_TRUE(refused.Ends());
  EXPECT_EQ(b.closed(CloseReason::kAddressLimit), 1u);
  // One proves itself: its place is free.
  half[0]->Say(EncodeProof(MakeSecrets({kTestSecret})->Prove(0, TrustRole::kDialler, half[0]->about)));
  ASSERT_FALSE(half[0]->Hear(FrameType::kAccept).empty());
  EXPECT_EQ(b.links->unproven(), 3u);
  // The deadline is that of the whole handshake.
  ASSERT_TRUE(loop.Until([&] {
    b.links->Tick();
    return b.links->unproven() == 0;
  }));
  EXPECT_EQ(b.closed(CloseReason::kHelloTimeout), 3u);
  EXPECT_EQ(b.links->inbound(), 1u);
  EXPECT_EQ(b.links->unproven_addresses(), 0u);
}

// Three steps, the cluster talking all the time: add the new one last, make it the first, take the old one away.
TEST_P(TrustTest, SecretsRotateInThreeStepsWithoutLosingALink) {
  Loop loop;
  std::vector<std::unique_ptr<Peer>> nodes;
  for (char id : {'a', 'b', 'd'}) {
    LinksOptions options = Options();
    options.renew_within_ms = 50;
    nodes.push_back(std::make_unique<Peer>(&loop, id, options));
  }
  std::vector<uint16_t> ports;
  for (auto& node : nodes) ports.push_back(node->Listen());
  uint64_t redialled = 0;
  const auto dial = [&](size_t from, size_t to) {
    nodes[from]->links->Dial(nodes[from]->NextId(), "127.0.0.1", ports[to]);
  };
  std::map<std::pair<size_t, LinkId>, size_t> goes_to;
  const auto dial_and_keep = [&](size_t from, size_t to) {
    goes_to[{from, nodes[from]->PeekId()}] = to;
    dial(from, to);
  };
  for (size_t i = 0; i < 3; ++i) {
    nodes[i]->on_down = [&, i](LinkId link) {
      if (link % 2 == 0) return;
      ++redialled;
      dial_and_keep(i, goes_to.at({i, link}));
    };
    for (size_t j = 0; j < 3; ++j) {
      if (i != j) dial_and_keep(i, j);
    }
  }
  const auto all_up = [&] {
    size_t up = 0;
    for (auto& node : nodes) {
      node->links->Tick();
      for (const LinkView& view : node->links->View()) up += view.up && view.outbound;
    }
    return up == 6;
  };
  ASSERT_TRUE(loop.Until(all_up));
  const auto set = [&](const std::vector<std::string>& secrets) {
    for (auto& node : nodes) {
      node->links->SetSecrets(MakeSecrets(secrets));
      for (int i = 0; i < 20; ++i) loop.Turn();  // nodes are not reconfigured at the same instant
      for (auto& other : nodes) other->links->Tick();
    }
  };
  set({kTestSecret, kOtherSecret});
  set({kOtherSecret, kTestSecret});
  EXPECT_TRUE(all_up());
  EXPECT_EQ(redialled, 0u);  // what both lists hold goes on
  set({kOtherSecret});
  const int64_t withdrawn = MonotonicMs();
  // Every link is made anew by the new secret, in bounded time.
  ASSERT_TRUE(loop.Until([&] { return all_up() && redialled >= 6; }));
  EXPECT_LT(MonotonicMs() - withdrawn, 5000);
  ASSERT_TRUE(loop.Until([&] {
    uint64_t inbound = 0;
    for (auto& node : nodes) inbound += node->links->inbound();
    return all_up() && inbound == 6;
  }));
  uint64_t closes = 0, refused = 0;
  for (auto& node : nodes) {
    closes += node->closed(CloseReason::kSecretWithdrawn);
    refused += node->closed(CloseReason::kBadProof) + node->closed(CloseReason::kPeerHasNoSecret) +
               node->closed(CloseReason::kHandshakeEnded);
  }
  EXPECT_GE(closes, 3u);
  EXPECT_EQ(refused, 0u);
  for (auto& node : nodes) node->on_down = nullptr;
}

TEST_P(TrustTest, AWithdrawnSecretThatComesBackClosesNothing) {
  Loop loop;
  LinksOptions options = Options();
  options.renew_within_ms = 200;
  Peer a(&loop, 'a', options), b(&loop, 'b', options);
  LinkId link = a.Join(&b);
  ASSERT_TRUE(loop.Until([&] { return a.up.size() == 1; }));
  for (Peer* peer : {&a, &b}) peer->links->SetSecrets(MakeSecrets({kOtherSecret}));
  for (Peer* peer : {&a, &b}) peer->links->SetSecrets(MakeSecrets({kOtherSecret, kTestSecret}));
  const int64_t end = MonotonicMs() + 250;
  loop.Until([&] {
    a.links->Tick();
    b.links->Tick();
    return MonotonicMs() > end;
  });
  a.links->Send(link, MakePing(1));
  ASSERT_TRUE(loop.Until([&] { return b.received == 1; }));
  EXPECT_EQ(a.closed(CloseReason::kSecretWithdrawn) + b.closed(CloseReason::kSecretWithdrawn), 0u);
}

TEST_P(TrustTest, AHandshakeThatASecretChangeOvertakesDoesNotCount) {
  Loop loop;
  Peer b(&loop, 'b', Options());
  uint16_t port = b.Listen();
  Scripted peer(&loop, port);
  peer.Introduce();
  b.links->SetSecrets(MakeSecrets({kOtherSecret}));
  peer.Say(EncodeProof(MakeSecrets({kTestSecret})->Prove(0, TrustRole::kDialler, peer.about)));
  ASSERT_TRUE(peer.Ends());
  EXPECT_EQ(b.closed(CloseReason::kSecretWithdrawn), 1u);
  EXPECT_EQ(peer.heard(), EncodeChallenge({}).size());
  // From none to one: who is there already must prove it.
  LinksOptions none;
  none.workers = GetParam().workers;
  none.renew_within_ms = 20;
  Peer c(&loop, 'c', none), d(&loop, 'd', none);
  c.Join(&d);
  ASSERT_TRUE(loop.Until([&] { return c.up.size() == 1; }));
  d.links->SetSecrets(MakeSecrets({kTestSecret}));
  ASSERT_TRUE(loop.Until([&] {
    d.links->Tick();
    return c.down.size() == 1;
  }));
  EXPECT_EQ(d.closed(CloseReason::kSecretWithdrawn), 1u);
}

}  // namespace
}  // namespace skein::bus
