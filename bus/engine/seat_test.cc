// The place as a voter of a primary that was replaced: it passes to one successor, once and for good.
#include <gtest/gtest.h>

#include "bus/engine/rig.h"

namespace skein::bus {
namespace {

using proto::BusMessage;

constexpr int64_t kTimeout = 1000;

// This node is one of three owners, the others are b and c; r and s are its replicas.
struct Replaced {
  Replaced() : rig(WithTimeout(kTimeout)) {
    rig.Tick();
    rig.PersistAll();
    rig.Run(kTimeout);
    EXPECT_EQ(rig.Do(AddSlotsCommand{{{10000, 16383}}}), "OK");
    for (Peer* peer : {&b, &c, &r, &s}) rig.Join(peer);
    b.Claim(0, 4999, 1);
    c.Claim(5000, 9999, 2);
    rig.PersistAll();
    for (Peer* peer : {&r, &s}) {
      peer->record.set_primary_id(Own().id());
      peer->record.set_shard_id(Own().shard_id());
      peer->record.set_version(2);
    }
    for (Peer* peer : {&b, &c, &r, &s}) rig.SendRecord(b, *peer);
    rig.PersistAll();
    rig.Tick(1);
    rig.PersistAll();
  }
  proto::NodeRecord Own() {
    proto::NodeRecord own;
    own.ParseFromString(rig.Last<PersistEffect>()->state->own_record());
    return own;
  }
  void Freeze(const Peer& replica) {
    BusMessage m;
    m.mutable_hand_over()->set_step(proto::HAND_OVER_FREEZE);
    m.mutable_hand_over()->set_token(77);
    rig.Receive(m, replica.in, replica.ip);
    rig.Step(DataPlaneEvent{{60}, true, 0, true});
  }
  bool Vote(const Peer& candidate, uint64_t epoch) {
    BusMessage m;
    proto::VoteRequest* v = m.mutable_vote_request();
    v->set_epoch(epoch);
    v->set_primary(Own().SerializeAsString());
    *v->mutable_claim()->mutable_slot_ranges() = Own().slot_ranges();
    v->set_valid_ms(500);
    v->set_agreed(true);
    v->add_positions(60);
    size_t before = rig.effects.size();
    rig.Receive(m, candidate.in, candidate.ip);
    rig.PersistAll();
    auto sent = rig.Sent(BusMessage::kVoteReply, before);
    return !sent.empty() && sent.back()->vote_reply().granted();
  }
  void Wins(Peer* replica, uint64_t epoch) {
    replica->record.clear_primary_id();
    replica->Claim(10000, 16383, epoch);
    rig.SendRecord(b, *replica);
    rig.Fence();
  }
  void Decided(const Peer& peer, uint64_t epoch) {
    BusMessage view;
    view.mutable_ping()->mutable_view()->set_version(peer.record.version());
    view.mutable_ping()->mutable_view()->set_decided_epoch(epoch);
    rig.Receive(view, peer.in, peer.ip);
  }
  bool Yields(const Peer& to) { return Ping(to).yields(); }
  proto::Heartbeat Ping(const Peer& from) { return rig.Ping(from); }

