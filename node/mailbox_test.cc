#include "node/mailbox.h"

#include <poll.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace skein::node {
namespace {

struct Numbered : Message {
  Numbered(int from, int n, std::atomic<int>* alive) : from(from), n(n), alive(alive) { ++*alive; }
  ~Numbered() override { --*alive; }
  void Run(LoopImpl&, std::unique_ptr<Message>) override {}
  const int from, n;
  std::atomic<int>* alive;
};

bool Readable(const Mailbox& box, int timeout_ms) {
  pollfd p{box.fd(), POLLIN, 0};
  return poll(&p, 1, timeout_ms) == 1;
}

TEST(Mailbox, EverythingOnceAndInTheOrderOfEachPoster) {
  constexpr int kPosters = 4, kEach = 20000;
  std::atomic<int> alive{0};
  {
    Mailbox box;
    std::vector<std::thread> posters;
    for (int p = 0; p < kPosters; ++p) {
      posters.emplace_back([&, p] {
        for (int i = 0; i < kEach; ++i) box.Post(std::make_unique<Numbered>(p, i, &alive));
      });
    }
    std::vector<int> next(kPosters, 0);
    int taken = 0;
    while (taken < kPosters * kEach) {
      ASSERT_TRUE(Readable(box, 10000)) << "a wake-up was lost after " << taken;
      box.Acknowledge();
      while (std::unique_ptr<Message> m = box.Take()) {
        auto& numbered = static_cast<Numbered&>(*m);
        ASSERT_EQ(numbered.n, next[numbered.from]++);
        ++taken;
      }
    }
    for (std::thread& t : posters) t.join();
    box.Acknowledge();
    EXPECT_EQ(box.Take(), nullptr);
  }
  EXPECT_EQ(alive, 0);
}

TEST(Mailbox, FreesWhatNobodyTook) {
  std::atomic<int> alive{0};
  {
    Mailbox box;
    for (int i = 0; i < 3; ++i) box.Post(std::make_unique<Numbered>(0, i, &alive));
    EXPECT_EQ(alive, 3);
    box.Take();
    EXPECT_EQ(alive, 2);
  }
  EXPECT_EQ(alive, 0);
}

TEST(Mailbox, WakesOnceABatch) {
  std::atomic<int> alive{0};
  Mailbox box;
  EXPECT_FALSE(Readable(box, 0));
  box.Wake();
  EXPECT_TRUE(Readable(box, 0));
  box.Acknowledge();
  EXPECT_FALSE(Readable(box, 0));
  box.Post(std::make_unique<Numbered>(0, 0, &alive));
  EXPECT_TRUE(Readable(box, 0));
}

}  // namespace
}  // namespace skein::node
