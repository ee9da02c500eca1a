// Votes, promotion, hand-over and electorates: what is durable before what is said, and what liars cannot do.
#include <gtest/gtest.h>

#include "bus/engine/rig.h"

namespace skein::bus {
namespace {

using proto::BusMessage;

constexpr int64_t kTimeout = 1000;

// This node, two more owners of slots, and a replica of the first of them.
struct Cluster {
  explicit Cluster(bool owner, StatePtr state = nullptr) : rig(WithTimeout(kTimeout), std::move(state)) {
    rig.Tick();
    rig.PersistAll();
    rig.Run(kTimeout);  // a node that has just started does not vote: what it granted before is not known
    if (owner) rig.Do(AddSlotsCommand{{{10000, 16383}}});
    for (Peer* peer : {&a, &b, &c, &r}) rig.Join(peer);
    a.Claim(0, 4999, 1);
    b.Claim(5000, 9999, 2);
    if (!owner) c.Claim(10000, 16383, 3);
    r.record.set_primary_id(a.id());
    r.record.set_shard_id(a.record.shard_id());
    r.record.set_version(2);
    for (Peer* peer : {&a, &b, &c, &r}) rig.SendRecord(b, *peer);
    Settle();
  }
  void Settle() {
    rig.PersistAll();
    rig.Tick(1);
    rig.PersistAll();
  }
  void Fail(const Peer& peer) {
    BusMessage m;
    m.mutable_failed()->add_id(peer.id());
    const Peer& by = &peer == &b ? c : b;
    rig.Receive(m, by.in, by.ip);
  }
  BusMessage Request(uint64_t epoch, const Peer& primary) {
    BusMessage m;
    proto::VoteRequest* v = m.mutable_vote_request();
    v->set_epoch(epoch);
    v->set_primary(primary.record.SerializeAsString());
    *v->mutable_claim()->mutable_slot_ranges() = primary.record.slot_ranges();
    v->set_valid_ms(500);
    v->add_positions(7);
    return m;
  }
  // What the last answer to a request was, or "".
  std::string Answer(size_t from) {
    auto sent = rig.Sent(BusMessage::kVoteReply, from);
    if (sent.empty()) return "";
    const proto::VoteReply& reply = sent.back()->vote_reply();
    return reply.granted() ? "granted" : proto::VoteRefusal_Name(reply.refusal()).substr(13);
  }
  std::string Ask(const BusMessage& m, const Peer& from) {
    size_t before = rig.effects.size();
    rig.Receive(m, from.in, from.ip);
    rig.PersistAll();
    return Answer(before);
  }
  uint64_t Refused(proto::VoteRefusal why) { return rig.engine->stats().votes_refused[why]; }

