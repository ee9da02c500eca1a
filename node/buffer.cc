#include "node/buffer.h"

#include <algorithm>
#include <new>

namespace skein::node {

void Buffer::Grow(size_t n) {
  constexpr size_t kMaxSpare = 1u << 20;
  const size_t need = size_ + n;
  size_t capacity = std::max<size_t>(256, std::max(need, capacity_ + std::min(capacity_, kMaxSpare)));
  void* p = std::realloc(data_, capacity);
  if (p == nullptr) throw std::bad_alloc();
  data_ = static_cast<char*>(p);
  capacity_ = capacity;
}

}  // namespace skein::node
