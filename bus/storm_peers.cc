// Peers that storm a node over the bus: real members of its cluster, with the real engine, that send so many heartbeats
// and published messages a second as they are told, and measure how soon their heartbeats are answered. For ops/bench.
//
//   storm_peers HOST BUS_PORT PEERS FOLDER
//
// joins and says "ready"; then reads lines: "storm HEARTBEATS PUBLISHES" (a second, of all peers together; 0 0: calm),
// "report" (one line of JSON about the time since the last one), "end".
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bus/bus_thread.h"
#include "bus/engine/engine.h"
#include "glog/logging.h"
#include "proto/bus.pb.h"

namespace skein::bus {
namespace {

// The engine's own numbers never come so far.
constexpr uint64_t kOurs = uint64_t{1} << 62;
constexpr int kTurnMicros = 1000;

int64_t NowMicros() {
  using std::chrono::duration_cast, std::chrono::microseconds, std::chrono::steady_clock;
  return duration_cast<microseconds>(steady_clock::now().time_since_epoch()).count();
}

// What all peers have measured since the last report.
struct Measured {
  std::mutex mutex;
  std::vector<int64_t> waits;  // microseconds from a heartbeat to its answer
  uint64_t heartbeats = 0, publishes = 0;
  int64_t since = NowMicros();
};

// The real engine. SAVECONFIG, which the engine is not told of, makes it send copies of its latest heartbeat to the
// node, `budget` of them.
class StormEngine : public Engine {
 public:
  StormEngine(std::unique_ptr<Engine> inner, uint16_t target_port, std::atomic<uint64_t>* budget, Measured* measured)
      : inner_(std::move(inner)), target_port_(target_port), budget_(budget), measured_(measured) {}

  void Step(const Event& event, Now now, Effects* effects) override {
    if (const auto* command = std::get_if<OperatorEvent>(&event);
        command != nullptr && std::holds_alternative<SaveConfigCommand>(command->command)) {
      effects->push_back(ReplyEffect{command->request, {}});
      return Storm(effects);
    }
    if (const auto* message = std::get_if<MessageEvent>(&event);
        message != nullptr && message->message->has_pong() && (message->message->pong().seq() & kOurs) != 0) {
      return Answered(message->message->pong().seq());
    }
    inner_->Step(event, now, effects);
    for (const Effect& effect : *effects) {
      if (const auto* dial = std::get_if<DialEffect>(&effect); dial != nullptr && dial->bus_port == target_port_) {
        link_ = dial->link;
        latest_ = nullptr;
      } else if (const auto* send = std::get_if<SendEffect>(&effect);
                 send != nullptr && send->link == link_ && send->message->has_ping()) {
        latest_ = send->message;  // so the link is up, and the other side knows us
      }
    }
  }
  TopologyPtr topology() const override { return inner_->topology(); }
  const EngineStats& stats() const override { return inner_->stats(); }

 private:
  void Storm(Effects* effects) {
    if (latest_ == nullptr) return;
    const uint64_t count = budget_->exchange(0);
    for (uint64_t i = 0; i < count; ++i) {
      auto copy = std::make_shared<proto::BusMessage>(*latest_);
      copy->mutable_ping()->set_seq(kOurs | static_cast<uint64_t>(NowMicros()));
      effects->push_back(SendEffect{link_, std::move(copy)});
    }
    std::lock_guard lock(measured_->mutex);
    measured_->heartbeats += count;
  }
  void Answered(uint64_t seq) {
    std::lock_guard lock(measured_->mutex);
    measured_->waits.push_back(NowMicros() - static_cast<int64_t>(seq & ~kOurs));
  }

