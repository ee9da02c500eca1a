// Who is woken when something has become durable: whoever waits for it, and nobody else.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "node/node_testing.h"
#include "storage/slot.h"

namespace skein::node {
namespace {

using Clock = std::chrono::steady_clock;

std::string KeyOfShard(uint32_t shard, uint32_t shards, int from = 0) {
  for (int i = from;; ++i) {
    const std::string key = "key:" + std::to_string(i);
    if (storage::KeySlot(key) % shards == shard) return key;
  }
}

// How often the loop's thread has gone to sleep.
uint64_t SleepsOf(uint32_t loop) {
  const std::string name = "loop-" + std::to_string(loop);
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string found, word;
    std::ifstream(task.path() / "comm") >> found;
    if (found != name) continue;
    std::ifstream status(task.path() / "status");
    while (status >> word) {
      uint64_t count = 0;
      if (word == "voluntary_ctxt_switches:" && status >> count) return count;
    }
  }
  ADD_FAILURE() << "no thread " << name;
  return 0;
}

// Until every loop runs, and has done what it was asked for before.
void AwaitLoops(TestNode* node, uint32_t loops) {
  std::atomic<uint32_t> heard{0};
  for (uint32_t i = 0; i < loops; ++i) node->node().Post(i, [&heard](LoopImpl&) { ++heard; });
  ASSERT_TRUE(Await([&] { return heard == loops; }));
}

// Makes durable what is published, as soon as it is.
class Syncer {
 public:
  explicit Syncer(TestNode* node, uint32_t shards) {
    thread_ = std::thread([this, node, shards] {
      while (!stop_.load()) {
        for (uint32_t shard = 0; shard < shards; ++shard) {
          StepLog& log = node->log(shard);
          if (const storage::Lsn kicked = log.kicked(); kicked != log.durable()) log.AdvanceTo(kicked);
        }
      }
    });
  }
  ~Syncer() {
    stop_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

TEST(Wake, ALoopWithoutWaitingRepliesSleepsOn) {
  TestNode node({.loops = 2, .shards = 2, .gated = true, .configure = [](Config* c) { c->hz = 1; }});
  TestClient client(node);
  ASSERT_EQ(client.Ask({"PING"}), "+PONG\r\n");
  const uint32_t own = node.node().loop(0).session_count() == 1 ? 0 : 1;
  const std::string key = KeyOfShard(own, 2);
  AwaitLoops(&node, 2);
  const uint64_t before = SleepsOf(1 - own);
  constexpr int kWrites = 200;
  {
    Syncer syncer(&node, 2);
    for (int i = 0; i < kWrites; ++i) ASSERT_EQ(client.Ask({"SET", key, "1"}), "+OK\r\n");
  }
  // Its timers are its own.
  EXPECT_LT(SleepsOf(1 - own) - before, kWrites / 2u);
}

TEST(Wake, WhatIsNotAwaitedYetWakesNobody) {
  TestNode node({.loops = 1, .shards = 1, .gated = true, .configure = [](Config* c) { c->hz = 1; }});
  TestClient client(node);
  client.Send("SET first 1\r\n");
  ASSERT_TRUE(Await([&] { return node.log(0).kicked() > 0; }));
  const storage::Lsn first = node.log(0).kicked();
  TestClient other(node);
  other.Send("SET second 2\r\n");
  ASSERT_TRUE(Await([&] { return node.log(0).kicked() > first; }));
  TestClient bystander(node);
  for (int i = 0; i < 4; ++i) ASSERT_EQ(bystander.Ask({"PING"}), "+PONG\r\n");
  const uint64_t before = SleepsOf(0);
  constexpr int kSteps = 100;
  for (int i = 0; i < kSteps; ++i) {
    node.log(0).AdvanceTo(first - 1);
    std::this_thread::yield();
  }
  EXPECT_LT(SleepsOf(0) - before, kSteps / 4u);
  EXPECT_FALSE(client.HasInput());
  node.log(0).AdvanceTo(first);
  EXPECT_EQ(client.ReadReply(), "+OK\r\n");
  EXPECT_FALSE(other.HasInput());
  node.log(0).Advance();
  EXPECT_EQ(other.ReadReply(), "+OK\r\n");
}

// What becomes durable at any moment of the loop's turn is neither overlooked nor answered before. A loop that sleeps
// over it is only woken by its next timer.
TEST(Wake, L06_NoWakeUpIsLostAndNoReplyIsEarly) {
  constexpr uint32_t kLoops = 2, kShards = 4;
  TestNode node({.loops = kLoops, .shards = kShards, .gated = true, .configure = [](Config* c) { c->hz = 1; }});
  std::atomic<int> late{0}, early{0};
  {
    Syncer syncer(&node, kShards);
    std::vector<std::thread> clients;
    for (uint32_t c = 0; c < kShards; ++c) {
      clients.emplace_back([&, c] {
        TestClient client(node);
        const std::string key = KeyOfShard(c, kShards, static_cast<int>(1000 * c));
        for (int i = 0; i < 400; ++i) {
          const storage::Lsn before = node.log(c).kicked();
          const Clock::time_point asked = Clock::now();
          ASSERT_EQ(client.Ask({"APPEND", key, "x"}), ":" + std::to_string(i + 1) + "\r\n");
          if (node.log(c).durable() <= before) ++early;
          if (Clock::now() - asked > std::chrono::milliseconds(300)) ++late;
        }
      });
    }
    for (std::thread& t : clients) t.join();
  }
  EXPECT_EQ(early.load(), 0);
  // (Beside a busy machine a thread may wait that long for a processor once.)
  EXPECT_LE(late.load(), 2);
}

// The same, moment by moment: the writer stores what is durable just after the loop has looked, so it finds no
// announcement, unless the loop has made it before.
TEST(Wake, L06_TheLoopLooksOnceMoreAfterItHasAnnounced) {
  TestNode node({.loops = 1, .shards = 1, .gated = true, .configure = [](Config* c) { c->hz = 1; }});
  TestClient client(node);
  StepLog& log = node.log(0);
  constexpr int kMany = 1000;
  int looks = kMany;
  for (int i = 0; i < 3; ++i) {
    log.AdvanceAfterLooks(kMany);
    const storage::Lsn before = log.kicked();
    client.Send("SET key 1\r\n");
    ASSERT_TRUE(Await([&] { return log.kicked() > before; }));
    // Until it sleeps.
    for (int seen = -1; seen != log.looks_left();) {
      seen = log.looks_left();
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    looks = std::min(looks, kMany - log.looks_left());
    log.AdvanceAfterLooks(0);
    log.Advance();
    ASSERT_EQ(client.ReadReply(), "+OK\r\n");
  }
  ASSERT_GE(looks, 2);
  int late = 0;
  for (int i = 0; i < 8; ++i) {
    for (int look = 1; look <= looks; ++look) {
      log.AdvanceAfterLooks(look);
      const Clock::time_point asked = Clock::now();
      ASSERT_EQ(client.Ask({"SET", "key", "1"}), "+OK\r\n");
      if (Clock::now() - asked > std::chrono::milliseconds(300)) ++late;
    }
  }
  EXPECT_LE(late, 2) << "of " << looks << " moments";
}

TEST(Wake, L06_ATurnToAlwaysHoldsBackReadersOfEarlierWrites) {
  TestNode node(
      {.loops = 2, .shards = 2, .configure = [](Config* c) { c->appendfsync = storage::AppendFsync::kEverySec; }});
  for (uint32_t shard = 0; shard < 2; ++shard) node.log(shard).set_automatic(false);
  const std::string key = KeyOfShard(1, 2);
  TestClient writer(node), reader(node);
  ASSERT_EQ(writer.Ask({"SET", key, "1"}), "+OK\r\n");
  ASSERT_TRUE(Await([&] { return node.log(1).kicked() > 0; }));
  ASSERT_EQ(writer.Ask({"CONFIG", "SET", "appendfsync", "always"}), "+OK\r\n");
  AwaitLoops(&node, 2);
  reader.Send("GET " + key + "\r\n");
  for (int i = 0; i < 4; ++i) ASSERT_EQ(TestClient(node).Ask({"PING"}), "+PONG\r\n");
  EXPECT_FALSE(reader.HasInput());
  node.log(1).Advance();
  EXPECT_EQ(reader.ReadReply(), "$1\r\n1\r\n");
}

}  // namespace
}  // namespace skein::node