  Rig rig;
  Peer a{1, "10.1.0.2"}, b{2, "10.1.0.3"}, c{4, "10.1.0.5"}, r{3, "10.1.0.4"};
};

TEST(Election, AVoteIsDurableBeforeItIsSent) {
  Cluster k(true);
  k.Fail(k.a);
  size_t before = k.rig.effects.size();
  k.rig.Receive(k.Request(9, k.a), k.r.in, k.r.ip);
  k.rig.Tick();
  EXPECT_EQ(k.Answer(before), "");
  EXPECT_EQ(k.rig.Last<PersistEffect>()->state->last_vote_epoch(), 9u);
  EXPECT_EQ(k.rig.Last<PersistEffect>()->state->current_epoch(), 9u);
  k.rig.PersistAll();
  EXPECT_EQ(k.Answer(before), "granted");
  EXPECT_EQ(k.rig.engine->stats().votes_given, 1u);
}

TEST(Election, AVoteThatCannotBeWrittenIsNotSentAndNotGivenAgain) {
  Cluster k(true);
  k.Fail(k.a);
  size_t before = k.rig.effects.size();
  k.rig.Receive(k.Request(9, k.a), k.r.in, k.r.ip);
  k.rig.Step(PersistFailedEvent{uint64_t{k.rig.Last<PersistEffect>()->id}, "No space left on device"});
  EXPECT_EQ(k.Answer(before), "NOT_DURABLE");
  EXPECT_EQ(k.Ask(k.Request(9, k.a), k.r), "ALREADY_VOTED");
  EXPECT_EQ(k.Ask(k.Request(10, k.a), k.r), "");  // not before the next try to write
}

TEST(Election, OneVoteAnEpochAlsoAfterARestart) {
  Cluster k(true);
  k.Fail(k.a);
  k.Fail(k.b);
  ASSERT_EQ(k.Ask(k.Request(9, k.a), k.r), "granted");
  Peer other(5, "10.1.0.6");
  other.record.set_primary_id(k.b.id());
  k.rig.Join(&other);
  EXPECT_EQ(k.Ask(k.Request(9, k.b), other), "ALREADY_VOTED");
  EXPECT_EQ(k.Ask(k.Request(9, k.a), k.r), "ALREADY_VOTED");  // replayed
  EXPECT_EQ(k.Ask(k.Request(8, k.b), other), "granted");      // an epoch of its own, if a smaller one
  k.rig.Run(100);
  k.rig.PersistAll();
  auto state = k.rig.Last<PersistEffect>()->state;
  Rig again(WithTimeout(kTimeout), state);
  again.Tick();
  again.PersistAll();
  Peer* peers[] = {&k.a, &k.b, &k.r, &other};
  for (Peer* peer : peers) peer->in = peer->out = 0;
  again.Hello(&k.b);
  again.Hello(&k.r);
  BusMessage failed;
  failed.mutable_failed()->add_id(k.a.id());
  again.Receive(failed, k.b.in, k.b.ip);
  again.Run(2 * kTimeout);
  again.PersistAll();
  size_t before = again.effects.size();
  again.Receive(failed, k.b.in, k.b.ip);
  again.Receive(k.Request(9, k.a), k.r.in, k.r.ip);
  again.PersistAll();
  auto sent = again.Sent(BusMessage::kVoteReply, before);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0]->vote_reply().refusal(), proto::VOTE_REFUSAL_ALREADY_VOTED);
}

TEST(Election, RefusalsAreCountedAndChangeNothing) {
  Cluster k(true);
  k.Fail(k.a);
  BusMessage m = k.Request(9, k.a);
  m.mutable_vote_request()->set_primary("garbage");
  EXPECT_EQ(k.Ask(m, k.r), "MALFORMED");
  m = k.Request(9, k.a);
  m.mutable_vote_request()->mutable_claim()->add_slot_ranges(3);
  EXPECT_EQ(k.Ask(m, k.r), "MALFORMED");
  EXPECT_EQ(k.Ask(k.Request(UINT64_MAX, k.a), k.r), "MALFORMED");
  EXPECT_EQ(k.Ask(k.Request(9, k.a), k.c), "NOT_ITS_REPLICA");
  EXPECT_EQ(k.Ask(k.Request(1, k.a), k.r), "OLD_EPOCH");
  Peer nobody(9, "10.1.0.9");
  nobody.Claim(1, 2, 1);
  nobody.record.clear_ip();  // unknown here, and not to be learnt
  EXPECT_EQ(k.Ask(k.Request(9, nobody), k.r), "UNKNOWN_PRIMARY");
  // A slot of it has gone to another since.
  Peer moved(2, "10.1.0.3");
  moved.Claim(4999, 9999, 5);
  moved.record.set_version(9);
  k.rig.SendRecord(k.c, moved);
  EXPECT_EQ(k.Ask(k.Request(9, k.a), k.r), "STALE");
  // It has a newer record than the candidate knows.
  BusMessage stale = k.Request(9, k.a);
  k.a.Claim(0, 4000, 1);
  k.rig.SendRecord(k.c, k.a);
  EXPECT_EQ(k.Ask(stale, k.r), "STALE");
  for (int why : {1, 3, 4, 5, 6}) EXPECT_GE(k.Refused(static_cast<proto::VoteRefusal>(why)), 1u) << why;
  EXPECT_EQ(k.rig.engine->stats().votes_given, 0u);
  k.rig.Run(1500);
  EXPECT_EQ(k.rig.Last<PersistEffect>()->state->last_vote_epoch(), 0u);
  Cluster replica(false);  // not an owner
  replica.Fail(replica.a);
  EXPECT_EQ(replica.Ask(replica.Request(9, replica.a), replica.r), "NOT_A_VOTER");
}

