#include <algorithm>

#include "bus/engine/ages.h"
#include "bus/engine/core.h"
#include "glog/logging.h"

namespace skein::bus {
namespace {
constexpr int64_t kTickMs = 100;                        // the longest time between two
constexpr int kAgeSteps = 24;                           // of one node timeout, in View::ages
constexpr size_t kAges = 512, kAgesOfFewVoters = 2048;  // in a view
constexpr size_t kSuspectsInView = 32;                  // sent
constexpr int kMaxSuspectsInView = 1000;                // taken
constexpr uint32_t kDialsPerTick = 64;
constexpr uint32_t kDeadDialsPerTick = 4;
}  // namespace

uint64_t EngineCore::StalledMs() const {
  return stalled_since_ms_ < 0 ? 0 : static_cast<uint64_t>(std::max<int64_t>(1, now() - stalled_since_ms_));
}

void EngineCore::OnTick() {
  // What the driver was told to leave out was not missed.
  int64_t gap = now() - std::max(last_tick_ms_, std::min(calm_until_ms_, now()) - kTickMs);
  last_tick_ms_ = now();
  dials_left_ = kDialsPerTick;
  dead_dials_left_ = kDeadDialsPerTick;
  if (gap > std::max<int64_t>(1000, timeout() / 4)) {
    // We stood still ourselves: the silence says nothing about the others yet.
    for (const auto& node : table_.all()) {
      int64_t& heard = table_.heard_ms(*node);
      heard = std::max(heard, now() - timeout() / 2);
      node->direct_ms = std::max(node->direct_ms, now() - timeout() / 2);
      if (node->unanswered_ms != 0) node->unanswered_ms = now();
      node->ping_sent_ms = 0;
      node->out.asked_ms = 0;
    }
  }
  CheckOwnHealth(gap);
  TendHandshakes();
  TendSeeds();
  table_.dues().SetWidth(std::clamp<int64_t>(timeout() / 128, 1, 100));
  if (now() >= next_sweep_ms_) {
    table_.heard_ms(*self_) = now();
    const int64_t earliest = table_.HastenSilent(now() - Unheard());
    // Times only grow, so none becomes too early before the earliest does.
    next_sweep_ms_ = !Many() ? now() : std::max(now() + PingInterval(), earliest + Unheard());
  }
  table_.dues().Take(now(), [this](uint16_t place) {
    Node* node = table_.At(place);
    if (node == nullptr || node->self) return;
    if (const int64_t next = TendNode(node); next != Dues::kNever) table_.dues().Set(place, next);
  });
  CheckWatched();
  SendFailed(true);
  PingRound();
  LeaseRound();
  RelayNews();
  forgotten_.Purge(now());
  if (grants_.size() > table_.size()) {
    absl::erase_if(grants_, [&](const auto& g) { return now() >= g.second.back().at_ms + timeout(); });
  }
  if (!overrides_.empty()) {
    for (const auto& [slot, o] : overrides_) owners_dirty_ |= now() >= o.until_ms;
  }
  if (now() >= next_lease_look_ms_ || lease_ms_ <= now()) {
    // With many voters a look costs their number, and while the lease is long nothing depends on it.
    const int64_t often = voters_ <= 16 ? now() : now() + timeout() / 32;
    const int64_t plenty = std::min({lease_ms_, mandate_ms_, now() + timeout() / 4}) - timeout() / 8;
    next_lease_look_ms_ = voters_ > options_.small_cluster ? std::max(often, plenty) : often;
    lease_dirty_ = true;
  }
  check_state_ |= must_sync_ || lapsed_ != (lease_ms_ <= now());
  if (retry_persist_ms_ != 0 && now() >= retry_persist_ms_) {
    retry_persist_ms_ = 0;
    own_dirty_ = true;
  }
  if (state_dirty_ && persists_.empty() && now() - last_persist_ms_ >= 1000) own_dirty_ = true;
  // Times of pings and pongs are shown to people only, so they may be a little old; of many members nothing else is
  // looked at for their sake.
  if (now() - last_publish_ms_ >= std::max<int64_t>(1000, static_cast<int64_t>(table_.size()) * 40)) {
    (Many() ? times_old_ : publish_) = true;
  }
}

// Returns when to look again if nothing happens; kNever: when it has not been heard of for long (see HastenSilent).
int64_t EngineCore::TendNode(Node* node) {
  TendLink(node);
  if (node->out.state != OutLink::kBound && node->unanswered_ms == 0) {
    node->unanswered_ms = now();
    node->unanswered_unix_ms = now_.unix_ms;
  }
  const int64_t heard = table_.heard_ms(*node);
  bool due = now() - heard > Unheard();
  // Of many members some ping or answer is lost all the time, so a silence is tried often before it counts.
  const int64_t patience = std::max<int64_t>(timeout() / (Many() ? 16 : 4), 100);
  bool lost = node->ping_sent_ms != 0 && now() - node->ping_sent_ms > patience;
  if ((due && node->ping_sent_ms == 0) || lost) Ping(node, Tell::kNothing);
  Watch(node);
  CheckSilence(node);
  bool quiet = node->out.state == OutLink::kBound && node->out.asked_ms == 0 && node->ping_sent_ms == 0 &&
               node->unanswered_ms == 0 && !node->pfail && !node->fail &&
               node->stalled_ms < static_cast<uint64_t>(timeout());
  if (!quiet) {
    bool wants = node->out.state == OutLink::kNone && now() >= node->out.next_try_ms;
    if (!wants) return Together(now() + Relook());
    // No more dials in this tick. Those that have failed wait longer, not all for the same tick.
    return now() + (node->fail ? int64_t{100} * (1 + node->index % 8) : 0);
  }
  if (!node->troubled()) return Dues::kNever;
  if (node->trouble().orphan_since_ms == 0 && CountReports(node) == 0) node->ForgetTrouble();
  return Together(heard + Unheard());
}

// After so long a silence a member is asked whether it lives. Of many the word of others may take a little longer.
int64_t EngineCore::Unheard() const { return Many() ? timeout() * 9 / 16 : timeout() / 2; }

// Of many members those that are due at about the same time are looked at by the same tick.
int64_t EngineCore::Together(int64_t at) const { return (at / Relook() + 1) * Relook(); }

int64_t EngineCore::Relook() const { return !Many() ? 1 : std::max<int64_t>(1, timeout() / 16); }

void EngineCore::Stir(const Node* node) { table_.dues().Hasten(node->index, Together(now() + Relook())); }

void EngineCore::Ping(Node* node, Tell tell) {
  if (node->out.state != OutLink::kBound) return;
  if (node->out.asked_ms == 0) node->out.asked_ms = now();
  auto m = std::make_shared<proto::BusMessage>();
  proto::Heartbeat* ping = m->mutable_ping();
  ping->set_seq(Asks(node));
  ping->set_stalled_ms(StalledMs());
  if (tell != Tell::kNothing) FillView(ping->mutable_view(), tell);
  Send(node->out.id, std::move(m));
}

// From now on `node` owes an answer to what has this number.
uint64_t EngineCore::Asks(Node* node) {
  Stir(node);
  node->ping_seq = ++ping_seq_;
  node->ping_sent_ms = now();
  if (node->unanswered_ms == 0) {
    node->unanswered_ms = now();
    node->unanswered_unix_ms = now_.unix_ms;
  }
  return node->ping_seq;
}

// With many voters most of what is sent are questions for the lease. An answer that asks in turn makes them three
// messages in the place of four, and whoever has asked lately is asked again, so voters come to ask each other.
void EngineCore::AskBack(Node* from, proto::Heartbeat* pong) {
  const bool wants = voters_ > options_.small_cluster && self_->owner() && from->voter() && from->ping_sent_ms == 0 &&
                     now() - table_.confirmed_ms(*from) > FreshOfMany() / 2;
  if (wants) pong->set_ask(Asks(from));
}

int64_t EngineCore::PingInterval() const { return std::clamp<int64_t>(timeout() / 20, 100, 1000); }

// One member at a time, in rounds over a shuffled list: whatever the size of the cluster, the same bytes a second.
void EngineCore::PingRound() {
  if (table_.size() <= 1 || now() < next_ping_ms_) return;
  next_ping_ms_ = now() + PingInterval();
  for (size_t tries = 0; tries < 4; ++tries) {  // skip a few that cannot be reached
    if (round_.empty()) {
      for (const auto& node : table_.all()) {
        if (!node->self) round_.push_back(node->index);
      }
      for (size_t i = round_.size(); i > 1; --i) std::swap(round_[i - 1], round_[random_.Below(i)]);
    }
    Node* node = table_.At(round_.back());
    round_.pop_back();
    if (node != nullptr && node->out.state == OutLink::kBound && node->ping_sent_ms == 0) {
      Ping(node, Tell::kAll);
      return;
    }
  }
}

// A voter renews its lease: it keeps enough voters' answers young, of few voters younger than a third of the timeout. And
// while we must agree with a majority before serving, those that have not yet said that they agree are asked often.
void EngineCore::LeaseRound() {
  // Of a majority some are to spare, all of a small cluster.
  const size_t enough = Quorum(self_) - 1 + Quorum(self_) / 16 + 8;
  if (must_sync_ && self_->owner() && now() >= next_fast_sync_ms_) {
    next_fast_sync_ms_ = now() + 200;
    size_t left = enough;
    for (size_t i = 0; i < own_voters_.size() && left > 0; ++i) {
      Node* node = table_.At(own_voters_[(sync_cursor_ + i) % own_voters_.size()]);
      if (node->out.state != OutLink::kBound) continue;
      --left;
      if (node->synced_ms >= must_sync_since_ms_) continue;
      if (node->ping_sent_ms == 0 || now() - node->ping_sent_ms > 1000) Ping(node, TellIfSmall());
    }
    sync_cursor_ += 1 + own_voters_.size() / 8;
  }
  if (!self_->owner() || (own_voters_.empty() && past_.empty()) || now() < next_lease_ms_) return;
  const bool many = voters_ > options_.small_cluster;
  next_lease_ms_ = many ? next_ping_ms_ : now() + std::clamp<int64_t>(timeout() / 32, 20, 500);
  // With many voters a few late answers do not matter.
  const int64_t fresh = many ? FreshOfMany() : timeout() / 3;
  // Beside those that have answered lately so many are asked that there are enough: those that have answered last.
  std::vector<std::pair<int64_t, uint16_t>> stale;
  stale.reserve(own_voters_.size());
  size_t wanted = enough;
  for (uint16_t place : own_voters_) {
    const int64_t confirmed = table_.confirmed_ms()[place];
    if (now() - confirmed > fresh) {
      stale.emplace_back(confirmed, place);
    } else if (wanted > 0) {
      --wanted;
    }
  }
  // Of many, others than those who are late.
  const int64_t late = std::max<int64_t>(timeout() / 16, 100);
  const auto later = [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : a.second > b.second;
  };
  std::make_heap(stale.begin(), stale.end(), later);
  while (wanted > 0 && !stale.empty()) {
    std::pop_heap(stale.begin(), stale.end(), later);
    Node* node = table_.At(stale.back().second);
    stale.pop_back();
    const bool useless = many && (node->out.state != OutLink::kBound || node->pfail || node->fail ||
                                  (node->ping_sent_ms != 0 && now() - node->ping_sent_ms >= late));
    if (useless) continue;
    --wanted;
    if (node->ping_sent_ms == 0) Ping(node, Tell::kNothing);
  }
  for (const PastElectorate& past : past_) {
    for (const NodeId& id : past.others) {
      Node* node = table_.Find(id);
      if (node != nullptr && node->ping_sent_ms == 0) Ping(node, Tell::kNothing);
    }
  }
  if (Node* node = established_ ? nullptr : table_.Find(predecessor_); node != nullptr && node->ping_sent_ms == 0) {
    Ping(node, Tell::kNothing);
  }
}

void EngineCore::FillView(proto::View* view, Tell tell) {
  view->set_digest(table_.digest());
  view->set_members(table_.members());
  view->set_node_count(static_cast<uint32_t>(table_.size()));
  view->set_current_epoch(current_epoch_);
  view->set_version(promote_epoch_ != 0 ? own_.version() : self_->record().version);
  view->set_decided_epoch(DecidedEpoch());
  for (uint64_t p : positions_) view->add_positions(p);
  for (size_t i = 0; i < std::min(suspects_.size(), kSuspectsInView); ++i) {
    if (++suspect_cursor_ >= suspects_.size()) suspect_cursor_ = 0;
    const Node* node = table_.At(suspects_[suspect_cursor_]);
    if (node != nullptr && (node->pfail || node->fail)) view->add_suspects(node->id().Bytes());
  }
  if (tell == Tell::kAll) FillAges(view);
}

void EngineCore::FillAges(proto::View* view) {
  const int64_t unit = std::max<int64_t>(1, (timeout() + kAgeSteps - 1) / kAgeSteps);
  std::vector<int64_t>& heard = table_.heard();
  // Voters hear half of each other directly all the time (see LeaseRound), so they need less of others' word.
  const size_t count = std::min(heard.size(), 2 * voters_ > heard.size() ? kAges : kAgesOfFewVoters);
  if (pulse_cursor_ >= heard.size()) pulse_cursor_ = 0;
  view->set_age_first(static_cast<uint32_t>(pulse_cursor_));
  view->set_age_unit_ms(static_cast<uint32_t>(unit));
  view->set_age_count(static_cast<uint32_t>(count));
  table_.heard_ms(*self_) = now();
  std::string* const ages = view->mutable_ages();
  ages->resize((count + 1) / 2);
  const size_t before_end = std::min(count, heard.size() - pulse_cursor_);
  WriteAges(heard.data() + pulse_cursor_, before_end, now(), unit, 0, ages->data());
  WriteAges(heard.data(), count - before_end, now(), unit, before_end, ages->data());
  pulse_cursor_ = (pulse_cursor_ + count) % heard.size();
}

void EngineCore::TakeStall(Node* from, uint64_t ms) {
  if (ms >= static_cast<uint64_t>(timeout())) Stir(from);
  from->stalled_ms = ms;
  if (ms >= static_cast<uint64_t>(timeout()) && !from->pfail) CheckSilence(from);
}

void EngineCore::OnPing(Node* from, LinkId link, const proto::Heartbeat& ping) {
  TakeStall(from, ping.stalled_ms());
  auto m = std::make_shared<proto::BusMessage>();
  proto::Heartbeat* pong = m->mutable_pong();
  Answer(from, ping.seq(), pong);
  if (ping.has_view()) FillView(pong->mutable_view(), ping.view().age_count() == 0 ? Tell::kDigest : Tell::kAll);
  AskBack(from, pong);
  Send(link, std::move(m));
  if (ping.has_view()) OnView(from, ping.view(), true);
}

// To its question `seq`, that has just come.
void EngineCore::Answer(Node* from, uint64_t seq, proto::Heartbeat* pong) {
  pong->set_seq(seq);
  pong->set_stalled_ms(StalledMs());
  pong->set_your_version(from->record().version);
  // Confirmed on, it could never be replaced: its bus lives while its data plane stands still.
  const bool stalled = from->stalled_ms >= static_cast<uint64_t>(timeout() / 2);
  pong->set_withheld(stalled || Withheld(*from));
  pong->set_yields(durable_seat_to_ == from->id());
  pong->set_durable(durable_ownership_ == ownership_);
  pong->set_lasting(from->owner() && pong->durable() && !VotedForRival(*from));
  // It could not be given when this node stood down.
  own_dirty_ |= seat_to_ == self_->id() && self_->record().primary_id == from->id() && MayYieldTo(*from);
  pong->set_no_mandate(NoMandate(*from));
  // Also if this node does not decide about it: it may be about to make it a witness.
  if (!pong->withheld() && !pong->no_mandate() && from->owner()) Trust(*from, {from->id(), now(), 0, {}});
}

void EngineCore::OnPong(Node* from, LinkId link, const proto::Heartbeat& pong) {
  TakeStall(from, pong.stalled_ms());
  if (link == from->out.id) from->out.asked_ms = 0;
  if (pong.seq() == from->ping_seq && from->ping_sent_ms != 0) {
    // The word counts only of those who know that we are a primary.
    if (!pong.withheld() && self_->record().primary() && pong.your_version() >= primary_since_) {
      table_.agreed_ms(*from) = from->ping_sent_ms;
      if (!pong.no_mandate()) table_.confirmed_ms(*from) = from->ping_sent_ms;
      if (pong.durable()) from->knows_version = pong.your_version();
      from->lasting |= pong.lasting() && from->ping_sent_ms >= promoted_ms_;
      if (!established_ && pong.yields() && from->id() == predecessor_ && from->ping_sent_ms >= promoted_ms_) Settle();
    }
    from->ping_sent_ms = 0;
    from->unanswered_ms = 0;
    // With many voters the next tick is soon enough, unless writes wait for this answer.
    if (lease_wants_ > 0) --lease_wants_;
    DCHECK(lease_wants_ == 0 || lease_dirty_ || lease_ms_ > now() || Lease() <= now());
    lease_dirty_ |= voters_ <= 16 || !established_ || (lease_ms_ <= now() && lease_wants_ == 0);
  }
  if (pong.ask() != 0) {
    auto m = std::make_shared<proto::BusMessage>();
    Answer(from, pong.ask(), m->mutable_pong());
    Send(link, std::move(m));
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
  if (view.version() == from->record().version) {
    from->decided_epoch = std::max(from->decided_epoch, view.decided_epoch());
  }
  if (view.members() == table_.members()) TakeAges(from, view);
  if (view.suspects_size() <= kMaxSuspectsInView) {
    for (const std::string& id : view.suspects()) TakeReport(from, id);
  }
  if (view.digest() == table_.digest()) {
    from->synced_ms = now();
    check_state_ |= must_sync_ && voters_ <= 16;  // of many the next tick is soon enough
  } else if (may_sync && now() - from->last_sync_ms >= 100) {
    from->last_sync_ms = now();
    StartSync(from);
  }
}

// Others' word that a member lives spares us a ping, but does not excuse a ping that it owes us (see Silent).
void EngineCore::TakeAges(Node* from, const proto::View& view) {
  std::vector<int64_t>& heard = table_.heard();
  const std::string& ages = view.ages();
  const int64_t unit = view.age_unit_ms();
  const size_t count = view.age_count();
  const size_t at = view.age_first();
  if (at >= heard.size() || count > heard.size() || ages.size() != (count + 1) / 2) return;
  if (unit <= 0 || unit > 3600 * 1000) return;
  const AgeTimes times = TimesOfAges(now(), unit);
  const int64_t own = table_.heard_ms(*from);
  const size_t before_end = std::min(count, heard.size() - at);
  ReadAges(times, ages.data(), 0, before_end, heard.data() + at);
  ReadAges(times, ages.data(), before_end, count - before_end, heard.data());
  table_.heard_ms(*from) = own;
}

// A message from the node itself.
void EngineCore::Heard(Node* node) {
  table_.heard_ms(*node) = node->direct_ms = now();
  if (node->pfail || node->fail) Returned(node);
}

}  // namespace skein::bus
