// Replies and their commit points: nothing leaves before it is durable, and nobody else is held up.
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "node/node_testing.h"
#include "storage/slot.h"

namespace skein::node {
namespace {

std::string Bulk(const std::string& s) { return "$" + std::to_string(s.size()) + "\r\n" + s + "\r\n"; }

std::string KeyOfShard(uint32_t shard, uint32_t shards, int n = 0) {
  for (int i = n * 1000;; ++i) {
    const std::string key = "key:" + std::to_string(i);
    if (storage::KeySlot(key) % shards == shard) return key;
  }
}

struct Shape {
  uint32_t loops, shards;
};

class Commit : public testing::TestWithParam<Shape> {
 protected:
  TestNode node_{{.loops = GetParam().loops, .shards = GetParam().shards, .gated = true, .configure = {}}};
  const uint32_t shards_ = GetParam().shards;

  // The record has reached the log, and whatever the loops had to do because of it has been done.
  void Settle(uint32_t shard, storage::Lsn after) {
    ASSERT_TRUE(Await([&] { return node_.log(shard).kicked() > after; }));
    for (uint32_t i = 0; i < 2 * GetParam().loops; ++i) {
      TestClient bystander(node_);
      ASSERT_EQ(bystander.Ask({"PING"}), "+PONG\r\n");
    }
  }
};

INSTANTIATE_TEST_SUITE_P(All, Commit, testing::Values(Shape{1, 1}, Shape{1, 4}, Shape{4, 4}, Shape{2, 1}),
                         [](const auto& info) {
                           return std::to_string(info.param.loops) + "x" + std::to_string(info.param.shards);
                         });

TEST_P(Commit, L06_NoReplyToAWriteBeforeItIsDurable) {
  for (uint32_t shard = 0; shard < shards_; ++shard) {
    const std::string key = KeyOfShard(shard, shards_);
    TestClient client(node_);
    client.Send("PING\r\nSET " + key + " 1\r\nPING\r\nGET " + key + "\r\n");
    Settle(shard, 0);
    // What came before may go; the write holds back itself and what follows.
    EXPECT_EQ(client.ReadReply(), "+PONG\r\n");
    EXPECT_FALSE(client.HasInput());
    node_.log(shard).AdvanceTo(node_.log(shard).kicked() - 1);
    Settle(shard, 0);
    EXPECT_FALSE(client.HasInput());
    node_.log(shard).Advance();
    EXPECT_EQ(client.ReadReply(), "+OK\r\n");
    EXPECT_EQ(client.ReadReply(), "+PONG\r\n");
    EXPECT_EQ(client.ReadReply(), Bulk("1"));
  }
}

TEST_P(Commit, AReaderIsNotShownWhatMayBeLostAndOthersAreNotHeldUp) {
  const uint32_t shard = shards_ - 1;
  const std::string key = KeyOfShard(shard, shards_), other = KeyOfShard(shard, shards_, 1);
  ASSERT_NE(storage::KeySlot(key), storage::KeySlot(other));
  TestClient writer(node_), reader(node_), bystander(node_);
  writer.Send("SET " + key + " 1\r\n");
  Settle(shard, 0);
  reader.Send("GET " + key + "\r\n");
  // Another slot of the same shard: not held up.
  EXPECT_EQ(bystander.Ask({"GET", other}), "$-1\r\n");
  for (int i = 0; i < 8; ++i) ASSERT_EQ(TestClient(node_).Ask({"GET", other}), "$-1\r\n");
  EXPECT_FALSE(reader.HasInput());
  EXPECT_FALSE(writer.HasInput());
  // One that looks at all shards waits for them all.
  bystander.Send("DBSIZE\r\n");
  for (int i = 0; i < 8; ++i) ASSERT_EQ(TestClient(node_).Ask({"GET", other}), "$-1\r\n");
  EXPECT_FALSE(bystander.HasInput());
  node_.log(shard).Advance();
  EXPECT_EQ(writer.ReadReply(), "+OK\r\n");
  EXPECT_EQ(reader.ReadReply(), Bulk("1"));
  EXPECT_EQ(bystander.ReadReply(), ":1\r\n");
}

TEST_P(Commit, ManyWritersInOrder) {
  for (uint32_t s = 0; s < shards_; ++s) node_.log(s).set_automatic(true);
  std::vector<std::thread> threads;
  for (int c = 0; c < 4; ++c) {
    threads.emplace_back([this, c] {
      TestClient client(node_);
      std::string send, expected;
      for (int i = 0; i < 500; ++i) {
        const std::string key = std::to_string(c) + ":" + std::to_string(i);
        send += TestClient::Encode({"SET", key, key}) + TestClient::Encode({"GET", key});
        expected += "+OK\r\n" + Bulk(key);
      }
      client.Send(send);
      ASSERT_EQ(client.Read(expected.size()), expected);
    });
  }
  for (std::thread& t : threads) t.join();
}

TEST_P(Commit, RepliesThatWaitForABrokenLogGetTheReason) {
  const uint32_t shard = shards_ - 1;
  const std::string key = KeyOfShard(shard, shards_);
  const std::string why = "MISCONF Errors writing to the AOF file: No space left on device";
  TestClient client(node_), all(node_);
  client.Send("SET " + key + " 1\r\nSET " + key + " 2\r\nPING\r\n");
  Settle(shard, 0);
  const storage::Lsn before = node_.log(shard).kicked();
  all.Send("FLUSHALL\r\nPING\r\n");
  Settle(shard, before);
  EXPECT_FALSE(client.HasInput());
  node_.log(shard).SetMayWrite(absl::FailedPreconditionError(why));
  EXPECT_EQ(client.ReadReply(), "-" + why + "\r\n");
  EXPECT_EQ(client.ReadReply(), "-" + why + "\r\n");
  EXPECT_EQ(client.ReadReply(), "+PONG\r\n");
  EXPECT_EQ(client.Ask({"SET", key, "3"}), "-" + why + "\r\n");
  // This one waits for the other shards first, and then is not left waiting for the broken one.
  for (uint32_t s = 0; s < shards_; ++s) {
    if (s != shard) node_.log(s).Advance();
  }
  EXPECT_EQ(all.ReadReply(), "-" + why + "\r\n");
  EXPECT_EQ(all.ReadReply(), "+PONG\r\n");
  // It recovers.
  node_.log(shard).set_automatic(true);
  node_.log(shard).SetMayWrite(absl::OkStatus());
  node_.log(shard).Advance();
  EXPECT_TRUE(Await([&] { return client.Ask({"SET", key, "4"}) == "+OK\r\n"; }));
}

TEST_P(Commit, ShutdownIsRefusedWhileDataCannotBeSaved) {
  const uint32_t shard = shards_ - 1;
  TestClient writer(node_), client(node_);
  writer.Send("SET " + KeyOfShard(shard, shards_) + " 1\r\n");
  Settle(shard, 0);
  node_.log(shard).SetMayWrite(absl::FailedPreconditionError("MISCONF Errors writing to the AOF file: full"));
  EXPECT_EQ(client.Ask({"SHUTDOWN"}), "-ERR Errors trying to SHUTDOWN. Check logs.\r\n");
  EXPECT_EQ(client.Ask({"PING"}), "+PONG\r\n");
  node_.log(shard).SetMayWrite(absl::OkStatus());
  node_.log(shard).Advance();
}

TEST_P(Commit, L18_AFullLogHoldsTheClientBackAndDropsNothing) {
  const uint32_t shard = shards_ - 1;
  node_.log(shard).set_automatic(true);
  const std::string key = KeyOfShard(shard, shards_);
  node_.log(shard).SetMayWrite(absl::UnavailableError("room"));
  std::vector<TestClient> clients;
  std::string send;
  constexpr int kEach = 3000;
  for (int i = 0; i < kEach; ++i) send += TestClient::Encode({"APPEND", key, "x"});
  for (int c = 0; c < 4; ++c) {
    clients.emplace_back(node_);
    clients.back().Send(send);
  }
  TestClient bystander(node_);
  EXPECT_EQ(bystander.Ask({"PING"}), "+PONG\r\n");
  EXPECT_EQ(node_.log(shard).kicked(), 0u);
  for (TestClient& c : clients) EXPECT_FALSE(c.HasInput());
  node_.log(shard).SetMayWrite(absl::OkStatus());
  for (TestClient& c : clients) {
    int64_t last = 0;
    for (int i = 0; i < kEach; ++i) {
      const int64_t n = std::stoll(c.ReadReply().substr(1));
      ASSERT_GT(n, last);
      last = n;
    }
  }
  EXPECT_EQ(bystander.Ask({"STRLEN", key}), ":" + std::to_string(4 * kEach) + "\r\n");
}

TEST_P(Commit, L21_StoppingWaitsForWhatWasAnswered) {
  const uint32_t shard = shards_ - 1;
  TestClient client(node_);
  client.Send("SET " + KeyOfShard(shard, shards_) + " 1\r\n");
  ASSERT_TRUE(Await([&] { return node_.log(shard).kicked() > 0; }));
  std::thread stopper([&] { EXPECT_TRUE(node_.Stop().ok()); });
  node_.log(shard).set_automatic(true);
  node_.log(shard).Advance();
  EXPECT_EQ(client.ReadToEnd(), "+OK\r\n");
  stopper.join();
  EXPECT_EQ(node_.node().connected_clients(), 0u);
}

}  // namespace
}  // namespace skein::node
