#include "node/buffer.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>

namespace skein::node {
namespace {

// From this size on a buffer is a mapping of its own: it grows by moving its pages, not its bytes, and goes back to the
// system when it is freed. In the allocator large buffers that grow side by side leave as much again in gaps, which it
// keeps for seconds.
constexpr size_t kMapped = 4u << 20;
constexpr size_t kPage = 4096;

bool IsMapped(size_t capacity) { return capacity >= kMapped; }

void* Map(void* old, size_t old_capacity, size_t size, size_t capacity) {
  void* p;
  if (IsMapped(old_capacity)) {
    p = mremap(old, old_capacity, capacity, MREMAP_MAYMOVE);
  } else {
    p = mmap(nullptr, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  }
  if (p == MAP_FAILED) throw std::bad_alloc();
  if (!IsMapped(old_capacity) && old != nullptr) {
    std::memcpy(p, old, size);
    std::free(old);
  }
  return p;
}

}  // namespace

void Buffer::Grow(size_t n) {
  constexpr size_t kDoubling = 1u << 20;
  const size_t need = size_ + n;
  const size_t step = capacity_ <= kDoubling ? capacity_ : capacity_ / 2;
  size_t capacity = std::max<size_t>(256, std::max(need, capacity_ + step));
  void* p;
  if (IsMapped(capacity)) {
    capacity = (capacity + kPage - 1) & ~(kPage - 1);
    p = Map(data_, capacity_, size_, capacity);
  } else {
    p = std::realloc(data_, capacity);
    if (p == nullptr) throw std::bad_alloc();
  }
  data_ = static_cast<char*>(p);
  capacity_ = capacity;
}

void Buffer::Free() {
  if (IsMapped(capacity_)) {
    munmap(data_, capacity_);
  } else {
    std::free(data_);
  }
}

}  // namespace skein::node
