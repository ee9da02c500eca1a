// The part of a link that is lent: its descriptor, the bytes received and not yet framed, the messages to send. It is
// owned by exactly one side at a time, the bus thread or the worker whose job borrows the link (L22), and does
// non-blocking work only: read, frame, check, decode; encode, write. The inline path and the workers run this code
// alike.
#ifndef SKEIN_BUS_LINK_LINK_IO_H_
#define SKEIN_BUS_LINK_LINK_IO_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bus/link/close_reason.h"
#include "bus/link/frame.h"
#include "bus/link/message_kind.h"
#include "bus/link/socket.h"

namespace skein::bus {

// What one job may do before it gives way to other links (L30).
struct JobBudget {
  uint32_t messages = 64;
  uint32_t bytes = 256 << 10;
};

// A message or a ready-made frame in the send queue. `bytes` is its size on the wire, header included.
struct Outgoing {
  MessagePtr message;
  std::string frame;  // if there is no message
  uint32_t bytes = 0;
};

// A frame of the handshake: whole and checked, not decoded.
struct HandshakeFrame {
  FrameType type;
  std::string payload;
};

struct ReadResult {
  std::vector<MessagePtr> messages;  // whole and checked, in order
  std::vector<uint8_t> kinds;        // of those
  std::optional<HandshakeFrame> handshake;
  uint64_t bytes = 0;                      // taken from the transport
  uint64_t unknown = 0;                    // whole messages of kinds this build does not know, skipped
  uint64_t message_bytes = 0;              // of `messages`, for the link's limit
  bool more = false;                       // stopped by the budget: run again
  bool wants_write = false;                // nothing more to read before the descriptor is writable (TLS)
  CloseReason close = CloseReason::kNone;  // after the messages were delivered
  int error = 0;                           // errno of kIoError
  void Clear();
};

struct WriteResult {
  std::vector<uint8_t> kinds;  // of the messages whose last byte was written, in order
  uint64_t bytes = 0;          // given to the transport
  uint64_t done_bytes = 0;     // of whole frames: what no longer counts toward the link's limit
  bool blocked = false;        // the transport takes no more now
  bool wants_read = false;     // and will not before the descriptor is readable (TLS)
  bool more = false;           // stopped by the budget: run again
  CloseReason close = CloseReason::kNone;
  int error = 0;
  void Clear();
};

class LinkIo {
 public:
  explicit LinkIo(std::unique_ptr<Transport> transport) : transport_(std::move(transport)) {}

  // Adds to what write jobs send: the snapshot a job takes along at its dispatch (L27). Not while lent.
  void Take(std::deque<Outgoing>* queue);
  bool has_output() const { return !sending_.empty() || written_ < output_.size(); }

  // Messages bear tags from now on, in both directions. Not while lent.
  void SetTags(const SecretKey& sending, const SecretKey& receiving);

  // One step of the transport's own handshake: 0, -EAGAIN (`wants_write` says what it waits for), or a negative errno.
  int Handshake(bool* wants_write);
  // One read job. An unproven link takes one frame of the handshake and then stops; a proven one takes messages.
  // `limit`: the most bytes the receive buffer may hold.
  void Read(bool proven, const JobBudget& budget, size_t limit, ReadResult* result);
  // One write job.
  void Write(const JobBudget& budget, WriteResult* result);
  Transport* transport() { return transport_.get(); }  // not while lent

  // Bytes of the receive buffer. Any thread.
  size_t input_memory() const { return memory_.load(std::memory_order_relaxed); }
  // Bytes moved to the front of the receive buffer so far: once a job, not once a message (L31).
  uint64_t moved_bytes() const { return moved_bytes_; }

 private:
  struct Encoded {
    size_t end;  // in output_
    uint8_t kind;
    bool is_message;
    uint32_t bytes;
  };

  // Takes whole frames out of the buffer. True if the budget or an error ended it.
  bool Parse(bool proven, const JobBudget& budget, ReadResult* result);
  bool TakeFrame(bool proven, const FrameHeader& header, ReadResult* result);
  bool Encode(uint32_t target, uint32_t* messages_left, WriteResult* result);
  // Makes room to read into; false if the limit is reached.
  bool MakeRoom(size_t limit);
  void Compact();
  void PublishMemory();

  std::unique_ptr<Transport> transport_;
  std::unique_ptr<FrameTags> sending_tags_, receiving_tags_;
  // Received: bytes [begin_, end_) of the buffer are not yet framed.
  std::unique_ptr<uint8_t[]> input_;
  size_t capacity_ = 0, begin_ = 0, end_ = 0;
  bool last_read_full_ = false;
  uint64_t moved_bytes_ = 0;
  // To send: messages, then their encoding, of which [written_, size) is not yet written.
  std::deque<Outgoing> sending_;
  std::string output_;
  size_t written_ = 0;
  std::deque<Encoded> encoded_;
  std::atomic<size_t> memory_{0};
};

}  // namespace skein::bus

#endif  // SKEIN_BUS_LINK_LINK_IO_H_
