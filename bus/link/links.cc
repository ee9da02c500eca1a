#include "bus/link/links.h"

#include <sys/socket.h>
#include <time.h>
#include <uv.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "bus/link/links_internal.h"
#include "glog/logging.h"
#include "proto/bus.pb.h"

namespace skein::bus {

namespace {

// Links served between two polls, and of those that publish.
constexpr size_t kReadyPerTurn = 16, kPublishReadyPerTurn = 4;
constexpr size_t kEngineReasons = 64;
constexpr int kLogsPerSecond = 10;
constexpr size_t kCompletionsPerTurn = 64;
constexpr size_t kIdleJobs = 64;

int64_t ClockMs(clockid_t id) {
  timespec now{};
  clock_gettime(id, &now);
  return static_cast<int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000;
}

}  // namespace

int64_t MonotonicMs() { return ClockMs(CLOCK_MONOTONIC); }
int64_t UnixMs() { return ClockMs(CLOCK_REALTIME); }

struct Links::Handles {
  uv_prepare_t prepare{};  // before each poll: writes, and links whose turn it is
  uv_idle_t idle{};        // active while links wait for their turn, so that the poll does not block
  uv_async_t completed{};  // a worker has given a job back
};

namespace {

void FreePoll(uv_handle_t* handle) { delete reinterpret_cast<uv_poll_t*>(handle); }
void FreeWatch(uv_handle_t* handle) { delete static_cast<LinkWatch*>(handle->data); }

}  // namespace

Links::Links(uv_loop_t* loop, const LinksOptions& options, LinkHandler* handler)
    : loop_(loop),
      options_(options),
      handler_(handler),
      handles_(std::make_unique<Handles>()),
      pool_(options.max_jobs, options.max_jobs, [this] { uv_async_send(&handles_->completed); }) {
  uv_prepare_init(loop_, &handles_->prepare);
  uv_idle_init(loop_, &handles_->idle);
  handles_->prepare.data = this;
  uv_prepare_start(&handles_->prepare, [](uv_prepare_t* prepare) { static_cast<Links*>(prepare->data)->RunReady(); });
  uv_unref(reinterpret_cast<uv_handle_t*>(&handles_->prepare));
  handles_->completed.data = this;
  uv_async_init(loop_, &handles_->completed,
                [](uv_async_t* async) { static_cast<Links*>(async->data)->TakeCompletions(kCompletionsPerTurn); });
  uv_unref(reinterpret_cast<uv_handle_t*>(&handles_->completed));
  pool_.Resize(options_.workers);
}

Links::~Links() { CHECK(stopping_ && links_.empty() && closing_.empty()) << "links must be stopped before they go"; }

void Links::SetTimeouts(int64_t hello_ms, int64_t connect_ms, int64_t dead_after_ms) {
  options_.hello_timeout_ms = hello_ms;
  options_.connect_timeout_ms = connect_ms;
  options_.dead_after_ms = dead_after_ms;
}

void Links::SetWorkers(size_t workers) {
  pool_.Resize(workers);
  // With none left, all that was in flight has run; and whoever waits for that takes it back meanwhile (L23).
  if (workers == 0) TakeCompletions(static_cast<size_t>(-1));
}

// ---- Sending

Link* Links::Find(LinkId id) {
  auto found = links_.find(id);
  return found == links_.end() ? nullptr : found->second.get();
}

void Links::Send(LinkId id, const MessagePtr& message) {
  Link* link = Find(id);
  if (link == nullptr) return;
  size_t length = message->ByteSizeLong();
  if (length > MaxPayload(FrameType::kMessage, MessageKind(*message))) {
    LOG(ERROR) << "cluster bus: a message of " << length << " bytes is too long to send";
    return End(link, CloseReason::kMessageTooLong);
  }
  Outgoing out;
  out.message = message;
  // One that is not up yet may get tags.
  bool tagged = link->tagged || link->state != Link::State::kUp;
  out.bytes = static_cast<uint32_t>(kFrameHeaderBytes + length + (tagged ? kTagBytes : 0));
  Queue(link, std::move(out));
}

void Links::Queue(Link* link, Outgoing out) {
  bool message = out.message != nullptr;
  link->unsent_bytes += out.bytes;
  link->unsent_messages += message;
  (message ? link->queue : link->handshake_queue).push_back(std::move(out));
  if (link->memory() > options_.buffer_limit) return End(link, CloseReason::kOverBufferLimit);
  if (message && link->state != Link::State::kUp) return;
  if (message && link->link_class == LinkClass::kPublish) {
    if (link->blocked) return;
    link->want_write = true;
    return MakeReady(link);
  }
  if (!link->blocked && !link->in_dirty) {
    link->in_dirty = true;
    dirty_.push_back(link->id);
  }
}

size_t Links::Unsent(LinkId id) const {
  auto found = links_.find(id);
  return found == links_.end() ? 0 : found->second->unsent_bytes;
}

std::string Links::PeerOf(LinkId id) const {
  auto found = links_.find(id);
  return found == links_.end() || found->second->state != Link::State::kUp ? std::string() : found->second->peer_id;
}

void Links::Close(LinkId id, const char* reason) {
  if (Link* link = Find(id)) End(link, CloseReason::kEngine, 0, reason);
}

// ---- Jobs

void Links::OnPoll(uv_poll_t* poll, int status, int events) {
  auto* watch = static_cast<LinkWatch*>(poll->data);
  Link* link = watch->link;
  Links* links = watch->links;
  if (status < 0) {
    // An error is pending on the socket, and libuv has stopped watching it. Reading tells which, after what came
    // before.
    link->watched = false;
    events = UV_READABLE;
  }
  if (link->state == Link::State::kConnecting) return links->FinishConnect(link);
  if (link->state == Link::State::kTls) {
    link->read_wants_write = false;
    events = UV_READABLE;
  }
  if (link->io_refs > 0) {
    // L26: remembered, and served when the job is done; until then the poll must not spin on it.
    if ((events & UV_READABLE) != 0) link->want_read = true;
    return links->Unwatch(link);
  }
  if (link->state == Link::State::kUp && link->link_class == LinkClass::kPublish) {
    // Behind all others (RunReady).
    if ((events & UV_WRITABLE) != 0 && link->read_wants_write) events |= UV_READABLE;
    if ((events & UV_WRITABLE) != 0 || link->write_wants_read) link->want_write = true;
    if ((events & UV_READABLE) != 0) link->want_read = true;
    link->blocked = link->write_wants_read = link->read_wants_write = false;
    links->Unwatch(link);
    return links->MakeReady(link);
  }
  LinkId id = link->id;
  if ((events & UV_WRITABLE) != 0 && link->read_wants_write) {
    link->read_wants_write = false;
    events |= UV_READABLE;
    links->Watch(link);
  }
  if (((events & UV_WRITABLE) != 0 && link->blocked) || ((events & UV_READABLE) != 0 && link->write_wants_read)) {
    link->blocked = link->write_wants_read = false;
    links->WantWrite(link);
    link = links->Find(id);
    if (link == nullptr) return;
    if (!link->blocked && link->watched) links->Watch(link);
  }
  if ((events & UV_READABLE) != 0 && !(link->in_ready && link->want_read)) links->WantRead(link);
}

void Links::WantRead(Link* link) {
  if (link->io_refs > 0) {
    link->want_read = true;
  } else {
    Start(link, link->state == Link::State::kTls ? LinkJob::Kind::kHandshake : LinkJob::Kind::kRead);
  }
}

void Links::WantWrite(Link* link) {
  if (link->blocked || link->write_wants_read || link->state <= Link::State::kTls) return;
  if (link->io_refs > 0) {
    link->want_write = true;
  } else {
    Start(link, LinkJob::Kind::kWrite);
  }
}

void Links::Start(Link* link, LinkJob::Kind kind) {
  LinkJob* job = NewJob();
  bool writes = kind == LinkJob::Kind::kWrite;
  job->kind = kind;
  job->borrow = Borrow(link);
  job->io = link->io.get();
  job->budget = options_.budget;
  if (writes) {
    link->want_write = false;
    link->io->Take(&link->handshake_queue);
    if (link->state == Link::State::kUp) link->io->Take(&link->queue);
  } else {
    link->want_read = false;
    job->proven = link->state == Link::State::kUp;
    size_t sending = link->unsent_bytes;
    job->input_limit = sending < options_.buffer_limit ? options_.buffer_limit - sending : 0;
  }
  bool offloaded = pool_.Submit(job);
  switch (kind) {
    case LinkJob::Kind::kRead:
      ++(offloaded ? counters_.reads_offloaded : counters_.reads_inline);
      break;
    case LinkJob::Kind::kWrite:
      ++(offloaded ? counters_.writes_offloaded : counters_.writes_inline);
      break;
    case LinkJob::Kind::kHandshake:
      // Once a connection, however many steps it takes.
      if (!link->outbound && !std::exchange(link->accept_counted, true)) {
        ++(offloaded ? counters_.accepts_offloaded : counters_.accepts_inline);
      }
  }
  if (offloaded) {
    // Readable until the worker has read: the poll would not block.
    if (!writes) Unwatch(link);
    return;
  }
  job->Run();
  Complete(job);
}

LinkJob* Links::NewJob() {
  if (idle_jobs_.empty()) return new LinkJob;
  LinkJob* job = idle_jobs_.back().release();
  idle_jobs_.pop_back();
  return job;
}

void Links::TakeCompletions(size_t most) {
  for (size_t i = 0; i < most; ++i) {
    IoJob* job = pool_.Take();
    if (job == nullptr) return;
    Complete(static_cast<LinkJob*>(job));
  }
  uv_async_send(&handles_->completed);
}

void Links::Complete(LinkJob* finished) {
  std::unique_ptr<LinkJob> job(finished);
  Link* link = job->borrow.link();
  switch (job->kind) {
    case LinkJob::Kind::kRead:
      CompleteRead(link, &job->read);
      job->read.Clear();
      break;
    case LinkJob::Kind::kWrite:
      CompleteWrite(link, &job->write);
      job->write.Clear();
      break;
    case LinkJob::Kind::kHandshake:
      if (!link->async_close) FinishTls(link, job->handshake, job->handshake_wants_write);
  }
  job->borrow.Return();
  if (idle_jobs_.size() < kIdleJobs) idle_jobs_.push_back(std::move(job));
  if (link->async_close) {
    if (link->io_refs == 0) closing_.erase(link->id);
    return;
  }
  if (link->want_read || link->want_write) MakeReady(link);
  // One that waits its turn to read need not be watched, unless to write.
  if (!link->watched && (!link->want_read || link->blocked)) Watch(link);
}

void Links::CompleteRead(Link* link, ReadResult* result) {
  counters_.bytes_received += result->bytes;
  counters_.unknown_received += result->unknown;
  const bool publishes = link->link_class == LinkClass::kPublish;
  for (size_t i = 0; i < result->messages.size() && !link->async_close; ++i) {
    ++counters_.received[result->kinds[i]];
    if (IsPublishKind(result->kinds[i]) != publishes || (publishes && link->outbound)) {
      return End(link, CloseReason::kWrongClass);
    }
    if (publishes) {
      handler_->OnPublished(link->id, std::move(result->messages[i]));
    } else {
      handler_->OnMessage(link->id, std::move(result->messages[i]), link->remote.ip);
    }
  }
  if (publishes && !result->messages.empty()) handler_->OnPublishedEnd();
  if (result->handshake && !link->async_close) HandleHandshake(link, *result->handshake);
  if (link->async_close) return;
  if (result->close != CloseReason::kNone) {
    bool cut = result->close == CloseReason::kEndOfStream || result->close == CloseReason::kIoError;
    // Who has dialled and is closed upon before it is up has not been told why.
    if (cut && link->outbound && link->state != Link::State::kUp) result->close = CloseReason::kHandshakeEnded;
    return End(link, result->close, result->error, nullptr, cut ? link->io->transport()->error() : "");
  }
  if (link->memory() + result->message_bytes > options_.buffer_limit) return End(link, CloseReason::kOverBufferLimit);
  if (result->more) link->want_read = true;
  if (result->wants_write) {
    link->read_wants_write = true;
    if (link->watched) Watch(link);
  }
}

void Links::CompleteWrite(Link* link, WriteResult* result) {
  counters_.bytes_sent += result->bytes;
  for (uint8_t kind : result->kinds) ++counters_.sent[kind];
  DCHECK_GE(link->unsent_bytes, result->done_bytes);
  link->unsent_bytes -= result->done_bytes;
  DCHECK_GE(link->unsent_messages, result->kinds.size());
  link->unsent_messages -= result->kinds.size();
  if (link->async_close) return;
  if (result->close != CloseReason::kNone) return End(link, result->close, result->error);
  if (result->blocked && result->wants_read) {
    link->write_wants_read = true;
  } else if (result->blocked && !link->blocked) {
    link->blocked = true;
    if (link->watched) Watch(link);
  }
  if (result->more) link->want_write = true;
}

void Links::MakeReady(Link* link) {
  if (link->in_ready) return;
  link->in_ready = true;
  if (link->state == Link::State::kUp && link->link_class == LinkClass::kPublish) {
    publish_ready_.push_back(link->id);
  } else {
    ready_.push_back(link->id);
  }
  uv_idle_start(&handles_->idle, [](uv_idle_t*) {});
}

void Links::Serve(LinkId id) {
  Link* link = Find(id);
  if (link == nullptr) return;
  link->in_ready = false;
  bool write = link->want_write;
  if (link->want_read) WantRead(link);
  link = Find(id);
  if (link != nullptr && write) WantWrite(link);
  link = Find(id);
  if (link != nullptr && !link->watched && link->io_refs == 0 && !link->want_read) Watch(link);
}

void Links::RunReady() {
  // What a turn makes ready waits for the next one, behind what came from the sockets meanwhile.
  size_t turn = std::min(ready_.size(), kReadyPerTurn);
  if (turn > 0) {
    std::vector<LinkId> served(ready_.begin(), ready_.begin() + static_cast<ptrdiff_t>(turn));
    ready_.erase(ready_.begin(), ready_.begin() + static_cast<ptrdiff_t>(turn));
    for (LinkId id : served) Serve(id);
  }
  // Sending may close a link, whose handler may send again: by index, and until nothing is left.
  for (size_t i = 0; i < dirty_.size(); ++i) {
    Link* link = Find(dirty_[i]);
    if (link == nullptr) continue;
    link->in_dirty = false;
    WantWrite(link);
  }
  dirty_.clear();
  for (size_t left = std::min(publish_ready_.size(), kPublishReadyPerTurn); left > 0; --left) {
    LinkId id = publish_ready_.front();
    publish_ready_.pop_front();
    Serve(id);
  }
  if (ready_.empty() && publish_ready_.empty()) uv_idle_stop(&handles_->idle);
}

// ---- Ending

void Links::Watch(Link* link) {
  int events = UV_READABLE;
  if (link->state == Link::State::kConnecting || link->read_wants_write) {
    // Reading that waits for writability would find nothing however readable it is.
    events = UV_WRITABLE;
  } else if (link->blocked) {
    events |= UV_WRITABLE;
  }
  uv_poll_start(&link->watch->poll, events, &Links::OnPoll);
  link->watched = true;
}

void Links::Unwatch(Link* link) {
  uv_poll_stop(&link->watch->poll);
  link->watched = false;
}

void Links::CloseWatch(Link* link) {
  LinkWatch* watch = std::exchange(link->watch, nullptr);
  uv_poll_stop(&watch->poll);
  watch->link = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(&watch->poll), FreeWatch);
}

