#include "bus/link/frame.h"

#include <isa-l/crc.h>

#include <algorithm>
#include <cstring>

namespace skein::bus {
namespace {

constexpr uint32_t kMagic = 0x424e4b53;  // "SKNB", as little-endian bytes
constexpr uint8_t kPlainLayout = 1, kTaggedLayout = 2;
constexpr size_t kIdBytes = 40;
constexpr size_t kHelloBytes = 2 + 2 + 4 + kIdBytes;
constexpr uint32_t kHasNonce = 1, kForPublishing = 2;  // of a Hello's flags
constexpr size_t kChallengeBytes = 2 + 2 + kNonceBytes;
constexpr size_t kChecksumAt = 12;

void Put16(uint8_t* at, uint16_t v) {
  at[0] = static_cast<uint8_t>(v);
  at[1] = static_cast<uint8_t>(v >> 8);
}
void Put32(uint8_t* at, uint32_t v) {
  for (int i = 0; i < 4; ++i) at[i] = static_cast<uint8_t>(v >> (8 * i));
}
uint16_t Get16(const uint8_t* at) { return static_cast<uint16_t>(at[0] | at[1] << 8); }
uint32_t Get32(const uint8_t* at) {
  uint32_t v = 0;
  for (int i = 0; i < 4; ++i) v |= static_cast<uint32_t>(at[i]) << (8 * i);
  return v;
}

uint32_t ExtendCrc(uint32_t crc, const void* bytes, size_t length) {
  // ISA-L does not write through the pointer; its signature is older than const.
  return crc32_iscsi(const_cast<unsigned char*>(static_cast<const unsigned char*>(bytes)), static_cast<int>(length),
                     crc);
}

// Of the header up to the checksum itself, and the payload: a flipped bit anywhere is noticed.
uint32_t FrameChecksum(const uint8_t* frame, uint32_t length) {
  uint32_t crc = ExtendCrc(0xffffffffu, frame, kChecksumAt);
  return ~ExtendCrc(crc, frame + kFrameHeaderBytes, length);
}

// A frame with `payload`.
std::string Frame(FrameType type, std::string_view payload) {
  std::string frame(kFrameHeaderBytes, '\0');
  frame += payload;
  SealFrame(type, 0, reinterpret_cast<uint8_t*>(frame.data()), static_cast<uint32_t>(payload.size()));
  return frame;
}
template <size_t kSize>
std::string_view Text(const std::array<uint8_t, kSize>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

uint32_t Crc32c(const void* bytes, size_t length) { return ~ExtendCrc(0xffffffffu, bytes, length); }

uint32_t MaxPayload(FrameType type, uint8_t kind) {
  if (type != FrameType::kMessage) return kMaxHelloBytes;
  switch (kind) {  // field numbers of BusMessage.body
    case 1:        // hello
    case 2:        // welcome
    case 9:        // forgotten
      return 64u << 10;
    case 3:  // ping
    case 4:  // pong
    case 7:  // suspicions
    case 8:  // failed
      return 256u << 10;
    case 20:  // publish
    case 21:  // publishshard
    case 22:  // publishpart
      return kMaxPublishBytes;
    default:
      return kMaxMessageBytes;
  }
}

FrameError ReadHeader(const uint8_t* bytes, bool tagged, FrameHeader* header) {
  if (Get32(bytes) != kMagic) return FrameError::kMagic;
  if (bytes[4] != (tagged ? kTaggedLayout : kPlainLayout)) return FrameError::kLayout;
  if (bytes[5] < static_cast<uint8_t>(FrameType::kHello) || bytes[5] > static_cast<uint8_t>(FrameType::kAccept)) {
    return FrameError::kType;
  }
  header->type = static_cast<FrameType>(bytes[5]);
  header->kind = bytes[6];
  header->tagged = tagged;
  if (header->type != FrameType::kMessage && header->kind != 0) return FrameError::kType;
  if (bytes[7] != 0) return FrameError::kFlags;
  header->length = Get32(bytes + 8);
  if (header->length > MaxPayload(header->type, header->kind)) return FrameError::kTooLong;
  header->checksum = Get32(bytes + kChecksumAt);
  return FrameError::kNone;
}

FrameError CheckFrame(const uint8_t* frame, const FrameHeader& header, FrameTags* tags) {
  if (header.tagged) {
    const size_t covered = kFrameHeaderBytes + header.length;
    return tags->Check(frame, covered, frame + covered) ? FrameError::kNone : FrameError::kTag;
  }
  return FrameChecksum(frame, header.length) == header.checksum ? FrameError::kNone : FrameError::kChecksum;
}

void SealFrame(FrameType type, uint8_t kind, uint8_t* frame, uint32_t length, FrameTags* tags) {
  Put32(frame, kMagic);
  frame[4] = tags != nullptr ? kTaggedLayout : kPlainLayout;
  frame[5] = static_cast<uint8_t>(type);
  frame[6] = kind;
  frame[7] = 0;
  Put32(frame + 8, length);
  if (tags != nullptr) {
    Put32(frame + kChecksumAt, 0);
    const size_t covered = kFrameHeaderBytes + length;
    tags->Seal(frame, covered, frame + covered);
  } else {
    Put32(frame + kChecksumAt, FrameChecksum(frame, length));
  }
}

std::string EncodeHello(const Hello& hello) {
  std::string payload(kHelloBytes, '\0');
  auto* at = reinterpret_cast<uint8_t*>(payload.data());
  Put16(at, hello.min_version);
  Put16(at + 2, hello.max_version);
  Put32(at + 4, (hello.has_nonce ? kHasNonce : 0) | (hello.link_class == LinkClass::kPublish ? kForPublishing : 0));
  memcpy(at + 8, hello.node_id.data(), std::min(hello.node_id.size(), kIdBytes));
  if (hello.has_nonce) payload += Text(hello.nonce);
  return Frame(FrameType::kHello, payload);
}

std::string EncodeChallenge(const Challenge& challenge) {
  std::string payload(4, '\0');
  Put16(reinterpret_cast<uint8_t*>(payload.data()), challenge.version);
  payload += Text(challenge.nonce);
  return Frame(FrameType::kChallenge, payload);
}

std::string EncodeProof(const Proof& proof) { return Frame(FrameType::kProof, Text(proof)); }

std::string EncodeAccept(const Acceptance& accept) {
  std::string payload = accept.node_id;
  payload.resize(kIdBytes);
  payload += Text(accept.proof);
  return Frame(FrameType::kAccept, payload);
}

bool DecodeChallenge(std::string_view payload, Challenge* challenge) {
  if (payload.size() < kChallengeBytes) return false;
  challenge->version = Get16(reinterpret_cast<const uint8_t*>(payload.data()));
  memcpy(challenge->nonce.data(), payload.data() + 4, kNonceBytes);
  return challenge->version != 0;
}

bool DecodeProof(std::string_view payload, Proof* proof) {
  if (payload.size() < kProofBytes) return false;
  memcpy(proof->data(), payload.data(), kProofBytes);
  return true;
}

bool DecodeAccept(std::string_view payload, Acceptance* accept) {
  if (payload.size() < kIdBytes + kProofBytes || !IsNodeId(payload.substr(0, kIdBytes))) return false;
  accept->node_id = std::string(payload.substr(0, kIdBytes));
  return DecodeProof(payload.substr(kIdBytes), &accept->proof);
}

bool DecodeHello(std::string_view payload, Hello* hello) {
  if (payload.size() < kHelloBytes) return false;
  const auto* at = reinterpret_cast<const uint8_t*>(payload.data());
  hello->min_version = Get16(at);
  hello->max_version = Get16(at + 2);
  if (hello->min_version == 0 || hello->min_version > hello->max_version) return false;
  std::string_view id = payload.substr(8, kIdBytes);
  if (!IsNodeId(id)) return false;
  hello->node_id = std::string(id);
  hello->has_nonce = (Get32(at + 4) & kHasNonce) != 0;
  hello->link_class = (Get32(at + 4) & kForPublishing) != 0 ? LinkClass::kPublish : LinkClass::kControl;
  if (hello->has_nonce) {
    if (payload.size() < kHelloBytes + kNonceBytes) return false;
    memcpy(hello->nonce.data(), at + kHelloBytes, kNonceBytes);
  }
  return true;
}

uint16_t NegotiateVersion(const Hello& mine, const Hello& theirs) {
  uint16_t newest = std::min(mine.max_version, theirs.max_version);
  return newest >= std::max(mine.min_version, theirs.min_version) ? newest : 0;
}

bool IsNodeId(std::string_view id) {
  return id.size() == kIdBytes &&
         std::all_of(id.begin(), id.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace skein::bus
