// What the bus decides about this node's role, carried out: following a primary, taking over, freezing, handing over.
#include <chrono>
#include <future>
#include <string>
#include <utility>

#include "glog/logging.h"
#include "node/node_impl.h"
#include "node/replication/replication.h"

namespace skein::node {
namespace {

// After a reign could not be opened (a full disk, say), the next try.
constexpr int64_t kPromoteAgainMs = 1000;
// The engine gives a hand-over up before; this is for a bus that does not answer.
constexpr std::chrono::seconds kHandOverPatience(10);

}  // namespace

// On the bus thread, which may run before Start has it: what answers it goes through a loop, which runs after.
void NodeImpl::OnPromote(uint64_t epoch) {
  promoting_.epoch.store(epoch, std::memory_order_release);
  promoting_.again_ms.store(0, std::memory_order_relaxed);
  replication()->Promote(epoch, [this, epoch](const absl::Status& status) {
    if (!status.ok()) {
      if (promoting_.epoch.load(std::memory_order_acquire) != epoch) return;
      LOG(ERROR) << "taking over in epoch " << epoch << " has failed and is tried again: " << status.message();
      promoting_.again_ms.store(ReadClockNanos(CLOCK_MONOTONIC) / 1'000'000 + kPromoteAgainMs,
                                std::memory_order_release);
      return;
    }
    Post(0, [this, epoch](LoopImpl&) { bus()->Promoted(epoch); });
  });
}

void NodeImpl::OnFreeze(int64_t until_mono_ms) {
  if (until_mono_ms == 0) return replication()->Unfreeze();
  replication()->Freeze(until_mono_ms, [this](std::vector<uint64_t> positions) {
    Post(0, [this, positions = std::move(positions)](LoopImpl&) mutable { bus()->Frozen(std::move(positions)); });
  });
}

// On the bus thread, at each of its ticks.
void NodeImpl::TendPromotion() {
  const int64_t again = promoting_.again_ms.load(std::memory_order_acquire);
  if (again == 0 || ReadClockNanos(CLOCK_MONOTONIC) / 1'000'000 < again) return;
  const uint64_t epoch = promoting_.epoch.load(std::memory_order_acquire);
  const bus::TopologyPtr seen = topology();
  const bus::NodeIndex primary = seen == nullptr ? bus::kNobody : seen->me().primary_index;
  if (primary != bus::kNobody && primary < seen->nodes.size() && !seen->me().primary &&
      seen->nodes[primary].config_epoch >= epoch) {
    promoting_.again_ms.store(0, std::memory_order_release);  // somebody else has been elected since
    return;
  }
  OnPromote(epoch);
}

void NodeImpl::BecomeEmptyPrimary(std::function<void(const absl::Status&)> done) {
  replication()->Promote(topology()->current_epoch, [this, done = std::move(done)](const absl::Status& status) {
    if (!status.ok()) return done(status);
    Post(0, [this, done](LoopImpl& loop) {
      AskShards(
          loop, /*write=*/true,
          [](LoopImpl&, storage::Shard& shard) {
            shard.FlushAll(/*lazy=*/true);
            return std::string();
          },
          [done](LoopImpl&, const std::vector<ShardPart>& parts) {
            for (const ShardPart& part : parts) {
              if (!part.error.empty()) return done(absl::FailedPreconditionError(part.error));
            }
            done(absl::OkStatus());
          });
    });
  });
}

// The engine says whether somebody follows this node: the loops' topology is behind it by up to a tick.
void NodeImpl::HandOver() {
  if (bus() == nullptr) return;
  auto answered = std::make_shared<std::promise<bus::OperatorReply>>();
  std::future<bus::OperatorReply> answer = answered->get_future();
  bus()->Submit(bus::HandOverCommand{},
                [answered](bus::OperatorReply reply) { answered->set_value(std::move(reply)); });
  if (answer.wait_for(kHandOverPatience) != std::future_status::ready) {
    LOG(WARNING) << "the hand-over is not answered: stopping without it";
    return;
  }
  const bus::OperatorReply reply = answer.get();
  if (reply.kind == bus::OperatorReply::Kind::kError) {
    LOG(INFO) << "stopping without a hand-over: " << reply.text;
  } else {
    LOG(INFO) << "handed over to a replica before stopping (SHUTDOWN NOW does not)";
  }
}

}  // namespace skein::node
