#include "bus/bus_thread.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <future>

#include "bus/fake_engine.h"
#include "bus/link/frame.h"
#include "bus/link/socket.h"
#include "glog/logging.h"
#include "gtest/gtest.h"
#include "proto/bus.pb.h"

namespace skein::bus {
namespace {

class TempDir {
 public:
  TempDir() {
    std::string name = ::testing::TempDir() + "/bus-XXXXXX";
    CHECK(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~TempDir() {
    for (const char* file : {"/nodes.conf", "/nodes.conf.new", "/nodes.conf.lock"}) unlink((path_ + file).c_str());
    rmdir(path_.c_str());
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A Bus with a fake engine.
struct Node {
  explicit Node(const std::string& dir, FakeEngine::Script script = nullptr,
                const std::function<void(BusOptions*)>& change = nullptr)
      : log(std::make_shared<EventLog>()) {
    BusOptions options;
    options.dir = dir;
    options.bind = {"127.0.0.1"};
    options.bus_port = 0;
    options.node_timeout_ms = 2000;
    if (change) change(&options);
    BusCallbacks callbacks;
    callbacks.publish = [this](TopologyPtr topology) { id = topology->me().id; };
    auto started = StartBus(options, callbacks, [&](const EngineOptions& engine, StatePtr state) {
      return std::make_unique<FakeEngine>(engine, std::move(state), log, script);
    });
    status = started.status();
    if (started.ok()) bus = *std::move(started);
  }
  BusStats Stats() {
    std::promise<BusStats> stats;
    bus->GetStats([&](BusStats s) { stats.set_value(std::move(s)); });
    return stats.get_future().get();
  }
  OperatorReply Do(OperatorCommand command) {
    std::promise<OperatorReply> reply;
    bus->Submit(std::move(command), [&](OperatorReply r) { reply.set_value(std::move(r)); });
    return reply.get_future().get();
  }
  std::shared_ptr<EventLog> log;
  std::string id;
  absl::Status status;
  std::unique_ptr<Bus> bus;
};

MessagePtr Ping(uint64_t seq, size_t ages = 0) {
  auto message = std::make_shared<proto::BusMessage>();
  message->mutable_ping()->set_seq(seq);
  if (ages > 0) message->mutable_ping()->mutable_view()->set_ages(std::string(ages, 'a'));
  return message;
}

TEST(BusThread, TheIdentityIsDurableWhenStartReturns) {
  TempDir dir;
  std::string id;
  {
    Node node(dir.path());
    ASSERT_TRUE(node.status.ok()) << node.status;
    id = node.id;
    EXPECT_EQ(id.size(), 40u);
    EXPECT_EQ(access((dir.path() + "/nodes.conf").c_str(), F_OK), 0);
    EXPECT_TRUE(node.bus->Stop().ok());
  }
  Node again(dir.path());
  ASSERT_TRUE(again.status.ok()) << again.status;
  EXPECT_EQ(again.id, id);
}

TEST(BusThread, TwoNodesTalkOverRealSockets) {
  TempDir dir_a, dir_b;
  Node b(dir_b.path(), [](const Event& event, Now, Effects* effects) {
    if (const auto* message = std::get_if<MessageEvent>(&event)) {
      auto pong = std::make_shared<proto::BusMessage>();
      pong->mutable_pong()->set_seq(message->message->ping().seq());
      effects->push_back(SendEffect{message->link, pong});
    }
  });
  ASSERT_TRUE(b.status.ok()) << b.status;
  uint16_t port = b.bus->bus_port();
  Node a(dir_a.path(), [port](const Event& event, Now, Effects* effects) {
    if (const auto* command = std::get_if<OperatorEvent>(&event)) {
      effects->push_back(DialEffect{1, "127.0.0.1", port});
      effects->push_back(ReplyEffect{command->request, {}});
    } else if (const auto* up = std::get_if<LinkUpEvent>(&event)) {
      for (uint64_t i = 0; i < 1000; ++i) effects->push_back(SendEffect{up->link, Ping(i, i)});
    }
  });
  ASSERT_TRUE(a.status.ok()) << a.status;
  EXPECT_EQ(a.Do(BumpEpochCommand{}).text, "OK");
  ASSERT_TRUE(a.log->AwaitCount<MessageEvent>(1000));
  std::vector<MessageEvent> pongs = a.log->All<MessageEvent>();
  for (size_t i = 0; i < 1000; ++i) ASSERT_EQ(pongs[i].message->pong().seq(), i);
  std::vector<MessageEvent> pings = b.log->All<MessageEvent>();
  EXPECT_EQ(pings[0].link % 2, 0u);
  EXPECT_EQ(pings[0].remote_ip, "127.0.0.1");
  BusStats at_a = a.Stats(), at_b = b.Stats();
  EXPECT_EQ(at_a.bytes_sent, at_b.bytes_received);
  EXPECT_EQ(at_b.bytes_sent, at_a.bytes_received);
  for (size_t i = 0; i < at_a.messages.size(); ++i) {
    EXPECT_EQ(at_a.messages[i].sent, at_b.messages[i].received) << at_a.messages[i].type;
    EXPECT_EQ(at_b.messages[i].sent, at_a.messages[i].received) << at_a.messages[i].type;
    EXPECT_EQ(at_a.messages[i].sent, at_a.messages[i].type == "ping" ? 1000u : 0u);
  }
  std::promise<std::vector<LinkInfo>> links;
  a.bus->GetLinks([&](std::vector<LinkInfo> infos) { links.set_value(std::move(infos)); });
  std::vector<LinkInfo> infos = links.get_future().get();
  ASSERT_EQ(infos.size(), 1u);
  EXPECT_TRUE(infos[0].outbound);
  EXPECT_EQ(infos[0].node, b.id);
  EXPECT_EQ(infos[0].events, "r");
  // The other side ends: the engine hears of it.
  EXPECT_TRUE(b.bus->Stop().ok());
  EXPECT_TRUE(a.log->AwaitCount<LinkDownEvent>(1));
}

}  // namespace
}  // namespace skein::bus
