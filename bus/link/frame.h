// Frames of the cluster bus: what stands on the wire between two nodes. See bus/link/PROTOCOL.md.
//
// A frame is a header of 16 bytes and a payload; on a link that a secret has proven, a message also has a tag. The
// layout of the header and of the Hello payload never changes; what the payloads of other frames mean is what the
// negotiated version says. Pure: no socket, no thread.
#ifndef SKEIN_BUS_LINK_FRAME_H_
#define SKEIN_BUS_LINK_FRAME_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "bus/trust/trust.h"

namespace skein::bus {

inline constexpr size_t kFrameHeaderBytes = 16;
inline constexpr uint32_t kMaxHelloBytes = 512;  // of any frame of the handshake
inline constexpr uint32_t kMaxMessageBytes = 1u << 20;
inline constexpr uint32_t kMaxPublishBytes = 160u << 10;  // of a published message; longer ones travel in parts
// The versions of the protocol this build speaks, oldest and newest.
inline constexpr uint16_t kMinVersion = 1;
inline constexpr uint16_t kMaxVersion = 1;

enum class FrameType : uint8_t { kHello = 1, kMessage = 2, kChallenge = 3, kProof = 4, kAccept = 5 };

// What is wrong with a frame, in the order in which it is looked for.
enum class FrameError : uint8_t { kNone, kMagic, kLayout, kType, kFlags, kTooLong, kChecksum, kTag };

struct FrameHeader {
  FrameType type = FrameType::kHello;
  bool tagged = false;  // followed by kTagBytes of a tag, in place of the checksum
  uint8_t kind = 0;     // of a message: the field number of its body in BusMessage; else 0
  uint32_t length = 0;  // of the payload, bytes
  uint32_t checksum = 0;
  size_t size() const { return kFrameHeaderBytes + length + (tagged ? kTagBytes : 0); }
};

// The most payload bytes a frame of this type and kind may carry.
uint32_t MaxPayload(FrameType type, uint8_t kind);

// Reads the header at `bytes` (kFrameHeaderBytes of them) and checks everything but the checksum or tag. `tagged`:
// frames must have tags; else they must have none.
FrameError ReadHeader(const uint8_t* bytes, bool tagged, FrameHeader* header);

// Checks a whole frame (header.size() bytes) by its checksum, or its tag.
FrameError CheckFrame(const uint8_t* frame, const FrameHeader& header, FrameTags* tags);

// Fills in the header of a frame whose payload already stands at frame + kFrameHeaderBytes, `length` bytes of it. With
// `tags`, also the tag that follows the payload.
void SealFrame(FrameType type, uint8_t kind, uint8_t* frame, uint32_t length, FrameTags* tags = nullptr);

// CRC-32C (Castagnoli) of `bytes`.
uint32_t Crc32c(const void* bytes, size_t length);

// What a connection is for; each class has connections of its own, so that none can delay another. The wire knows the
// numbers.
enum class LinkClass : uint8_t {
  kControl = 0,  // everything that keeps the cluster together
  kPublish = 1,  // published messages, from the dialling side alone
};

// The first frame of the dialling side: which versions it speaks, and who it says it is. It sends nothing else before
// it has the answer; the other side answers nothing before it has accepted it. Without a secret the answer is a Hello,
// too.
struct Hello {
  uint16_t min_version = kMinVersion;
  uint16_t max_version = kMaxVersion;
  std::string node_id;     // 40 lower-case hex digits
  bool has_nonce = false;  // it has a secret, and will prove it
  Nonce nonce{};
  LinkClass link_class = LinkClass::kControl;  // of a dialler
};
// The answer of a side with a secret: nothing of itself. Then a Proof, and an Accept with which the other side proves
// itself.
struct Challenge {
  uint16_t version = 0;
  Nonce nonce{};
};
struct Acceptance {
  std::string node_id;
  Proof proof{};
};

// Whole frames.
std::string EncodeHello(const Hello& hello);
std::string EncodeChallenge(const Challenge& challenge);
std::string EncodeProof(const Proof& proof);
std::string EncodeAccept(const Acceptance& accept);
// False if it is malformed (too short, an empty or malformed id, a version range that is empty). Bytes after what this
// build knows are ignored: later builds may add some.
bool DecodeHello(std::string_view payload, Hello* hello);
bool DecodeChallenge(std::string_view payload, Challenge* challenge);
bool DecodeProof(std::string_view payload, Proof* proof);
bool DecodeAccept(std::string_view payload, Acceptance* accept);

// The newest version both speak; 0 if there is none.
uint16_t NegotiateVersion(const Hello& mine, const Hello& theirs);

// 40 lower-case hex digits.
bool IsNodeId(std::string_view id);

}  // namespace skein::bus

#endif  // SKEIN_BUS_LINK_FRAME_H_
