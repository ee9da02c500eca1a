// The connection of a flow: a descriptor, perhaps with TLS on it, and where a loop watches it. Used by one thread at a
// time: the loop does not touch it while it is lent.
#ifndef SKEIN_NODE_REPLICATION_FLOW_CHANNEL_H_
#define SKEIN_NODE_REPLICATION_FLOW_CHANNEL_H_

#include <sys/types.h>
#include <sys/uio.h>
#include <uv.h>

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "bus/tls/tls.h"

namespace skein::node {

class FlowChannel {
 public:
  // Owns the descriptor, which does not block. `tls`: null if it speaks none.
  FlowChannel(int fd, std::unique_ptr<bus::TlsStream> tls) : fd_(fd), tls_(std::move(tls)) {}
  ~FlowChannel();
  FlowChannel(const FlowChannel&) = delete;
  FlowChannel& operator=(const FlowChannel&) = delete;

  int fd() const { return fd_; }
  // "ip:port" of the other end, or of this one; empty if it is gone.
  std::string Address(bool peer) const;
  bus::TlsStream* tls() const { return tls_.get(); }
  void set_tls(std::unique_ptr<bus::TlsStream> tls) { tls_ = std::move(tls); }
  // Bytes moved, 0 at the end of the stream (Read), or a negative errno; -EAGAIN: nothing now.
  ssize_t Read(void* to, size_t length);
  ssize_t Write(const iovec* pieces, size_t count);
  // Input that the descriptor does not tell of.
  bool has_pending() const { return tls_ != nullptr && tls_->pending() != 0; }
  // All of it, waiting; Unavailable after `timeout_ms` without any progress, Cancelled once `cancel` is set. A thread
  // that may wait.
  absl::Status WriteAll(std::string_view bytes, int64_t timeout_ms, const std::atomic<bool>& cancel);
  // Ends both directions; whoever waits for the descriptor wakes. Any thread.
  void Cut();

 private:
  const int fd_;
  std::unique_ptr<bus::TlsStream> tls_;
};

// Watches a descriptor on a loop. The loop's thread. Gone: no further call, before the descriptor is closed.
class FlowWatch {
 public:
  FlowWatch() = default;
  ~FlowWatch() { Close(); }
  FlowWatch(const FlowWatch&) = delete;
  FlowWatch& operator=(const FlowWatch&) = delete;
  // False: the descriptor cannot be watched.
  bool Open(uv_loop_t* loop, int fd, std::function<void(int events)> on_ready);
  // UV_READABLE, UV_WRITABLE; 0: not at all.
  void Arm(int events);
  void Close();
  bool open() const { return handle_ != nullptr; }

 private:
  struct Handle {
    uv_poll_t poll;
    std::function<void(int)> on_ready;
  };
  Handle* handle_ = nullptr;
  int armed_ = 0;
};

}  // namespace skein::node

#endif  // SKEIN_NODE_REPLICATION_FLOW_CHANNEL_H_
