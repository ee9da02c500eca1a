// A primary that restarts first finds out whether its replicas know more than its log, and fetches that: until then it
// serves nobody and feeds no replica.
//
//   waits for the topology: who are its replicas
//   asks each for the end and the history of each shard's log, for cluster-node-timeout at most
//   fetches what is missing, each shard from whom knows most of it
//   begins its reigns, and is done
//
// Loop 0, but for what is said to be for any thread.
#ifndef SKEIN_NODE_REPLICATION_CATCH_UP_H_
#define SKEIN_NODE_REPLICATION_CATCH_UP_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bus/topology.h"
#include "node/replication/flow_receiver.h"
#include "node/replication/log_census.h"
#include "node/replication/replication.h"
#include "node/replication/shape_change.h"

namespace skein::node {

class NodeImpl;

class CatchUp {
 public:
  // `begin`: nobody knows more than this node has now, or nobody was found in time.
  CatchUp(NodeImpl* node, std::function<void()> begin);

  // It is a primary, by this topology.
  void OnTopology(const bus::Topology& topology);
  void Tick();
  // The data set is another one.
  void AskAgain();
  // Its reigns are being begun: nothing more is asked.
  void Begin();
  // They have been; or it is no primary.
  void End();

  // Any thread. Whether this goes on; and whether somebody knows more, who might as well take over.
  bool active() const { return step_.load(std::memory_order_acquire) != Step::kDone; }
  bool begins() const { return step_.load(std::memory_order_acquire) == Step::kBegin; }
  bool fetching() const { return step_.load(std::memory_order_acquire) == Step::kFetch; }

 private:
  enum class Step : uint8_t { kWait, kAsk, kFetch, kBegin, kDone };

  void Ask(std::vector<Upstream> peers);
  void Inquire(uint64_t turn, std::vector<LogKnowledge> mine);
  void Hear(uint64_t turn, size_t peer, uint32_t shard, LogKnowledge theirs);
  // The data set of some replica has other numbers than this one, which takes them over if it has nothing to lose.
  void OnOtherShape(uint64_t turn, DataShape shape);
  void Fetch();
  bool Fetched() const;
  void Settle();

  NodeImpl* const node_;
  const std::function<void()> begin_;
  std::atomic<Step> step_{Step::kWait};
  uint64_t turn_ = 0;  // late answers to an earlier round are none
  std::string id_;     // of this node
  std::vector<Upstream> peers_;
  std::optional<LogCensus> census_;
  bool has_nothing_ = false;         // no log of this node says anything
  std::vector<storage::Lsn> goals_;  // by shard; 0: nothing is fetched
  int64_t deadline_ms_ = 0;          // CLOCK_MONOTONIC; of asking
  int64_t linked_ms_ = 0;            // when all flows were last there
};

}  // namespace skein::node

#endif  // SKEIN_NODE_REPLICATION_CATCH_UP_H_
