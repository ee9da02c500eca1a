// What each slot has cost, while cluster-slot-stats-enabled is yes (CLUSTER SLOT-STATS). One a loop, counting what runs
// on the loop's shards; owned and read there.
#ifndef SKEIN_NODE_SLOT_STATS_H_
#define SKEIN_NODE_SLOT_STATS_H_

#include <array>
#include <cstdint>

#include "node/call.h"
#include "storage/slot.h"

namespace skein::node {

struct SlotUse {
  uint64_t cycles = 0;     // of ReadCycles, executing commands
  uint64_t bytes_in = 0;   // of the commands, as RESP arrays
  uint64_t bytes_out = 0;  // of the replies
};

class SlotStats {
 public:
  const SlotUse& operator[](uint16_t slot) const { return uses_[slot]; }
  void Count(uint16_t slot, Args argv, uint64_t cycles, uint64_t reply_bytes) {
    SlotUse& use = uses_[slot];
    use.cycles += cycles;
    use.bytes_in += WireSize(argv);
    use.bytes_out += reply_bytes;
  }
  void Reset() { uses_.fill({}); }
  void Reset(uint16_t slot) { uses_[slot] = {}; }

  // Bytes of a command on the wire: "*<n>\r\n", and for each word "$<length>\r\n<word>\r\n".
  static uint64_t WireSize(Args argv) {
    uint64_t bytes = 3 + Digits(argv.size());
    for (std::string_view word : argv) bytes += 5 + Digits(word.size()) + word.size();
    return bytes;
  }

 private:
  static uint64_t Digits(size_t n) {
    uint64_t digits = 1;
    for (; n >= 10; n /= 10) ++digits;
    return digits;
  }

  std::array<SlotUse, storage::kSlots> uses_{};
};

}  // namespace skein::node

#endif  // SKEIN_NODE_SLOT_STATS_H_
