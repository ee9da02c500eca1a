#include "node/session_io.h"

#include <errno.h>
#include <glog/logging.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "node/command.h"
#include "node/loop_impl.h"
#include "node/node_impl.h"

namespace skein::node {
namespace {

// The largest output buffer that is kept for the next session.
constexpr size_t kWarmBuffer = 1u << 20;
// A step in which the buffer of a large argument grows, unless as much has arrived already: what a client announces is
// not believed before it sends.
constexpr size_t kGrowStep = 1u << 20;
// How often paused sessions look whether CLIENT PAUSE is over.
constexpr uint64_t kPausePollMs = 5;

}  // namespace

// ---- The session ---------------------------------------------------------------------------------------------------

ClientSession::ClientSession(LoopImpl* loop, int fd, Admission admission)
    : loop(loop), fd(fd), admission(std::move(admission)) {}

ClientSession::~ClientSession() = default;

ClientState& ClientSession::state() {
  if (last_spec != nullptr) {
    st.last_command.clear();
    if (last_spec->parent != nullptr) {
      st.last_command = last_spec->parent;
      st.last_command += '|';
    }
    st.last_command += last_spec->name;
    last_spec = nullptr;
  }
  return st;
}

size_t ClientSession::memory_usage() const {
  return sizeof(*this) + (subscriber != nullptr ? sizeof(Subscriber) + subscriber->memory() : 0) + query.capacity() +
         out.capacity() + held_bytes + segments.memory() + barriers.memory() +
         (partial != nullptr ? sizeof(PartialCommand) + partial->args.capacity() * sizeof(PartialCommand::Range) : 0);
}

void ClientSession::Close(bool after_replies) {
  if (after_replies) {
    st.close_after_reply = true;
  } else {
    st.close_now = true;
  }
  loop->CloseLater(*this);
}

Buffer* ClientSession::ReplyBuffer(bool own_segment) {
  if (segments.empty()) return &out;
  if (own_segment || !segments.back().ready || segments.back().lsn != 0) segments.Push().ready = true;
  return &segments.back().bytes;
}

void ClientSession::Advance() {
  while (!segments.empty() && segments.front().ready) {
    Segment& s = segments.front();
    if (!s.bytes.empty()) {
      const size_t begin = out.size();
      held_bytes -= std::min(held_bytes, s.bytes.size());
      if (begin == 0 && out.capacity() < s.bytes.size()) {
        std::swap(out, s.bytes);
      } else {
        out.Append(s.bytes.view());
      }
      if (s.lsn != 0) AddBarrier(begin, s.shard, s.lsn);
    }
    segments.Pop();
    ++first_sequence;
  }
}

void ClientSession::NoteWrite(uint32_t shard, storage::Lsn end) {
  if (shard >= wrote.size()) [[unlikely]]
    wrote.resize(loop->node_shard_count());
  wrote[shard] = end;
}

void ClientSession::AddBarrier(size_t begin, uint32_t shard, storage::Lsn lsn) {
  storage::Log* log = loop->log(shard);
  if (log == nullptr || log->durable() >= lsn || begin == out.size()) return;
  const std::string& failure = loop->shard_failure(shard);
  if (!failure.empty()) {
    out.Truncate(begin);
    ReplyWriter(&out, st.resp).Error(failure);
    return;
  }
  const uint64_t from = out_base + begin, to = out_base + out.size();
  if (!barriers.empty()) {
    Barrier& last = barriers.back();
    // (Not where several shards' barriers stand over the same bytes.)
    const bool alone = barriers.size() < 2 || barriers[barriers.size() - 2].begin != last.begin;
    if (last.shard == shard && last.end == from && alone) {
      // The same batch, the same sync.
      last.end = to;
      last.lsn = std::max(last.lsn, lsn);
      ++last.replies;
      return;
    }
  }
  barriers.Push(Barrier{from, to, lsn, shard, 1});
  if (!gate_registered) loop->RegisterGate(*this);
}

bool ClientSession::Send() {
  const size_t limit = Sendable();
  want_write = false;
  if (sent < limit) {
    const ssize_t n = tls == nullptr ? send(fd, out.data() + sent, limit - sent, MSG_NOSIGNAL)
                                     : SendSecure(out.data() + sent, limit - sent);
    if (n < 0) {
      if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) return false;
      want_write = true;
    } else {
      sent += n;
      st.net_out += n;
      loop->stats().net_out += n;
      want_write = sent < limit;
    }
  }
  if (sent == out.size()) {
    out_base += sent;
    sent = 0;
    out.Clear();
    // The loop's one warm buffer goes round; a session that has nothing to say holds none.
    if (out.capacity() <= kWarmBuffer && loop->spare_out().capacity() < out.capacity()) {
      std::swap(out, loop->spare_out());
    }
    out.Release();
  } else if (sent >= 64 * 1024 && sent >= out.size() / 2) {
    out.Consume(sent);
    out_base += sent;
    sent = 0;
  }
  return true;
}

