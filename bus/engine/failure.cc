#include "absl/strings/str_cat.h"
#include "bus/engine/core.h"

namespace skein::bus {
namespace {
constexpr size_t kReportsKept = 64;  // of a node that has failed

// The primary whose electorate may say that `node` has failed; null: all electors. One that decides about itself alone
// cannot be replaced, so nothing but what people see depends on this: it may have died while it was joining.
const Node* Judged(const Node& node) {
  const Record& r = node.record();
  return node.owner() && !(r.own_electorate && r.witnesses.empty()) ? &node : nullptr;
}
}  // namespace

// Signs of life are the node's own messages, and others' word from before it began to owe us an answer: what only some
// can reach must still be found out by those who cannot.
bool EngineCore::Silent(const Node& node) const {
  if (node.unanswered_ms == 0) return false;
  int64_t life = std::max(node.direct_ms, std::min(table_.heard_ms(node), node.unanswered_ms));
  return now() - life > Patience() && now() - node.unanswered_ms >= timeout() / 4;
}

// A silence that has lasted for a quarter of its time is looked at by every tick, so that its end is not found out
// late.
void EngineCore::Watch(Node* node) {
  if (node->watched || node->pfail || node->unanswered_ms == 0 || now() - node->unanswered_ms < timeout() / 4) return;
  node->watched = true;
  watched_.push_back(node->index);
}

void EngineCore::CheckWatched() {
  for (size_t i = watched_.size(); i-- > 0;) {
    Node* node = table_.At(watched_[i]);
    if (node != nullptr && node->watched && node->unanswered_ms != 0 && !node->pfail) CheckSilence(node);
    if (node != nullptr && node->watched && node->unanswered_ms != 0 && !node->pfail) continue;
    if (node != nullptr) node->watched = false;
    watched_[i] = watched_.back();
    watched_.pop_back();
  }
}

void EngineCore::CheckSilence(Node* node) {
  bool stalled = node->stalled_ms >= static_cast<uint64_t>(timeout()) && node->record().primary();
  if (!node->pfail) {
    if (stalled) {
      Suspect(node, absl::StrCat("its data plane has stood still for ", node->stalled_ms, " ms"));
    } else if (Silent(*node)) {
      Suspect(node, absl::StrCat("silent for ", now() - std::max(node->direct_ms, table_.heard_ms(*node)), " ms"));
    }
    return;
  }
  if (now() - node->trouble().reported_ms > timeout() / 2) Report(*node, false);
  if (!node->fail) TryFail(node);
}

void EngineCore::Suspect(Node* node, std::string why) {
  node->pfail = publish_ = check_state_ = true;
  Stir(node);
  Note(EventKind::kSuspect, absl::StrCat("node ", Name(*node), " is possibly failing: ", why));
  Report(*node, false);
  TryFail(node);
}

// It spoke. A stalled data plane speaks too.
void EngineCore::Returned(Node* node) {
  if (node->stalled_ms >= static_cast<uint64_t>(timeout()) && node->record().primary()) return;
  if (node->pfail) Unsuspect(node);
  if (!node->fail) return;
  // A primary that replicas may be replacing at this moment stays failed for a while.
  bool contested = false;
  if (node->owner()) {
    for (const auto& other : table_.all()) contested |= other->record().primary_id == node->id() && !other->fail;
  }
  if (contested && now() - node->trouble().fail_ms <= 2 * timeout()) return;
  node->fail = false;
  node->ForgetTrouble();
  publish_ = check_state_ = true;
  Note(EventKind::kReturn, absl::StrCat("node ", Name(*node), " is reachable again: no longer failed"));
}

void EngineCore::Unsuspect(Node* node) {
  node->pfail = false;
  node->unanswered_ms = 0;
  publish_ = check_state_ = true;
  Note(EventKind::kReturn, absl::StrCat("node ", Name(*node), " answers again"));
  Report(*node, true);
}

// Voters' words count, for a while. They also make us look for ourselves.
void EngineCore::TakeReport(Node* from, std::string_view suspect) {
  auto id = NodeId::FromBytes(suspect);
  Node* node = id ? table_.Find(*id) : nullptr;
  if (node == nullptr || node->self || node == from || !from->voter()) return;
  // What has been decided needs no further reports; with many voters they would be much to keep.
  if (node->fail && node->trouble().reports.size() >= kReportsKept) return;
  node->change_trouble().reports[from->id()] = now();
  if (!node->pfail) {
    if (node->ping_sent_ms == 0) Ping(node, Tell::kNothing);
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
    if (Node* node = id ? table_.Find(*id) : nullptr; node != nullptr && node->troubled()) {
      node->change_trouble().reports.erase(from->id());
    }
  }
}

uint32_t EngineCore::CountReports(Node* node) {
  const Node* ballot = Judged(*node);
  uint32_t count = 0;
  if (!node->troubled()) return 0;
  auto& reports = node->change_trouble().reports;
  for (auto it = reports.begin(); it != reports.end();) {
    Node* reporter = table_.Find(it->first);
    if (reporter == nullptr || !Decides(*reporter, ballot) || now() - it->second > 2 * timeout()) {
      reports.erase(it++);
    } else {
      ++count;
      ++it;
    }
  }
  return count;
}

void EngineCore::TryFail(Node* node) {
  if (!node->pfail || node->fail) return;
  const Node* ballot = Judged(*node);
  uint32_t voters = Voters(ballot);
  // With many voters most words come before there can be enough of them.
  if (node->trouble().reports.size() + 1 < Quorum(ballot)) return;
  uint32_t agree = CountReports(node) + (Decides(*self_, ballot) ? 1 : 0);
  if (agree < Quorum(ballot) || voters == 0) return;
  MarkFailed(node, absl::StrCat(agree, " of ", voters, " voters agree"));
  say_failed_.push_back(node->id());
}

void EngineCore::MarkFailed(Node* node, const std::string& why) {
  if (node->fail) return;
  node->fail = node->pfail = publish_ = check_state_ = true;
  Stir(node);
  node->change_trouble().fail_ms = now();
  if (node->trouble().reports.size() > kReportsKept) node->change_trouble().reports.clear();
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
    std::erase(say_failed_, node->id());  // somebody else is telling everyone
    MarkFailed(node, absl::StrCat("told by ", Name(*from)));
  }
}

}  // namespace skein::bus
