// Client sessions that speak TLS: handshakes, and reading and sending through the stream.
//
// A handshake costs as much as thousands of commands. The sessions whose handshake can go on stand in a queue of the
// loop, each at most once, and a turn of the loop serves a slice of it; so a storm of connections does not hold up the
// clients that are there. What OpenSSL has read ahead the descriptor does not tell of: such sessions stand in a list,
// and are read from once a turn.
#include <errno.h>
#include <glog/logging.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "node/clock.h"
#include "node/loop_impl.h"

namespace skein::node {
namespace {

// Handshakes of one turn of the loop: one step at least, and no further one once this has passed.
constexpr int64_t kHandshakeSliceNanos = 300'000;
// Bytes encrypted for one session before others have their turn.
constexpr size_t kSendSlice = 256u << 10;

}  // namespace

// ---- The session ---------------------------------------------------------------------------------------------------

ssize_t ClientSession::ReadSecure(void* to, size_t length) {
  const ssize_t n = tls->stream->Read(to, length);
  if (n >= 0) return n;
  errno = static_cast<int>(-n);
  return -1;
}

ssize_t ClientSession::SendSecure(const void* from, size_t length) {
  const ssize_t n = tls->stream->Write(from, std::min(length, kSendSlice));
  if (n >= 0) return n;
  errno = static_cast<int>(-n);
  return -1;
}

uint8_t ClientSession::SecureEvents(uint8_t events) {
  if (tls->shaking) return tls->queued ? 0 : tls->wants_write ? UV_WRITABLE : UV_READABLE;
  if ((events & UV_READABLE) != 0 && !tls->ready && tls->stream->pending() != 0) loop->ReadLater(*this);
  return events;
}

// ---- The loop's side -----------------------------------------------------------------------------------------------

void LoopImpl::QueueHandshake(ClientSession& s) {
  if (s.tls->queued) return;
  s.tls->queued = true;
  handshakes_.Push(s.st.id);
  s.UpdatePoll();
}

void LoopImpl::ShakeHands() {
  const int64_t deadline = ReadClockNanos(CLOCK_MONOTONIC) + kHandshakeSliceNanos;
  do {
    ClientSession* const s = Find(handshakes_.front());
    handshakes_.Pop();
    if (s != nullptr) ShakeHands(*s);
  } while (!handshakes_.empty() && ReadClockNanos(CLOCK_MONOTONIC) < deadline);
  if (!handshakes_.empty()) mailbox_.Wake();
}

void LoopImpl::ShakeHands(ClientSession& s) {
  SecureChannel& tls = *s.tls;
  tls.queued = false;
  const int result = tls.stream->Handshake();
  if (result == -EAGAIN) {
    tls.wants_write = tls.stream->wants_write();
    s.UpdatePoll();
    return;
  }
  if (result != 0) {
    VLOG(1) << "TLS handshake with client " << s.st.addr << " failed: " << tls.stream->error();
    ++stats_.tls_handshake_failures;
    CloseSession(s);
    return;
  }
  tls.shaking = false;
  ++stats_.tls_handshakes;
  s.st.last_active_ms = mono_ms_;
  if (!tls.denial.empty()) {
    s.out.Append(tls.denial);
    s.st.close_after_reply = true;
    Flush(s);
    return;
  }
  s.UpdatePoll();
}

bool LoopImpl::HandshakeOverdue(const ClientSession& s) const {
  return s.tls != nullptr && s.tls->shaking &&
         mono_ms_ - s.st.created_ms > static_cast<int64_t>(config_->tls_handshake_timeout) * 1000;
}

void LoopImpl::ReadLater(ClientSession& s) {
  s.tls->ready = true;
  if (read_ahead_.empty()) mailbox_.Wake();
  read_ahead_.push_back(s.st.id);
}

void LoopImpl::ReadAhead() {
  std::vector<uint64_t> ids;
  ids.swap(read_ahead_);
  for (const uint64_t id : ids) {
    ClientSession* const s = Find(id);
    if (s == nullptr) continue;
    s->tls->ready = false;
    OnReadable(*s);
  }
}

}  // namespace skein::node
