// A bounded queue of pointers for many producers and many consumers, without a lock: each cell carries the turn at
// which it may be written and the turn at which it may be read (Vyukov's bounded queue). A producer that has won a cell
// only has a store left to do, so it always fills it (L24).
#ifndef SKEIN_BUS_LINK_RING_H_
#define SKEIN_BUS_LINK_RING_H_

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace skein::bus {

template <typename T>
class Ring {  // NOLINT(clang-analyzer-optin.performance.Padding): its ends have cache lines of their own
 public:
  // Room for at least `capacity` entries, and at least 2.
  explicit Ring(size_t capacity)
      : size_(std::bit_ceil(capacity < 2 ? size_t{2} : capacity)), cells_(std::make_unique<Cell[]>(size_)) {
    for (size_t i = 0; i < size_; ++i) cells_[i].turn.store(i, std::memory_order_relaxed);
  }

  size_t capacity() const { return size_; }

  // False if full.
  bool Push(T* value) {
    uint64_t at = tail_.load(std::memory_order_relaxed);
    for (;;) {
      Cell& cell = cells_[at & (size_ - 1)];
      uint64_t turn = cell.turn.load(std::memory_order_acquire);
      if (turn == at) {
        if (tail_.compare_exchange_weak(at, at + 1, std::memory_order_relaxed)) {
          cell.value = value;
          cell.turn.store(at + 1, std::memory_order_release);
          return true;
        }
      } else if (turn < at) {
        return false;
      } else {
        at = tail_.load(std::memory_order_relaxed);
      }
    }
  }

  // Null if empty.
  T* Pop() {
    uint64_t at = head_.load(std::memory_order_relaxed);
    for (;;) {
      Cell& cell = cells_[at & (size_ - 1)];
      uint64_t turn = cell.turn.load(std::memory_order_acquire);
      if (turn == at + 1) {
        if (head_.compare_exchange_weak(at, at + 1, std::memory_order_relaxed)) {
          T* value = cell.value;
          cell.turn.store(at + size_, std::memory_order_release);
          return value;
        }
      } else if (turn < at + 1) {
        return nullptr;
      } else {
        at = head_.load(std::memory_order_relaxed);
      }
    }
  }

 private:
  struct Cell {
    std::atomic<uint64_t> turn;
    T* value;
  };
  const size_t size_;
  const std::unique_ptr<Cell[]> cells_;
  alignas(64) std::atomic<uint64_t> tail_{0};
  alignas(64) std::atomic<uint64_t> head_{0};
};

}  // namespace skein::bus

#endif  // SKEIN_BUS_LINK_RING_H_
