// The I/O half of a client session: descriptor, buffers, the order of replies, and what they wait for.
// One loop's thread; private to the loop.
#ifndef SKEIN_NODE_SESSION_IO_H_
#define SKEIN_NODE_SESSION_IO_H_

#include <uv.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bus/tls/tls.h"
#include "node/admission.h"
#include "node/buffer.h"
#include "node/loop.h"
#include "node/pubsub/registry.h"
#include "node/resp.h"
#include "node/session.h"
#include "storage/types.h"

namespace skein::node {

class LoopImpl;

// One read: what a wake-up takes from the kernel at most, unless a large argument is on its way.
inline constexpr size_t kReadSize = 64 * 1024;
// A remainder up to this size is put in front of the next read's bytes; a larger one grows where it is.
inline constexpr size_t kSmallRemainder = 16 * 1024;

// A queue that gives its memory back only when asked: a vector with a moving head.
template <typename T>
class Fifo {
 public:
  bool empty() const { return head_ == items_.size(); }
  size_t size() const { return items_.size() - head_; }
  T& front() { return items_[head_]; }
  T& back() { return items_.back(); }
  T& operator[](size_t i) { return items_[head_ + i]; }
  template <typename... A>
  T& Push(A&&... a) {
    return items_.emplace_back(std::forward<A>(a)...);
  }
  void Pop() {
    if (++head_ == items_.size()) {
      items_.clear();
      head_ = 0;
    } else if (head_ >= 64 && head_ * 2 >= items_.size()) {
      items_.erase(items_.begin(), items_.begin() + head_);
      head_ = 0;
    }
  }
  void PopBack() {
    items_.pop_back();
    if (empty()) Clear();
  }
  void Clear() {
    items_.clear();
    head_ = 0;
  }
  void Release() {
    if (empty()) {
      Clear();
      items_.shrink_to_fit();
    }
  }
  size_t memory() const { return items_.capacity() * sizeof(T); }

 private:
  std::vector<T> items_;
  size_t head_ = 0;
};

// Replies that may not leave before their shard's commit point has passed `lsn`: bytes [begin, end) of the session's
// output stream.
struct Barrier {
  uint64_t begin, end;
  storage::Lsn lsn;
  uint32_t shard;
  uint32_t replies;
};

// A reply that is owed by another loop, or replies made here that stand behind one.
struct Segment {
  bool ready = false;
  bool discard = false;  // CLIENT REPLY OFF or SKIP
  uint32_t shard = 0;
  storage::Lsn lsn = 0;
  Buffer bytes;
};

// A WAIT or WAITAOF that has not been answered.
struct PendingWait {
  WaitFor what;
  uint64_t ticket = 0;
  int64_t deadline_ms = 0;  // CLOCK_MONOTONIC; 0: none
};

// What a session has that speaks TLS.
struct SecureChannel {
  std::unique_ptr<bus::TlsStream> stream;
  bool shaking = true;       // the handshake has not ended
  bool queued = false;       // in the loop's queue of handshakes
  bool wants_write = false;  // the handshake
  bool ready = false;        // in the loop's list of sessions with decrypted input
  std::string_view denial;   // what it is told after the handshake, before it is closed; empty: it is welcome
};

class FlowChallenge;  // node/replication/flow_proof.h

// Why a session does not go on with its commands.
enum class Park : uint8_t {
  kNo,
  kOrder,     // the next command depends on earlier ones that are on another loop
  kDeferred,  // a deferred reply is owed
  kCredit,    // too many hand-overs are outstanding
  kRoom,      // the log's buffer is full
  kPause,     // CLIENT PAUSE
  kOutput,    // the client does not read its replies
};

class ClientSession final : public Session {
 public:
  ClientSession(LoopImpl* loop, int fd, Admission admission);
  ~ClientSession() override;

  // Session
  ClientState& state() override;
  size_t query_buffer_used() const override { return query.size(); }
  size_t query_buffer_free() const override { return query.capacity() - query.size(); }
  size_t output_bytes() const override { return out.size() - sent + held_bytes; }
  size_t memory_usage() const override;
  void Close(bool after_replies) override;

  // ---- Output
  // Where the next reply made on this loop goes: the output, or a segment behind replies that are owed.
  Buffer* ReplyBuffer(bool own_segment);
  uint64_t NextSequence() const { return first_sequence + segments.size(); }
  // Moves replies that are no longer behind an owed one to the output.
  void Advance();
  // The last bytes of the output, from `begin` (an index into `out`) on, wait for (shard, lsn).
  void AddBarrier(size_t begin, uint32_t shard, storage::Lsn lsn);
  // Bytes of `out` that may leave.
  size_t Sendable() const { return barriers_empty() ? out.size() : const_cast<ClientSession*>(this)->FrontBegin(); }
  bool barriers_empty() const { return barriers.empty(); }
  // It has appended a record that ends at `end`.
  void NoteWrite(uint32_t shard, storage::Lsn end);
  // Sends what may leave. False: the connection is broken.
  bool Send();
  // read(2) and send(2) through TLS, with errno as they set it.
  ssize_t ReadSecure(void* to, size_t length);
  ssize_t SendSecure(const void* from, size_t length);
  // Nothing is owed and nothing is left to send.
  bool Quiet() const { return out.size() == sent && segments.empty() && park != Park::kDeferred; }
  void UpdatePoll();
  // What a TLS session's descriptor is watched for, if a plain one's would be for `events`. Input that has been read
  // ahead is remembered with the loop.
  uint8_t SecureEvents(uint8_t events);

  LoopImpl* const loop;
  int fd;
  std::unique_ptr<SecureChannel> tls;  // null: it does not speak TLS
  uint32_t position = 0;               // in the loop's list of sessions
  Admission admission;
  ClientState st;
  const CommandSpec* last_spec = nullptr;
  uv_poll_t poll;

  // input
  Buffer query;  // what could not be executed yet; a command starts at its first byte
  std::unique_ptr<PartialCommand> partial;
  bool end_of_input = false;

  // output
  Buffer out;
  size_t sent = 0;            // of `out`
  uint64_t out_base = 0;      // position of out's first byte in the session's output stream
  size_t held_bytes = 0;      // in segments
  size_t counted_output = 0;  // what the loop's sum holds of this session
  Fifo<Segment> segments;
  uint64_t first_sequence = 0;  // of the front segment
  // Size of the large ones among the latest replies from other loops: so many may be outstanding as fit into a limit.
  size_t reply_hint = 128u << 10;
  Fifo<Barrier> barriers;
  bool gate_registered = false;
  // By shard, the end of the last record that it wrote; empty until it has written one.
  std::vector<storage::Lsn> wrote;
  std::unique_ptr<PendingWait> wait;         // null: it does not wait
  bool wait_registered = false;              // in the queue of a shard, for this wait or one before
  std::shared_ptr<FlowChallenge> challenge;  // of a LOGSYNC that is to be proven next; else null
  std::unique_ptr<Subscriber> subscriber;    // null: it has never subscribed
  Buffer pushes;                             // what goes out behind the reply of the command that runs
  int64_t over_soft_limit_since = 0;         // CLOCK_MONOTONIC ms; 0: below

  Park park = Park::kNo;
  uint64_t deferred_ticket = 0;
  uint8_t armed = 0;  // UV_READABLE | UV_WRITABLE
  bool want_write = false;
  bool stop_reading = false;
  bool closing = false;
  bool touched = false;  // in a list of sessions to be flushed

 private:
  size_t FrontBegin() { return static_cast<size_t>(barriers.front().begin - out_base); }
};

}  // namespace skein::node

#endif  // SKEIN_NODE_SESSION_IO_H_