void ClientSession::UpdatePoll() {
  if (closing) return;
  const bool reading = !stop_reading && !end_of_input;
  // One that waits, perhaps for ever, is not read from: its end must be noticed all the same.
  uint8_t events = (reading ? UV_READABLE : 0) | (want_write ? UV_WRITABLE : 0) | (wait != nullptr ? UV_DISCONNECT : 0);
  if (tls != nullptr) events = SecureEvents(events);
  if (events == armed) return;
  armed = events;
  if (events == 0) {
    uv_poll_stop(&poll);
    return;
  }
  uv_poll_start(&poll, events, [](uv_poll_t* handle, int status, int ready) {
    ClientSession& s = *static_cast<ClientSession*>(handle->data);
    LoopImpl& loop = *s.loop;
    if (s.closing) return;
    // An error (a reset, mostly): the system call finds out what is wrong, perhaps only behind data that came before.
    // libuv has stopped watching.
    if (status < 0) {
      s.armed = 0;
      ready = UV_READABLE | UV_WRITABLE;
    }
    if (s.tls != nullptr && s.tls->shaking) return loop.QueueHandshake(s);
    if (s.wait != nullptr && (status < 0 || (ready & UV_DISCONNECT))) {
      loop.CloseSession(s);
      return;
    }
    if (ready & UV_WRITABLE) loop.Flush(s);
    if ((ready & UV_READABLE) && !s.closing) loop.OnReadable(s);
    if (status < 0) s.UpdatePoll();
  });
}

// ---- The loop's side -----------------------------------------------------------------------------------------------

void LoopImpl::OnReadable(ClientSession& s) {
  worked_ = true;
  if (announced_) WithdrawWaits();
  if (s.park != Park::kNo || s.end_of_input) {
    // Lazily disarmed: most parks are over before the client sends more.
    s.stop_reading = true;
    s.UpdatePoll();
    return;
  }
  char* data;
  size_t have = s.query.size(), room;
  const bool own = have > kSmallRemainder;
  if (own) {
    size_t want = 16 * 1024;
    if (s.partial != nullptr && s.partial->needed() > have) {
      want = std::min(s.partial->needed() - have, std::max(kGrowStep, have));
    }
    s.query.Reserve(want);
    data = s.query.data();
    room = want;
  } else {
    data = read_buffer_.get();
    if (have != 0) std::memcpy(data, s.query.data(), have);
    room = kReadSize;
  }
  const ssize_t n = s.tls == nullptr ? read(s.fd, data + have, room) : s.ReadSecure(data + have, room);
  if (n <= 0) {
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n == 0 && !s.Quiet()) {
      // The client has finished sending; what it is owed still goes out.
      s.end_of_input = true;
      s.UpdatePoll();
      return;
    }
    CloseSession(s);
    return;
  }
  s.st.net_in += n;
  stats_.net_in += n;
  if (own) s.query.Advance(n);
  Process(s, data, have + n, own);
}

void LoopImpl::Process(ClientSession& s, char* data, size_t size, bool own) {
  FreshenClock();
  s.st.last_active_ms = mono_ms_;
  if (s.out.capacity() == 0) std::swap(s.out, spare_out_);
  const size_t done = Execute(s, data, size);
  if (s.closing) return;
  if (done == size) {
    s.query.Release();
  } else if (own) {
    s.query.Consume(done);
  } else {
    s.query.Clear();
    s.query.Append({data + done, size - done});
  }
  if (s.query.size() > config_->client_query_buffer_limit) {
    LOG(WARNING) << "closing client " << s.st.addr << ": its query buffer has reached " << s.query.size()
                 << " bytes (client-query-buffer-limit)";
    ++stats_.query_buffer_limit_closes;
    CloseSession(s);
    return;
  }
  Flush(s);
}

void LoopImpl::Resume(ClientSession& s) {
  if (s.closing) return;
  s.park = Park::kNo;
  s.stop_reading = draining_;
  if (!s.query.empty() && !s.st.close_after_reply) {
    // Executed where it lies: a session that is parked again has nothing to copy.
    Process(s, s.query.data(), s.query.size(), true);
  } else {
    Flush(s);
  }
}

