#include "bus/engine/slots.h"

#include <gtest/gtest.h>

#include "bus/engine/ids.h"
#include "proto/bus.pb.h"

namespace skein::bus {
namespace {

TEST(Slots, RangesAndSetsAgree) {
  Random random(1);
  for (int round = 0; round < 50; ++round) {
    SlotSet set;
    for (uint64_t i = random.Below(3000); i > 0; --i) set.set(random.Below(kSlots));
    std::vector<SlotRange> ranges = ToRanges(set);
    EXPECT_EQ(ToSet(ranges), set);
    EXPECT_EQ(CountSlots(ranges), set.count());
    proto::NodeRecord record;
    WriteSlots(set, &record);
    std::vector<SlotRange> read;
    ASSERT_TRUE(ReadSlots(record, &read));
    EXPECT_EQ(ToSet(read), set);
  }
}

TEST(Slots, ManyRangesTravelAsABitmap) {
  SlotSet set;
  for (uint32_t s = 0; s < kSlots; s += 2) set.set(s);
  proto::NodeRecord record;
  WriteSlots(set, &record);
  EXPECT_EQ(record.slot_ranges_size(), 0);
  EXPECT_EQ(record.slot_bitmap().size(), kSlots / 8);
  std::vector<SlotRange> read;
  ASSERT_TRUE(ReadSlots(record, &read));
  EXPECT_EQ(ToSet(read), set);
}

TEST(NodeIds, L42_OnlyWholeIdsAreIds) {
  Random random(1);
  NodeId id = NodeId::Make(&random);
  EXPECT_EQ(NodeId::FromHex(id.Hex()), id);
  EXPECT_EQ(NodeId::FromBytes(id.bytes()), id);
  EXPECT_FALSE(NodeId::FromBytes(""));
  EXPECT_FALSE(NodeId::FromBytes(std::string(20, '\0')));
  EXPECT_FALSE(NodeId::FromBytes(id.Bytes() + "x"));
  EXPECT_FALSE(NodeId::FromHex(""));
  EXPECT_FALSE(NodeId::FromHex(id.Hex() + "0"));
  EXPECT_FALSE(NodeId::FromHex(std::string(40, '0')));
  EXPECT_FALSE(NodeId::FromHex("ABCDEF7890123456789012345678901234567890"));
  EXPECT_FALSE(NodeId::FromHex("g123456789012345678901234567890123456789"));
}

}  // namespace
}  // namespace skein::bus