  Rig rig;
  Peer b{2, "10.1.0.3"}, c{4, "10.1.0.5"}, r{3, "10.1.0.4"}, s{5, "10.1.0.6"};
};

TEST(Seat, IsYieldedWhenThatIsDurable) {
  Replaced k;
  k.Freeze(k.r);
  ASSERT_TRUE(k.Vote(k.r, 9));
  EXPECT_FALSE(k.Yields(k.r));
  k.Wins(&k.r, 9);
  EXPECT_FALSE(k.Yields(k.r)) << "a restart would not know it";
  k.rig.PersistAll();
  EXPECT_TRUE(k.Yields(k.r));
  Rig again(WithTimeout(kTimeout), k.rig.Last<PersistEffect>()->state);
  again.Tick();
  again.PersistAll();
  again.Hello(&k.r);
  EXPECT_TRUE(again.Ping(k.r).yields());
}

TEST(Seat, IsYieldedOnce) {
  Replaced k;
  k.Wins(&k.r, 9);
  k.rig.PersistAll();
  ASSERT_TRUE(k.Yields(k.r));
  k.Wins(&k.s, 10);
  k.rig.PersistAll();
  k.rig.Run(1200);
  k.rig.PersistAll();
  ASSERT_EQ(k.Own().primary_id(), k.s.id());
  EXPECT_FALSE(k.Yields(k.s));
}

TEST(Seat, IsNotYieldedWhileAnotherMayHaveWonByItsVote) {
  Replaced k;
  k.Freeze(k.s);
  ASSERT_TRUE(k.Vote(k.s, 9));
  k.Wins(&k.r, 8);
  k.rig.PersistAll();
  EXPECT_FALSE(k.Yields(k.r));
  EXPECT_FALSE(k.Ping(k.r).lasting());
  k.Decided(k.s, 8);
  k.rig.PersistAll();
  EXPECT_FALSE(k.Yields(k.r));
  k.Decided(k.s, 9);  // it has lost
  k.Ping(k.r);
  k.rig.PersistAll();
  EXPECT_TRUE(k.Yields(k.r));
}

TEST(Seat, TheWordOfAVoterLastsWhenItIsDurable) {
  Replaced k;
  k.rig.Run(1200);
  k.rig.PersistAll();
  EXPECT_TRUE(k.Ping(k.b).lasting());
  EXPECT_TRUE(k.Ping(k.b).durable());
  EXPECT_FALSE(k.Ping(k.r).lasting()) << "no primary";
  k.b.Claim(0, 4999, 7);
  k.rig.SendRecord(k.b, k.b);
  EXPECT_FALSE(k.Ping(k.b).lasting());
  EXPECT_EQ(k.Ping(k.b).your_version(), k.b.record.version());
  EXPECT_FALSE(k.Ping(k.b).durable());
  k.rig.Run(1200);
  k.rig.PersistAll();
  EXPECT_TRUE(k.Ping(k.b).lasting());
}

// Who stops must not go before the other has its word.
TEST(Seat, AHandOverWaitsUntilTheSuccessorHasIt) {
  for (bool goes : {false, true}) {
    Replaced k;
    BusMessage view;
    view.mutable_ping()->mutable_view()->add_positions(60);
    k.rig.Receive(view, k.r.in, k.r.ip);  // the better one
    const uint64_t request = k.rig.Command(HandOverCommand{});
    k.Wins(&k.r, 9);
    k.rig.PersistAll();
    k.rig.Tick();
    EXPECT_EQ(k.rig.ReplyTo(request), nullptr);
    BusMessage settled;
    settled.mutable_hand_over()->set_step(proto::HAND_OVER_SETTLED);
    k.rig.Receive(settled, k.s.in, k.s.ip);
    EXPECT_EQ(k.rig.ReplyTo(request), nullptr);
    if (goes) {
      k.rig.Step(LinkDownEvent{k.r.out});
      k.rig.Step(LinkDownEvent{k.r.in});
    } else {
      k.rig.Receive(settled, k.r.in, k.r.ip);
    }
    ASSERT_NE(k.rig.ReplyTo(request), nullptr);
    EXPECT_EQ(k.rig.ReplyTo(request)->text, "OK");
  }
}

// This node takes the place of a; b votes for it, c is gone.
struct Winner {
  // `earlier`: b and c gave it their word when it was a primary before.
  explicit Winner(bool earlier = false) : rig(WithTimeout(kTimeout)) {
    rig.Tick();
    rig.PersistAll();
    rig.Run(kTimeout);
    for (Peer* peer : {&a, &b, &c}) rig.Join(peer);
    a.Claim(0, 4999, 1);
    b.Claim(5000, 9999, 2);
    c.Claim(10000, 16383, 3);
    for (Peer* peer : {&a, &b, &c}) rig.SendRecord(b, *peer);
    for (Peer* peer : {&b, &c}) {
      if (earlier) Answer(*peer, false, true);
    }
    EXPECT_EQ(rig.Do(ReplicateCommand{a.hex(), false}), "OK");
    rig.Step(DataPlaneEvent{{100}, true, 0});
    Fail(c);
    EXPECT_EQ(rig.Do(FailoverCommand{FailoverKind::kAgreed}), "OK");
    BusMessage frozen;
    frozen.mutable_hand_over()->set_step(proto::HAND_OVER_FROZEN);
    frozen.mutable_hand_over()->set_token(rig.Sent(BusMessage::kHandOver).back()->hand_over().token());
    frozen.mutable_hand_over()->add_positions(100);
    rig.Receive(frozen, a.in, a.ip);
    rig.Tick(20);
    rig.PersistAll();
    BusMessage vote;
    vote.mutable_vote_reply()->set_epoch(rig.Sent(BusMessage::kVoteRequest).back()->vote_request().epoch());
    vote.mutable_vote_reply()->set_granted(true);
    rig.Receive(vote, a.in, a.ip);
    rig.Receive(vote, b.in, b.ip);
    rig.PersistAll();
    rig.Step(PromotedEvent{rig.Last<PromoteEffect>()->epoch});
    rig.PersistAll();
  }
  void Fail(const Peer& peer) {
    BusMessage m;
    m.mutable_failed()->add_id(peer.id());
    rig.Receive(m, b.in, b.ip);
  }
  void Answer(const Peer& peer, bool yields, bool lasting = false) {
    BusMessage pong;
    pong.mutable_pong()->set_your_version(99);
    pong.mutable_pong()->set_yields(yields);
    pong.mutable_pong()->set_lasting(lasting);
    auto pings = rig.Sent(BusMessage::kPing);
    const uint64_t last = pings.empty() ? 0 : pings.back()->ping().seq();
    for (uint64_t seq = last > 40 ? last - 40 : 1; seq <= last; ++seq) {
      pong.mutable_pong()->set_seq(seq);
      rig.Receive(pong, peer.out, peer.ip);
    }
  }
  void Follows() {
    a.record.clear_slot_ranges();
    a.record.set_primary_id(NodeId::FromHex(rig.topology().me().id())->Bytes());
    a.record.set_version(a.record.version() + 1);
    rig.SendRecord(a, a);
  }
  bool Settled() {
    auto said = rig.Sent(BusMessage::kHandOver);
    return !said.empty() && said.back()->hand_over().step() == proto::HAND_OVER_SETTLED;
  }
  bool MayWrite() { return rig.Last<WritableUntilEffect>()->mono_ms > rig.now.mono_ms; }

