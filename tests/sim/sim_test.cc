// Random lives of small clusters, and what single runs must show.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/sim/scenario.h"

namespace skein::sim {
namespace {

void RunSeeds(uint64_t first, uint64_t count) {
  for (uint64_t seed = first; seed < first + count; ++seed) {
    Outcome out = RunScenario(seed);
    ASSERT_EQ(out.failure, "") << out.trace << "\nreplay: tests/sim/run --seed " << seed;
  }
}

// Divided so that they share the cores.
TEST(Sim, Seeds1) { RunSeeds(1, SKEIN_SIM_SEEDS); }
TEST(Sim, Seeds2) { RunSeeds(1 + SKEIN_SIM_SEEDS, SKEIN_SIM_SEEDS); }
TEST(Sim, Storms1) { RunSeeds(kStorms, SKEIN_SIM_STORMS); }
TEST(Sim, Storms2) { RunSeeds(kStorms + SKEIN_SIM_STORMS, SKEIN_SIM_STORMS); }

#if SKEIN_SIM_STORMS >= 400  // it is about the checks, and sanitizers have nothing to find in it
// Every error of the disk, the data plane, a clock or a peer is seen within 400 storms, so that each check is
// known to be able to fail.
TEST(Sim, PlantedErrorsAreSeen) {
  for (int p = 1; p <= static_cast<int>(Plant::kLast); ++p) {
    Plant plant = static_cast<Plant>(p);
    bool seen = false;
    for (uint64_t seed = 1; seed <= 400 && !seen; ++seed)
      seen = !RunPlan(MakeStorm(kStorms + seed), plant).failure.empty();
    EXPECT_TRUE(seen) << Name(plant);
  }
}
#endif

// Schedules of which each has shown an error in who may decide and who may write; what it was is in the README.
TEST(Sim, WhatStormsHaveShown) {
  for (uint64_t seed :
       {20,  55,  66,   108,  139,  144,  610,   1244,  1470,  2276,   3058,   7811,   7855,   11186, 82,
        769, 970, 1395, 1426, 1508, 1950, 71073, 84458, 87770, 213572, 239077, 300372, 305757, 409921})
    RunSeeds(kStorms + seed, 1);
  RunSeeds(100036, 1);
  RunSeeds(101648, 1);
  RunSeeds(48, 2);
}

// What is left out of a failing life does not change what is left in.
TEST(Sim, AFailingLifeShrinks) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    Plan plan = MakePlan(seed);
    if (RunPlan(plan, Plant::kForgottenClaims).failure.empty()) continue;
    Plan least = Shrink(plan, 60, Plant::kForgottenClaims);
    EXPECT_LT(least.entries.size(), plan.entries.size());
    EXPECT_NE(RunPlan(least, Plant::kForgottenClaims).failure, "");
    return;
  }
  FAIL() << "no life failed";
}

TEST(Sim, TheSameSeedGivesTheSameRun) {
  Outcome a = RunScenario(7), b = RunScenario(7), c = RunScenario(8);
  EXPECT_EQ(a.hash, b.hash);
  EXPECT_EQ(a.steps, b.steps);
  EXPECT_NE(a.hash, c.hash);
}

// The default timeout, as redis-cli --cluster create makes it: every node meets the first.
TEST(Sim, ThreeNodesFormWithinTwoSeconds) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    World world(seed, bus::EngineOptions{});
    int64_t ms = Form(&world, 3, 3, 2000);
    ASSERT_GE(ms, 0) << "seed " << seed << ": " << world.Disagreement() << world.failure();
    ASSERT_LE(ms, 2000);
  }
}

TEST(Sim, EightyNodesFormWithinFiveSeconds) {
  bus::EngineOptions options;
  options.node_timeout_ms = 5000;
  World world(1, options);
  EXPECT_GE(Form(&world, 80, 80, 5000, false), 0) << world.Disagreement() << world.failure();
}

