#include <algorithm>

#include "bus/engine/core.h"

namespace skein::bus {
namespace {
constexpr int64_t kGatherMs = 50;   // the shortest time between two messages about failures to the same nodes
constexpr size_t kTellAtOnce = 16;  // members up to which a failure is told by everyone who finds it
constexpr size_t kMaxIdsInMessage = 4096;
constexpr int32_t kMaxHealth = 8;     // triples the time after which others are suspected
constexpr int32_t kMaxDeaf = 4;       // of it by unanswered probes alone: the others may really be gone
constexpr int64_t kLateTickMs = 300;  // ticks come every 100 ms
}  // namespace

// To be told to the voters, if this node is one.
void EngineCore::Report(const Node& suspect, bool cleared) {
  const_cast<Node&>(suspect).change_trouble().reported_ms = now();
  if (!self_->voter()) return;
  std::vector<NodeId>& say = cleared ? say_cleared_ : say_suspect_;
  std::erase(cleared ? say_suspect_ : say_cleared_, suspect.id());
  if (std::find(say.begin(), say.end(), suspect.id()) == say.end()) say.push_back(suspect.id());
}

// One message to each voter, and to the replicas of those that are suspected: they must know as soon as anybody that
// their primary has failed.
void EngineCore::SendReports() {
  if ((say_suspect_.empty() && say_cleared_.empty()) || now() - last_report_ms_ < kGatherMs) return;
  last_report_ms_ = now();
  auto m = std::make_shared<proto::BusMessage>();
  proto::Suspicions* s = m->mutable_suspicions();
  auto take = [&](std::vector<NodeId>* say, auto add) {
    size_t n = std::min(say->size(), kMaxIdsInMessage);
    for (size_t i = 0; i < n; ++i) add()->assign((*say)[i].Bytes());
    say->erase(say->begin(), say->begin() + static_cast<std::ptrdiff_t>(n));
  };
  std::vector<NodeId> suspects = say_suspect_;
  take(&say_suspect_, [&] { return s->add_suspect(); });
  take(&say_cleared_, [&] { return s->add_cleared(); });
  for (const auto& node : table_.all()) {
    if (node->self) continue;
    bool replica = !node->record().primary() &&
                   std::find(suspects.begin(), suspects.end(), node->record().primary_id) != suspects.end();
    if (node->voter() || replica) SendTo(*node, m);
  }
}

// In large clusters all voters find out at about the same time: the first whose tick comes tells everyone, which spares
// the others.
void EngineCore::SendFailed(bool tick) {
  if (say_failed_.empty() || now() - last_failed_ms_ < kGatherMs) return;
  if (!tick && table_.size() > kTellAtOnce) return;
  last_failed_ms_ = now();
  auto m = std::make_shared<proto::BusMessage>();
  for (const NodeId& id : say_failed_) m->mutable_failed()->add_id(id.Bytes());
  say_failed_.clear();
  for (const auto& other : table_.all()) {
    if (!other->self) SendTo(*other, m);
  }
}

// A node that is late itself, or to which nearly nobody answers, has reason to doubt its own judgement before that of
// others: it waits longer before it suspects them. Each eighth of the timeout one step up or down.
void EngineCore::CheckOwnHealth(int64_t gap) {
  int32_t before = health_;
  if (gap > kLateTickMs) health_ = std::min(kMaxHealth, health_ + (gap > timeout() / 4 ? 2 : 1));
  if (gap > kLateTickMs) next_health_ms_ = now() + timeout() / 4;
  if (now() >= next_health_ms_) {
    next_health_ms_ = now() + std::max<int64_t>(1, timeout() / 8);
    size_t others = table_.size() - 1;
    bool deaf = watched_.size() >= 3 && watched_.size() * 4 > others * 3;
    bool stalled = StalledMs() >= static_cast<uint64_t>(timeout() / 4);
    if (stalled) {
      health_ = std::min(kMaxHealth, health_ + 1);
    } else if (deaf) {
      health_ = std::max(health_, std::min(kMaxDeaf, health_ + 1));
    } else if (health_ > 0) {
      --health_;
    }
  }
  if (before == 0 && health_ > 0) {
    Note(EventKind::kState, "this node is late itself: it waits longer before it suspects others");
  }
}

}  // namespace skein::bus
