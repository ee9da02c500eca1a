#include "node/replication/log_census.h"

#include <gtest/gtest.h>

namespace skein::node {
namespace {

const storage::Reign kFirst = storage::NewReign(1, 0), kSecond = storage::NewReign(0, 500),
                     kThird = storage::NewReign(7, 500);

TEST(LogCensus, LogsAreComparedByTheirHistoriesNotByTheirLength) {
  const LogKnowledge mine{800, {kFirst, kSecond}};
  EXPECT_EQ(Compare(mine, {800, {kFirst, kSecond}}), Knows::kNothingMore);
  EXPECT_EQ(Compare(mine, {700, {kFirst, kSecond}}), Knows::kNothingMore);
  EXPECT_EQ(Compare(mine, {300, {kFirst}}), Knows::kNothingMore);
  EXPECT_EQ(Compare(mine, {900, {kFirst, kSecond}}), Knows::kMore);
  EXPECT_EQ(Compare({500, {kFirst}}, mine), Knows::kMore);
  // Somebody else's reign, or records that went on where a reign of this log began.
  EXPECT_EQ(Compare(mine, {900, {kFirst, kThird}}), Knows::kOther);
  EXPECT_EQ(Compare(mine, {600, {kFirst}}), Knows::kOther);
  EXPECT_EQ(Compare(mine, {900, {kThird}}), Knows::kOther);
}

TEST(LogCensus, WhoHasNoHistoryKnowsNothing) {
  EXPECT_EQ(Compare({800, {kFirst}}, {5000, {}}), Knows::kNothingMore);
  EXPECT_EQ(Compare({0, {}}, {0, {}}), Knows::kNothingMore);
  EXPECT_EQ(Compare({0, {}}, {100, {kFirst}}), Knows::kMore);
  // Data of its own, but no log of it: an RDB file.
  EXPECT_EQ(Compare({900, {}}, {100, {kFirst}}), Knows::kMore);
}

// It has been given to another primary meanwhile, or others have elected one: the bus will say.
TEST(LogCensus, WhoFollowsAnotherIsNotTakenFrom) {
  EXPECT_EQ(Compare({0, {}}, {900, {kThird}, /*elsewhere=*/true}), Knows::kOther);
  EXPECT_EQ(Compare({100, {kFirst}}, {900, {kFirst}, /*elsewhere=*/true}), Knows::kOther);
  EXPECT_EQ(Compare({100, {kFirst}}, {0, {}, /*elsewhere=*/true}), Knows::kNothingMore);
}

TEST(LogCensus, EveryShardIsTakenFromWhomKnowsMostOfIt) {
  LogCensus census({{100, {kFirst}}, {100, {kFirst}}, {100, {kFirst}}}, 2);
  EXPECT_FALSE(census.complete());
  census.Hear(0, 0, {150, {kFirst}});
  census.Hear(1, 0, {200, {kFirst}});
  census.Hear(0, 1, {300, {kFirst}});
  census.Hear(1, 1, {200, {kFirst}});
  census.Hear(0, 2, {100, {kFirst}});
  EXPECT_FALSE(census.complete());
  census.Hear(0, 2, {90, {kFirst}});  // said again
  EXPECT_FALSE(census.complete());
  census.Hear(1, 2, {80, {kFirst}});
  EXPECT_TRUE(census.complete());
  EXPECT_TRUE(census.knows_more());
  ASSERT_TRUE(census.sources()[0] && census.sources()[1]);
  EXPECT_EQ(census.sources()[0]->peer, 1u);
  EXPECT_EQ(census.sources()[0]->end, 200u);
  EXPECT_EQ(census.sources()[1]->peer, 0u);
  EXPECT_FALSE(census.sources()[2]);
  census.Hear(2, 0, {900, {kFirst}});
  census.Hear(0, 3, {900, {kFirst}});
  EXPECT_EQ(census.sources()[0]->end, 200u);
}

// It is for the cluster to say whose records count; that may take a moment.
TEST(LogCensus, IsNotCompleteWhileSomebodyHasOtherRecords) {
  LogCensus census({{800, {kFirst, kSecond}}}, 1);
  census.Hear(0, 0, {900, {kFirst, kThird}});
  EXPECT_FALSE(census.complete());
  EXPECT_FALSE(census.knows_more());
}

TEST(LogCensus, WithoutPeersThereIsNothingToWaitFor) { EXPECT_TRUE(LogCensus({{800, {kFirst}}}, 0).complete()); }

}  // namespace
}  // namespace skein::node
