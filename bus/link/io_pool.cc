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
  size_t before = threads_.size();
  wanted_.store(workers, std::memory_order_release);
  for (size_t i = workers; i < before; ++i) sem_post(&waiting_);
  for (size_t i = workers; i < before; ++i) threads_[i].join();
  threads_.resize(std::min(before, workers));
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
  while (index < wanted_.load(std::memory_order_acquire)) {
    if (sem_wait(&waiting_) != 0) continue;  // EINTR
    // May find none: another worker took the job whose turn this was, or it is the sign to end. A worker that ends
    // leaves at most one sign too many, which wakes another for nothing.
    if (IoJob* job = jobs_.Pop()) Finish(job);
  }
}

}  // namespace skein::bus
