// Suspicion: who is suspected when, what is said of it, and what dead members cost.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "bus/engine/limits.h"
#include "bus/engine/rig.h"

namespace skein::bus {
namespace {

using proto::BusMessage;

constexpr int64_t kTimeout = 2000;

// A node among `n` peers, each an owner of slots, of which the test plays those that answer.
class Cluster {
 public:
  explicit Cluster(size_t n) : rig(Options()) {
    rig.Tick();
    rig.PersistAll();
    answers.assign(n, true);
    for (size_t i = 0; i < n; ++i) {
      peers.emplace_back(i + 1, "10.1.0." + std::to_string(i + 2));
      rig.Join(&peers.back());
      uint32_t slot = static_cast<uint32_t>(i);
      peers.back().Claim(slot, slot, i + 1);
      rig.SendRecord(peers.back(), peers.back());
      Run(100);
    }
    rig.Do(AddSlotsCommand{{{static_cast<uint16_t>(n), 16383}}});
    Run(kTimeout);
  }

  // The node's ticks come each `step` ms; peers answer its pings at once.
  void Run(int64_t ms, int64_t step = 100) {
    for (; ms > 0; ms -= step) {
      rig.Tick(step);
      for (; looked_at < rig.effects.size(); ++looked_at) {
        const auto* send = std::get_if<SendEffect>(&rig.effects[looked_at]);
        if (send == nullptr || !send->message->has_ping()) continue;
        const uint64_t seq = send->message->ping().seq();
        const LinkId link = send->link;  // an answer adds effects
        for (size_t p = 0; p < peers.size(); ++p) {
          if (peers[p].out == link && answers[p]) rig.Pong(peers[p], seq);
        }
      }
      rig.PersistAll();
    }
  }
  size_t Suspects() const {
    size_t n = 0;
    for (const TopologyNode& node : rig.topology().nodes) n += node.pfail || node.fail;
    return n;
  }

