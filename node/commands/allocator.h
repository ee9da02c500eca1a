// What the process' memory allocator and the operating system say of its memory. Any thread.
#ifndef SKEIN_NODE_COMMANDS_ALLOCATOR_H_
#define SKEIN_NODE_COMMANDS_ALLOCATOR_H_

#include <cstdint>
#include <optional>
#include <string>

namespace skein::node {

struct AllocatorFigures {
  uint64_t allocated = 0;  // bytes the process has and has not given back
  uint64_t active = 0;     // bytes of the pages they lie in
  uint64_t resident = 0;   // bytes of pages that the allocator keeps mapped
};

// With jemalloc linked; sanitizer builds have an allocator that keeps no such figures.
std::optional<AllocatorFigures> ReadAllocator();
// "jemalloc-5.3.0", "libc".
std::string AllocatorName();
// The allocator's own report; empty if it has none.
std::string AllocatorReport();
// Gives unused pages back to the operating system. False if the allocator refuses.
bool PurgeAllocator();

// Bytes of the process in physical memory; 0 if unknown.
uint64_t ResidentBytes();
// Physical memory of the machine.
uint64_t SystemMemory();

}  // namespace skein::node

#endif  // SKEIN_NODE_COMMANDS_ALLOCATOR_H_
