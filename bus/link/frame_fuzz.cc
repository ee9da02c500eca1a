// Bytes of a hostile peer into a link's read path. The first byte says how: as they come, or as payloads of frames with
// good checksums or tags (which no fuzzer would find), and in pieces of which size. However the bytes are cut, the link
// must deliver the same messages and end for the same reason, and stay within its memory.
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "bus/link/link_io.h"
#include "glog/logging.h"
#include "proto/bus.pb.h"

namespace skein::bus {
namespace {

constexpr size_t kLimit = 256 << 10;

class Pieces : public Transport {
 public:
  Pieces(const std::string* bytes, size_t piece) : bytes_(bytes), piece_(piece) {}
  ssize_t Read(void* to, size_t length) override {
    size_t n = std::min({length, piece_, bytes_->size() - at_});
    if (n == 0) return 0;
    memcpy(to, bytes_->data() + at_, n);
    at_ += n;
    return static_cast<ssize_t>(n);
  }
  ssize_t Write(const void*, size_t) override { return -EAGAIN; }

 private:
  const std::string* bytes_;
  size_t piece_, at_ = 0;
};

struct Outcome {
  std::vector<std::string> messages;
  uint64_t unknown = 0;
  std::vector<std::string> handshake;
  CloseReason close = CloseReason::kNone;
  bool operator==(const Outcome&) const = default;
};

// Whether a payload of the handshake says what its type must, within its bounds.
bool Decodes(const HandshakeFrame& frame) {
  Hello hello;
  Challenge challenge;
  Acceptance acceptance;
  Proof proof;
  switch (frame.type) {
    case FrameType::kHello:
      if (!DecodeHello(frame.payload, &hello)) return false;
      CHECK(IsNodeId(hello.node_id) && hello.min_version > 0 && hello.min_version <= hello.max_version);
      return true;
    case FrameType::kChallenge:
      if (!DecodeChallenge(frame.payload, &challenge)) return false;
      CHECK_NE(challenge.version, 0);
      return true;
    case FrameType::kProof:
      return DecodeProof(frame.payload, &proof);
    case FrameType::kAccept:
      if (!DecodeAccept(frame.payload, &acceptance)) return false;
      CHECK(IsNodeId(acceptance.node_id));
      return true;
    case FrameType::kMessage:
      break;  // a message before the proof: the owner closes
  }
  return false;
}

// Of a proven link whose messages bear tags, if `tagged`.
Outcome Run(const std::string& bytes, size_t piece, bool proven, bool tagged) {
  LinkIo io(std::make_unique<Pieces>(&bytes, piece));
  if (tagged) io.SetTags(SecretKey(), SecretKey());
  Outcome outcome;
  ReadResult result;
  while (outcome.close == CloseReason::kNone) {
    result.Clear();
    io.Read(proven, {}, kLimit, &result);
    CHECK_LE(io.input_memory(), kLimit);
    for (size_t i = 0; i < result.messages.size(); ++i) {
      CHECK_EQ(MessageKind(*result.messages[i]), result.kinds[i]);
      outcome.messages.push_back(result.messages[i]->SerializeAsString());
    }
    outcome.unknown += result.unknown;
    if (result.handshake) {
      CHECK(!proven && result.handshake->payload.size() <= kMaxHelloBytes);
      outcome.handshake.push_back(result.handshake->payload);
      proven = Decodes(*result.handshake);
    }
    outcome.close = result.close;
  }
  return outcome;
}

std::string Sealed(const uint8_t* data, size_t size, bool tagged) {
  FrameTags tags{SecretKey()};
  std::string bytes;
  while (size >= 3) {
    auto type = data[0] % 8 == 0 ? static_cast<FrameType>(1 + data[1] % 5) : FrameType::kMessage;
    uint8_t kind = type != FrameType::kMessage ? 0 : data[1] % 12;
    size_t length = std::min<size_t>(data[2], size - 3);
    std::string frame(kFrameHeaderBytes, '\0');
    frame.append(reinterpret_cast<const char*>(data + 3), length);
    if (tagged) frame.resize(frame.size() + kTagBytes);
    SealFrame(type, kind, reinterpret_cast<uint8_t*>(frame.data()), static_cast<uint32_t>(length),
              tagged ? &tags : nullptr);
    bytes += frame;
    data += 3 + length;
    size -= 3 + length;
  }
  return bytes;
}

}  // namespace
}  // namespace skein::bus

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skein::bus;
  if (size == 0) return 0;
  uint8_t how = data[0];
  bool proven = (how & 2) != 0, tagged = proven && (how & 4) != 0;
  std::string bytes = (how & 1) != 0 ? Sealed(data + 1, size - 1, tagged)
                                     : std::string(reinterpret_cast<const char*>(data + 1), size - 1);
  Outcome whole = Run(bytes, bytes.size() + 1, proven, tagged);
  CHECK(whole == Run(bytes, 1 + how / 8, proven, tagged)) << "the pieces changed the outcome";
  // Unsealed bytes are messages to nobody who has a key.
  if (tagged && (how & 1) == 0) CHECK(whole.messages.empty());
  return 0;
}
