// What strangers, liars and the late may not do.
#include <gtest/gtest.h>

#include <algorithm>

#include "bus/engine/gone.h"
#include "bus/engine/limits.h"
#include "bus/engine/rig.h"

namespace skein::bus {
namespace {

using proto::BusMessage;

Rig Started() {
  Rig rig;
  rig.Tick();
  rig.PersistAll();
  return rig;
}

BusMessage HelloFrom(const Peer& peer, bool meet) {
  BusMessage m;
  m.mutable_hello()->set_id(peer.id());
  m.mutable_hello()->set_meet(meet);
  m.mutable_hello()->set_record(peer.record.SerializeAsString());
  return m;
}

TEST(Hostile, L41_AForgottenNodeIsNotBroughtBackByLateWords) {
  Rig rig = Started();
  Peer a(1, "10.1.0.2"), b(2, "10.1.0.3");
  rig.Join(&a);
  rig.Join(&b);
  ASSERT_EQ(rig.topology().nodes.size(), 3u);
  ASSERT_EQ(rig.Do(ForgetCommand{b.hex()}), "OK");
  EXPECT_EQ(rig.topology().nodes.size(), 2u);
  // Its own link is gone; gossip about it and a new Hello from it create nothing.
  EXPECT_NE(rig.Last<CloseEffect>(), nullptr);
  b.record.set_version(99);
  rig.SendRecord(b, b);
  rig.SendRecord(a, b);
  rig.Receive(HelloFrom(b, false), b.in, b.ip);
  rig.Receive(HelloFrom(b, false), 0, b.ip);
  EXPECT_EQ(rig.topology().nodes.size(), 2u);
  EXPECT_EQ(rig.engine->sizes().nodes, 2u);
  EXPECT_EQ(rig.engine->sizes().handshakes, 0u);
  EXPECT_GE(rig.engine->stats().late_events, 2u);
  // Nor is it asked for.
  BusMessage sync;
  sync.mutable_sync()->add_have()->set_id(b.id());
  sync.mutable_sync()->mutable_have(0)->set_version(99);
  rig.Receive(sync, a.in, a.ip);
  for (const auto& sent : rig.Sent(BusMessage::kSync)) EXPECT_EQ(sent->sync().want_size(), 0);
  // Asked again, FORGET answers OK as long as it remembers.
  EXPECT_EQ(rig.Do(ForgetCommand{b.hex()}), "OK");
  rig.Run(kForgetMs);
  EXPECT_EQ(rig.Do(ForgetCommand{b.hex()}), "ERR Unknown node " + b.hex());
}

TEST(Hostile, L41_AClosedLinkStaysClosed) {
  Rig rig = Started();
  Peer a(1, "10.1.0.2");
  rig.Join(&a);
  rig.Step(LinkDownEvent{a.in});
  ASSERT_EQ(rig.engine->sizes().inbound, 0u);
  rig.Receive(HelloFrom(a, false), a.in, a.ip);
  BusMessage ping;
  ping.mutable_ping()->set_seq(1);
  size_t before = rig.effects.size();
  rig.Receive(ping, a.in, a.ip);
  EXPECT_EQ(rig.engine->sizes().inbound, 0u);
  EXPECT_TRUE(rig.Sent(BusMessage::kPong, before).empty());
  rig.Step(LinkDownEvent{a.in});
  rig.Step(LinkUpEvent{a.out + 1000});
  rig.Step(LinkDownEvent{a.out + 1000});
  EXPECT_EQ(rig.engine->sizes().nodes, 2u);
}

TEST(Hostile, L41_TheMemoryOfTheGoneIsBoundedAfterAMillion) {
  GoneMemory<uint64_t> gone(kMaxForgotten);
  for (uint64_t i = 0; i < 1000000; ++i) gone.Add(i, 1000);
  EXPECT_EQ(gone.size(), kMaxForgotten);
  EXPECT_FALSE(gone.Has(0, 0));
  EXPECT_TRUE(gone.Has(999999, 0));
  EXPECT_TRUE(gone.Has(1000000 - kMaxForgotten, 0));
  EXPECT_FALSE(gone.Has(999999, 1000));
  gone.Purge(1000);
  EXPECT_EQ(gone.size(), 0u);
}

TEST(Hostile, L41_LinksThatComeAndGoLeaveNothing) {
  Rig rig = Started();
  for (uint64_t i = 0; i < 50000; ++i) {
    Peer stranger(i + 10, "10.2.0.1");
    LinkId link = rig.Receive(HelloFrom(stranger, false), 0, stranger.ip);
    rig.Step(LinkDownEvent{link});
    rig.effects.clear();
  }
  EngineSizes sizes = rig.engine->sizes();
  EXPECT_EQ(sizes.nodes, 1u);
  EXPECT_EQ(sizes.inbound, 0u);
  EXPECT_EQ(sizes.outbound, 0u);
  EXPECT_EQ(sizes.handshakes, 0u);
  EXPECT_EQ(sizes.gone_links, kMaxGoneLinks);
}

TEST(Hostile, L42_AnEmptyOrMalformedIdMakesNoState) {
  Rig rig = Started();
  Peer a(1, "10.1.0.2");
  rig.Join(&a);
  uint64_t version = rig.topology().version;
  for (const std::string& id : {std::string(), std::string("x"), std::string(19, 'a'), std::string(21, 'a'),
                                std::string(20, '\0'), std::string(40, 'a')}) {
    Peer bad(7, "10.1.0.7");
    bad.record.set_id(id);
    BusMessage hello = HelloFrom(bad, true);
    size_t before = rig.effects.size();
    rig.Receive(hello, 0, bad.ip);
    EXPECT_TRUE(rig.Sent(BusMessage::kWelcome, before).empty());
    rig.SendRecord(a, bad);
    BusMessage m;
    m.mutable_suspicions()->add_suspect(id);
    m.mutable_suspicions()->add_cleared(id);
    rig.Receive(m, a.in, a.ip);
    m.mutable_failed()->add_id(id);
    rig.Receive(m, a.in, a.ip);
    m.mutable_forgotten()->set_id(id);
    m.mutable_forgotten()->set_ttl_ms(1000);
    rig.Receive(m, a.in, a.ip);
    m.mutable_sync()->add_have()->set_id(id);
    m.mutable_sync()->add_want(id);
    rig.Receive(m, a.in, a.ip);
    EXPECT_EQ(rig.Do(ForgetCommand{id}), "ERR Unknown node " + id);
  }
  EngineSizes sizes = rig.engine->sizes();
  EXPECT_EQ(sizes.nodes, 2u);
  EXPECT_EQ(sizes.handshakes, 0u);
  EXPECT_EQ(sizes.forgotten, 0u);
  EXPECT_EQ(sizes.reports, 0u);
  EXPECT_EQ(rig.topology().nodes.size(), 2u);
  EXPECT_GE(rig.topology().version, version);
  EXPECT_GE(rig.engine->stats().messages_refused, 6u);
  EXPECT_GE(rig.engine->stats().records_refused, 6u);
}

TEST(Hostile, AStrangersWordsChangeNothing) {
  Rig rig = Started();
  ASSERT_EQ(rig.Do(AddSlotsCommand{{{0, 16383}}}), "OK");
  Peer a(1, "10.1.0.2"), x(2, "10.6.6.6");
  rig.Join(&a);
  rig.Run(200);
  rig.PersistAll();
  uint64_t epoch = rig.topology().current_epoch;
  x.Claim(0, 16383, 50);
  size_t before = rig.effects.size();
  LinkId link = rig.Receive(HelloFrom(x, false), 0, x.ip);
  auto welcome = rig.Sent(BusMessage::kWelcome, before);
  ASSERT_EQ(welcome.size(), 1u);
  EXPECT_FALSE(welcome[0]->welcome().known());
  before = rig.effects.size();
  BusMessage m;
  m.mutable_records()->add_record(x.record.SerializeAsString());
  rig.Receive(m, link, x.ip);
  m.mutable_ping()->set_seq(1);
  m.mutable_ping()->mutable_view()->set_current_epoch(77);
  rig.Receive(m, link, x.ip);
  m.mutable_failed()->add_id(a.id());
  rig.Receive(m, link, x.ip);
  m.mutable_forgotten()->set_id(a.id());
  m.mutable_forgotten()->set_ttl_ms(1000);
  rig.Receive(m, link, x.ip);
  m.mutable_sync()->set_covered(~uint64_t{0});
  rig.Receive(m, link, x.ip);
  EXPECT_EQ(rig.effects.size(), before);
  EXPECT_EQ(rig.engine->stats().messages_from_strangers, 6u);  // with the Hello
  EXPECT_EQ(rig.topology().current_epoch, epoch);
  EXPECT_EQ(rig.topology().nodes.size(), 2u);
  EXPECT_FALSE(rig.Find(a.hex())->fail);
  EXPECT_TRUE(rig.topology().ok);
  EXPECT_TRUE(rig.topology().Owns(0));
}

TEST(Hostile, StrangersWhoMeetUsHaveACeiling) {
  Rig rig = Started();
  for (uint64_t i = 0; i < 1000; ++i) {
    Peer x(i + 10, "10.3." + std::to_string(i / 250) + "." + std::to_string(i % 250));
    rig.Receive(HelloFrom(x, true), 0, x.ip);
  }
  EXPECT_EQ(rig.engine->sizes().handshakes, kMaxHandshakes);
  rig.Run(16000);
  EXPECT_EQ(rig.engine->sizes().handshakes, 0u);
  EXPECT_EQ(rig.engine->sizes().outbound, 0u);
  EXPECT_EQ(rig.topology().nodes.size(), 1u);
}

TEST(Hostile, AnAbsurdEpochIsRefusedAndCounted) {
  Rig rig = Started();
  Peer a(1, "10.1.0.2");
  rig.Join(&a);
  uint64_t limit = EngineOptions().max_epoch_jump;
  a.Claim(0, 5, limit + 1);
  rig.SendRecord(a, a);
  EXPECT_EQ(rig.engine->stats().epoch_jumps_refused, 1u);
  EXPECT_EQ(rig.topology().owner[0], kNobody);
  BusMessage m;
  m.mutable_ping()->set_seq(1);
  m.mutable_ping()->mutable_view()->set_current_epoch(UINT64_MAX);
  rig.Receive(m, a.in, a.ip);
  EXPECT_EQ(rig.engine->stats().epoch_jumps_refused, 2u);
  EXPECT_EQ(rig.topology().current_epoch, 0u);
  a.Claim(0, 5, limit);
  rig.SendRecord(a, a);
  rig.Tick();
  EXPECT_EQ(rig.topology().current_epoch, limit);
  EXPECT_NE(rig.topology().owner[0], kNobody);
}

// Whatever the order in which its fields are written: one that is known by its beginning is not taken apart.
TEST(Hostile, ARecordOfAnOlderOrTheSameVersionIsNotTaken) {
  Rig rig = Started();
  Peer a(1, "10.1.0.2"), b(2, "10.1.0.3");
  rig.Join(&a);
  b.record.set_version(300);
  rig.SendRecord(a, b);
  auto send = [&](uint64_t version) {
    proto::NodeRecord rest = b.record, id;
    id.set_id(rest.id());
    rest.clear_id();
    rest.set_version(version);
    rest.set_ip("10.6.6.6");
    BusMessage m;
    m.mutable_records()->add_record(rest.SerializeAsString() + id.SerializeAsString());
    rig.Receive(m, a.in, a.ip);
    rig.Run(600);
    return rig.Find(b.hex())->ip();
  };
  EXPECT_EQ(send(299), b.ip);
  EXPECT_EQ(send(300), b.ip);
  EXPECT_EQ(send(301), "10.6.6.6");
  EXPECT_EQ(rig.engine->stats().records_refused, 0u);
}

// Its id and version tell: the rest is not looked at, whatever it is.
TEST(Hostile, ARecordThatIsKnownIsNotTakenApart) {
  Rig rig = Started();
  Peer a(1, "10.1.0.2"), b(2, "10.1.0.3");
  rig.Join(&a);
  b.record.set_version(300);
  rig.SendRecord(a, b);
  ASSERT_EQ(rig.topology().nodes.size(), 3u);
  auto send = [&](uint64_t version) {
    proto::NodeRecord begins;
    begins.set_id(b.id());
    begins.set_version(version);
    BusMessage m;
    m.mutable_records()->add_record(begins.SerializeAsString() + "\xff\xff no record");
    rig.Receive(m, a.in, a.ip);
    return rig.engine->stats().records_refused;
  };
  EXPECT_EQ(send(300), 0u);
  EXPECT_EQ(send(1), 0u);
  EXPECT_EQ(send(301), 1u);
  b.record.set_version(301);
  b.record.set_ip("10.1.0.9");
  rig.SendRecord(a, b);
  rig.Run(600);
  EXPECT_TRUE(std::any_of(rig.topology().nodes.begin(), rig.topology().nodes.end(),
                          [](const TopologyNode& node) { return node.ip() == "10.1.0.9"; }));
}

TEST(Hostile, BadRecordsAreRefused) {
  Rig rig = Started();
  Peer a(1, "10.1.0.2"), b(2, "10.1.0.3");
  rig.Join(&a);
  auto refused = [&](const char* what, auto change) {
    proto::NodeRecord bad = b.record;
    change(&bad);
    uint64_t before = rig.engine->stats().records_refused;
    BusMessage m;
    m.mutable_records()->add_record(bad.SerializeAsString());
    rig.Receive(m, a.in, a.ip);
    EXPECT_EQ(rig.engine->stats().records_refused, before + 1) << what;
    EXPECT_EQ(rig.engine->sizes().nodes, 2u) << what;
  };
  using R = proto::NodeRecord;
  refused("version 0", [](R* r) { r->set_version(0); });
  refused("version far away", [](R* r) { r->set_version(UINT64_MAX); });
  refused("shard id", [](R* r) { r->set_shard_id("abc"); });
  refused("primary id", [](R* r) { r->set_primary_id("abc"); });
  refused("own primary", [](R* r) { r->set_primary_id(r->id()); });
  refused("no bus port", [](R* r) { r->set_bus_port(0); });
  refused("port", [](R* r) { r->set_port(65536); });
  refused("ip", [](R* r) { r->set_ip("evil.example\r\n"); });
  refused("long ip", [](R* r) { r->set_ip(std::string(100, '1')); });
  refused("host name", [](R* r) { r->set_hostname("a b"); });
  refused("long host name", [](R* r) { r->set_hostname(std::string(300, 'a')); });
  refused("odd slots", [](R* r) { r->add_slot_ranges(1); });
  auto slots = [](std::initializer_list<uint32_t> list) {
    return [list](R* r) {
      for (uint32_t s : list) r->add_slot_ranges(s);
    };
  };
  refused("slot out of range", slots({0, 16384}));
  refused("backwards", slots({5, 4}));
  refused("unordered", slots({5, 6, 1, 2}));
  refused("overlapping", slots({5, 6, 6, 7}));
  refused("short bitmap", [](R* r) { r->set_slot_bitmap("abc"); });
  refused("too many ranges", [](R* r) {
    for (uint32_t s = 0; s < 2 * 401; ++s) r->add_slot_ranges(2 * s / 2 * 3);
  });
  refused("a replica with slots", [&](R* r) {
    r->set_primary_id(a.id());
    r->add_slot_ranges(0);
    r->add_slot_ranges(1);
  });
  refused("oversize", [](R* r) { r->set_software(std::string(kMaxRecordBytes, 'x')); });
  BusMessage garbage;
  garbage.mutable_records()->add_record("\xff\xff\xff garbage");
  rig.Receive(garbage, a.in, a.ip);
  EXPECT_EQ(rig.engine->sizes().nodes, 2u);
  rig.SendRecord(a, b);  // and the good one is taken
  EXPECT_EQ(rig.engine->sizes().nodes, 3u);
}

TEST(Hostile, OversizeListsAreRefused) {
  Rig rig = Started();
  Peer a(1, "10.1.0.2");
  rig.Join(&a);
  uint64_t before = rig.engine->stats().messages_refused;
  BusMessage m;
  for (size_t i = 0; i <= kMaxNodes; ++i) m.mutable_suspicions()->add_suspect("x");
  rig.Receive(m, a.in, a.ip);
  for (size_t i = 0; i <= kMaxNodes; ++i) m.mutable_failed()->add_id("x");
  rig.Receive(m, a.in, a.ip);
  for (size_t i = 0; i <= kMaxNodes; ++i) m.mutable_sync()->add_want("x");
  rig.Receive(m, a.in, a.ip);
  m.mutable_sync()->add_buckets(1);
  rig.Receive(m, a.in, a.ip);
  for (size_t i = 0; i <= kMaxNodes; ++i) m.mutable_records()->add_record("");
  rig.Receive(m, a.in, a.ip);
  EXPECT_EQ(rig.engine->stats().messages_refused, before + 5);
}

TEST(Hostile, ALinkCannotChangeItsIdentity) {
  Rig rig = Started();
  Peer a(1, "10.1.0.2"), b(2, "10.1.0.3");
  rig.Join(&a);
  rig.Join(&b);
  rig.Receive(HelloFrom(b, false), a.in, a.ip);
  const auto* close = rig.Last<CloseEffect>();
  ASSERT_NE(close, nullptr);
  EXPECT_EQ(close->link, a.in);
  EXPECT_STREQ(close->reason, "identity changed");
}

TEST(Hostile, ReportsOfNonVotersDoNotCount) {
  Rig rig = Started();
  Peer a(1, "10.1.0.2"), b(2, "10.1.0.3");
  rig.Join(&a);
  rig.Join(&b);
  BusMessage m;
  m.mutable_suspicions()->add_suspect(b.id());
  rig.Receive(m, a.in, a.ip);
  EXPECT_EQ(rig.Do(CountFailureReportsCommand{b.hex()}), "0");
  a.Claim(0, 100, 1);
  rig.SendRecord(a, a);
  rig.Receive(m, a.in, a.ip);
  EXPECT_EQ(rig.Do(CountFailureReportsCommand{b.hex()}), "1");
  m.mutable_suspicions()->clear_suspect();
  m.mutable_suspicions()->add_cleared(b.id());
  rig.Receive(m, a.in, a.ip);
  EXPECT_EQ(rig.Do(CountFailureReportsCommand{b.hex()}), "0");
}

}  // namespace
}  // namespace skein::bus
