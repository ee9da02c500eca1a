#include "node/replication/ack_board.h"

#include <gtest/gtest.h>

#include <thread>

namespace skein::node {
namespace {

using Stage = AckBoard::Stage;

TEST(AckBoard, AReplicaCountsOnceAllItsFlowsHaveIt) {
  AckBoard board(2);
  EXPECT_FALSE(board.any());
  EXPECT_EQ(board.Count({}, false), 0);
  AckBoard::Seat a = board.Take("a", "ip", 1, 0), b = board.Take("a", "ip", 1, 1);
  EXPECT_TRUE(board.any());
  EXPECT_EQ(board.Count({}, false), 0) << "not online";
  a.SetStage(Stage::kOnline);
  EXPECT_EQ(board.Count({}, false), 0) << "the other flow is not";
  b.SetStage(Stage::kOnline);
  EXPECT_EQ(board.Count({}, false), 1);
  EXPECT_EQ(board.Count({10, 0}, false), 0);
  a.Acknowledge(10, 5, 100);
  EXPECT_EQ(board.Count({10, 0}, false), 1);
  EXPECT_EQ(board.Count({10}, false), 1);
  EXPECT_EQ(board.Count({11}, false), 0);
  EXPECT_EQ(board.Count({10, 1}, false), 0);
  EXPECT_EQ(board.Count({6}, true), 0);
  EXPECT_EQ(board.Count({5}, true), 1);
  EXPECT_EQ(board.CountSince(0), 0);
  b.Acknowledge(1, 0, 90);
  EXPECT_EQ(board.CountSince(90), 1);
  EXPECT_EQ(board.CountSince(91), 0);
  { const AckBoard::Seat gone = std::move(b); }
  EXPECT_EQ(board.Count({}, false), 0);
}

TEST(AckBoard, ANewFlowTakesThePlaceOverAndTheOldOneCannotClearIt) {
  AckBoard board(1);
  AckBoard::Seat old = board.Take("a", "ip", 1, 0);
  old.SetStage(Stage::kOnline);
  old.Acknowledge(50, 50, 1);
  AckBoard::Seat fresh = board.Take("a", "ip", 2, 0);
  EXPECT_EQ(board.Look().size(), 1u);
  fresh.SetStage(Stage::kOnline);
  EXPECT_EQ(board.Count({50}, false), 0) << "what the flow before acknowledged does not count";
  old.Acknowledge(60, 60, 2);
  EXPECT_EQ(board.Count({50}, false), 0);
  fresh.Acknowledge(55, 0, 3);
  old = AckBoard::Seat();
  EXPECT_EQ(board.Count({55}, false), 1);
  EXPECT_EQ(board.Look()[0].port, 2);
  fresh = AckBoard::Seat();
  EXPECT_TRUE(board.Look().empty());
  EXPECT_FALSE(board.any());
}

TEST(AckBoard, PositionsOnlyGrow) {
  AckBoard board(1);
  AckBoard::Seat seat = board.Take("a", "ip", 1, 0);
  seat.SetStage(Stage::kOnline);
  seat.Acknowledge(10, 10, 1);
  seat.Acknowledge(5, 3, 2);
  EXPECT_EQ(board.Count({10}, true), 1);
  EXPECT_EQ(board.Look()[0].shards[0].acked_ms, 2);
}

TEST(AckBoard, HasAFixedNumberOfPlaces) {
  AckBoard board(1);
  std::vector<AckBoard::Seat> seats;
  for (size_t i = 0; i < AckBoard::kMaxReplicas; ++i) {
    seats.push_back(board.Take("replica-" + std::to_string(i), "ip", 1, 0));
    ASSERT_TRUE(seats.back());
  }
  EXPECT_FALSE(board.Take("one more", "ip", 1, 0));
  seats.erase(seats.begin());
  EXPECT_TRUE(board.Take("one more", "ip", 1, 0));
}

TEST(AckBoard, IsReadWhileItIsWritten) {
  AckBoard board(2);
  std::atomic<bool> stop{false};
  std::thread reader([&] {
    while (!stop) {
      EXPECT_LE(board.Count({1, 1}, false), 2);
      EXPECT_LE(board.Look().size(), 2u);
    }
  });
  for (int i = 1; i < 2000; ++i) {
    AckBoard::Seat a = board.Take("a", "ip", 1, 0), b = board.Take("b", "ip", 1, 1);
    a.SetStage(Stage::kOnline);
    a.Acknowledge(static_cast<storage::Lsn>(i), 0, i);
  }
  stop = true;
  reader.join();
  EXPECT_FALSE(board.any());
}

}  // namespace
}  // namespace skein::node
