// Accepts client connections and spreads them over the loops. Lives on loop 0.
#ifndef SKEIN_NODE_LISTENER_H_
#define SKEIN_NODE_LISTENER_H_

#include <uv.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace skein::node {

class LoopImpl;
class NodeImpl;

// A bound and listening socket. Closes it.
class ListenSocket {
 public:
  ListenSocket(int fd, bool tls) : fd_(fd), tls_(tls) {}
  ListenSocket(ListenSocket&& o) noexcept : fd_(o.fd_), tls_(o.tls_) { o.fd_ = -1; }
  ListenSocket& operator=(ListenSocket&&) = delete;
  ~ListenSocket();
  int fd() const { return fd_; }
  bool tls() const { return tls_; }  // its clients speak TLS
  uint16_t port() const;

 private:
  int fd_;
  bool tls_;
};

// Binds every address of `bind` ("*", "::*", an address; a leading '-' makes it optional) on `port`. An address that
// cannot be had is named in the error, as is one that is in use.
absl::StatusOr<std::vector<ListenSocket>> BindAll(const std::vector<std::string>& bind, uint16_t port, int backlog,
                                                  bool tls);

class Listener {
 public:
  Listener(NodeImpl* node, std::vector<ListenSocket> sockets);
  ~Listener();
  // On the loop's thread (or before it runs).
  void Start(LoopImpl* loop);
  // Stops accepting; the descriptors close at once, the handles when the loop next runs.
  void Stop();

 private:
  struct Watch {
    explicit Watch(ListenSocket s) : socket(std::move(s)) {}
    ListenSocket socket;
    Listener* listener = nullptr;
    uv_poll_t poll;
  };
  void OnReadable(Watch& watch);
  void Admit(int fd, bool tls);
  void Arm();

  NodeImpl* const node_;
  LoopImpl* loop_ = nullptr;
  std::vector<std::unique_ptr<Watch>> watches_;
  uv_timer_t* again_ = nullptr;  // after running out of descriptors
  uint32_t next_loop_ = 0;
};

}  // namespace skein::node

#endif  // SKEIN_NODE_LISTENER_H_