void Links::End(Link* link, CloseReason reason, int error, const char* engine_reason, const std::string& detail) {
  DCHECK(!link->async_close);
  LinkId id = link->id;
  bool tell = reason != CloseReason::kEngine && reason != CloseReason::kStopping &&
              (link->outbound || link->state == Link::State::kUp);
  const bool publishes = link->link_class == LinkClass::kPublish;
  const size_t unsent = link->unsent_messages;
  ++counters_.closed[static_cast<size_t>(reason)];
  if (engine_reason != nullptr) {
    auto found = counters_.closed_by_engine.find(engine_reason);
    if (found != counters_.closed_by_engine.end()) {
      ++found->second;
    } else if (counters_.closed_by_engine.size() < kEngineReasons) {
      counters_.closed_by_engine.emplace(engine_reason, 1);
    }
  }
  bool loud = reason > CloseReason::kHelloTimeout;
  const char* hint = CloseReasonHint(reason);
  if ((loud || VLOG_IS_ON(1)) && MayLog()) {
    // Without the port of who dialled: it says nothing, and makes each line another one.
    std::string text =
        absl::StrCat("closed the link ", link->outbound ? "to " : "from ", link->remote.ip,
                     link->outbound ? absl::StrCat(":", link->remote.port) : "", link->peer_id.empty() ? "" : " of ",
                     link->peer_id, ": ", engine_reason != nullptr ? engine_reason : CloseReasonName(reason),
                     error != 0 ? ": " : "", error != 0 ? strerror(error) : "", detail.empty() ? "" : ": ", detail,
                     hint != nullptr ? absl::StrCat(" (", hint, ")") : "");
    LOG(INFO) << "cluster bus: " << text;
    if (loud) handler_->OnRemarkableClose(std::move(text));
  }
  deadlines_.erase({link->deadline_ms, id});
  if (link->renew_ms != 0) renewals_.erase({link->renew_ms, id});
  CloseWatch(link);
  auto found = links_.find(id);
  std::unique_ptr<Link> owned = std::move(found->second);
  links_.erase(found);
  if (link->io_refs > 0) {
    // The job that borrows it may be in a system call on the descriptor: end that, and leave the rest to its
    // completion.
    link->async_close = true;
    shutdown(link->fd.get(), SHUT_RDWR);
    closing_.emplace(id, std::move(owned));
  } else {
    owned->io->transport()->Shutdown();
    owned.reset();
  }
  if (!tell) return;
  if (publishes) {
    handler_->OnPublishLinkDown(id, unsent);
  } else {
    handler_->OnLinkDown(id, CloseReasonName(reason));
  }
}

