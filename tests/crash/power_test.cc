// Power is lost before every operation on the disk of a small script, and at random ones of longer lives.
#include <string>
#include <tuple>

#include "gtest/gtest.h"
#include "tests/crash/power_world.h"
#include "tests/sanitized.h"

namespace skein::storage {
namespace {

constexpr uint64_t kSeeds = kSanitized ? 1 : 3;
constexpr uint64_t kStride = kSanitized ? 7 : 1;

class Power : public testing::TestWithParam<std::tuple<uint32_t, AppendFsync, bool>> {
 protected:
  PowerOptions Options(uint64_t seed) const {
    const auto [shards, fsync, rewrite] = GetParam();
    return {.shards = shards, .loops = 2, .fsync = fsync, .rewrite = rewrite, .seed = seed};
  }
};

TEST_P(Power, L05_WhatWasDurableIsThereAfterLosingPowerAtRandom) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    PowerWorld world(Options(seed));
    std::mt19937_64 rng(seed);
    uint64_t cuts = 0;
    for (int life = 0; life < 6; ++life) {
      // The first life tells how many operations there are.
      const uint64_t cut_at = life == 0 ? PowerWorld::kNever : rng() % (world.operations() + 1);
      ASSERT_EQ(world.Live(cut_at, 30), "") << "seed " << seed << ", life " << life << ", cut at " << cut_at;
      cuts += world.was_cut();
    }
    ASSERT_EQ(world.Live(PowerWorld::kNever, 0), "") << "seed " << seed;
    EXPECT_GT(world.acknowledged(), 0u);
    EXPECT_GT(cuts, 0u);
  }
}

// Every operation of a life: making the folder, appending, rewriting, closing.
TEST_P(Power, L12_EveryOperationOfALifeMayBeTheLast) {
  const uint64_t first = GetParam() == std::make_tuple(2u, AppendFsync::kAlways, std::get<2>(GetParam())) ? 1 : 0;
  uint64_t cut_at = 0;
  for (bool finished = false; !finished; cut_at += first == 1 ? kStride : 11 * kStride) {
    finished = true;
    for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
      PowerWorld world(Options(seed * 1000 + cut_at));
      ASSERT_EQ(world.Live(cut_at, 3), "") << "cut at " << cut_at << ", seed " << seed;
      finished = finished && !world.was_cut();
      ASSERT_EQ(world.Live(PowerWorld::kNever, 1), "") << "after a cut at " << cut_at << ", seed " << seed;
      ASSERT_EQ(world.Live(PowerWorld::kNever, 0), "") << "in the life after, cut at " << cut_at << ", seed " << seed;
    }
  }
  EXPECT_GT(cut_at, 20u) << "a life has that many operations at least";
}

// Without this the tests above prove nothing: a log that counts as durable what no sync has covered is found out.
TEST(PowerItself, L06_ASyncThatDidNotHappenIsFoundOut) {
  for (const uint32_t shards : {1u, 4u}) {
    int found = 0;
    for (uint64_t seed = 1; seed <= 10; ++seed) {
      PowerWorld world({.shards = shards, .loops = 2, .seed = seed, .syncs_lie = true});
      std::string wrong = world.Live(PowerWorld::kNever, 30);
      for (int life = 0; life < 3 && wrong.empty(); ++life) wrong = world.Live(60, 30);
      found += !wrong.empty();
    }
    EXPECT_GE(found, 9) << "a lost tail may have been there by luck, but not again and again";
  }
}

INSTANTIATE_TEST_SUITE_P(
    , Power,
    testing::Combine(testing::Values(1u, 2u, 4u, 8u),
                     testing::Values(AppendFsync::kAlways, AppendFsync::kEverySec, AppendFsync::kNo), testing::Bool()));

}  // namespace
}  // namespace skein::storage
