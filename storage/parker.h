// Where one thread sleeps and others wake it, at the price of two atomic accesses when it is awake.
#ifndef SKEIN_STORAGE_PARKER_H_
#define SKEIN_STORAGE_PARKER_H_

#include <atomic>
#include <chrono>
#include <cstdint>

namespace skein::storage {

class Parker {
 public:
  // How deep the sleep is: a pause is broken by nothing but the end, a nap not by work that can wait until it is over.
  enum Depth : uint32_t { kAwake = 0, kPause = 1, kNap = 2, kSleep = 3 };

  // ---- The thread that sleeps
  // --------------------------------------------------------------------------------------------- Announces the sleep.
  // Whatever would be a reason to stay awake is looked at after this and before Park.
  void Prepare(Depth depth) { depth_.store(depth, std::memory_order_seq_cst); }
  void Cancel() { depth_.store(kAwake, std::memory_order_relaxed); }
  // Sleeps until woken, or for `limit`; may end early. Negative: no limit.
  void Park(std::chrono::nanoseconds limit);

  // ---- Any thread
  // --------------------------------------------------------------------------------------------------------- Wakes the
  // sleeper if it sleeps at least as deeply as `from`. The reason has been stored before, sequentially consistently.
  void Wake(Depth from) {
    if (depth_.load(std::memory_order_seq_cst) >= from) WakeNow();
  }

 private:
  void WakeNow();

  std::atomic<uint32_t> depth_{kAwake};
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_PARKER_H_
