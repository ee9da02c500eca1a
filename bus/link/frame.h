// Frames of the cluster bus: what stands on the wire between two nodes. See bus/link/PROTOCOL.md.
//
// A frame is a header of 16 bytes and a payload. The layout of the header and of the Hello payload never changes; what
// the payloads of other frames mean is what the version negotiated by the two Hellos says. Pure: no socket, no thread.
#ifndef SKEIN_BUS_LINK_FRAME_H_
#define SKEIN_BUS_LINK_FRAME_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace skein::bus {

inline constexpr size_t kFrameHeaderBytes = 16;
inline constexpr uint32_t kMaxHelloBytes = 512;
inline constexpr uint32_t kMaxMessageBytes = 1u << 20;
// The versions of the protocol this build speaks, oldest and newest.
inline constexpr uint16_t kMinVersion = 1;
inline constexpr uint16_t kMaxVersion = 1;

enum class FrameType : uint8_t { kHello = 1, kMessage = 2 };

// What is wrong with a frame, in the order in which it is looked for.
enum class FrameError : uint8_t { kNone, kMagic, kLayout, kType, kFlags, kTooLong, kChecksum };

struct FrameHeader {
  FrameType type = FrameType::kHello;
  uint8_t kind = 0;     // of a message: the field number of its body in BusMessage; 0 for a Hello
  uint32_t length = 0;  // of the payload, bytes
  uint32_t checksum = 0;
};

// The most payload bytes a frame of this type and kind may carry.
uint32_t MaxPayload(FrameType type, uint8_t kind);

// Reads the header at `bytes` (kFrameHeaderBytes of them) and checks everything but the checksum.
FrameError ReadHeader(const uint8_t* bytes, FrameHeader* header);

// Checks the checksum of a whole frame: header at `frame`, followed by header.length bytes of payload.
FrameError CheckFrame(const uint8_t* frame, const FrameHeader& header);

// Fills in the header of a frame whose payload already stands at frame + kFrameHeaderBytes, `length` bytes of it.
void SealFrame(FrameType type, uint8_t kind, uint8_t* frame, uint32_t length);

// CRC-32C (Castagnoli) of `bytes`.
uint32_t Crc32c(const void* bytes, size_t length);

// The first frame in either direction: which versions a node speaks, and who it says it is. The dialling side sends its
// own first and sends nothing else before it has the answer; the other side answers nothing before it has accepted one.
struct Hello {
  uint16_t min_version = kMinVersion;
  uint16_t max_version = kMaxVersion;
  std::string node_id;  // 40 lower-case hex digits
};

// A whole frame.
std::string EncodeHello(const Hello& hello);
// False if it is malformed (too short, an empty or malformed id, a version range that is empty). Bytes after what this
// build knows are ignored: later builds may add some.
bool DecodeHello(std::string_view payload, Hello* hello);

// The newest version both speak; 0 if there is none.
uint16_t NegotiateVersion(const Hello& mine, const Hello& theirs);

// 40 lower-case hex digits.
bool IsNodeId(std::string_view id);

}  // namespace skein::bus

#endif  // SKEIN_BUS_LINK_FRAME_H_
