// Peers that come and go without end, and members that lie about others: nothing stays behind.
#include <gtest/gtest.h>
#include <malloc.h>
#include <stdio.h>

#include "bus/engine/limits.h"
#include "bus/engine/rig.h"
#include "tests/sanitized.h"

namespace skein::bus {
namespace {

using proto::BusMessage;

Rig Started() {
  EngineOptions options;
  options.node_timeout_ms = 2000;
  Rig rig(options);
  rig.Tick();
  rig.PersistAll();
  return rig;
}

int64_t ResidentBytes() {
  malloc_trim(0);
  long size = 0, resident = 0;
  FILE* file = fopen("/proc/self/statm", "r");
  if (file == nullptr || fscanf(file, "%ld %ld", &size, &resident) != 2) resident = -1;
  if (file != nullptr) fclose(file);
  return resident * 4096;
}

// Members told of by another member, met, linked, suspected, failed, and then all forgotten by a reset.
TEST(Churn, L39_L41_L44_AMillionPeersComeAndGo) {
  constexpr uint64_t kCycles = kSanitized ? 20 : 1000, kPeers = kSanitized ? 100 : 1000;
  Rig rig = Started();
  Random random(99);
  int64_t first = 0;
  for (uint64_t cycle = 1; cycle <= kCycles; ++cycle) {
    Peer a(7, "10.1.0.2");
    rig.Join(&a);
    BusMessage m, failed;
    Peer peer(1, "10.2.0.1");
    for (uint64_t i = 0; i < kPeers; ++i) {
      peer.record.set_id(NodeId::Make(&random).Bytes());
      peer.record.SerializeToString(m.mutable_records()->add_record());
      if (i % 2 == 0) failed.mutable_failed()->add_id(peer.record.id());
    }
    rig.Receive(m, a.in, a.ip);
    ASSERT_EQ(rig.engine->sizes().nodes, kPeers + 2);
    rig.Receive(failed, a.in, a.ip);
    LinkId newest = rig.Last<DialEffect>()->link;
    rig.Tick();
    ASSERT_EQ(rig.Do(ResetCommand{false, false}), "OK");
    // What comes late for the gone brings nothing back.
    rig.Step(LinkUpEvent{newest});
    rig.Step(LinkDownEvent{newest});
    rig.Receive(m, a.in, a.ip);
    EngineSizes s = rig.engine->sizes();
    ASSERT_EQ(s.nodes, 1u);
    ASSERT_EQ(s.inbound + s.outbound + s.handshakes + s.news + s.reports, 0u);
    ASSERT_LE(s.gone_links, kMaxGoneLinks);
    ASSERT_LE(s.forgotten, kMaxForgotten);
    rig.Clear();
    // The memory of the gone is full by then, and stays so.
    if (cycle == kCycles / 2) first = ResidentBytes();
  }
  if (!kSanitized) {
    // One percent of a process as small as this is a few pages; tables may double once more.
    EXPECT_LE(ResidentBytes(), first + first / 100 + (512 << 10));
  }
}

TEST(Churn, L41_AMillionForgottenNodesAreABoundedMemory) {
  Rig rig = Started();
  Peer a(7, "10.1.0.2");
  rig.Join(&a);
  Random random(5);
  const uint64_t count = kSanitized ? 40000 : 1000000;
  BusMessage m;
  m.mutable_forgotten()->set_ttl_ms(60000);
  for (uint64_t i = 0; i < count; ++i) {
    m.mutable_forgotten()->set_id(NodeId::Make(&random).Bytes());
    rig.Receive(m, a.in, a.ip);
    if (i % 1000 == 0) rig.Clear();
  }
  EXPECT_EQ(rig.engine->sizes().forgotten, kMaxForgotten);
  EXPECT_EQ(rig.engine->sizes().nodes, 2u);
}

TEST(Lies, ARecordOfOursThatWeDidNotIssueIsSpokenOver) {
  Rig rig = Started();
  ASSERT_EQ(rig.Do(AddSlotsCommand{{{0, 16383}}}), "OK");
  Peer a(1, "10.1.0.2");
  rig.Join(&a);
  proto::NodeRecord forged;
  ASSERT_TRUE(forged.ParseFromString(rig.Last<PersistEffect>()->state->own_record()));
  forged.set_version(forged.version() + 100);
  forged.clear_slot_ranges();
  forged.clear_slot_bitmap();
  forged.set_ip("10.6.6.6");
  BusMessage m;
  m.mutable_records()->add_record(forged.SerializeAsString());
  size_t before = rig.effects.size();
  rig.Receive(m, a.in, a.ip);
  rig.PersistAll();
  rig.Tick();
  EXPECT_TRUE(rig.topology().Owns(0)) << "the slots are still ours";
  EXPECT_NE(rig.topology().me().ip(), "10.6.6.6");
  uint64_t said = 0;
  for (const auto& sent : rig.Sent(BusMessage::kRecords, before)) {
    for (const std::string& bytes : sent->records().record()) {
      proto::NodeRecord record;
      if (record.ParseFromString(bytes) && record.id() == forged.id()) said = std::max(said, record.version());
    }
  }
  EXPECT_GT(said, forged.version()) << "and everyone is told so";
}

// Spoken over, it would leave no versions to go on with.
TEST(Lies, AnAbsurdVersionOfOurRecordIsIgnored) {
  Rig rig = Started();
  Peer a(1, "10.1.0.2");
  rig.Join(&a);
  auto own = [&] {
    proto::NodeRecord record;
    EXPECT_TRUE(record.ParseFromString(rig.Last<PersistEffect>()->state->own_record()));
    return record;
  };
  proto::NodeRecord forged = own();
  const uint64_t version = forged.version();
  for (uint64_t absurd : {version + kMaxVersionJump + 1, UINT64_MAX}) {
    forged.set_version(absurd);
    forged.set_config_epoch(7);
    BusMessage m;
    m.mutable_records()->add_record(forged.SerializeAsString());
    rig.Receive(m, a.in, a.ip);
    rig.Run(1200);
    rig.PersistAll();
    EXPECT_EQ(own().version(), version);
    EXPECT_EQ(rig.topology().current_epoch, 0u);
  }
  forged.set_version(version + kMaxVersionJump);
  BusMessage m;
  m.mutable_records()->add_record(forged.SerializeAsString());
  rig.Receive(m, a.in, a.ip);
  rig.PersistAll();
  EXPECT_EQ(own().version(), version + kMaxVersionJump + 1);
}

TEST(Lies, AClaimWithoutAHigherEpochTakesNothing) {
  Rig rig = Started();
  ASSERT_EQ(rig.Do(AddSlotsCommand{{{0, 16383}}}), "OK");
  ASSERT_EQ(rig.Do(SetConfigEpochCommand{9}), "OK");
  Peer a(1, "10.1.0.2"), b(2, "10.1.0.3");
  rig.Join(&a);
  rig.Join(&b);
  a.Claim(0, 16383, 8);
  rig.SendRecord(b, a);  // told by another, in a's name
  rig.Tick();
  EXPECT_EQ(rig.topology().me().slot_count, kSlots);
  // An older version of a record changes nothing, whoever tells it.
  proto::NodeRecord newest = a.record;
  a.record.set_version(1);
  a.record.set_ip("10.6.6.6");
  rig.SendRecord(b, a);
  rig.Tick();
  EXPECT_EQ(rig.Find(a.hex())->ip(), newest.ip());
}

TEST(Lies, AFailureToldOfTheTellerOrOfUsOrOfNobodyIsNone) {
  Rig rig = Started();
  Peer a(1, "10.1.0.2"), b(2, "10.1.0.3"), stranger(3);
  rig.Join(&a);
  rig.Join(&b);
  BusMessage m;
  m.mutable_failed()->add_id(a.id());
  m.mutable_failed()->add_id(NodeId::FromHex(rig.topology().me().id())->Bytes());
  m.mutable_failed()->add_id(stranger.id());
  rig.Receive(m, a.in, a.ip);
  rig.Tick();
  for (const TopologyNode& node : rig.topology().nodes) EXPECT_FALSE(node.fail) << node.id();
  EXPECT_EQ(rig.topology().nodes.size(), 3u);
}

TEST(Lies, L42_AgesThatDoNotFitAreIgnored) {
  Rig rig = Started();
  Peer a(1, "10.1.0.2"), b(2, "10.1.0.3");
  rig.Join(&a);
  rig.Join(&b);
  BusMessage m;
  auto pings = rig.Sent(BusMessage::kPing);
  const proto::View* view = nullptr;
  for (const auto& ping : pings) {
    if (ping->ping().has_view() && ping->ping().view().node_count() == 3) view = &ping->ping().view();
  }
  ASSERT_NE(view, nullptr);
  auto heard = [&] { return rig.Find(b.hex())->pong_received_ms; };
  auto feed = [&](auto change) {
    m.mutable_ping()->set_seq(1);
    *m.mutable_ping()->mutable_view() = *view;
    m.mutable_ping()->mutable_view()->set_ages(std::string(2, '\0'));  // all heard of just now
    change(m.mutable_ping()->mutable_view());
    rig.Receive(m, a.in, a.ip);
    rig.Run(1100);
    return heard();
  };
  int64_t old = heard();
  using V = proto::View;
  EXPECT_EQ(feed([](V* v) { v->set_age_first(3); }), old);
  EXPECT_EQ(feed([](V* v) { v->set_age_first(UINT32_MAX); }), old);
  EXPECT_EQ(feed([](V* v) { v->set_age_count(1000000); }), old);
  EXPECT_EQ(feed([](V* v) { v->set_ages(std::string(100000, '\0')); }), old);
  EXPECT_EQ(feed([](V* v) { v->set_age_unit_ms(0); }), old);
  EXPECT_EQ(feed([](V* v) { v->set_members(v->members() + 1); }), old);
  EXPECT_GT(feed([](V*) {}), old);
}

}  // namespace
}  // namespace skein::bus
