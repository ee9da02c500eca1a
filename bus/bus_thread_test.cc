#include "bus/bus_thread.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <thread>

#include "bus/fake_engine.h"
#include "bus/link/frame.h"
#include "bus/link/socket.h"
#include "bus/state_file.h"
#include "bus/temp_dir.h"
#include "glog/logging.h"
#include "gtest/gtest.h"
#include "proto/bus.pb.h"

namespace skein::bus {
namespace {

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
    callbacks.publish = [this](TopologyPtr topology) { id = topology->me().id(); };
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

// The command that tests give a script; not the SAVECONFIG of a stop.
const OperatorEvent* AskedToAct(const Event& event) {
  const auto* command = std::get_if<OperatorEvent>(&event);
  return command != nullptr && std::holds_alternative<BumpEpochCommand>(command->command) ? command : nullptr;
}

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
    if (const OperatorEvent* command = AskedToAct(event)) {
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

// A client that speaks what it likes, over a blocking socket.
class Stranger {
 public:
  explicit Stranger(uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK_EQ(connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  void Say(const std::string& bytes) { (void)!send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  // Waits for the other side to close; what it said.
  std::string Hear() {
    std::string heard;
    char buffer[1024];
    ssize_t n;
    while ((n = recv(fd_.get(), buffer, sizeof(buffer), 0)) > 0) heard.append(buffer, static_cast<size_t>(n));
    return heard;
  }

 private:
  Fd fd_;
};

uint64_t Closes(const BusStats& stats, const std::string& reason) {
  for (const auto& [name, count] : stats.closes) {
    if (name == reason) return count;
  }
  return 0;
}

TEST(BusThread, HostilePeersNeverReachTheEngine) {
  TempDir dir;
  Node node(dir.path(), nullptr, [](BusOptions* options) {
    options->max_unproven = 200;
    options->max_unproven_per_address = 100;
    options->hello_timeout_ms = 150;
  });
  ASSERT_TRUE(node.status.ok()) << node.status;
  ASSERT_TRUE(node.log->AwaitCount<PersistedEvent>(1));
  size_t events = node.log->size();
  uint16_t port = node.bus->bus_port();
  for (const std::string& words :
       {std::string("GET / HTTP/1.0\r\n\r\n"), std::string(64, '\0'), EncodeHello({1, 1, ""}),
        EncodeHello({9, 9, std::string(40, 'a')}), EncodeHello({1, 1, node.id})}) {
    Stranger stranger(port);
    stranger.Say(words);
    EXPECT_EQ(stranger.Hear(), "");
  }
  // A thousand that say nothing: a hundred are waited for until their deadline, the others turned away.
  std::vector<std::unique_ptr<Stranger>> silent;
  for (int i = 0; i < 1000; ++i) silent.push_back(std::make_unique<Stranger>(port));
  for (auto& stranger : silent) EXPECT_EQ(stranger->Hear(), "");
  BusStats stats = node.Stats();
  EXPECT_EQ(stats.accepts_inline, 1005u);
  EXPECT_EQ(Closes(stats, "bad-magic"), 2u);
  EXPECT_EQ(Closes(stats, "bad-hello"), 1u);
  EXPECT_EQ(Closes(stats, "no-common-version"), 1u);
  EXPECT_EQ(Closes(stats, "self"), 1u);
  EXPECT_EQ(Closes(stats, "hello-timeout") + Closes(stats, "address-limit"), 1000u);
  EXPECT_GE(Closes(stats, "hello-timeout"), 100u);
  EXPECT_EQ(stats.links_refused_by_limit, Closes(stats, "address-limit"));
  EXPECT_EQ(stats.inbound + stats.outbound + stats.unproven, 0u);
  EXPECT_EQ(node.log->size(), events);  // the engine has seen nothing of it
}

TEST(BusThread, ADamagedFileIsRefusedAndKept) {
  TempDir dir;
  {
    Node node(dir.path());
    ASSERT_TRUE(node.status.ok()) << node.status;
  }
  std::string path = dir.path() + "/nodes.conf";
  ASSERT_EQ(truncate(path.c_str(), 40), 0);
  Node again(dir.path());
  EXPECT_EQ(again.status.code(), absl::StatusCode::kDataLoss);
  EXPECT_NE(again.status.message().find(path), absl::string_view::npos);
  EXPECT_EQ(again.log->size(), 0u);
  struct stat info {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_size, 40);
}

TEST(BusThread, AStartWhoseIdentityCannotBeKeptFails) {
  TempDir dir;
  ASSERT_EQ(mkdir((dir.path() + "/nodes.conf.new").c_str(), 0755), 0);
  Node node(dir.path());
  EXPECT_FALSE(node.status.ok());
  EXPECT_NE(node.status.message().find("nodes.conf.new"), absl::string_view::npos) << node.status;
  rmdir((dir.path() + "/nodes.conf.new").c_str());
}

StatePtr StateWithEpoch(uint64_t epoch) {
  auto state = std::make_shared<proto::NodeState>();
  state->set_format(1);
  state->set_current_epoch(epoch);
  return state;
}

TEST(BusThread, EveryPersistIsAnsweredInOrderAndTheNewestIsOnDisk) {
  TempDir dir;
  Node node(dir.path(), [](const Event& event, Now, Effects* effects) {
    if (const OperatorEvent* command = AskedToAct(event)) {
      for (uint64_t id = 10; id < 60; ++id) effects->push_back(PersistEffect{id, StateWithEpoch(id)});
      effects->push_back(ReplyEffect{command->request, {}});
    }
  });
  ASSERT_TRUE(node.status.ok()) << node.status;
  node.Do(BumpEpochCommand{});
  ASSERT_TRUE(node.log->AwaitCount<PersistedEvent>(51));
  std::vector<PersistedEvent> persisted = node.log->All<PersistedEvent>();
  EXPECT_EQ(persisted[0].id, 1u);
  for (size_t i = 0; i < 50; ++i) EXPECT_EQ(persisted[i + 1].id, 10 + i);
  EXPECT_TRUE(node.bus->Stop().ok());
  EXPECT_EQ((*LoadState(dir.path() + "/nodes.conf"))->current_epoch(), 59u);
}

TEST(BusThread, AFailedPersistIsToldToTheEngine) {
  TempDir dir;
  std::atomic<uint64_t> next{10};
  Node node(dir.path(), [&](const Event& event, Now, Effects* effects) {
    if (const OperatorEvent* command = AskedToAct(event)) {
      uint64_t id = next++;
      effects->push_back(PersistEffect{id, StateWithEpoch(id)});
      effects->push_back(ReplyEffect{command->request, {}});
    }
  });
  ASSERT_TRUE(node.status.ok()) << node.status;
  ASSERT_EQ(mkdir((dir.path() + "/nodes.conf.new").c_str(), 0755), 0);
  node.Do(BumpEpochCommand{});
  ASSERT_TRUE(node.log->AwaitCount<PersistFailedEvent>(1));
  EXPECT_EQ(node.log->All<PersistFailedEvent>()[0].id, 10u);
  EXPECT_EQ(node.Stats().persist_failures, 1u);
  rmdir((dir.path() + "/nodes.conf.new").c_str());
  node.Do(BumpEpochCommand{});
  ASSERT_TRUE(node.log->AwaitCount<PersistedEvent>(2));
  EXPECT_EQ((*LoadState(dir.path() + "/nodes.conf"))->current_epoch(), 11u);
}

TEST(BusThread, EveryCommandIsAnsweredOnceAlsoByAStop) {
  TempDir dir;
  Node node(dir.path());  // answers no command
  ASSERT_TRUE(node.status.ok()) << node.status;
  std::atomic<int> answers{0}, errors{0};
  auto done = [&](const OperatorReply& reply) {
    ++answers;
    errors += reply.kind == OperatorReply::Kind::kError;
  };
  for (int i = 0; i < 10; ++i) node.bus->Submit(BumpEpochCommand{}, done);
  ASSERT_TRUE(node.log->AwaitCount<OperatorEvent>(10));
  EXPECT_EQ(answers, 0);
  EXPECT_TRUE(node.bus->Stop().ok());
  EXPECT_EQ(answers, 10);
  EXPECT_EQ(errors, 10);
  node.bus->Submit(BumpEpochCommand{}, done);
  EXPECT_EQ(answers, 11);
  EXPECT_EQ(errors, 11);
  EXPECT_TRUE(node.Stats().messages.empty());
  EXPECT_TRUE(node.bus->Stop().ok());
}

TEST(BusThread, L40_FencedVersionsOnlyGrow) {
  TempDir dir;
  Node node(dir.path());
  ASSERT_TRUE(node.status.ok()) << node.status;
  std::vector<std::thread> shards;
  for (uint64_t shard = 0; shard < 4; ++shard) {
    shards.emplace_back([&node, shard] {
      for (uint64_t version = 1 + shard; version <= 1000; version += 1 + shard) node.bus->Fenced(version);
    });
  }
  for (std::thread& shard : shards) shard.join();
  node.bus->Fenced(1000);
  ASSERT_TRUE(node.log->Await([](const std::vector<Event>& events) {
    const auto* last = events.empty() ? nullptr : std::get_if<FencedEvent>(&events.back());
    return last != nullptr && last->version == 1000;
  }));
  // A late word of an older one does not hide the newest.
  for (uint64_t newest = 2000; newest <= 50000; newest += 1000) {
    for (uint64_t version = newest - 999; version < newest; version += 111) node.bus->Fenced(version);
    node.bus->Fenced(newest);
    node.bus->Fenced(newest - 500);
    ASSERT_TRUE(node.log->Await([newest](const std::vector<Event>& events) {
      return std::any_of(events.begin(), events.end(), [newest](const Event& event) {
        const auto* fenced = std::get_if<FencedEvent>(&event);
        return fenced != nullptr && fenced->version == newest;
      });
    })) << newest;
  }
  uint64_t before = 0;
  for (const FencedEvent& fenced : node.log->All<FencedEvent>()) {
    EXPECT_GT(fenced.version, before);
    before = fenced.version;
  }
}

TEST(BusThread, TheDataPlaneIsAskedAndTheLeaseIsShown) {
  TempDir dir;
  auto log = std::make_shared<EventLog>();
  BusOptions options;
  options.dir = dir.path();
  options.bind = {"127.0.0.1"};
  options.bus_port = 0;
  BusCallbacks callbacks;
  callbacks.data_plane = [](DataPlane* now) { *now = {{7, 8}, true, 9}; };
  auto bus = StartBus(options, callbacks, [&](const EngineOptions& engine, StatePtr state) {
    return std::make_unique<FakeEngine>(engine, std::move(state), log, [](const Event& event, Now, Effects* effects) {
      if (std::holds_alternative<DataPlaneEvent>(event)) effects->push_back(WritableUntilEffect{4711});
    });
  });
  ASSERT_TRUE(bus.ok()) << bus.status();
  EXPECT_EQ((*bus)->writable_until_ms(), 0);  // no writes before the engine says so
  ASSERT_TRUE(log->AwaitCount<DataPlaneEvent>(1));
  EXPECT_EQ(log->All<DataPlaneEvent>()[0].positions, (std::vector<uint64_t>{7, 8}));
  EXPECT_EQ(log->All<DataPlaneEvent>()[0].data_age_ms, 9);
  EXPECT_FALSE(log->All<DataPlaneEvent>()[0].frozen);
  ASSERT_TRUE(log->AwaitCount<DataPlaneEvent>(2));
  EXPECT_EQ((*bus)->writable_until_ms(), 4711);
}

TEST(BusThread, TheDataPlaneIsToldToFreezeAndToTakeOverAndAnswers) {
  TempDir dir;
  auto log = std::make_shared<EventLog>();
  BusOptions options;
  options.dir = dir.path();
  options.bind = {"127.0.0.1"};
  options.bus_port = 0;
  BusCallbacks callbacks;
  std::promise<int64_t> frozen_until;
  std::promise<uint64_t> promoted_to;
  callbacks.data_plane = [](DataPlane* now) { *now = {{1}, true, 3}; };
  callbacks.freeze = [&](int64_t until) { frozen_until.set_value(until); };
  callbacks.promote = [&](uint64_t epoch) { promoted_to.set_value(epoch); };
  auto bus = StartBus(options, callbacks, [&](const EngineOptions& engine, StatePtr state) {
    return std::make_unique<FakeEngine>(engine, std::move(state), log, [](const Event& event, Now, Effects* effects) {
      if (AskedToAct(event) == nullptr) return;
      effects->push_back(FreezeWritesEffect{123});
      effects->push_back(PromoteEffect{77});
    });
  });
  ASSERT_TRUE(bus.ok()) << bus.status();
  (*bus)->Submit(BumpEpochCommand{}, [](OperatorReply) {});
  EXPECT_EQ(frozen_until.get_future().get(), 123);
  EXPECT_EQ(promoted_to.get_future().get(), 77u);
  EXPECT_TRUE(log->All<PromotedEvent>().empty());  // nobody has said so yet
  (*bus)->Frozen({7, 8});
  (*bus)->Promoted(77);
  ASSERT_TRUE(log->AwaitCount<PromotedEvent>(1));
  EXPECT_EQ(log->All<PromotedEvent>()[0].epoch, 77u);
  bool told = false;
  for (const DataPlaneEvent& event : log->All<DataPlaneEvent>()) {
    if (!event.frozen) continue;
    told = true;
    EXPECT_EQ(event.positions, (std::vector<uint64_t>{7, 8}));
    EXPECT_EQ(event.data_age_ms, 3);
  }
  EXPECT_TRUE(told);
}

TEST(BusThread, ProtectedModeKeepsTheBusOnLoopback) {
  TempDir dir;
  Node node(dir.path(), [](const Event& event, Now, Effects* effects) {
    if (const OperatorEvent* command = AskedToAct(event)) {
      effects->push_back(DialEffect{1, "192.0.2.1", 16379});
      effects->push_back(ReplyEffect{command->request, {}});
    }
  });
  ASSERT_TRUE(node.status.ok()) << node.status;
  node.Do(BumpEpochCommand{});
  ASSERT_TRUE(node.log->AwaitCount<LinkDownEvent>(1));
  EXPECT_EQ(Closes(node.Stats(), "not-loopback"), 1u);
}

TEST(BusThread, L36_TheNumberOfWorkersChangesWhileMessagesFlow) {
  TempDir dir_a, dir_b;
  auto echo = [](const Event& event, Now, Effects* effects) {
    if (const auto* message = std::get_if<MessageEvent>(&event)) {
      effects->push_back(SendEffect{message->link, message->message});
    }
  };
  Node b(dir_b.path(), echo, [](BusOptions* options) { options->io_threads = 2; });
  ASSERT_TRUE(b.status.ok()) << b.status;
  uint16_t port = b.bus->bus_port();
  constexpr uint64_t kMessages = 5000;
  Node a(
      dir_a.path(),
      [port, next = uint64_t{0}](const Event& event, Now, Effects* effects) mutable {
        if (const OperatorEvent* command = AskedToAct(event)) {
          effects->push_back(DialEffect{1, "127.0.0.1", port});
          effects->push_back(ReplyEffect{command->request, {}});
        } else if (std::holds_alternative<LinkUpEvent>(event)) {
          for (int i = 0; i < 50; ++i) effects->push_back(SendEffect{1, Ping(next++, 200)});
        } else if (std::holds_alternative<MessageEvent>(event) && next < kMessages) {
          effects->push_back(SendEffect{1, Ping(next++, 200)});
        }
      },
      [](BusOptions* options) { options->io_threads = 1; });
  ASSERT_TRUE(a.status.ok()) << a.status;
  a.Do(BumpEpochCommand{});
  for (uint32_t i = 0; i < 12; ++i) {
    a.bus->SetIoThreads(i % 3);
    b.bus->SetIoThreads((i + 1) % 4);
    ASSERT_TRUE(a.log->AwaitCount<MessageEvent>((i + 1) * 400));
  }
  ASSERT_TRUE(a.log->AwaitCount<MessageEvent>(kMessages));
  std::vector<MessageEvent> echoes = a.log->All<MessageEvent>();
  for (size_t i = 0; i < kMessages; ++i) ASSERT_EQ(echoes[i].message->ping().seq(), i);
  BusStats stats = a.Stats();
  EXPECT_GT(stats.reads_offloaded + stats.writes_offloaded, 0u);
  EXPECT_EQ(stats.links_closing, 0u);
  EXPECT_EQ(stats.outbound, 1u);
}

}  // namespace
}  // namespace skein::bus
