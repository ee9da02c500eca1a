// When each of many places is to be looked at next: a wheel of coarse buckets, so that setting and taking cost the same
// however many there are. A place may be looked at a bucket's width late.
#ifndef SKEIN_BUS_ENGINE_DUE_H_
#define SKEIN_BUS_ENGINE_DUE_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

namespace skein::bus {

class Dues {
 public:
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();  // not by itself

  // `width_ms` > 0, of a bucket. What was set before keeps its bucket.
  void SetWidth(int64_t width_ms) {
    if (width_ms == width_) return;
    taken_ = taken_ * width_ / width_ms;
    width_ = width_ms;
    // Buckets mean other times from now on: all are looked at by the next Take.
    for (std::vector<uint16_t>& bucket : buckets_) bucket.clear();
    for (size_t place = 0; place < bucket_of_.size(); ++place) Put(static_cast<uint16_t>(place), taken_ + 1);
  }

  // Places from 0 up to the largest that was added. A new one is due at once, as is one whose member is another now.
  void Add(uint16_t place) {
    if (place >= bucket_of_.size()) bucket_of_.resize(place + 1, 0);
    Put(place, taken_ + 1);
  }

  // Not before `at_ms`, or when that is too far ahead for the wheel, earlier.
  void Set(uint16_t place, int64_t at_ms) { Put(place, Bucket(at_ms)); }
  // As early as can be.
  void SetNow(uint16_t place) {
    if (bucket_of_[place] > taken_ + 1) Put(place, taken_ + 1);
  }
  // The earlier of this and what was set.
  void Hasten(uint16_t place, int64_t at_ms) {
    if (const int64_t bucket = Bucket(at_ms); bucket < bucket_of_[place]) Put(place, bucket);
  }

  // Calls look(place), which must Set or leave alone, for each that is due.
  template <typename Look>
  void Take(int64_t now_ms, Look look) {
    const int64_t until = now_ms / width_;
    std::vector<uint16_t> due;
    for (int64_t bucket = taken_ + 1; bucket <= std::min(until, taken_ + kBuckets - 1); ++bucket) {
      for (uint16_t place : buckets_[bucket & kMask]) {
        if (bucket_of_[place] != bucket) continue;  // it was set anew
        bucket_of_[place] = kNever;
        due.push_back(place);
      }
      buckets_[bucket & kMask].clear();
    }
    taken_ = std::max(taken_, until);
    for (uint16_t place : due) look(place);
  }

 private:
  static constexpr int64_t kBuckets = 128, kMask = kBuckets - 1;

  int64_t Bucket(int64_t at_ms) const { return std::clamp(at_ms / width_ + 1, taken_ + 1, taken_ + kBuckets - 1); }
  void Put(uint16_t place, int64_t bucket) {
    bucket_of_[place] = bucket;
    buckets_[bucket & kMask].push_back(place);
  }

  int64_t width_ = 1;
  int64_t taken_ = 0;               // the newest bucket that was
  std::vector<int64_t> bucket_of_;  // by place
  std::array<std::vector<uint16_t>, kBuckets> buckets_;
};

}  // namespace skein::bus

#endif  // SKEIN_BUS_ENGINE_DUE_H_
