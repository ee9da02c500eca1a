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

FlowInquiry::FlowInquiry(LoopImpl* loop, uint32_t shard, Upstream peer, Done done)
    : loop_(loop), shard_(shard), peer_(std::move(peer)), done_(std::move(done)) {}

void FlowInquiry::Begin() {
  begun_ms_ = loop_->now_mono_ms();
  const auto failed = [this](const std::string& why) {
    if (why != error_) {
      LOG(INFO) << "shard " << shard_ << ": asking " << peer_.host << ":" << peer_.port << ": " << why;
    }
    error_ = why;
    dial_.reset();
    next_ms_ = loop_->now_mono_ms() + kPauseMs;
  };
  const auto request = [this] {
    LogsyncRequest r = loop_->node().control().Request(shard_);
    r.asks = true;
    return r;
  };
  dial_ =
      std::make_unique<FlowDial>(loop_, peer_,
                                 FlowDial::Callbacks{.request = request,
                                                     .state = [](FlowState) {},
                                                     .failed = failed,
                                                     .answered =
                                                         [this, failed](FlowDial::Answered answered) {
                                                           LogsyncAnswer& a = answered.answer;
                                                           if (a.kind != LogsyncAnswer::Kind::kKnows) {
                                                             return failed("it answers what it was not asked");
                                                           }
                                                           dial_.reset();
                                                           const Done done = std::exchange(done_, nullptr);
                                                           done({a.end, std::move(a.history)}, std::move(a.follows));
                                                         }});
  dial_->Start();
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
