#include "node/replication/replica_control.h"

#include <algorithm>
#include <utility>

#include "fmt/format.h"
#include "glog/logging.h"
#include "node/config/text.h"
#include "node/loop_impl.h"
#include "node/node_impl.h"
#include "node/replication/loop_replication.h"
#include "storage/flows.h"
#include "storage/kill_point.h"

namespace skein::node {

ReplicaControl::ReplicaControl(NodeImpl* node, bool following, bool asks)
    : node_(node),
      board_(std::make_unique<AckBoard>(node->shard_count())),
      statuses_(node->shard_count()),
      status_(std::make_unique<FlowStatus[]>(statuses_)),
      following_(following),
      shape_change_(node) {
  guard_.replica = following;
  guard_.catching_up = asks;
  if (asks) catch_up_ = std::make_unique<CatchUp>(node_, [this] { DoPromote(0, nullptr); });
}

void ReplicaControl::OnLoops(std::function<void(LoopImpl&)> each, std::function<void()> last) {
  auto left = std::make_shared<std::atomic<uint32_t>>(node_->loop_count());
  for (uint32_t i = 0; i < node_->loop_count(); ++i) {
    node_->Post(i, [this, each, last, left](LoopImpl& loop) {
      each(loop);
      if (left->fetch_sub(1, std::memory_order_acq_rel) == 1 && last) node_->Post(0, [last](LoopImpl&) { last(); });
    });
  }
}

// ---- Following ------------------------------------------------------------------------------------------------------

void ReplicaControl::Follow(std::optional<Upstream> upstream) {
  node_->Post(0, [this, upstream = std::move(upstream)](LoopImpl&) {
    if (upstream) return DoFollow(*upstream);
    if (!following() || promotion_ != nullptr) return;
    DoPromote(0, nullptr);
  });
}

void ReplicaControl::DoFollow(const Upstream& upstream) {
  if (following() && upstream_ == upstream) return;
  LOG(INFO) << "replica of " << upstream.host << ":" << upstream.port
            << (upstream.id.empty() ? "" : " (" + upstream.id + ")");
  if (catching_up()) catch_up_->End();
  {
    const std::lock_guard lock(mutex_);
    upstream_ = upstream;
  }
  following_.store(true, std::memory_order_release);
  const uint64_t turn = ++turn_;
  EndPromotion(absl::AbortedError("it follows another node instead"));
  for (uint32_t i = 0; i < node_->shard_count(); ++i) {
    status_[i].down_since_ms.store(ReadMonoMs());
    status_[i].heard_ms.store(-1);  // of this one
  }
  guard_.replica = true;
  guard_.catching_up = false;
  // First nobody writes any more, then the logs follow.
  OnLoops(
      [guard = guard_](LoopImpl& loop) {
        loop.replication().Follow(std::nullopt);
        loop.ApplyGuard(guard);
        loop.FollowLogs(true);
      },
      [this, turn] { Link(turn); });
  UpdateGuard();
}

void ReplicaControl::Link(uint64_t turn) {
  if (turn != turn_ || reshaping_.load()) return;
  bool logs = true;
  for (uint32_t i = 0; i < node_->shard_count(); ++i) logs = logs && node_->log(i) != nullptr;
  if (logs || node_->data().flows() == nullptr) return DialAll(turn);
  node_->data().flows()->StartMemoryLogs(/*follow=*/true, [this, turn](const absl::Status& status) {
    node_->Post(0, [this, turn, status](LoopImpl&) {
      if (!status.ok()) LOG(ERROR) << "no log in memory: " << status.message();
      if (turn == turn_ && !reshaping_.load()) DialAll(turn);
    });
  });
}

void ReplicaControl::DialAll(uint64_t turn) {
  backlogs_ = true;
  OnLoops(
      [upstream = *upstream_](LoopImpl& loop) {
        loop.FollowLogs(true);
        loop.KeepBacklogs(true);
        loop.replication().Follow(upstream);
      },
      nullptr);
  CHECK_EQ(turn, turn_);
}

void ReplicaControl::OnTopology(const bus::TopologyPtr& topology) {
  const bus::TopologyNode& me = topology->me();
  if (me.primary) {
    left_.clear();
    if (catching_up()) return catch_up_->OnTopology(*topology);
    // It has become one otherwise than by an election that asked for it: CLUSTER RESET.
    if (following() && promotion_ == nullptr) DoPromote(topology->current_epoch, nullptr);
    return;
  }
  if (me.primary_index >= topology->nodes.size()) return;
  const bus::TopologyNode& primary = topology->nodes[me.primary_index];
  const std::optional<Upstream> upstream = UpstreamOf(primary);
  if (!upstream || primary.id() == me.id()) return;
  // While it is taking over it follows nobody, whatever the older topologies say.
  if (promotion_ != nullptr) return;
  // Nor after that, as long as these do not know of it.
  if (primary.id() == left_ && primary.config_epoch <= epoch_) return;
  DoFollow(*upstream);
}

std::optional<Upstream> ReplicaControl::UpstreamOf(const bus::TopologyNode& node) const {
  if (node.ip().empty()) return std::nullopt;
  const bool tls = (node_->config()->tls_replication && node.tls_port != 0) || node.port == 0;
  return Upstream{node.ip(), tls ? node.tls_port : node.port, tls, node.id()};
}

std::optional<std::string> ReplicaControl::follows_id() const {
  if (!following() || catching_up()) return std::string();
  const std::lock_guard lock(mutex_);
  if (!upstream_) return std::nullopt;
  return upstream_->id;
}

LogsyncRequest ReplicaControl::Request(uint32_t shard) const {
  const ConfigPtr config = node_->config();
  LogsyncRequest r;
  r.replica_id = node_->replication_id();
  r.ip = config->replica_announce_ip;
  r.port = config->replica_announce_port != 0 ? config->replica_announce_port
           : node_->port() != 0               ? node_->port()
                                              : node_->tls_port();
  r.shard = shard;
  r.shards = node_->shard_count();
  r.databases = config->databases;
  return r;
}

// ---- Taking over ----------------------------------------------------------------------------------------------------

void ReplicaControl::Promote(uint64_t epoch, Done done) {
  node_->Post(0, [this, epoch, done = std::move(done)](LoopImpl&) { DoPromote(epoch, done); });
}

absl::Status ReplicaControl::CheckWhole() const {
  if (reshaping_.load()) {
    return absl::FailedPreconditionError(
        "this node is about to get other data from its primary: let it follow until it is whole, or restart it with "
        "what it had before");
  }
  const std::lock_guard<std::mutex> lock(status_mutex_);
  for (uint32_t i = 0; i < statuses_; ++i) {
    if (status_[i].whole.load()) continue;
    return absl::FailedPreconditionError(fmt::format(
        "shard {} has been synchronized in part only: let it follow a primary until it is whole, or restart it with "
        "what it had before",
        i));
  }
  return absl::OkStatus();
}

void ReplicaControl::DoPromote(uint64_t epoch, Done done) {
  if (!following() && epoch_ == epoch && promotion_ == nullptr) {
    if (done) done(absl::OkStatus());
    return;
  }
  if (promotion_ != nullptr) {
    if (promotion_->epoch == epoch) {
      if (done) promotion_->done.push_back(std::move(done));
      return;
    }
    EndPromotion(absl::AbortedError("another epoch was asked for"));
  }
  // Nothing of what it does, following above all, changes for a promotion that cannot be.
  if (absl::Status whole = CheckWhole(); !whole.ok()) {
    LOG(ERROR) << "this node cannot become a primary: " << whole.message();
    begin_again_ms_ = ReadMonoMs() + kBeginAgainMs;
    if (done) done(whole);
    return;
  }
  if (catching_up()) catch_up_->Begin();
  LOG(INFO) << "becoming a primary" << (epoch != 0 ? ", with epoch " + std::to_string(epoch) : "");
  promotion_ = std::make_unique<Waiting>();
  promotion_->epoch = epoch;
  if (done) promotion_->done.push_back(std::move(done));
  {
    const std::lock_guard lock(mutex_);
    if (upstream_) left_ = upstream_->id;
    upstream_.reset();
  }
  const uint64_t turn = ++turn_;
  struct Ends {
    std::mutex mutex;
    std::vector<storage::Lsn> lsns;
    std::string error;
  };
  auto ends = std::make_shared<Ends>();
  ends->lsns.resize(node_->shard_count());
  OnLoops(
      [ends, epoch](LoopImpl& loop) {
        loop.replication().Follow(std::nullopt);
        std::string error;
        const std::vector<std::pair<uint32_t, storage::Lsn>> begun = loop.BeginReigns(epoch, &error);
        const std::lock_guard lock(ends->mutex);
        for (const auto& [shard, lsn] : begun) ends->lsns[shard] = lsn;
        if (!error.empty()) ends->error = error;
      },
      [this, ends, turn] {
        if (turn != turn_) return;
        if (!ends->error.empty()) return Promoted(turn, absl::FailedPreconditionError(ends->error));
        storage::KillPoint("reign.begun");
        if (node_->data().flows() == nullptr) return Promoted(turn, absl::OkStatus());
        node_->data().flows()->ListReigns(ends->lsns, [this, turn](const absl::Status& status) {
          node_->Post(0, [this, turn, status](LoopImpl&) { Promoted(turn, status); });
        });
      });
}

void ReplicaControl::Promoted(uint64_t turn, const absl::Status& status) {
  if (turn != turn_ || promotion_ == nullptr) return;
  if (!status.ok()) {
    LOG(ERROR) << "this node cannot become a primary: " << status.message();
    left_.clear();
    begin_again_ms_ = ReadMonoMs() + kBeginAgainMs;
    return EndPromotion(status);
  }
  storage::KillPoint("reign.durable");
  epoch_ = promotion_->epoch;
  following_.store(false, std::memory_order_release);
  if (catching_up()) catch_up_->End();
  UpdateGuard();
  OnLoops([guard = guard_](LoopImpl& loop) { loop.ApplyGuard(guard); },
          [this, turn] {
            if (turn != turn_) return;
            LOG(INFO) << "this node is a primary";
            EndPromotion(absl::OkStatus());
          });
}

void ReplicaControl::EndPromotion(const absl::Status& status) {
  if (promotion_ == nullptr) return;
  const std::unique_ptr<Waiting> ended = std::move(promotion_);
  for (const Done& done : ended->done) done(status);
}

void ReplicaControl::Freeze(int64_t until_mono_ms, std::function<void(std::vector<uint64_t>)> done) {
  auto ends = std::make_shared<std::vector<uint64_t>>(node_->shard_count());
  OnLoops(
      [ends, until_mono_ms](LoopImpl& loop) {
        loop.Freeze(until_mono_ms);
        for (const ShardHost* host : loop.own_hosts()) {
          if (host->log() != nullptr && host->index < ends->size()) (*ends)[host->index] = host->log()->end();
        }
      },
      [ends, done = std::move(done)] { done(std::move(*ends)); });
}

void ReplicaControl::Unfreeze() {
  OnLoops([](LoopImpl& loop) { loop.Freeze(0); }, nullptr);
}

// ---- What clients may ---------------------------------------------------------------------------------------------

void ReplicaControl::OnFlowChanged() {
  node_->Post(0, [this](LoopImpl&) { UpdateGuard(); });
}

void ReplicaControl::UpdateGuard() {
  const ConfigPtr config = node_->config();
  RoleGuard guard;
  guard.replica = following();
  guard.catching_up = catching_up();
  guard.reshaping = reshaping_.load();
  if (following()) {
    for (uint32_t i = 0; i < node_->shard_count(); ++i) {
      guard.loading = guard.loading || !status_[i].whole.load();
      guard.stale =
          guard.stale || (!config->replica_serve_stale_data && status_[i].state.load() != FlowState::kConnected);
    }
  } else if (config->min_replicas_to_write != 0 && config->min_replicas_max_lag != 0) {
    guard.few_replicas =
        board_->CountSince(ReadMonoMs() - int64_t{config->min_replicas_max_lag} * 1000) < config->min_replicas_to_write;
  }
  if (guard == guard_) return;
  const bool whole_now = guard_.loading && !guard.loading;
  guard_ = guard;
  OnLoops(
      [guard, whole_now](LoopImpl& loop) {
        loop.ApplyGuard(guard);
        if (whole_now) loop.ApplyGating();  // an inherited data set's log counts from now on
      },
      nullptr);
}

void ReplicaControl::Tick() {
  if (catching_up()) {
    catch_up_->Tick();
    // A disk that was full, say.
    if (catch_up_->begins() && promotion_ == nullptr && ReadMonoMs() >= begin_again_ms_) DoPromote(0, nullptr);
  }
  UpdateGuard();
  TendBacklogs();
}

// What is kept for replicas goes when none has been there for long.
void ReplicaControl::TendBacklogs() {
  const int64_t now = ReadMonoMs();
  if (board_->any()) backlogs_ = true;
  if (!backlogs_ || following() || board_->any()) {
    no_replica_since_ms_ = now;
    return;
  }
  const uint32_t ttl = node_->config()->repl_backlog_ttl;
  if (ttl == 0 || now - no_replica_since_ms_ < int64_t{ttl} * 1000) return;
  backlogs_ = false;
  OnLoops(
      [](LoopImpl& loop) {
        if (!loop.replication().has_senders()) loop.KeepBacklogs(false);
      },
      nullptr);
}

int64_t ReplicaControl::data_age_ms() const {
  if (!following()) return 0;
  int64_t oldest = 0;
  const int64_t now = ReadMonoMs();
  const std::lock_guard<std::mutex> lock(status_mutex_);
  for (uint32_t i = 0; i < statuses_; ++i) {
    const int64_t heard = status_[i].heard_ms.load(std::memory_order_relaxed);
    if (!status_[i].whole.load() || heard < 0) return -1;
    oldest = std::max(oldest, now - heard);
  }
  return oldest;
}

// ---- Commands -------------------------------------------------------------------------------------------------------

void ReplicaControl::BeginFlow(Call& call) {
  auto& session = static_cast<ClientSession&>(*call.session);
  const bus::SecretsPtr secrets = node_->secrets();
  const std::shared_ptr<FlowChallenge> challenge = std::move(session.challenge);
  std::string proof;
  absl::StatusOr<LogsyncRequest> request = absl::InvalidArgumentError("");
  if (SameName(call.argv[1], "prove")) {
    const std::optional<std::string> shown = challenge == nullptr || secrets == nullptr
                                                 ? std::nullopt
                                                 : challenge->Prove(call.argv, *secrets, node_->replication_id());
    if (!shown) {
      LOG(WARNING) << "a flow from " << session.st.addr
                   << " is refused: it does not prove that it knows cluster-secret";
      return call.reply->Error("NOPERM LOGSYNC: this is no proof of this node's cluster-secret");
    }
    proof = *shown;
    request = challenge->request();
  } else {
    request = DecodeLogsync(call.argv);
    if (!request.ok()) return call.reply->Error(TextOf(request.status()));
    if (secrets != nullptr) {
      session.challenge = std::make_shared<FlowChallenge>(call.argv, *request, &counts_.unproven);
      return call.reply->Status(session.challenge->Line());
    }
  }
  if (stopping_.load() || node_->data().flows() == nullptr) return call.reply->Error("LOADING the node is stopping");
  if (request->replica_id == node_->replication_id())
    return call.reply->Error("ERR LOGSYNC: this node is the replica itself");
  const bool asks_only = request->kind == LogsyncRequest::Kind::kAsk;
  if (catching_up() && !asks_only) {
    return call.reply->Error("LOADING this primary first asks its replicas whether they know more than its log");
  }
  if (reshaping_.load()) return call.reply->Error(kReshaping);
  if (request->shards != node_->shard_count() || (!asks_only && request->databases < call.config->databases)) {
    return RefuseShape(call, *request, proof);
  }
  auto& loop = static_cast<LoopImpl&>(*call.loop);
  if (request->ip.empty()) {
    const std::string& from = session.st.addr;
    request->ip = from.substr(0, from.rfind(':'));
  }
  AckBoard::Seat seat;
  if (!asks_only) seat = board_->Take(request->replica_id, request->ip, request->port, request->shard);
  if (!seat && !asks_only)
    return call.reply->Error(fmt::format("ERR LOGSYNC: this node has {} replicas already", AckBoard::kMaxReplicas));

  struct Moving {
    NewFlow flow;
    AckBoard::Seat seat;
  };
  auto moving = std::make_shared<Moving>();
  moving->flow = loop.Detach(session);
  moving->flow.request = *std::move(request);
  moving->flow.proof = std::move(proof);
  moving->seat = std::move(seat);
  const uint32_t shard = moving->flow.request.shard;
  const auto add = [this, moving, shard] {
    node_->Post(node_->LoopOf(shard), [this, moving](LoopImpl& home) {
      if (!stopping_.load() && !reshaping_.load())
        home.replication().Add(std::move(moving->flow), std::move(moving->seat), &counts_);
    });
  };
  if (asks_only || node_->data().logged()) return add();
  node_->data().flows()->StartMemoryLogs(following(), [add](const absl::Status& status) {
    if (status.ok()) return add();
    LOG(ERROR) << "no log in memory for replicas: " << status.message();
  });
}

void ReplicaControl::ReplicaOf(Call& call) {
  if (call.config->cluster_enabled) return call.reply->Error("ERR REPLICAOF not allowed in cluster mode.");
  if (SameName(call.argv[1], "no") && SameName(call.argv[2], "one")) {
    node_->NoteReplicaOf({});
    if (!following()) return call.reply->Ok();
    auto owed = std::make_shared<DeferredReply>(node_->Defer(call));
    node_->Post(0, [this, owed](LoopImpl&) {
      DoPromote(0, [owed](const absl::Status& status) {
        owed->Complete([status](ReplyWriter& reply) {
          status.ok() ? reply.Ok() : reply.Error("ERR " + std::string(status.message()));
        });
      });
    });
    return;
  }
  const std::optional<int64_t> port = ParseInteger(std::string(call.argv[2]));
  if (!port) return call.reply->Error("ERR value is not an integer or out of range");
  if (*port < 1 || *port > 65535) return call.reply->Error("ERR Invalid master port");
  const Upstream upstream{std::string(call.argv[1]), static_cast<uint16_t>(*port), call.config->tls_replication, ""};
  {
    const std::lock_guard lock(mutex_);
    if (following() && upstream_ == upstream) {
      return call.reply->Status("OK Already connected to specified master");
    }
  }
  node_->NoteReplicaOf({upstream.host, std::to_string(upstream.port)});
  Follow(upstream);
  call.reply->Ok();
}

std::vector<FlowClient> ReplicaControl::Flows(Loop& loop) const {
  return static_cast<LoopImpl&>(loop).replication().Clients();
}

void ReplicaControl::CloseFlow(Loop& loop, uint64_t id) { static_cast<LoopImpl&>(loop).replication().CloseFlow(id); }

}  // namespace skein::node
