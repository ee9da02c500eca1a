// What a flow's primary sends out of its files, or as a snapshot: a thread that waits for the disk, the shard and the
// socket, so that no loop does. The connection is lent to it as long as it runs.
#ifndef SKEIN_NODE_REPLICATION_FLOW_FEED_H_
#define SKEIN_NODE_REPLICATION_FLOW_FEED_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "node/replication/flow_channel.h"
#include "storage/flows.h"
#include "storage/types.h"

namespace skein::node {

class FlowFeed {
 public:
  struct Job {
    uint32_t shard = 0;
    // Records from `from` up to `to`, where one ends and which the log has reached; else a snapshot.
    bool records = false;
    storage::Lsn from = 0, to = 0;
    std::string head;  // is sent first
    int64_t timeout_ms = 60'000;
    // Where the snapshot has begun (the shard's thread). Not called once the feed is gone.
    std::function<void(storage::Lsn)> on_begin;
    // From the thread, as the last thing it does but for ending: up to where the replica has been told everything. An
    // error: nothing more can be sent, except NotFound: the files do not reach back, and nothing has been sent.
    std::function<void(absl::StatusOr<storage::Lsn>)> done;
  };

  FlowFeed(FlowChannel* channel, storage::Flows* flows, Job job);
  // Cancels, and waits for the thread, which ends with the read that it is in.
  ~FlowFeed();
  FlowFeed(const FlowFeed&) = delete;
  FlowFeed& operator=(const FlowFeed&) = delete;
  // The thread ends soon, and says so by `done`. Any thread.
  void Cancel();

 private:
  void Run();
  absl::StatusOr<storage::Lsn> SendRecords();
  absl::StatusOr<storage::Lsn> SendFrom(storage::LogFeed& feed);
  absl::StatusOr<storage::Lsn> SendSnapshot();
  absl::Status Write(std::string_view bytes) { return channel_->WriteAll(bytes, job_.timeout_ms, cancelled_); }
  absl::Status WriteHead();

  FlowChannel* const channel_;
  storage::Flows* const flows_;
  const Job job_;
  std::atomic<bool> cancelled_{false};
  std::mutex mutex_;
  storage::SnapshotStream* stream_ = nullptr;  // while it is read; so is records_
  storage::LogFeed* records_ = nullptr;
  std::thread thread_;
};

}  // namespace skein::node

#endif  // SKEIN_NODE_REPLICATION_FLOW_FEED_H_
