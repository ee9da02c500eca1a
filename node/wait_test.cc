// WAIT and WAITAOF, and the last batch of a loop that stops.
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "node/loop_impl.h"
#include "node/node_testing.h"
#include "storage/slot.h"

namespace skein::node {
namespace {

constexpr char kForever[] = "0";

std::string Local(int n) { return "*2\r\n:" + std::to_string(n) + "\r\n:0\r\n"; }

std::string KeyOfShard(uint32_t shard, uint32_t shards) {
  for (int i = 0;; ++i) {
    const std::string key = "key:" + std::to_string(i);
    if (storage::KeySlot(key) % shards == shard) return key;
  }
}

struct Shape {
  uint32_t loops, shards;
};

// Everysec, as it were: replies do not wait, and what is durable moves when the test says so.
class WaitTest : public testing::TestWithParam<Shape> {
 protected:
  WaitTest() {
    for (uint32_t i = 0; i < shards_; ++i) node_.log(i).set_automatic(false);
  }
  std::string Key(uint32_t shard) { return KeyOfShard(shard, shards_); }
  bool AwaitBlocked(int n) {
    return Await([&] {
      return TestClient(node_).Ask({"INFO", "clients"}).find("blocked_clients:" + std::to_string(n) + "\r\n") !=
             std::string::npos;
    });
  }
  std::string Id(TestClient& client) {
    const std::string reply = client.Ask({"CLIENT", "ID"});
    return reply.substr(1, reply.size() - 3);
  }

