// What a node has said to one of a group binds it towards the others, also over a restart.
#include <gtest/gtest.h>

#include "bus/engine/rig.h"

namespace skein::bus {
namespace {

using proto::BusMessage;

constexpr int64_t kTimeout = 1000;

// Answers whatever was asked of the peer: it confirms this node.
void Confirm(Rig* rig, const Peer& peer, bool withheld = false, bool durable = true, uint64_t version = 99) {
  BusMessage pong;
  pong.mutable_pong()->set_withheld(withheld);
  pong.mutable_pong()->set_your_version(version);
  pong.mutable_pong()->set_durable(durable);
  auto pings = rig->Sent(BusMessage::kPing);
  const uint64_t last = pings.empty() ? 0 : pings.back()->ping().seq();
  for (uint64_t seq = last > 40 ? last - 40 : 1; seq <= last; ++seq) {
    pong.mutable_pong()->set_seq(seq);
    rig->Receive(pong, peer.out, peer.ip);
  }
}

// This node; a, b and c own the slots; r and s are replicas of a.
struct Group {
  enum Me { kOwner, kReplica };
  explicit Group(Me me, bool few = false) : rig(WithTimeout(kTimeout)), few(few) {
    rig.Tick();
    rig.PersistAll();
    rig.Run(kTimeout);
    if (me == kOwner) {
      EXPECT_EQ(rig.Do(AddSlotsCommand{{{16000, 16383}}}), "OK");
    }
    for (Peer* peer : {&a, &b, &c, &r, &s}) {
      rig.Join(peer);
      for (Peer* other : {&a, &b, &c}) {  // or its links would be closed
        if (other->out != 0) Confirm(&rig, *other);
      }
    }
    a.Claim(0, few ? 16383 : 4999, 1);
    if (!few) b.Claim(5000, 9999, 2), c.Claim(10000, 15999, 3);
    if (few) {
      a.record.set_own_electorate(true);
      a.record.add_witnesses(Id());
      a.record.add_witnesses(r.id());
    }
    for (Peer* peer : {&r, &s}) {
      peer->record.set_primary_id(a.id());
      peer->record.set_shard_id(a.record.shard_id());
      peer->record.set_version(2);
    }
    for (Peer* peer : {&a, &b, &c, &r, &s}) rig.SendRecord(b, *peer);
    if (me == kReplica) {
      EXPECT_EQ(rig.Do(ReplicateCommand{a.hex(), false}), "OK");
      rig.Step(DataPlaneEvent{{100}, true, 0});
    }
    rig.PersistAll();
    rig.Tick(1);
    rig.PersistAll();
    if (me == kOwner) {
      for (int i = 0; i < 30; ++i) {  // until they decide about it
        rig.Tick();
        for (Peer* peer : {&a, &b, &c}) Confirm(&rig, *peer);
        rig.PersistAll();
      }
    }
  }
  std::string Id() { return NodeId::FromHex(rig.topology().me().id())->Bytes(); }
  void Fail(const Peer& peer, const Peer& by) {
    BusMessage m;
    m.mutable_failed()->add_id(peer.id());
    rig.Receive(m, by.in, by.ip);
  }
  BusMessage Request(uint64_t epoch, uint64_t position = 700) {
    BusMessage m;
    proto::VoteRequest* v = m.mutable_vote_request();
    v->set_epoch(epoch);
    v->set_primary(a.record.SerializeAsString());
    *v->mutable_claim()->mutable_slot_ranges() = a.record.slot_ranges();
    v->set_valid_ms(500);
    v->add_positions(position);
    return m;
  }
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
  proto::Heartbeat Ping(const Peer& from) { return rig.Ping(from); }
  uint64_t Decided() {
    BusMessage ping;
    ping.mutable_ping()->mutable_view();
    size_t before = rig.effects.size();
    rig.Receive(ping, c.in, c.ip);
    return rig.Sent(BusMessage::kPong, before).at(0)->pong().view().decided_epoch();
  }
  uint64_t Asked(size_t from) {
    auto sent = rig.Sent(BusMessage::kVoteRequest, from);
    return sent.empty() ? 0 : sent.back()->vote_request().epoch();
  }
  // How long after the failure of its primary this replica asks for votes, in steps of 20 ms; -1: not in 3 s.
  int64_t StandsAfter() {
    size_t before = rig.effects.size();
    int64_t begin = rig.now.mono_ms;
    for (Fail(a, b); Asked(before) == 0; rig.PersistAll()) {
      rig.Tick(20);
      if (rig.now.mono_ms - begin > 3000) return -1;
    }
    return rig.now.mono_ms - begin;
  }
  void Vote(const Peer& peer, uint64_t epoch) {
    BusMessage m;
    m.mutable_vote_reply()->set_epoch(epoch);
    m.mutable_vote_reply()->set_granted(true);
    rig.Receive(m, peer.in, peer.ip);
  }
  bool Won() { return rig.engine->stats().elections_won != 0; }
  // So that this node has a mandate; a says nothing.
  void RunConfirmed(int64_t ms, bool withheld = false) {
    for (; ms > 0; ms -= 100) {
      rig.Tick();
      for (Peer* peer : {&b, &c}) Confirm(&rig, *peer, withheld);
      rig.PersistAll();
    }
  }

