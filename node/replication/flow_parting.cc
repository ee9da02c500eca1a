// The replica's end where the logs part: what it alone has is kept aside, then cut.
#include <string>

#include "glog/logging.h"
#include "node/loop_impl.h"
#include "node/node_impl.h"
#include "node/replication/flow_receiver.h"
#include "node/replication/loop_replication.h"
#include "storage/flows.h"
#include "storage/kill_point.h"

namespace skein::node {

void FlowReceiver::Part(storage::Lsn lsn) {
  Disconnect();
  storage::Log* const log = host_->log();
  if (log == nullptr || lsn >= log->end()) return Fail("it says that the logs part where this one has nothing");
  LOG(WARNING) << "shard " << host_->index << ": " << upstream_.host << ":" << upstream_.port
               << " has other records from LSN " << lsn << " on; the " << log->end() - lsn
               << " bytes that this log has there leave it";
  storage::KillPoint("follow.parted");
  step_ = Step::kCut;
  SetState(FlowState::kSync);
  log->Kick();
  loop_->node().data().flows()->SetLostRecordsAside(
      host_->index, lsn, log->end(),
      [node = &loop_->node(), index = loop_->index(), id = id_, attempt = attempt_,
       lsn](const absl::StatusOr<storage::LostRecords>& lost) {
        node->Post(index, [id, attempt, lsn, lost](LoopImpl& loop) {
          if (FlowReceiver* const r = loop.replication().FindReceiver(id)) r->OnSetAside(attempt, lsn, lost);
        });
      });
}

void FlowReceiver::OnSetAside(uint64_t attempt, storage::Lsn lsn, const absl::StatusOr<storage::LostRecords>& lost) {
  loop_->FreshenClock();
  if (attempt != attempt_ || step_ != Step::kCut) return;
  if (!lost.ok()) return Fail("what this log alone has cannot be kept aside: " + std::string(TextOf(lost.status())));
  if (lost->records == 0 && lost->bytes_gone == 0) {
    LOG(INFO) << "shard " << host_->index << ": no data is among these " << lost->bytes << " bytes";
  } else {
    status_->lost_records.fetch_add(lost->records);
    status_->lost_bytes.fetch_add(lost->bytes);
    LOG(WARNING) << "shard " << host_->index << ": " << lost->records << " records, " << lost->bytes
                 << " bytes, are lost "
                 << (lost->path.empty() ? std::string("(no file holds them any more)") : "and kept in " + lost->path);
  }
  storage::KillPoint("follow.set-aside");
  Cut(lsn);
}

void FlowReceiver::Cut(storage::Lsn lsn) {
  const absl::Status begun = loop_->node().data().flows()->CutTo(
      host_->shard, lsn, [id = id_, attempt = attempt_, lsn](const absl::Status& status) {
        LoopImpl* const loop = LoopImpl::Current();
        FlowReceiver* const r = loop->replication().FindReceiver(id);
        if (r != nullptr) r->OnCut(attempt, lsn, status);
      });
  if (begun.ok()) {
    status_->whole.store(false);
    return loop_->OnShardReplaced(*host_);
  }
  if (absl::IsUnavailable(begun)) return Fail(TextOf(begun), FlowDial::Reason::kNotReady);
  LOG(INFO) << "shard " << host_->index << ": the log cannot be cut at LSN " << lsn << ": " << begun.message();
  anew_ = true;
  Fail("its log has other records; a full synchronization is next");
}

void FlowReceiver::OnCut(uint64_t attempt, storage::Lsn lsn, const absl::Status& status) {
  loop_->FreshenClock();
  loop_->OnShardReplaced(*host_);
  const bool whole = host_->log() != nullptr && !host_->shard->loading();
  status_->whole.store(whole);
  loop_->node().OnFlowChanged();
  if (attempt != attempt_ || step_ != Step::kCut) return;
  if (!status.ok()) return Fail("the log could not be cut: " + std::string(TextOf(status)));
  LOG(INFO) << "shard " << host_->index << ": the log has been cut at LSN " << lsn;
  storage::KillPoint("follow.cut");
  step_ = Step::kPause;
  Dial();
}

}  // namespace skein::node
