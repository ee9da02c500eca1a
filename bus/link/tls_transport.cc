#include "bus/link/tls_transport.h"

#include <sys/socket.h>

#include <cerrno>

#include "absl/strings/escaping.h"

namespace skein::bus {

TlsTransport::TlsTransport(const TlsContextPtr& context, int fd, bool dials)
    : fd_(fd),
      dials_(dials),
      stream_(TlsStream::Create(context, fd, dials ? TlsStream::Role::kDial : TlsStream::Role::kAcceptPeer)) {}

int TlsTransport::Handshake() {
  if (!dials_ && !begun_) {
    // A frame instead of a handshake record: said to people in other words than "wrong version number", and answered
    // with nothing.
    char first = 0;
    ssize_t n = recv(fd_, &first, 1, MSG_PEEK);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return -EAGAIN;
    if (n == 1 && first == 'S') {
      peer_is_plain_ = true;
      return -EPROTO;
    }
  }
  begun_ = true;
  int result = stream_->Handshake();
  done_ = result == 0;
  return result;
}

ssize_t TlsTransport::Read(void* to, size_t length) {
  ssize_t n = stream_->Read(to, length);
  // Cut without a close_notify: frames say themselves whether they are whole, so that it is an end like any other.
  return n == -EIO ? 0 : n;
}

void TlsTransport::Shutdown() {
  if (done_) stream_->Shutdown();
}

std::string TlsTransport::peer_names() const {
  const TlsPeer peer = stream_->peer();
  // Escaped, so that no name can look like two.
  std::string names = "CN:" + absl::CEscape(peer.common_name);
  for (const std::string& name : peer.names) names += "\n" + absl::CEscape(name);
  return names;
}

}  // namespace skein::bus
