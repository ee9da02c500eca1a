#include "bus/resolver.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "bus/quiet_signals.h"

namespace skein::bus {

std::vector<std::string> SystemResolve(const std::string& host) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* list = nullptr;
  int error = getaddrinfo(host.c_str(), nullptr, &hints, &list);
  // On a machine that has only its loopback, AI_ADDRCONFIG hides even that.
  if (error != 0) {
    hints.ai_flags = 0;
    error = getaddrinfo(host.c_str(), nullptr, &hints, &list);
  }
  if (error != 0) return {};
  std::vector<std::string> ips;
  for (const addrinfo* a = list; a != nullptr && ips.size() < Resolver::kMaxAddresses; a = a->ai_next) {
    char text[INET6_ADDRSTRLEN];
    const void* bytes = a->ai_family == AF_INET
                            ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in*>(a->ai_addr)->sin_addr)
                        : a->ai_family == AF_INET6
                            ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in6*>(a->ai_addr)->sin6_addr)
                            : nullptr;
    if (bytes == nullptr || inet_ntop(a->ai_family, bytes, text, sizeof(text)) == nullptr) continue;
    if (std::find(ips.begin(), ips.end(), text) == ips.end()) ips.emplace_back(text);
  }
  freeaddrinfo(list);
  return ips;
}

// Shared with the thread, which may outlive the Resolver.
struct Resolver::State {
  ResolveFunction resolve;
  Done done;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::pair<uint64_t, std::string>> queue;
  bool started = false, stop = false, answering = false;
};

Resolver::Resolver(ResolveFunction resolve, Done done) : state_(std::make_shared<State>()) {
  state_->resolve = std::move(resolve);
  state_->done = std::move(done);
}

Resolver::~Resolver() { Stop(); }

bool Resolver::Resolve(uint64_t id, std::string host) {
  std::lock_guard lock(state_->mutex);
  if (state_->stop || state_->queue.size() >= kMaxQueued) return false;
  state_->queue.emplace_back(id, std::move(host));
  state_->changed.notify_all();
  if (!std::exchange(state_->started, true)) {
    QuietSignals quiet;
    std::thread([state = state_] { Run(state); }).detach();
  }
  return true;
}

void Resolver::Stop() {
  std::unique_lock lock(state_->mutex);
  state_->stop = true;
  state_->queue.clear();
  state_->changed.notify_all();
  state_->changed.wait(lock, [this] { return !state_->answering; });
}

void Resolver::Run(const std::shared_ptr<State>& state) {
  pthread_setname_np(pthread_self(), "bus-resolve");
  std::unique_lock lock(state->mutex);
  for (;;) {
    state->changed.wait(lock, [&] { return state->stop || !state->queue.empty(); });
    if (state->stop) return;
    auto [id, host] = std::move(state->queue.front());
    state->queue.pop_front();
    lock.unlock();
    std::vector<std::string> ips = state->resolve(host);
    if (ips.size() > kMaxAddresses) ips.resize(kMaxAddresses);
    lock.lock();
    if (state->stop) return;
    state->answering = true;
    lock.unlock();
    state->done(id, std::move(ips));
    lock.lock();
    state->answering = false;
    state->changed.notify_all();
  }
}

}  // namespace skein::bus
