// What is to happen, in order of time and, at the same millisecond, of insertion: a ring of one bucket a millisecond
// for what is near, an ordered map for what is far.
#ifndef SKEIN_TESTS_SIM_WHEEL_H_
#define SKEIN_TESTS_SIM_WHEEL_H_

#include <array>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

namespace skein::sim {

template <typename Item>
class Wheel {
 public:
  explicit Wheel(int64_t now) : now_(now), ring_(kNear) {}

  int64_t now() const { return now_; }
  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }

  void Add(int64_t at, Item item) {
    if (at < now_) at = now_;
    ++size_;
    if (at - now_ >= kNear) {
      far_.emplace(at, std::move(item));
    } else {
      Put(at, std::move(item));
    }
  }

  // The item `ahead` of the next one, if it is to happen in the same millisecond.
  const Item* Ahead(size_t ahead) const {
    const std::vector<Item>& bucket = ring_[now_ & kMask];
    return next_ + ahead < bucket.size() ? &bucket[next_ + ahead] : nullptr;
  }

  // Moves time to the next item if there is one until `end`, and takes it; else time moves to `end`.
  bool Take(int64_t end, Item* item) {
    for (;;) {
      std::vector<Item>& bucket = ring_[now_ & kMask];
      if (next_ < bucket.size()) {
        *item = std::move(bucket[next_++]);
        --size_;
        return true;
      }
      bucket.clear();
      next_ = 0;
      busy_[(now_ & kMask) / 64] &= ~(uint64_t{1} << (now_ % 64));
      if (now_ >= end) return false;
      Advance(end);
    }
  }

 private:
  static constexpr int64_t kNear = 8192, kMask = kNear - 1;

  void Put(int64_t at, Item item) {
    ring_[at & kMask].push_back(std::move(item));
    busy_[(at & kMask) / 64] |= uint64_t{1} << (at % 64);
  }

  void Advance(int64_t end) {
    int64_t to = now_ + 1;
    // What is far stays so until all near buckets before it are done, so at most `kNear` steps are skipped at once.
    int64_t limit = far_.empty() ? end : std::min(end, std::max(to, far_.begin()->first - kNear + 1));
    while (to < limit) {
      uint64_t word = busy_[(to & kMask) / 64] >> (to % 64);
      if (word != 0) {
        to += __builtin_ctzll(word);
        break;
      }
      to += 64 - to % 64;
    }
    now_ = std::min(to, limit);
    while (!far_.empty() && far_.begin()->first - now_ < kNear) {
      Put(far_.begin()->first, std::move(far_.begin()->second));
      far_.erase(far_.begin());
    }
  }

  int64_t now_;
  size_t next_ = 0, size_ = 0;  // next_: in the bucket of now
  std::vector<std::vector<Item>> ring_;
  std::array<uint64_t, kNear / 64> busy_{};
  std::multimap<int64_t, Item> far_;
};

}  // namespace skein::sim

#endif  // SKEIN_TESTS_SIM_WHEEL_H_