void Links::Tick() {
  int64_t now = MonotonicMs();
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    LinkId id = deadlines_.begin()->second;
    deadlines_.erase(deadlines_.begin());
    if (Link* link = Find(id)) End(link, link->outbound ? CloseReason::kConnectTimeout : CloseReason::kHelloTimeout);
  }
  while (!renewals_.empty() && renewals_.begin()->first <= now) {
    Link* link = Find(renewals_.begin()->second);
    CHECK(link != nullptr);
    End(link, link->tls != options_.tls ? CloseReason::kTlsRenewed : CloseReason::kSecretWithdrawn);
  }
  if (accept_paused_ && !stopping_) {
    accept_paused_ = false;
    for (auto& listener : listeners_) uv_poll_start(listener->poll, UV_READABLE, &Links::OnAcceptable);
  }
}

void Links::Stop() {
  if (std::exchange(stopping_, true)) return;
  for (auto& listener : listeners_) {
    uv_poll_stop(listener->poll);
    uv_close(reinterpret_cast<uv_handle_t*>(listener->poll), FreePoll);
  }
  listeners_.clear();
  SetWorkers(0);
  RunReady();
  while (!links_.empty()) End(links_.begin()->second.get(), CloseReason::kStopping);
  uv_close(reinterpret_cast<uv_handle_t*>(&handles_->prepare), nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&handles_->idle), nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&handles_->completed), nullptr);
}

std::vector<LinkView> Links::View() const {
  std::vector<LinkView> views;
  views.reserve(links_.size() + closing_.size());
  for (const auto* links : {&links_, &closing_}) {
    for (const auto& [id, link] : *links) {
      views.push_back({id, link->link_class, link->outbound, link->state == Link::State::kUp, link->async_close,
                       link->peer_id, link->remote, link->create_unix_ms, link->blocked, link->io_refs,
                       link->unsent_bytes, link->io->input_memory()});
    }
  }
  return views;
}

bool Links::MayLog() {
  int64_t second = MonotonicMs() / 1000;
  if (second != log_second_) {
    log_second_ = second;
    logs_left_ = kLogsPerSecond;
  }
  return logs_left_ > 0 && logs_left_-- > 0;
}

}  // namespace skein::bus
