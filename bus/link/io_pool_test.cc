#include "bus/link/io_pool.h"

#include <condition_variable>
#include <mutex>
#include <vector>

#include "gtest/gtest.h"

namespace skein::bus {
namespace {

struct CountingJob : IoJob {
  void Run() override { ++runs; }
  int runs = 0;
};

// Waits for completions as an owner does: woken by the workers.
class Owner {
 public:
  std::function<void()> Callback() {
    return [this] {
      std::lock_guard lock(mutex_);
      ++signs_;
      woken_.notify_one();
    };
  }
  CountingJob* Wait(IoPool* pool) {
    for (;;) {
      if (IoJob* job = pool->Take()) return static_cast<CountingJob*>(job);
      std::unique_lock lock(mutex_);
      woken_.wait(lock, [this] { return signs_ > 0; });
      signs_ = 0;
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable woken_;
  int signs_ = 0;
};

TEST(IoPool, L23_TwoCompletionsAndAThousandJobs) {
  Owner owner;
  IoPool pool(1024, 2, owner.Callback());
  pool.Resize(3);
  std::vector<CountingJob> jobs(1000);
  size_t back = 0;
  for (CountingJob& job : jobs) {
    while (!pool.Submit(&job)) {
      owner.Wait(&pool);
      ++back;
    }
    EXPECT_LE(pool.in_flight(), 2u);
  }
  while (pool.in_flight() > 0) owner.Wait(&pool), ++back;
  EXPECT_EQ(back, 1000u);
  for (const CountingJob& job : jobs) EXPECT_EQ(job.runs, 1);
}

TEST(IoPool, L33_WithoutWorkersNothingIsTaken) {
  IoPool pool(16, 16, [] {});
  CountingJob job;
  EXPECT_FALSE(pool.Submit(&job));
  EXPECT_EQ(job.runs, 0);
  EXPECT_EQ(pool.in_flight(), 0u);
}

TEST(IoPool, L24_L36_EveryJobComesBackWhateverTheSize) {
  Owner owner;
  IoPool pool(64, 64, owner.Callback());
  std::vector<CountingJob> jobs(2000);
  size_t back = 0, inline_runs = 0;
  for (size_t i = 0; i < jobs.size(); ++i) {
    if (i % 37 == 0) pool.Resize(i / 37 % 5);
    if (!pool.Submit(&jobs[i])) {
      jobs[i].Run();
      ++inline_runs;
    }
    while (pool.Take() != nullptr) ++back;
  }
  pool.Resize(0);  // what is still in flight runs before this returns
  while (pool.Take() != nullptr) ++back;
  EXPECT_EQ(pool.in_flight(), 0u);
  EXPECT_EQ(back + inline_runs, jobs.size());
  for (const CountingJob& job : jobs) EXPECT_EQ(job.runs, 1);
}

TEST(Ring, FullAndEmpty) {
  Ring<int> ring(4);
  int values[5] = {0, 1, 2, 3, 4};
  EXPECT_EQ(ring.Pop(), nullptr);
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(ring.Push(&values[i]));
    EXPECT_FALSE(ring.Push(&values[4]));
    for (int i = 0; i < 4; ++i) EXPECT_EQ(ring.Pop(), &values[i]);
    EXPECT_EQ(ring.Pop(), nullptr);
  }
}

TEST(Ring, ManyProducersAndConsumersLoseNothing) {
  Ring<int> ring(8);
  constexpr int kEach = 2000;
  std::vector<int> seen(2 * kEach, 0);
  std::vector<int> values(2 * kEach);
  for (int i = 0; i < 2 * kEach; ++i) values[static_cast<size_t>(i)] = i;
  std::atomic<int> popped{0};
  std::vector<std::thread> threads;
  for (int p = 0; p < 2; ++p) {
    threads.emplace_back([&, p] {
      for (int i = 0; i < kEach; ++i) {
        while (!ring.Push(&values[static_cast<size_t>(p * kEach + i)])) std::this_thread::yield();
      }
    });
    threads.emplace_back([&] {
      while (popped.load() < 2 * kEach) {
        if (int* value = ring.Pop()) {
          ++seen[static_cast<size_t>(*value)];  // each belongs to whoever popped it
          ++popped;
        } else {
          std::this_thread::yield();
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int count : seen) EXPECT_EQ(count, 1);
}

}  // namespace
}  // namespace skein::bus
