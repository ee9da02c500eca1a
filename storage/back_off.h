// When something that has failed may be tried again: after `first`, then twice as long each time, `last` at most.
#ifndef SKEIN_STORAGE_BACK_OFF_H_
#define SKEIN_STORAGE_BACK_OFF_H_

#include <algorithm>
#include <chrono>

namespace skein::storage {

class BackOff {
 public:
  using Clock = std::chrono::steady_clock;

  void Failed(std::chrono::milliseconds first, std::chrono::milliseconds last, Clock::time_point now = Clock::now()) {
    wait_ = wait_.count() == 0 ? first : std::min(wait_ * 2, last);
    next_ = now + wait_;
  }
  void Worked() { *this = BackOff(); }
  bool Over(Clock::time_point now = Clock::now()) const { return now >= next_; }

 private:
  Clock::time_point next_{};
  std::chrono::milliseconds wait_{0};
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_BACK_OFF_H_
