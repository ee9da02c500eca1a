// A replica's data set becomes one of its primary's number of shards, while its clients go on.
#include "node/replication/shape_change.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "node/replication/replication_testing.h"

namespace skein::node {
namespace {

Live::Options With(uint32_t shards, bool logs = true, uint32_t loops = 2) {
  return {.cluster = true, .logs = logs, .loops = loops, .shards = shards, .configure = {}};
}

void Fill(Live& primary, int from, int to) {
  TestClient client(primary.node().port());
  for (int i = from; i < to; ++i) ASSERT_EQ(Set(client, i), "+OK\r\n");
}

bool Same(Live& primary, Live& replica, int keys) {
  if (!replica.linked() || replica.node().shard_count() != primary.node().shard_count()) return false;
  if (replica.offset() != primary.offset()) return false;
  TestClient client(replica.node().port());
  client.Ask({"READONLY"});
  return client.Ask({"DBSIZE"}) == ":" + std::to_string(keys) + "\r\n" &&
         client.Ask({"GET", "key:" + std::to_string(keys - 1)}).starts_with("$100\r\n");
}

absl::Status Promote(Live& node, uint64_t epoch) {
  std::promise<absl::Status> promoted;
  node.node().replication()->Promote(epoch, [&](const absl::Status& status) { promoted.set_value(status); });
  return promoted.get_future().get();
}

// Clients of a node that ask all kinds of things until they are told to stop, and are never cut off.
class Readers {
 public:
  explicit Readers(Live& node) {
    for (int i = 0; i < 2; ++i) {
      threads_.emplace_back([this, port = node.node().port()] {
        TestClient client(port);
        client.Ask({"READONLY"});
        for (int i = 0; !stop_.load(); ++i) {
          for (const std::vector<std::string>& words :
               {std::vector<std::string>{"GET", "key:" + std::to_string(i % 300)},
                {"DBSIZE"},
                {"INFO", "everything"},
                {"CLIENT", "LIST"},
                {"SCAN", std::to_string(i % 7)},
                {"WAIT", "0", "1"},
                {"CONFIG", "GET", "databases"}}) {
            const std::string answer = client.Ask(words);
            if (answer.empty()) ++cut_off_;
            if (answer[0] == '-' && !answer.starts_with("-LOADING") && !answer.starts_with("-ERR WAIT")) ++strange_;
          }
          ++rounds_;
        }
      });
    }
  }
  ~Readers() { Stop(); }
  void Stop() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    EXPECT_EQ(cut_off_, 0);
    EXPECT_EQ(strange_, 0);
    EXPECT_GT(rounds_, 0);
  }

 private:
  std::atomic<bool> stop_{false};
  std::atomic<int> cut_off_{0}, strange_{0}, rounds_{0};
  std::vector<std::thread> threads_;
};

class ShapeChangeOf : public testing::TestWithParam<std::tuple<bool, uint32_t>> {};
INSTANTIATE_TEST_SUITE_P(All, ShapeChangeOf, testing::Combine(testing::Bool(), testing::Values(1u, 2u, 3u)),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param) ? "Files" : "Memory") + "Loops" +
                                  std::to_string(std::get<1>(info.param));
                         });

TEST_P(ShapeChangeOf, ItFollowsOneAfterTheOtherAndThenServes) {
  const auto [logs, loops] = GetParam();
  Live four(With(4, logs)), one(With(1, logs)), replica(With(2, logs, loops));
  Fill(four, 0, 300);
  Fill(one, 0, 120);
  Readers readers(replica);
  replica.Follow(four);
  ASSERT_TRUE(Await([&] { return Same(four, replica, 300); }));
  Fill(four, 300, 400);
  ASSERT_TRUE(Await([&] { return Same(four, replica, 400); }));
  EXPECT_EQ(replica.node().config()->storage_shards, 4u);
  EXPECT_EQ(replica.Info().flows.size(), 4u);
  replica.Follow(one);
  ASSERT_TRUE(Await([&] { return Same(one, replica, 120); }));
  EXPECT_EQ(replica.node().config()->storage_shards, 1u);
  replica.Follow(four);
  ASSERT_TRUE(Await([&] { return Same(four, replica, 400); }));
  readers.Stop();
  ASSERT_TRUE(Promote(replica, 9).ok());
  replica.bus().Change([](bus::Topology* t) {
    t->current_epoch = 9;
    t->nodes[0].primary = true;
    t->nodes[0].primary_index = bus::kNobody;
    t->owner.fill(0);
  });
  Fill(replica, 400, 450);
  TestClient client(replica.node().port());
  EXPECT_EQ(client.Ask({"DBSIZE"}), ":450\r\n");
  if (!logs) return;
  replica.Stop();
  replica.Start();
  EXPECT_EQ(replica.node().shard_count(), 4u);
  TestClient again(replica.node().port());
  EXPECT_EQ(again.Ask({"DBSIZE"}), ":450\r\n");
}

