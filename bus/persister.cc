#include "bus/persister.h"

#include <pthread.h>

#include <utility>

#include "bus/quiet_signals.h"

namespace skein::bus {

Persister::Persister(std::string path, Done done) : path_(std::move(path)), done_(std::move(done)) {
  QuietSignals quiet;
  thread_ = std::thread([this] { Run(); });
}

Persister::~Persister() { Stop().IgnoreError(); }

void Persister::Persist(uint64_t id, StatePtr state) {
  std::lock_guard lock(mutex_);
  ids_.push_back(id);
  newest_ = std::move(state);
  wake_.notify_one();
}

absl::Status Persister::Stop() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
    wake_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
  return last_;
}

void Persister::Run() {
  pthread_setname_np(pthread_self(), "bus-persist");
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stop_ || newest_ != nullptr; });
    if (newest_ == nullptr) return;
    StatePtr state = std::move(newest_);
    newest_ = nullptr;
    std::vector<uint64_t> ids = std::exchange(ids_, {});
    lock.unlock();
    absl::Status status = SaveState(path_, *state);
    done_(std::move(ids), status);
    lock.lock();
    last_ = status;
  }
}

}  // namespace skein::bus