  Rig rig;
  bool few;
  Peer a{1, "10.1.0.2"}, b{2, "10.1.0.3"}, c{4, "10.1.0.5"}, r{3, "10.1.0.4"}, s{5, "10.1.0.6"};
};

// One that has a vote may win with it until it shows that it has not; what it may write then must have run out.
TEST(Word, AVoteForAnotherOfTheGroupWaitsUntilTheFirstCountsNoMore) {
  Group k(Group::kOwner);
  k.Fail(k.a, k.b);
  ASSERT_EQ(k.Ask(k.Request(9), k.r), "granted");
  EXPECT_EQ(k.Ask(k.Request(10), k.s), "RECENTLY_VOTED");
  k.RunConfirmed(600);
  size_t before = k.rig.effects.size();
  EXPECT_EQ(k.Ask(k.Request(11), k.s), "");
  k.RunConfirmed(500);
  EXPECT_EQ(k.Answer(before), "granted");
}

TEST(Word, ALoserThatShowsItFreesTheVoteAtOnce) {
  Group k(Group::kOwner);
  k.Fail(k.a, k.b);
  ASSERT_EQ(k.Ask(k.Request(9), k.r), "granted");
  k.rig.Run(600);
  BusMessage view;
  view.mutable_ping()->mutable_view()->set_decided_epoch(9);
  view.mutable_ping()->mutable_view()->set_version(k.r.record.version());
  k.rig.Receive(view, k.r.in, k.r.ip);
  EXPECT_EQ(k.Ask(k.Request(10), k.s), "granted");
}

// The winner of an older election of the group is withheld from, if this node has voted in a newer one.
TEST(Word, NoConfirmationForAnEarlierWinnerOfTheGroup) {
  Group k(Group::kOwner);
  k.Ping(k.a);
  k.Fail(k.a, k.b);
  k.RunConfirmed(1100);
  k.Fail(k.a, k.b);
  ASSERT_EQ(k.Ask(k.Request(9), k.s), "granted");
  k.r.record.clear_primary_id();
  k.r.Claim(0, 4999, 8);
  k.rig.SendRecord(k.b, k.r);
  EXPECT_TRUE(k.Ping(k.r).withheld());
  k.rig.Run(1500);
  EXPECT_TRUE(k.Ping(k.r).withheld());
  k.s.record.set_version(k.s.record.version() + 1);  // it has lost, and says so
  k.rig.SendRecord(k.s, k.s);
  BusMessage view;
  view.mutable_ping()->mutable_view()->set_decided_epoch(9);
  view.mutable_ping()->mutable_view()->set_version(k.s.record.version());
  k.rig.Receive(view, k.s.in, k.s.ip);
  EXPECT_FALSE(k.Ping(k.r).withheld());
}

// An operator, or a collision, has raised the epoch of a primary that was cut off: that proves nothing.
TEST(Word, ARaisedEpochIsNoElection) {
  for (const bool elected : {false, true}) {
    Group k(Group::kOwner);
    k.Fail(k.a, k.b);
    ASSERT_EQ(k.Ask(k.Request(9), k.r), "granted");
    k.a.Claim(0, 4999, 12);
    if (elected) k.a.record.set_elected_epoch(12);
    k.rig.SendRecord(k.a, k.a);
    k.RunConfirmed(1100);
    EXPECT_EQ(k.Ping(k.a).withheld(), !elected);
  }
}

// What was found for one heartbeat does not hold for the next when records have changed.
TEST(Word, ARivalOfTheNextHeartbeatIsSeen) {
  Group k(Group::kOwner);
  k.Fail(k.a, k.b);
  ASSERT_EQ(k.Ask(k.Request(9), k.r), "granted");
  k.RunConfirmed(1100);
  EXPECT_FALSE(k.Ping(k.b).withheld());
  k.b.record.set_shard_id(k.a.record.shard_id());
  k.b.Claim(0, 4999, 8);
  k.rig.SendRecord(k.b, k.b);
  EXPECT_TRUE(k.Ping(k.b).withheld());
}

// The successor is not confirmed while the word to its predecessor counts, unless that has given way.
TEST(Word, NoConfirmationForASuccessorWhileThePredecessorMayWrite) {
  for (bool gives_way : {false, true}) {
    Group k(Group::kOwner);
    k.rig.Run(300);
    for (Peer* peer : {&k.a, &k.b, &k.c}) Confirm(&k.rig, *peer);  // so that its word counts
    k.rig.Tick();
    ASSERT_FALSE(k.Ping(k.a).no_mandate());
    k.r.record.clear_primary_id();
    k.r.Claim(0, 4999, 8);
    k.rig.SendRecord(k.b, k.r);
    EXPECT_TRUE(k.Ping(k.r).withheld());
    if (gives_way) {
      k.a.record.clear_slot_ranges();
      k.a.record.set_version(k.a.record.version() + 1);
      k.rig.SendRecord(k.a, k.a);
    } else {
      k.rig.Run(900);
      EXPECT_TRUE(k.Ping(k.r).withheld());
      k.rig.Run(200);
    }
    EXPECT_FALSE(k.Ping(k.r).withheld());
  }
}

// An owner that nobody has confirmed for a timeout may have been replaced: its word to others is void.
TEST(Word, AVoterWithoutAMajorityHasNoMandate) {
  Group k(Group::kOwner);
  EXPECT_FALSE(k.Ping(k.b).no_mandate());
  k.rig.Run(2 * kTimeout);
  EXPECT_TRUE(k.Ping(k.b).no_mandate());
  Group witness(Group::kReplica, true);  // named by the primary itself
  EXPECT_FALSE(witness.Ping(witness.a).no_mandate());
}

// Nor does it vote: its successor may.
TEST(Word, AVoterWithoutAMajorityDoesNotVoteAboutOthers) {
  for (bool agreed : {false, true}) {
    Group k(Group::kOwner);
    k.RunConfirmed(1200);
    k.Fail(k.a, k.b);
    k.RunConfirmed(1000, true);
    BusMessage request = k.Request(9);
    request.mutable_vote_request()->set_agreed(agreed);
    size_t before = k.rig.effects.size();
    EXPECT_EQ(k.Ask(request, k.r), agreed ? "NOT_A_VOTER" : "");
    k.RunConfirmed(400);
    if (agreed) k.Ask(k.Request(10), k.r);
    EXPECT_EQ(k.Answer(before), "granted");
  }
}

TEST(Word, AnUnresolvedVoteWithholdsAlsoAfterARestart) {
  Group k(Group::kOwner);
  k.Fail(k.a, k.b);
  ASSERT_EQ(k.Ask(k.Request(9), k.r), "granted");
  k.rig.Run(1100);
  k.rig.PersistAll();
  Rig again(WithTimeout(kTimeout), k.rig.Last<PersistEffect>()->state);
  again.Tick();
  again.PersistAll();
  again.Run(5 * kTimeout);
  for (Peer* peer : {&k.a, &k.r}) again.Hello(peer);
  EXPECT_TRUE(again.Ping(k.a).withheld());
  BusMessage view;
  view.mutable_ping()->mutable_view()->set_decided_epoch(9);
  view.mutable_ping()->mutable_view()->set_version(k.r.record.version());
  again.Receive(view, k.r.in, k.r.ip);
  EXPECT_FALSE(again.Ping(k.a).withheld());
}

// A witness that has agreed to a new electorate forgets it with a restart, unless its disk has it: with the one that
// was sent away it would elect another then.
TEST(Word, AFormerElectorateIsObeyedUntilTheNewOneIsOnDisks) {
  Rig rig(WithTimeout(kTimeout));
  rig.Tick();
  rig.PersistAll();
  rig.Run(kTimeout);
  ASSERT_EQ(rig.Do(AddSlotsCommand{{{0, 16383}}}), "OK");
  const std::string id = NodeId::FromHex(rig.topology().me().id())->Bytes();
  Peer r{3, "10.1.0.4"}, s{5, "10.1.0.6"}, t{6, "10.1.0.7"};
  auto own = [&] {
    proto::NodeRecord record;
    record.ParseFromString(rig.Last<PersistEffect>()->state->own_record());
    return record;
  };
  auto run = [&](const std::vector<Peer*>& peers, bool durable) {
    for (int i = 0; i < 40; ++i) {
      rig.Tick();
      for (Peer* peer : peers) Confirm(&rig, *peer, false, durable, own().version());
      rig.PersistAll();
    }
  };
  auto join = [&](Peer* peer) {
    rig.Join(peer);
    peer->record.set_primary_id(id);
    peer->record.set_shard_id(own().shard_id());
    peer->record.set_version(2);
    rig.SendRecord(*peer, *peer);
    rig.PersistAll();
  };
  join(&r);
  join(&s);
  run({&r, &s}, true);
  ASSERT_EQ(own().witnesses_size(), 2);
  ASSERT_EQ(rig.Last<PersistEffect>()->state->past_electorates_size(), 0);
  join(&t);
  BusMessage failed;
  failed.mutable_failed()->add_id(r.id());
  rig.Receive(failed, s.in, s.ip);
  run({&s, &t}, false);
  const proto::NodeRecord now = own();
  ASSERT_EQ(std::count(now.witnesses().begin(), now.witnesses().end(), t.id()), 1);
  EXPECT_EQ(rig.Last<PersistEffect>()->state->past_electorates_size(), 1);
  run({&s, &t}, true);
  EXPECT_EQ(rig.Last<PersistEffect>()->state->past_electorates_size(), 0);
}

// A group may have come to have two primaries: an operator has given one's slots back in part, say. For which of its
// slots the vote was is not known after a restart, but what the winner has is.
TEST(Word, AWinnerOfOtherSlotsOfTheGroupWithholdsNothing) {
  for (const bool restarts : {true, false}) {
    for (const uint16_t first_left : {10, 9}) {
      Group k(Group::kOwner);
      k.Fail(k.a, k.b);
      ASSERT_EQ(k.Ask(k.Request(9), k.r), "granted");
      k.rig.Run(1100);
      k.rig.PersistAll();
      Rig again(WithTimeout(kTimeout), k.rig.Last<PersistEffect>()->state);
      Rig& rig = restarts ? again : k.rig;
      k.a.Claim(first_left, 4999, 8);
      k.r.record.clear_primary_id();
      k.r.Claim(0, 9, 9);
      k.r.record.set_elected_epoch(9);
      if (restarts) {
        rig.Tick();
        rig.PersistAll();
        rig.Run(5 * kTimeout);
        for (Peer* peer : {&k.a, &k.r}) rig.Hello(peer);
      } else {
        for (Peer* peer : {&k.a, &k.r}) rig.SendRecord(*peer, *peer);
      }
      EXPECT_TRUE(rig.Ping(k.a).withheld()) << "it may win more yet";
      BusMessage view;
      view.mutable_ping()->mutable_view()->set_decided_epoch(9);
      view.mutable_ping()->mutable_view()->set_version(k.r.record.version());
      rig.Receive(view, k.r.in, k.r.ip);
      EXPECT_EQ(rig.Ping(k.a).withheld(), first_left == 9) << restarts;
    }
  }
}

// `decided_epoch`: no election up to it will be won any more, as the disk knows.
TEST(Word, WhatIsSaidToBeDecidedIsDurableAndNotOpen) {
  Group k(Group::kReplica);
  auto refuse = [&](const Peer& peer, uint64_t epoch) {
    BusMessage m;
    m.mutable_vote_reply()->set_epoch(epoch);
    m.mutable_vote_reply()->set_refusal(proto::VOTE_REFUSAL_STALE);
    k.rig.Receive(m, peer.in, peer.ip);
  };
  k.rig.Run(1200);
  k.rig.PersistAll();
  EXPECT_EQ(k.Decided(), 3u);
  BusMessage view;
  view.mutable_ping()->mutable_view()->set_current_epoch(50);
  k.rig.Receive(view, k.b.in, k.b.ip);
  EXPECT_EQ(k.Decided(), 3u) << "a restart would not know of 50";
  k.rig.Run(1200);
  k.rig.PersistAll();
  EXPECT_EQ(k.Decided(), 50u);
  ASSERT_GE(k.StandsAfter(), 0);
  ASSERT_EQ(k.Asked(0), 51u);
  EXPECT_EQ(k.Decided(), 50u) << "it may still be won";
  refuse(k.b, 51);
  refuse(k.c, 51);
  EXPECT_EQ(k.Decided(), 51u);
  size_t before = k.rig.effects.size();
  for (int i = 0; i < 20 && k.Asked(before) == 0; ++i) {
    k.rig.Tick();
    k.rig.PersistAll();
  }
  const uint64_t epoch = k.Asked(before);
  ASSERT_EQ(epoch, 52u);
  k.Vote(k.b, epoch);
  k.Vote(k.c, epoch);
  ASSERT_TRUE(k.Won());
  EXPECT_EQ(k.Decided(), 51u) << "its record does not yet tell of it";
  k.rig.PersistAll();
  ASSERT_EQ(k.rig.Last<PromoteEffect>()->epoch, epoch);
  EXPECT_EQ(k.Decided(), 51u);
  k.rig.Step(PromotedEvent{uint64_t{epoch}});
  k.rig.Run(1200);
  k.rig.PersistAll();
  EXPECT_EQ(k.Decided(), 52u);
}

// Nor is a win that was lost again decided while a restart might find it.
TEST(Word, AWinIsOpenUntilTheDiskKnowsThatItIsLost) {
  for (bool written : {false, true}) {
    Group k(Group::kReplica);
    ASSERT_GE(k.StandsAfter(), 0);
    const uint64_t epoch = k.Asked(0);
    k.Vote(k.b, epoch);
    k.Vote(k.c, epoch);
    ASSERT_TRUE(k.Won());
    k.r.record.clear_primary_id();
    k.r.Claim(0, 4999, epoch + 10);
    k.rig.SendRecord(k.b, k.r);
    if (written) k.rig.PersistAll();
    k.rig.Fence();
    k.rig.Tick();
    EXPECT_LT(k.Decided(), epoch) << "it would be promoted";
    k.rig.PersistAll();
    ASSERT_EQ(k.rig.topology().nodes.at(k.rig.topology().me().primary_index).id(), k.r.hex());
    EXPECT_GE(k.Decided(), epoch);
  }
}

// A candidate that is a voter too is bound like one.
TEST(Word, AWitnessDoesNotStandWhileItsOwnWordToThePrimaryCounts) {
  Group early(Group::kReplica, true);
  ASSERT_FALSE(early.Ping(early.a).withheld());
  EXPECT_GE(early.StandsAfter(), kTimeout - 20);
  Group late(Group::kReplica, true);
  late.rig.Run(kTimeout);
  EXPECT_LT(late.StandsAfter(), 600);
}

TEST(Word, AReplicaWithMoreDataRefusesOneWithLess) {
  Group k(Group::kReplica, true);
  k.rig.Run(kTimeout);
  SettingsCommand settings{kTimeout, true, true};
  k.Fail(k.a, k.b);
  EXPECT_EQ(k.Ask(k.Request(9, 99), k.r), "BEHIND");
  EXPECT_EQ(k.Ask(k.Request(10, 100), k.r), "granted");
  Group no(Group::kReplica, true);  // one that may not stand itself does not stand in the way
  no.rig.Run(kTimeout);
  ASSERT_EQ(no.rig.Do(settings), "OK");
  no.Fail(no.a, no.b);
  EXPECT_EQ(no.Ask(no.Request(9, 99), no.r), "granted");
}

TEST(Word, SiblingsWithMoreDataGoFirst) {
  int64_t last = -1;
  for (int ahead = 0; ahead <= 2; ++ahead) {
    Group k(Group::kReplica);
    BusMessage view;
    int n = 0;
    for (Peer* peer : {&k.r, &k.s}) {
      view.mutable_ping()->mutable_view()->clear_positions();
      view.mutable_ping()->mutable_view()->add_positions(n++ < ahead ? 200 : 50);
      k.rig.Receive(view, peer->in, peer->ip);
    }
    int64_t after = k.StandsAfter();
    ASSERT_GE(after, 0);
    EXPECT_GE(after, ahead * kTimeout / 8);
    EXPECT_GT(after, last) << ahead;
    last = after;
  }
}

TEST(Word, WhatIsCountedIsTheElectorateThatWasAsked) {
  Group k(Group::kReplica);
  ASSERT_GE(k.StandsAfter(), 0);
  uint64_t epoch = k.Asked(0);
  k.Vote(k.b, epoch);
  k.a.record.set_version(k.a.record.version() + 1);
  k.a.record.set_own_electorate(true);
  k.a.record.add_witnesses(k.c.id());
  k.rig.SendRecord(k.b, k.a);
  k.Vote(k.c, epoch);
  EXPECT_FALSE(k.Won());
}

TEST(Word, AnAgreedElectionNeedsThePrimarysOwnVote) {
  Group k(Group::kReplica);
  size_t before = k.rig.effects.size();
  ASSERT_EQ(k.rig.Do(FailoverCommand{FailoverKind::kAgreed}), "OK");
  auto sent = k.rig.Sent(BusMessage::kHandOver, before);
  ASSERT_EQ(sent.size(), 1u);
  BusMessage frozen;
  frozen.mutable_hand_over()->set_step(proto::HAND_OVER_FROZEN);
  frozen.mutable_hand_over()->set_token(sent[0]->hand_over().token());
  frozen.mutable_hand_over()->add_positions(100);
  k.rig.Receive(frozen, k.a.in, k.a.ip);
  k.rig.Tick(20);
  k.rig.PersistAll();
  uint64_t epoch = k.Asked(before);
  ASSERT_NE(epoch, 0u);
  k.Vote(k.b, epoch);
  k.Vote(k.c, epoch);
  EXPECT_FALSE(k.Won());
  k.Vote(k.a, epoch);
  EXPECT_TRUE(k.Won());
}

// The primary is frozen meanwhile.
TEST(Word, AReplicaStandsAsSoonAsItHasTheLastWrites) {
  Group k(Group::kReplica);
  size_t before = k.rig.effects.size();
  ASSERT_EQ(k.rig.Do(FailoverCommand{FailoverKind::kAgreed}), "OK");
  BusMessage frozen;
  frozen.mutable_hand_over()->set_step(proto::HAND_OVER_FROZEN);
  frozen.mutable_hand_over()->set_token(k.rig.Sent(BusMessage::kHandOver, before).at(0)->hand_over().token());
  frozen.mutable_hand_over()->add_positions(120);
  k.rig.Receive(frozen, k.a.in, k.a.ip);
  k.rig.Run(200);
  k.rig.PersistAll();
  EXPECT_EQ(k.Asked(before), 0u);
  k.rig.Step(DataPlaneEvent{{120}, true, 0});
  k.rig.PersistAll();
  EXPECT_NE(k.Asked(before), 0u);
}

// It may come to nothing without that, and then the primary writes on by this node's word.
TEST(Word, AnAgreedVoteDoesNotFreeTheWordToThePrimary) {
  Group k(Group::kOwner);
  k.RunConfirmed(1100);
  ASSERT_FALSE(k.Ping(k.a).no_mandate());
  BusMessage agreed = k.Request(9);
  agreed.mutable_vote_request()->set_agreed(true);
  ASSERT_EQ(k.Ask(agreed, k.r), "granted");
  k.Fail(k.a, k.b);
  size_t before = k.rig.effects.size();
  EXPECT_EQ(k.Ask(k.Request(10), k.r), "");
  k.RunConfirmed(300);
  EXPECT_EQ(k.Answer(before), "");
  k.RunConfirmed(800);
  EXPECT_EQ(k.Ask(k.Request(11), k.r), "granted");
}

TEST(Word, WhoHasWonByAgreementIsConfirmedAtOnce) {
  for (const bool agreed : {true, false}) {
    Group k(Group::kOwner);
    k.RunConfirmed(1100);
    ASSERT_FALSE(k.Ping(k.a).no_mandate());
    BusMessage m = k.Request(9);
    m.mutable_vote_request()->set_agreed(agreed);
    m.mutable_vote_request()->set_forced(!agreed);
    ASSERT_EQ(k.Ask(m, k.r), "granted");
    k.r.record.clear_primary_id();
    k.r.Claim(0, 4999, 9);
    k.r.record.set_elected_epoch(9);
    k.rig.SendRecord(k.b, k.r);
    EXPECT_EQ(k.Ping(k.r).withheld(), !agreed);
  }
}

TEST(Word, ByHandAWitnessIsBoundByItsVoteAsWell) {
  Group k(Group::kReplica, /*few=*/true);
  k.rig.Run(1100);
  k.Fail(k.a, k.r);
  ASSERT_EQ(k.Ask(k.Request(9), k.r), "granted");
  size_t before = k.rig.effects.size();
  ASSERT_EQ(k.rig.Do(FailoverCommand{FailoverKind::kForce}), "OK");
  for (int i = 0; i < 9; ++i) k.rig.Tick(), k.rig.PersistAll();
  EXPECT_EQ(k.Asked(before), 0u);
  for (int i = 0; i < 4; ++i) k.rig.Tick(), k.rig.PersistAll();
  EXPECT_NE(k.Asked(before), 0u);
}

// A primary that stops tells its best replica to begin.
TEST(Word, AReplicaToldToStandAsksItsPrimaryToFreeze) {
  Group k(Group::kReplica);
  BusMessage stand;
  stand.mutable_hand_over()->set_step(proto::HAND_OVER_STAND);
  size_t before = k.rig.effects.size();
  k.rig.Receive(stand, k.b.in, k.b.ip);  // not its primary
  EXPECT_TRUE(k.rig.Sent(BusMessage::kHandOver, before).empty());
  k.rig.Receive(stand, k.a.in, k.a.ip);
  auto sent = k.rig.Sent(BusMessage::kHandOver, before);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0]->hand_over().step(), proto::HAND_OVER_FREEZE);
  EXPECT_NE(sent[0]->hand_over().token(), 0u);
}

