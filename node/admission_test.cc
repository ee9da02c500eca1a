#include "node/admission.h"

#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace skein::node {
namespace {

TEST(Admission, L02_MovesWithItsDutyAndIsGivenBackOnce) {
  AdmissionDesk desk(10);
  {
    Admission a = desk.Admit();
    EXPECT_TRUE(a);
    EXPECT_EQ(desk.count(), 1u);
    Admission b = std::move(a);
    EXPECT_FALSE(a);  // NOLINT: what a move leaves behind is the point
    EXPECT_EQ(desk.count(), 1u);
    Admission c = desk.Admit();
    EXPECT_EQ(desk.count(), 2u);
    c = std::move(b);  // gives its own place back first
    EXPECT_EQ(desk.count(), 1u);
    Admission& self = c;
    c = std::move(self);
    EXPECT_EQ(desk.count(), 1u);
  }
  EXPECT_EQ(desk.count(), 0u);
}

TEST(Admission, L03_RefusesAtTheLimitAndCountsIt) {
  AdmissionDesk desk(2);
  Admission a = desk.Admit();
  {
    Admission b = desk.Admit();
    EXPECT_FALSE(desk.Admit());
    EXPECT_EQ(desk.refused(), 1u);
    EXPECT_EQ(desk.count(), 2u);
  }
  EXPECT_TRUE(desk.Admit());
  desk.set_limit(0);
  EXPECT_FALSE(desk.Admit());
  EXPECT_EQ(desk.count(), 1u);
}

TEST(Admission, L01_ExactUnderThreads) {
  AdmissionDesk desk(50);
  std::atomic<uint64_t> refused{0};
  std::atomic<bool> over{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      std::vector<Admission> mine;
      for (int i = 0; i < 5000; ++i) {
        Admission a = desk.Admit();
        if (desk.count() > 50) over = true;
        if (!a) {
          ++refused;
          mine.clear();
        } else {
          mine.push_back(std::move(a));
        }
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(desk.count(), 0u);
  EXPECT_FALSE(over);
  EXPECT_EQ(desk.refused(), refused);
  EXPECT_GT(refused, 0u);
}

}  // namespace
}  // namespace skein::node
