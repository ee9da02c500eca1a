#include "bus/link/link_io.h"

#include <cerrno>
#include <cstring>
#include <functional>
#include <random>

#include "gtest/gtest.h"
#include "proto/bus.pb.h"

namespace skein::bus {
namespace {

constexpr size_t kNoLimit = 64u << 20;

// A transport in memory: gives out `input` in pieces, takes in at most what it is told.
class MemoryTransport : public Transport {
 public:
  ssize_t Read(void* to, size_t length) override {
    size_t n = std::min({length, input.size() - read_, next_piece ? next_piece() : length});
    if (n == 0) return end && read_ == input.size() ? 0 : -EAGAIN;
    memcpy(to, input.data() + read_, n);
    read_ += n;
    ++reads;
    return static_cast<ssize_t>(n);
  }
  ssize_t Write(const void* from, size_t length) override {
    if (on_write) on_write();
    size_t n = std::min(length, next_write ? next_write() : length);
    if (n == 0) return -EAGAIN;
    output.append(static_cast<const char*>(from), n);
    return static_cast<ssize_t>(n);
  }
  size_t left() const { return input.size() - read_; }

  std::string input, output;
  bool end = false;
  int reads = 0;
  std::function<size_t()> next_piece, next_write;
  std::function<void()> on_write;

