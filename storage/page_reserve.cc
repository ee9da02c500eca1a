#include "storage/page_reserve.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace skein::storage {
namespace {

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

constexpr size_t kPage = 4096;
// Address space is asked for by so much, at an alignment that suits huge pages, where those are in use.
constexpr size_t kRegion = 32 << 20;
constexpr size_t kRegionAlignment = 2 << 20;
// Given back in steps, because others wait for the address space meanwhile.
constexpr size_t kReturnStep = 1 << 20;
constexpr std::chrono::milliseconds kIdle{1000};
// How long an answer about what the system has left holds.
constexpr std::chrono::milliseconds kRoomHolds{100};
// What must be left beside the reserve.
constexpr uint64_t kMargin = 256 << 20;

// The first number after `name` in a file of the system; false if there is none.
bool ReadNumber(const char* path, const char* name, uint64_t* value) {
  char text[8192];
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const ssize_t n = read(fd, text, sizeof(text) - 1);
  close(fd);
  if (n <= 0) return false;
  text[n] = 0;
  const char* at = std::strstr(text, name);
  if (at == nullptr) return false;
  at += std::strlen(name);
  char* end = nullptr;
  *value = std::strtoull(at, &end, 10);
  return end != at;
}

// Whether a control group has room for `bytes`. Its cache of files counts as used but gives way.
bool GroupHasRoom(const char* limit_path, const char* usage_path, const char* stat_path, const char* cache_name,
                  uint64_t bytes) {
  uint64_t limit, usage, cache = 0;
  if (!ReadNumber(limit_path, "", &limit) || !ReadNumber(usage_path, "", &usage)) return true;
  ReadNumber(stat_path, cache_name, &cache);
  usage -= std::min(usage, cache);
  return limit > usage && limit - usage >= bytes + std::min(kMargin, limit / 8);
}

}  // namespace

void* AddressRanges::Mappings::do_allocate(size_t bytes, size_t) {
  // A page's alignment is enough for nodes.
  void* const p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) std::abort();  // no page is left for the process
  return p;
}

void AddressRanges::Mappings::do_deallocate(void* p, size_t bytes, size_t) { munmap(p, bytes); }

void AddressRanges::Forget(uintptr_t begin, size_t size) {
  by_begin_.erase(begin);
  if (size >= smallest_) by_size_.erase({size, begin});
  bytes_ -= size;
}

void AddressRanges::Remember(uintptr_t begin, size_t size) {
  by_begin_.emplace(begin, size);
  if (size >= smallest_) by_size_.emplace(size, begin);
  bytes_ += size;
}

void AddressRanges::Add(uintptr_t begin, size_t size) {
  auto after = by_begin_.lower_bound(begin);
  if (after != by_begin_.begin()) {
    const auto before = std::prev(after);
    const auto [before_begin, before_size] = *before;
    if (before_begin + before_size == begin) {
      Forget(before_begin, before_size);
      begin = before_begin;
      size += before_size;
    }
  }
  if (after != by_begin_.end() && after->first == begin + size) {
    const auto [after_begin, after_size] = *after;
    Forget(after_begin, after_size);
    size += after_size;
  }
  Remember(begin, size);
}

uintptr_t AddressRanges::Carve(size_t size, size_t alignment) {
  for (auto it = by_size_.lower_bound({size, 0}); it != by_size_.end(); ++it) {
    const auto [have, begin] = *it;
    const uintptr_t at = (begin + alignment - 1) & ~(alignment - 1);
    if (at + size > begin + have) continue;
    Forget(begin, have);
    if (at != begin) Remember(begin, at - begin);
    if (at + size != begin + have) Remember(at + size, begin + have - (at + size));
    return at;
  }
  return 0;
}

bool PageReserve::PopulatePages(void* begin, size_t size) {
  if (madvise(begin, size, MADV_POPULATE_WRITE) == 0) return true;
  if (errno != EINVAL) return false;
  for (size_t at = 0; at < size; at += kPage) static_cast<volatile char*>(begin)[at] = 0;
  return true;
}

bool PageReserve::SystemHasRoom(size_t bytes) {
  uint64_t available_kb;
  if (ReadNumber("/proc/meminfo", "MemAvailable:", &available_kb) && available_kb * 1024 < bytes + kMargin)
    return false;
  return GroupHasRoom("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat",
                      "\ninactive_file ", bytes) &&
         GroupHasRoom("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes",
                      "/sys/fs/cgroup/memory/memory.stat", "\ntotal_inactive_file ", bytes);
}

PageReserve::PageReserve(Populate populate, Room room) : populate_(populate), room_(room) {}

PageReserve::~PageReserve() {
  stop_.store(true, std::memory_order_seq_cst);
  parker_.Wake(Parker::kSleep);
  if (thread_.joinable()) thread_.join();
}

void PageReserve::Start() {
  thread_ = std::thread([this] { Run(); });
}