TEST(Election, ARequestThatComesTooEarlyIsAnsweredWhenItsPrimaryHasFailed) {
  Cluster k(true);
  size_t before = k.rig.effects.size();
  k.rig.Receive(k.Request(9, k.a), k.r.in, k.r.ip);
  k.rig.PersistAll();
  EXPECT_EQ(k.Answer(before), "");
  k.Fail(k.a);
  k.rig.PersistAll();
  EXPECT_EQ(k.Answer(before), "granted");
  before = k.rig.effects.size();
  k.rig.Receive(k.Request(10, k.b), k.r.in, k.r.ip);
  EXPECT_EQ(k.Answer(before), "NOT_ITS_REPLICA");
  // And not for longer than the candidate waits.
  Cluster late(true);
  before = late.rig.effects.size();
  late.rig.Receive(late.Request(9, late.a), late.r.in, late.r.ip);
  late.rig.Run(600);
  EXPECT_EQ(late.Answer(before), "PRIMARY_ALIVE");
  late.Fail(late.a);
  late.rig.PersistAll();
  EXPECT_EQ(late.rig.engine->stats().votes_given, 0u);
}

TEST(Election, AVoterDoesNotConfirmThePrimaryThatItHasVotedAgainst) {
  Cluster k(true);
  auto withheld = [&] { return k.rig.Ping(k.a).withheld(); };
  EXPECT_FALSE(withheld());
  // It may write for a timeout on that word: no vote before.
  k.Fail(k.a);
  size_t before = k.rig.effects.size();
  BusMessage request = k.Request(9, k.a);
  request.mutable_vote_request()->set_valid_ms(1500);
  k.rig.Receive(request, k.r.in, k.r.ip);
  k.rig.Run(900);
  EXPECT_EQ(k.Answer(before), "");
  k.Fail(k.a);
  k.rig.Run(200);
  k.rig.PersistAll();
  EXPECT_EQ(k.Answer(before), "granted");
  EXPECT_TRUE(withheld());
  k.rig.Run(5000);
  EXPECT_TRUE(withheld());  // the candidate has not said that it has lost
  BusMessage view;
  view.mutable_ping()->mutable_view()->set_version(k.r.record.version());
  view.mutable_ping()->mutable_view()->set_decided_epoch(8);  // said before it stood, and late
  k.rig.Receive(view, k.r.in, k.r.ip);
  EXPECT_TRUE(withheld());
  view.mutable_ping()->mutable_view()->set_decided_epoch(9);
  k.rig.Receive(view, k.r.in, k.r.ip);
  EXPECT_FALSE(withheld());
}

// This node is the replica of a.
struct Candidate : Cluster {
  explicit Candidate(bool synced = true) : Cluster(false) {
    EXPECT_EQ(rig.Do(ReplicateCommand{a.hex(), false}), "OK");
    rig.Step(DataPlaneEvent{{100}, true, synced ? 0 : -1});
    Settle();
  }
  // The epoch that it has asked votes for, or 0.
  uint64_t Asked(size_t from) {
    auto sent = rig.Sent(BusMessage::kVoteRequest, from);
    return sent.empty() ? 0 : sent.back()->vote_request().epoch();
  }
  uint64_t Stand() {
    size_t before = rig.effects.size();
    Fail(a);
    rig.Run(300);
    rig.PersistAll();
    return Asked(before);
  }
  void Vote(LinkId link, uint64_t epoch, const std::string& ip) {
    BusMessage m;
    m.mutable_vote_reply()->set_epoch(epoch);
    m.mutable_vote_reply()->set_granted(true);
    rig.Receive(m, link, ip);
  }
  bool Won() { return rig.engine->stats().elections_won != 0; }
};

TEST(Election, ItStandsWhenItsEpochIsDurable) {
  Candidate k;
  size_t before = k.rig.effects.size();
  k.Fail(k.a);
  k.rig.Run(300);
  EXPECT_EQ(k.Asked(before), 0u);
  EXPECT_EQ(k.rig.Last<PersistEffect>()->state->current_epoch(), 4u);
  k.rig.PersistAll();
  EXPECT_EQ(k.Asked(before), 4u);
}

