// The bus I/O workers: threads that own nothing and run one job of one borrowed link at a time. Jobs go in through one
// bounded queue and come out through another; no more jobs are in flight than the second has room for, so a worker
// never waits to give one back and nothing can deadlock (L23).
#ifndef SKEIN_BUS_LINK_IO_POOL_H_
#define SKEIN_BUS_LINK_IO_POOL_H_

#include <semaphore.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "bus/link/ring.h"

namespace skein::bus {

// What a worker runs. Submitted and taken back by one thread, the owner.
class IoJob {
 public:
  virtual ~IoJob() = default;
  virtual void Run() = 0;
};

class IoPool {  // NOLINT(clang-analyzer-optin.performance.Padding): the rings' cache lines
 public:
  static constexpr size_t kMaxWorkers = 64;

  // `completed` is called on a worker when there is something to take back; it must not block.
  IoPool(size_t jobs, size_t completions, std::function<void()> completed);
  // Nothing may be in flight.
  ~IoPool();
  IoPool(const IoPool&) = delete;

  // ---- The owner's thread
  // Starts or ends workers. Fewer: all end and those wanted start anew, which waits for the jobs they are at, no longer
  // than non-blocking work takes; with no worker left, the jobs that wait are run here. They all come out as
  // completions.
  void Resize(size_t workers);
  size_t workers() const { return threads_.size(); }
  // False, and the caller keeps the job, if there are no workers or a queue is full.
  bool Submit(IoJob* job);
  // A job that has run, or null.
  IoJob* Take();
  size_t in_flight() const { return in_flight_; }

 private:
  void Work(size_t index);
  void Finish(IoJob* job);

  const std::function<void()> completed_;
  const size_t limit_;
  Ring<IoJob> jobs_, completions_;
  sem_t waiting_;                  // at least one a job that waits
  std::atomic<bool> stop_{false};  // workers are to end (L24: by a flag they check)
  std::vector<std::thread> threads_;
  size_t in_flight_ = 0;
};

}  // namespace skein::bus

#endif  // SKEIN_BUS_LINK_IO_POOL_H_
