// Asks a node what it has of one shard, again and again until it answers. On the loop that hosts the shard.
#ifndef SKEIN_NODE_REPLICATION_FLOW_INQUIRY_H_
#define SKEIN_NODE_REPLICATION_FLOW_INQUIRY_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "node/replication/flow_dial.h"
#include "node/replication/log_census.h"
#include "node/replication/shape_change.h"

namespace skein::node {

class FlowInquiry {
 public:
  // `follows`: whom that node follows, by its id in the cluster; empty: nobody.
  using Done = std::function<void(LogKnowledge, std::string follows)>;

  // `done`: once, if ever. `other_shape`: the data set there has other numbers of shards or databases, each time that
  // it says so.
  FlowInquiry(LoopImpl* loop, uint32_t shard, Upstream peer, Done done, std::function<void(DataShape)> other_shape);
  FlowInquiry(const FlowInquiry&) = delete;
  FlowInquiry& operator=(const FlowInquiry&) = delete;

  void Begin();
  // Ten times a second.
  void Tick();

 private:
  LogsyncRequest Request() const;
  void OnFailed(const std::string& why);
  void OnAnswered(FlowDial::Answered answered);

  LoopImpl* const loop_;
  const uint32_t shard_;
  const Upstream peer_;
  Done done_;
  const std::function<void(DataShape)> other_shape_;
  std::unique_ptr<FlowDial> dial_;
  int64_t begun_ms_ = 0, next_ms_ = 0;
  std::string error_;  // why not yet
};

}  // namespace skein::node

#endif  // SKEIN_NODE_REPLICATION_FLOW_INQUIRY_H_