// What an idle node sends hardly depends on how many there are.
TEST(Sim, IdleBytesStayFlat) {
  double rate[2];
  for (int i = 0; i < 2; ++i) {
    bus::EngineOptions options;
    options.node_timeout_ms = 5000;
    World world(3, options);
    ASSERT_GE(Form(&world, i == 0 ? 20 : 60, 20, 10000), 0) << world.Disagreement();
    world.Run(10000);
    uint64_t before = world.bytes_sent(0);
    world.Run(30000);
    EXPECT_EQ(world.Disagreement(), "");
    rate[i] = static_cast<double>(world.bytes_sent(0) - before) / 30;
  }
  EXPECT_LT(rate[0], 10 * 1024);
  EXPECT_LT(rate[1], 1.5 * rate[0]) << rate[0] << " bytes/s with 20 nodes";
}

// With a loss of 1 % and 50 ms of jitter nobody is accused for ten minutes.
TEST(Sim, NoFalseAccusation) {
  bus::EngineOptions options;
  options.node_timeout_ms = 2000;
  World world(5, options);
  ASSERT_GE(Form(&world, 6, 6, 5000), 0);
  world.faults.loss = 10;
  world.faults.delay_max = 50;
  for (int i = 0; i < 600; ++i) {
    world.Run(1000);
    for (int n = 0; n < 6; ++n) {
      for (const bus::TopologyNode& node : world.topology(n)->nodes)
        ASSERT_FALSE(node.fail || node.pfail) << world.Trace();
    }
  }
}

// A primary that is cut off or frozen may not write for longer than the others take to agree that it has failed.
TEST(Sim, AWriterCutOffStopsBeforeItIsDeclaredFailed) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    bus::EngineOptions options;
    options.node_timeout_ms = 1000;
    World world(seed, options);
    ASSERT_GE(Form(&world, 5, 5, 5000), 0) << world.Disagreement();
    world.Run(static_cast<int64_t>(seed) * 37);
    std::string victim = world.id(0);
    if (seed % 2 == 0) {
      world.Freeze(0);
    } else {
      for (int n = 1; n < 5; ++n) {
        world.Cut(0, n);
        if (seed % 3 == 0) world.Cut(n, 0);
      }
    }
    bool failed = world.RunUntil(5000, [&] {
      for (const bus::TopologyNode& node : world.topology(1)->nodes) {
        if (node.id() == victim && node.fail) return true;
      }
      return false;
    });
    ASSERT_TRUE(failed) << world.Trace();
    EXPECT_LE(world.writable_until(0), world.now()) << "seed " << seed;
  }
}

// More voters than are looked at in each step, by a lower limit: a primary that dies is replaced as soon as in a small
// cluster, one that has lost its replica gets another's, and those that live on may write all the time although a third
// is gone.
TEST(Sim, ManyVotersLoseAThird) {
  constexpr int kPrimaries = 18, kTimeout = 2000;
  bus::EngineOptions options;
  options.small_cluster = 8;
  options.node_timeout_ms = kTimeout;
  World world(1, options);
  world.AddCluster(kPrimaries, kPrimaries);
  ASSERT_TRUE(world.RunUntil(10000, [&] { return world.now() % 500 == 0 && world.Disagreement().empty(); }))
      << world.Disagreement() << world.failure();
  world.Run(kTimeout);
  int64_t begin = world.now();
  world.Crash(0);
  ASSERT_TRUE(world.RunUntil(kTimeout * 3 / 2, [&] { return world.Accepts(kPrimaries); }));
  EXPECT_LE(world.now() - begin, kTimeout * 5 / 4);
  begin = world.now();
  for (int n = 1; n <= kPrimaries / 3; ++n) world.Crash(n);
  bool written = true;
  auto all = [&] {
    for (int n = kPrimaries / 3 + 1; n < kPrimaries; ++n) written &= world.writable_until(n) > world.clock(n);
    for (int n = 0; n <= kPrimaries / 3; ++n) {
      if (!world.Accepts(kPrimaries + n)) return false;
    }
    return true;
  };
  EXPECT_TRUE(world.RunUntil(4 * kTimeout, all));
  EXPECT_TRUE(written);
  EXPECT_EQ(world.failure(), "");
}