// Nobody stays the replica of a replica.
TEST(Word, AReplicaOfAReplicaFollowsItsPrimary) {
  Group k(Group::kReplica);
  k.a.record.clear_slot_ranges();
  k.a.record.set_primary_id(k.c.id());
  k.a.record.set_version(k.a.record.version() + 1);
  k.rig.SendRecord(k.b, k.a);
  k.rig.PersistAll();
  k.rig.Run(600);
  const Topology& t = k.rig.topology();
  ASSERT_NE(t.me().primary_index, kNobody);
  EXPECT_EQ(t.nodes[t.me().primary_index].id(), k.c.hex());
}

// What others said to a replica does not let it write as a primary.
TEST(Word, SlotsOnTheirWayOutDoNotExtendTheLease) {
  Rig rig(WithTimeout(kTimeout));
  rig.Tick();
  rig.PersistAll();
  ASSERT_EQ(rig.Do(AddSlotsCommand{{{0, 16383}}}), "OK");
  Peer a(1, "10.1.0.2"), b(2, "10.1.0.3");
  rig.Join(&a);
  rig.Join(&b);
  b.Claim(0, 0, 1);
  rig.SendRecord(b, b);
  a.Claim(1, 1, 2);
  rig.SendRecord(b, a);
  rig.PersistAll();
  for (int i = 0; i < 20; ++i) {  // until they decide about it
    rig.Run(100);
    Confirm(&rig, a);
    Confirm(&rig, b);
    rig.PersistAll();
  }
  rig.Run(2 * kTimeout);
  ASSERT_NE(rig.Last<WritableUntilEffect>(), nullptr);
  ASSERT_LE(rig.Last<WritableUntilEffect>()->mono_ms, rig.now.mono_ms);
  a.Claim(0, 16383, 9);
  rig.SendRecord(b, a);
  EXPECT_LE(rig.Last<WritableUntilEffect>()->mono_ms, rig.now.mono_ms) << "the data plane still has the slots";
  rig.Fence();
  rig.PersistAll();
  EXPECT_GT(rig.Last<WritableUntilEffect>()->mono_ms, rig.now.mono_ms);
}

// A reset answers when the data plane has let go of the slots, not before.
TEST(Word, AResetWaitsForTheFence) {
  Rig rig(WithTimeout(kTimeout));
  rig.Tick();
  rig.PersistAll();
  ASSERT_EQ(rig.Do(AddSlotsCommand{{{0, 16383}}}), "OK");
  std::string id = rig.topology().me().id();
  uint64_t request = rig.Command(ResetCommand{true, false});
  rig.PersistAll();
  EXPECT_EQ(rig.ReplyTo(request), nullptr);
  EXPECT_EQ(rig.topology().me().id(), id);
  rig.Fence();
  rig.PersistAll();
  ASSERT_NE(rig.ReplyTo(request), nullptr);
  EXPECT_NE(rig.topology().me().id(), id);
}

}  // namespace
}  // namespace skein::bus
