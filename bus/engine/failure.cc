#include "absl/strings/str_cat.h"
#include "bus/engine/core.h"

namespace skein::bus {

// Signs of life are the node's own messages, and others' word from before it began to owe us an answer: what only some
// can reach must still be found out by those who cannot.
bool EngineCore::Silent(const Node& node) const {
  if (node.unanswered_ms == 0) return false;
  int64_t life = std::max(node.direct_ms, std::min(table_.pulse(node).heard_ms, node.unanswered_ms));
  return now() - life > timeout() && now() - node.unanswered_ms >= timeout() / 4;
}

void EngineCore::CheckSilence(Node* node) {
  bool stalled = node->stalled_ms >= static_cast<uint64_t>(timeout()) && node->record.primary();
  if (!node->pfail) {
    if (stalled) {
      Suspect(node, absl::StrCat("its data plane has stood still for ", node->stalled_ms, " ms"));
    } else if (Silent(*node)) {
      Suspect(node,
              absl::StrCat("silent for ", now() - std::max(node->direct_ms, table_.pulse(*node).heard_ms), " ms"));
    }
    return;
  }
  if (now() - node->reported_ms > timeout() / 2) Report(*node, false);
  if (!node->fail) TryFail(node);
}

void EngineCore::Suspect(Node* node, std::string why) {
  node->pfail = publish_ = true;
  Stir(node);
  Note(EventKind::kSuspect, absl::StrCat("node ", Name(*node), " is possibly failing: ", why));
  Report(*node, false);
  TryFail(node);
}

// It spoke. A stalled data plane speaks too.
void EngineCore::Returned(Node* node) {
  if (node->stalled_ms >= static_cast<uint64_t>(timeout()) && node->record.primary()) return;
  if (node->pfail) Unsuspect(node);
  if (!node->fail) return;
  // A primary that replicas may be replacing at this moment stays failed for a while.
  bool contested = false;
  if (node->owner()) {
    for (const auto& other : table_.all()) contested |= other->record.primary_id == node->id() && !other->fail;
  }
  if (contested && now() - node->fail_ms <= 2 * timeout()) return;
  node->fail = false;
  node->reports.clear();
  publish_ = true;
  Note(EventKind::kReturn, absl::StrCat("node ", Name(*node), " is reachable again: no longer failed"));
}

void EngineCore::Unsuspect(Node* node) {
  node->pfail = false;
  node->unanswered_ms = 0;
  publish_ = true;
  Note(EventKind::kReturn, absl::StrCat("node ", Name(*node), " answers again"));
  Report(*node, true);
}

// Tells the voters what this voter believes.
void EngineCore::Report(const Node& suspect, bool cleared) {
  const_cast<Node&>(suspect).reported_ms = now();
  if (!self_->voter()) return;
  auto m = std::make_shared<proto::BusMessage>();
  proto::Suspicions* s = m->mutable_suspicions();
  (cleared ? s->add_cleared() : s->add_suspect())->assign(suspect.id().Bytes());
  for (const auto& node : table_.all()) {
    if (!node->self && node.get() != &suspect && node->voter()) SendTo(*node, m);
  }
}

// Voters' words count, for a while. They also make us look for ourselves.
void EngineCore::TakeReport(Node* from, std::string_view suspect) {
  auto id = NodeId::FromBytes(suspect);
  Node* node = id ? table_.Find(*id) : nullptr;
  if (node == nullptr || node->self || node == from || !from->voter()) return;
  node->reports[from->id()] = now();
  if (!node->pfail) {
    if (node->ping_sent_ms == 0) Ping(node, false);
  } else if (!node->fail) {
    TryFail(node);
  }
}

void EngineCore::OnSuspicions(Node* from, const proto::Suspicions& message) {
  if (message.suspect_size() + message.cleared_size() > static_cast<int>(kMaxNodes)) {
    ++stats_.messages_refused;
    return;
  }
  for (const std::string& id : message.suspect()) TakeReport(from, id);
  for (const std::string& bytes : message.cleared()) {
    auto id = NodeId::FromBytes(bytes);
    if (Node* node = id ? table_.Find(*id) : nullptr; node != nullptr) node->reports.erase(from->id());
  }
}

uint32_t EngineCore::CountReports(Node* node) {
  const Node* ballot = node->owner() ? node : nullptr;
  uint32_t count = 0;
  for (auto it = node->reports.begin(); it != node->reports.end();) {
    Node* reporter = table_.Find(it->first);
    if (reporter == nullptr || !Decides(*reporter, ballot) || now() - it->second > 2 * timeout()) {
      node->reports.erase(it++);
    } else {
      ++count;
      ++it;
    }
  }
  return count;
}

void EngineCore::TryFail(Node* node) {
  if (!node->pfail || node->fail) return;
  const Node* ballot = node->owner() ? node : nullptr;
  uint32_t voters = Voters(ballot);
  uint32_t agree = CountReports(node) + (Decides(*self_, ballot) ? 1 : 0);
  if (agree < Quorum(ballot) || voters == 0) return;
  MarkFailed(node, absl::StrCat(agree, " of ", voters, " voters agree"));
  auto m = std::make_shared<proto::BusMessage>();
  m->mutable_failed()->add_id(node->id().Bytes());
  for (const auto& other : table_.all()) {
    if (!other->self && other.get() != node) SendTo(*other, m);
  }
}

void EngineCore::MarkFailed(Node* node, const std::string& why) {
  if (node->fail) return;
  node->fail = node->pfail = publish_ = true;
  Stir(node);
  node->fail_ms = now();
  Note(EventKind::kFail, absl::StrCat("node ", Name(*node), " has failed: ", why));
}

void EngineCore::OnFailed(Node* from, const proto::Failed& message) {
  if (message.id_size() > static_cast<int>(kMaxNodes)) {
    ++stats_.messages_refused;
    return;
  }
  for (const std::string& bytes : message.id()) {
    auto id = NodeId::FromBytes(bytes);
    Node* node = id ? table_.Find(*id) : nullptr;
    if (node == nullptr || node == from) continue;
    if (node->self) {
      Note(EventKind::kFail, absl::StrCat("node ", Name(*from), " says that this node has failed"));
      continue;
    }
    MarkFailed(node, absl::StrCat("told by ", Name(*from)));
  }
}

}  // namespace skein::bus
