#include "bus/cluster_events.h"

#include <gtest/gtest.h>

namespace skein::bus {
namespace {

TEST(ClusterEvents, KeepsTheNewest) {
  ClusterEvents log;
  for (size_t i = 0; i < 3 * ClusterEvents::kMaxEvents; ++i) {
    log.Add(EventKind::kJoin, "node " + std::to_string(i), static_cast<int64_t>(i));
  }
  ASSERT_EQ(log.events().size(), ClusterEvents::kMaxEvents);
  EXPECT_EQ(log.events().back().id, 3 * ClusterEvents::kMaxEvents);
  EXPECT_EQ(log.events().front().text, "node " + std::to_string(2 * ClusterEvents::kMaxEvents));
}

TEST(ClusterEvents, TheSameInARowOnlyCounts) {
  ClusterEvents log;
  log.Add(EventKind::kClose, "x", 1);
  log.Add(EventKind::kClose, "x", 2);
  log.Add(EventKind::kFail, "x", 3);
  log.Add(EventKind::kClose, "x", 4);
  ASSERT_EQ(log.events().size(), 3u);
  EXPECT_EQ(log.events()[0].times, 2u);
  EXPECT_EQ(log.events()[0].unix_ms, 2);
  EXPECT_EQ(log.events()[2].times, 1u);
}

TEST(ClusterEvents, LongTextsAreCut) {
  ClusterEvents log;
  log.Add(EventKind::kClose, std::string(10000, 'x'), 1);
  EXPECT_EQ(log.events()[0].text.size(), ClusterEvents::kMaxText);
}

TEST(ClusterEvents, EveryKindHasAName) {
  for (uint8_t kind = 0; kind < static_cast<uint8_t>(EventKind::kLast); ++kind) {
    EXPECT_STRNE(EventKindName(static_cast<EventKind>(kind)), "config") << int{kind};
  }
}

}  // namespace
}  // namespace skein::bus
