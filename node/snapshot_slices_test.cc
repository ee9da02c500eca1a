// Snapshots of a node's shards while clients go on: slices on the loops, and writes that wait for room.
#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <string>
#include <vector>

#include "node/loop_impl.h"
#include "node/node_testing.h"
#include "storage/snapshot_testing.h"

namespace skein::node {
namespace {

struct Shape {
  uint32_t loops, shards;
  bool logs;
};

constexpr int kKeys = 4000;

std::string KeyAt(int i) { return "key:" + std::to_string(i); }
std::string ValueAt(int i) { return std::string(200, static_cast<char>('a' + i % 26)); }

class SnapshotSlicesTest : public testing::TestWithParam<Shape> {
 protected:
  struct Running {
    std::shared_ptr<storage::GateSink> sink = std::make_shared<storage::GateSink>();
    std::shared_ptr<storage::SnapshotBudget> budget;
  };

  void SetUp() override {
    std::string send;
    for (int i = 0; i < kKeys; ++i) {
      send += TestClient::Encode({"SET", KeyAt(i), ValueAt(i)});
      want_[{0, KeyAt(i)}] = {ValueAt(i), storage::kNoExpiry};
    }
    TestClient client(node_);
    client.Send(send);
    for (int i = 0; i < kKeys; ++i) ASSERT_EQ(client.ReadReply(), "+OK\r\n");
  }

  // On every shard; returns once all have begun.
  void Begin(uint64_t limit) {
    running_.resize(GetParam().shards);
    for (uint32_t shard = 0; shard < GetParam().shards; ++shard) {
      Running& r = running_[shard];
      r.budget = std::make_shared<storage::SnapshotBudget>(limit, [this] {
        for (uint32_t i = 0; i < GetParam().loops; ++i) node_.node().loop(i).OnProgress();
      });
      OnShard(shard, [&r](storage::Shard& s) { EXPECT_TRUE(s.BeginSnapshot({r.budget, r.sink}).ok()); });
    }
  }
  void OnShard(uint32_t shard, const std::function<void(storage::Shard&)>& fn) {
    std::promise<void> done;
    node_.node().Post(node_.node().LoopOf(shard), [&](LoopImpl&) {
      fn(node_.node().data().shard(shard));
      done.set_value();
    });
    done.get_future().wait();
  }
  bool AllEnded() const {
    for (const Running& r : running_) {
      if (r.sink->ends() == 0) return false;
    }
    return true;
  }
  // Then a pipeline of writes waits.
  bool AnyOverfull() const {
    for (const Running& r : running_) {
      if (r.budget->overfull()) return true;
    }
    return false;
  }
  // The snapshots together are what the node held at first.
  void Check() {
    storage::Contents got;
    for (Running& r : running_) {
      ASSERT_EQ(r.sink->ends(), 1);
      ASSERT_TRUE(r.sink->end().ok());
      EXPECT_EQ(r.sink->collected().repeated(), 0u);
      got.insert(r.sink->collected().contents().begin(), r.sink->collected().contents().end());
      EXPECT_EQ(r.budget->bytes(), 0u);
    }
    EXPECT_TRUE(got == want_) << got.size() << " keys instead of " << want_.size();
  }

  // So many writes that the buckets of all keys are saved by them.
  static std::string Overwrites() {
    std::string send;
    for (int i = 0; i < kKeys; ++i) send += TestClient::Encode({"SET", KeyAt(i), "new"});
    return send;
  }

  TestNode node_{{.loops = GetParam().loops, .shards = GetParam().shards, .logs = GetParam().logs, .configure = {}}};
  storage::Contents want_;
  std::vector<Running> running_;
};

INSTANTIATE_TEST_SUITE_P(All, SnapshotSlicesTest,
                         testing::Values(Shape{1, 1, true}, Shape{1, 1, false}, Shape{1, 4, false}, Shape{2, 4, true},
                                         Shape{4, 4, false}),
                         [](const auto& info) {
                           return std::to_string(info.param.loops) + "x" + std::to_string(info.param.shards) +
                                  (info.param.logs ? "" : "_without_logs");
                         });

TEST_P(SnapshotSlicesTest, WithoutClients) {
  Begin(1u << 20);
  for (Running& r : running_) r.sink->Open();
  ASSERT_TRUE(Await([&] { return AllEnded(); }));
  Check();
}

TEST_P(SnapshotSlicesTest, BesideWrites) {
  Begin(1u << 20);
  for (Running& r : running_) r.sink->Open();
  TestClient client(node_);
  client.Send(Overwrites());
  for (int i = 0; i < kKeys; ++i) ASSERT_EQ(client.ReadReply(), "+OK\r\n");
  ASSERT_TRUE(Await([&] { return AllEnded(); }));
  Check();
}

TEST_P(SnapshotSlicesTest, WritesWaitForRoomAndReadsDoNot) {
  Begin(1);  // full with the first chunk, and then twice
  TestClient writer(node_), reader(node_);
  writer.Send(Overwrites());
  ASSERT_TRUE(Await([&] { return AnyOverfull(); }));
  for (int i = 0; i < kKeys; i += 100) {
    ASSERT_EQ(reader.Ask({"GET", KeyAt(i)}).substr(0, 1), "$");
  }
  ASSERT_FALSE(AllEnded());
  for (Running& r : running_) r.sink->Open();
  for (int i = 0; i < kKeys; ++i) ASSERT_EQ(writer.ReadReply(), "+OK\r\n");
  ASSERT_TRUE(Await([&] { return AllEnded(); }));
  Check();
}

TEST_P(SnapshotSlicesTest, WritesGoOnWhenTheSnapshotTheyWaitForIsCancelled) {
  Begin(1);
  TestClient writer(node_);
  writer.Send(Overwrites());
  ASSERT_TRUE(Await([&] { return AnyOverfull(); }));
  // Its chunks are still on their way.
  for (uint32_t shard = 0; shard < GetParam().shards; ++shard) {
    OnShard(shard, [](storage::Shard& s) { s.CancelSnapshot(); });
  }
  for (int i = 0; i < kKeys; ++i) ASSERT_EQ(writer.ReadReply(), "+OK\r\n");
  for (Running& r : running_) {
    EXPECT_EQ(r.sink->end().code(), absl::StatusCode::kCancelled);
  }
  EXPECT_TRUE(AnyOverfull()) << "what had been made is still there";
}

}  // namespace
}  // namespace skein::node
