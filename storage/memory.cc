#include "storage/memory.h"

#include <cstdlib>

#include "glog/logging.h"

// Present when jemalloc is linked.
extern "C" size_t nallocx(size_t size, int flags) __attribute__((weak));

// Read by jemalloc at its start. Unused pages are given back to the system by a thread of the allocator: otherwise
// whoever happens to free pays for it, which costs a loop pauses of some hundred microseconds while a large keyspace
// shrinks. The environment variable MALLOC_CONF goes before this.
extern "C" const char* malloc_conf;
const char* malloc_conf = "background_thread:true";

namespace skein::storage {
namespace memory_internal {

uint16_t small_classes[kSmallLimit / 8 + 1];

size_t SlowClassOf(size_t size) {
  if (nallocx != nullptr) return nallocx(size, 0);
  return (size + 15) & ~size_t{15};
}

namespace {

[[maybe_unused]] const bool filled = [] {
  for (size_t i = 0; i <= kSmallLimit / 8; ++i) {
    small_classes[i] = static_cast<uint16_t>(SlowClassOf(i == 0 ? 1 : i * 8));
  }
  return true;
}();

}  // namespace
}  // namespace memory_internal

void* Allocate(size_t size) {
  void* p = std::malloc(AllocationSize(size));
  if (__builtin_expect(p == nullptr, 0)) LOG(FATAL) << "out of memory: " << size << " bytes";
  return p;
}

void* Reallocate(void* old, size_t size) {
  void* p = std::realloc(old, AllocationSize(size));
  if (__builtin_expect(p == nullptr, 0)) LOG(FATAL) << "out of memory: " << size << " bytes";
  return p;
}

void* AllocateLines(size_t size) {
  DCHECK_EQ(size % 64, 0u);
  void* p = std::aligned_alloc(64, size);
  if (__builtin_expect(p == nullptr, 0)) LOG(FATAL) << "out of memory: " << size << " bytes";
  return p;
}

}  // namespace skein::storage
