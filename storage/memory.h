// Memory of entries, values and tables, with sizes known without asking the allocator about a pointer.
//
// Whoever allocates here knows the size it asked for again when it frees; the count of bytes is the allocator's size
// class of that request, so it is exact and costs no look at the allocator's metadata.
#ifndef SKEIN_STORAGE_MEMORY_H_
#define SKEIN_STORAGE_MEMORY_H_

#include <cstddef>
#include <cstdint>

namespace skein::storage {

namespace memory_internal {
inline constexpr size_t kSmallLimit = 1024;
// Size classes of requests up to kSmallLimit, by (size + 7) / 8. Filled before main.
extern uint16_t small_classes[kSmallLimit / 8 + 1];
size_t SlowClassOf(size_t size);
}  // namespace memory_internal

// The bytes that a request of `size` really takes. With jemalloc linked: its size class. Without (sanitizers): `size`
// rounded to 16, and exactly that is requested, so that using the whole class is no overrun.
inline size_t AllocationSize(size_t size) {
  if (size <= memory_internal::kSmallLimit) return memory_internal::small_classes[(size + 7) / 8];
  return memory_internal::SlowClassOf(size);
}

// At least `size` (> 0) bytes, all AllocationSize(size) of which may be used. Ends the process if there is no memory.
// Free with std::free.
void* Allocate(size_t size);
// As std::realloc, under the same rules.
void* Reallocate(void* old, size_t size);
// As Allocate, aligned to a cache line; `size` is a multiple of 64.
void* AllocateLines(size_t size);

// From now on the calling thread allocates apart from other threads, from pages that a thread of the reserve has made
// present before (storage/page_reserve.h), and gives none back to the system itself. Threads with the same index share
// one such part of the memory; it lasts as long as the process, so indexes are few: at most kMaxReservedParts, others
// change nothing. False if nothing has changed, as under sanitizers, which have no jemalloc. Any thread.
inline constexpr uint32_t kMaxReservedParts = 256;
bool AllocateFromReserve(uint32_t index);

// What the reserve has and has done; nothing if no thread has asked for it.
struct ReserveFigures {
  uint32_t ready = 0, wanted = 0;     // pieces of 256 KiB
  uint64_t taken = 0, missed = 0;     // pieces asked for that were ready, and that were not
  uint64_t unused_address_bytes = 0;  // given back to the system, and will be used again
};
ReserveFigures ReadReserve();

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_MEMORY_H_
