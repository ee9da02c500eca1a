#include "bus/engine/slots.h"

#include "bus/engine/limits.h"
#include "proto/bus.pb.h"

namespace skein::bus {

std::vector<SlotRange> ToRanges(const SlotSet& slots) {
  std::vector<SlotRange> ranges;
  for (uint32_t s = 0; s < kSlots; ++s) {
    if (!slots[s]) continue;
    if (!ranges.empty() && ranges.back().last + 1u == s) {
      ranges.back().last = static_cast<uint16_t>(s);
    } else {
      ranges.push_back({static_cast<uint16_t>(s), static_cast<uint16_t>(s)});
    }
  }
  return ranges;
}

SlotSet ToSet(const std::vector<SlotRange>& ranges) {
  SlotSet slots;
  for (SlotRange r : ranges) {
    for (uint32_t s = r.first; s <= r.last; ++s) slots.set(s);
  }
  return slots;
}

uint32_t CountSlots(const std::vector<SlotRange>& ranges) {
  uint32_t n = 0;
  for (SlotRange r : ranges) n += r.last - r.first + 1u;
  return n;
}

bool ReadSlots(const proto::NodeRecord& record, std::vector<SlotRange>* ranges) {
  ranges->clear();
  if (!record.slot_bitmap().empty()) {
    const std::string& bits = record.slot_bitmap();
    if (bits.size() != kSlots / 8 || record.slot_ranges_size() != 0) return false;
    SlotSet slots;
    for (uint32_t s = 0; s < kSlots; ++s) {
      if (static_cast<uint8_t>(bits[s / 8]) >> (s % 8) & 1) slots.set(s);
    }
    *ranges = ToRanges(slots);
    return true;
  }
  int n = record.slot_ranges_size();
  if (n % 2 != 0 || n > static_cast<int>(2 * kMaxRangesInRecord)) return false;
  ranges->reserve(n / 2);
  for (int i = 0; i < n; i += 2) {
    uint32_t first = record.slot_ranges(i), last = record.slot_ranges(i + 1);
    if (first > last || last >= kSlots) return false;
    if (i > 0 && first <= record.slot_ranges(i - 1)) return false;
    ranges->push_back({static_cast<uint16_t>(first), static_cast<uint16_t>(last)});
  }
  return true;
}

void WriteSlots(const SlotSet& slots, proto::NodeRecord* record) {
  record->clear_slot_ranges();
  record->clear_slot_bitmap();
  std::vector<SlotRange> ranges = ToRanges(slots);
  if (ranges.size() <= kMaxRangesInRecord) {
    for (SlotRange r : ranges) {
      record->add_slot_ranges(r.first);
      record->add_slot_ranges(r.last);
    }
    return;
  }
  std::string bits(kSlots / 8, '\0');
  for (uint32_t s = 0; s < kSlots; ++s) {
    if (slots[s]) bits[s / 8] = static_cast<char>(bits[s / 8] | 1 << (s % 8));
  }
  record->set_slot_bitmap(bits);
}

}  // namespace skein::bus
