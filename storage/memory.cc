#include "storage/memory.h"

#include <jemalloc/jemalloc.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <string>

#include "glog/logging.h"
#include "storage/page_reserve.h"

// Present when jemalloc is linked.
extern "C" {
decltype(nallocx) nallocx __attribute__((weak));
decltype(mallctl) mallctl __attribute__((weak));
}

// Read by jemalloc at its start. Unused pages are given back to the system by a thread of the allocator: otherwise
// whoever happens to free pays for it, which costs a loop pauses of some hundred microseconds while a large keyspace
// shrinks. That holds for large runs of them too, which would be given back at once (oversize_threshold), and a large
// keyspace leaves such runs. The environment variable MALLOC_CONF goes before this.
extern "C" const char* malloc_conf;
const char* malloc_conf = "background_thread:true,oversize_threshold:0";

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

// ---- Memory from the reserve
// -----------------------------------------------------------------------------------------

namespace {

// Lives as long as the process: so does the memory it has given.
std::atomic<PageReserve*> the_reserve{nullptr};

PageReserve& Reserve() {
  static PageReserve* const reserve = [] {
    auto* r = new PageReserve();
    r->Start();
    the_reserve.store(r, std::memory_order_release);
    return r;
  }();
  return *reserve;
}

// jemalloc asks for a piece when it has no room left, and splits it. What is larger comes without pages.
void* AllocateExtent(extent_hooks_t*, void* wanted, size_t size, size_t alignment, bool* zero, bool* commit, unsigned) {
  if (wanted != nullptr) return nullptr;  // an extension at this very address: it can do without
  void* p = nullptr;
  if (size == PageReserve::kPiece && alignment <= 4096) p = Reserve().Take();
  if (p == nullptr) p = Reserve().Map(size, alignment);
  if (p == nullptr) return nullptr;
  *zero = true;
  *commit = true;
  return p;
}

// Called by jemalloc's own thread when pages have not been used for some seconds.
bool ReturnExtent(extent_hooks_t*, void* begin, size_t size, bool, unsigned) { return !Reserve().Return(begin, size); }

template <typename T>
bool Control(const std::string& name, T value) {
  const int error = mallctl(name.c_str(), nullptr, nullptr, &value, sizeof(value));
  LOG_IF(WARNING, error != 0) << "the allocator refuses " << name << " (error " << error << ")";
  return error == 0;
}

// An arena of jemalloc's with these hooks; -1 if it refuses.
int64_t NewArena() {
  extent_hooks_t* defaults = nullptr;
  size_t size = sizeof(defaults);
  if (mallctl("arena.0.extent_hooks", &defaults, &size, nullptr, 0) != 0) return -1;
  Reserve();  // its thread starts here, not below jemalloc
  // jemalloc keeps the address.
  static extent_hooks_t* const hooks = [&] {
    auto* h = new extent_hooks_t(*defaults);
    h->alloc = AllocateExtent;
    h->dalloc = ReturnExtent;
    return h;
  }();
  unsigned arena = 0;
  size = sizeof(arena);
  extent_hooks_t* chosen = hooks;
  if (mallctl("arenas.create", &arena, &size, &chosen, sizeof(chosen)) != 0) return -1;
  // Else it asks for more and more at once.
  Control<size_t>("arena." + std::to_string(arena) + ".retain_grow_limit", PageReserve::kPiece);
  return arena;
}

}  // namespace

bool AllocateFromReserve(uint32_t index) {
  if (mallctl == nullptr || index >= kMaxReservedParts) return false;
  static std::mutex mutex;
  static int64_t arenas[kMaxReservedParts];  // 0: none yet; jemalloc's own arenas include 0
  int64_t arena;
  {
    const std::lock_guard lock(mutex);
    if (arenas[index] == 0) arenas[index] = NewArena();
    arena = arenas[index];
  }
  return arena > 0 && Control<unsigned>("thread.arena", static_cast<unsigned>(arena));
}

ReserveFigures ReadReserve() {
  PageReserve* const reserve = the_reserve.load(std::memory_order_acquire);
  if (reserve == nullptr) return {};
  return {reserve->ready(), reserve->wanted(), reserve->taken(), reserve->missed(), reserve->unused_address_bytes()};
}

}  // namespace skein::storage
