#include "bus/link/socket.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace skein::bus {
namespace {

constexpr int kListenBacklog = 511;

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

bool MakeAddress(const std::string& ip, uint16_t port, Address* address) {
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address->storage);
  if (inet_pton(AF_INET, ip.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    address->length = sizeof(*v4);
    return true;
  }
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address->storage);
  if (inet_pton(AF_INET6, ip.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    address->length = sizeof(*v6);
    return true;
  }
  return false;
}

SocketAddress ReadAddress(const sockaddr_storage& storage) {
  SocketAddress result;
  char text[INET6_ADDRSTRLEN] = "";
  if (storage.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof(text));
    result.port = ntohs(v4.sin_port);
  } else if (storage.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
      inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], text, sizeof(text));
    } else {
      inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof(text));
    }
    result.port = ntohs(v6.sin6_port);
  }
  result.ip = text;
  return result;
}

std::string Errno(int error) { return strerror(error); }

void SetOption(int fd, int level, int name, int value) { setsockopt(fd, level, name, &value, sizeof(value)); }

}  // namespace

void Fd::Reset() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

ssize_t SocketTransport::Read(void* to, size_t length) {
  ssize_t n;
  do {
    n = recv(fd_, to, length, 0);
  } while (n < 0 && errno == EINTR);
  return n >= 0 ? n : -errno;
}

ssize_t SocketTransport::Write(const void* from, size_t length) {
  ssize_t n;
  do {
    n = send(fd_, from, length, MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  return n >= 0 ? n : -errno;
}

bool IsLoopback(std::string_view ip) {
  Address address;
  if (!MakeAddress(std::string(ip), 0, &address)) return false;
  std::string text = ReadAddress(address.storage).ip;
  return text == "::1" || text.starts_with("127.");
}

bool IsNumericAddress(std::string_view ip) {
  Address address;
  return MakeAddress(std::string(ip), 0, &address);
}

absl::StatusOr<std::vector<Fd>> Listen(const std::vector<std::string>& bind_words, uint16_t* port) {
  std::vector<std::string> words = bind_words;
  if (words.empty()) words = {"*", "-::*"};
  std::vector<Fd> listeners;
  for (const std::string& word : words) {
    bool optional = word.starts_with("-");
    std::string ip = optional ? word.substr(1) : word;
    if (ip == "*") ip = "0.0.0.0";
    if (ip == "::*") ip = "::";
    Address address;
    if (!MakeAddress(ip, *port, &address)) {
      return absl::InvalidArgumentError(absl::StrCat("'", word, "' in bind is not a numeric address"));
    }
    const char* what = "socket";
    int error = 0;
    Fd fd(socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd) {
      error = errno;
    } else {
      SetOption(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
      if (address.storage.ss_family == AF_INET6) SetOption(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1);
      what = "bind";
      if (bind(fd.get(), address.get(), address.length) != 0) {
        error = errno;
      } else {
        what = "listen";
        if (listen(fd.get(), kListenBacklog) != 0) error = errno;
      }
    }
    if (error != 0) {
      if (optional && (error == EADDRNOTAVAIL || error == EAFNOSUPPORT || error == EPROTONOSUPPORT)) continue;
      std::string message =
          absl::StrCat("cannot listen for the cluster bus on ", ip, " port ", *port, ": ", what, ": ", Errno(error));
      return error == EADDRINUSE ? absl::UnavailableError(message) : absl::FailedPreconditionError(message);
    }
    if (*port == 0) {
      sockaddr_storage bound{};
      socklen_t length = sizeof(bound);
      getsockname(fd.get(), reinterpret_cast<sockaddr*>(&bound), &length);
      *port = ReadAddress(bound).port;
    }
    listeners.push_back(std::move(fd));
  }
  if (listeners.empty()) return absl::FailedPreconditionError("no address in bind is available for the cluster bus");
  return listeners;
}

Fd Accept(int listener, SocketAddress* from, int* error) {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  int fd;
  do {
    fd = accept4(listener, reinterpret_cast<sockaddr*>(&storage), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) {
    *error = -errno;
    return Fd();
  }
  *error = 0;
  *from = ReadAddress(storage);
  return Fd(fd);
}

std::string SourceFor(const std::vector<std::string>& bind, const std::string& ip) {
  const bool v6 = ip.find(':') != std::string::npos;
  std::string source;
  for (const std::string& word : bind) {
    std::string own = word.starts_with("-") ? word.substr(1) : word;
    if (own.find('*') != std::string::npos || own == "0.0.0.0" || own == "::") return "";
    if ((own.find(':') != std::string::npos) != v6) continue;
    if (!source.empty()) return "";
    source = std::move(own);
  }
  if (IsLoopback(source) && !IsLoopback(ip)) return "";
  return source;
}

Fd Connect(const std::string& ip, uint16_t port, int* error, const std::string& source) {
  Address address;
  if (!MakeAddress(ip, port, &address)) {
    *error = -EINVAL;
    return Fd();
  }
  Fd fd(socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  Address own;
  if (fd && !source.empty() && MakeAddress(source, 0, &own)) {
    // Before a port is chosen with the destination known, so that many connections can share one.
    SetOption(fd.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    if (::bind(fd.get(), own.get(), own.length) != 0) {
      *error = -errno;
      return Fd();
    }
  }
  if (!fd || (connect(fd.get(), address.get(), address.length) != 0 && errno != EINPROGRESS)) {
    *error = -errno;
    return Fd();
  }
  *error = 0;
  return fd;
}

int ConnectResult(int fd) {
  int error = 0;
  socklen_t length = sizeof(error);
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) return -errno;
  if (error != 0) return -error;
  sockaddr_storage peer{};
  length = sizeof(peer);
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) == 0) return 0;
  return errno == ENOTCONN ? -EINPROGRESS : -errno;
}

void SetLinkOptions(int fd, int64_t dead_after_ms) {
  dead_after_ms = std::clamp<int64_t>(dead_after_ms, 1000, 600'000);
  int idle = static_cast<int>(std::max<int64_t>(1, dead_after_ms / 2000));
  SetOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  SetOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, idle);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, std::max(1, idle / 3));
  SetOption(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
  SetOption(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(dead_after_ms));
}

}  // namespace skein::bus
