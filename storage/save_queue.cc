#include <utility>

#include "storage/save_run.h"

namespace skein::storage {

void SaveQueue::Push(Event event) {
  {
    const std::lock_guard lock(mutex_);
    // That a shard has begun is told at once: somebody waits for it, and what others have sent may take its time.
    event.kind == Event::Kind::kBegun ? events_.push_front(std::move(event)) : events_.push_back(std::move(event));
  }
  changed_.notify_one();
}

void SaveQueue::Take(uint32_t shard, std::unique_ptr<SnapshotChunk> chunk) {
  Event event;
  event.kind = Event::Kind::kChunk;
  event.shard = shard;
  event.chunk = std::move(chunk);
  Push(std::move(event));
}

void SaveQueue::End(uint32_t shard, absl::Status status) {
  Event event;
  event.kind = Event::Kind::kEnd;
  event.shard = shard;
  event.status = std::move(status);
  Push(std::move(event));
}

void SaveQueue::Tell(uint32_t shard, Begun begun) {
  Event event;
  event.kind = Event::Kind::kBegun;
  event.shard = shard;
  event.begun = std::move(begun);
  Push(std::move(event));
}

void SaveQueue::Interrupt() {
  {
    const std::lock_guard lock(mutex_);
    interrupted_ = true;
  }
  changed_.notify_one();
  if (on_interrupt_) on_interrupt_();
}

SaveQueue::Event SaveQueue::Next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !events_.empty() || (interrupted_ && !told_); });
  if (interrupted_ && !told_) {
    told_ = true;
    return Event();
  }
  Event event = std::move(events_.front());
  events_.pop_front();
  return event;
}

bool SaveQueue::WaitUntil(SavePace::Clock::time_point when) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_until(lock, when, [this] { return interrupted_; });
}

bool SaveQueue::interrupted() const {
  const std::lock_guard lock(mutex_);
  return interrupted_;
}

bool SaveQueue::empty() const {
  const std::lock_guard lock(mutex_);
  return events_.empty() && !(interrupted_ && !told_);
}

uint64_t SaveProgress::unwritten() const {
  uint64_t sum = 0;
  for (const auto& budget : budgets) sum += budget->bytes();
  return sum;
}

}  // namespace skein::storage
