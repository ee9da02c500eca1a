// How an owner of slots comes by the answers that let it write, where voters are many.
#include <gtest/gtest.h>

#include "bus/engine/rig.h"

namespace skein::bus {
namespace {

using proto::BusMessage;

constexpr int64_t kTimeout = 1000;
constexpr int64_t kLease = kTimeout - kTimeout / 16;

// A node among two owners of slots and a replica of the first.
struct Owner {
  explicit Owner(size_t small_cluster) : rig(Options(small_cluster)) {
    rig.Tick();
    rig.PersistAll();
    for (Peer* peer : {&a, &b, &replica}) rig.Join(peer);
    a.Claim(0, 100, 1);
    b.Claim(101, 200, 2);
    replica.record.set_primary_id(a.id());
    replica.record.set_shard_id(a.record.shard_id());
    replica.record.set_version(2);
    for (Peer* peer : {&a, &b, &replica}) rig.SendRecord(*peer, *peer);
    EXPECT_EQ(rig.Do(AddSlotsCommand{{{201, 16383}}}), "OK");
    for (int i = 0; i < 20 && Until() <= rig.now.mono_ms; ++i) Tick();
    EXPECT_GT(Until(), rig.now.mono_ms);
  }
  static EngineOptions Options(size_t small_cluster) {
    EngineOptions options = WithTimeout(kTimeout);
    options.small_cluster = small_cluster;
    return options;
  }
  int64_t Until() const { return rig.Last<WritableUntilEffect>()->mono_ms; }
  // All answer what they are asked, but only the word of `a` counts.
  void Tick() {
    rig.Tick();
    for (; looked_at < rig.effects.size(); ++looked_at) {
      const auto* send = std::get_if<SendEffect>(&rig.effects[looked_at]);
      if (send == nullptr || !send->message->has_ping()) continue;
      const uint64_t seq = send->message->ping().seq();
      const LinkId link = send->link;  // an answer adds effects
      if (link == a.out && a_answers) Answer(a, seq, a.out);
      if (link == b.out && b_answers) Answer(b, seq, b.out, true);
      if (link == replica.out) Answer(replica, seq, replica.out, true);
    }
  }
  // The number that the answer to its ping asks for.
  uint64_t AskedBackBy(const Peer& peer) {
    const proto::Heartbeat pong = rig.Ping(peer);
    EXPECT_EQ(pong.seq(), 1u);
    return pong.ask();
  }
  void Answer(const Peer& peer, uint64_t seq, LinkId link, bool withheld = false) {
    BusMessage pong;
    pong.mutable_pong()->set_seq(seq);
    pong.mutable_pong()->set_your_version(99);
    pong.mutable_pong()->set_withheld(withheld);
    rig.Receive(pong, link, peer.ip);
  }

  Rig rig;
  Peer a{1, "10.1.0.2"}, b{2, "10.1.0.3"}, replica{3, "10.1.0.4"};
  bool a_answers = true, b_answers = true;
  size_t looked_at = 0;  // of the effects
};

TEST(Lease, AVoterThatAsksIsAskedInTurnAndItsAnswerCounts) {
  Owner o(1);
  EXPECT_EQ(o.AskedBackBy(o.a), 0u);  // it has just answered
  o.a_answers = false;
  for (int i = 0; i < 2; ++i) o.Tick();
  const int64_t at = o.rig.now.mono_ms;
  const uint64_t asked = o.AskedBackBy(o.b);
  ASSERT_NE(asked, 0u);
  EXPECT_EQ(o.AskedBackBy(o.b), 0u);  // one question at a time
  o.Tick();
  o.Answer(o.b, asked + 1, o.b.in);  // no question of ours
  ASSERT_LT(o.Until(), at + kLease);
  o.Answer(o.b, asked, o.b.in);
  EXPECT_EQ(o.Until(), at + kLease);  // from when it was asked
}

TEST(Lease, AQuestionInAnAnswerIsAnsweredOnItsLinkAndAsksNothing) {
  Owner o(1);
  BusMessage pong;
  pong.mutable_pong()->set_seq(1);
  pong.mutable_pong()->set_ask(77);
  const size_t before = o.rig.effects.size();
  o.rig.Receive(pong, o.b.out, o.b.ip);
  ASSERT_EQ(o.rig.Sent(BusMessage::kPong, before).size(), 1u);
  for (size_t i = before; i < o.rig.effects.size(); ++i) {
    const auto* send = std::get_if<SendEffect>(&o.rig.effects[i]);
    if (send == nullptr || !send->message->has_pong()) continue;
    EXPECT_EQ(send->link, o.b.out);
    EXPECT_EQ(send->message->pong().seq(), 77u);
    EXPECT_EQ(send->message->pong().ask(), 0u);
    EXPECT_EQ(send->message->pong().your_version(), o.b.record.version());
    EXPECT_FALSE(send->message->pong().withheld());
  }
}

TEST(Lease, WhoDecidesNothingIsNotAskedInTurnNorAnybodyInASmallCluster) {
  Owner many(1);
  EXPECT_EQ(many.AskedBackBy(many.replica), 0u);
  Owner few(64);
  EXPECT_EQ(few.AskedBackBy(few.b), 0u);
}

// The connection on which pings go unanswered is closed, though the member answers on its own.
TEST(Lease, AnswersOnAnotherLinkDoNotExcuseADeadOne) {
  Owner o(1);
  o.b_answers = false;
  bool closed = false;
  for (int i = 0; i < 20 && !closed; ++i) {
    o.Tick();
    o.Answer(o.b, 12345, o.b.in);
    const auto* close = o.rig.Last<CloseEffect>();
    closed = close != nullptr && close->link == o.b.out;
  }
  EXPECT_TRUE(closed);
  EXPECT_STREQ(o.rig.Last<CloseEffect>()->reason, "no pong");
  EXPECT_FALSE(o.rig.Find(o.b.hex())->pfail);
}

}  // namespace
}  // namespace skein::bus
