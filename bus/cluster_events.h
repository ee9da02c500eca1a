// The last things that happened to the cluster as this node saw it (CLUSTER EVENTS). The bus thread's own.
#ifndef SKEIN_BUS_CLUSTER_EVENTS_H_
#define SKEIN_BUS_CLUSTER_EVENTS_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <utility>

#include "bus/event_kind.h"

namespace skein::bus {

struct ClusterEvent {
  uint64_t id = 0;  // grows by one with each
  EventKind kind = EventKind::kConfig;
  int64_t unix_ms = 0;  // of the newest
  uint64_t times = 1;   // in a row
  std::string text;
};

class ClusterEvents {
 public:
  static constexpr size_t kMaxEvents = 512;
  static constexpr size_t kMaxText = 512;

  // The same again, right after, only counts.
  void Add(EventKind kind, std::string text, int64_t unix_ms) {
    if (text.size() > kMaxText) text.resize(kMaxText);
    if (!events_.empty() && events_.back().kind == kind && events_.back().text == text) {
      ++events_.back().times;
      events_.back().unix_ms = unix_ms;
      return;
    }
    if (events_.size() == kMaxEvents) events_.pop_front();
    events_.push_back({++last_id_, kind, unix_ms, 1, std::move(text)});
  }
  void Clear() { events_.clear(); }
  const std::deque<ClusterEvent>& events() const { return events_; }  // oldest first

 private:
  std::deque<ClusterEvent> events_;
  uint64_t last_id_ = 0;
};

}  // namespace skein::bus

#endif  // SKEIN_BUS_CLUSTER_EVENTS_H_