void PageReserve::Run() {
  pthread_setname_np(pthread_self(), "page-reserve");
  while (!stop_.load(std::memory_order_seq_cst)) {
    Refill();
    parker_.Prepare(Parker::kSleep);
    if (stop_.load(std::memory_order_seq_cst) || ready_.load(std::memory_order_seq_cst) * 2 <= wanted()) {
      // Taken meanwhile; or there was no memory, and it is no use to ask for it again at once.
      if (taken() != seen_taken_ || missed() != seen_missed_ || stop_.load(std::memory_order_seq_cst)) {
        parker_.Cancel();
        continue;
      }
    }
    parker_.Park(kIdle);
  }
}

void* PageReserve::TakeReady() {
  uint32_t ready = ready_.load(std::memory_order_relaxed);
  do {
    if (ready == 0) return nullptr;
  } while (!ready_.compare_exchange_weak(ready, ready - 1, std::memory_order_seq_cst, std::memory_order_relaxed));
  // One of the pieces is ours: who counts down takes one, and as many are there as were counted.
  for (;;) {
    std::atomic<void*>& place = pieces_[next_take_.fetch_add(1, std::memory_order_relaxed) % kMost];
    if (place.load(std::memory_order_relaxed) == nullptr) continue;
    if (void* const piece = place.exchange(nullptr, std::memory_order_acquire)) return piece;
  }
}

void* PageReserve::Take() {
  void* const piece = TakeReady();
  (piece != nullptr ? taken_ : missed_).fetch_add(1, std::memory_order_seq_cst);
  if (ready_.load(std::memory_order_seq_cst) * 2 <= wanted()) parker_.Wake(Parker::kSleep);
  return piece;
}

void PageReserve::Put(void* piece) {
  // Fewer than kMost are there, so there is a free place; a taker empties them in about this order.
  for (;;) {
    std::atomic<void*>& place = pieces_[next_put_++ % kMost];
    if (place.load(std::memory_order_relaxed) != nullptr) continue;
    place.store(piece, std::memory_order_release);
    ready_.fetch_add(1, std::memory_order_seq_cst);
    return;
  }
}

uintptr_t PageReserve::Carve(size_t size, size_t alignment) {
  const std::lock_guard lock(mutex_);
  if (const uintptr_t at = unused_.Carve(size, alignment)) return at;
  const size_t wanted = (size + kRegion - 1) / kRegion * kRegion;
  const size_t step = std::max(alignment, kRegionAlignment);
  const size_t mapped = wanted + step - kPage;
  void* const p = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return 0;
  const auto begin = reinterpret_cast<uintptr_t>(p);
  const uintptr_t at = (begin + step - 1) & ~(step - 1);
  if (at != begin) munmap(p, at - begin);
  if (at + wanted != begin + mapped) munmap(reinterpret_cast<void*>(at + wanted), begin + mapped - (at + wanted));
  if (wanted != size) unused_.Add(at + size, wanted - size);
  return at;
}

void* PageReserve::Map(size_t size, size_t alignment) {
  return reinterpret_cast<void*>(Carve(size, std::max(alignment, kPage)));  // NOLINT(performance-no-int-to-ptr)
}

bool PageReserve::Return(void* begin, size_t size) {
  for (size_t at = 0; at < size; at += kReturnStep) {
    if (madvise(static_cast<char*>(begin) + at, std::min(kReturnStep, size - at), MADV_DONTNEED) != 0) return false;
  }
  const std::lock_guard lock(mutex_);
  unused_.Add(reinterpret_cast<uintptr_t>(begin), size);
  return true;
}

void PageReserve::Refill() {
  const uint64_t taken = taken_.load(std::memory_order_seq_cst), missed = missed_.load(std::memory_order_seq_cst);
  uint32_t wanted = wanted_.load(std::memory_order_relaxed);
  const bool idle = taken == seen_taken_ && missed == seen_missed_;
  if (missed != seen_missed_ || (!idle && ready() * 4 <= wanted)) {
    wanted = std::min(wanted * 2, kMost);
  } else if (idle) {
    wanted = std::max(wanted / 2, kLeast);
  }
  seen_taken_ = taken;
  seen_missed_ = missed;
  wanted_.store(wanted, std::memory_order_relaxed);

  while (ready() > wanted) {
    void* const piece = TakeReady();
    if (piece == nullptr) break;
    Return(piece, kPiece);
  }
  if (ready() >= wanted) return;
  const auto now = std::chrono::steady_clock::now();
  if (now >= room_until_) {
    has_room_ = room_(size_t{kMost} * kPiece);
    room_until_ = now + kRoomHolds;
  }
  if (!has_room_) return;
  while (ready() < wanted) {
    void* const piece = Map(kPiece, kPage);
    if (piece == nullptr) return;
    if (!populate_(piece, kPiece)) {
      Return(piece, kPiece);
      has_room_ = false;
      return;
    }
    Put(piece);
  }
}

uint64_t PageReserve::unused_address_bytes() {
  const std::lock_guard lock(mutex_);
  return unused_.bytes();
}

}  // namespace skein::storage
