// Bytes that are read once, from front to back: a piece of memory, or a window that slides over a file.
#ifndef SKEIN_STORAGE_RDB_INPUT_H_
#define SKEIN_STORAGE_RDB_INPUT_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "storage/file.h"

namespace skein::storage {

class RdbInput {
 public:
  explicit RdbInput(std::string_view bytes) : at_(bytes.data()), end_(at_ + bytes.size()) {}
  virtual ~RdbInput() = default;
  RdbInput(const RdbInput&) = delete;
  RdbInput& operator=(const RdbInput&) = delete;

  // The next `size` bytes in one piece, which stays until the next call. Null if fewer are left, or reading failed:
  // nothing is taken then, and no memory either.
  const char* Take(uint64_t size) {
    if (size > static_cast<uint64_t>(end_ - at_) && !Refill(size)) return nullptr;
    const char* const taken = at_;
    at_ += size;
    return taken;
  }
  // How many bytes are left.
  uint64_t left() const { return static_cast<uint64_t>(end_ - at_) + beyond(); }

 protected:
  // Makes at least `size` bytes stand between at_ and end_.
  virtual bool Refill(uint64_t /*size*/) { return false; }
  // What is left and not between at_ and end_.
  virtual uint64_t beyond() const { return 0; }

  const char* at_;
  const char* end_;
};

// Keeps a checksum of what it has given out.
class RdbFileInput : public RdbInput {
 public:
  static constexpr size_t kWindow = size_t{256} << 10;

  // From `offset` to `size`, which is the size of the file. `progress` may be null.
  RdbFileInput(File* file, uint64_t offset, uint64_t size, bool sum, std::function<void(uint64_t offset)> progress);

  // Where in the file the next byte is.
  uint64_t offset() const { return read_to_ - static_cast<uint64_t>(end_ - at_); }
  // The checksum of everything taken so far; 0 without `sum`.
  uint64_t Checksum();
  // Why the file could not be read, or OK.
  const absl::Status& status() const { return status_; }

 protected:
  bool Refill(uint64_t size) override;
  uint64_t beyond() const override { return size_ - read_to_; }

 private:
  File* const file_;
  const uint64_t size_;
  const bool sum_;
  const std::function<void(uint64_t)> progress_;
  uint64_t read_to_;
  std::unique_ptr<char[]> window_;
  size_t capacity_ = 0;
  const char* summed_to_ = nullptr;
  uint64_t crc_ = 0;
  absl::Status status_;
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_RDB_INPUT_H_
