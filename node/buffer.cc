#include "node/buffer.h"

#include <algorithm>
#include <new>

namespace skein::node {

void Buffer::Grow(size_t n) {
  constexpr size_t kDoubling = 1u << 20;
  const size_t need = size_ + n;
  const size_t step = capacity_ <= kDoubling ? capacity_ : capacity_ / 2;
  const size_t capacity = std::max<size_t>(256, std::max(need, capacity_ + step));
  void* p = std::realloc(data_, capacity);
  if (p == nullptr) throw std::bad_alloc();
  data_ = static_cast<char*>(p);
  capacity_ = capacity;
}

}  // namespace skein::node
