#include "node/replication/flow_feed.h"

#include <pthread.h>

#include <utility>

#include "node/replication/flow_frame.h"
#include "storage/kill_point.h"

namespace skein::node {
namespace {

constexpr size_t kPiece = 256u << 10;

void AppendRecordsFrame(storage::Lsn lsn, std::string_view bytes, std::string* out) {
  const iovec piece{const_cast<char*>(bytes.data()), bytes.size()};
  char head[kRecordsHeadSize];
  EncodeRecordsHead(lsn, &piece, 1, head);
  out->append(head, sizeof head).append(bytes);
}

}  // namespace

FlowFeed::FlowFeed(FlowChannel* channel, storage::Flows* flows, Job job)
    : channel_(channel), flows_(flows), job_(std::move(job)) {
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "flow-feed");
    Run();
  });
}

FlowFeed::~FlowFeed() {
  Cancel();
  thread_.join();
}

void FlowFeed::Cancel() {
  const std::lock_guard lock(mutex_);
  cancelled_.store(true, std::memory_order_release);
  if (stream_ != nullptr) stream_->Cancel();
  if (records_ != nullptr) records_->Cancel();
}

void FlowFeed::Run() { job_.done(job_.records ? SendRecords() : SendSnapshot()); }

absl::Status FlowFeed::WriteHead() { return job_.head.empty() ? absl::OkStatus() : Write(job_.head); }

absl::StatusOr<storage::Lsn> FlowFeed::SendRecords() {
  absl::StatusOr<std::unique_ptr<storage::LogFeed>> feed = flows_->OpenFeed(job_.shard, job_.from);
  if (!feed.ok()) return feed.status();
  {
    const std::lock_guard lock(mutex_);
    if (cancelled_.load(std::memory_order_relaxed)) return absl::CancelledError("cancelled");
    records_ = feed->get();
  }
  absl::StatusOr<storage::Lsn> reached = SendFrom(**feed);
  const std::lock_guard lock(mutex_);
  records_ = nullptr;
  return reached;
}

absl::StatusOr<storage::Lsn> FlowFeed::SendFrom(storage::LogFeed& feed) {
  if (absl::Status status = WriteHead(); !status.ok()) return status;
  std::string out;
  while (true) {
    const storage::Lsn at = feed.lsn();
    absl::StatusOr<std::string_view> bytes = feed.Next(job_.to, kPiece);
    if (!bytes.ok()) {
      // Something has been sent: nothing else may follow.
      return absl::IsNotFound(bytes.status()) ? absl::UnavailableError(bytes.status().message()) : bytes.status();
    }
    if (bytes->empty()) return job_.to;
    // A large record is more than a frame may hold; the replica puts it together.
    for (size_t i = 0; i < bytes->size(); i += kPiece) {
      out.clear();
      AppendRecordsFrame(at + i, bytes->substr(i, kPiece), &out);
      if (absl::Status status = Write(out); !status.ok()) return status;
    }
  }
}

absl::StatusOr<storage::Lsn> FlowFeed::SendSnapshot() {
  if (absl::Status status = WriteHead(); !status.ok()) return status;
  auto begun = std::make_shared<std::atomic<storage::Lsn>>(0);
  std::unique_ptr<storage::SnapshotStream> stream = flows_->StreamSnapshot(
      job_.shard, [begun, on_begin = job_.on_begin](storage::Shard&, absl::StatusOr<storage::Lsn> lsn) {
        if (!lsn.ok()) return;
        begun->store(*lsn);
        on_begin(*lsn);
      });
  {
    const std::lock_guard lock(mutex_);
    if (cancelled_.load(std::memory_order_relaxed)) return absl::CancelledError("cancelled");
    stream_ = stream.get();
  }
  const auto send = [&]() -> absl::Status {
    while (true) {
      absl::StatusOr<std::string_view> bytes = stream->Next();
      if (!bytes.ok()) return bytes.status();
      if (bytes->empty()) {
        absl::Status ended = Write(EncodeSnapshotEnd(begun->load()));
        if (ended.ok()) storage::KillPoint("flow.base-sent");
        return ended;
      }
      for (size_t i = 0; i < bytes->size(); i += kPiece) {
        if (absl::Status s = Write(EncodeFrame(FrameType::kSnapshot, bytes->substr(i, kPiece))); !s.ok()) return s;
        storage::KillPoint("flow.base-piece");
      }
    }
  };
  const absl::Status status = send();
  {
    const std::lock_guard lock(mutex_);
    stream_ = nullptr;
  }
  if (!status.ok()) return absl::IsNotFound(status) ? absl::UnavailableError(status.message()) : status;
  return begun->load();
}

}  // namespace skein::node