  const std::unique_ptr<Engine> inner_;
  const uint16_t target_port_;
  std::atomic<uint64_t>* const budget_;
  Measured* const measured_;
  LinkId link_ = 0;
  MessagePtr latest_;
};

struct StormPeer {
  std::atomic<uint64_t> budget{0};
  std::unique_ptr<Bus> bus;
  std::mutex mutex;
  TopologyPtr topology;
  bool Knows(size_t members) {
    std::lock_guard lock(mutex);
    if (topology == nullptr || topology->nodes.size() < members) return false;
    return std::none_of(topology->nodes.begin() + 1, topology->nodes.end(),
                        [](const TopologyNode& n) { return n.handshake || !n.link_up; });
  }
};

std::unique_ptr<StormPeer> Join(const std::string& host, uint16_t port, const std::string& dir, Measured* measured) {
  auto peer = std::make_unique<StormPeer>();
  BusOptions options;
  options.dir = dir;
  options.bind = {"127.0.0.1"};
  options.announce_ip = "127.0.0.1";
  options.bus_port = 0;
  options.node_timeout_ms = 15000;
  BusCallbacks callbacks;
  callbacks.publish = [p = peer.get()](TopologyPtr topology) {
    std::lock_guard lock(p->mutex);
    p->topology = std::move(topology);
  };
  auto started = StartBus(options, callbacks, [&](const EngineOptions& engine, StatePtr state) {
    return std::make_unique<StormEngine>(Engine::Create(engine, std::move(state)), port, &peer->budget, measured);
  });
  CHECK(started.ok()) << started.status();
  peer->bus = *std::move(started);
  peer->bus->Submit(MeetCommand{host, 1, port}, [](OperatorReply reply) { CHECK_EQ(reply.text, "OK"); });
  return peer;
}

void Report(Measured* measured) {
  std::vector<int64_t> waits;
  uint64_t heartbeats, publishes;
  double seconds;
  {
    std::lock_guard lock(measured->mutex);
    waits.swap(measured->waits);
    heartbeats = std::exchange(measured->heartbeats, 0);
    publishes = std::exchange(measured->publishes, 0);
    const int64_t now = NowMicros();
    seconds = static_cast<double>(now - std::exchange(measured->since, now)) / 1e6;
  }
  std::sort(waits.begin(), waits.end());
  const auto at = [&](double part) {
    return waits.empty() ? 0 : waits[std::min(waits.size() - 1, static_cast<size_t>(part * waits.size()))];
  };
  std::printf(
      "{\"seconds\":%.3f,\"heartbeats\":%lu,\"answers\":%zu,\"publishes\":%lu,\"p50_us\":%ld,\"p99_us\":%ld,"
      "\"p999_us\":%ld,\"max_us\":%ld}\n",
      seconds, heartbeats, waits.size(), publishes, at(0.5), at(0.99), at(0.999), waits.empty() ? 0 : waits.back());
  std::fflush(stdout);
}

// Every millisecond what is due by then.
class Pace {
 public:
  void Set(uint64_t per_second) {
    rate_ = per_second;
    owed_ = 0;
  }
  uint64_t Due(int64_t micros) {
    // After a pause it is not made up for.
    owed_ += static_cast<double>(rate_) * static_cast<double>(std::min<int64_t>(micros, 20 * kTurnMicros)) / 1e6;
    const auto due = static_cast<uint64_t>(owed_);
    owed_ -= static_cast<double>(due);
    return due;
  }

 private:
  uint64_t rate_ = 0;
  double owed_ = 0;
};

int Main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "storm_peers HOST BUS_PORT PEERS FOLDER\n");
    return 2;
  }
  const auto port = static_cast<uint16_t>(std::atoi(argv[2]));
  const size_t count = std::strtoul(argv[3], nullptr, 10);
  Measured measured;
  std::vector<std::unique_ptr<StormPeer>> peers;
  for (size_t i = 0; i < count; ++i) {
    const std::string dir = std::string(argv[4]) + "/peer-" + std::to_string(i);
    mkdir(dir.c_str(), 0700);
    peers.push_back(Join(argv[1], port, dir, &measured));
  }
  const auto whole = [&] {
    return std::all_of(peers.begin(), peers.end(), [&](const auto& peer) { return peer->Knows(count + 1); });
  };
  for (int i = 0; i < 600 && !whole(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  if (!whole()) {
    std::fprintf(stderr, "storm_peers: the cluster does not form\n");
    return 1;
  }
  std::printf("ready\n");
  std::fflush(stdout);
  Pace heartbeats, publishes;
  const std::string text(100, 's');
  int64_t last = NowMicros();
  size_t turn = 0;
  std::string input;
  for (;;) {
    pollfd waiting{STDIN_FILENO, POLLIN, 0};
    poll(&waiting, 1, kTurnMicros / 1000);
    if ((waiting.revents & (POLLIN | POLLHUP)) != 0) {
      char buffer[256];
      const ssize_t n = read(STDIN_FILENO, buffer, sizeof(buffer));
      if (n <= 0) break;
      input.append(buffer, static_cast<size_t>(n));
      for (size_t end; (end = input.find('\n')) != std::string::npos; input.erase(0, end + 1)) {
        const std::string line = input.substr(0, end);
        unsigned long beats = 0, messages = 0;
        if (line == "end") {
          for (auto& peer : peers) peer->bus->Stop().IgnoreError();
          return 0;
        }
        if (line == "report") {
          Report(&measured);
        } else if (std::sscanf(line.c_str(), "storm %lu %lu", &beats, &messages) == 2) {
          heartbeats.Set(beats);
          publishes.Set(messages);
        }
      }
    }
    const int64_t now = NowMicros(), passed = now - std::exchange(last, now);
    for (uint64_t due = heartbeats.Due(passed); due > 0; --due) peers[turn++ % count]->budget.fetch_add(1);
    const uint64_t due = publishes.Due(passed);
    for (size_t i = 0; i < count; ++i) {
      StormPeer& peer = *peers[i];
      const uint64_t mine = due / count + (i < due % count ? 1 : 0);
      if (mine > 0) {
        peer.bus->Publish(std::vector<PublishedMessage>(mine, PublishedMessage{false, "storm", text}));
        std::lock_guard lock(measured.mutex);
        measured.publishes += mine;
      }
      if (peer.budget.load() > 0) peer.bus->Submit(SaveConfigCommand{}, [](OperatorReply) {});
    }
  }
  return 0;
}

}  // namespace
}  // namespace skein::bus

int main(int argc, char** argv) {
  google::InitGoogleLogging(argv[0]);
  FLAGS_logtostderr = false;
  FLAGS_stderrthreshold = google::GLOG_ERROR;
  FLAGS_minloglevel = google::GLOG_ERROR;
  return skein::bus::Main(argc, argv);
}
