// Where in the incr files some of a log's records start: so that who reads on from an LSN need not read from a file's
// beginning. A sparse list in memory, of what this process has written; files know nothing of it. Any thread.
#ifndef SKEIN_STORAGE_PLACE_INDEX_H_
#define SKEIN_STORAGE_PLACE_INDEX_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "storage/types.h"

namespace skein::storage {

class PlaceIndex {
 public:
  struct Place {
    Lsn lsn = 0;
    uint64_t offset = 0;
    uint64_t salt = 0;  // of the file: tells them apart
  };
  // Keeps `most` places at most, about `stride` bytes apart; once there are more, every other one goes and the stride
  // doubles. It shrinks again as places are forgotten.
  explicit PlaceIndex(size_t most = 1024, uint64_t stride = uint64_t{1} << 20)
      : most_(most), least_stride_(stride), stride_(stride) {}

  // A record, or a mark before one, starts there. LSNs come in order.
  void Note(const Place& place) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!places_.empty() && places_.back().salt == place.salt && place.lsn - places_.back().lsn < stride_) return;
    if (places_.size() == most_) {
      size_t kept = 0;
      for (size_t i = 1; i < places_.size(); i += 2) places_[kept++] = places_[i];
      places_.resize(kept);
      stride_ *= 2;
    }
    places_.push_back(place);
  }
  // The files before `lsn` are gone.
  void Forget(Lsn lsn) {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::erase_if(places_, [lsn](const Place& place) { return place.lsn < lsn; });
    if (places_.size() < most_ / 4) stride_ = std::max(least_stride_, stride_ / 2);
  }
  // The log goes on elsewhere: nothing of before is there any more.
  void Clear() {
    const std::lock_guard<std::mutex> lock(mutex_);
    places_.clear();
    stride_ = least_stride_;
  }
  // The last place of this file at or before `lsn`.
  std::optional<Place> Find(uint64_t salt, Lsn lsn) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (size_t i = places_.size(); i-- > 0;) {
      if (places_[i].salt == salt && places_[i].lsn <= lsn) return places_[i];
    }
    return std::nullopt;
  }
  size_t size() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return places_.size();
  }

 private:
  const size_t most_;
  const uint64_t least_stride_;
  mutable std::mutex mutex_;
  uint64_t stride_;
  std::vector<Place> places_;  // by LSN
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_PLACE_INDEX_H_