  static EngineOptions Options() {
    EngineOptions options;
    options.node_timeout_ms = kTimeout;
    return options;
  }
  Rig rig;
  std::vector<Peer> peers;
  std::vector<bool> answers;
  size_t looked_at = 0;  // of the effects
};

TEST(Failure, SilenceForTheTimeoutIsSuspectedAndSoonAfterThat) {
  Cluster c(6);
  c.answers[0] = false;
  // Its last sign of life may have been a little before the test silenced it.
  c.Run(kTimeout * 6 / 10);
  EXPECT_EQ(c.Suspects(), 0u);
  c.Run(kTimeout * 5 / 10);
  EXPECT_EQ(c.Suspects(), 1u);
}

TEST(Failure, ANodeThatIsLateItselfWaitsLongerButNotForEver) {
  Cluster c(6);
  c.answers[0] = false;
  c.Run(kTimeout * 2, 400);
  EXPECT_EQ(c.Suspects(), 0u);
  c.Run(kTimeout * 3, 400);
  EXPECT_EQ(c.Suspects(), 1u);
  EXPECT_EQ(c.rig.topology().nodes.size(), 7u);
}

TEST(Failure, ANodeToWhichNobodyAnswersDoubtsItself) {
  Cluster c(8);
  c.answers.assign(8, false);
  c.Run(kTimeout * 14 / 10);
  EXPECT_EQ(c.Suspects(), 0u);
  c.Run(kTimeout * 3);
  EXPECT_EQ(c.Suspects(), 8u);
}

TEST(Failure, AStallOfItsOwnDataPlaneMakesItDoubtItself) {
  Cluster c(6);
  c.rig.Step(DataPlaneEvent{{}, false});
  c.Run(kTimeout);
  c.answers[0] = false;
  c.Run(kTimeout * 2);
  EXPECT_EQ(c.Suspects(), 0u);
}

TEST(Failure, SuspicionsOfATickAreOneMessageAVoter) {
  Cluster c(20);
  for (size_t i = 0; i < 8; ++i) c.answers[i] = false;
  size_t named = 0;
  for (int64_t ms = 0; ms < 2 * kTimeout; ms += 100) {
    size_t before = c.rig.effects.size();
    c.Run(100);
    std::map<LinkId, int> messages;
    for (size_t i = before; i < c.rig.effects.size(); ++i) {
      const auto* send = std::get_if<SendEffect>(&c.rig.effects[i]);
      if (send == nullptr || !send->message->has_suspicions()) continue;
      EXPECT_EQ(++messages[send->link], 1);
      if (send->link == c.peers[19].out) named += send->message->suspicions().suspect_size();
    }
  }
  ASSERT_EQ(c.Suspects(), 8u);
  EXPECT_GE(named, 8u);
}

TEST(Failure, AFailureIsToldOnceAndReportsOfItAreNotKeptForEver) {
  Cluster c(6);
  size_t before = c.rig.effects.size();
  c.answers[0] = false;
  c.Run(kTimeout * 15 / 10);
  ASSERT_EQ(c.Suspects(), 1u);
  BusMessage m;
  m.mutable_suspicions()->add_suspect(c.peers[0].id());
  for (size_t i = 1; i < 6; ++i) c.rig.Receive(m, c.peers[i].in, c.peers[i].ip);
  c.rig.Tick();
  EXPECT_TRUE(c.rig.Find(c.peers[0].hex())->fail);
  EXPECT_LE(c.rig.Sent(BusMessage::kFailed, before).size(), 6u) << "one to each";
  EXPECT_GE(c.rig.Sent(BusMessage::kFailed, before).size(), 5u);
}

TEST(Failure, AReportCountsForTwoTimeouts) {
  Cluster c(6);
  BusMessage m;
  m.mutable_suspicions()->add_suspect(c.peers[0].id());
  for (size_t i = 1; i < 4; ++i) c.rig.Receive(m, c.peers[i].in, c.peers[i].ip);
  EXPECT_EQ(c.rig.Do(CountFailureReportsCommand{c.peers[0].hex()}), "3");
  c.Run(2 * kTimeout - 300);
  EXPECT_EQ(c.rig.Do(CountFailureReportsCommand{c.peers[0].hex()}), "3");
  c.rig.Receive(m, c.peers[1].in, c.peers[1].ip);
  c.Run(600);
  EXPECT_EQ(c.rig.Do(CountFailureReportsCommand{c.peers[0].hex()}), "1");
  // Nor do they with this node's own word: of seven four must agree at the same time.
  c.rig.Receive(m, c.peers[2].in, c.peers[2].ip);
  c.Run(2 * kTimeout);
  c.answers[0] = false;
  c.Run(kTimeout + kTimeout / 2);
  ASSERT_TRUE(c.rig.Find(c.peers[0].hex())->pfail);
  c.rig.Receive(m, c.peers[4].in, c.peers[4].ip);
  EXPECT_FALSE(c.rig.Find(c.peers[0].hex())->fail);
}

TEST(Failure, L44_WhatTheGoneHaveReportedGoesWithThem) {
  Cluster c(6);
  BusMessage m;
  m.mutable_suspicions()->add_suspect(c.peers[0].id());
  for (size_t i = 1; i < 3; ++i) c.rig.Receive(m, c.peers[i].in, c.peers[i].ip);
  EXPECT_EQ(c.rig.engine->sizes().reports, 2u);
  ASSERT_EQ(c.rig.Do(ForgetCommand{c.peers[1].hex()}), "OK");
  EXPECT_EQ(c.rig.engine->sizes().reports, 1u);
}

TEST(Failure, WhoDoesNotDecideAboutANodeIsNotCounted) {
  Rig rig(Cluster::Options());
  rig.Tick();
  rig.PersistAll();
  Peer a(1, "10.1.0.2"), b(2, "10.1.0.3"), x(3, "10.1.0.4");
  for (Peer* peer : {&a, &b, &x}) rig.Join(peer);
  a.record.set_own_electorate(true);
  a.record.add_witnesses(b.id());
  a.record.add_witnesses(NodeId::FromHex(rig.topology().me().id())->Bytes());
  a.Claim(0, 8000, 1);
  x.Claim(8001, 16383, 2);
  b.record.set_primary_id(a.id());
  b.record.set_version(2);
  for (Peer* peer : {&a, &b, &x}) rig.SendRecord(*peer, *peer);
  BusMessage m;
  m.mutable_suspicions()->add_suspect(a.id());
  rig.Receive(m, x.in, x.ip);  // an owner, but not of a's electorate
  EXPECT_EQ(rig.Do(CountFailureReportsCommand{a.hex()}), "0");
  rig.Receive(m, b.in, b.ip);
  EXPECT_EQ(rig.Do(CountFailureReportsCommand{a.hex()}), "1");
}

TEST(Failure, HundredsOfDeadMembersCostNextToNothing) {
  Rig first(Cluster::Options());
  first.Tick();
  first.PersistAll();
  auto state = std::make_shared<proto::NodeState>(*first.Last<PersistEffect>()->state);
  for (uint64_t i = 0; i < 500; ++i) {
    Peer dead(i + 1, "10.2." + std::to_string(i / 250) + "." + std::to_string(i % 250));
    state->add_nodes()->set_record(dead.record.SerializeAsString());
  }
  Rig rig(Cluster::Options(), state);
  Peer a(1001, "10.1.0.2"), b(1002, "10.1.0.3");
  rig.Tick();
  rig.PersistAll();
  auto run = [&](int64_t ms) {
    size_t dials = 0;
    for (; ms > 0; ms -= 100) {
      rig.Clear();
      rig.Tick();
      std::vector<LinkId> refused;
      for (const Effect& e : rig.effects) {
        if (const auto* dial = std::get_if<DialEffect>(&e)) refused.push_back(dial->link);
      }
      EXPECT_LE(refused.size(), 64u) << "in one tick";
      for (LinkId link : refused) rig.Step(LinkDownEvent{link});
      dials += refused.size();
    }
    return dials;
  };
  EXPECT_LE(run(1000), 700u);
  run(60000);
  // Not voters, so nobody calls them failed: they are dialled with back-off alone.
  EXPECT_LE(run(10000), 500u * 10 / 2);
  EXPECT_GE(run(10000), 500u * 10 / 4) << "and never given up";
  EXPECT_LE(rig.engine->sizes().gone_links, kMaxGoneLinks);
  EXPECT_EQ(rig.engine->sizes().outbound, 0u);
  // Once they are known to have failed, forty a second are tried at most.
  rig.Join(&a);
  a.Claim(0, 16383, 1);
  rig.SendRecord(a, a);
  BusMessage m;
  for (uint64_t i = 0; i < 500; ++i) m.mutable_failed()->add_id(Peer(i + 1).id());
  rig.Receive(m, a.in, a.ip);
  size_t failed = 0;
  rig.Run(1000);
  for (const TopologyNode& node : rig.topology().nodes) failed += node.fail;
  EXPECT_EQ(failed, 500u);
  EXPECT_LE(run(10000), 410u);
}

// Who decides nothing is asked by the rounds alone, if others bring no word of it; a long round does not make that late.
TEST(Failure, NobodyIsUnheardForLongInALargeCluster) {
  EngineOptions options = Cluster::Options();
  options.small_cluster = 4;
  Rig rig(options);
  rig.Tick();
  rig.PersistAll();
  std::vector<Peer> peers;
  for (size_t i = 0; i < 30; ++i) {
    peers.emplace_back(i + 1, "10.1.0." + std::to_string(i + 2));
    rig.Join(&peers.back());
  }
  std::vector<int64_t> asked(peers.size(), 0);
  int64_t longest = 0;
  size_t looked_at = 0;
  for (int64_t ms = 0; ms < 20 * kTimeout; ms += 100) {
    rig.Tick();
    for (; looked_at < rig.effects.size(); ++looked_at) {
      const auto* send = std::get_if<SendEffect>(&rig.effects[looked_at]);
      if (send == nullptr || !send->message->has_ping()) continue;
      const uint64_t seq = send->message->ping().seq();
      const LinkId link = send->link;
      for (size_t p = 0; p < peers.size(); ++p) {
        if (peers[p].out != link) continue;
        if (asked[p] != 0) longest = std::max(longest, rig.now.mono_ms - asked[p]);
        asked[p] = rig.now.mono_ms;
        rig.Pong(peers[p], seq);
      }
    }
    rig.PersistAll();
  }
  EXPECT_GT(*std::min_element(asked.begin(), asked.end()), 0);
  EXPECT_LE(longest, kTimeout * 9 / 16 + 100);
}

}  // namespace
}  // namespace skein::bus
