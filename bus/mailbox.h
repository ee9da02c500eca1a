// What other threads ask of the bus thread, in order of arrival. The lock is held to push or to swap a vector, never
// while a task runs.
#ifndef SKEIN_BUS_MAILBOX_H_
#define SKEIN_BUS_MAILBOX_H_

#include <cstddef>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

namespace skein::bus {

class Mailbox {
 public:
  using Task = std::function<void()>;
  // `wake` is called on the posting thread, when there is something to drain.
  Mailbox(size_t limit, std::function<void()> wake) : limit_(limit), wake_(std::move(wake)) {}

  // False, and the task is dropped, if the mailbox is closed or full.
  bool Post(Task task) { return Push(std::move(task), limit_); }
  // The same for the bus's own completions, whose number is bounded otherwise: false only if it is closed.
  bool PostAlways(Task task) { return Push(std::move(task), static_cast<size_t>(-1)); }

  // Runs what is there now, on the calling thread.
  void Drain() {
    std::vector<Task> tasks;
    {
      std::lock_guard lock(mutex_);
      tasks.swap(tasks_);
    }
    for (Task& task : tasks) task();
  }
  // From now on every Post fails; what is there can still be drained.
  void Close() {
    std::lock_guard lock(mutex_);
    closed_ = true;
  }

 private:
  bool Push(Task task, size_t limit) {
    std::lock_guard lock(mutex_);
    if (closed_ || tasks_.size() >= limit) return false;
    tasks_.push_back(std::move(task));
    // Under the lock: after Close nobody may touch what `wake_` wakes.
    if (tasks_.size() == 1) wake_();
    return true;
  }

  const size_t limit_;
  const std::function<void()> wake_;
  std::mutex mutex_;
  std::vector<Task> tasks_;
  bool closed_ = false;
};

}  // namespace skein::bus

#endif  // SKEIN_BUS_MAILBOX_H_
