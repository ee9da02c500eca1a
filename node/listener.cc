#include "node/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <glog/logging.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <string_view>
#include <utility>

#include "node/loop_impl.h"
#include "node/node_impl.h"
#include "node/util/address.h"

namespace skein::node {
namespace {

constexpr int kAcceptsPerEvent = 128;
constexpr uint64_t kOutOfDescriptorsPauseMs = 100;

// The words that redis-server 7 sends.
constexpr std::string_view kProtectedMode =
    "-DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the "
    "default user. In this mode connections are only accepted from the loopback interface. If you want to connect from "
    "external computers to Redis you may adopt one of the following solutions: 1) Just disable protected mode sending "
    "the command 'CONFIG SET protected-mode no' from the loopback interface by connecting to Redis from the same host "
    "the server is running, however MAKE SURE Redis is not publicly accessible from internet if you do so. Use CONFIG "
    "REWRITE to make this change permanent. 2) Alternatively you can just disable the protected mode by editing the "
    "Redis configuration file, and setting the protected mode option to 'no', and then restarting the server. 3) If "
    "you started the server manually just for testing, restart it with the '--protected-mode no' option. 4) Setup a an "
    "authentication password for the default user. NOTE: You only need to do one of the above things in order for the "
    "server to start accepting connections from the outside.\r\n";
constexpr std::string_view kFull = "-ERR max number of clients reached\r\n";

bool IsLoopback(const sockaddr_storage& a) {
  if (a.ss_family == AF_INET) {
    return (ntohl(reinterpret_cast<const sockaddr_in&>(a).sin_addr.s_addr) >> 24) == 127;
  }
  const in6_addr& in = reinterpret_cast<const sockaddr_in6&>(a).sin6_addr;
  if (IN6_IS_ADDR_V4MAPPED(&in)) return in.s6_addr[12] == 127;
  return IN6_IS_ADDR_LOOPBACK(&in);
}

void SetKeepAlive(int fd, int seconds) {
  if (seconds <= 0) return;
  const int on = 1, idle = seconds, interval = std::max(1, seconds / 3), count = 3;
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

// A last word to a client that is not let in; whether it arrives is not our concern.
void Refuse(int fd, std::string_view text) {
  [[maybe_unused]] const ssize_t n = text.empty() ? 0 : send(fd, text.data(), text.size(), MSG_NOSIGNAL);
  close(fd);
}

absl::Status BindError(const std::string& address, uint16_t port, int error) {
  return absl::FailedPreconditionError("cannot listen on " + address + " port " + std::to_string(port) + ": " +
                                       std::strerror(error));
}

}  // namespace

ListenSocket::~ListenSocket() {
  if (fd_ >= 0) close(fd_);
}

uint16_t ListenSocket::port() const {
  sockaddr_storage a;
  socklen_t size = sizeof(a);
  if (getsockname(fd_, reinterpret_cast<sockaddr*>(&a), &size) != 0) return 0;
  return ntohs(a.ss_family == AF_INET ? reinterpret_cast<sockaddr_in&>(a).sin_port
                                      : reinterpret_cast<sockaddr_in6&>(a).sin6_port);
}

absl::StatusOr<std::vector<ListenSocket>> BindAll(const std::vector<std::string>& bind_to, uint16_t port, int backlog,
                                                  bool tls) {
  std::vector<ListenSocket> sockets;
  for (const std::string& entry : bind_to) {
    const bool optional = !entry.empty() && entry[0] == '-';
    std::string address = optional ? entry.substr(1) : entry;
    const std::string shown = address;
    if (address == "*") address = "0.0.0.0";
    if (address == "::*") address = "::";
    addrinfo hints{}, *found = nullptr;
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE;
    const int rc = getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found);
    if (rc != 0) {
      if (optional) continue;
      return absl::FailedPreconditionError("cannot listen on " + shown + ": " + gai_strerror(rc));
    }
    const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int error = fd < 0 ? errno : 0;
    if (fd >= 0) {
      const int on = 1;
      setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
      if (found->ai_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
      if (bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, backlog) != 0) {
        error = errno;
        close(fd);
      }
    }
    freeaddrinfo(found);
    if (error != 0) {
      // Optional covers addresses that this machine does not have, not ports that somebody else has.
      if (optional && (error == EADDRNOTAVAIL || error == EAFNOSUPPORT || error == EPROTONOSUPPORT)) continue;
      return BindError(shown, port, error);
    }
    sockets.emplace_back(fd, tls);
  }
  if (sockets.empty()) return absl::FailedPreconditionError("there is no address to listen on (bind)");
  return sockets;
}

Listener::Listener(NodeImpl* node, std::vector<ListenSocket> sockets) : node_(node) {
  for (ListenSocket& s : sockets) watches_.push_back(std::make_unique<Watch>(std::move(s)));
}

Listener::~Listener() = default;

void Listener::Start(LoopImpl* loop) {
  loop_ = loop;
  for (auto& w : watches_) {
    w->listener = this;
    uv_poll_init(loop->uv(), &w->poll, w->socket.fd());
    w->poll.data = w.get();
  }
  again_ = new uv_timer_t;
  uv_timer_init(loop->uv(), again_);
  again_->data = this;
  Arm();
}

void Listener::Arm() {
  for (auto& w : watches_) {
    uv_poll_start(&w->poll, UV_READABLE, [](uv_poll_t* handle, int, int) {
      Watch& watch = *static_cast<Watch*>(handle->data);
      watch.listener->OnReadable(watch);
    });
  }
}

void Listener::Stop() {
  for (auto& w : watches_) {
    uv_close(reinterpret_cast<uv_handle_t*>(&w->poll), [](uv_handle_t* h) { delete static_cast<Watch*>(h->data); });
    w.release();
  }
  watches_.clear();
  if (again_ != nullptr) {
    uv_close(reinterpret_cast<uv_handle_t*>(again_), [](uv_handle_t* h) { delete reinterpret_cast<uv_timer_t*>(h); });
    again_ = nullptr;
  }
}

void Listener::OnReadable(Watch& watch) {
  for (int i = 0; i < kAcceptsPerEvent; ++i) {
    const int fd = accept4(watch.socket.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      Admit(fd, watch.socket.tls());
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      PLOG_EVERY_N(WARNING, 100) << "accepting a client connection";
      for (auto& w : watches_) uv_poll_stop(&w->poll);
      uv_timer_start(
          again_, [](uv_timer_t* t) { static_cast<Listener*>(t->data)->Arm(); }, kOutOfDescriptorsPauseMs, 0);
    }
    return;
  }
}

void Listener::Admit(int fd, bool tls) {
  LoopStats& stats = loop_->stats();
  const Config& config = loop_->config();
  Admission admission = node_->desk().Admit();
  if (!admission) {
    ++stats.rejected;
    // One that speaks TLS could not read it: it sees the end, as in Redis.
    Refuse(fd, tls ? std::string_view() : kFull);
    return;
  }
  sockaddr_storage peer{}, own{};
  socklen_t peer_size = sizeof(peer), own_size = sizeof(own);
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &peer_size) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&own), &own_size) != 0) {
    close(fd);  // gone before it was let in
    return;
  }
  std::string_view denial;
  if (config.protected_mode && config.requirepass.empty() && !IsLoopback(peer)) {
    ++stats.rejected;
    if (!tls) return Refuse(fd, kProtectedMode);
    denial = kProtectedMode;
  }
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  SetKeepAlive(fd, static_cast<int>(config.tcp_keepalive));
  ++stats.connections;

  // The loop with the fewest sessions; among equals the next in turn.
  const uint32_t loops = node_->loop_count();
  uint32_t best = next_loop_ % loops;
  for (uint32_t i = 1; i < loops; ++i) {
    const uint32_t candidate = (next_loop_ + i) % loops;
    if (node_->loop(candidate).session_count() < node_->loop(best).session_count()) best = candidate;
  }
  next_loop_ = best + 1;
  LoopImpl& target = node_->loop(best);
  target.Expect();
  bus::TlsContextPtr context = tls ? node_->tls_context() : nullptr;
  if (&target == loop_) {
    target.Adopt(fd, std::move(admission), AddressText(peer), AddressText(own), std::move(context), denial);
  } else {
    target.mailbox().Post(std::make_unique<NewClient>(fd, std::move(admission), AddressText(peer), AddressText(own),
                                                      std::move(context), denial));
  }
}

}  // namespace skein::node