void LoopImpl::ParkSession(ClientSession& s, Park why) {
  s.park = why;
  if (why == Park::kRoom) waiting_for_room_.push_back(s.st.id);
  if (why == Park::kPause) {
    paused_.push_back(s.st.id);
    paused_writes_only_ = pause_.writes_only;
    if (!uv_is_active(reinterpret_cast<uv_handle_t*>(&pause_timer_))) {
      uv_timer_start(&pause_timer_, Call_<&LoopImpl::OnPauseTimer, uv_timer_t>, kPausePollMs, kPausePollMs);
    }
  }
}

bool LoopImpl::OutputIsScarce() const {
  constexpr size_t kTotal = 256u << 20;
  return stats_.output_bytes >= kTotal;
}

size_t LoopImpl::OutputMark() const {
  // Plenty for one client that writes a long pipeline before it reads; little for each of many that never read.
  constexpr size_t kGenerous = 64u << 20, kMean = 256u << 10;
  const size_t mark = OutputIsScarce() ? kMean : kGenerous;
  const uint64_t hard = config_->output_normal.hard;
  return hard != 0 && hard < mark ? static_cast<size_t>(hard) : mark;
}

bool LoopImpl::OverOutputLimit(ClientSession& s) {
  const OutputLimit& limit = s.st.subscribed() ? config_->output_pubsub : config_->output_normal;
  if (limit.hard == 0 && limit.soft == 0) return false;
  const size_t used = s.output_bytes();
  if (limit.hard != 0 && used > limit.hard) return true;
  if (limit.soft == 0 || used <= limit.soft) {
    s.over_soft_limit_since = 0;
    return false;
  }
  if (s.over_soft_limit_since == 0) s.over_soft_limit_since = mono_ms_;
  return mono_ms_ - s.over_soft_limit_since > limit.soft_seconds * 1000ll;
}

void LoopImpl::Flush(ClientSession& s) {
  if (s.closing) return;
  if (s.out.size() != s.sent || s.want_write) {
    // Before sending, as redis-server does: what the kernel would take does not count in the client's favour.
    if (OverOutputLimit(s)) {
      LOG(WARNING) << "closing client " << s.st.addr << ": " << s.output_bytes()
                   << " bytes of replies are waiting (client-output-buffer-limit "
                   << (s.st.subscribed() ? "pubsub)" : "normal)");
      ++stats_.output_limit_closes;
      CloseSession(s);
      return;
    }
    if (!s.Send()) {
      CloseSession(s);
      return;
    }
  } else if (s.out.capacity() != 0) {
    if (s.out.capacity() <= kWarmBuffer && spare_out_.capacity() < s.out.capacity()) std::swap(s.out, spare_out_);
    s.out.Release();
  }
  const size_t held = s.output_bytes();
  stats_.output_bytes += held - s.counted_output;
  s.counted_output = held;
  if (held == 0) s.over_soft_limit_since = 0;
  if (s.st.close_now || ((s.st.close_after_reply || (s.end_of_input && s.park == Park::kNo)) && s.Quiet())) {
    CloseSession(s);
    return;
  }
  if (s.park == Park::kOutput && held <= OutputMark() / 2) {
    CallLater(s);
  }
  s.UpdatePoll();
}

void LoopImpl::CloseLater(ClientSession& s) { close_later_.push_back(s.st.id); }

void LoopImpl::CloseSession(ClientSession& s) {
  if (s.closing) return;
  s.closing = true;
  ForgetWait(s);
  if (s.subscriber != nullptr) subscriptions_.Drop(s.subscriber.get());
  stats_.output_bytes -= s.counted_output;
  by_id_.erase(s.st.id);
  sessions_.back()->position = s.position;
  sessions_[s.position] = sessions_.back();
  sessions_.pop_back();
  session_count_.fetch_sub(1, std::memory_order_relaxed);
  stats_.clients = sessions_.size();
  if (s.tls != nullptr) s.tls->stream->Shutdown();
  // The place is free when the client sees the end of its connection.
  s.admission = Admission();
  uv_close(reinterpret_cast<uv_handle_t*>(&s.poll),
           [](uv_handle_t* handle) { delete static_cast<ClientSession*>(handle->data); });
  if (s.fd >= 0) close(s.fd);
  s.fd = -1;
}

}  // namespace skein::node
