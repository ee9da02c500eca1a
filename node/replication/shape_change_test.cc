// A replica's data set becomes one of its primary's number of shards, while its clients go on.
#include "node/replication/shape_change.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "node/config/change.h"
#include "node/replication/replication_testing.h"
#include "storage/kill_point.h"
#include "storage/slot.h"

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

// A restart would bring back what was there before.
TEST(ShapeChange, NothingOnItIsDurableBeforeItsLastShardIsWhole) {
  std::promise<void> go_on;
  const std::shared_future<void> told = go_on.get_future().share();
  std::atomic<bool> held{false};
  storage::SetKillPointHook([&](std::string_view name) {
    char thread[16] = {};
    pthread_getname_np(pthread_self(), thread, sizeof thread);
    if (name != "reload.base-synced" || std::string_view(thread) != "reload-3") return;
    held = true;
    told.wait();
  });
  {
    Live four(With(4)), replica(With(2));
    Fill(four, 0, 50);
    replica.Follow(four);
    EXPECT_TRUE(Await([&] {
      const ReplicationInfo info = replica.Info();
      return held && std::count_if(info.flows.begin(), info.flows.end(),
                                   [](const auto& flow) { return flow.state == FlowState::kConnected; }) == 3;
    }));
    std::string key = "a";
    while (storage::KeySlot(key) % 4 == 3) key += "a";
    TestClient client(four.node().port());
    EXPECT_EQ(client.Ask({"SET", key, "1"}), "+OK\r\n");
    EXPECT_EQ(client.Ask({"WAIT", "1", "10000"}), ":1\r\n");
    EXPECT_TRUE(client.Ask({"WAITAOF", "0", "1", "1500"}).ends_with(":0\r\n"));
    go_on.set_value();
    EXPECT_TRUE(client.Ask({"WAITAOF", "0", "1", "10000"}).ends_with(":1\r\n"));
  }
  storage::SetKillPointHook(nullptr);
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

TEST(ShapeChange, APrimaryThatHasItsLogDoesNotGiveItUpForItsReplicasNumber) {
  Live::Options options = With(2);
  options.configure = [](Config* config) { config->cluster_node_timeout = 1000; };
  Live primary(options), replica(With(4));
  Fill(primary, 0, 50);
  Fill(replica, 0, 10);
  primary.Stop();
  primary.KnowReplica(replica.node().port());
  primary.Start();
  EXPECT_TRUE(primary.node().replication()->catching_up());
  ASSERT_TRUE(Await([&] { return !primary.node().replication()->following(); }));
  EXPECT_EQ(primary.node().shard_count(), 2u);
  TestClient client(primary.node().port());
  ASSERT_TRUE(Await([&] { return client.Ask({"DBSIZE"}) == ":50\r\n"; })) << client.Ask({"DBSIZE"});
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

std::string Rewritten(Live& node, const std::string& old_text) {
  return RewriteText(old_text, "f.conf", *node.node().config()).value();
}

TEST(ShapeChange, CONFIG_REWRITEPinsNothingThatTheUserHasNotSaid) {
  Live::Options defaulted = With(2);
  defaulted.configure = [](Config* config) { config->storage_shards = 0; };
  Live::Options many = With(4);
  many.configure = [](Config* config) { config->databases = 20; };
  Live four(many), said(With(2)), unsaid(defaulted);
  for (Live* const replica : {&said, &unsaid}) replica->Follow(four);
  for (int start = 0; start < 2; ++start) {
    for (Live* const replica : {&said, &unsaid}) {
      if (start > 0) replica->Stop(), replica->Start(), replica->Follow(four);
      ASSERT_TRUE(Await([&] { return replica->linked() && replica->node().shard_count() == 4; }));
      EXPECT_EQ(replica->node().config()->storage_shards, 4u);
      EXPECT_EQ(replica->node().config()->databases, 20u);
      for (const char* const word : {"storage-shards", "databases"}) {
        EXPECT_EQ(Rewritten(*replica, replica == &said ? "storage-shards 2\n" : "").find(word),
                  replica == &said && word[0] == 's' ? 0 : std::string::npos);
      }
    }
    EXPECT_EQ(Rewritten(said, "storage-shards 2\ndatabases 16\n").find("storage-shards 2\ndatabases 16\n"), 0u);
  }
}

TEST(ShapeChange, WhatINFOTellsOfSavesGoesOn) {
  for (const bool logs : {true, false}) {
    Live four(With(4, logs)), replica(With(2, logs));
    Fill(replica, 0, 10);
    TestClient client(replica.node().port());
    client.Ask({"DEBUG", "SET-ACTIVE-EXPIRE", "0"});
    client.Ask({"PSETEX", "gone", "1", "v"});
    ASSERT_TRUE(Await([&] { return client.Ask({"EXISTS", "gone"}) == ":0\r\n"; }));
    ASSERT_EQ(client.Ask({"SAVE"}), "+OK\r\n");
    if (logs) client.Ask({"BGREWRITEAOF"});
    const auto field = [&](const std::string& name) {
      const std::string text = client.Ask({"INFO", "everything"});
      const size_t at = text.find("\r\n" + name + ":");
      return at == std::string::npos ? "" : text.substr(at + 2, text.find("\r\n", at + 2) - at - 2);
    };
    ASSERT_TRUE(Await([&] { return field("aof_rewrite_in_progress") == "aof_rewrite_in_progress:0"; }));
    const storage::SaveStatus before = replica.node().data().saver()->status();
    const storage::DataSet::Stats log = replica.node().data().stats();
    const std::string expired = field("expired_keys");
    EXPECT_EQ(expired, "expired_keys:1");
    // In milliseconds: the other data set's saver begins later.
    replica.Follow(four);
    ASSERT_TRUE(Await([&] { return replica.linked() && replica.node().shard_count() == 4; }));
    const storage::SaveStatus after = replica.node().data().saver()->status();
    EXPECT_EQ(before.saves, 1u);
    EXPECT_EQ(before.rewrites, logs ? 1u : 0u);
    EXPECT_EQ(after.saves, before.saves);
    EXPECT_EQ(after.rewrites, before.rewrites);
    EXPECT_EQ(after.last_save, before.last_save);
    EXPECT_EQ(after.last_save_seconds, before.last_save_seconds);
    EXPECT_EQ(after.last_rewrite_seconds, before.last_rewrite_seconds);
    EXPECT_EQ(after.running, storage::SaveStatus::Kind::kNone);
    EXPECT_EQ(field("expired_keys"), expired);
    if (logs) {
      EXPECT_GE(replica.node().data().stats().writes, log.writes);
      EXPECT_GE(replica.node().data().stats().fsyncs, log.fsyncs);
    }
    client.Ask({"CONFIG", "RESETSTAT"});
    EXPECT_EQ(field("rdb_saves"), "rdb_saves:0");
    EXPECT_EQ(field("expired_keys"), "expired_keys:0");
  }
}

}  // namespace
}  // namespace skein::node