TEST(Election, ForgedLateAndRepeatedVotesDoNotCount) {
  Candidate k;
  uint64_t epoch = k.Stand();
  ASSERT_EQ(epoch, 4u);
  uint64_t ignored = k.rig.engine->stats().votes_ignored;
  k.Vote(k.b.in, epoch - 1, k.b.ip);
  k.Vote(k.b.in, epoch + 1, k.b.ip);
  k.Vote(k.r.in, epoch, k.r.ip);  // a replica
  EXPECT_EQ(k.rig.engine->stats().votes_ignored, ignored + 3);
  uint64_t strangers = k.rig.engine->stats().messages_from_strangers;
  k.Vote(0, epoch, "10.6.6.6");
  EXPECT_EQ(k.rig.engine->stats().messages_from_strangers, strangers + 1);
  k.Vote(k.b.in, epoch, k.b.ip);
  k.Vote(k.b.in, epoch, k.b.ip);  // twice
  EXPECT_EQ(k.rig.engine->stats().votes_ignored, ignored + 4);
  EXPECT_FALSE(k.Won());
  k.rig.Run(600);  // too late
  k.Vote(k.c.in, epoch, k.c.ip);
  EXPECT_FALSE(k.Won());
  EXPECT_FALSE(k.rig.topology().Owns(0));
}

TEST(Election, WonIsWrittenThenPromotedThenOpenedThenSaid) {
  Candidate k;
  uint64_t epoch = k.Stand();
  k.Vote(k.b.in, epoch, k.b.ip);
  size_t before = k.rig.effects.size();
  k.Vote(k.c.in, epoch, k.c.ip);
  ASSERT_TRUE(k.Won());
  EXPECT_EQ(k.rig.Last<PromoteEffect>(), nullptr);
  EXPECT_EQ(k.rig.Last<PersistEffect>()->state->promoting_epoch(), epoch);
  auto state = k.rig.Last<PersistEffect>()->state;
  k.rig.PersistAll();
  ASSERT_NE(k.rig.Last<PromoteEffect>(), nullptr);
  EXPECT_EQ(k.rig.Last<PromoteEffect>()->epoch, epoch);
  k.rig.Run(300);
  EXPECT_FALSE(k.rig.topology().Owns(0));
  EXPECT_FALSE(k.rig.topology().me().primary);
  k.rig.Step(PromotedEvent{epoch + 1});
  EXPECT_FALSE(k.rig.topology().Owns(0));
  auto said = [&] {
    for (const auto& m : k.rig.Sent(BusMessage::kRecords, before)) {
      for (const std::string& bytes : m->records().record()) {
        proto::NodeRecord record;
        record.ParseFromString(bytes);
        if (record.config_epoch() == epoch) return true;
      }
    }
    return false;
  };
  EXPECT_FALSE(said());
  k.rig.Step(PromotedEvent{epoch});
  EXPECT_TRUE(k.rig.topology().Owns(0));
  EXPECT_TRUE(k.rig.topology().me().primary);
  EXPECT_TRUE(said());
  // A crash before Promoted: it must be promoted before its slots open.
  Rig again(WithTimeout(kTimeout), state);
  again.Tick();
  again.PersistAll();
  again.Run(300);
  ASSERT_NE(again.Last<PromoteEffect>(), nullptr);
  EXPECT_FALSE(again.topology().Owns(0));
  again.Step(PromotedEvent{epoch});
  EXPECT_TRUE(again.topology().Owns(0));
}

TEST(Election, WhoMustNotStand) {
  Candidate old(false);
  EXPECT_EQ(old.Stand(), 0u) << "without data";
  Candidate stale;
  stale.rig.Step(DataPlaneEvent{{100}, true, 11 * kTimeout + 1});
  EXPECT_EQ(stale.Stand(), 0u) << "with data that is too old";
  Candidate no;
  SettingsCommand settings{kTimeout, true, true};
  ASSERT_EQ(no.rig.Do(settings), "OK");
  EXPECT_EQ(no.Stand(), 0u) << "though cluster-replica-no-failover is set";
}

