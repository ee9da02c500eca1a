// Whom this node follows, and what that means for its loops: decided on loop 0, asked for and read anywhere.
#ifndef SKEIN_NODE_REPLICATION_REPLICA_CONTROL_H_
#define SKEIN_NODE_REPLICATION_REPLICA_CONTROL_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "bus/topology.h"
#include "node/replication/ack_board.h"
#include "node/replication/catch_up.h"
#include "node/replication/flow_receiver.h"
#include "node/replication/flow_sender.h"
#include "node/replication/replication.h"
#include "node/replication/role_guard.h"
#include "node/replication/shape_change.h"

namespace skein::node {

class NodeImpl;

class ReplicaControl final : public Replication {
 public:
  // `following`: the data set was opened without beginning a reign (DataSetOptions::follow). `asks`: not as a
  // replica's, but as that of a primary whose replicas may know more than its log.
  ReplicaControl(NodeImpl* node, bool following, bool asks);

  // ---- Replication
  void Follow(std::optional<Upstream> upstream) override;
  void Promote(uint64_t epoch, std::function<void(const absl::Status&)> done) override;
  void Freeze(int64_t until_mono_ms, std::function<void(std::vector<uint64_t>)> done) override;
  void Unfreeze() override;
  int64_t data_age_ms() const override;
  absl::Status CheckWhole() const override;
  bool following() const override { return following_.load(std::memory_order_acquire); }
  bool catching_up() const override { return catch_up_ != nullptr && catch_up_->active(); }
  ReplicationInfo Info() const override;
  void BeginFlow(Call& call) override;
  void ReplicaOf(Call& call) override;
  std::vector<FlowClient> Flows(Loop& loop) const override;
  void CloseFlow(Loop& loop, uint64_t id) override;

  // ---- Any thread
  AckBoard& board() { return *board_; }
  FlowStatus* flow_status(uint32_t shard) { return &status_[shard]; }
  FlowSender::Counts& counts() { return counts_; }
  // The state of a flow has changed.
  void OnFlowChanged();
  // Whom this node follows, by its id in the cluster; empty: none, or one without. Nullopt: it is not yet known.
  std::optional<std::string> follows_id() const;
  // A replica knows more than this primary, which is being fetched: it might as well take over.
  bool fetching() const { return catch_up_ != nullptr && catch_up_->fetching(); }
  // What every flow of this node says of it; what it has of the shard is left out.
  LogsyncRequest Request(uint32_t shard) const;
  // How flows reach a node; nothing if it has no address yet.
  std::optional<Upstream> UpstreamOf(const bus::TopologyNode& node) const;
  // No further replica is served.
  // Waits for an exchange of the data set. Not on a loop's thread.
  void BeginStop() {
    stopping_.store(true);
    shape_change_.Stop();
  }
  // This one, which this node follows, has a data set of other numbers than this node's.
  void OnOtherShape(const Upstream& upstream, DataShape shape);
  // Loop 0. The data set gives way to an empty one of this shape. False: not now.
  bool Reshape(DataShape shape);
  bool reshaping() const { return reshaping_.load(); }
  // The node has another data set, without flows; all loops stand still.
  void OnShapeTaken();

  // ---- Loop 0
  void Tick();
  void OnTopology(const bus::TopologyPtr& topology);

 private:
  using Done = std::function<void(const absl::Status&)>;
  struct Waiting {
    uint64_t epoch;
    std::vector<Done> done;
  };

  // ---- Loop 0
  void DoFollow(const Upstream& upstream);
  // Follows upstream_, once there is a log to follow with.
  void Link(uint64_t turn);
  void DialAll(uint64_t turn);
  void RefuseShape(Call& call, const LogsyncRequest& request, const std::string& proof);
  void OnReshaped(const absl::Status& status);
  // 0: the epoch behind each log's last.
  void DoPromote(uint64_t epoch, Done done);
  void Promoted(uint64_t turn, const absl::Status& status);
  void EndPromotion(const absl::Status& status);
  void UpdateGuard();
  void TendBacklogs();
  // On every loop; `last`, on loop 0, when all have done it.
  void OnLoops(std::function<void(LoopImpl&)> each, std::function<void()> last);

  // After a failure.
  static constexpr int64_t kBeginAgainMs = 1000;

  NodeImpl* const node_;
  std::unique_ptr<AckBoard> board_;
  FlowSender::Counts counts_;
  // By shard; exchanged with the data set while all loops stand still, so that only other threads need the lock.
  mutable std::mutex status_mutex_;
  uint32_t statuses_;
  std::unique_ptr<FlowStatus[]> status_;
  std::atomic<bool> following_, stopping_{false};
  std::atomic<bool> reshaping_{false};  // from the moment that it is wanted: no flows, no promotion
  std::unique_ptr<CatchUp> catch_up_;   // null: there was nothing to be asked when it started

  mutable std::mutex mutex_;
  std::optional<Upstream> upstream_;  // changed on loop 0

  // Loop 0's own.
  uint64_t turn_ = 0;  // grows with each change of whom it follows: late steps of earlier ones end
  std::unique_ptr<Waiting> promotion_;
  uint64_t epoch_ = 0;          // of the newest reign that was asked for
  std::string left_;            // whom it followed before it was promoted, until the topology says that it is a primary
  int64_t begin_again_ms_ = 0;  // after a primary that starts could not begin its reigns
  RoleGuard guard_;
  int64_t no_replica_since_ms_ = 0;
  bool backlogs_ = false;
  int64_t reshape_again_ms_ = 0;  // after one that could not be made
  ShapeChange shape_change_;
};

}  // namespace skein::node

#endif  // SKEIN_NODE_REPLICATION_REPLICA_CONTROL_H_
