#include "node/replication/flow_frame.h"

#include <gtest/gtest.h>

#include <random>

namespace skein::node {
namespace {

FrameResult Decode(std::string_view in, Frame* frame, size_t* used) {
  std::string why;
  const FrameResult result = DecodeFrame(in, frame, used, &why);
  EXPECT_EQ(result == FrameResult::kBad, !why.empty());
  return result;
}

TEST(FlowFrame, ComesBackAsItWasSent) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{100}, kMaxFramePayload}) {
    const std::string payload(size, 'x');
    const std::string bytes = EncodeFrame(FrameType::kSnapshot, payload) + "next";
    Frame frame;
    size_t used;
    ASSERT_EQ(Decode(bytes, &frame, &used), FrameResult::kFrame);
    EXPECT_EQ(used, kFrameHeaderSize + size);
    EXPECT_EQ(frame.type, FrameType::kSnapshot);
    EXPECT_TRUE(frame.payload == payload);
  }
}

TEST(FlowFrame, IsIncompleteAtEveryCut) {
  const std::string bytes = EncodeAck(FrameType::kAck, {7, 3});
  for (size_t n = 0; n < bytes.size(); ++n) {
    Frame frame;
    size_t used;
    ASSERT_EQ(Decode({bytes.data(), n}, &frame, &used), FrameResult::kIncomplete);
    EXPECT_GT(used, n);
    EXPECT_LE(used, bytes.size());
  }
}

TEST(FlowFrame, NoFlippedBitPasses) {
  const std::string bytes = EncodePing({1234567, 99});
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    Frame frame;
    size_t used;
    EXPECT_EQ(Decode(damaged, &frame, &used), FrameResult::kBad) << bit;
  }
}

TEST(FlowFrame, RefusesUnknownTypesAndGreatSizes) {
  Frame frame;
  size_t used;
  char header[kFrameHeaderSize];
  EncodeFrameHeader({static_cast<FrameType>(77), 0, storage::Crc32c("")}, header);
  EXPECT_EQ(Decode({header, sizeof header}, &frame, &used), FrameResult::kBad);
  EncodeFrameHeader({FrameType::kRecords, kMaxFramePayload + 1, 0}, header);
  EXPECT_EQ(Decode({header, sizeof header}, &frame, &used), FrameResult::kBad);
}

TEST(FlowFrame, RecordsInPiecesAreOneFrame) {
  std::string a = "hello ", b = "world";
  const iovec pieces[] = {{a.data(), a.size()}, {b.data(), b.size()}};
  std::string bytes(kRecordsHeadSize, '\0');
  EncodeRecordsHead(4711, pieces, 2, bytes.data());
  bytes += a + b;
  Frame frame;
  size_t used;
  ASSERT_EQ(Decode(bytes, &frame, &used), FrameResult::kFrame);
  EXPECT_EQ(used, bytes.size());
  storage::Lsn lsn;
  std::string_view body;
  ASSERT_TRUE(DecodeRecords(frame.payload, &lsn, &body));
  EXPECT_EQ(lsn, 4711u);
  EXPECT_EQ(body, "hello world");
  EXPECT_FALSE(DecodeRecords(frame.payload.substr(0, 8), &lsn, &body));
}

TEST(FlowFrame, FixedPayloadsHaveOneSize) {
  PingPayload ping;
  AckPayload ack;
  storage::Lsn lsn;
  for (size_t n = 0; n < 40; ++n) {
    const std::string payload(n, '\1');
    EXPECT_EQ(DecodePing(payload, &ping), n == 16);
    EXPECT_EQ(DecodeAck(payload, &ack), n == 16);
    EXPECT_EQ(DecodeSnapshotEnd(payload, &lsn), n == 8);
  }
  ASSERT_TRUE(DecodeSnapshotEnd(std::string_view(EncodeSnapshotEnd(55)).substr(kFrameHeaderSize), &lsn));
  EXPECT_EQ(lsn, 55u);
  EXPECT_EQ(EncodeEnd(std::string(2 * kMaxEndText, 'x')).size(), kFrameHeaderSize + kMaxEndText);
}

// The replica gets the log in pieces of any size.
TEST(FlowFrame, WholeRecordsAreFoundWhereverTheStreamIsCut) {
  std::string log;
  std::vector<size_t> ends{0};
  for (const size_t body : {5u, 0u, 300u}) {
    storage::RecordHeader header;
    header.lsn = log.size();
    header.body_size = body;
    char bytes[storage::kRecordHeaderSize];
    storage::EncodeRecordHeader(header, bytes);
    log.append(bytes, sizeof bytes).append(body, 'b');
    ends.push_back(log.size());
  }
  for (size_t n = 0; n <= log.size(); ++n) {
    size_t whole, expected = 0;
    uint64_t needed;
    ASSERT_TRUE(WholeRecords({log.data(), n}, 1000, &whole, &needed));
    for (const size_t end : ends) {
      if (end <= n) expected = end;
    }
    EXPECT_EQ(whole, expected);
    EXPECT_GT(whole + needed, n);
  }
  size_t whole;
  uint64_t needed;
  EXPECT_FALSE(WholeRecords(log, 299, &whole, &needed));
}

}  // namespace
}  // namespace skein::node
