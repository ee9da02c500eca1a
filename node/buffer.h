// A growable run of bytes: the query and output buffers of sessions. One owner, one thread.
#ifndef SKEIN_NODE_BUFFER_H_
#define SKEIN_NODE_BUFFER_H_

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

namespace skein::node {

class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& o) noexcept
      : data_(std::exchange(o.data_, nullptr)),
        size_(std::exchange(o.size_, 0)),
        capacity_(std::exchange(o.capacity_, 0)) {}
  Buffer& operator=(Buffer&& o) noexcept {
    std::swap(data_, o.data_);
    std::swap(size_, o.size_);
    std::swap(capacity_, o.capacity_);
    return *this;
  }
  ~Buffer() {
    if (data_ != nullptr) Free();
  }

  char* data() { return data_; }
  const char* data() const { return data_; }
  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }
  bool empty() const { return size_ == 0; }
  std::string_view view() const { return {data_, size_}; }

  // Room for `n` more bytes; write there, then Advance.
  char* Reserve(size_t n) {
    if (capacity_ - size_ < n) Grow(n);
    return data_ + size_;
  }
  void Advance(size_t n) { size_ += n; }
  void Append(std::string_view bytes) {
    if (bytes.empty()) return;
    std::memcpy(Reserve(bytes.size()), bytes.data(), bytes.size());
    size_ += bytes.size();
  }
  void Append(char c) {
    *Reserve(1) = c;
    ++size_;
  }
  void Truncate(size_t n) { size_ = n; }
  void Clear() { size_ = 0; }
  // Drops the first `n` bytes by moving the rest down.
  void Consume(size_t n) {
    size_ -= n;
    if (size_ != 0 && n != 0) std::memmove(data_, data_ + n, size_);
  }
  // Gives the memory back.
  void Release() {
    if (data_ == nullptr) return;  // as it mostly is; free(nullptr) is not free
    Free();
    data_ = nullptr;
    size_ = capacity_ = 0;
  }

 private:
  void Grow(size_t n);  // to at least size + n: doubling up to 1 MiB, by a half past that
  void Free();

  char* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace skein::node

#endif  // SKEIN_NODE_BUFFER_H_
