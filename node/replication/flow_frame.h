// The frames of a flow, after its handshake: pure functions over bytes. node/replication/PROTOCOL.md has the words.
#ifndef SKEIN_NODE_REPLICATION_FLOW_FRAME_H_
#define SKEIN_NODE_REPLICATION_FLOW_FRAME_H_

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "storage/record.h"
#include "storage/types.h"

namespace skein::node {

enum class FrameType : uint8_t {
  // From the primary
  kRecords = 1,      // lsn, then bytes of the log from there on; may end inside a record
  kSnapshot = 2,     // the next bytes of the RDB stream
  kSnapshotEnd = 3,  // the stream has ended; where it ends, the records that follow begin
  kPing = 4,         // the end of the primary's log, its clock
  kAsk = 5,          // acknowledge as soon as these are reached: received, durable (0: not asked)
  // From the replica
  kAck = 16,  // received, durable
  // From both
  kEnd = 32,  // why the flow ends: a text for people
};

inline constexpr size_t kFrameHeaderSize = 16;
// No payload is longer.
inline constexpr size_t kMaxFramePayload = 4u << 20;
inline constexpr size_t kMaxEndText = 512;

struct FrameHeader {
  FrameType type = FrameType::kEnd;
  uint32_t size = 0;  // of the payload
  uint32_t crc = 0;   // CRC-32C of the payload
};
void EncodeFrameHeader(const FrameHeader& header, char* out);

struct Frame {
  FrameType type;
  std::string_view payload;
};
enum class FrameResult : uint8_t { kFrame, kIncomplete, kBad };
// The frame at the start of `in`. kFrame: `*used` bytes make it; the payload is a view. kIncomplete: `*used` is how
// many bytes it takes at least. kBad: `*why` says what is wrong; nothing after it can be trusted.
FrameResult DecodeFrame(std::string_view in, Frame* frame, size_t* used, std::string* why);

// A whole frame.
std::string EncodeFrame(FrameType type, std::string_view payload);

// The header of a kRecords frame with the LSN that its payload begins with: what stands before the log's bytes, which
// are given in pieces.
inline constexpr size_t kRecordsHeadSize = kFrameHeaderSize + 8;
void EncodeRecordsHead(storage::Lsn lsn, const iovec* pieces, size_t count, char* out);

struct PingPayload {
  storage::Lsn end = 0;
  storage::UnixMillis now = 0;
};
struct AckPayload {  // kAck and kAsk
  storage::Lsn received = 0, durable = 0;
  bool operator==(const AckPayload&) const = default;
};
std::string EncodePing(const PingPayload& ping);
std::string EncodeAck(FrameType type, const AckPayload& ack);
std::string EncodeSnapshotEnd(storage::Lsn lsn);
std::string EncodeEnd(std::string_view why);
// False: not that.
bool DecodeRecords(std::string_view payload, storage::Lsn* lsn, std::string_view* bytes);
bool DecodePing(std::string_view payload, PingPayload* ping);
bool DecodeAck(std::string_view payload, AckPayload* ack);
bool DecodeSnapshotEnd(std::string_view payload, storage::Lsn* lsn);

// How many bytes at the start of `bytes` are whole records, by the lengths in their headers (not checked: the log does
// that). `*needed`: how many there must be before the next one is whole. False: a record longer than `limit`.
bool WholeRecords(std::string_view bytes, uint64_t limit, size_t* whole, uint64_t* needed);

}  // namespace skein::node

#endif  // SKEIN_NODE_REPLICATION_FLOW_FRAME_H_
