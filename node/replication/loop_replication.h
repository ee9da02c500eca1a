// The flows of one loop: the primary's ends and the replica's ends of the shards that it hosts. The loop's thread.
#ifndef SKEIN_NODE_REPLICATION_LOOP_REPLICATION_H_
#define SKEIN_NODE_REPLICATION_LOOP_REPLICATION_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "node/replication/flow_inquiry.h"
#include "node/replication/flow_receiver.h"
#include "node/replication/flow_sender.h"
#include "node/replication/shape_change.h"

namespace skein::node {

class LoopImpl;

class LoopReplication {
 public:
  explicit LoopReplication(LoopImpl* loop);
  ~LoopReplication();
  LoopReplication(const LoopReplication&) = delete;
  LoopReplication& operator=(const LoopReplication&) = delete;

  // ---- Primary's ends
  bool has_senders() const { return !senders_.empty(); }
  // A replica has asked for a shard of this loop, which has a log. `error`: empty, or why nobody is served now.
  void Add(NewFlow flow, AckBoard::Seat seat, FlowSender::Counts* counts);
  FlowSender* FindSender(uint64_t id);
  // At the end of each batch.
  void Send();
  void Ask(uint32_t shard, storage::Lsn received, storage::Lsn durable);
  // No connection is served any more: sends what there is, then closes. True: all of it has gone out, or cannot.
  bool Drain();

  // ---- Replica's ends
  // Follows it with every shard of this loop, or nobody.
  void Follow(const std::optional<Upstream>& upstream);
  // Asks every one of them for every shard of this loop, until it has answered. Follow ends it.
  void Inquire(const std::vector<Upstream>& peers,
               std::function<void(size_t peer, uint32_t shard, LogKnowledge, std::string follows)> heard,
               std::function<void(DataShape)> other_shape);
  // Takes what these, by shard, know more. Follow ends it.
  void Fetch(const std::vector<std::optional<Upstream>>& from);
  FlowReceiver* FindReceiver(uint64_t id);
  void OnDurable(uint32_t shard);
  // Goes on with this receiver in the loop's next turn.
  void CallLater(uint64_t receiver);
  void DestroyLater(std::unique_ptr<storage::ShardReload> reload) { done_reloads_.push_back(std::move(reload)); }

  // ---- Both
  std::vector<FlowClient> Clients() const;
  void CloseFlow(uint64_t client_id);
  void Tick();
  void OnProgress();
  // In each turn of the loop.
  void OnTurn();
  void ReapLater() { reap_ = true; }
  // Nothing uses the data set but its logs when this returns: the replica's ends are gone, the primary's send out of
  // memory alone.
  void StopFeeds();
  // Ends all flows, of both ends, and waits for what has been lent. Others may be begun after.
  void Leave(std::string_view why);
  // Nothing of it is left when this returns: waits for what has been lent.
  void Stop();

 private:
  void Reap();

  LoopImpl* const loop_;
  std::vector<std::unique_ptr<FlowSender>> senders_;
  std::vector<std::unique_ptr<FlowReceiver>> receivers_;
  std::vector<std::unique_ptr<FlowInquiry>> inquiries_;
  std::vector<std::unique_ptr<storage::ShardReload>> done_reloads_;
  std::vector<uint64_t> again_;
  std::map<uint32_t, std::optional<storage::Lsn>> told_;  // by shard: what rewrites know of replicas
  bool reap_ = false;
  int64_t drain_until_ms_ = 0;
};

}  // namespace skein::node

#endif  // SKEIN_NODE_REPLICATION_LOOP_REPLICATION_H_
