#include "node/commands/allocator.h"

#include <malloc.h>
#include <unistd.h>

#include <cstdio>

// jemalloc's own functions, absent where it is not linked.
extern "C" {
int mallctl(const char* name, void* old_value, size_t* old_size, void* new_value, size_t new_size)
    __attribute__((weak));
void malloc_stats_print(void (*write)(void*, const char*), void* closure, const char* options) __attribute__((weak));
}

namespace skein::node {
namespace {

bool HasJemalloc() { return mallctl != nullptr; }

template <typename T>
bool Read(const char* name, T* value) {
  size_t size = sizeof(T);
  return mallctl(name, value, &size, nullptr, 0) == 0;
}

}  // namespace

std::optional<AllocatorFigures> ReadAllocator() {
  if (!HasJemalloc()) return std::nullopt;
  uint64_t epoch = 1;  // any value: figures are cached until the next epoch
  if (mallctl("epoch", nullptr, nullptr, &epoch, sizeof epoch) != 0) return std::nullopt;
  size_t allocated = 0, active = 0, resident = 0;
  if (!Read("stats.allocated", &allocated) || !Read("stats.active", &active) || !Read("stats.resident", &resident)) {
    return std::nullopt;
  }
  return AllocatorFigures{allocated, active, resident};
}

std::string AllocatorName() {
  const char* version = nullptr;
  if (!HasJemalloc() || !Read("version", &version)) return "libc";
  const std::string text(version);
  return "jemalloc-" + text.substr(0, text.find('-'));
}

std::string AllocatorReport() {
  std::string report;
  if (HasJemalloc() && malloc_stats_print != nullptr) {
    malloc_stats_print([](void* out, const char* text) { static_cast<std::string*>(out)->append(text); }, &report,
                       nullptr);
  }
  return report;
}

bool PurgeAllocator() {
  if (!HasJemalloc()) {
    malloc_trim(0);  // says whether anything was given back, which is no matter of right or wrong
    return true;
  }
  // 4096 is jemalloc's MALLCTL_ARENAS_ALL.
  return mallctl("arena.4096.purge", nullptr, nullptr, nullptr, 0) == 0;
}

uint64_t ResidentBytes() {
  FILE* const file = std::fopen("/proc/self/statm", "re");
  if (file == nullptr) return 0;
  unsigned long total = 0, resident = 0;
  const int read = std::fscanf(file, "%lu %lu", &total, &resident);
  std::fclose(file);
  return read == 2 ? uint64_t{resident} * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) : 0;
}

uint64_t SystemMemory() {
  return static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace skein::node
