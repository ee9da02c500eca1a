#include "bus/engine/engine.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "bus/engine/core.h"

namespace skein::bus {
namespace {
constexpr int64_t kGatherMembersMs = 500;
}  // namespace

std::unique_ptr<Engine> Engine::Create(const EngineOptions& options, StatePtr state) {
  return std::make_unique<EngineCore>(options, std::move(state));
}

EngineCore::EngineCore(const EngineOptions& options, StatePtr state)
    : options_(options), random_(Mix(options.seed ^ 0x736b65696eULL)), owner_(kSlots, kNobody) {
  options_.node_timeout_ms = std::max<int64_t>(options_.node_timeout_ms, 1);
  if (state != nullptr) {
    LoadState(*state);
  } else {
    NewIdentity();
    if (options_.bootstrap) own_claims_.set();
  }
  AdoptOptions();
  RefreshSelf();
}

std::string EngineCore::Name(const Node& node) {
  const std::string& ip = node.record().ip.empty() ? node.seen_ip.str() : node.record().ip;
  const std::string& name = node.record().name;
  return absl::StrCat(node.id().Hex(), " (", name, name.empty() ? "" : ", ", ip, ":",
                      node.record().port != 0 ? node.record().port : node.record().tls_port, ")");
}

EngineSizes EngineCore::sizes() const {
  EngineSizes s;
  s.nodes = table_.size();
  s.handshakes = handshakes_.size();
  s.inbound = inbound_.size();
  s.outbound = outbound_.size();
  s.forgotten = forgotten_.size();
  s.gone_links = gone_links_.size();
  for (const auto& node : table_.all()) s.reports += node->trouble().reports.size();
  s.overrides = overrides_.size();
  for (const auto& p : persists_) s.waiting += 1 + p.waiting.size();
  for (const auto& c : closings_) s.waiting += 1 + c.waiting.size();
  s.waiting += wait_next_persist_.size() + held_.size() + (hand_over_.request != 0);
  s.votes = votes_.size() + asked_.size();
  s.news = news_.size();
  s.lookups = lookups_.size();
  s.strangers = strangers_.size() + own_addresses_.size();
  return s;
}

// Times that mean "never" must lie in the past of the first `now`, whatever it is.
void EngineCore::Begin() {
  last_tick_ms_ = now();
  last_persist_ms_ = now();
  for (const auto& node : table_.all()) {
    table_.heard_ms(*node) = node->direct_ms = now();
    node->last_sync_ms = now() - 1000;
  }
  begun_ms_ = now();
  sync_cursor_ = random_.Below(kMaxNodes);  // nodes that start together ask different ones first
  for (CastVote& vote : votes_) vote.until_ms = now() + 2 * timeout();
  if (table_.size() > 1) {
    must_sync_ = true;
    must_sync_since_ms_ = now();
    sync_delay_ms_ = 2000;
  }
  // A restart whose own record did not change need not write before it speaks.
  if (!started()) own_dirty_ = true;
}

void EngineCore::Step(const Event& event, Now now, Effects* effects) {
  now_ = now;
  out_ = effects;
  if (first_step_) {
    first_step_ = false;
    Begin();
  }
  struct Visitor {
    EngineCore* e;
    void operator()(const MessageEvent& v) { e->OnMessage(v); }
    void operator()(const TickEvent&) { e->OnTick(); }
    void operator()(const LinkUpEvent& v) { e->OnLinkUp(v.link); }
    void operator()(const LinkDownEvent& v) { e->OnLinkDown(v.link); }
    void operator()(const OperatorEvent& v) { e->OnOperator(v); }
    void operator()(const PersistedEvent& v) { e->OnPersisted(v.id); }
    void operator()(const PersistFailedEvent& v) { e->OnPersistFailed(v.id, v.why); }
    void operator()(const FencedEvent& v) { e->OnFenced(v.version); }
    void operator()(const PromotedEvent& v) { e->OnPromoted(v.epoch); }
    void operator()(const ResolvedEvent& v) { e->OnResolved(v.id, v.ips); }
    void operator()(const DataPlaneEvent& v) {
      e->data_age_ms_ = v.data_age_ms;
      e->data_age_at_ms_ = e->now();
      e->positions_ = v.positions;
      if (e->positions_.size() > kMaxPositions) e->positions_.resize(kMaxPositions);
      if (v.healthy) {
        e->stalled_since_ms_ = -1;
      } else if (e->stalled_since_ms_ < 0) {
        e->stalled_since_ms_ = e->now();
      }
      if (v.frozen) e->Frozen();
    }
  };
  heartbeat_only_ = false;
  const auto* message = std::get_if<MessageEvent>(&event);
  heartbeat_ = message != nullptr && (message->message->has_ping() || message->message->has_pong());
  if (!heartbeat_) ++rivals_version_;
  std::visit(Visitor{this}, event);
  Finish();
  out_ = nullptr;
}

// What follows from a step, in the order in which one causes the next.
void EngineCore::Finish() {
  for (int i = 0; owners_dirty_ && i < 4; ++i) {
    RebuildOwners();
    ResolveCollision();
  }
  heartbeat_only_ &= !publish_ && !check_state_;
  if (!heartbeat_only_) {
    TendRole();
    TendHandOver();
    TendElection();
    TendMigration();
    if (owners_ <= kFewOwners || own_.own_electorate() || !past_.empty()) TendElectorate();
  }
  RecheckAsked();
  bool idle = persists_.empty() && retry_persist_ms_ == 0;
  // What is written grows with the members, so many of them that join or move are written together.
  bool gathered = !Many() || now() - last_persist_ms_ >= kGatherMembersMs;
  if (own_dirty_ || (vote_dirty_ && idle) || (members_dirty_ && idle && gathered)) PersistNow();
  if (push_own_) PushOwnRecord();
  if (confirm_now_) {
    confirm_now_ = false;
    next_lease_ms_ = 0;
    LeaseRound();
  }
  SendReports();
  SendFailed(false);
  if (lease_dirty_) UpdateLease();
  // A snapshot costs its size, so in a storm of news only some are made; what this node does itself is shown at once,
  // and before the answer that tells of it.
  int64_t pause = std::min<int64_t>(500, 5 + static_cast<int64_t>(table_.size()) / 4);
  auto due = [&] { return urgent_ || !replies_.empty() || now() - last_publish_ms_ >= pause; };
  publish_pending_ |= publish_;
  if (check_state_ || (publish_pending_ && due()) || (publish_ && !Many())) UpdateState();
  publish_pending_ |= publish_;
  publish_ = false;
  if ((publish_pending_ || times_old_) && due()) Publish();
  for (ReplyEffect& reply : replies_) out_->push_back(std::move(reply));
  replies_.clear();
  if (options_.leaves_out_ticks && !heartbeat_only_) calm_until_ms_ = CalmUntil();
}

// Anything that is under way makes it 0: then every tick is wanted.
int64_t EngineCore::CalmUntil() const {
  const bool busy = !Many() || !started() || must_sync_ || health_ != 0 || stalled_since_ms_ >= 0 ||
                    !watched_.empty() || !suspects_.empty() || !handshakes_.empty() || !news_.empty() ||
                    !say_suspect_.empty() || !say_cleared_.empty() || !say_failed_.empty() || !asked_.empty() ||
                    !persists_.empty() || retry_persist_ms_ != 0 || state_dirty_ || members_dirty_ || own_dirty_ ||
                    publish_pending_ || !past_.empty() || !overrides_.empty() || !closings_.empty() || !held_.empty() ||
                    promote_epoch_ != 0 || orphans_ || election_.phase != Election::kNone || by_hand_.until_ms != 0 ||
                    freeze_.until_ms != 0 || hand_over_.request != 0 || owners_ <= kFewOwners || owners_dirty_ ||
                    stand_down_ || !ok_ || !established_;
  if (busy) return 0;
  // Pings are sent so often that nothing else need be earlier: members that are due, and with many voters the lease.
  if (!self_->owner() || voters_ > options_.small_cluster) return next_ping_ms_;
  return std::min({next_ping_ms_, next_lease_ms_, next_lease_look_ms_});
}

void EngineCore::OnMessage(const MessageEvent& event) {
  using Body = proto::BusMessage;
  const Body& m = *event.message;
  const bool greets = m.body_case() == Body::kHello || m.body_case() == Body::kWelcome;
  Node* const from = greets ? nullptr : Sender(event.link);
  if (from == nullptr && gone_links_.Has(event.link, now())) {
    ++stats_.late_events;
    return;
  }
  if (!started()) {  // nothing may be said yet, so nothing can be answered
    if (event.link % 2 == 0) Close(event.link, "starting");
    return;
  }
  if (m.body_case() == Body::kHello) return OnHello(event, m.hello());
  if (m.body_case() == Body::kWelcome) return OnWelcome(event, m.welcome());
  if (from == nullptr) {
    ++stats_.messages_from_strangers;
    return;
  }
  Heard(from);
  switch (m.body_case()) {
    case Body::kPing:
      heartbeat_only_ = Many();
      return OnPing(from, event.link, m.ping());
    case Body::kPong:
      heartbeat_only_ = Many();
      return OnPong(from, event.link, m.pong());
    case Body::kRecords:
      return OnRecords(from, m.records());
    case Body::kSync:
      return OnSync(from, m.sync());
    case Body::kSuspicions:
      return OnSuspicions(from, m.suspicions());
    case Body::kFailed:
      return OnFailed(from, m.failed());
    case Body::kForgotten:
      return OnForgotten(from, m.forgotten());
    case Body::kVoteRequest:
      return OnVoteRequest(from, m.vote_request());
    case Body::kVoteReply:
      return OnVoteReply(from, m.vote_reply());
    case Body::kHandOver:
      return OnHandOver(from, m.hand_over());
    default:
      ++stats_.messages_refused;  // of a newer version: counted, otherwise ignored
  }
}

void EngineCore::Refuse(LinkId link, const char* why) {
  ++stats_.messages_refused;
  if (why != nullptr) Close(link, why);
}

}  // namespace skein::bus
