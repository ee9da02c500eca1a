// Resolves host names on a thread of its own, one after another: the system's resolver may take long, and the bus must
// not wait for it.
#ifndef SKEIN_BUS_RESOLVER_H_
#define SKEIN_BUS_RESOLVER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace skein::bus {

// The numeric addresses of a name, none if it has none at this moment. May block.
using ResolveFunction = std::function<std::vector<std::string>(const std::string& host)>;

// getaddrinfo: both families, without what this machine has no address for; at most Resolver::kMaxAddresses.
std::vector<std::string> SystemResolve(const std::string& host);

class Resolver {
 public:
  static constexpr size_t kMaxQueued = 64;
  static constexpr size_t kMaxAddresses = 256;

  // `done` runs on the resolver's thread, once for each accepted Resolve, until Stop.
  using Done = std::function<void(uint64_t id, std::vector<std::string> ips)>;
  Resolver(ResolveFunction resolve, Done done);
  ~Resolver();

  // The thread is started by the first call. False if too many names wait, or after Stop.
  bool Resolve(uint64_t id, std::string host);
  // No `done` begins after this has returned, and none is running. What the system's resolver is busy with is not
  // waited for: its thread ends by itself when that returns. Idempotent.
  void Stop();

 private:
  struct State;
  static void Run(const std::shared_ptr<State>& state);
  std::shared_ptr<State> state_;
};

}  // namespace skein::bus

#endif  // SKEIN_BUS_RESOLVER_H_
