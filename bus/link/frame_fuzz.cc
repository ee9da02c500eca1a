// Bytes of a hostile peer into a link's read path. The first byte says how: as they come, or as payloads of frames with
// good checksums (which no fuzzer would find), and in pieces of which size. However the bytes are cut, the link must
// deliver the same messages and end for the same reason, and stay within its memory.
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
  bool hello = false;
  CloseReason close = CloseReason::kNone;
  bool operator==(const Outcome&) const = default;
};

Outcome Run(const std::string& bytes, size_t piece, bool proven) {
  LinkIo io(std::make_unique<Pieces>(&bytes, piece));
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
    if (result.hello) {
      CHECK(!proven && IsNodeId(result.hello->node_id));
      outcome.hello = proven = true;
    }
    outcome.close = result.close;
  }
  return outcome;
}

std::string Sealed(const uint8_t* data, size_t size) {
  std::string bytes;
  while (size >= 3) {
    auto type = data[0] % 8 == 0 ? FrameType::kHello : FrameType::kMessage;
    uint8_t kind = type == FrameType::kHello ? 0 : data[1] % 12;
    size_t length = std::min<size_t>(data[2], size - 3);
    std::string frame(kFrameHeaderBytes, '\0');
    frame.append(reinterpret_cast<const char*>(data + 3), length);
    SealFrame(type, kind, reinterpret_cast<uint8_t*>(frame.data()), static_cast<uint32_t>(length));
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
  std::string bytes =
      (how & 1) != 0 ? Sealed(data + 1, size - 1) : std::string(reinterpret_cast<const char*>(data + 1), size - 1);
  bool proven = (how & 2) != 0;
  Outcome whole = Run(bytes, bytes.size() + 1, proven);
  CHECK(whole == Run(bytes, 1 + how / 4, proven)) << "the pieces changed the outcome";
  return 0;
}
