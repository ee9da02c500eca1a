#include "bus/engine/slots.h"

#include <cstring>

#include "bus/engine/limits.h"
#include "proto/bus.pb.h"

namespace skein::bus {

void SetRange(SlotSet* slots, uint32_t first, uint32_t last) {
  if (last - first < 256) {
    for (uint32_t s = first; s <= last; ++s) slots->set(s);
  } else {
    *slots |= ~SlotSet() >> (kSlots - 1 - (last - first)) << first;
  }
}

uint32_t RunEnd(const uint16_t* owners, uint32_t from) {
  const uint16_t owner = owners[from];
  const uint64_t four = owner * uint64_t{0x0001000100010001};
  uint32_t at = from + 1;
  for (uint64_t word; at + 4 <= kSlots; at += 4) {
    std::memcpy(&word, owners + at, sizeof word);
    if (word != four) break;
  }
  while (at < kSlots && owners[at] == owner) ++at;
  return at;
}

std::vector<SlotRange> ToRanges(const SlotSet& slots) {
  std::vector<SlotRange> ranges;
  const SlotSet gaps = ~slots;
  for (size_t first = slots._Find_first(), end; first < kSlots; first = slots._Find_next(end)) {
    end = gaps._Find_next(first);
    ranges.push_back({static_cast<uint16_t>(first), static_cast<uint16_t>(end - 1)});
    if (end >= kSlots) break;
  }
  return ranges;
}

SlotSet ToSet(const std::vector<SlotRange>& ranges) {
  SlotSet slots;
  for (SlotRange r : ranges) SetRange(&slots, r.first, r.last);
  return slots;
}

uint32_t CountSlots(const std::vector<SlotRange>& ranges) {
  uint32_t n = 0;
  for (SlotRange r : ranges) n += r.last - r.first + 1u;
  return n;
}

bool Overlap(const std::vector<SlotRange>& a, const std::vector<SlotRange>& b) {
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    if (a[i].last < b[j].first) {
      ++i;
    } else if (b[j].last < a[i].first) {
      ++j;
    } else {
      return true;
    }
  }
  return false;
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
