// The replica's end of a flow: on the loop that hosts the shard. Dials, asks for what the shard lacks, appends and
// applies it, acknowledges; begins anew, after a pause, when something goes wrong.
#ifndef SKEIN_NODE_REPLICATION_FLOW_RECEIVER_H_
#define SKEIN_NODE_REPLICATION_FLOW_RECEIVER_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "node/buffer.h"
#include "node/replication/flow_channel.h"
#include "node/replication/flow_dial.h"
#include "node/replication/flow_frame.h"
#include "node/replication/logsync.h"
#include "node/replication/replication.h"
#include "storage/lost_records.h"
#include "storage/shard_reload.h"
#include "storage/types.h"

namespace skein::node {

class LoopImpl;
struct ShardHost;

// What a shard's loop says of its part in replication: written there, read anywhere. All but the backlog is its
// receiver's.
struct FlowStatus {
  std::atomic<FlowState> state{FlowState::kConnect};
  std::atomic<storage::Lsn> upstream_end{0};
  std::atomic<int64_t> heard_ms{-1}, down_since_ms{-1};  // CLOCK_MONOTONIC
  std::atomic<bool> whole{true};
  std::atomic<bool> keeps_backlog{false};
  std::atomic<uint64_t> backlog_bytes{0};
  std::atomic<uint64_t> lost_records{0}, lost_bytes{0};  // kept aside: what the primary it came back to had not
  std::mutex mutex;
  std::string error, primary_id;
};

class FlowReceiver {
 public:
  // `fetches`: it takes what it lacks and cuts nothing off.
  FlowReceiver(LoopImpl* loop, ShardHost* host, FlowStatus* status, uint64_t id, bool fetches = false);
  ~FlowReceiver();
  FlowReceiver(const FlowReceiver&) = delete;
  FlowReceiver& operator=(const FlowReceiver&) = delete;

  // Follows it from now on, at once.
  void Begin(Upstream upstream);
  // Ten times a second.
  void Tick();
  // The log, or a snapshot, may have room again.
  void OnProgress();
  // Goes on with what has come.
  void Resume();
  // The log is durable up to what was asked for.
  void OnDurable();
  // Nothing while there is no connection.
  std::optional<FlowClient> Client() const;
  // Its connection ends; it dials again.
  void Kill();
  uint64_t id() const { return id_; }
  uint32_t shard() const;

  // The log has been cut, or could not be.
  void OnCut(uint64_t attempt, storage::Lsn lsn, const absl::Status& status);
  // What the log had beyond `lsn` has been kept aside; or why not.
  void OnSetAside(uint64_t attempt, storage::Lsn lsn, const absl::StatusOr<storage::LostRecords>& lost);

 private:
  enum class Step : uint8_t { kPause, kDial, kStream, kCut };

  void Dial();
  LogsyncRequest Request();
  void OnAnswered(FlowDial::Answered answered);
  // The primary's data set has other numbers than this node's.
  void OnShape(const LogsyncAnswer& answer);
  void OnReady(int events);
  // Gives the connection up and tries again later.
  void Fail(std::string_view why, FlowDial::Reason reason = FlowDial::Reason::kOther);
  void Disconnect();
  // Records are appended to the shard's log from here on.
  void NoteLog();
  void SetState(FlowState state);

  void Queue(std::string_view bytes);
  void Flush();
  void Watch();
  void Read();
  // False: the connection is gone, or what is left has to wait.
  bool Process();
  bool OnFrame(const Frame& frame);
  bool OnRecords(storage::Lsn lsn, std::string_view bytes);
  bool Apply(std::string_view records);
  void BeginReload();
  void OnReloaded(const absl::StatusOr<storage::Lsn>& lsn);
  // The log parts from the primary's at `lsn`: what is beyond is kept aside, then cut.
  void Part(storage::Lsn lsn);
  void Cut(storage::Lsn lsn);
  // Whether the log is the one, and ends where this flow has brought it: it may have been switched on or off since.
  bool Follows() const;
  // How far this replica is; durable is what a start would find. Nothing unless it follows.
  AckPayload Position() const;
  void Acknowledge(bool now);

  LoopImpl* const loop_;
  ShardHost* const host_;
  FlowStatus* const status_;
  const uint64_t id_;
  const bool fetches_;
  Upstream upstream_;
  Step step_ = Step::kPause;
  FlowState shown_ = FlowState::kConnect;
  int64_t next_ms_ = 0;  // when the pause ends
  int64_t pause_ms_ = 0;
  uint64_t attempt_ = 0;
  std::unique_ptr<FlowDial> dial_;
  std::unique_ptr<FlowChannel> channel_;
  FlowWatch watch_;
  std::string out_;
  size_t out_sent_ = 0;
  Buffer in_;
  size_t in_done_ = 0;
  std::string rest_;         // the beginning of a record whose end has not come
  uint64_t rest_needs_ = 0;  // bytes of it before it is worth another look
  bool waits_ = false;       // for room, or for the reload: nothing is read
  std::unique_ptr<storage::ShardReload> reload_;
  const storage::Log* log_ = nullptr;  // what records are appended to, and how far they have been
  storage::Lsn end_ = 0;
  bool fed_ = false;        // the whole base
  bool anew_ = false;       // only a full synchronization helps
  uint64_t client_id_ = 0;  // of the connection
  int64_t connected_ms_ = 0;
  int64_t heard_ms_ = 0, acked_ms_ = 0;
  AckPayload acked_, asked_;
};

}  // namespace skein::node

#endif  // SKEIN_NODE_REPLICATION_FLOW_RECEIVER_H_
