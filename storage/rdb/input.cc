#include "storage/rdb/input.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "storage/rdb/crc64.h"

namespace skein::storage {

RdbFileInput::RdbFileInput(File* file, uint64_t offset, uint64_t size, bool sum,
                           std::function<void(uint64_t offset)> progress)
    : RdbInput(std::string_view()),
      file_(file),
      size_(size),
      sum_(sum),
      progress_(std::move(progress)),
      read_to_(std::min(offset, size)) {}

uint64_t RdbFileInput::Checksum() {
  if (sum_ && at_ != summed_to_) {
    crc_ = RdbCrc64(crc_, {summed_to_, static_cast<size_t>(at_ - summed_to_)});
    summed_to_ = at_;
  }
  return crc_;
}

bool RdbFileInput::Refill(uint64_t size) {
  if (size > left() || !status_.ok()) return false;
  Checksum();
  const auto kept = static_cast<size_t>(end_ - at_);
  // A string that is larger than the window has one of its own for as long as it is looked at.
  const size_t capacity = std::max<uint64_t>(size, std::min<uint64_t>(kWindow, left()));
  if (capacity > capacity_ || (capacity_ > kWindow && size <= kWindow)) {
    auto window = std::make_unique_for_overwrite<char[]>(capacity);
    if (kept != 0) std::memcpy(window.get(), at_, kept);
    window_ = std::move(window);
    capacity_ = capacity;
  } else if (kept != 0) {
    std::memmove(window_.get(), at_, kept);
  }
  at_ = summed_to_ = window_.get();
  end_ = at_ + kept;
  while (static_cast<uint64_t>(end_ - at_) < size) {
    const auto held = static_cast<size_t>(end_ - at_);
    const size_t want = std::min<uint64_t>(capacity_ - held, beyond());
    const absl::StatusOr<size_t> read = file_->ReadAt(read_to_, window_.get() + held, want);
    if (!read.ok()) {
      status_ = read.status();
      return false;
    }
    if (*read == 0) {
      status_ = absl::DataLossError("the file became shorter while it was read");
      return false;
    }
    end_ += *read;
    read_to_ += *read;
  }
  if (progress_) progress_(offset());
  return true;
}

}  // namespace skein::storage
