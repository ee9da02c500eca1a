#include "node/replication/catch_up.h"

#include <algorithm>
#include <utility>

#include "glog/logging.h"
#include "node/loop_impl.h"
#include "node/node_impl.h"
#include "node/replication/loop_replication.h"
#include "node/replication/replica_control.h"
#include "storage/kill_point.h"

namespace skein::node {

CatchUp::CatchUp(NodeImpl* node, std::function<void()> begin) : node_(node), begin_(std::move(begin)) {}

void CatchUp::OnTopology(const bus::Topology& topology) {
  id_ = topology.me().id();
  const Step step = step_.load();
  if ((step != Step::kWait && step != Step::kAsk) || node_->control().reshaping()) return;
  std::vector<Upstream> peers;
  for (const bus::TopologyNode& node : topology.nodes) {
    if (!node.primary && node.primary_index == 0) {
      if (std::optional<Upstream> peer = node_->control().UpstreamOf(node)) peers.push_back(*std::move(peer));
    }
  }
  if (step == Step::kAsk && peers == peers_) return;
  if (step == Step::kWait) deadline_ms_ = ReadMonoMs() + node_->config()->cluster_node_timeout;
  if (!peers.empty()) {
    LOG(INFO) << "asking the " << peers.size() << " replicas of this primary whether they know more than its log; for "
              << (deadline_ms_ - ReadMonoMs()) << " ms at most";
  }
  Ask(std::move(peers));
}

void CatchUp::Ask(std::vector<Upstream> peers) {
  step_.store(Step::kAsk, std::memory_order_release);
  peers_ = std::move(peers);
  census_.reset();
  struct Round {
    std::vector<LogKnowledge> mine;
    std::atomic<uint32_t> left;
  };
  const uint64_t turn = ++turn_;
  auto round = std::make_shared<Round>();
  round->mine.resize(node_->shard_count());
  round->left = node_->loop_count();
  for (uint32_t i = 0; i < node_->loop_count(); ++i) {
    node_->Post(i, [this, round, turn](LoopImpl& loop) {
      loop.FollowLogs(true);
      for (const ShardHost* host : loop.own_hosts()) {
        if (host->log() != nullptr && !host->shard->loading()) {
          round->mine[host->index] = {host->log()->end(), host->log()->history()};
        }
      }
      if (round->left.fetch_sub(1) == 1) {
        node_->Post(0, [this, round, turn](LoopImpl&) { Inquire(turn, std::move(round->mine)); });
      }
    });
  }
}

void CatchUp::Inquire(uint64_t turn, std::vector<LogKnowledge> mine) {
  if (turn != turn_ || step_.load() != Step::kAsk) return;
  has_nothing_ = std::all_of(mine.begin(), mine.end(), [](const LogKnowledge& log) { return log.end == 0; });
  census_.emplace(std::move(mine), peers_.size());
  for (uint32_t i = 0; i < node_->loop_count(); ++i) {
    node_->Post(i, [this, turn, peers = peers_](LoopImpl& loop) {
      loop.replication().Inquire(
          peers,
          [this, turn, me = id_](size_t peer, uint32_t shard, LogKnowledge theirs, std::string follows) {
            theirs.elsewhere = follows != me;
            node_->Post(0, [this, turn, peer, shard, theirs = std::move(theirs)](LoopImpl&) mutable {
              Hear(turn, peer, shard, std::move(theirs));
            });
          },
          [this, turn](DataShape shape) {
            node_->Post(0, [this, turn, shape](LoopImpl&) { OnOtherShape(turn, shape); });
          });
    });
  }
  storage::KillPoint("ask.begun");
  if (census_->complete()) Settle();
}

void CatchUp::Hear(uint64_t turn, size_t peer, uint32_t shard, LogKnowledge theirs) {
  if (turn != turn_ || step_.load() != Step::kAsk || !census_) return;
  census_->Hear(peer, shard, std::move(theirs));
  if (!census_->complete()) return;
  storage::KillPoint("ask.answered");
  census_->knows_more() ? Fetch() : Settle();
}

void CatchUp::OnOtherShape(uint64_t turn, DataShape shape) {
  if (turn != turn_ || step_.load() != Step::kAsk || !census_ || !has_nothing_) return;
  shape.databases = std::max(shape.databases, node_->config()->databases);
  if (!node_->control().Reshape(shape)) return;
  LOG(WARNING) << "this primary has lost its log, and its replicas have " << shape.shards << " shards and "
               << shape.databases << " databases: it takes these numbers over to fetch what they have";
  ++turn_;
  census_.reset();
}

void CatchUp::AskAgain() {
  if (step_.load() != Step::kAsk) return;
  deadline_ms_ = ReadMonoMs() + node_->config()->cluster_node_timeout;
  Ask(peers_);
}

void CatchUp::Fetch() {
  ++turn_;
  std::vector<std::optional<Upstream>> from(node_->shard_count());
  goals_.assign(node_->shard_count(), 0);
  for (uint32_t shard = 0; shard < node_->shard_count(); ++shard) {
    const std::optional<LogCensus::Source>& source = census_->sources()[shard];
    if (!source) continue;
    from[shard] = peers_[source->peer];
    goals_[shard] = source->end;
    LOG(WARNING) << "shard " << shard << ": replica " << from[shard]->host << ":" << from[shard]->port
                 << " knows more than this primary, whose log ends at LSN " << node_->ShardEnd(shard)
                 << ": fetching its log up to LSN " << source->end;
  }
  linked_ms_ = ReadMonoMs();
  for (uint32_t i = 0; i < node_->loop_count(); ++i) {
    node_->Post(i, [from](LoopImpl& loop) { loop.replication().Fetch(from); });
  }
  step_.store(Step::kFetch, std::memory_order_release);
  storage::KillPoint("ask.fetching");
}

bool CatchUp::Fetched() const {
  for (uint32_t shard = 0; shard < goals_.size(); ++shard) {
    if (goals_[shard] != 0 && (!node_->flow_status(shard)->whole.load() || node_->ShardEnd(shard) < goals_[shard]))
      return false;
  }
  return true;
}

void CatchUp::Tick() {
  const Step step = step_.load();
  const int64_t now = ReadMonoMs(), timeout = node_->config()->cluster_node_timeout;
  if (step == Step::kFetch) {
    if (Fetched()) {
      LOG(INFO) << "this primary has what its replicas knew";
      storage::KillPoint("ask.fetched");
      return Settle();
    }
    bool linked = true;
    for (uint32_t shard = 0; shard < goals_.size(); ++shard) {
      const FlowState state = node_->flow_status(shard)->state.load();
      linked = linked && (goals_[shard] == 0 || state == FlowState::kConnected || state == FlowState::kSync);
    }
    if (linked) linked_ms_ = now;
    if (now - linked_ms_ < timeout) return;
    LOG(WARNING) << "the replica that knew more does not answer any more: asking again";
    deadline_ms_ = now + timeout;
    return Ask(peers_);
  }
  if (step != Step::kAsk || !census_ || now < deadline_ms_) return;
  if (census_->knows_more()) return Fetch();
  for (uint32_t shard = 0; shard < node_->shard_count(); ++shard) {
    if (node_->flow_status(shard)->whole.load()) continue;
    LOG(ERROR) << "shard " << shard << " has been fetched from a replica in part only, and nobody has the rest: this "
               << "node serves nothing until a replica is there, or it is restarted with what it had before";
    deadline_ms_ = now + timeout;
    return Ask(peers_);
  }
  LOG(WARNING) << "not all replicas of this primary have answered within cluster-node-timeout; none that did knows "
                  "more: going on with what its log has";
  Settle();
}

void CatchUp::Settle() {
  storage::KillPoint("ask.ended");
  Begin();
  begin_();
}

void CatchUp::Begin() {
  if (!active()) return;
  ++turn_;
  census_.reset();
  step_.store(Step::kBegin, std::memory_order_release);
}

void CatchUp::End() {
  ++turn_;
  census_.reset();
  step_.store(Step::kDone, std::memory_order_release);
}

}  // namespace skein::node
