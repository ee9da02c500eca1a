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

TEST(Slots, LongRunsAreSetFoundAndEnd) {
  Random random(2);
  for (int round = 0; round < 200; ++round) {
    uint32_t first = static_cast<uint32_t>(random.Below(kSlots)),
             length = 1 + static_cast<uint32_t>(random.Below(2000));
    uint32_t last = std::min(first + length, kSlots) - 1;
    if (round == 0) first = 0, last = kSlots - 1;
    SlotSet set, bits;
    SetRange(&set, first, last);
    std::vector<uint16_t> owners(kSlots, 7);
    for (uint32_t s = first; s <= last; ++s) bits.set(s), owners[s] = 8;
    ASSERT_EQ(set, bits) << first << "-" << last;
    std::vector<SlotRange> ranges = ToRanges(set);
    ASSERT_EQ(ranges.size(), 1u);
    EXPECT_EQ(ranges[0].first, first);
    EXPECT_EQ(ranges[0].last, last);
    EXPECT_EQ(RunEnd(owners.data(), first), last + 1);
    EXPECT_EQ(RunEnd(owners.data(), 0), first == 0 ? last + 1 : first);
    EXPECT_EQ(RunEnd(owners.data(), last), last + 1);
    if (last + 1 < kSlots) {
      EXPECT_EQ(RunEnd(owners.data(), last + 1), kSlots);
    }
  }
  EXPECT_TRUE(ToRanges(SlotSet()).empty());
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
