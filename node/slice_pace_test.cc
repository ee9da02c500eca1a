#include "node/slice_pace.h"

#include <gtest/gtest.h>

namespace skein::node {
namespace {

constexpr int64_t kMillisecond = 1'000'000;

TEST(SlicePace, WithoutClientsOneSliceAfterAnother) {
  SlicePace pace;
  int64_t now = 5;
  for (int i = 0; i < 10; ++i) {
    ASSERT_EQ(pace.Length(now), SlicePace::kIdleSliceNanos);
    pace.Took(now, now + SlicePace::kIdleSliceNanos);
    now += SlicePace::kIdleSliceNanos;
  }
}

TEST(SlicePace, BesideClientsABoundedShare) {
  SlicePace pace;
  int64_t now = 1000 * kMillisecond, spent = 0;
  const int64_t begin = now;
  while (now < begin + 100 * kMillisecond) {
    pace.Worked(now);
    now += 50'000;  // a batch
    const int64_t length = pace.Length(now);
    ASSERT_LE(length, SlicePace::kBusySliceNanos);
    if (length == 0) continue;
    // A slice may overrun by one step.
    pace.Took(now, now + length + 20'000);
    now += length + 20'000;
    spent += length + 20'000;
  }
  const double share = static_cast<double>(spent) / static_cast<double>(now - begin);
  EXPECT_LT(share, 0.21);
  EXPECT_GT(share, 0.15) << "and not much less";
}

TEST(SlicePace, ClientsHaveGoneAfterAWhile) {
  SlicePace pace;
  pace.Worked(100 * kMillisecond);
  pace.Took(100 * kMillisecond, 110 * kMillisecond);
  EXPECT_EQ(pace.Length(101 * kMillisecond), 0);
  EXPECT_EQ(pace.Length(100 * kMillisecond + SlicePace::kIdleAfterNanos), SlicePace::kIdleSliceNanos);
}

}  // namespace
}  // namespace skein::node