  const uint32_t shards_ = GetParam().shards;
  TestNode node_{{.loops = GetParam().loops, .shards = GetParam().shards, .configure = {}}};
};

INSTANTIATE_TEST_SUITE_P(All, WaitTest, testing::Values(Shape{1, 1}, Shape{2, 4}), [](const auto& info) {
  return std::to_string(info.param.loops) + "x" + std::to_string(info.param.shards);
});

TEST_P(WaitTest, L06_WaitaofAnswersWhenTheSessionsOwnWritesAreDurable) {
  const uint32_t shard = shards_ - 1;
  TestClient client(node_), other(node_);
  EXPECT_EQ(client.Ask({"WAITAOF", "1", "0", kForever}), Local(1)) << "it has written nothing";
  EXPECT_EQ(client.Ask({"SET", Key(shard), "1"}), "+OK\r\n");
  EXPECT_EQ(client.Ask({"SET", Key(0), "2"}), "+OK\r\n");
  client.Send("WAITAOF 1 0 0\r\nPING\r\n");
  ASSERT_TRUE(AwaitBlocked(1));
  // A sync is asked for at once, of every shard that it has written to.
  EXPECT_TRUE(Await([&] { return node_.log(shard).asked() > 0 && node_.log(0).asked() > 0; }));
  EXPECT_FALSE(client.HasInput());
  EXPECT_EQ(other.Ask({"WAITAOF", "1", "0", kForever}), Local(1)) << "nor has this one: not held up";
  EXPECT_EQ(other.Ask({"GET", Key(0)}), "$1\r\n2\r\n");
  node_.log(shard).AdvanceTo(node_.log(shard).kicked() - 1);
  EXPECT_EQ(other.Ask({"PING"}), "+PONG\r\n");
  EXPECT_FALSE(client.HasInput());
  for (uint32_t i = 0; i < shards_; ++i) node_.log(i).Advance();
  EXPECT_EQ(client.ReadReply(), Local(1));
  EXPECT_EQ(client.ReadReply(), "+PONG\r\n");
  EXPECT_TRUE(AwaitBlocked(0));
  EXPECT_EQ(client.Ask({"WAITAOF", "1", "0", kForever}), Local(1)) << "and still are";
}

// Whenever the writer gets there while the loop still looks: the answer does not wait for the timeout.
TEST_P(WaitTest, L06_WaitaofAnswersThoughTheWriterOvertakesIt) {
  const uint32_t shard = shards_ - 1;
  TestClient client(node_);
  for (int looks = 1; looks <= 6; ++looks) {
    EXPECT_EQ(client.Ask({"SET", Key(shard), "1"}), "+OK\r\n");
    node_.log(shard).AdvanceAfterLooks(looks);
    EXPECT_EQ(client.Ask({"WAITAOF", "1", "0", kForever}), Local(1)) << looks;
    EXPECT_EQ(node_.log(shard).looks_left(), 0) << looks;
  }
}

TEST_P(WaitTest, TimeoutsAnswerHowFarItIs) {
  TestClient client(node_);
  EXPECT_EQ(client.Ask({"SET", Key(0), "1"}), "+OK\r\n");
  const auto started = std::chrono::steady_clock::now();
  EXPECT_EQ(client.Ask({"WAITAOF", "1", "0", "20"}), Local(0));
  EXPECT_GE(std::chrono::steady_clock::now() - started, std::chrono::milliseconds(19));
  EXPECT_EQ(client.Ask({"WAITAOF", "0", "0", kForever}), Local(0)) << "nothing is asked for";
  EXPECT_EQ(client.Ask({"WAITAOF", "0", "1", "5"}), Local(0));
  EXPECT_EQ(client.Ask({"WAIT", "0", kForever}), ":0\r\n");
  EXPECT_EQ(client.Ask({"WAIT", "-1", kForever}), ":0\r\n");
  EXPECT_EQ(client.Ask({"WAIT", "1", "5"}), ":0\r\n") << "there are no replicas";
  // What the waits that are over have left in the queues does no harm.
  client.Send("WAITAOF 1 0 0\r\n");
  ASSERT_TRUE(AwaitBlocked(1));
  node_.log(0).Advance();
  EXPECT_EQ(client.ReadReply(), Local(1));
  EXPECT_EQ(client.Ask({"WAITAOF", "1", "1", "5"}), Local(1));
  EXPECT_TRUE(AwaitBlocked(0));
}

TEST_P(WaitTest, ArgumentsAreCheckedAsRedisDoes) {
  TestClient client(node_);
  const std::string integer = "-ERR value is not an integer or out of range\r\n";
  EXPECT_EQ(client.Ask({"WAIT", "x", "0"}), integer);
  EXPECT_EQ(client.Ask({"WAIT", "1", "x"}), "-ERR timeout is not an integer or out of range\r\n");
  EXPECT_EQ(client.Ask({"WAIT", "1", "-1"}), "-ERR timeout is negative\r\n");
  EXPECT_EQ(client.Ask({"WAIT", "1"}), "-ERR wrong number of arguments for 'wait' command\r\n");
  EXPECT_EQ(client.Ask({"WAITAOF", "x", "0", "0"}), integer);
  EXPECT_EQ(client.Ask({"WAITAOF", "2", "0", "0"}), "-ERR value is out of range, value must between 0 and 1\r\n");
  EXPECT_EQ(client.Ask({"WAITAOF", "-1", "0", "0"}), "-ERR value is out of range, value must between 0 and 1\r\n");
  EXPECT_EQ(client.Ask({"WAITAOF", "0", "-1", "0"}), "-ERR value is out of range, must be positive\r\n");
  EXPECT_EQ(client.Ask({"WAITAOF", "0", "x", "0"}), "-ERR value is out of range, must be positive\r\n");
  EXPECT_EQ(client.Ask({"WAITAOF", "0", "0", "-1"}), "-ERR timeout is negative\r\n");
  EXPECT_EQ(client.Ask({"WAITAOF", "0", "1", "9223372036854775807"}), "-ERR timeout is out of range\r\n");
  EXPECT_EQ(client.Ask({"WAITAOF", "0", "0"}), "-ERR wrong number of arguments for 'waitaof' command\r\n");
}

TEST(Wait, WaitaofWithoutLogs) {
  TestNode node({.logs = false, .configure = {}});
  TestClient client(node);
  EXPECT_EQ(client.Ask({"SET", "k", "1"}), "+OK\r\n");
  EXPECT_EQ(client.Ask({"WAITAOF", "1", "0", "0"}),
            "-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.\r\n");
  EXPECT_EQ(client.Ask({"WAITAOF", "0", "0", "0"}), Local(0));
  EXPECT_EQ(client.Ask({"WAIT", "1", "5"}), ":0\r\n");
}

TEST_P(WaitTest, ClientUnblockEndsAWait) {
  TestClient client(node_), other(node_);
  const std::string id = Id(client);
  EXPECT_EQ(other.Ask({"CLIENT", "UNBLOCK", id}), ":0\r\n");
  EXPECT_EQ(client.Ask({"SET", Key(0), "1"}), "+OK\r\n");
  client.Send("WAITAOF 1 0 0\r\n");
  ASSERT_TRUE(AwaitBlocked(1));
  EXPECT_NE(other.Ask({"CLIENT", "LIST", "ID", id}).find(" flags=b "), std::string::npos);
  EXPECT_EQ(other.Ask({"CLIENT", "UNBLOCK", id}), ":1\r\n");
  EXPECT_EQ(client.ReadReply(), Local(0));
  client.Send("WAIT 1 0\r\n");
  ASSERT_TRUE(AwaitBlocked(1));
  EXPECT_EQ(other.Ask({"CLIENT", "UNBLOCK", id, "TIMEOUT"}), ":1\r\n");
  EXPECT_EQ(client.ReadReply(), ":0\r\n");
  client.Send("WAIT 1 100000\r\n");
  ASSERT_TRUE(AwaitBlocked(1));
  EXPECT_EQ(other.Ask({"CLIENT", "UNBLOCK", id, "ERROR"}), ":1\r\n");
  EXPECT_EQ(client.ReadReply(), "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n");
  EXPECT_EQ(client.Ask({"PING"}), "+PONG\r\n");
  EXPECT_EQ(other.Ask({"CLIENT", "UNBLOCK", id}), ":0\r\n");
}

TEST_P(WaitTest, AClientThatGoesWhileItWaitsLeavesNothing) {
  for (int i = 0; i < 3; ++i) {
    TestClient client(node_);
    EXPECT_EQ(client.Ask({"SET", Key(0), "1"}), "+OK\r\n");
    // What follows is still unread when it goes.
    client.Send(i == 0 ? "WAITAOF 1 0 0\r\n" : i == 1 ? "WAIT 1 0\r\nSET a 1\r\n" : "WAITAOF 1 1 100000\r\nPING\r\n");
    ASSERT_TRUE(AwaitBlocked(1));
    client.Close();
    EXPECT_TRUE(AwaitBlocked(0));
    EXPECT_TRUE(Await([&] { return node_.node().connected_clients() == 0; }));
  }
  for (uint32_t i = 0; i < shards_; ++i) node_.log(i).Advance();
  EXPECT_EQ(TestClient(node_).Ask({"PING"}), "+PONG\r\n");
}

TEST_P(WaitTest, L15_ALogThatFailsEndsTheWaitWithTheReason) {
  const uint32_t shard = shards_ - 1;
  const std::string why = "MISCONF Errors writing to the AOF file: No space left on device";
  TestClient client(node_);
  EXPECT_EQ(client.Ask({"SET", Key(shard), "1"}), "+OK\r\n");
  client.Send("WAITAOF 1 0 0\r\nPING\r\n");
  ASSERT_TRUE(AwaitBlocked(1));
  node_.log(shard).SetMayWrite(absl::FailedPreconditionError(why));
  EXPECT_EQ(client.ReadReply(), "-" + why + "\r\n");
  EXPECT_EQ(client.ReadReply(), "+PONG\r\n");
  EXPECT_EQ(client.Ask({"WAITAOF", "1", "0", kForever}), "-" + why + "\r\n");
  node_.log(shard).SetMayWrite(absl::OkStatus());
  node_.log(shard).Advance();
  EXPECT_TRUE(Await([&] { return client.Ask({"WAITAOF", "1", "0", "50"}) == Local(1); }));
}

TEST_P(WaitTest, L21_StoppingDoesNotWaitForThoseWhoWait) {
  TestClient client(node_);
  client.Send("WAIT 1 0\r\n");
  ASSERT_TRUE(AwaitBlocked(1));
  EXPECT_TRUE(node_.Stop().ok());
  EXPECT_EQ(client.ReadToEnd(), ":0\r\n");
  EXPECT_EQ(node_.node().connected_clients(), 0u);
}

// The batch in which a loop stops has no end of its own, where its records would be handed to the writers.
TEST_P(WaitTest, L21_WhatTheLastBatchOfALoopAppendsIsHandedToTheLog) {
  const uint32_t shard = shards_ - 1;
  storage::Lsn end = 0;
  node_.node().Post(shard % GetParam().loops, [&](LoopImpl& loop) {
    loop.BeginDrain();
    std::vector<ShardPart> parts;
    loop.RunOnShards(
        [this](LoopImpl&, storage::Shard& s) {
          std::string key = "last";
          while (storage::KeySlot(key) % shards_ != s.index()) key += '.';
          s.SetString(0, storage::Key(key), "words", storage::kNoExpiry, "set");
          return std::string();
        },
        /*write=*/true, &parts);
    for (const ShardPart& part : parts) {
      if (part.shard == shard) end = part.wrote;
    }
    loop.Stop();
  });
  EXPECT_TRUE(node_.Stop().ok());
  EXPECT_GT(end, 0u);
  EXPECT_EQ(node_.log(shard).kicked(), end);
}

}  // namespace
}  // namespace skein::node
