#include "node/replication/loop_replication.h"

#include <algorithm>
#include <utility>

#include "node/loop_impl.h"
#include "node/node_impl.h"
#include "storage/backlog.h"
#include "storage/flows.h"

namespace skein::node {
namespace {

// How long a stopping node goes on sending to its replicas.
constexpr int64_t kDrainMs = 1000;

}  // namespace

LoopReplication::LoopReplication(LoopImpl* loop) : loop_(loop) {}
LoopReplication::~LoopReplication() = default;

void LoopReplication::Add(NewFlow flow, AckBoard::Seat seat, FlowSender::Counts* counts) {
  ShardHost* const host = loop_->host(flow.request.shard);
  // The same replica again: what was there is a connection that it has lost.
  for (const auto& s : senders_) {
    if (flow.request.kind != LogsyncRequest::Kind::kAsk && s->host().index == host->index &&
        s->replica() == flow.request.replica_id) {
      s->Close("the replica has connected again");
    }
  }
  senders_.push_back(
      std::make_unique<FlowSender>(loop_, host, std::move(flow), std::move(seat), loop_->node().NextFlowId(), counts));
  senders_.back()->Start();
}

FlowSender* LoopReplication::FindSender(uint64_t id) {
  for (const auto& s : senders_) {
    if (s->id() == id) return s.get();
  }
  return nullptr;
}

FlowReceiver* LoopReplication::FindReceiver(uint64_t id) {
  for (const auto& r : receivers_) {
    if (r->id() == id) return r.get();
  }
  return nullptr;
}

void LoopReplication::Send() {
  for (size_t i = 0; i < senders_.size(); ++i) senders_[i]->Send();
}

void LoopReplication::Ask(uint32_t shard, storage::Lsn received, storage::Lsn durable) {
  for (size_t i = 0; i < senders_.size(); ++i) {
    if (senders_[i]->host().index == shard) senders_[i]->Ask(received, durable);
  }
}

bool LoopReplication::Drain() {
  if (drain_until_ms_ <= 0) {
    drain_until_ms_ = loop_->now_mono_ms() + kDrainMs;
    receivers_.clear();
  }
  const bool late = loop_->now_mono_ms() >= drain_until_ms_;
  bool all = true;
  for (const auto& s : senders_) {
    s->Send();
    if (s->closed()) continue;
    if (s->drained() || late) {
      s->Close("this node stops");
    } else {
      all = false;
    }
  }
  return all;
}

void LoopReplication::Follow(const std::optional<Upstream>& upstream) {
  receivers_.clear();
  inquiries_.clear();
  // Nobody is dialled any more by a node that stops.
  if (!upstream || drain_until_ms_ != 0) return;
  for (ShardHost* const host : loop_->own_hosts()) {
    receivers_.push_back(std::make_unique<FlowReceiver>(loop_, host, loop_->node().flow_status(host->index),
                                                        loop_->node().NextFlowId()));
    receivers_.back()->Begin(*upstream);
  }
}

void LoopReplication::Inquire(const std::vector<Upstream>& peers,
                              std::function<void(size_t peer, uint32_t shard, LogKnowledge, std::string follows)> heard,
                              std::function<void(DataShape)> other_shape) {
  inquiries_.clear();
  if (drain_until_ms_ != 0) return;
  for (ShardHost* const host : loop_->own_hosts()) {
    for (size_t peer = 0; peer < peers.size(); ++peer) {
      inquiries_.push_back(std::make_unique<FlowInquiry>(
          loop_, host->index, peers[peer],
          [heard, peer, shard = host->index](LogKnowledge theirs, std::string follows) {
            heard(peer, shard, std::move(theirs), std::move(follows));
          },
          other_shape));
      inquiries_.back()->Begin();
    }
  }
}

void LoopReplication::Fetch(const std::vector<std::optional<Upstream>>& from) {
  inquiries_.clear();
  receivers_.clear();
  if (drain_until_ms_ != 0) return;
  for (ShardHost* const host : loop_->own_hosts()) {
    if (!from[host->index]) continue;
    receivers_.push_back(std::make_unique<FlowReceiver>(loop_, host, loop_->node().flow_status(host->index),
                                                        loop_->node().NextFlowId(), /*fetches=*/true));
    receivers_.back()->Begin(*from[host->index]);
  }
}

std::vector<FlowClient> LoopReplication::Clients() const {
  std::vector<FlowClient> clients;
  for (const auto& s : senders_) {
    if (!s->closed()) clients.push_back(s->Client());
  }
  for (const auto& r : receivers_) {
    if (std::optional<FlowClient> client = r->Client()) clients.push_back(*std::move(client));
  }
  return clients;
}

void LoopReplication::CloseFlow(uint64_t client_id) {
  for (const auto& s : senders_) {
    if (!s->closed() && s->Client().id == client_id) return s->Close("CLIENT KILL");
  }
  for (const auto& r : receivers_) {
    const std::optional<FlowClient> client = r->Client();
    if (client && client->id == client_id) return r->Kill();
  }
}

void LoopReplication::OnDurable(uint32_t shard) {
  for (const auto& r : receivers_) {
    if (r->shard() == shard) r->OnDurable();
  }
}

void LoopReplication::CallLater(uint64_t receiver) {
  if (again_.empty()) loop_->mailbox().Wake();
  again_.push_back(receiver);
}

void LoopReplication::OnTurn() {
  if (!again_.empty()) {
    std::vector<uint64_t> ids;
    ids.swap(again_);
    for (const uint64_t id : ids) {
      if (FlowReceiver* const r = FindReceiver(id)) r->Resume();
    }
  }
  done_reloads_.clear();
  if (reap_) Reap();
}

void LoopReplication::OnProgress() {
  for (size_t i = 0; i < receivers_.size(); ++i) receivers_[i]->OnProgress();
}

void LoopReplication::Tick() {
  for (size_t i = 0; i < senders_.size(); ++i) senders_[i]->Tick();
  for (size_t i = 0; i < receivers_.size(); ++i) receivers_[i]->Tick();
  for (const auto& inquiry : inquiries_) inquiry->Tick();
  for (const ShardHost* const host : loop_->own_hosts()) {
    const storage::Backlog* const backlog = host->log() == nullptr ? nullptr : host->log()->backlog();
    FlowStatus& status = *loop_->node().flow_status(host->index);
    status.keeps_backlog.store(backlog != nullptr, std::memory_order_relaxed);
    std::optional<storage::Lsn> replicated;
    for (const auto& s : senders_) {
      if (!s->closed() && s->host().index == host->index) replicated = std::max(replicated.value_or(0), s->durable());
    }
    storage::Flows* const flows = loop_->node().data().flows();
    if (replicated != told_[host->index] && flows != nullptr && loop_->config().appendonly) {
      told_[host->index] = replicated;
      flows->SetReplicated(host->index, replicated);
    }
    status.backlog_bytes.store(backlog == nullptr ? 0 : backlog->bytes(), std::memory_order_relaxed);
  }
  if (reap_) Reap();
}

void LoopReplication::Reap() {
  reap_ = false;
  std::erase_if(senders_, [](const auto& s) { return s->idle(); });
  // What is lent says so when it comes back.
  for (const auto& s : senders_) reap_ = reap_ || s->closed();
}

void LoopReplication::StopFeeds() {
  if (drain_until_ms_ == 0) drain_until_ms_ = -1;  // stopping
  receivers_.clear();
  inquiries_.clear();
  done_reloads_.clear();
  for (const auto& s : senders_) s->EndFeed();
}

void LoopReplication::Leave(std::string_view why) {
  receivers_.clear();
  inquiries_.clear();
  done_reloads_.clear();
  again_.clear();
  for (const auto& s : senders_) {
    s->Close(why);
    s->EndFeed();
  }
  senders_.clear();
  told_.clear();
}

void LoopReplication::Stop() {
  StopFeeds();
  for (const auto& s : senders_) s->Close("this node stops");
  senders_.clear();
}

}  // namespace skein::node
