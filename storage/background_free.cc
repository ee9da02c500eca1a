#include "storage/background_free.h"

#include <utility>

namespace skein::storage {

BackgroundFree::BackgroundFree(size_t max_jobs) : max_jobs_(max_jobs), thread_([this] { Run(); }) {}

BackgroundFree::~BackgroundFree() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

bool BackgroundFree::Submit(std::unique_ptr<Job>* job) {
  {
    const std::lock_guard lock(mutex_);
    if (jobs_.size() >= max_jobs_) return false;
    jobs_.push_back(std::move(*job));
  }
  wake_.notify_one();
  return true;
}

void BackgroundFree::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
    if (jobs_.empty()) return;
    std::unique_ptr<Job> job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    while (job->Step()) {
    }
    job.reset();
    lock.lock();
  }
}

}  // namespace skein::storage
