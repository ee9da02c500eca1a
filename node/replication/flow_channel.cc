#include "node/replication/flow_channel.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "node/util/address.h"

namespace skein::node {

FlowChannel::~FlowChannel() {
  if (tls_ != nullptr) tls_->Shutdown();
  tls_.reset();
  close(fd_);
}

std::string FlowChannel::Address(bool peer) const {
  sockaddr_storage at{};
  socklen_t size = sizeof at;
  auto* const address = reinterpret_cast<sockaddr*>(&at);
  return (peer ? getpeername(fd_, address, &size) : getsockname(fd_, address, &size)) == 0 ? AddressText(at) : "";
}

ssize_t FlowChannel::Read(void* to, size_t length) {
  if (tls_ != nullptr) return tls_->Read(to, length);
  const ssize_t n = recv(fd_, to, length, 0);
  if (n >= 0) return n;
  return errno == EINTR || errno == EWOULDBLOCK ? -EAGAIN : -errno;
}

ssize_t FlowChannel::Write(const iovec* pieces, size_t count) {
  if (tls_ == nullptr) {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(pieces);
    message.msg_iovlen = count;
    const ssize_t n = sendmsg(fd_, &message, MSG_NOSIGNAL);
    if (n >= 0) return n;
    return errno == EINTR || errno == EWOULDBLOCK ? -EAGAIN : -errno;
  }
  ssize_t total = 0;
  for (size_t i = 0; i < count; ++i) {
    const ssize_t n = tls_->Write(pieces[i].iov_base, pieces[i].iov_len);
    if (n < 0) return total != 0 && n == -EAGAIN ? total : n;
    total += n;
    if (static_cast<size_t>(n) < pieces[i].iov_len) break;
  }
  return total;
}

absl::Status FlowChannel::WriteAll(std::string_view bytes, int64_t timeout_ms, const std::atomic<bool>& cancel) {
  constexpr int kSliceMs = 100;
  int64_t waited = 0;
  while (!bytes.empty()) {
    if (cancel.load(std::memory_order_acquire)) return absl::CancelledError("cancelled");
    const iovec piece{const_cast<char*>(bytes.data()), bytes.size()};
    const ssize_t n = Write(&piece, 1);
    if (n > 0) {
      bytes.remove_prefix(static_cast<size_t>(n));
      waited = 0;
      continue;
    }
    if (n != -EAGAIN)
      return absl::UnavailableError(n == 0 ? "the connection has ended" : std::strerror(static_cast<int>(-n)));
    if (waited >= timeout_ms) {
      return absl::UnavailableError("it has taken nothing for " + std::to_string(timeout_ms / 1000) +
                                    " seconds (repl-timeout)");
    }
    const bool writing = tls_ == nullptr || tls_->wants_write();
    pollfd p{fd_, static_cast<short>(writing ? POLLOUT : POLLIN), 0};
    if (poll(&p, 1, kSliceMs) == 0) waited += kSliceMs;
  }
  return absl::OkStatus();
}

void FlowChannel::Cut() { shutdown(fd_, SHUT_RDWR); }

bool FlowWatch::Open(uv_loop_t* loop, int fd, std::function<void(int)> on_ready) {
  auto handle = std::make_unique<Handle>();
  if (uv_poll_init(loop, &handle->poll, fd) != 0) return false;
  handle->poll.data = handle.get();
  handle->on_ready = std::move(on_ready);
  handle_ = handle.release();
  armed_ = 0;
  return true;
}

void FlowWatch::Arm(int events) {
  if (handle_ == nullptr || events == armed_) return;
  armed_ = events;
  if (events == 0) {
    uv_poll_stop(&handle_->poll);
    return;
  }
  uv_poll_start(&handle_->poll, events, [](uv_poll_t* poll, int status, int ready) {
    auto* const h = static_cast<Handle*>(poll->data);
    // The system call finds out what is wrong.
    h->on_ready(status < 0 ? UV_READABLE | UV_WRITABLE : ready);
  });
}

void FlowWatch::Close() {
  if (handle_ == nullptr) return;
  Handle* const handle = std::exchange(handle_, nullptr);
  armed_ = 0;
  uv_close(reinterpret_cast<uv_handle_t*>(&handle->poll), [](uv_handle_t* h) { delete static_cast<Handle*>(h->data); });
}

}  // namespace skein::node
