// Raw non-blocking TCP sockets of the bus. A link owns its descriptor; libuv only watches it.
#ifndef SKEIN_BUS_LINK_SOCKET_H_
#define SKEIN_BUS_LINK_SOCKET_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace skein::bus {

// Owns a descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      Reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~Fd() { Reset(); }
  void Reset();
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// What a job reads from and writes to. Non-blocking. Used by one thread at a time.
class Transport {
 public:
  virtual ~Transport() = default;
  // Bytes moved; 0 at the end of the stream (Read only); else a negative errno (-EAGAIN: nothing can be done now).
  virtual ssize_t Read(void* to, size_t length) = 0;
  virtual ssize_t Write(const void* from, size_t length) = 0;
  // What must be done before the first Read or Write. 0: done; -EAGAIN: not yet; else a negative errno.
  virtual int Handshake() { return 0; }
  // After -EAGAIN: the descriptor must become writable, though it was a Read (readable, though it was a Write).
  virtual bool wants_other(bool reading) const {
    (void)reading;
    return false;
  }
  // A Read that gave less than was asked for has taken all there is.
  virtual bool short_read_is_all() const { return true; }
  // Tells the other side that nothing more comes, if that can be done at once.
  virtual void Shutdown() {}
  // Of the last failure, for people; empty if its errno says it all.
  virtual std::string error() const { return {}; }
  // After the handshake: the names in the peer's certificate.
  virtual std::string peer_names() const { return {}; }
  // The handshake failed because the peer does not speak TLS.
  virtual bool peer_is_plain() const { return false; }
};

// Does not own the descriptor.
class SocketTransport : public Transport {
 public:
  explicit SocketTransport(int fd) : fd_(fd) {}
  ssize_t Read(void* to, size_t length) override;
  ssize_t Write(const void* from, size_t length) override;

 private:
  int fd_;
};

// An address and a port of it, as text without brackets; an IPv4 address mapped into IPv6 reads as IPv4.
struct SocketAddress {
  std::string ip;
  uint16_t port = 0;
};

// 127.0.0.0/8 or ::1.
bool IsLoopback(std::string_view ip);
// A numeric IPv4 or IPv6 address.
bool IsNumericAddress(std::string_view ip);

// Listens on each of `bind` (the words of the `bind` directive: "*", "::*", and a leading "-" for an address that may
// be unavailable; empty means all), at `port`; 0 picks a free one, which all share and which is written back. The error
// names address and port.
absl::StatusOr<std::vector<Fd>> Listen(const std::vector<std::string>& bind, uint16_t* port);

// Takes one waiting connection, non-blocking and close-on-exec. The error is the negative errno in `error`.
Fd Accept(int listener, SocketAddress* from, int* error);

// The address to connect to `ip` from: the only one of its family that `bind` has, so that peers see a node that has
// one address come from where they can reach it. Empty: as the kernel likes.
std::string SourceFor(const std::vector<std::string>& bind, const std::string& ip);

// Starts to connect; completion shows as writability, see ConnectResult. `error`: 0, or the negative errno. `source`:
// where from; may be empty.
Fd Connect(const std::string& ip, uint16_t port, int* error, const std::string& source = "");
// 0 if connected, -EINPROGRESS if not yet, else the negative errno.
int ConnectResult(int fd);

// TCP_NODELAY, and keepalive and user timeout that notice within about `dead_after_ms` that the peer is gone.
void SetLinkOptions(int fd, int64_t dead_after_ms);

}  // namespace skein::bus

#endif  // SKEIN_BUS_LINK_SOCKET_H_
