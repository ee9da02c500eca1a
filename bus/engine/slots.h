// Sets of hash slots and their forms: a bitset to change, sorted ranges to keep and send.
#ifndef SKEIN_BUS_ENGINE_SLOTS_H_
#define SKEIN_BUS_ENGINE_SLOTS_H_

#include <bitset>
#include <vector>

#include "bus/topology.h"

namespace skein::proto {
class NodeRecord;
}

namespace skein::bus {

using SlotSet = std::bitset<kSlots>;

void SetRange(SlotSet* slots, uint32_t first, uint32_t last);
// One past the end of the run of equal entries that begins at `from`; `owners` has kSlots entries.
uint32_t RunEnd(const uint16_t* owners, uint32_t from);
std::vector<SlotRange> ToRanges(const SlotSet& slots);
SlotSet ToSet(const std::vector<SlotRange>& ranges);
uint32_t CountSlots(const std::vector<SlotRange>& ranges);

bool Overlap(const std::vector<SlotRange>& a, const std::vector<SlotRange>& b);

// The slots of a record, checked: false if out of range, unordered or oversize.
bool ReadSlots(const proto::NodeRecord& record, std::vector<SlotRange>* ranges);
void WriteSlots(const SlotSet& slots, proto::NodeRecord* record);

}  // namespace skein::bus

#endif  // SKEIN_BUS_ENGINE_SLOTS_H_
