// Commands take no lock: every lock that a loop's thread takes is counted, by standing in for pthread_mutex_lock.
// (Under ThreadSanitizer, which does the same, nothing is counted.)
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <fstream>
#include <string>

#include "node/node_testing.h"
#include "storage/slot.h"

namespace {

struct Locks {
  std::atomic<pid_t> thread{0};
  std::atomic<uint64_t> count{0};
};
// One a thread, in the order of their first locks.
std::array<Locks, 256> all_locks;
std::atomic<size_t> threads{0};

}  // namespace

#if !defined(__SANITIZE_THREAD__)
extern "C" int pthread_mutex_lock(pthread_mutex_t* mutex) {
  using Lock = int (*)(pthread_mutex_t*);
  static const Lock real = reinterpret_cast<Lock>(dlsym(RTLD_NEXT, "pthread_mutex_lock"));
  static thread_local Locks* mine = nullptr;
  if (mine == nullptr) {
    mine = &all_locks[threads.fetch_add(1) % all_locks.size()];
    mine->thread = gettid();
  }
  mine->count.fetch_add(1, std::memory_order_relaxed);
  return real(mutex);
}
#endif

namespace skein::node {
namespace {

uint64_t LocksOfLoops() {
  uint64_t sum = 0;
  for (Locks& locks : all_locks) {
    std::string name;
    std::ifstream("/proc/self/task/" + std::to_string(locks.thread.load()) + "/comm") >> name;
    if (name.starts_with("loop-")) sum += locks.count.load();
  }
  return sum;
}

TEST(Locks, L38_CommandsAndTheReadingOfTheTopologyTakeNone) {
  constexpr int kCommands = 4000, kBatches = 10;
  TestNode node({.loops = 2, .shards = 2, .logs = false, .configure = {}});
  std::string batch;
  for (int i = 0; i < kCommands / 2; ++i) {
    // Keys of both shards: half of them are handed over to the other loop.
    const std::string key = "key:" + std::to_string(i);
    batch += TestClient::Encode({"SET", key, "value"}) + TestClient::Encode({"GET", key});
  }
  const size_t replies = kCommands / 2 * (std::string("+OK\r\n").size() + std::string("$5\r\nvalue\r\n").size());
  TestClient one(node), two(node);
  const auto run = [&] {
    for (TestClient* client : {&one, &two}) client->Send(batch);
    for (TestClient* client : {&one, &two}) ASSERT_EQ(client->Read(replies).size(), replies);
  };
  run();
  const uint64_t before = LocksOfLoops();
#if !defined(__SANITIZE_THREAD__)
  ASSERT_GT(before, 0u) << "nothing is counted";  // they begin with some
#endif
  for (int i = 0; i < kBatches; ++i) {
    run();
    // The routing is read anew, by snapshot.
    node.bus().Change([](bus::Topology* topology) { topology->current_epoch += 1; });
  }
  const uint64_t locks = LocksOfLoops() - before;
  // Ticks of the timers and a topology's arrival may take some.
  EXPECT_LT(locks, kBatches * kCommands / 50) << "in " << 2 * kBatches * kCommands << " commands";
  RecordProperty("locks", static_cast<int>(locks));
}

}  // namespace
}  // namespace skein::node
