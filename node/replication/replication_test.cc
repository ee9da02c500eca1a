// Primary and replica in one process, with real logs: what the sanitizers should see.
#include "node/replication/replication.h"

#include <gtest/gtest.h>

#include <future>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "node/replication/replication_testing.h"
#include "storage/kill_point.h"
#include "storage/slot.h"

namespace skein::node {
namespace {

class ReplicationOf : public testing::TestWithParam<std::tuple<bool, bool>> {
 protected:
  Live::Options options_{
      .cluster = std::get<0>(GetParam()), .logs = std::get<1>(GetParam()), .loops = 2, .shards = 3, .configure = {}};
};
INSTANTIATE_TEST_SUITE_P(All, ReplicationOf, testing::Combine(testing::Bool(), testing::Bool()), [](const auto& info) {
  return std::string(std::get<0>(info.param) ? "Cluster" : "Alone") + (std::get<1>(info.param) ? "Files" : "Memory");
});

TEST_P(ReplicationOf, L09_WhatIsWrittenIsThereAndSurvivesAPromotion) {
  Live primary(options_), replica(options_);
  TestClient client(primary.node().port());
  for (int i = 0; i < 300; ++i) ASSERT_EQ(Set(client, i), "+OK\r\n");
  replica.Follow(primary);
  ASSERT_TRUE(Await([&] { return replica.linked(); }));
  std::thread other([&] {
    TestClient writer(primary.node().port());
    for (int i = 300; i < 600; ++i) Set(writer, i);
  });
  for (int i = 600; i < 900; ++i) ASSERT_EQ(Set(client, i), "+OK\r\n");
  EXPECT_EQ(client.Ask({"WAIT", "1", "10000"}), ":1\r\n");
  other.join();
  ASSERT_TRUE(Await([&] { return primary.offset() == replica.offset(); }));
  EXPECT_GE(replica.node().replication()->data_age_ms(), 0);
  EXPECT_TRUE(replica.node().replication()->following());

  // Frozen, nothing moves; and the writer goes on afterwards.
  std::promise<std::vector<uint64_t>> frozen;
  primary.node().replication()->Freeze(INT64_MAX,
                                       [&](std::vector<uint64_t> ends) { frozen.set_value(std::move(ends)); });
  const std::vector<uint64_t> ends = frozen.get_future().get();
  uint64_t sum = 0;
  for (const uint64_t end : ends) sum += end;
  client.Send(TestClient::Encode({"SET", "held", "back"}));
  TestClient reader(primary.node().port());
  EXPECT_EQ(reader.Ask({"GET", "held"}), "$-1\r\n");
  EXPECT_EQ(primary.offset(), sum);
  EXPECT_FALSE(client.HasInput());
  primary.node().replication()->Unfreeze();
  EXPECT_EQ(client.ReadReply(), "+OK\r\n");
  EXPECT_EQ(client.Ask({"WAIT", "1", "10000"}), ":1\r\n");

  std::promise<absl::Status> promoted;
  replica.node().replication()->Promote(7, [&](const absl::Status& status) { promoted.set_value(status); });
  const absl::Status status = promoted.get_future().get();
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_FALSE(replica.node().replication()->following());
  EXPECT_EQ(replica.node().replication()->data_age_ms(), 0);
  std::promise<absl::Status> again;
  replica.node().replication()->Promote(7, [&](const absl::Status& s) { again.set_value(s); });
  EXPECT_TRUE(again.get_future().get().ok());
  if (options_.cluster) {
    // A topology that was on its way and knows nothing of it.
    replica.bus().Change([](bus::Topology* t) { ++t->current_epoch; });
    EXPECT_FALSE(replica.node().replication()->following());
    replica.bus().Change([](bus::Topology* t) {
      t->nodes[0].primary = true;
      t->nodes[0].primary_index = bus::kNobody;
      t->owner.fill(0);
    });
  }
  TestClient survivor(replica.node().port());
  EXPECT_EQ(Set(survivor, 1000), "+OK\r\n");
  EXPECT_EQ(survivor.Ask({"DBSIZE"}), ":902\r\n");

  // The old primary has something that the new one lacks, and comes back.
  EXPECT_EQ(client.Ask({"SET", "mine", "alone"}), "+OK\r\n");
  primary.Follow(replica);
  ASSERT_TRUE(Await([&] { return primary.linked() && primary.offset() == replica.offset(); }));
  TestClient check(primary.node().port());
  check.Ask({"READONLY"});
  EXPECT_TRUE(Await([&] { return check.Ask({"DBSIZE"}) == ":902\r\n"; })) << check.Ask({"DBSIZE"});
  EXPECT_EQ(check.Ask({"GET", "mine"}), "$-1\r\n");
  if (options_.logs) {
    EXPECT_EQ(primary.Info().lost_records, 1u);
  }
}

// An acknowledged write of a new reign must not stand in a log that a power loss puts back into the old one.
TEST(Replication, ATakeoverOpensOnceItsReignIsOnDisk) {
  const Live::Options options{.cluster = true, .logs = true, .loops = 2, .shards = 3, .configure = {}};
  std::mutex mutex;
  std::vector<std::string> seen;
  bool opened = false;
  Replication* watched = nullptr;
  storage::SetKillPointHook([&](std::string_view name) {
    const std::lock_guard lock(mutex);
    if (watched == nullptr || !(name.starts_with("promote.") || name.starts_with("reign."))) return;
    seen.emplace_back(name);
    opened = opened || !watched->following();
  });
  {
    Live primary(options), replica(options);
    replica.Follow(primary);
    ASSERT_TRUE(Await([&] { return replica.linked(); }));
    {
      const std::lock_guard lock(mutex);
      watched = replica.node().replication();
    }
    std::promise<absl::Status> promoted;
    watched->Promote(7, [&](const absl::Status& status) { promoted.set_value(status); });
    EXPECT_TRUE(promoted.get_future().get().ok());
    EXPECT_FALSE(watched->following());
    const std::lock_guard lock(mutex);
    watched = nullptr;
  }
  storage::SetKillPointHook(nullptr);
  EXPECT_EQ(seen, (std::vector<std::string>{"reign.begun", "promote.reigns-durable", "promote.reigns-listed",
                                            "reign.durable"}));
  EXPECT_FALSE(opened);
}

TEST_P(ReplicationOf, NodesStopWhateverTheirFlowsDo) {
  Live primary(options_);
  TestClient client(primary.node().port());
  for (int i = 0; i < 200; ++i) Set(client, i);
  for (int round = 0; round < 3; ++round) {
    Live replica(options_);
    replica.Follow(primary);
    if (round == 1) {
      ASSERT_TRUE(Await([&] { return replica.linked(); }));
    }
  }
  ASSERT_TRUE(Await([&] { return primary.Info().replicas.empty(); }));
  Live replica(options_);
  replica.Follow(primary);
  primary.Stop();
  EXPECT_FALSE(replica.linked() && replica.node().replication()->data_age_ms() < 0);
}

// Not by files, which tests/e2e/test_catch_up.py loses; by memory, which every restart loses.
TEST(Replication, APrimaryThatRestartsTakesFromItsReplicasWhatItLacks) {
  const Live::Options options{.cluster = true, .logs = false, .loops = 2, .shards = 3, .configure = [](Config* c) {
                                c->cluster_node_timeout = 5000;
                              }};
  Live primary(options), replica(options);
  {
    TestClient client(primary.node().port());
    for (int i = 0; i < 500; ++i) ASSERT_EQ(Set(client, i), "+OK\r\n");
    replica.Follow(primary);
    ASSERT_TRUE(Await([&] { return replica.linked() && replica.offset() == primary.offset(); }));
  }
  primary.Stop();
  primary.KnowReplica(replica.node().port());
  primary.Start();
  ASSERT_TRUE(Await([&] { return !primary.node().replication()->following(); }));
  EXPECT_FALSE(primary.node().replication()->catching_up());
  TestClient client(primary.node().port());
  ASSERT_TRUE(Await([&] { return client.Ask({"DBSIZE"}) == ":500\r\n"; })) << client.Ask({"DBSIZE"});
  EXPECT_EQ(Set(client, 1000), "+OK\r\n");
}

TEST(Replication, NothingIsTakenFromAReplicaThatFollowsAnotherByNow) {
  const Live::Options options{.cluster = true, .logs = false, .loops = 1, .shards = 1, .configure = [](Config* c) {
                                c->cluster_node_timeout = 1000;
                              }};
  Live primary(options), replica(options);
  {
    TestClient client(primary.node().port());
    ASSERT_EQ(Set(client, 1), "+OK\r\n");
    replica.Follow(primary);
    ASSERT_TRUE(Await([&] { return replica.linked() && replica.offset() == primary.offset(); }));
  }
  primary.Stop();
  replica.bus().Change([](bus::Topology* t) { t->nodes[1].SetIdentity({.id = std::string(40, 'c'), .ip = t->nodes[1].ip()}); });
  primary.KnowReplica(replica.node().port());
  primary.Start();
  ASSERT_TRUE(Await([&] { return !primary.node().replication()->following(); }));
  TestClient client(primary.node().port());
  ASSERT_TRUE(Await([&] { return client.Ask({"DBSIZE"}) == ":0\r\n"; })) << client.Ask({"DBSIZE"});
}

TEST(Replication, APrimaryWhoseReplicasAreSilentWaitsAndRefusesMeanwhile) {
  uint16_t nobody = 0;
  {
    Live gone({.configure = {}});
    nobody = gone.node().port();
  }
  Live primary({.cluster = true, .shards = 2, .configure = [](Config* c) { c->cluster_node_timeout = 1500; }});
  primary.Stop();
  primary.KnowReplica(nobody);
  primary.Start();
  TestClient client(primary.node().port());
  EXPECT_TRUE(Set(client, 1).starts_with("-CLUSTERDOWN ")) << "before it has asked";
  EXPECT_TRUE(client.Ask({"GET", "a"}).starts_with("-CLUSTERDOWN "));
  EXPECT_EQ(client.Ask({"PING"}), "+PONG\r\n");
  LogsyncRequest request;
  request.replica_id = std::string(40, 'c');
  request.shards = 2;
  EXPECT_TRUE(client.Ask(EncodeLogsync(request)).starts_with("-LOADING "));
  ASSERT_TRUE(Await([&] { return !primary.node().replication()->catching_up(); }));
  ASSERT_TRUE(Await([&] { return Set(client, 1) == "+OK\r\n"; }));

  // Stopped, or told to follow somebody, in the middle of it.
  primary.Stop();
  primary.Start();
  primary.Stop();
  primary.Start();
  Live other({.cluster = true, .shards = 2, .configure = {}});
  primary.Follow(other);
  EXPECT_FALSE(primary.node().replication()->catching_up());
  EXPECT_TRUE(primary.node().replication()->following());
  ASSERT_TRUE(Await([&] { return primary.linked(); }));
}

TEST(Replication, WhatAnybodyIsToldOfALogBeforeItIsFollowed) {
  Live node({.configure = {}});
  TestClient client(node.node().port());
  ASSERT_EQ(Set(client, 1), "+OK\r\n");
  LogsyncRequest request;
  request.replica_id = std::string(40, 'c');
  request.kind = LogsyncRequest::Kind::kAsk;
  TestClient flow(node.node().port());
  flow.Send(TestClient::Encode(EncodeLogsync(request)));
  const std::string line = flow.ReadLine();
  const auto answer = DecodeAnswer(std::string_view(line).substr(1));
  ASSERT_TRUE(answer.ok()) << line;
  EXPECT_EQ(answer->kind, LogsyncAnswer::Kind::kKnows);
  EXPECT_GT(answer->end, 0u);
  EXPECT_LE(answer->end, node.offset());
  EXPECT_EQ(answer->history.size(), 1u);
  EXPECT_EQ(flow.ReadToEnd(), "");
  EXPECT_TRUE(node.Info().replicas.empty());
}

TEST(Replication, GarbageOnAFlowClosesItAndNothingElse) {
  Live primary({.configure = {}});
  LogsyncRequest request;
  request.replica_id = std::string(40, 'c');
  request.shards = 1;
  for (const std::string& after :
       {std::string("garbage that is no frame at all"), EncodeFrame(FrameType::kRecords, "123456789"),
        EncodeFrame(FrameType::kEnd, "I have enough"), std::string(100000, 'x')}) {
    TestClient flow(primary.node().port());
    flow.Send(TestClient::Encode(EncodeLogsync(request)));
    EXPECT_TRUE(flow.ReadLine().starts_with("+FULL 1 "));
    flow.TrySend(after);
    flow.ReadToEnd();
    ASSERT_TRUE(Await([&] { return primary.Info().replicas.empty(); }));
  }
  TestClient client(primary.node().port());
  EXPECT_EQ(client.Ask({"SET", "a", "1"}), "+OK\r\n");
  // What cannot be served is refused, on a connection that stays.
  request.shards = 2;
  EXPECT_TRUE(client.Ask(EncodeLogsync(request)).ends_with(" 1 16\r\n"));
  request.shards = 1;
  request.databases = 1;
  EXPECT_TRUE(client.Ask(EncodeLogsync(request)).starts_with("+SHAPE 1 "));
  EXPECT_TRUE(client.Ask({"LOGSYNC", "x"}).starts_with("-ERR LOGSYNC: "));
  EXPECT_EQ(client.Ask({"GET", "a"}), "$1\r\n1\r\n");
}

TEST(Replication, ThereIsALimitOfReplicas) {
  Live primary({.logs = false, .configure = {}});
  const auto request = [](size_t replica, uint32_t shards = 1) {
    LogsyncRequest r;
    r.replica_id = std::to_string(replica);
    r.replica_id.insert(0, 40 - r.replica_id.size(), '0');
    r.shards = shards;
    return TestClient::Encode(EncodeLogsync(r));
  };
  std::vector<TestClient> flows;
  for (size_t i = 0; i < AckBoard::kMaxReplicas; ++i) {
    flows.emplace_back(primary.node().port());
    flows.back().Send(request(i));
    ASSERT_TRUE(flows.back().ReadLine().starts_with("+FULL 1 ")) << i;
  }
  const auto refused = [&](uint32_t shards) {
    TestClient client(primary.node().port());
    client.Send(request(AckBoard::kMaxReplicas, shards));
    return client.ReadLine() == "-ERR LOGSYNC: this node has 64 replicas already";
  };
  EXPECT_TRUE(refused(1));
  EXPECT_TRUE(refused(2)) << "nor is it told to take another number of shards, for nothing";
  EXPECT_EQ(primary.Info().replicas.size(), AckBoard::kMaxReplicas);
  TestClient again(primary.node().port());
  again.Send(request(0));
  EXPECT_TRUE(again.ReadLine().starts_with("+FULL 1 ")) << "who has a place keeps it";
  flows.back().Close();
  EXPECT_TRUE(Await([&] { return !refused(1); }));
}

// A replica that claims more than it was sent does not satisfy WAIT.
TEST(Replication, WhatWasNotSentCannotBeAcknowledged) {
  Live primary({.configure = {}});
  LogsyncRequest request;
  request.replica_id = std::string(40, 'c');
  TestClient flow(primary.node().port());
  flow.Send(TestClient::Encode(EncodeLogsync(request)));
  ASSERT_TRUE(flow.ReadLine().starts_with("+FULL 1 "));
  ASSERT_TRUE(Await([&] { return !primary.Info().replicas.empty() && primary.Info().replicas[0].state == "online"; }));
  flow.Send(EncodeAck(FrameType::kAck, {UINT64_MAX, UINT64_MAX}));
  ASSERT_TRUE(Await([&] { return primary.Info().replicas[0].lag_ms >= 0; }));
  EXPECT_LE(primary.Info().replicas[0].received, primary.offset());
  TestClient client(primary.node().port());
  client.Ask({"SET", "a", "1"});
  EXPECT_EQ(client.Ask({"WAIT", "1", "50"}), ":0\r\n");
}

// It reads nothing: what waits for it is limited, and the primary goes on.
TEST(Replication, AReplicaThatDoesNotReadIsClosedOrGoesOnFromTheFiles) {
  for (const bool logs : {false, true}) {
    Live primary({.logs = logs, .configure = [](Config* c) { c->output_replica = {256u << 10, 0, 0}; }});
    LogsyncRequest request;
    request.replica_id = std::string(40, 'c');
    TestClient flow(primary.node().port());
    flow.Send(TestClient::Encode(EncodeLogsync(request)));
    ASSERT_TRUE(flow.ReadLine().starts_with("+FULL 1 "));
    ASSERT_TRUE(
        Await([&] { return !primary.Info().replicas.empty() && primary.Info().replicas[0].state == "online"; }));
    TestClient client(primary.node().port());
    const std::string value(100 << 10, 'v');
    const auto given_up = [&] {
      const ReplicationInfo info = primary.Info();
      return logs ? !info.replicas.empty() && info.replicas[0].state == "send_bulk" : info.replicas.empty();
    };
    for (int i = 0; i < 400 && !given_up(); ++i) {
      ASSERT_EQ(client.Ask({"SET", "key:" + std::to_string(i), value}), "+OK\r\n");
    }
    EXPECT_TRUE(Await(given_up)) << logs;
    if (!logs) continue;
    // It reads again: everything comes, in order.
    std::string in;
    storage::Lsn next = 0;
    const storage::Lsn end = primary.offset();
    while (next < end) {
      in += flow.Read(1);
      Frame frame;
      size_t used;
      std::string why;
      while (DecodeFrame(in, &frame, &used, &why) == FrameResult::kIncomplete && in.size() < used) {
        in += flow.Read(used - in.size());
      }
      ASSERT_EQ(DecodeFrame(in, &frame, &used, &why), FrameResult::kFrame) << why;
      storage::Lsn lsn;
      std::string_view bytes;
      if (frame.type == FrameType::kSnapshotEnd) {
        ASSERT_TRUE(DecodeSnapshotEnd(frame.payload, &next));
      } else if (frame.type == FrameType::kRecords) {
        ASSERT_TRUE(DecodeRecords(frame.payload, &lsn, &bytes));
        ASSERT_EQ(lsn, next);
        next += bytes.size();
      }
      in.erase(0, used);
    }
    ASSERT_TRUE(Await([&] { return primary.Info().replicas[0].state == "online"; }));
  }
}

}  // namespace
}  // namespace skein::node
