// Seeds: names that are resolved again and again, and what they may bring about.
#include <gtest/gtest.h>

#include <set>

#include "bus/engine/limits.h"
#include "bus/engine/rig.h"

namespace skein::bus {
namespace {

using proto::BusMessage;

Rig Started(const std::string& host = "members") {
  EngineOptions options;
  options.node_timeout_ms = 2000;
  options.seeds = {{host, 17000}};
  Rig rig(options);
  rig.Tick();
  rig.PersistAll();
  return rig;
}

// Ticks until a name is asked for; its id, 0 if it is not within `ms`.
uint64_t AwaitLookup(Rig* rig, int64_t ms = 20000) {
  for (; ms > 0; ms -= 100) {
    size_t before = rig->effects.size();
    rig->Tick();
    for (size_t i = before; i < rig->effects.size(); ++i) {
      if (const auto* resolve = std::get_if<ResolveEffect>(&rig->effects[i])) return resolve->id;
    }
  }
  return 0;
}

std::vector<DialEffect> Dials(const Rig& rig, size_t from) {
  std::vector<DialEffect> dials;
  for (size_t i = from; i < rig.effects.size(); ++i) {
    if (const auto* dial = std::get_if<DialEffect>(&rig.effects[i])) dials.push_back(*dial);
  }
  return dials;
}

LinkId DialTo(const Rig& rig, const std::string& ip) {
  for (const DialEffect& dial : Dials(rig, 0)) {
    if (dial.ip == ip) return dial.link;
  }
  return 0;
}

BusMessage WelcomeFrom(const Peer& peer, bool known, bool fresh) {
  BusMessage m;
  m.mutable_welcome()->set_id(peer.id());
  m.mutable_welcome()->set_known(known);
  m.mutable_welcome()->set_fresh(fresh);
  m.mutable_welcome()->set_record(peer.record.SerializeAsString());
  return m;
}

BusMessage Introduction(const Peer& peer, bool fresh) {
  BusMessage m;
  m.mutable_hello()->set_id(peer.id());
  m.mutable_hello()->set_introduce(true);
  m.mutable_hello()->set_fresh(fresh);
  m.mutable_hello()->set_record(peer.record.SerializeAsString());
  return m;
}

// The engine finds `peer` by its seed, which answers so.
void Find(Rig* rig, const Peer& peer, bool fresh) {
  uint64_t id = AwaitLookup(rig);
  ASSERT_NE(id, 0u);
  rig->Step(ResolvedEvent{id, {peer.ip}});
  LinkId link = DialTo(*rig, peer.ip);
  ASSERT_NE(link, 0u);
  rig->Step(LinkUpEvent{link});
  rig->Receive(WelcomeFrom(peer, false, fresh), link, peer.ip);
}

TEST(Seeds, ANodeThatKnowsNobodyGreetsWhomItFinds) {
  Rig rig = Started();
  uint64_t id = AwaitLookup(&rig, 2000);
  ASSERT_NE(id, 0u);
  EXPECT_EQ(rig.Last<ResolveEffect>()->host, "members");
  size_t before = rig.effects.size();
  rig.Step(ResolvedEvent{id, {"10.1.0.2", "fd00::2"}});
  auto dials = Dials(rig, before);
  ASSERT_EQ(dials.size(), 2u);
  EXPECT_EQ(dials[0].ip, "10.1.0.2");
  EXPECT_EQ(dials[1].ip, "fd00::2");
  EXPECT_EQ(dials[1].bus_port, 17000);
  rig.Step(LinkUpEvent{dials[0].link});
  auto hello = rig.Sent(BusMessage::kHello, before);
  ASSERT_EQ(hello.size(), 1u);
  EXPECT_TRUE(hello[0]->hello().introduce());
  EXPECT_TRUE(hello[0]->hello().fresh());
  EXPECT_FALSE(hello[0]->hello().meet());
  EXPECT_EQ(rig.topology().nodes.size(), 1u) << "what is only being tried is not shown";
  Peer a(1, "10.1.0.2");
  a.Claim(0, 16383, 1);
  rig.Receive(WelcomeFrom(a, false, false), dials[0].link, a.ip);
  ASSERT_NE(rig.Find(a.hex()), nullptr);
  EXPECT_EQ(rig.Do(SetConfigEpochCommand{7}).substr(0, 3), "ERR");
}

TEST(Seeds, NumericOnesNeedNoLookup) {
  Rig rig = Started("10.1.0.2");
  rig.Run(2000);
  EXPECT_EQ(rig.Last<ResolveEffect>(), nullptr);
  EXPECT_NE(DialTo(rig, "10.1.0.2"), 0u);
}

TEST(Seeds, TheyAreAskedEverMoreSeldomAndNeverGivenUp) {
  Rig rig = Started();
  std::vector<int64_t> asked;
  while (rig.now.mono_ms < 600000) {
    uint64_t id = AwaitLookup(&rig, 30000);
    ASSERT_NE(id, 0u) << "after " << asked.size();
    asked.push_back(rig.now.mono_ms);
    rig.Step(ResolvedEvent{id, {}});
  }
  EXPECT_GT(asked.size(), 600u / 15);
  EXPECT_LT(asked.size(), 600u / 7 + 10);
  std::set<int64_t> waits;
  for (size_t i = asked.size() - 20; i < asked.size(); ++i) waits.insert(asked[i] - asked[i - 1]);
  EXPECT_GT(waits.size(), 5u) << "no jitter";
}

TEST(Seeds, NobodyIsAskedWhileAllMembersAreInReach) {
  Rig rig = Started();
  Peer a(1, "10.1.0.2");
  rig.Join(&a);
  BusMessage ping;
  for (int i = 0; i < 600; ++i) {
    rig.Tick();
    ping.mutable_ping()->set_seq(static_cast<uint64_t>(i) + 1);
    rig.Receive(ping, a.in, a.ip);
    rig.Pong(a, rig.Sent(BusMessage::kPing).empty() ? 0 : rig.Sent(BusMessage::kPing).back()->ping().seq());
  }
  size_t before = rig.effects.size();
  EXPECT_EQ(AwaitLookup(&rig, 1000), 0u) << before;
}

TEST(Seeds, TwoClustersStayTwo) {
  Rig rig = Started();
  ASSERT_EQ(rig.Do(AddSlotsCommand{{{0, 16383}}}), "OK");
  Peer other(1, "10.1.0.2"), fresh(2, "10.1.0.3");
  other.Claim(0, 16383, 9);
  Find(&rig, other, false);
  EXPECT_EQ(rig.Find(other.hex()), nullptr);
  EXPECT_STREQ(rig.Last<CloseEffect>()->reason, "another cluster");
  EXPECT_EQ(rig.engine->sizes().strangers, 1u);
  EXPECT_EQ(rig.topology().current_epoch, 0u);
  // Nor does it get in by greeting us, whatever it then says of whom it knows.
  size_t before = rig.effects.size();
  LinkId in = rig.Receive(Introduction(other, false), 0, other.ip);
  EXPECT_TRUE(Dials(rig, before).empty());
  ASSERT_EQ(rig.Sent(BusMessage::kWelcome, before).size(), 1u);
  EXPECT_FALSE(rig.Sent(BusMessage::kWelcome, before)[0]->welcome().known());
  EXPECT_FALSE(rig.Sent(BusMessage::kWelcome, before)[0]->welcome().fresh());
  rig.SendRecord(other, other);
  BusMessage m;
  m.mutable_records()->add_record(other.record.SerializeAsString());
  rig.Receive(m, in, other.ip);
  EXPECT_EQ(rig.engine->sizes().nodes, 1u);
  EXPECT_TRUE(rig.topology().Owns(0));
  // One that claims to be fresh, and no longer is when we call it back.
  before = rig.effects.size();
  rig.Receive(Introduction(other, true), 0, other.ip);
  ASSERT_EQ(Dials(rig, before).size(), 1u);
  LinkId back = Dials(rig, before)[0].link;
  rig.Step(LinkUpEvent{back});
  rig.Receive(WelcomeFrom(other, false, false), back, other.ip);
  EXPECT_EQ(rig.engine->sizes().nodes, 1u);
  // A fresh one is taken.
  before = rig.effects.size();
  rig.Receive(Introduction(fresh, true), 0, fresh.ip);
  ASSERT_EQ(Dials(rig, before).size(), 1u);
  back = Dials(rig, before)[0].link;
  rig.Step(LinkUpEvent{back});
  rig.Receive(WelcomeFrom(fresh, true, false), back, fresh.ip);
  rig.Run(300);
  EXPECT_NE(rig.Find(fresh.hex()), nullptr);
}

TEST(Seeds, AFreshNodeJoinsOneClusterOnly) {
  Rig rig = Started();
  Peer a(1, "10.1.0.2"), b(2, "10.1.0.3");  // of two clusters, both without slots of their own
  uint64_t id = AwaitLookup(&rig);
  rig.Step(ResolvedEvent{id, {a.ip, b.ip}});
  rig.Step(LinkUpEvent{DialTo(rig, a.ip)});
  rig.Step(LinkUpEvent{DialTo(rig, b.ip)});
  rig.Receive(WelcomeFrom(a, false, false), DialTo(rig, a.ip), a.ip);
  rig.Receive(WelcomeFrom(b, false, false), DialTo(rig, b.ip), b.ip);
  EXPECT_NE(rig.Find(a.hex()), nullptr);
  EXPECT_EQ(rig.Find(b.hex()), nullptr);
}

TEST(Seeds, AForgottenNodeStaysForgotten) {
  Rig rig = Started();
  Peer a(1, "10.1.0.2");
  rig.Join(&a);
  ASSERT_EQ(rig.Do(ForgetCommand{a.hex()}), "OK");
  size_t before = rig.effects.size();
  rig.Receive(Introduction(a, true), 0, a.ip);
  EXPECT_TRUE(Dials(rig, before).empty());
  uint64_t id = AwaitLookup(&rig);
  before = rig.effects.size();
  rig.Step(ResolvedEvent{id, {a.ip}});
  ASSERT_EQ(Dials(rig, before).size(), 1u);
  rig.Step(LinkUpEvent{Dials(rig, before)[0].link});
  rig.Receive(WelcomeFrom(a, false, true), Dials(rig, before)[0].link, a.ip);
  EXPECT_EQ(rig.Find(a.hex()), nullptr);
}

TEST(Seeds, AMemberIsRecognisedAtItsNewAddress) {
  Rig rig = Started();
  Peer a(1, "10.1.0.2");
  rig.Join(&a);
  rig.Step(LinkDownEvent{a.in});
  rig.Step(LinkDownEvent{a.out});
  uint64_t id = AwaitLookup(&rig);
  ASSERT_NE(id, 0u);
  rig.Step(ResolvedEvent{id, {"10.7.0.7"}});
  LinkId link = DialTo(rig, "10.7.0.7");
  ASSERT_NE(link, 0u);
  rig.Step(LinkUpEvent{link});
  size_t before = rig.effects.size();
  rig.Receive(WelcomeFrom(a, true, false), link, "10.7.0.7");
  EXPECT_EQ(rig.Sent(BusMessage::kPing, before).size(), 1u) << "its link is the node's now";
  rig.Tick();
  EXPECT_TRUE(rig.Find(a.hex())->link_up);
  EXPECT_EQ(rig.engine->sizes().nodes, 2u);
  EXPECT_EQ(rig.engine->sizes().outbound, 1u);
}

TEST(Seeds, L41_L42_AnswersAreBoundedCheckedAndNeverLate) {
  Rig rig = Started();
  std::vector<Seed> many;
  for (int i = 0; i < 65; ++i) many.push_back({"h" + std::to_string(i), 17000});
  EXPECT_EQ(rig.Do(SeedsCommand{many}), "ERR more than 64 cluster-seeds");
  many.pop_back();
  ASSERT_EQ(rig.Do(SeedsCommand{many}), "OK");
  uint64_t id = AwaitLookup(&rig);
  rig.Run(5000);
  EXPECT_EQ(rig.engine->sizes().lookups, kMaxLookups);
  std::vector<std::string> ips;
  for (int i = 0; i < 1000; ++i) ips.push_back("10.8." + std::to_string(i / 250) + "." + std::to_string(i % 250));
  size_t before = rig.effects.size();
  rig.Step(ResolvedEvent{id, ips});
  EXPECT_EQ(Dials(rig, before).size(), kMaxSeedAddresses);
  uint64_t late = rig.engine->stats().late_events;
  before = rig.effects.size();
  rig.Step(ResolvedEvent{id, {"10.9.0.1"}});
  rig.Step(ResolvedEvent{123456, {"10.9.0.1"}});
  EXPECT_EQ(rig.engine->stats().late_events, late + 2);
  for (uint64_t next = id + 1; next < id + kMaxLookups; ++next) {
    rig.Step(ResolvedEvent{next, {"", "members", "1.2.3.4\n", std::string(100, '1')}});
  }
  EXPECT_TRUE(Dials(rig, before).empty());
  for (int i = 0; i < 300; ++i) {
    if (uint64_t next = AwaitLookup(&rig, 1000)) rig.Step(ResolvedEvent{next, ips});
  }
  EXPECT_LE(rig.engine->sizes().handshakes, kMaxHandshakes);
  EXPECT_LE(rig.engine->sizes().lookups, kMaxLookups);
}

TEST(Seeds, OnesOwnAddressIsNotGreetedAgain) {
  Rig rig = Started();
  uint64_t id = AwaitLookup(&rig);
  rig.Step(ResolvedEvent{id, {"10.1.0.1"}});
  LinkId link = DialTo(rig, "10.1.0.1");
  rig.Step(LinkUpEvent{link});
  BusMessage m;
  m.mutable_welcome()->set_id(rig.Sent(BusMessage::kHello).back()->hello().id());
  rig.Receive(m, link, "10.1.0.1");
  EXPECT_STREQ(rig.Last<CloseEffect>()->reason, "self");
  size_t before = rig.effects.size();
  id = AwaitLookup(&rig);
  rig.Step(ResolvedEvent{id, {"10.1.0.1"}});
  EXPECT_TRUE(Dials(rig, before).empty());
}

}  // namespace
}  // namespace skein::bus