TEST(Election, ThePrimaryFreezesForItsReplicaOnlyAndNotForEver) {
  Cluster k(true);
  Peer mine(7, "10.1.0.8");
  mine.record.set_primary_id(NodeId::FromHex(k.rig.topology().me().id())->Bytes());
  k.rig.Join(&mine);
  BusMessage m;
  m.mutable_hand_over()->set_step(proto::HAND_OVER_FREEZE);
  m.mutable_hand_over()->set_token(77);
  k.rig.Receive(m, k.r.in, k.r.ip);  // not its replica
  EXPECT_EQ(k.rig.Last<FreezeWritesEffect>(), nullptr);
  size_t before = k.rig.effects.size();
  k.rig.Receive(m, mine.in, mine.ip);
  ASSERT_NE(k.rig.Last<FreezeWritesEffect>(), nullptr);
  EXPECT_EQ(k.rig.Last<FreezeWritesEffect>()->until_mono_ms, k.rig.now.mono_ms + 5000);
  k.rig.Step(DataPlaneEvent{{55}, true, 0});  // was on its way
  EXPECT_TRUE(k.rig.Sent(BusMessage::kHandOver, before).empty());
  k.rig.Step(DataPlaneEvent{{60}, true, 0, true});
  auto sent = k.rig.Sent(BusMessage::kHandOver, before);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0]->hand_over().step(), proto::HAND_OVER_FROZEN);
  EXPECT_EQ(sent[0]->hand_over().token(), 77u);
  EXPECT_EQ(sent[0]->hand_over().positions(0), 60u);
  k.rig.Run(5100);
  EXPECT_EQ(k.rig.Last<FreezeWritesEffect>()->until_mono_ms, 0);
}

// With this primary there are enough to elect a successor, but too few to confirm one: not even with the primary's own
// place, or, by force, without it.
TEST(Election, NoHandOverWhereTheSuccessorCouldNotWrite) {
  Candidate replica;  // of one of three
  replica.Fail(replica.b);
  EXPECT_TRUE(replica.rig.Do(FailoverCommand{FailoverKind::kForce}).starts_with("ERR too few primaries are reachable"));
  EXPECT_EQ(replica.rig.Do(FailoverCommand{FailoverKind::kAgreed}), "OK");
  BusMessage both;
  both.mutable_failed()->add_id(replica.b.id());
  both.mutable_failed()->add_id(replica.c.id());
  replica.rig.Receive(both, replica.a.in, replica.a.ip);
  EXPECT_TRUE(
      replica.rig.Do(FailoverCommand{FailoverKind::kAgreed}).starts_with("ERR too few primaries are reachable"));

  Cluster k(false);
  k.c.record.clear_slot_ranges();
  k.c.Claim(10000, 11999, 4);
  k.rig.SendRecord(k.b, k.c);
  ASSERT_EQ(k.rig.Do(AddSlotsCommand{{{12000, 16383}}}), "OK");  // one of four
  k.Settle();
  Peer mine(7, "10.1.0.8");
  mine.record.set_primary_id(NodeId::FromHex(k.rig.topology().me().id())->Bytes());
  k.rig.Join(&mine);
  k.Fail(k.a);
  k.Fail(k.b);
  EXPECT_TRUE(k.rig.Do(HandOverCommand{}).starts_with("ERR too few primaries are reachable"));
  BusMessage m;
  m.mutable_hand_over()->set_step(proto::HAND_OVER_FREEZE);
  m.mutable_hand_over()->set_token(77);
  size_t before = k.rig.effects.size();
  k.rig.Receive(m, mine.in, mine.ip);
  EXPECT_EQ(k.rig.Last<FreezeWritesEffect>(), nullptr);
  auto sent = k.rig.Sent(BusMessage::kHandOver, before);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0]->hand_over().step(), proto::HAND_OVER_REFUSED);
}

