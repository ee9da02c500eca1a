// An engine that does as a test says, with an identity that it persists as the real one does.
#ifndef SKEIN_BUS_FAKE_ENGINE_H_
#define SKEIN_BUS_FAKE_ENGINE_H_

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "bus/engine/engine.h"
#include "proto/bus.pb.h"
#include "proto/node_state.pb.h"

namespace skein::bus {

// What a fake engine has seen, readable from the test's thread.
class EventLog {
 public:
  void Add(const Event& event) {
    std::lock_guard lock(mutex_);
    if (std::holds_alternative<TickEvent>(event)) {
      ++ticks_;
    } else {
      events_.push_back(event);
    }
    changed_.notify_all();
  }
  // Waits until `done` holds of the events so far (ticks left out); false after 10 s.
  bool Await(const std::function<bool(const std::vector<Event>&)>& done) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [&] { return done(events_); });
  }
  template <typename T>
  bool AwaitCount(size_t count) {
    return Await([count](const std::vector<Event>& events) { return CountOf<T>(events) >= count; });
  }
  template <typename T>
  static size_t CountOf(const std::vector<Event>& events) {
    size_t n = 0;
    for (const Event& event : events) n += std::holds_alternative<T>(event);
    return n;
  }
  template <typename T>
  std::vector<T> All() {
    std::lock_guard lock(mutex_);
    std::vector<T> all;
    for (const Event& event : events_) {
      if (const T* one = std::get_if<T>(&event)) all.push_back(*one);
    }
    return all;
  }
  size_t size() {
    std::lock_guard lock(mutex_);
    return events_.size();
  }
  bool AwaitTicks(size_t more) {
    std::unique_lock lock(mutex_);
    size_t target = ticks_ + more;
    return changed_.wait_for(lock, std::chrono::seconds(10), [&] { return ticks_ >= target; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Event> events_;
  size_t ticks_ = 0;
};

class FakeEngine : public Engine {
 public:
  using Script = std::function<void(const Event&, Now, Effects*)>;

  FakeEngine(const EngineOptions& options, StatePtr state, std::shared_ptr<EventLog> log, Script script)
      : log_(std::move(log)), script_(std::move(script)), fresh_(state == nullptr) {
    auto topology = std::make_shared<Topology>();
    TopologyNode me;
    proto::NodeRecord record;
    if (state != nullptr) {
      record.ParseFromString(state->own_record());
      me.SetIdentity({.id = record.id(), .ip = options.ip});  // 40 hex digits here, for short
    } else {
      me.SetIdentity({.id = MakeId(options.seed), .ip = options.ip});
    }
    me.myself = true;
    me.bus_port = options.bus_port;
    topology->version = 1;
    topology->nodes.push_back(me);
    topology->owner.fill(kNobody);
    topology_ = topology;
  }

  static std::string MakeId(uint64_t seed) {
    std::string id(40, '0');
    for (size_t i = 0; i < 16; ++i) id[i] = "0123456789abcdef"[(seed >> (4 * i)) & 15];
    return id;
  }

  void Step(const Event& event, Now now, Effects* effects) override {
    if (std::exchange(first_, false)) {
      effects->push_back(PublishEffect{topology_});
      if (fresh_) {
        proto::NodeRecord record;
        record.set_id(topology_->me().id());
        auto state = std::make_shared<proto::NodeState>();
        state->set_format(1);
        state->set_own_record(record.SerializeAsString());
        effects->push_back(PersistEffect{1, state});
      }
    }
    if (script_) script_(event, now, effects);
    log_->Add(event);
  }
  TopologyPtr topology() const override { return topology_; }
  const EngineStats& stats() const override { return stats_; }

 private:
  std::shared_ptr<EventLog> log_;
  Script script_;
  bool fresh_;
  bool first_ = true;
  TopologyPtr topology_;
  EngineStats stats_;
};

}  // namespace skein::bus

#endif  // SKEIN_BUS_FAKE_ENGINE_H_