  Rig rig;
  Peer a{1, "10.1.0.2"}, b{2, "10.1.0.3"}, c{4, "10.1.0.5"};
};

TEST(Seat, WithItAWinnerNeedsOneVoterLess) {
  Winner k;
  ASSERT_TRUE(k.rig.topology().me().primary);
  k.rig.Tick();
  k.Answer(k.b, true, true);  // not its to give
  EXPECT_FALSE(k.MayWrite());
  k.Follows();
  size_t before = k.rig.effects.size();
  k.Answer(k.a, false);
  EXPECT_FALSE(k.MayWrite());
  k.rig.Tick();
  k.Answer(k.a, true);
  EXPECT_TRUE(k.MayWrite());
  auto said = k.rig.Sent(BusMessage::kHandOver, before);
  ASSERT_EQ(said.size(), 1u);
  EXPECT_EQ(said[0]->hand_over().step(), proto::HAND_OVER_SETTLED);
}

// Enough words that last make the place its own; those given before it was promoted say nothing.
TEST(Seat, LastingWordsCountIfAskedForSinceThePromotion) {
  for (bool earlier : {false, true}) {
    Winner k(earlier);
    auto answer = [&](bool lasting) {
      for (Peer* peer : {&k.b, &k.c}) k.Answer(*peer, false, lasting);
      k.rig.Tick();
    };
    answer(true);
    answer(false);
    EXPECT_TRUE(k.MayWrite()) << "confirmed by both others";
    EXPECT_FALSE(k.Settled());
    for (int i = 0; i < 10; ++i) answer(true);
    EXPECT_TRUE(k.Settled());
  }
}

TEST(Seat, WhatWasYieldedBeforeThePromotionIsNotTheNewPlace) {
  Winner k;
  k.Follows();
  k.Answer(k.a, true);
  EXPECT_FALSE(k.Settled());
  k.rig.Tick();
  k.Answer(k.a, true);
  EXPECT_TRUE(k.Settled());
}

// One that is replaced before it has the place has nothing to yield.
TEST(Seat, IsYieldedByWhoHasItAlone) {
  for (bool has : {false, true}) {
    Winner k;
    k.Follows();
    for (int i = 0; i < 2; ++i) {
      k.Answer(k.a, has);
      k.rig.Tick();
    }
    k.rig.PersistAll();
    Peer s(7, "10.1.0.6");
    s.record.set_shard_id(k.a.record.shard_id());
    k.rig.Join(&s);
    s.Claim(0, 4999, 60);
    k.rig.SendRecord(k.b, s);
    k.rig.Fence();
    for (int i = 0; i < 2; ++i) {
      k.rig.PersistAll();
      BusMessage ping;
      ping.mutable_ping()->set_seq(1);
      k.rig.Receive(ping, s.in, s.ip);
    }
    ASSERT_EQ(k.rig.topology().nodes.at(k.rig.topology().me().primary_index).id(), s.hex());
    EXPECT_EQ(k.rig.Sent(BusMessage::kPong).back()->pong().yields(), has);
  }
}

TEST(Seat, WhetherAWinnerHasItIsKnownAfterARestart) {
  for (bool has : {false, true}) {
    Winner k;
    k.Follows();
    for (int i = 0; i < 2; ++i) {  // what was asked before its promotion does not count
      k.Answer(k.a, has);
      k.rig.Tick();
    }
    k.rig.PersistAll();
    k.rig.Run(1200);
    k.rig.PersistAll();
    EXPECT_EQ(k.rig.Last<PersistEffect>()->state->predecessor(), has ? "" : k.a.id());
    Rig again(WithTimeout(kTimeout), k.rig.Last<PersistEffect>()->state);
    again.Tick();
    again.PersistAll();
    for (int i = 0; i < 20; ++i) {
      again.Run(100);
      for (size_t e = 0; e < again.effects.size(); ++e) {
        const auto* dial = std::get_if<DialEffect>(&again.effects[e]);
        if (dial == nullptr || dial->ip != k.b.ip) continue;
        if (k.b.out != dial->link) again.Step(LinkUpEvent{k.b.out = dial->link});
      }
      BusMessage welcome;
      welcome.mutable_welcome()->set_id(k.b.id());
      welcome.mutable_welcome()->set_known(true);
      welcome.mutable_welcome()->set_record(k.b.record.SerializeAsString());
      if (i == 0) again.Receive(welcome, k.b.out, k.b.ip);
      BusMessage pong;
      pong.mutable_pong()->set_your_version(999);
      for (uint64_t seq = 1; seq < 300; ++seq) {
        pong.mutable_pong()->set_seq(seq);
        again.Receive(pong, k.b.out, k.b.ip);
      }
    }
    ASSERT_NE(again.Last<WritableUntilEffect>(), nullptr);
    EXPECT_EQ(again.Last<WritableUntilEffect>()->mono_ms > again.now.mono_ms, has);
  }
}

}  // namespace
}  // namespace skein::bus
