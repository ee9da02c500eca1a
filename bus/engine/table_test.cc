// The members one knows: places, ranks and digests stay right whoever comes and goes.
#include "bus/engine/table.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <map>
#include <set>

#include "bus/engine/limits.h"
#include "proto/bus.pb.h"

namespace skein::bus {
namespace {

RecordPtr MakeRecord(const NodeId& id, uint64_t version = 1) {
  Record record;
  record.id = id;
  record.version = version;
  return std::make_shared<const Record>(std::move(record));
}

// What a table says of its members does not depend on the way it came to them.
void ExpectLikeNew(const NodeTable& table, const std::map<NodeId, uint64_t>& versions) {
  NodeTable fresh;
  for (const auto& [id, version] : versions) fresh.Add(MakeRecord(id, version));
  EXPECT_EQ(table.digest(), fresh.digest());
  EXPECT_EQ(table.members(), fresh.members());
  EXPECT_EQ(table.buckets(), fresh.buckets());
  ASSERT_EQ(table.size(), versions.size());
  auto expected = versions.begin();
  for (const auto& node : table.all()) {
    EXPECT_EQ(node->id(), expected->first);
    EXPECT_EQ(node->record().version, expected->second);
    EXPECT_EQ(table.Find(node->id()), node.get());
    EXPECT_EQ(table.FindHex(node->id().Hex()), node.get());
    EXPECT_EQ(table.At(node->index), node.get());
    ++expected;
  }
}

TEST(Table, ManyThatComeChangeAndGo) {
  Random random(1);
  NodeTable table;
  std::map<NodeId, uint64_t> versions;
  std::map<NodeId, int64_t> heard;
  size_t most = 0;
  for (int step = 0; step < 3000; ++step) {
    const uint64_t what = random.Below(10);
    if (versions.empty() || (what < 4 && versions.size() < 60)) {
      const NodeId id = NodeId::Make(&random);
      Node* node = table.Add(MakeRecord(id));
      versions[id] = 1;
      // Whoever had its place before has left nothing there.
      EXPECT_EQ(table.heard_ms(*node), 0);
      EXPECT_EQ(table.confirmed_ms(*node), 0);
      EXPECT_EQ(table.agreed_ms(*node), 0);
      table.heard_ms(*node) = heard[id] = 1 + step;
      table.confirmed_ms(*node) = step + 1;
      table.agreed_ms(*node) = step + 2;
    } else {
      Node* node = table.all()[random.Below(table.size())].get();
      const NodeId id = node->id();
      if (what < 7) {
        table.SetRecord(node, MakeRecord(id, ++versions[id]));
      } else {
        table.Remove(node);
        versions.erase(id);
        heard.erase(id);
      }
    }
    most = std::max(most, table.size());
    EXPECT_EQ(table.places(), most);
    for (const auto& node : table.all()) ASSERT_EQ(table.heard_ms(*node), heard[node->id()]) << step;
    size_t rank = 0;  // those of all, as views tell of them
    for (const auto& [id, ms] : heard) ASSERT_EQ(table.heard()[rank++], ms) << step;
    if (step % 50 == 0) ExpectLikeNew(table, versions);
  }
  ExpectLikeNew(table, versions);
}

TEST(Table, PrimariesAreFoundWhoeverHasTheirPlaceByNow) {
  Random random(2);
  NodeTable table;
  const NodeId first = NodeId::Make(&random), second = NodeId::Make(&random), replica = NodeId::Make(&random);
  const auto follows = [&](const NodeId& primary, uint64_t version) {
    Record record;
    record.id = replica;
    record.version = version;
    record.primary_id = primary;
    return Share(std::move(record));
  };
  Node* const node = table.Add(follows(first, 1));
  EXPECT_EQ(table.PrimaryOf(*node), nullptr);
  Node* const primary = table.Add(MakeRecord(first));
  EXPECT_EQ(table.PrimaryOf(*node), primary);
  EXPECT_EQ(table.PrimaryOf(*primary), nullptr);
  const uint16_t place = primary->index;
  table.Remove(primary);
  EXPECT_EQ(table.PrimaryOf(*node), nullptr);
  Node* const other = table.Add(MakeRecord(second));
  ASSERT_EQ(other->index, place);
  EXPECT_EQ(table.PrimaryOf(*node), nullptr);
  table.SetRecord(node, follows(second, 2));
  EXPECT_EQ(table.PrimaryOf(*node), other);
  Node* const again = table.Add(MakeRecord(first));
  table.SetRecord(node, follows(first, 3));
  EXPECT_EQ(table.PrimaryOf(*node), again);
}

TEST(Table, TheSilentAreDueAndNobodyElse) {
  Random random(3);
  NodeTable table;
  for (int i = 0; i < 10; ++i) table.Add(MakeRecord(NodeId::Make(&random)));
  const auto due = [&](int64_t now) {
    std::set<uint16_t> places;
    table.dues().Take(now, [&](uint16_t place) { places.insert(place); });
    return places;
  };
  EXPECT_EQ(due(1000).size(), 10u);  // new ones are
  std::set<uint16_t> silent;
  for (const auto& node : table.all()) {
    table.heard_ms(*node) = 1000 + node->index;
    if (node->index < 4) silent.insert(node->index);
  }
  EXPECT_EQ(table.HastenSilent(1000), 1000);
  EXPECT_TRUE(due(2000).empty());
  table.dues().Set(0, 90000);
  table.dues().Set(9, 2050);
  for (const auto& node : table.all()) table.heard_ms(*node) -= 7;
  EXPECT_EQ(table.HastenSilent(1004 - 7), 1000 - 7);
  EXPECT_EQ(due(2001), silent);
  EXPECT_EQ(due(2100), (std::set<uint16_t>{9}));
}

TEST(Table, AFullOneTakesNobody) {
  Random random(2);
  NodeTable table;
  for (size_t i = 0; i < kMaxNodes; ++i) ASSERT_NE(table.Add(MakeRecord(NodeId::Make(&random))), nullptr);
  EXPECT_EQ(table.Add(MakeRecord(NodeId::Make(&random))), nullptr);
  table.Remove(table.all()[5].get());
  EXPECT_NE(table.Add(MakeRecord(NodeId::Make(&random))), nullptr);
  EXPECT_EQ(table.places(), kMaxNodes);
}

std::string Bytes(Random* random, uint64_t version) {
  proto::NodeRecord record;
  record.set_id(NodeId::Make(random).Bytes());
  record.set_shard_id(NodeId::Make(random).Bytes());
  record.set_version(version);
  record.set_ip("10.1.0.2");
  record.set_port(7000);
  record.set_bus_port(17000);
  return record.SerializeAsString();
}

TEST(RecordPool, EqualBytesAreOneRecordWhileAnybodyHoldsIt) {
  Random random(3);
  RecordPool pool;
  const std::string a = Bytes(&random, 1), b = Bytes(&random, 1);
  RecordPtr first = *pool.Read(a);
  EXPECT_EQ(*pool.Read(a), first);
  RecordPtr other = *pool.Read(b);
  EXPECT_NE(other, first);
  EXPECT_EQ(first->bytes, a);
  EXPECT_EQ(other->bytes, b);
  EXPECT_FALSE(pool.Read("no record").ok());
  EXPECT_FALSE(pool.Read("no record").ok());
  EXPECT_EQ(*pool.Read(a), first);
}

TEST(RecordPool, KeepsNothingThatNobodyHolds) {
  Random random(4);
  RecordPool pool;
  std::vector<RecordPtr> held;
  for (uint64_t i = 0; i < 200; ++i) held.push_back(*pool.Read(Bytes(&random, 1)));
  // (Under a sanitizer's allocator both are 0.)
  const size_t before = mallinfo2().uordblks;
  for (uint64_t i = 0; i < 50000; ++i) ASSERT_TRUE(pool.Read(Bytes(&random, 2)).ok());
  EXPECT_LE(mallinfo2().uordblks, before + (1 << 20));
  for (const RecordPtr& record : held) EXPECT_EQ(*pool.Read(record->bytes), record);
}

}  // namespace
}  // namespace skein::bus
