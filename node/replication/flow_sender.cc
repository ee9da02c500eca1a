#include "node/replication/flow_sender.h"

#include <errno.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "glog/logging.h"
#include "node/loop_impl.h"
#include "node/node_impl.h"
#include "node/replication/loop_replication.h"
#include "node/replication/replica_control.h"
#include "storage/history.h"
#include "storage/kill_point.h"

namespace skein::node {
namespace {

// One frame of records, and what one call sends before others have their turn.
constexpr uint64_t kFrameBytes = 256u << 10, kSendBytes = 1u << 20;
constexpr size_t kPieces = 8;
// A replica sends acknowledgements and nothing else.
constexpr size_t kMaxInput = kFrameHeaderSize + kMaxEndText;
constexpr std::string_view kSwitched = "the log has been switched on or off";

}  // namespace

FlowSender::FlowSender(LoopImpl* loop, ShardHost* host, NewFlow flow, AckBoard::Seat seat, uint64_t id, Counts* counts)
    : loop_(loop), host_(host), flow_(std::move(flow)), seat_(std::move(seat)), id_(id), counts_(counts) {
  heard_ms_ = sent_ms_ = loop_->now_mono_ms();
}

FlowSender::~FlowSender() = default;

storage::Backlog* FlowSender::backlog() const {
  storage::Log* const log = host_->log();
  return log == nullptr ? nullptr : log->backlog();
}

FlowClient FlowSender::Client() const {
  return {.id = flow_.client_id,
          .addr = flow_.addr,
          .laddr = flow_.channel->Address(/*peer=*/false),
          .fd = flow_.channel->fd(),
          .created_ms = flow_.created_ms,
          .last_io_ms = std::max(heard_ms_, sent_ms_),
          .to_replica = true,
          .output = cursor_ == nullptr ? 0 : cursor_->lag()};
}

// ---- From where -----------------------------------------------------------------------------------------------------

void FlowSender::Refuse(std::string_view error) {
  LOG(WARNING) << "replica " << flow_.addr << ", shard " << host_->index << ": refused: " << error;
  pending_ = "-" + std::string(error) + "\r\n";
  pending_sent_ = 0;
  const iovec piece{pending_.data(), pending_.size()};
  flow_.channel->Write(&piece, 1);
  pending_.clear();
  Close({});
}

void FlowSender::Start() {
  storage::KillPoint("flow.asked");
  storage::Log* const log = host_->log();
  const bool asks_only = flow_.request.kind == LogsyncRequest::Kind::kAsk;
  const bool whole = flow_.request.kind == LogsyncRequest::Kind::kWhole;
  const std::optional<std::string> follows = loop_->node().control().follows_id();
  if (asks_only && !host_->shard->loading() && follows) {
    LogsyncAnswer answer;
    answer.kind = LogsyncAnswer::Kind::kKnows;
    if (log != nullptr) {
      answer.end = log->end();
      answer.history = log->history();
    }
    answer.follows = *follows;
    answer.primary_id = loop_->node().replication_id();
    Answer(answer);
    storage::KillPoint("flow.told");
    return Close({});
  }
  if (log == nullptr || host_->shard->loading() || asks_only) {
    return Refuse("LOADING the shard is being synchronized with its own primary, or has no log; try again");
  }
  log_ = log;
  const Config& config = loop_->config();
  log->KeepBacklog(config.repl_backlog_size);
  // What has been appended is in the backlog from here on.
  log->Kick();
  const LogsyncRequest& r = flow_.request;
  const std::optional<storage::Lsn> common =
      whole ? storage::CommonPoint(log->history(), log->end(), r.history, r.end) : std::nullopt;
  if (common && *common == r.end) return Continue(r.end);
  if (whole && r.end != 0) counts_->partial_refused.fetch_add(1, std::memory_order_relaxed);
  if (!common) return FullSync();
  LOG(INFO) << "replica " << flow_.addr << ", shard " << host_->index << ": its log parts from this one at LSN "
            << *common << "; it comes back without the " << r.end - *common << " bytes that it has beyond";
  LogsyncAnswer answer;
  answer.kind = LogsyncAnswer::Kind::kParted;
  answer.common = *common;
  answer.primary_id = loop_->node().replication_id();
  Answer(answer);
  storage::KillPoint("flow.parted");
  Close({});
}

void FlowSender::Answer(const LogsyncAnswer& answer) {
  const std::string line = Line(answer);
  // Its first bytes: there is room, or will be when it asks again.
  constexpr int kRoom = 256 << 10;
  setsockopt(flow_.channel->fd(), SOL_SOCKET, SO_SNDBUF, &kRoom, sizeof kRoom);
  for (size_t at = 0; at < line.size();) {
    const iovec piece{const_cast<char*>(line.data()) + at, line.size() - at};
    const ssize_t n = flow_.channel->Write(&piece, 1);
    if (n <= 0) return;
    at += static_cast<size_t>(n);
  }
}

std::string FlowSender::Line(const LogsyncAnswer& answer) const {
  return "+" + EncodeAnswer(answer) + (flow_.proof.empty() ? "" : " " + flow_.proof) + "\r\n";
}

std::string FlowSender::Head(LogsyncAnswer::Kind kind) const {
  LogsyncAnswer answer;
  answer.kind = kind;
  answer.primary_id = loop_->node().replication_id();
  return Line(answer);
}

void FlowSender::Continue(storage::Lsn from) {
  answer_ = Head(LogsyncAnswer::Kind::kContinue);
  counts_->partial.fetch_add(1, std::memory_order_relaxed);
  cursor_ = backlog()->Pin(from);
  if (cursor_ != nullptr) {
    LOG(INFO) << "replica " << flow_.addr << ", shard " << host_->index << ": partial resynchronization from LSN "
              << from << ", " << cursor_->lag() << " bytes out of memory";
    pending_ = std::move(answer_);
    return GoOnline();
  }
  cursor_ = backlog()->Pin(backlog()->end());
  seat_.SetStage(AckBoard::Stage::kSending);
  Feed(/*records=*/true, from, cursor_->lsn(), std::move(answer_));
}

void FlowSender::FullSync() {
  counts_->full.fetch_add(1, std::memory_order_relaxed);
  LOG(INFO) << "replica " << flow_.addr << ", shard " << host_->index << ": full synchronization ("
            << (flow_.request.kind == LogsyncRequest::Kind::kWhole
                    ? "its log ends at LSN " + std::to_string(flow_.request.end)
                    : "it has none")
            << ")";
  cursor_.reset();
  seat_.SetStage(AckBoard::Stage::kWaits);
  Feed(
      /*records=*/false, 0, 0, Head(LogsyncAnswer::Kind::kFull));
}

void FlowSender::Feed(bool records, storage::Lsn from, storage::Lsn to, std::string head) {
  watch_.Close();
  lent_ = true;
  from_ = from;
  FlowFeed::Job job;
  job.shard = host_->index;
  job.records = records;
  job.from = from;
  job.to = to;
  job.head = std::move(head);
  job.timeout_ms = int64_t{loop_->config().repl_timeout} * 1000;
  job.on_begin = [id = id_](storage::Lsn lsn) {
    LoopImpl* const loop = LoopImpl::Current();
    if (FlowSender* const sender = loop->replication().FindSender(id)) sender->OnSnapshotBegun(lsn);
  };
  job.done = [id = id_, node = &loop_->node(), index = loop_->index()](absl::StatusOr<storage::Lsn> reached) {
    node->Post(index, [id, reached = std::move(reached)](LoopImpl& loop) {
      if (FlowSender* const sender = loop.replication().FindSender(id)) sender->OnFed(reached);
    });
  };
  feed_ = std::make_unique<FlowFeed>(flow_.channel.get(), loop_->node().data().flows(), std::move(job));
}

void FlowSender::OnSnapshotBegun(storage::Lsn lsn) {
  if (closed_) return;
  // While the snapshot waited for another one.
  if (host_->log() != log_) return Close(kSwitched);
  storage::KillPoint("flow.base-begun");
  seat_.SetStage(AckBoard::Stage::kSending);
  host_->log()->Kick();
  if (backlog() != nullptr) cursor_ = backlog()->Pin(lsn);
}

void FlowSender::OnFed(absl::StatusOr<storage::Lsn> reached) {
  feed_.reset();
  lent_ = false;
  heard_ms_ = loop_->now_mono_ms();
  if (closed_) return;
  if (absl::IsNotFound(reached.status())) {
    LOG(INFO) << "replica " << flow_.addr << ", shard " << host_->index << ": the log does not reach back to LSN "
              << from_ << ": " << reached.status().message();
    counts_->partial.fetch_sub(1, std::memory_order_relaxed);
    counts_->partial_refused.fetch_add(1, std::memory_order_relaxed);
    return FullSync();
  }
  if (!reached.ok()) return Close(TextOf(reached.status()));
  if (host_->log() != log_) return Close(kSwitched);
  if (from_ != 0 && !rerun_) {
    LOG(INFO) << "replica " << flow_.addr << ", shard " << host_->index << ": partial resynchronization from LSN "
              << from_ << ", out of the files up to " << *reached;
  }
  if (backlog() == nullptr) return Close("the log keeps no backlog any more");
  if (cursor_ == nullptr || cursor_->detached()) cursor_ = backlog()->Pin(*reached);
  if (cursor_ == nullptr) {
    // Its pin was given up meanwhile.
    rerun_ = true;
    rerun_from_ = *reached;
    host_->log()->Kick();
    cursor_ = backlog()->Pin(backlog()->end());
    return Feed(/*records=*/true, rerun_from_, cursor_->lsn(), {});
  }
  GoOnline();
}

void FlowSender::GoOnline() {
  if (!watch_.Open(loop_->uv(), flow_.channel->fd(), [this](int events) { OnReady(events); })) {
    return Close("its descriptor cannot be watched");
  }
  online_ = true;
  rerun_ = false;
  blocked_ = false;
  over_soft_since_ = 0;
  heard_ms_ = loop_->now_mono_ms();
  seat_.SetStage(AckBoard::Stage::kOnline);
  ask_due_ = asked_ != AckPayload{};
  later_ += EncodePing({host_->log()->end(), loop_->now_unix_ms()});
  Watch();
  Send();
  Read();  // TLS may have read ahead
}

// ---- Out of memory --------------------------------------------------------------------------------------------------

bool FlowSender::drained() const {
  return closed_ ||
         (online_ && pending_.empty() && later_.empty() && !ask_due_ && frame_left_ == 0 && cursor_->lag() == 0);
}

void FlowSender::Send() {
  if (!online_ || closed_) return;
  if (host_->log() != log_) return Close(kSwitched);
  if (cursor_->detached()) return Close("the log keeps no backlog any more");
  KeepLimit();
  if (blocked_ || closed_) return;
  for (uint64_t total = 0; total < kSendBytes;) {
    iovec pieces[kPieces + 1];
    if (frame_left_ == 0) {
      if (!later_.empty()) pending_ += std::exchange(later_, {});
      if (std::exchange(ask_due_, false)) pending_ += EncodeAck(FrameType::kAsk, asked_);
      if (cursor_->lag() != 0 && !rerun_) {
        const size_t n = cursor_->Peek(pieces, kPieces, kFrameBytes);
        for (size_t i = 0; i < n; ++i) frame_left_ += pieces[i].iov_len;
        char head[kRecordsHeadSize];
        EncodeRecordsHead(cursor_->lsn(), pieces, n, head);
        pending_.append(head, sizeof head);
      }
    }
    if (pending_.empty() && frame_left_ == 0) break;
    size_t count = 0;
    if (!pending_.empty()) pieces[count++] = {pending_.data() + pending_sent_, pending_.size() - pending_sent_};
    if (frame_left_ != 0) count += cursor_->Peek(pieces + count, kPieces, frame_left_);
    ssize_t n = flow_.channel->Write(pieces, count);
    if (n == -EAGAIN) {
      blocked_ = true;
      break;
    }
    if (n <= 0) return Close(n == 0 ? "the connection has ended" : std::strerror(static_cast<int>(-n)));
    sent_ms_ = loop_->now_mono_ms();
    loop_->stats().net_out += static_cast<uint64_t>(n);
    total += static_cast<uint64_t>(n);
    if (!pending_.empty()) {
      const size_t of_pending = std::min(static_cast<size_t>(n), pending_.size() - pending_sent_);
      pending_sent_ += of_pending;
      n -= static_cast<ssize_t>(of_pending);
      if (pending_sent_ == pending_.size()) {
        pending_.clear();
        pending_sent_ = 0;
      }
    }
    if (n > 0) {
      frame_left_ -= static_cast<uint64_t>(n);
      cursor_->Skip(static_cast<uint64_t>(n));
      storage::KillPoint("flow.records-sent");
    }
  }
  if (rerun_ && pending_.empty() && frame_left_ == 0) {
    // From the files, up to what is pinned anew.
    online_ = false;
    host_->log()->Kick();
    cursor_ = backlog()->Pin(backlog()->end());
    return Feed(/*records=*/true, rerun_from_, cursor_->lsn(), {});
  }
  Watch();
}

void FlowSender::Watch() {
  const bool more = !drained();
  bool writing = more;
  // TLS may have to read before it can write.
  if (more && blocked_ && flow_.channel->tls() != nullptr && !flow_.channel->tls()->wants_write()) writing = false;
  watch_.Arm(UV_READABLE | (writing ? UV_WRITABLE : 0));
}

void FlowSender::KeepLimit() {
  if (cursor_ == nullptr || cursor_->detached()) return;
  const OutputLimit& limit = loop_->config().output_replica;
  const uint64_t lag = cursor_->lag();
  const int64_t now = loop_->now_mono_ms();
  bool over = limit.hard != 0 && lag > limit.hard;
  if (!over && limit.soft != 0 && lag > limit.soft) {
    if (over_soft_since_ == 0) over_soft_since_ = now;
    over = now - over_soft_since_ > int64_t{limit.soft_seconds} * 1000;
  } else if (!over) {
    over_soft_since_ = 0;
  }
  if (!over) return;
  over_soft_since_ = 0;
  if (online_ && rerun_) {
    cursor_ = backlog()->Pin(backlog()->end());  // only so that there is one: the files have it all
    return;
  }
  if (!loop_->config().appendonly || !loop_->node().data().logged()) {
    LOG(WARNING) << "replica " << flow_.addr << ", shard " << host_->index << ": closing, " << lag
                 << " bytes wait for it (client-output-buffer-limit replica)";
    ++loop_->stats().output_limit_closes;
    return Close("client-output-buffer-limit replica");
  }
  LOG(INFO) << "replica " << flow_.addr << ", shard " << host_->index << ": " << lag
            << " bytes wait for it (client-output-buffer-limit replica); it goes on from the files";
  if (!online_) {
    cursor_.reset();  // the feed's end pins anew
    return;
  }
  // What the open frame still lacks is copied; what comes behind it stays in the files.
  std::string rest;
  const uint64_t open = frame_left_;
  while (frame_left_ != 0) {
    iovec pieces[kPieces];
    const size_t n = cursor_->Peek(pieces, kPieces, frame_left_);
    for (size_t i = 0; i < n; ++i) {
      rest.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
      frame_left_ -= pieces[i].iov_len;
      cursor_->Skip(pieces[i].iov_len);
    }
  }
  if (open != 0) pending_ += rest;
  rerun_ = true;
  rerun_from_ = cursor_->lsn();
  cursor_ = backlog()->Pin(backlog()->end());
  seat_.SetStage(AckBoard::Stage::kSending);
}

// ---- What the replica says ------------------------------------------------------------------------------------------

void FlowSender::OnReady(int events) {
  loop_->FreshenClock();
  if ((events & UV_READABLE) != 0 || flow_.channel->tls() != nullptr) Read();
  if (closed_ || !online_) return;
  blocked_ = false;
  Send();
}

void FlowSender::Read() {
  if (closed_ || lent_) return;
  char buffer[4096];
  for (int i = 0; i < 16; ++i) {
    const ssize_t n = flow_.channel->Read(buffer, sizeof buffer);
    if (n == -EAGAIN) return;
    if (n <= 0) return Close(n == 0 ? "it has closed the connection" : std::strerror(static_cast<int>(-n)));
    loop_->stats().net_in += static_cast<uint64_t>(n);
    heard_ms_ = loop_->now_mono_ms();
    in_.append(buffer, static_cast<size_t>(n));
    size_t at = 0;
    while (true) {
      Frame frame;
      size_t used;
      std::string why;
      const FrameResult result = DecodeFrame(std::string_view(in_).substr(at), &frame, &used, &why);
      if (result == FrameResult::kBad) return Close(why);
      if (used > kMaxInput) return Close("a frame that no replica sends");
      if (result == FrameResult::kIncomplete) break;
      if (!OnFrame(frame)) return;
      at += used;
    }
    in_.erase(0, at);
    if (static_cast<size_t>(n) < sizeof buffer && !flow_.channel->has_pending()) return;
  }
}

bool FlowSender::OnFrame(const Frame& frame) {
  if (frame.type == FrameType::kEnd) {
    Close("it ends the flow: " + std::string(frame.payload));
    return false;
  }
  AckPayload ack;
  if (frame.type != FrameType::kAck || !DecodeAck(frame.payload, &ack)) {
    Close("a frame that no replica sends");
    return false;
  }
  // What it claims to have and was never sent does not count.
  const storage::Lsn sent = rerun_ ? rerun_from_ : cursor_ != nullptr ? cursor_->lsn() : 0;
  durable_ = std::max(durable_, std::min(ack.durable, sent));
  seat_.Acknowledge(std::min(ack.received, sent), std::min(ack.durable, sent), heard_ms_);
  loop_->node().OnAcks();
  return true;
}

void FlowSender::Ask(storage::Lsn received, storage::Lsn durable) {
  if (closed_) return;
  asked_.received = std::max(asked_.received, received);
  asked_.durable = std::max(asked_.durable, durable);
  ask_due_ = true;
  Send();
}

void FlowSender::EndFeed() {
  if (!lent_) return;
  Close("this node stops");
  feed_.reset();
  lent_ = false;
}

void FlowSender::Tick() {
  if (closed_) return;
  const Config& config = loop_->config();
  const int64_t now = loop_->now_mono_ms();
  if (lent_) return KeepLimit();
  if (host_->log() != log_ || cursor_->detached()) return Close("the shard is being replaced, or its log switched");
  int64_t period = int64_t{config.repl_ping_replica_period} * 1000;
  if (config.cluster_enabled) period = std::clamp<int64_t>(config.cluster_node_timeout / 4, 50, period);
  if (now - sent_ms_ >= period && later_.empty()) {
    sent_ms_ = now;
    later_ += EncodePing({host_->log()->end(), loop_->now_unix_ms()});
  }
  Send();
  if (!closed_ && !lent_ && now - heard_ms_ > int64_t{config.repl_timeout} * 1000) {
    Close("nothing was heard of it for repl-timeout");
  }
}

void FlowSender::Close(std::string_view why) {
  if (closed_) return;
  closed_ = true;
  if (!why.empty()) {
    LOG(WARNING) << "replica " << flow_.addr << ", shard " << host_->index << ": connection closed: " << why;
  }
  seat_ = AckBoard::Seat();
  flow_.admission = Admission();
  cursor_.reset();
  online_ = false;
  watch_.Close();
  if (feed_ != nullptr) feed_->Cancel();
  // Ends what waits for it; the descriptor closes with this object.
  if (lent_) {
    flow_.channel->Cut();
  } else {
    shutdown(flow_.channel->fd(), SHUT_WR);
  }
  loop_->replication().ReapLater();
}

}  // namespace skein::node
