#include <uv.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "bus/link/links.h"
#include "bus/link/links_internal.h"
#include "bus/link/tls_transport.h"
#include "glog/logging.h"

namespace skein::bus {

namespace {

constexpr int kAcceptsPerEvent = 64;

}  // namespace

// ---- Accepting

void Links::AddListener(Fd fd) {
  auto listener = std::make_unique<Listener>();
  listener->fd = std::move(fd);
  listener->poll = new uv_poll_t{};
  CHECK_EQ(uv_poll_init(loop_, listener->poll, listener->fd.get()), 0);
  listener->poll->data = this;
  uv_poll_start(listener->poll, UV_READABLE, &Links::OnAcceptable);
  listeners_.push_back(std::move(listener));
}

void Links::OnAcceptable(uv_poll_t* poll, int /*status*/, int /*events*/) {
  auto* links = static_cast<Links*>(poll->data);
  for (auto& listener : links->listeners_) {
    if (listener->poll == poll) return links->AcceptSome(listener.get());
  }
}

void Links::AcceptSome(Listener* listener) {
  for (int i = 0; i < kAcceptsPerEvent; ++i) {
    SocketAddress remote;
    int error = 0;
    Fd fd = Accept(listener->fd.get(), &remote, &error);
    if (error == -EMFILE || error == -ENFILE || error == -ENOBUFS || error == -ENOMEM) {
      // The connection stays in the queue and would wake the loop without end: listen again with the next tick.
      LOG_IF(WARNING, MayLog()) << "cluster bus: cannot accept: " << strerror(-error);
      for (auto& other : listeners_) uv_poll_stop(other->poll);
      accept_paused_ = true;
      return;
    }
    if (error == -EAGAIN || error == -EWOULDBLOCK) return;
    if (error != 0) continue;  // the client went away before it was accepted
    // With TLS, accepting is the handshake, and counted as that.
    if (options_.tls == nullptr) ++counters_.accepts_inline;
    Admit(std::move(fd), std::move(remote));
  }
}

void Links::Admit(Fd fd, SocketAddress remote) {
  if (stopping_) return;
  if (options_.loopback_only && !IsLoopback(remote.ip)) return Refuse(CloseReason::kNotLoopback, remote);
  if (inbound_.value() >= options_.max_inbound) return Refuse(CloseReason::kInboundCeiling, remote);
  if (unproven_.value() >= options_.max_unproven) return Refuse(CloseReason::kUnprovenCeiling, remote);
  if (unproven_by_address_.value(remote.ip) >= options_.max_unproven_per_address) {
    return Refuse(CloseReason::kAddressLimit, remote);
  }
  auto link = std::make_unique<Link>();
  link->id = next_inbound_;
  next_inbound_ += 2;
  link->state = options_.tls != nullptr ? Link::State::kTls : Link::State::kHello;
  link->direction_count = inbound_.Take();
  link->unproven_count = unproven_.Take();
  link->address_count = unproven_by_address_.Take(remote.ip);
  link->remote = std::move(remote);
  link->fd = std::move(fd);
  link->deadline_ms = MonotonicMs() + options_.hello_timeout_ms;
  Adopt(std::move(link));
}

void Links::Refuse(CloseReason reason, const SocketAddress& remote) {
  ++counters_.closed[static_cast<size_t>(reason)];
  if (!MayLog()) return;
  std::string text = absl::StrCat(
      "refused a connection from ", remote.ip, ": ", CloseReasonName(reason),
      reason == CloseReason::kNotLoopback ? " (protected-mode is on and the bus has neither TLS nor a secret)" : "");
  LOG(WARNING) << "cluster bus: " << text;
  handler_->OnRemarkableClose(std::move(text));
}

void Links::Adopt(std::unique_ptr<Link> owned) {
  Link* link = owned.get();
  link->create_unix_ms = UnixMs();
  SetLinkOptions(link->fd.get(), options_.dead_after_ms);
  link->tls = options_.tls;
  std::unique_ptr<Transport> transport;
  if (link->tls != nullptr) {
    transport = std::make_unique<TlsTransport>(link->tls, link->fd.get(), link->outbound);
  } else {
    transport = std::make_unique<SocketTransport>(link->fd.get());
  }
  link->io = std::make_unique<LinkIo>(std::move(transport));
  deadlines_.emplace(link->deadline_ms, link->id);
  links_.emplace(link->id, std::move(owned));
  link->watch = new LinkWatch;
  link->watch->links = this;
  link->watch->link = link;
  link->watch->poll.data = link->watch;
  CHECK_EQ(uv_poll_init(loop_, &link->watch->poll, link->fd.get()), 0);
  Watch(link);
}

// ---- Dialling

void Links::Dial(LinkId id, const std::string& ip, uint16_t port) {
  LinkId& last = last_dialled_[static_cast<size_t>(ClassOf(id))];
  CHECK(id % 2 == 1 && id > last) << "ids of links are odd and grow";
  last = id;
  CloseReason refused = CloseReason::kNone;
  int error = 0;
  Fd fd;
  if (stopping_) {
    refused = CloseReason::kStopping;
  } else if (!IsNumericAddress(ip) || port == 0) {
    refused = CloseReason::kBadAddress;
  } else if (options_.loopback_only && !IsLoopback(ip)) {
    refused = CloseReason::kNotLoopback;
    LOG_IF(WARNING, MayLog()) << "cluster bus: does not dial " << ip << ":" << port
                              << ": protected-mode is on and the bus has neither TLS nor a secret, so it stays on "
                                 "loopback; set protected-mode no only on a network you trust";
  } else if (outbound_.value() >= options_.max_outbound) {
    refused = CloseReason::kOutboundCeiling;
  } else {
    fd = Connect(ip, port, &error, SourceFor(options_.bind, ip));
    if (!fd) refused = CloseReason::kConnectFailed;
  }
  if (refused != CloseReason::kNone) {
    ++counters_.closed[static_cast<size_t>(refused)];
    if (ClassOf(id) == LinkClass::kPublish) return handler_->OnPublishLinkDown(id, 0);
    return handler_->OnLinkDown(id, CloseReasonName(refused));
  }
  DialOver(id, std::move(fd), {ip, port});
}

void Links::DialOver(LinkId id, Fd fd, SocketAddress remote) {
  auto link = std::make_unique<Link>();
  link->id = id;
  link->outbound = true;
  link->link_class = ClassOf(id);
  link->direction_count = outbound_.Take();
  link->remote = std::move(remote);
  link->fd = std::move(fd);
  link->deadline_ms = MonotonicMs() + options_.connect_timeout_ms;
  Adopt(std::move(link));
}

void Links::FinishConnect(Link* link) {
  int result = ConnectResult(link->fd.get());
  if (result == -EINPROGRESS) return;
  if (result != 0) return End(link, CloseReason::kConnectFailed, -result);
  link->state = link->tls != nullptr ? Link::State::kTls : Link::State::kHello;
  Watch(link);
  if (link->tls != nullptr) {
    Start(link, LinkJob::Kind::kHandshake);
  } else {
    QueueHello(link);
  }
}

}  // namespace skein::bus
