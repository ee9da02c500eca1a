// A replica takes over its primary's number of shards, and a primary says what its own is.
#include <algorithm>
#include <memory>
#include <string>

#include "fmt/format.h"
#include "glog/logging.h"
#include "node/loop_impl.h"
#include "node/node_impl.h"
#include "node/replication/loop_replication.h"
#include "node/replication/replica_control.h"

namespace skein::node {

void ReplicaControl::OnOtherShape(const Upstream& upstream, DataShape shape) {
  node_->Post(0, [this, upstream, shape](LoopImpl&) {
    if (!following() || promotion_ != nullptr || upstream_ != upstream) return;
    const DataShape mine{node_->shard_count(), node_->config()->databases};
    const DataShape next{shape.shards, std::max(shape.databases, mine.databases)};
    if (next == mine) return;
    LOG(INFO) << "the data set here has " << mine.shards << " shards and " << mine.databases << " databases, that of "
              << upstream.host << ":" << upstream.port << " " << shape.shards << " and " << shape.databases;
    Reshape(next);
  });
}

bool ReplicaControl::Reshape(DataShape shape) {
  if (reshaping_.load() || stopping_.load() || ReadMonoMs() < reshape_again_ms_) return false;
  if (shape.shards != 1 && !node_->config()->cluster_enabled) return false;
  reshaping_.store(true);
  ++turn_;
  UpdateGuard();
  OnLoops(
      [this](LoopImpl& loop) {
        loop.replication().Leave("this node takes over another number of shards");
        for (const ShardHost* host : loop.own_hosts()) status_[host->index].whole.store(false);
      },
      [this, shape] {
        shape_change_.Begin(shape, [this](const absl::Status& status) {
          node_->Post(0, [this, status](LoopImpl&) { OnReshaped(status); });
        });
      });
  return true;
}

void ReplicaControl::OnShapeTaken() {
  const std::lock_guard<std::mutex> lock(status_mutex_);
  board_ = std::make_unique<AckBoard>(node_->shard_count());
  statuses_ = node_->shard_count();
  status_ = std::make_unique<FlowStatus[]>(statuses_);
  for (uint32_t i = 0; i < statuses_; ++i) {
    status_[i].whole.store(false);
    status_[i].down_since_ms.store(ReadMonoMs());
  }
}

void ReplicaControl::OnReshaped(const absl::Status& status) {
  if (!status.ok()) {
    LOG(ERROR) << "this node cannot take over its primary's number of shards: " << status.message();
    reshape_again_ms_ = ReadMonoMs() + kBeginAgainMs;
  }
  reshaping_.store(false);
  UpdateGuard();
  if (catching_up()) return catch_up_->AskAgain();
  if (upstream_) Link(turn_);
}

// To a replica it is the announcement of a full synchronization: it empties itself for it. So not before this node
// could begin one.
void ReplicaControl::RefuseShape(Call& call, const LogsyncRequest& request, const std::string& proof) {
  if (following() && !CheckWhole().ok()) return call.reply->Error("LOADING this node is being synchronized itself");
  if (request.kind != LogsyncRequest::Kind::kAsk && !board_->Take(request.replica_id, request.ip, request.port, 0)) {
    return call.reply->Error(fmt::format("ERR LOGSYNC: this node has {} replicas already", AckBoard::kMaxReplicas));
  }
  LogsyncAnswer answer;
  answer.kind = LogsyncAnswer::Kind::kShape;
  answer.primary_id = node_->replication_id();
  answer.shards = node_->shard_count();
  answer.databases = call.config->databases;
  call.reply->Status(EncodeAnswer(answer) + (proof.empty() ? "" : " " + proof));
}

}  // namespace skein::node
