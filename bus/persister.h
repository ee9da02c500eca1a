// Writes the cluster state on a thread of its own, newest first: a state that a later one replaces before its turn is
// skipped, and its id is answered for when the later one is durable.
#ifndef SKEIN_BUS_PERSISTER_H_
#define SKEIN_BUS_PERSISTER_H_

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "bus/state_file.h"

namespace skein::bus {

class Persister {
 public:
  // `done` runs on the persister's thread, with the ids that a write has answered, in order.
  using Done = std::function<void(std::vector<uint64_t> ids, const absl::Status& status)>;
  Persister(std::string path, Done done);
  ~Persister();

  void Persist(uint64_t id, StatePtr state);
  // Writes what waits, joins the thread; the result of the newest write. Idempotent.
  absl::Status Stop();

 private:
  void Run();

  const std::string path_;
  const Done done_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<uint64_t> ids_;  // that `newest_` will answer for
  StatePtr newest_;
  bool stop_ = false;
  absl::Status last_;
  std::thread thread_;
};

}  // namespace skein::bus

#endif  // SKEIN_BUS_PERSISTER_H_