TEST(Election, AStoppingPrimaryHandsOverOrSaysWhyNot) {
  Cluster k(true);
  EXPECT_EQ(k.rig.Do(HandOverCommand{}), "ERR no replica can take over");
  Peer mine(7, "10.1.0.8");
  mine.record.set_primary_id(NodeId::FromHex(k.rig.topology().me().id())->Bytes());
  k.rig.Join(&mine);
  size_t before = k.rig.effects.size();
  uint64_t request = k.rig.Command(HandOverCommand{});
  ASSERT_EQ(k.rig.Sent(BusMessage::kHandOver, before).size(), 1u);
  EXPECT_EQ(k.rig.Sent(BusMessage::kHandOver, before)[0]->hand_over().step(), proto::HAND_OVER_STAND);
  EXPECT_EQ(k.rig.ReplyTo(request), nullptr);
  k.rig.Run(5100);
  ASSERT_NE(k.rig.ReplyTo(request), nullptr);
  EXPECT_EQ(k.rig.ReplyTo(request)->text, "ERR no replica has taken over in time");
}

TEST(Election, AStoppingPrimaryHandsOverToTheReplicaThatHasMost) {
  Cluster k(true);
  Peer some(7, "10.1.0.8"), most(8, "10.1.0.9"), less(9, "10.1.0.10"), unwilling(10, "10.1.0.11");
  unwilling.record.set_no_failover(true);
  BusMessage view;
  for (auto [peer, data] : {std::pair(&some, 50u), {&most, 200u}, {&less, 10u}, {&unwilling, 900u}}) {
    peer->record.set_primary_id(NodeId::FromHex(k.rig.topology().me().id())->Bytes());
    k.rig.Join(peer);
    view.mutable_ping()->mutable_view()->clear_positions();
    view.mutable_ping()->mutable_view()->add_positions(data);
    k.rig.Receive(view, peer->in, peer->ip);
  }
  const size_t before = k.rig.effects.size();
  k.rig.Command(HandOverCommand{});
  std::vector<LinkId> to;
  for (size_t i = before; i < k.rig.effects.size(); ++i) {
    const auto* send = std::get_if<SendEffect>(&k.rig.effects[i]);
    if (send != nullptr && send->message->has_hand_over()) to.push_back(send->link);
  }
  EXPECT_EQ(to, std::vector<LinkId>{most.out});
}

TEST(Election, AStoppingPrimaryDoesNotWaitForAReplicaThatHasGone) {
  Cluster k(true);
  Peer mine(7, "10.1.0.8");
  mine.record.set_primary_id(NodeId::FromHex(k.rig.topology().me().id())->Bytes());
  k.rig.Join(&mine);
  const uint64_t request = k.rig.Command(HandOverCommand{});
  k.rig.Tick();
  EXPECT_EQ(k.rig.ReplyTo(request), nullptr);
  k.rig.Step(LinkDownEvent{mine.out});
  k.rig.Tick();
  EXPECT_EQ(k.rig.ReplyTo(request), nullptr);
  k.rig.Step(LinkDownEvent{mine.in});
  k.rig.Tick();
  ASSERT_NE(k.rig.ReplyTo(request), nullptr);
  EXPECT_EQ(k.rig.ReplyTo(request)->text, "ERR the replica that was to take over has gone");
}

// A slot that was moved here stays, though the giver's epoch has risen meanwhile: else, when the giver is told of the
// move, nobody has it.
TEST(Election, AMovedSlotIsNotLostToTheGiversNewEpoch) {
  Rig rig(WithTimeout(kTimeout));
  rig.Tick();
  rig.PersistAll();
  Peer a(1, "10.1.0.2");
  a.Claim(0, 16383, 1);
  rig.Join(&a);
  std::string me = rig.topology().me().id();
  ASSERT_EQ(rig.Do(SetSlotCommand{7, SetSlotKind::kImporting, a.hex(), 0}), "OK");
  ASSERT_EQ(rig.Do(SetSlotCommand{7, SetSlotKind::kNode, me, 0}), "OK");
  ASSERT_TRUE(rig.topology().Owns(7));
  a.Claim(0, 16383, 9);  // BUMPEPOCH
  rig.SendRecord(a, a);
  rig.PersistAll();
  rig.Fence();
  rig.PersistAll();
  EXPECT_TRUE(rig.topology().Owns(7));
  EXPECT_EQ(rig.topology().me().config_epoch, 10u);
}

}  // namespace
}  // namespace skein::bus