 private:
  size_t read_ = 0;
};

struct Side {
  Side() : transport(new MemoryTransport), io(std::unique_ptr<Transport>(transport)) {}
  MemoryTransport* transport;  // io's
  LinkIo io;
};

MessagePtr Ping(uint64_t seq, size_t ages) {
  auto message = std::make_shared<proto::BusMessage>();
  message->mutable_ping()->set_seq(seq);
  message->mutable_ping()->mutable_view()->set_ages(std::string(ages, static_cast<char>('a' + seq % 26)));
  return message;
}

Outgoing Out(const MessagePtr& message) {
  Outgoing out;
  out.message = message;
  out.bytes = static_cast<uint32_t>(kFrameHeaderBytes + message->ByteSizeLong());
  return out;
}

// The bytes that a link writes for these.
std::string Wire(const std::vector<MessagePtr>& messages) {
  Side side;
  std::deque<Outgoing> queue;
  for (const MessagePtr& message : messages) queue.push_back(Out(message));
  side.io.Take(&queue);
  WriteResult result;
  do {
    result.Clear();
    side.io.Write({}, &result);
  } while (result.more);
  EXPECT_FALSE(side.io.has_output());
  return side.transport->output;
}

// Reads until the transport has nothing more.
struct Received {
  std::vector<MessagePtr> messages;
  CloseReason close = CloseReason::kNone;
  int jobs = 0;
};
Received Drain(Side* side, JobBudget budget = {}, size_t limit = kNoLimit) {
  Received all;
  ReadResult result;
  for (int i = 0; i < 1'000'000; ++i) {
    result.Clear();
    side->io.Read(true, budget, limit, &result);
    ++all.jobs;
    all.messages.insert(all.messages.end(), result.messages.begin(), result.messages.end());
    EXPECT_EQ(result.kinds.size(), result.messages.size());
    EXPECT_LE(result.messages.size(), budget.messages);
    all.close = result.close;
    if (all.close != CloseReason::kNone || (!result.more && side->transport->left() == 0)) break;
  }
  return all;
}

void ExpectSequence(const std::vector<MessagePtr>& messages, size_t count) {
  ASSERT_EQ(messages.size(), count);
  for (size_t i = 0; i < count; ++i) ASSERT_EQ(messages[i]->ping().seq(), i);
}

std::vector<MessagePtr> Sequence(size_t count, const std::function<size_t(size_t)>& ages) {
  std::vector<MessagePtr> messages;
  for (size_t i = 0; i < count; ++i) messages.push_back(Ping(i, ages(i)));
  return messages;
}

TEST(LinkIo, EverySplitOfTheBytesGivesTheSameMessages) {
  std::string wire = Wire(Sequence(6, [](size_t i) { return i * 17; }));
  for (size_t split = 1; split < wire.size(); ++split) {
    Side side;
    side.transport->input = wire;
    side.transport->next_piece = [&, first = true]() mutable {
      return std::exchange(first, false) ? split : wire.size();
    };
    ExpectSequence(Drain(&side).messages, 6);
  }
  for (size_t piece : {1, 2, 3, 15, 16, 17}) {
    Side side;
    side.transport->input = wire;
    side.transport->next_piece = [piece] { return piece; };
    ExpectSequence(Drain(&side).messages, 6);
  }
}

TEST(LinkIo, LongMessagesInSmallPieces) {
  std::string wire = Wire(Sequence(4, [](size_t i) { return 100'000 + i * 30'000; }));
  std::mt19937 random(1);
  Side side;
  side.transport->input = wire;
  side.transport->next_piece = [&] { return 1 + random() % 5000; };
  Received received = Drain(&side);
  ExpectSequence(received.messages, 4);
  EXPECT_EQ(received.messages[3]->ping().view().ages().size(), 190'000u);
  // What a burst needed is given back.
  EXPECT_LE(side.io.input_memory(), 4096u);
}

TEST(LinkIo, L28_APartialWriteResumesAtTheRightByte) {
  std::mt19937 random(2);
  for (int round = 0; round < 20; ++round) {
    Side side;
    std::deque<Outgoing> queue;
    std::vector<MessagePtr> sent = Sequence(50, [&](size_t) { return random() % 3000; });
    size_t total = 0, done = 0, bytes = 0, messages = 0;
    side.transport->next_write = [&] { return random() % 400; };  // 0: blocked
    for (size_t i = 0; i < sent.size() || side.io.has_output();) {
      for (int n = 0; n < 5 && i < sent.size(); ++n, ++i) {
        queue.push_back(Out(sent[i]));
        total += queue.back().bytes;
      }
      side.io.Take(&queue);
      WriteResult result;
      side.io.Write({}, &result);
      EXPECT_EQ(result.close, CloseReason::kNone);
      bytes += result.bytes;
      done += result.done_bytes;
      messages += result.kinds.size();
      EXPECT_EQ(bytes, side.transport->output.size());
      EXPECT_LE(done, bytes);
    }
    // The counters agree with each other and with what arrives.
    EXPECT_EQ(bytes, total);
    EXPECT_EQ(done, total);
    EXPECT_EQ(messages, 50u);
    Side peer;
    peer.transport->input = side.transport->output;
    peer.transport->next_piece = [&] { return 1 + random() % 400; };
    ExpectSequence(Drain(&peer).messages, 50);
  }
}

TEST(LinkIo, L28_AMessageCountsAsSentWithItsLastByte) {
  Side side;
  std::deque<Outgoing> queue;
  std::vector<size_t> ends;
  for (uint64_t i = 0; i < 4; ++i) {
    queue.push_back(Out(Ping(i, 5 * i)));
    ends.push_back((ends.empty() ? 0 : ends.back()) + queue.back().bytes);
  }
  side.transport->next_write = [n = 0]() mutable { return static_cast<size_t>(++n % 2); };  // a byte, then blocked
  side.io.Take(&queue);
  size_t messages = 0, done = 0;
  while (side.io.has_output()) {
    WriteResult result;
    side.io.Write({}, &result);
    messages += result.kinds.size();
    done += result.done_bytes;
    size_t whole = 0;
    while (whole < ends.size() && ends[whole] <= side.transport->output.size()) ++whole;
    ASSERT_EQ(messages, whole) << side.transport->output.size();
    ASSERT_EQ(done, whole == 0 ? 0 : ends[whole - 1]);
  }
  EXPECT_EQ(messages, 4u);
}

TEST(LinkIo, L27_AWriteJobStopsAtTheSnapshotOfItsDispatch) {
  Side side;
  std::deque<Outgoing> queue;
  queue.push_back(Out(Ping(0, 10)));
  queue.push_back(Out(Ping(1, 10)));
  // What the owner queues while the job runs is not the job's.
  uint64_t next = 2;
  side.transport->on_write = [&] { queue.push_back(Out(Ping(next++, 10))); };
  side.transport->next_write = [] { return 20u; };
  side.io.Take(&queue);
  WriteResult result;
  side.io.Write({}, &result);
  EXPECT_EQ(result.kinds.size(), 2u);
  EXPECT_FALSE(result.more);
  side.transport->on_write = nullptr;
  size_t queued = queue.size();
  ASSERT_GT(queued, 1u);
  side.io.Take(&queue);
  result.Clear();
  side.io.Write({}, &result);
  EXPECT_EQ(result.kinds.size(), queued);
  // In order, once.
  Side peer;
  peer.transport->input = side.transport->output;
  ExpectSequence(Drain(&peer).messages, 2 + queued);
}

TEST(LinkIo, L29_WholeMessagesBeforeABadFrameAreDelivered) {
  std::string good = Wire(Sequence(3, [](size_t i) { return i; }));
  std::string next = Wire({Ping(3, 5)});
  auto bad = [&](size_t at, int value) {
    std::string frame = next;
    frame[at] = static_cast<char>(value);
    return frame;
  };
  std::string undecodable(kFrameHeaderBytes, '\0');
  undecodable += "\xff\xff\xff";
  SealFrame(FrameType::kMessage, 3, reinterpret_cast<uint8_t*>(undecodable.data()), 3);
  std::string mislabelled = next;
  SealFrame(FrameType::kMessage, 4, reinterpret_cast<uint8_t*>(mislabelled.data()),
            static_cast<uint32_t>(mislabelled.size() - kFrameHeaderBytes));
  const std::vector<std::pair<std::string, CloseReason>> cases = {
      {bad(0, 'x'), CloseReason::kBadMagic},
      {bad(4, 9), CloseReason::kBadLayout},
      {bad(5, 9), CloseReason::kBadType},
      {bad(7, 9), CloseReason::kBadFlags},
      {bad(11, 9), CloseReason::kFrameTooLong},
      {bad(17, 9), CloseReason::kBadChecksum},
      {undecodable, CloseReason::kUndecodable},
      {mislabelled, CloseReason::kUndecodable},
      {EncodeHello({1, 1, std::string(40, 'a')}), CloseReason::kUnexpectedFrame},
  };
  for (const auto& [frame, reason] : cases) {
    for (size_t piece : {size_t{1}, size_t{100}, size_t{100000}}) {
      Side side;
      side.transport->input = good + frame + next;
      side.transport->next_piece = [piece] { return piece; };
      Received received = Drain(&side);
      ExpectSequence(received.messages, 3);
      EXPECT_EQ(received.close, reason) << CloseReasonName(reason) << " " << piece;
    }
  }
}

TEST(LinkIo, AMessageOfALaterBuildIsPassedOver) {
  std::string good = Wire(Sequence(2, [](size_t i) { return i; }));
  std::string later(kFrameHeaderBytes, '\0');
  later += std::string("\xfa\x0f\x01z", 4);  // field 255, length-delimited
  SealFrame(FrameType::kMessage, 255, reinterpret_cast<uint8_t*>(later.data()), 4);
  Side side;
  side.transport->input = later + good + later;
  ReadResult result;
  side.io.Read(true, {}, kNoLimit, &result);
  ExpectSequence(result.messages, 2);
  EXPECT_EQ(result.unknown, 2u);
  EXPECT_EQ(result.close, CloseReason::kNone);
}

TEST(LinkIo, AnUnprovenLinkTakesOneHelloAndStops) {
  Side side;
  side.transport->input = EncodeHello({1, 1, std::string(40, 'a')}) + Wire({Ping(0, 3)});
  ReadResult result;
  side.io.Read(false, {}, kNoLimit, &result);
  ASSERT_TRUE(result.handshake.has_value());
  EXPECT_EQ(result.handshake->type, FrameType::kHello);
  EXPECT_TRUE(result.messages.empty());
  EXPECT_TRUE(result.more);
  result.Clear();
  side.io.Read(true, {}, kNoLimit, &result);
  EXPECT_EQ(result.messages.size(), 1u);
  // A message is not taken from one that has not said Hello.
  Side other;
  other.transport->input = Wire({Ping(0, 3)});
  result.Clear();
  other.io.Read(false, {}, kNoLimit, &result);
  EXPECT_EQ(result.close, CloseReason::kUnexpectedFrame);
  EXPECT_TRUE(result.messages.empty());
}

TEST(LinkIo, L30_EveryJobKeepsItsBudget) {
  std::string wire = Wire(Sequence(1000, [](size_t) { return 4; }));
  Side side;
  side.transport->input = wire;
  Received received = Drain(&side, {10, 1 << 20});
  ExpectSequence(received.messages, 1000);
  EXPECT_GE(received.jobs, 100);

  // And by bytes: no job takes more than one read past its budget.
  Side flood;
  flood.transport->input = Wire(Sequence(100, [](size_t) { return 20'000; }));
  ReadResult result;
  flood.io.Read(true, {1000, 50'000}, kNoLimit, &result);
  EXPECT_TRUE(result.more);
  EXPECT_LE(result.bytes, 50'000u + (64u << 10));
  EXPECT_LT(result.messages.size(), 10u);

  Side writer;
  std::deque<Outgoing> queue;
  for (uint64_t i = 0; i < 100; ++i) queue.push_back(Out(Ping(i, 10)));
  writer.io.Take(&queue);
  WriteResult written;
  writer.io.Write({10, 1 << 20}, &written);
  EXPECT_TRUE(written.more);
  EXPECT_EQ(written.kinds.size(), 10u);
}

TEST(LinkIo, L31_UnreadBytesAreCompactedOnceADrain) {
  std::string wire = Wire(Sequence(4000, [](size_t) { return 4; }));
  Side side;
  side.transport->input = wire;
  Received received = Drain(&side);
  ExpectSequence(received.messages, 4000);
  // Once a message would move about half a buffer for each of them: 4000 * 32 KiB.
  EXPECT_LE(side.io.moved_bytes(), static_cast<uint64_t>(received.jobs) * (64 << 10));
}

TEST(LinkIo, L32_TheReceiveBufferKeepsItsLimit) {
  std::string wire = Wire(Sequence(2, [](size_t i) { return i * 100'000; }));
  Side side;
  side.transport->input = wire;
  Received received = Drain(&side, {}, 30'000);
  ExpectSequence(received.messages, 1);
  EXPECT_EQ(received.close, CloseReason::kOverBufferLimit);
  EXPECT_LE(side.io.input_memory(), 30'000u);
}

TEST(LinkIo, TheEndOfTheStreamComesAfterItsMessages) {
  Side side;
  side.transport->input = Wire(Sequence(3, [](size_t i) { return i; }));
  side.transport->end = true;
  Received received = Drain(&side);
  ExpectSequence(received.messages, 3);
  ReadResult result;
  side.io.Read(true, {}, kNoLimit, &result);
  EXPECT_EQ(result.close, CloseReason::kEndOfStream);
}

}  // namespace
}  // namespace skein::bus