TEST(ShapeChange, AReplicaOfAReplicaChangesWithIt) {
  Live four(With(4)), middle(With(2)), last(With(3));
  Fill(four, 0, 200);
  last.Follow(middle);
  ASSERT_TRUE(Await([&] { return last.linked() && last.node().shard_count() == 2; }));
  middle.Follow(four);
  ASSERT_TRUE(Await([&] { return Same(four, middle, 200); }));
  ASSERT_TRUE(Await([&] { return Same(four, last, 200); }));
  Fill(four, 200, 300);
  ASSERT_TRUE(Await([&] { return Same(four, last, 300); }));
}

TEST(ShapeChange, L21_ANodeThatStopsMeanwhileStartsWithOneDataSetOrTheOther) {
  Live four(With(4));
  Fill(four, 0, 200);
  Live replica(With(2));
  for (int i = 0; i < 12; ++i) {
    replica.Follow(four);
    // At another moment each time.
    for (int turn = 0; turn < i; ++turn) replica.Info();
    if (i % 3 == 1) (void)Await([&] { return replica.node().replication()->data_age_ms() < 0 || replica.linked(); });
    replica.Stop();
    replica.Start();
    const uint32_t shards = replica.node().shard_count();
    TestClient client(replica.node().port());
    EXPECT_EQ(client.Ask({"DBSIZE"}), shards == 4 ? ":200\r\n" : ":0\r\n");
    ASSERT_TRUE(shards == 2 || shards == 4) << shards;
  }
  replica.Follow(four);
  EXPECT_TRUE(Await([&] { return Same(four, replica, 200); }));
}

TEST(ShapeChange, APrimaryThatIsNotThereChangesNothing) {
  Live replica(With(2));
  Fill(replica, 0, 50);
  {
    Live four(With(4));
    replica.Follow(four);
    ASSERT_TRUE(Await([&] { return Same(four, replica, 0) || replica.linked(); }));
  }
  EXPECT_EQ(replica.node().shard_count(), 4u);
  const absl::Status status = Promote(replica, 3);
  EXPECT_TRUE(status.ok()) << status;
}

TEST(ShapeChange, MoreDatabasesAreInherited) {
  Live::Options alone{.cluster = false, .logs = true, .loops = 2, .shards = 1, .configure = {}};
  alone.configure = [](Config* config) { config->databases = 30; };
  Live primary(alone);
  alone.configure = {};
  Live replica(alone);
  TestClient client(primary.node().port());
  client.Ask({"SELECT", "29"});
  ASSERT_EQ(Set(client, 1), "+OK\r\n");
  replica.Follow(primary);
  ASSERT_TRUE(Await([&] { return replica.linked() && replica.offset() == primary.offset(); }));
  TestClient reader(replica.node().port());
  EXPECT_EQ(reader.Ask({"SELECT", "29"}), "+OK\r\n");
  EXPECT_EQ(reader.Ask({"DBSIZE"}), ":1\r\n");
  replica.Stop();
  replica.Start();
  TestClient again(replica.node().port());
  EXPECT_EQ(again.Ask({"SELECT", "29"}), "+OK\r\n");
  EXPECT_EQ(again.Ask({"DBSIZE"}), ":1\r\n");
}

}  // namespace
}  // namespace skein::node
