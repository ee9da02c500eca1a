// The admission of a client: a place among `maxclients`, as an object that moves.
//
// Counted up where it is made, counted down where it dies, and nowhere else; so the count is exact whatever path a
// connection takes, and can neither wrap nor leak (lessons L01, L02).
#ifndef SKEIN_NODE_ADMISSION_H_
#define SKEIN_NODE_ADMISSION_H_

#include <atomic>
#include <cstdint>
#include <utility>

namespace skein::node {

class Admission;

// The node's count of connected clients. Any thread. Outlives every admission.
class AdmissionDesk {
 public:
  explicit AdmissionDesk(uint64_t limit) : limit_(limit) {}
  AdmissionDesk(const AdmissionDesk&) = delete;
  AdmissionDesk& operator=(const AdmissionDesk&) = delete;

  // An empty admission if the house is full (counted as a refusal).
  Admission Admit();
  void set_limit(uint64_t limit) { limit_.store(limit, std::memory_order_relaxed); }
  uint64_t count() const { return count_.load(std::memory_order_relaxed); }
  uint64_t refused() const { return refused_.load(std::memory_order_relaxed); }

 private:
  friend class Admission;
  std::atomic<uint64_t> count_{0};
  std::atomic<uint64_t> limit_;
  std::atomic<uint64_t> refused_{0};
};

// Move-only. Destroying it gives the place back, once.
class Admission {
 public:
  Admission() = default;
  Admission(Admission&& o) noexcept : desk_(std::exchange(o.desk_, nullptr)) {}
  Admission& operator=(Admission&& o) noexcept {
    if (this != &o) {
      Release();
      desk_ = std::exchange(o.desk_, nullptr);
    }
    return *this;
  }
  ~Admission() { Release(); }
  explicit operator bool() const { return desk_ != nullptr; }

 private:
  friend class AdmissionDesk;
  explicit Admission(AdmissionDesk* desk) : desk_(desk) {}
  void Release() {
    if (desk_ != nullptr) std::exchange(desk_, nullptr)->count_.fetch_sub(1, std::memory_order_relaxed);
  }

  AdmissionDesk* desk_ = nullptr;
};

inline Admission AdmissionDesk::Admit() {
  uint64_t n = count_.load(std::memory_order_relaxed);
  do {
    if (n >= limit_.load(std::memory_order_relaxed)) {
      refused_.fetch_add(1, std::memory_order_relaxed);
      return Admission();
    }
  } while (!count_.compare_exchange_weak(n, n + 1, std::memory_order_relaxed));
  return Admission(this);
}

}  // namespace skein::node

#endif  // SKEIN_NODE_ADMISSION_H_
