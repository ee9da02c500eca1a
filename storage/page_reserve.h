// Pages that are there before they are asked for.
//
// The first touch of a page costs the thread that touches it: two microseconds for the kernel's work, and on a virtual
// machine, whenever the host has to find the memory first, some hundred. A loop must not pay that between two clients.
// So a thread of its own keeps a few pieces of memory whose pages are present, and makes new ones as they are taken;
// and pages that are given back to the system are given back by whoever calls Return, never by a loop.
//
// Address space goes round: what was returned is the first to be made ready again, so it does not grow with churn.
// Nothing here knows the allocator; storage/memory.cc joins the two.
#ifndef SKEIN_STORAGE_PAGE_RESERVE_H_
#define SKEIN_STORAGE_PAGE_RESERVE_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory_resource>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "storage/parker.h"

namespace skein::storage {

// Ranges of addresses, joined where they touch. One thread at a time.
//
// Below the allocator: what it needs for itself it maps, because malloc might wait for the very thread that calls here.
class AddressRanges {
 public:
  // Ranges below `smallest` are kept, to be joined, but not found by Carve.
  explicit AddressRanges(size_t smallest) : smallest_(smallest) {}
  // The range overlaps none that is there.
  void Add(uintptr_t begin, size_t size);
  // Takes `size` (at least the smallest) out of the smallest range that holds them at that alignment (a power of two),
  // lowest addresses first; 0 if there is none.
  uintptr_t Carve(size_t size, size_t alignment);
  uint64_t bytes() const { return bytes_; }
  size_t count() const { return by_begin_.size(); }

 private:
  void Forget(uintptr_t begin, size_t size);
  void Remember(uintptr_t begin, size_t size);

  class Mappings : public std::pmr::memory_resource {
    void* do_allocate(size_t bytes, size_t alignment) override;
    void do_deallocate(void* p, size_t bytes, size_t alignment) override;
    bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override { return this == &other; }
  };

  const size_t smallest_;
  Mappings mappings_;
  std::pmr::unsynchronized_pool_resource nodes_{&mappings_};
  std::pmr::map<uintptr_t, size_t> by_begin_{&nodes_};
  std::pmr::set<std::pair<size_t, uintptr_t>> by_size_{&nodes_};  // those that may be carved
  uint64_t bytes_ = 0;
};

class PageReserve {
 public:
  // What Take gives.
  static constexpr size_t kPiece = 256 << 10;
  // Kept ready: the least, when nothing happens, and the most, however fast it goes.
  static constexpr uint32_t kLeast = 8;
  static constexpr uint32_t kMost = 32;

  // Makes the pages of [begin, begin + size) present; false if the system has no memory for them.
  using Populate = bool (*)(void* begin, size_t size);
  // Whether so many bytes more would be no risk to the process.
  using Room = bool (*)(size_t bytes);

  // What the system offers: MADV_POPULATE_WRITE, or where the kernel has none (before 5.14) a write to each page.
  static bool PopulatePages(void* begin, size_t size);
  // The machine and the control group have left `bytes` and a good margin, apart from what they can drop.
  static bool SystemHasRoom(size_t bytes);

  explicit PageReserve(Populate populate = PopulatePages, Room room = SystemHasRoom);
  // Ends the thread; the memory stays mapped, as its users may still be there.
  ~PageReserve();
  PageReserve(const PageReserve&) = delete;
  PageReserve& operator=(const PageReserve&) = delete;

  // Starts the thread that refills. Without it somebody calls Refill.
  void Start();

  // ---- Any thread
  // A piece of zeroed memory, its pages present; null if none is ready (or none is allowed). No lock, no system call
  // but the waking of the thread when half is gone.
  void* Take();
  // Zeroed memory whose pages come with their first use; null if the system has no addresses left. `size` is a
  // multiple of the page size, `alignment` a power of two.
  void* Map(size_t size, size_t alignment);
  // Gives pages back to the system and keeps their addresses. Takes long for much. False if the system refuses: then
  // nothing has changed. The range is part of what Take or Map gave, or of several such.
  bool Return(void* begin, size_t size);

  // ---- The refilling thread, or a test in its place
  // Brings what is ready to what is wanted: more as long as it runs short, less after a time without demand.
  void Refill();

  uint32_t ready() const { return ready_.load(std::memory_order_relaxed); }
  uint32_t wanted() const { return wanted_.load(std::memory_order_relaxed); }
  uint64_t taken() const { return taken_.load(std::memory_order_relaxed); }
  uint64_t missed() const { return missed_.load(std::memory_order_relaxed); }
  uint64_t unused_address_bytes();

 private:
  void Run();
  void* TakeReady();
  void Put(void* piece);
  uintptr_t Carve(size_t size, size_t alignment);

  const Populate populate_;
  const Room room_;
  std::atomic<void*> pieces_[kMost] = {};
  std::atomic<uint32_t> next_take_{0};
  std::atomic<uint32_t> ready_{0};  // at most as many pieces are there: set after they are, counted down before
  std::atomic<uint32_t> wanted_{kLeast};
  std::atomic<uint64_t> taken_{0}, missed_{0};

  // The refilling thread's.
  uint32_t next_put_ = 0;
  uint64_t seen_taken_ = 0, seen_missed_ = 0;
  bool has_room_ = false;
  std::chrono::steady_clock::time_point room_until_{};

  std::mutex mutex_;
  AddressRanges unused_{kPiece};  // under mutex_

  Parker parker_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_PAGE_RESERVE_H_