// One of three voters is gone, so the new primary writes by the place that its predecessor yields, be that stopped at
// once as by SIGTERM.
TEST(Sim, AgreedFailoverWithoutOneVoter) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const bool stops = seed % 2 == 0;
    bus::EngineOptions options;
    options.node_timeout_ms = 1000;
    options.require_full_coverage = false;
    World world(seed, options);
    world.AddCluster(3, 3);
    ASSERT_TRUE(world.RunUntil(10000, [&] { return world.Disagreement().empty(); })) << world.Disagreement();
    world.Run(1500);
    world.Crash(2);
    world.Crash(5);
    const std::string gone = world.id(2);
    auto failed = [&] {
      const auto& nodes = world.topology(3)->nodes;
      return std::any_of(nodes.begin(), nodes.end(), [&](const auto& node) { return node.id() == gone && node.fail; });
    };
    ASSERT_TRUE(world.RunUntil(5000, failed)) << world.Trace();
    world.Run(500);
    ReplyPtr reply;
    if (stops) {
      reply = world.Command(0, bus::HandOverCommand{});
    } else {
      reply = world.Command(3, bus::FailoverCommand{bus::FailoverKind::kAgreed});
    }
    auto writes = [&] {
      if (stops && reply->done && world.up(0)) world.Crash(0);
      return world.Accepts(3) && reply->done;
    };
    EXPECT_TRUE(world.RunUntil(1000, writes)) << "seed " << seed << "\n" << world.Trace();
    EXPECT_EQ(reply->reply.text, "OK");
    world.Run(5000);
    EXPECT_TRUE(world.Accepts(3));
    world.Restart(3);  // it knows what it has
    EXPECT_TRUE(world.RunUntil(6000, [&] { return world.Accepts(3); })) << world.Trace();
    EXPECT_EQ(world.failure(), "");
  }
}

// However early a node dies after it has met the others, they find it failed, not only suspect.
TEST(Sim, ANodeThatDiesWhileItJoinsIsFailed) {
  for (uint64_t seed = 1; seed <= 25; ++seed) {
    bus::EngineOptions options;
    options.node_timeout_ms = 1000;
    World world(seed, options);
    ASSERT_GE(Form(&world, 3, 3, 5000), 0) << world.Disagreement();
    world.AddNode();
    world.Run(100);
    world.Command(0, bus::DelSlotsCommand{{{0, 9}}});
    world.Run(100);
    world.Command(3, bus::AddSlotsCommand{{{0, 9}}});
    world.Run(100);
    world.Command(3, bus::MeetCommand{world.ip(0), 7000, 17000});
    world.Run(static_cast<int64_t>(seed) * 20);
    const std::string gone = world.id(3);
    world.Crash(3);
    world.Run(5000);
    for (int n = 0; n < 3; ++n) {
      for (const bus::TopologyNode& node : world.topology(n)->nodes) {
        EXPECT_TRUE(node.id() != gone || node.handshake || node.fail) << "seed " << seed << ", seen by " << n;
      }
    }
    EXPECT_EQ(world.failure(), "");
  }
}

TEST(Sim, AReplicaMovesToAnOrphanAmongMany) {
  bus::EngineOptions options;
  options.small_cluster = 8;
  options.node_timeout_ms = 1000;
  World world(1, options);
  world.AddCluster(10, 11);  // the first primary has two replicas
  world.RunUntil(10000, [&] { return world.now() % 500 == 0 && world.Disagreement().empty(); });
  ASSERT_EQ(world.Disagreement(), "");
  world.Crash(10 + 7);
  EXPECT_TRUE(world.RunUntil(12000, [&] { return world.Follows(10, 7) || world.Follows(20, 7); }));
}

}  // namespace
}  // namespace skein::sim
