#include "bus/link/frame.h"

#include <cstring>

#include "gtest/gtest.h"

namespace skein::bus {
namespace {

std::string MakeFrame(uint8_t kind, const std::string& payload) {
  std::string frame(kFrameHeaderBytes, '\0');
  frame += payload;
  SealFrame(FrameType::kMessage, kind, reinterpret_cast<uint8_t*>(frame.data()), static_cast<uint32_t>(payload.size()));
  return frame;
}

FrameError Check(const std::string& frame, FrameHeader* header) {
  const auto* at = reinterpret_cast<const uint8_t*>(frame.data());
  FrameError error = ReadHeader(at, false, header);
  if (error != FrameError::kNone) return error;
  // A length that was damaged may not lead past the bytes there are.
  if (frame.size() - kFrameHeaderBytes < header->length) return FrameError::kTooLong;
  return CheckFrame(at, *header, nullptr);
}

TEST(Frame, ChecksumIsCrc32c) {
  EXPECT_EQ(Crc32c("123456789", 9), 0xe3069283u);
  EXPECT_EQ(Crc32c("", 0), 0u);
}

TEST(Frame, LayoutStandsStill) {
  // Written down byte by byte: an older node must be able to read it.
  std::string frame = MakeFrame(3, "abc");
  EXPECT_EQ(frame.substr(0, 12), std::string("SKNB\x01\x02\x03\x00\x03\x00\x00\x00", 12));
  EXPECT_EQ(frame.substr(16), "abc");
  uint32_t checksum;
  memcpy(&checksum, frame.data() + 12, 4);
  std::string covered = frame.substr(0, 12) + "abc";
  EXPECT_EQ(checksum, Crc32c(covered.data(), covered.size()));
}

TEST(Frame, EveryFlippedBitIsNoticed) {
  const std::string good = MakeFrame(7, "some payload");
  FrameHeader header;
  ASSERT_EQ(Check(good, &header), FrameError::kNone);
  EXPECT_EQ(header.kind, 7);
  EXPECT_EQ(header.length, 12u);
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_NE(Check(bad, &header), FrameError::kNone) << "bit " << bit;
  }
}

TEST(Frame, EachFieldHasItsOwnError) {
  auto with = [](size_t at, uint8_t value) {
    std::string frame = MakeFrame(3, "abc");
    frame[at] = static_cast<char>(value);
    FrameHeader header;
    return Check(frame, &header);
  };
  EXPECT_EQ(with(0, 'X'), FrameError::kMagic);
  EXPECT_EQ(with(4, 2), FrameError::kLayout);
  EXPECT_EQ(with(5, 0), FrameError::kType);
  EXPECT_EQ(with(5, 3), FrameError::kType);
  EXPECT_EQ(with(5, 1), FrameError::kType);  // a Hello has no kind
  EXPECT_EQ(with(7, 1), FrameError::kFlags);
  EXPECT_EQ(with(11, 1), FrameError::kTooLong);
  EXPECT_EQ(with(16, 'x'), FrameError::kChecksum);
}

TEST(Frame, LengthIsLimitedByTypeAndKind) {
  for (int kind = 0; kind < 256; ++kind) {
    EXPECT_LE(MaxPayload(FrameType::kMessage, static_cast<uint8_t>(kind)), kMaxMessageBytes);
  }
  std::string frame = MakeFrame(1, "");
  uint32_t length = MaxPayload(FrameType::kMessage, 1);
  FrameHeader header;
  memcpy(frame.data() + 8, &length, 4);
  EXPECT_EQ(ReadHeader(reinterpret_cast<uint8_t*>(frame.data()), false, &header), FrameError::kNone);
  ++length;
  memcpy(frame.data() + 8, &length, 4);
  EXPECT_EQ(ReadHeader(reinterpret_cast<uint8_t*>(frame.data()), false, &header), FrameError::kTooLong);
}

TEST(Hello, RoundTrip) {
  Hello mine{2, 9, std::string(40, 'a')}, read;
  std::string frame = EncodeHello(mine);
  FrameHeader header;
  ASSERT_EQ(Check(frame, &header), FrameError::kNone);
  ASSERT_EQ(header.type, FrameType::kHello);
  std::string payload = frame.substr(kFrameHeaderBytes);
  ASSERT_TRUE(DecodeHello(payload, &read));
  EXPECT_EQ(read.min_version, 2);
  EXPECT_EQ(read.max_version, 9);
  EXPECT_EQ(read.node_id, mine.node_id);
  // What a later build adds is passed over; what is missing is not.
  EXPECT_TRUE(DecodeHello(payload + "more", &read));
  for (size_t length = 0; length < payload.size(); ++length) {
    EXPECT_FALSE(DecodeHello(payload.substr(0, length), &read)) << length;
  }
}

TEST(Hello, L42_AnEmptyOrMalformedIdIsRefused) {
  for (const std::string& id : {std::string(), std::string(39, 'a'), std::string(39, 'a') + 'g',
                                std::string(39, 'a') + 'A', std::string(40, '\0'), std::string(40, ' ')}) {
    Hello bad{1, 1, id}, read;
    std::string frame = EncodeHello(bad);
    EXPECT_FALSE(DecodeHello(frame.substr(kFrameHeaderBytes), &read)) << id;
    EXPECT_FALSE(IsNodeId(id));
  }
  Hello read, bad{0, 1, std::string(40, 'a')};
  EXPECT_FALSE(DecodeHello(EncodeHello(bad).substr(kFrameHeaderBytes), &read));
  bad = {3, 2, std::string(40, 'a')};
  EXPECT_FALSE(DecodeHello(EncodeHello(bad).substr(kFrameHeaderBytes), &read));
}

TEST(Hello, TheNewestVersionThatBothSpeak) {
  auto negotiate = [](uint16_t a, uint16_t b, uint16_t c, uint16_t d) {
    return NegotiateVersion({a, b, ""}, {c, d, ""});
  };
  EXPECT_EQ(negotiate(1, 1, 1, 1), 1);
  EXPECT_EQ(negotiate(1, 3, 2, 9), 3);
  EXPECT_EQ(negotiate(2, 9, 1, 3), 3);
  EXPECT_EQ(negotiate(1, 2, 3, 4), 0);
  EXPECT_EQ(negotiate(3, 4, 1, 2), 0);
}

}  // namespace
}  // namespace skein::bus
