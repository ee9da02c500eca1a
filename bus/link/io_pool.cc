#include "bus/link/io_pool.h"

#include <pthread.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "bus/quiet_signals.h"
#include "glog/logging.h"

namespace skein::bus {

IoPool::IoPool(size_t jobs, size_t completions, std::function<void()> completed)
    : completed_(std::move(completed)), limit_(std::min(jobs, completions)), jobs_(jobs), completions_(completions) {
  CHECK_EQ(sem_init(&waiting_, 0, 0), 0);
}

IoPool::~IoPool() {
  Resize(0);
  CHECK_EQ(in_flight_, 0u) << "jobs must be taken back before the pool goes";
  sem_destroy(&waiting_);
}

void IoPool::Resize(size_t workers) {
  workers = std::min(workers, kMaxWorkers);
  if (workers < threads_.size()) {
    // All end, and as many as wanted start anew: a sign to end cannot be addressed to one of them. Each needs at most
    // one.
    stop_.store(true, std::memory_order_release);
    for (size_t i = 0; i < threads_.size(); ++i) sem_post(&waiting_);
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    stop_.store(false, std::memory_order_release);
  }
  QuietSignals quiet;
  while (threads_.size() < workers) {
    size_t index = threads_.size();
    threads_.emplace_back([this, index] { Work(index); });
  }
  if (workers == 0) {
    while (IoJob* job = jobs_.Pop()) Finish(job);
    while (sem_trywait(&waiting_) == 0) {
    }
  }
}

bool IoPool::Submit(IoJob* job) {
  if (threads_.empty() || in_flight_ >= limit_ || !jobs_.Push(job)) return false;
  ++in_flight_;
  sem_post(&waiting_);
  return true;
}

IoJob* IoPool::Take() {
  IoJob* job = completions_.Pop();
  if (job != nullptr) --in_flight_;
  return job;
}

void IoPool::Finish(IoJob* job) {
  job->Run();
  CHECK(completions_.Push(job));
  completed_();
}

void IoPool::Work(size_t index) {
  pthread_setname_np(pthread_self(), ("bus-io-" + std::to_string(index)).c_str());
  while (!stop_.load(std::memory_order_acquire)) {
    if (sem_wait(&waiting_) != 0) continue;  // EINTR
    // May find none: it was the sign to end, or one that a worker left that ended before it needed it.
    if (IoJob* job = jobs_.Pop()) Finish(job);
  }
}

}  // namespace skein::bus
