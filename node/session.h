// A client session: one connection, on one loop. This is the part that connection commands (CLIENT, HELLO, AUTH,
// SELECT, RESET, …) work with; the I/O half is in node/session_io.h and private to the loop.
#ifndef SKEIN_NODE_SESSION_H_
#define SKEIN_NODE_SESSION_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "node/call.h"

namespace skein::node {

enum class ClientReplyMode : uint8_t { kOn, kOff, kSkipNext, kSkipThis };

// What CLIENT LIST and CLIENT KILL look at, on the session's loop.
struct ClientState {
  uint64_t id = 0;
  std::string addr, laddr;  // "ip:port", IPv6 in brackets
  int fd = -1;
  std::string name, lib_name, lib_ver;
  std::string user = "default";
  int64_t created_ms = 0, last_active_ms = 0;  // CLOCK_MONOTONIC
  uint32_t db = 0;
  uint8_t resp = 2;
  bool authenticated = false;
  bool readonly = false, asking = false, no_evict = false, no_touch = false;
  bool tls = false;
  uint32_t channels = 0, patterns = 0, shard_channels = 0;  // subscribed to
  bool subscribed() const { return channels + patterns + shard_channels != 0; }
  bool blocked = false;  // waits in WAIT or WAITAOF
  bool close_after_reply = false, close_now = false;
  ClientReplyMode reply_mode = ClientReplyMode::kOn;
  std::string last_command;  // "client|list"
  uint64_t total_commands = 0, net_in = 0, net_out = 0;
};

class Session {
 public:
  virtual ~Session() = default;
  virtual ClientState& state() = 0;
  // CLIENT LIST figures that live in the I/O half.
  virtual size_t query_buffer_used() const = 0;
  virtual size_t query_buffer_free() const = 0;
  virtual size_t output_bytes() const = 0;  // not yet sent, "oll"/"omem"
  virtual size_t memory_usage() const = 0;
  // Closes once what is queued has been sent (QUIT, CLIENT KILL of oneself), or at once.
  virtual void Close(bool after_replies) = 0;
};

}  // namespace skein::node

#endif  // SKEIN_NODE_SESSION_H_
