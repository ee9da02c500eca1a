#include "node/replication/flow_receiver.h"

#include <errno.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "glog/logging.h"
#include "node/loop_impl.h"
#include "node/node_impl.h"
#include "node/replication/loop_replication.h"
#include "node/replication/replica_control.h"
#include "storage/flows.h"
#include "storage/follow.h"
#include "storage/kill_point.h"

namespace skein::node {
namespace {

constexpr size_t kReadBytes = 256u << 10;
// What one call reads before others have their turn.
constexpr int kReads = 4;
constexpr int64_t kFirstPauseMs = 100, kLongestPauseMs = 2000;
// How often it acknowledges unasked: when there is something new, and when there is not.
constexpr int64_t kAckMs = 100, kIdleAckMs = 1000;
// No record is longer: a transaction of the largest values that there can be.
constexpr uint64_t kMaxRecord = uint64_t{4} << 30;
// How soon it comes again to a primary that is there, and not yet ready.
constexpr int64_t kReadyPauseMs = 200;
constexpr std::string_view kSwitched = "the log has been switched on or off; a full synchronization is next";

}  // namespace

FlowReceiver::FlowReceiver(LoopImpl* loop, ShardHost* host, FlowStatus* status, uint64_t id, bool fetches)
    : loop_(loop), host_(host), status_(status), id_(id), fetches_(fetches) {
  status_->down_since_ms.store(loop_->now_mono_ms());
  status_->upstream_end.store(0);
  status_->whole.store(!host_->shard->loading());
}

FlowReceiver::~FlowReceiver() {
  Disconnect();
  SetState(FlowState::kConnect);
}

void FlowReceiver::SetState(FlowState state) {
  if (shown_ == FlowState::kConnected && state != shown_) status_->down_since_ms.store(loop_->now_mono_ms());
  if (state == FlowState::kConnected) {
    status_->down_since_ms.store(-1);
    const std::lock_guard lock(status_->mutex);
    status_->error.clear();
  }
  const bool changed = shown_ != state;
  shown_ = state;
  status_->state.store(state);
  if (changed) loop_->node().OnFlowChanged();
}

std::optional<FlowClient> FlowReceiver::Client() const {
  if (channel_ == nullptr) return std::nullopt;
  return FlowClient{.id = client_id_,
                    .addr = channel_->Address(/*peer=*/true),
                    .laddr = channel_->Address(/*peer=*/false),
                    .fd = channel_->fd(),
                    .created_ms = connected_ms_,
                    .last_io_ms = heard_ms_,
                    .to_replica = false,
                    .output = out_.size()};
}

void FlowReceiver::Kill() {
  if (channel_ != nullptr) Fail("CLIENT KILL");
}

uint32_t FlowReceiver::shard() const { return host_->index; }

// ---- The connection -------------------------------------------------------------------------------------------------

void FlowReceiver::Begin(Upstream upstream) {
  Disconnect();
  upstream_ = std::move(upstream);
  pause_ms_ = 0;
  Dial();
}

void FlowReceiver::Disconnect() {
  ++attempt_;
  dial_.reset();
  watch_.Close();
  channel_.reset();
  reload_.reset();
  out_.clear();
  out_sent_ = 0;
  in_.Release();
  in_done_ = 0;
  rest_ = std::string();
  rest_needs_ = 0;
  waits_ = fed_ = false;
  log_ = nullptr;
  acked_ = asked_ = AckPayload();
  step_ = Step::kPause;
}

void FlowReceiver::NoteLog() {
  log_ = host_->log();
  end_ = log_->end();
}

bool FlowReceiver::Follows() const { return log_ != nullptr && host_->log() == log_ && log_->end() == end_; }

void FlowReceiver::Fail(std::string_view why, FlowDial::Reason reason) {
  {
    const std::lock_guard lock(status_->mutex);
    // Once a change, not once an attempt.
    if (status_->error != why) {
      LOG(WARNING) << "shard " << host_->index << ": following " << upstream_.host << ":" << upstream_.port << ": "
                   << why;
    }
    status_->error = why;
  }
  Disconnect();
  SetState(FlowState::kConnect);
  pause_ms_ =
      reason == FlowDial::Reason::kNotReady ? kReadyPauseMs : std::clamp(pause_ms_ * 2, kFirstPauseMs, kLongestPauseMs);
  next_ms_ = loop_->now_mono_ms() + pause_ms_;
}

void FlowReceiver::Dial() {
  // A full synchronization is next, which does not begin before that has ended. Only a data set on disk has flows.
  const storage::Flows* const flows = loop_->node().data().flows();
  if (flows != nullptr && flows->switching()) {
    step_ = Step::kPause;
    next_ms_ = loop_->now_mono_ms() + kReadyPauseMs;
    return;
  }
  heard_ms_ = loop_->now_mono_ms();
  step_ = Step::kDial;
  dial_ = std::make_unique<FlowDial>(
      loop_, upstream_,
      FlowDial::Callbacks{.request = [this] { return Request(); },
                          .state = [this](FlowState state) { SetState(state); },
                          .failed = [this](FlowDial::Reason reason, const std::string& why) { Fail(why, reason); },
                          .answered = [this](FlowDial::Answered answered) { OnAnswered(std::move(answered)); }});
  dial_->Start();
}

LogsyncRequest FlowReceiver::Request() {
  LogsyncRequest r = loop_->node().control().Request(host_->index);
  const storage::Log* const log = host_->log();
  if (log == nullptr || host_->shard->loading() || anew_) {
    r.kind = LogsyncRequest::Kind::kPart;
  } else {
    NoteLog();
    r.end = log->end();
    r.history = log->history();
  }
  return r;
}

void FlowReceiver::OnAnswered(FlowDial::Answered answered) {
  storage::KillPoint("follow.answered");
  const LogsyncAnswer& answer = answered.answer;
  dial_.reset();
  heard_ms_ = loop_->now_mono_ms();
  status_->heard_ms.store(heard_ms_, std::memory_order_relaxed);
  {
    const std::lock_guard lock(status_->mutex);
    status_->primary_id = answer.primary_id;
  }
  if (answer.kind == LogsyncAnswer::Kind::kKnows) return Fail("it answers what it was not asked");
  if (answer.kind == LogsyncAnswer::Kind::kParted) {
    if (fetches_) return Fail("its log has other records now");
    return Part(answer.common);
  }
  if (answer.kind == LogsyncAnswer::Kind::kShape) return OnShape(answer);
  channel_ = std::move(answered.channel);
  client_id_ = loop_->node().NextClientId();
  connected_ms_ = heard_ms_;
  if (!watch_.Open(loop_->uv(), channel_->fd(), [this](int events) { OnReady(events); })) {
    return Fail("its descriptor cannot be watched");
  }
  if (answer.kind == LogsyncAnswer::Kind::kContinue && !Follows()) return Fail(kSwitched);
  in_.Append(answered.rest);
  step_ = Step::kStream;
  pause_ms_ = 0;
  acked_ms_ = loop_->now_mono_ms();
  if (answer.kind == LogsyncAnswer::Kind::kFull) {
    BeginReload();
  } else {
    LOG(INFO) << "shard " << host_->index << ": following " << upstream_.host << ":" << upstream_.port << " from LSN "
              << host_->log()->end();
    SetState(FlowState::kConnected);
  }
  if (channel_ == nullptr) return;
  Watch();
  Resume();
}

void FlowReceiver::OnShape(const LogsyncAnswer& answer) {
  if (!loop_->config().cluster_enabled && answer.shards != 1) {
    return Fail("its data set has " + std::to_string(answer.shards) +
                " shards; with cluster-enabled no there is exactly one");
  }
  const std::string what = "its data set has " + std::to_string(answer.shards) + " shards and " +
                           std::to_string(answer.databases) + " databases";
  if (fetches_) return Fail(what);
  const Upstream upstream = upstream_;
  Fail(what + ", which this node takes over");
  loop_->node().control().OnOtherShape(upstream, {answer.shards, answer.databases});
}

void FlowReceiver::OnReady(int events) {
  loop_->FreshenClock();
  if ((events & UV_WRITABLE) != 0 || channel_->tls() != nullptr) Flush();
  if (channel_ != nullptr && ((events & UV_READABLE) != 0 || channel_->tls() != nullptr)) Read();
}

void FlowReceiver::Queue(std::string_view bytes) {
  out_ += bytes;
  Flush();
}

void FlowReceiver::Flush() {
  while (out_sent_ < out_.size()) {
    const iovec piece{out_.data() + out_sent_, out_.size() - out_sent_};
    const ssize_t n = channel_->Write(&piece, 1);
    if (n == -EAGAIN) break;
    if (n <= 0) return Fail(n == 0 ? "the connection has ended" : std::strerror(static_cast<int>(-n)));
    out_sent_ += static_cast<size_t>(n);
  }
  if (out_sent_ == out_.size()) {
    out_.clear();
    out_sent_ = 0;
  }
  Watch();
}

void FlowReceiver::Watch() {
  const bool writing = !out_.empty() && (channel_->tls() == nullptr || channel_->tls()->wants_write());
  watch_.Arm((waits_ ? 0 : UV_READABLE) | (writing ? UV_WRITABLE : 0));
}

// ---- What the primary says ------------------------------------------------------------------------------------------

void FlowReceiver::Read() {
  for (int i = 0; i < kReads; ++i) {
    if (channel_ == nullptr || waits_) return;
    if (in_done_ != 0) {
      in_.Consume(in_done_);
      in_done_ = 0;
    }
    char* const to = in_.Reserve(kReadBytes);
    const ssize_t n = channel_->Read(to, kReadBytes);
    if (n == -EAGAIN) return;
    if (n <= 0) {
      return Fail(n == 0 ? std::string("it has closed the connection")
                         : std::string(std::strerror(static_cast<int>(-n))));
    }
    in_.Advance(static_cast<size_t>(n));
    loop_->stats().net_in += static_cast<uint64_t>(n);
    heard_ms_ = loop_->now_mono_ms();
    status_->heard_ms.store(heard_ms_, std::memory_order_relaxed);
    if (!Process()) break;
    if (static_cast<size_t>(n) < kReadBytes && !channel_->has_pending()) break;
  }
  if (channel_ == nullptr) return;
  if (in_done_ == in_.size()) {
    in_.Clear();
    in_done_ = 0;
  }
  Acknowledge(/*now=*/false);
  if (channel_ == nullptr) return;
  Watch();
  // Its descriptor does not tell of what TLS has read ahead.
  if (!waits_ && channel_->has_pending()) loop_->replication().CallLater(id_);
}

bool FlowReceiver::Process() {
  while (true) {
    Frame frame;
    size_t used;
    std::string why;
    const FrameResult result = DecodeFrame(in_.view().substr(in_done_), &frame, &used, &why);
    if (result == FrameResult::kIncomplete) return true;
    if (result == FrameResult::kBad) {
      Fail(why);
      return false;
    }
    in_done_ += used;
    if (!OnFrame(frame)) return false;
    if (waits_) return false;
  }
}

bool FlowReceiver::OnFrame(const Frame& frame) {
  storage::Lsn lsn;
  switch (frame.type) {
    case FrameType::kRecords: {
      std::string_view bytes;
      if (reload_ != nullptr || !DecodeRecords(frame.payload, &lsn, &bytes)) break;
      return OnRecords(lsn, bytes);
    }
    case FrameType::kSnapshot:
      if (reload_ == nullptr || fed_) break;
      if (!reload_->Feed(std::string(frame.payload))) waits_ = true;
      storage::KillPoint("follow.base-piece");
      return true;
    case FrameType::kSnapshotEnd:
      if (reload_ == nullptr || fed_ || !DecodeSnapshotEnd(frame.payload, &lsn)) break;
      storage::KillPoint("follow.base-fed");
      fed_ = waits_ = true;
      reload_->Finish();
      return true;
    case FrameType::kPing: {
      PingPayload ping;
      if (!DecodePing(frame.payload, &ping)) break;
      status_->upstream_end.store(ping.end, std::memory_order_relaxed);
      return true;
    }
    case FrameType::kAsk:
      if (!DecodeAck(frame.payload, &asked_)) break;
      if (asked_.durable != 0 && host_->log() != nullptr && host_->log()->durable() < asked_.durable) {
        host_->log()->AskSync(std::min(asked_.durable, host_->log()->end()));
        loop_->AwaitDurable(host_->index, asked_.durable, /*session_id=*/0, /*wait=*/false);
      }
      return true;
    case FrameType::kEnd:
      Fail("it ends the flow: " + std::string(frame.payload.substr(0, kMaxEndText)));
      return false;
    case FrameType::kAck:
      break;
  }
  Fail("it sends a frame that does not belong there");
  return false;
}

bool FlowReceiver::OnRecords(storage::Lsn lsn, std::string_view bytes) {
  if (!Follows()) {
    Fail(kSwitched);
    return false;
  }
  const storage::Lsn expected = end_ + rest_.size();
  if (lsn != expected) {
    Fail("records from LSN " + std::to_string(lsn) + ", and not from " + std::to_string(expected));
    return false;
  }
  const bool joined = !rest_.empty();
  if (joined) {
    rest_ += bytes;
    if (rest_.size() < rest_needs_) return true;
    bytes = rest_;
  }
  size_t whole;
  if (!WholeRecords(bytes, kMaxRecord, &whole, &rest_needs_)) {
    Fail("a record that is too long");
    return false;
  }
  if (whole != 0 && !Apply(bytes.substr(0, whole))) return false;
  if (joined) {
    rest_.erase(0, whole);
  } else {
    rest_ = bytes.substr(whole);
  }
  if (rest_.empty() && rest_.capacity() > kReadBytes) rest_ = std::string();
  // What is appended is always taken; more of it waits for room.
  if (!host_->shard->MayWrite().ok()) waits_ = true;
  return true;
}

bool FlowReceiver::Apply(std::string_view records) {
  if (const absl::Status status = storage::FollowRecords(host_->shard, records); !status.ok()) {
    host_->dirty = true;
    LOG(ERROR) << "shard " << host_->index << ": a record of " << upstream_.host << ":" << upstream_.port
               << " cannot be applied: " << status.message();
    if (status.code() == absl::StatusCode::kDataLoss)
      host_->shard->set_loading(true);  // a full synchronization mends it
    Fail(TextOf(status));
    return false;
  }
  host_->dirty = true;
  host_->whole = end_ = host_->log()->end();
  storage::KillPoint("follow.records-taken");
  return true;
}

void FlowReceiver::BeginReload() {
  LOG(INFO) << "shard " << host_->index << ": full synchronization with " << upstream_.host << ":" << upstream_.port;
  storage::ShardReload::Callbacks callbacks;
  callbacks.on_room = [this] {
    if (fed_) return;
    waits_ = false;
    Resume();
  };
  callbacks.done = [this](const absl::StatusOr<storage::Lsn>& lsn) { OnReloaded(lsn); };
  absl::StatusOr<std::unique_ptr<storage::ShardReload>> begun =
      loop_->node().data().flows()->BeginReload(host_->shard, std::move(callbacks));
  if (!begun.ok()) return Fail(TextOf(begun.status()), FlowDial::Reason::kNotReady);
  reload_ = *std::move(begun);
  anew_ = false;
  status_->whole.store(false);
  storage::KillPoint("follow.base-begun");
  SetState(FlowState::kSync);
  loop_->OnShardReplaced(*host_);
}

void FlowReceiver::OnReloaded(const absl::StatusOr<storage::Lsn>& lsn) {
  loop_->FreshenClock();
  if (!lsn.ok()) return Fail("the full synchronization has failed: " + std::string(TextOf(lsn.status())));
  LOG(INFO) << "shard " << host_->index << ": full synchronization done, at LSN " << *lsn;
  storage::KillPoint("follow.base-done");
  // Not from within its own callback.
  loop_->replication().DestroyLater(std::move(reload_));
  fed_ = waits_ = false;
  status_->whole.store(true);
  NoteLog();
  loop_->OnShardReplaced(*host_);
  SetState(FlowState::kConnected);
  Resume();
}

// ---- Time and room --------------------------------------------------------------------------------------------------

void FlowReceiver::OnProgress() {
  if (!waits_ || reload_ != nullptr || !host_->shard->MayWrite().ok()) return;
  waits_ = false;
  Resume();
}

void FlowReceiver::Resume() {
  if (channel_ == nullptr || step_ != Step::kStream || waits_) return;
  if (in_done_ < in_.size() && !Process()) {
    if (channel_ != nullptr) Watch();
    return;
  }
  Read();
}

void FlowReceiver::OnDurable() {
  if (channel_ != nullptr && step_ == Step::kStream) Acknowledge(/*now=*/false);
}

AckPayload FlowReceiver::Position() const {
  if (!Follows()) return {};
  return {end_, loop_->config().appendonly && !loop_->logged() ? 0 : log_->durable()};
}

void FlowReceiver::Acknowledge(bool now) {
  if (step_ != Step::kStream) return;
  // While it is filled it has nothing, but it is there.
  const AckPayload ack = Position();
  const bool asked = (asked_.received != 0 && ack.received >= asked_.received && acked_.received < asked_.received) ||
                     (asked_.durable != 0 && ack.durable >= asked_.durable && acked_.durable < asked_.durable);
  if (!now && !asked) return;
  // One that cannot be sent is not followed by another.
  if (!out_.empty()) return;
  acked_ = ack;
  acked_ms_ = loop_->now_mono_ms();
  Queue(EncodeAck(FrameType::kAck, ack));
}

void FlowReceiver::Tick() {
  const int64_t now = loop_->now_mono_ms();
  if (step_ == Step::kPause) {
    if (now >= next_ms_) Dial();
    return;
  }
  if (step_ == Step::kCut) return;
  // What waits here has not been given up by the primary.
  if (!waits_ && now - heard_ms_ > int64_t{loop_->config().repl_timeout} * 1000) {
    return Fail("nothing was heard of it for repl-timeout");
  }
  if (waits_) OnProgress();
  if (channel_ == nullptr || step_ != Step::kStream) return;
  if (reload_ == nullptr && !Follows()) return Fail(kSwitched);
  const bool news = reload_ == nullptr && acked_ != Position();
  if (now - acked_ms_ >= (news ? kAckMs : kIdleAckMs)) Acknowledge(/*now=*/true);
}

}  // namespace skein::node
