#include "node/replication/flow_inquiry.h"

#include <utility>

#include "glog/logging.h"
#include "node/loop_impl.h"
#include "node/node_impl.h"
#include "node/replication/replica_control.h"

namespace skein::node {
namespace {

constexpr int64_t kPauseMs = 200;
// A connection that says nothing for so long is given up for another.
constexpr int64_t kPatienceMs = 2000;

}  // namespace

FlowInquiry::FlowInquiry(LoopImpl* loop, uint32_t shard, Upstream peer, Done done,
                         std::function<void(DataShape)> other_shape)
    : loop_(loop),
      shard_(shard),
      peer_(std::move(peer)),
      done_(std::move(done)),
      other_shape_(std::move(other_shape)) {}

void FlowInquiry::Begin() {
  begun_ms_ = loop_->now_mono_ms();
  FlowDial::Callbacks callbacks;
  callbacks.request = [this] { return Request(); };
  callbacks.state = [](FlowState) {};
  callbacks.failed = [this](FlowDial::Reason, const std::string& why) { OnFailed(why); };
  callbacks.answered = [this](FlowDial::Answered answered) { OnAnswered(std::move(answered)); };
  dial_ = std::make_unique<FlowDial>(loop_, peer_, std::move(callbacks));
  dial_->Start();
}

LogsyncRequest FlowInquiry::Request() const {
  LogsyncRequest r = loop_->node().control().Request(shard_);
  r.kind = LogsyncRequest::Kind::kAsk;
  return r;
}

void FlowInquiry::OnFailed(const std::string& why) {
  if (why != error_) {
    LOG(INFO) << "shard " << shard_ << ": asking " << peer_.host << ":" << peer_.port << ": " << why;
  }
  error_ = why;
  dial_.reset();
  next_ms_ = loop_->now_mono_ms() + kPauseMs;
}

void FlowInquiry::OnAnswered(FlowDial::Answered answered) {
  LogsyncAnswer& a = answered.answer;
  if (a.kind == LogsyncAnswer::Kind::kShape) {
    const DataShape shape{a.shards, a.databases};
    OnFailed("its data set has " + std::to_string(shape.shards) + " shards and " + std::to_string(shape.databases) +
             " databases");
    return other_shape_(shape);
  }
  if (a.kind != LogsyncAnswer::Kind::kKnows) return OnFailed("it answers what it was not asked");
  dial_.reset();
  const Done done = std::exchange(done_, nullptr);
  done({a.end, std::move(a.history)}, std::move(a.follows));
}

void FlowInquiry::Tick() {
  if (done_ == nullptr) return;
  const int64_t now = loop_->now_mono_ms();
  if (dial_ != nullptr && now - begun_ms_ > kPatienceMs) {
    dial_.reset();
    next_ms_ = now;
  }
  if (dial_ == nullptr && now >= next_ms_) Begin();
}

}  // namespace skein::node
