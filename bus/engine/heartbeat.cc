#include <algorithm>

#include "bus/engine/core.h"

namespace skein::bus {
namespace {
constexpr uint8_t kAgeUnknown = 255;
constexpr int kAgeSteps = 100;  // of one node timeout, in View::ages
constexpr size_t kMaxSuspectsInView = 1000;
constexpr uint32_t kDialsPerTick = 64;
}  // namespace

uint64_t EngineCore::StalledMs() const {
  return stalled_since_ms_ < 0 ? 0 : static_cast<uint64_t>(std::max<int64_t>(1, now() - stalled_since_ms_));
}

void EngineCore::OnTick() {
  int64_t gap = now() - last_tick_ms_;
  last_tick_ms_ = now();
  dials_left_ = kDialsPerTick;
  if (gap > std::max<int64_t>(1000, timeout() / 4)) {
    // We stood still ourselves: the silence says nothing about the others yet.
    for (const auto& node : table_.all()) {
      node->heard_ms = std::max(node->heard_ms, now() - timeout() / 2);
      node->direct_ms = std::max(node->direct_ms, now() - timeout() / 2);
      if (node->unanswered_ms != 0) node->unanswered_ms = now();
      node->ping_sent_ms = 0;
      node->out.asked_ms = 0;
    }
  }
  TendHandshakes();
  // Everyone is looked at once in a sixteenth of the timeout, so large clusters spread the work over ticks.
  size_t n = table_.size();
  int64_t sweep = std::max<int64_t>(1, timeout() / 16);
  size_t share = std::min(n, static_cast<size_t>(static_cast<int64_t>(n) * std::max<int64_t>(gap, 1) / sweep + 8));
  for (size_t i = 0; i < share; ++i) {
    if (++tend_cursor_ >= table_.size()) tend_cursor_ = 0;
    Node* node = table_.all()[tend_cursor_].get();
    if (!node->self) TendNode(node);
  }
  PingRound();
  LeaseRound();
  RelayNews();
  forgotten_.Purge(now());
  if (!overrides_.empty()) {
    for (const auto& [slot, o] : overrides_) owners_dirty_ |= now() >= o.until_ms;
  }
  lease_dirty_ = check_state_ = true;
  if (retry_persist_ms_ != 0 && now() >= retry_persist_ms_) {
    retry_persist_ms_ = 0;
    own_dirty_ = true;
  }
  if (state_dirty_ && persists_.empty() && now() - last_persist_ms_ >= 1000) own_dirty_ = true;
  // Times of pings and pongs are shown to people only, so they may be a little old.
  if (now() - last_publish_ms_ >= std::max<int64_t>(1000, static_cast<int64_t>(n) * 20)) publish_ = true;
}

void EngineCore::TendNode(Node* node) {
  TendLink(node);
  if (node->out.state != OutLink::kBound && node->unanswered_ms == 0) {
    node->unanswered_ms = now();
    node->unanswered_unix_ms = now_.unix_ms;
  }
  bool due = now() - node->heard_ms > timeout() / 2;
  bool lost = node->ping_sent_ms != 0 && now() - node->ping_sent_ms > std::max<int64_t>(timeout() / 4, 100);
  if ((due && node->ping_sent_ms == 0) || lost) Ping(node, false);
  CheckSilence(node);
}

void EngineCore::Ping(Node* node, bool with_view) {
  if (node->out.state != OutLink::kBound) return;
  auto m = std::make_shared<proto::BusMessage>();
  proto::Heartbeat* ping = m->mutable_ping();
  node->ping_seq = ++ping_seq_;
  node->ping_sent_ms = now();
  if (node->out.asked_ms == 0) node->out.asked_ms = now();
  if (node->unanswered_ms == 0) {
    node->unanswered_ms = now();
    node->unanswered_unix_ms = now_.unix_ms;
  }
  ping->set_seq(node->ping_seq);
  ping->set_stalled_ms(StalledMs());
  if (with_view) FillView(ping->mutable_view());
  Send(node->out.id, std::move(m));
}

// One member at a time, in rounds over a shuffled list: whatever the size of the cluster, the same bytes a second.
void EngineCore::PingRound() {
  int64_t interval = std::clamp<int64_t>(timeout() / 20, 100, 1000);
  if (table_.size() <= 1 || now() < next_ping_ms_) return;
  next_ping_ms_ = now() + interval;
  for (size_t tries = 0; tries < 4; ++tries) {  // skip a few that cannot be reached
    if (round_.empty()) {
      for (const auto& node : table_.all()) {
        if (!node->self) round_.push_back(node->id());
      }
      for (size_t i = round_.size(); i > 1; --i) std::swap(round_[i - 1], round_[random_.Below(i)]);
    }
    Node* node = table_.Find(round_.back());
    round_.pop_back();
    if (node != nullptr && node->out.state == OutLink::kBound && node->ping_sent_ms == 0) {
      Ping(node, true);
      return;
    }
  }
}

// A voter renews its lease: it keeps enough voters' answers younger than a third of the timeout. And while we must
// agree with a majority before serving, those that have not yet said that they agree are asked often.
void EngineCore::LeaseRound() {
  if (must_sync_ && now() >= next_fast_sync_ms_) {
    next_fast_sync_ms_ = now() + 200;
    for (const auto& node : table_.all()) {
      if (!node->self && node->voter() && node->synced_ms < must_sync_since_ms_ &&
          (node->ping_sent_ms == 0 || now() - node->ping_sent_ms > 1000)) {
        Ping(node.get(), true);
      }
    }
  }
  if (!self_->voter() || voters_ <= 1 || now() < next_lease_ms_) return;
  next_lease_ms_ = now() + std::clamp<int64_t>(timeout() / 32, 20, 500);
  std::vector<Node*> voters;
  for (const auto& node : table_.all()) {
    if (!node->self && node->voter()) voters.push_back(node.get());
  }
  size_t enough = Quorum() - 1 + Quorum() / 4 + 8;  // some to spare, all of a small cluster
  if (voters.size() > enough) {
    std::nth_element(voters.begin(), voters.begin() + static_cast<std::ptrdiff_t>(enough), voters.end(),
                     [](const Node* a, const Node* b) {
                       return a->confirmed_ms != b->confirmed_ms ? a->confirmed_ms > b->confirmed_ms
                                                                 : a->id() < b->id();
                     });
    voters.resize(enough);
  }
  for (Node* node : voters) {
    if (node->ping_sent_ms == 0 && now() - node->confirmed_ms > timeout() / 3) Ping(node, false);
  }
}

void EngineCore::UpdateLease() {
  lease_dirty_ = false;
  int64_t lease = INT64_MAX;
  if (self_->voter() && voters_ > 1) {
    std::vector<int64_t> sent;
    for (const auto& node : table_.all()) {
      if (!node->self && node->voter()) sent.push_back(node->confirmed_ms);
    }
    // We and `need` others are a majority. None of them suspects us before a timeout has passed since what it answered.
    size_t need = Quorum() - 1;
    if (need > 0 && need <= sent.size()) {
      std::nth_element(sent.begin(), sent.begin() + static_cast<std::ptrdiff_t>(need - 1), sent.end(),
                       std::greater<int64_t>());
      lease = sent[need - 1] == 0 ? 0 : sent[need - 1] + timeout() - timeout() / 16;
    }
  }
  if (lease == lease_ms_) return;
  lease_ms_ = lease;
  out_->push_back(WritableUntilEffect{lease});
}

void EngineCore::FillView(proto::View* view) {
  view->set_digest(table_.digest());
  view->set_members(table_.members());
  view->set_node_count(static_cast<uint32_t>(table_.size()));
  view->set_current_epoch(current_epoch_);
  view->set_version(self_->record.version);
  for (uint64_t p : positions_) view->add_positions(p);
  int64_t unit = std::max<int64_t>(1, (timeout() + kAgeSteps - 1) / kAgeSteps);
  view->set_age_unit_ms(static_cast<uint32_t>(unit));
  std::string* ages = view->mutable_ages();
  ages->reserve(table_.size());
  for (const auto& node : table_.all()) {
    int64_t age = node->self ? 0 : (now() - node->heard_ms + unit - 1) / unit;
    bool bad = node->pfail || node->fail;
    ages->push_back(static_cast<char>(bad || age >= kAgeUnknown ? kAgeUnknown : age));
    if (bad && view->suspects_size() < static_cast<int>(kMaxSuspectsInView)) view->add_suspects(node->id().Bytes());
  }
}

void EngineCore::OnPing(Node* from, LinkId link, const proto::Heartbeat& ping) {
  from->stalled_ms = ping.stalled_ms();
  auto m = std::make_shared<proto::BusMessage>();
  proto::Heartbeat* pong = m->mutable_pong();
  pong->set_seq(ping.seq());
  pong->set_stalled_ms(StalledMs());
  if (ping.has_view()) FillView(pong->mutable_view());
  Send(link, std::move(m));
  if (ping.has_view()) OnView(from, ping.view(), true);
}

void EngineCore::OnPong(Node* from, const proto::Heartbeat& pong) {
  from->stalled_ms = pong.stalled_ms();
  from->out.asked_ms = 0;
  if (pong.seq() == from->ping_seq && from->ping_sent_ms != 0) {
    from->confirmed_ms = from->ping_sent_ms;
    from->ping_sent_ms = 0;
    from->unanswered_ms = 0;
    // With many voters the next tick is soon enough.
    lease_dirty_ |= voters_ <= 16 || lease_ms_ <= now();
  }
  if (pong.has_view()) OnView(from, pong.view(), false);
}

void EngineCore::OnView(Node* from, const proto::View& view, bool may_sync) {
  if (!EpochPlausible(view.current_epoch())) return;
  if (view.current_epoch() > current_epoch_) {
    current_epoch_ = view.current_epoch();
    state_dirty_ = publish_ = true;
  }
  if (view.positions_size() <= static_cast<int>(kMaxPositions)) {
    from->offset = 0;
    for (uint64_t p : view.positions()) from->offset += p;
  }
  if (view.members() == table_.members()) TakeAges(from, view);
  if (view.suspects_size() <= static_cast<int>(kMaxSuspectsInView)) {
    for (const std::string& id : view.suspects()) TakeReport(from, id);
  }
  if (view.digest() == table_.digest()) {
    from->synced_ms = now();
    check_state_ |= must_sync_;
  } else if (may_sync && now() - from->last_sync_ms >= 100) {
    from->last_sync_ms = now();
    StartSync(from);
  }
}

// Others' word that a member lives spares us a ping, but does not excuse a ping that it owes us (see Silent).
void EngineCore::TakeAges(Node* from, const proto::View& view) {
  const std::string& ages = view.ages();
  int64_t unit = view.age_unit_ms();
  if (ages.size() != table_.size() || unit <= 0 || unit > 3600 * 1000) return;
  for (size_t i = 0; i < ages.size(); ++i) {
    uint8_t age = static_cast<uint8_t>(ages[i]);
    if (age == kAgeUnknown) continue;
    Node* node = table_.all()[i].get();
    int64_t heard = now() - age * unit;
    if (node == from || heard <= node->heard_ms) continue;
    node->heard_ms = heard;
    node->heard_unix_ms = now_.unix_ms - age * unit;
  }
}

// A message from the node itself.
void EngineCore::Heard(Node* node) {
  node->heard_ms = node->direct_ms = now();
  node->heard_unix_ms = now_.unix_ms;
  if (node->pfail || node->fail) Returned(node);
}

}  // namespace skein::bus
