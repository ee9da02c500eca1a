// The primary's end of a flow: on the loop that hosts the shard.
#ifndef SKEIN_NODE_REPLICATION_FLOW_SENDER_H_
#define SKEIN_NODE_REPLICATION_FLOW_SENDER_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "node/admission.h"
#include "node/replication/ack_board.h"
#include "node/replication/flow_channel.h"
#include "node/replication/flow_feed.h"
#include "node/replication/flow_frame.h"
#include "node/replication/logsync.h"
#include "node/replication/replication.h"
#include "storage/backlog.h"
#include "storage/types.h"

namespace skein::node {

class LoopImpl;
struct ShardHost;

// A replica's connection on its way from the session that said LOGSYNC to the shard's loop.
struct NewFlow {
  std::unique_ptr<FlowChannel> channel;
  Admission admission;
  LogsyncRequest request;
  uint64_t client_id = 0;
  int64_t created_ms = 0;  // CLOCK_MONOTONIC
  std::string addr;        // where it comes from, for the log
  std::string proof;       // of cluster-secret, to be shown to the replica with the answer; empty: none was asked for
};

class FlowSender {
 public:
  // What senders of a node count, for INFO.
  struct Counts {
    std::atomic<uint64_t> full{0}, partial{0}, partial_refused{0}, unproven{0};
  };

  FlowSender(LoopImpl* loop, ShardHost* host, NewFlow flow, AckBoard::Seat seat, uint64_t id, Counts* counts);
  ~FlowSender();
  FlowSender(const FlowSender&) = delete;
  FlowSender& operator=(const FlowSender&) = delete;

  // Finds out from where the replica needs records, and begins; or refuses, in words.
  void Start();
  // At the end of a batch: what has been appended goes out, as far as the socket takes it.
  void Send();
  // Ten times a second.
  void Tick();
  // The replica is to acknowledge as soon as it has this; 0: no matter.
  void Ask(storage::Lsn received, storage::Lsn durable);
  // Says why, if that can be said at once, and closes. The loop removes it once it may be: see idle.
  void Close(std::string_view why);

  // Closes if a feed is under way, and waits for it.
  void EndFeed();

  FlowClient Client() const;
  uint64_t id() const { return id_; }
  const ShardHost& host() const { return *host_; }
  const std::string& replica() const { return flow_.request.replica_id; }
  bool closed() const { return closed_; }
  // How far the replica has made it durable.
  storage::Lsn durable() const { return durable_; }
  // Closed, and nobody else holds the connection: it may be destroyed without waiting.
  bool idle() const { return closed_ && !lent_; }
  // Nothing is left to be sent, as far as this node knows.
  bool drained() const;

  // From a feed, on the loop.
  void OnSnapshotBegun(storage::Lsn lsn);
  void OnFed(absl::StatusOr<storage::Lsn> reached);

 private:
  void Refuse(std::string_view error);
  void Answer(const LogsyncAnswer& answer);
  // The line before the frames.
  std::string Line(const LogsyncAnswer& answer) const;
  std::string Head(LogsyncAnswer::Kind kind) const;
  // Where the replica's log and this one part; by that, what is sent.
  void Continue(storage::Lsn from);
  void FullSync();
  void Feed(bool records, storage::Lsn from, storage::Lsn to, std::string head);
  void GoOnline();
  void Watch();
  void OnReady(int events);
  void Read();
  bool OnFrame(const Frame& frame);
  // Gives up what it pins, if that is too much; reads from the files instead, or closes.
  void KeepLimit();
  storage::Backlog* backlog() const;

  LoopImpl* const loop_;
  ShardHost* const host_;
  NewFlow flow_;
  AckBoard::Seat seat_;
  const uint64_t id_;
  Counts* const counts_;
  std::string answer_;     // the line to LOGSYNC, until it has been handed over
  storage::Lsn from_ = 0;  // of the records that are being fed
  std::unique_ptr<FlowFeed> feed_;
  bool lent_ = false;    // the connection, to feed_
  bool online_ = false;  // sends from memory
  bool closed_ = false;
  // Its pin was given up: it goes on from the files, at rerun_from_, once what is under way has been sent.
  bool rerun_ = false;
  storage::Lsn rerun_from_ = 0;

  const storage::Log* log_ = nullptr;  // whose records it sends
  std::unique_ptr<storage::Backlog::Cursor> cursor_;
  std::string pending_;  // goes out before the open frame's bytes
  size_t pending_sent_ = 0;
  std::string later_;        // goes out behind the open frame
  uint64_t frame_left_ = 0;  // of the open frame's bytes of the log, from the cursor on
  bool blocked_ = false;     // the socket is full
  bool ask_due_ = false;
  std::string in_;
  FlowWatch watch_;
  int64_t heard_ms_ = 0, sent_ms_ = 0, over_soft_since_ = 0;
  AckPayload asked_;
  storage::Lsn durable_ = 0;  // acknowledged
};

}  // namespace skein::node

#endif  // SKEIN_NODE_REPLICATION_FLOW_SENDER_H_
