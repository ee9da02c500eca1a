#include "bus/link/link_io.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "glog/logging.h"
#include "proto/bus.pb.h"

namespace skein::bus {
namespace {

constexpr size_t kFirstInput = 4 << 10;    // what a link that receives little keeps
constexpr size_t kLargestRead = 64 << 10;  // what one that is flooded grows to, but for a frame that needs more
constexpr size_t kOutputChunk = 64 << 10;  // how much is encoded before it is written
constexpr size_t kKeptOutput = 16 << 10;

}  // namespace

void ReadResult::Clear() {
  messages.clear();
  kinds.clear();
  handshake.reset();
  bytes = unknown = message_bytes = 0;
  more = wants_write = false;
  close = CloseReason::kNone;
  error = 0;
}

void WriteResult::Clear() {
  kinds.clear();
  bytes = done_bytes = 0;
  blocked = wants_read = more = false;
  close = CloseReason::kNone;
  error = 0;
}

void LinkIo::Take(std::deque<Outgoing>* queue) {
  if (sending_.empty()) {
    sending_.swap(*queue);
  } else {
    for (Outgoing& out : *queue) sending_.push_back(std::move(out));
    queue->clear();
  }
}

void LinkIo::SetTags(const SecretKey& sending, const SecretKey& receiving) {
  sending_tags_ = std::make_unique<FrameTags>(sending);
  receiving_tags_ = std::make_unique<FrameTags>(receiving);
}

int LinkIo::Handshake(bool* wants_write) {
  int result = transport_->Handshake();
  *wants_write = result == -EAGAIN && transport_->wants_other(true);
  return result;
}

void LinkIo::Read(bool proven, const JobBudget& budget, size_t limit, ReadResult* result) {
  // What an earlier job left by its budget comes first.
  bool stop = Parse(proven, budget, result);
  while (!stop) {
    if (!MakeRoom(limit)) {
      result->close = CloseReason::kOverBufferLimit;
      break;
    }
    size_t room = capacity_ - end_;
    ssize_t n = transport_->Read(input_.get() + end_, room);
    if (n == 0) {
      result->close = CloseReason::kEndOfStream;
      break;
    }
    if (n < 0) {
      last_read_full_ = false;
      if (n != -EAGAIN && n != -EWOULDBLOCK) {
        result->close = CloseReason::kIoError;
        result->error = static_cast<int>(-n);
      } else {
        result->wants_write = transport_->wants_other(true);
      }
      break;
    }
    end_ += static_cast<size_t>(n);
    result->bytes += static_cast<uint64_t>(n);
    last_read_full_ = static_cast<size_t>(n) == room;
    stop = Parse(proven, budget, result);
    if (stop) break;
    if (!last_read_full_ && transport_->short_read_is_all()) break;  // no second call to learn that
    if (result->bytes >= budget.bytes) {
      result->more = true;
      break;
    }
  }
  Compact();
  PublishMemory();
}

bool LinkIo::Parse(bool proven, const JobBudget& budget, ReadResult* result) {
  while (end_ - begin_ >= kFrameHeaderBytes) {
    FrameHeader header;
    FrameError error = ReadHeader(input_.get() + begin_, receiving_tags_ != nullptr, &header);
    if (error == FrameError::kNone && end_ - begin_ < header.size()) return false;
    if (error == FrameError::kNone) error = CheckFrame(input_.get() + begin_, header, receiving_tags_.get());
    if (error != FrameError::kNone) {
      const uint8_t* at = input_.get() + begin_;
      // The start of a TLS handshake record.
      bool tls = error == FrameError::kMagic && !proven && at[0] == 0x16 && at[1] == 3;
      result->close = tls ? CloseReason::kPeerHasTls : ReasonOf(error);
      return true;
    }
    if (!TakeFrame(proven, header, result)) return true;
    begin_ += header.size();
    // After a frame of the handshake the bus thread decides before anything else is looked at.
    if (result->handshake || result->messages.size() + result->unknown >= budget.messages ||
        result->message_bytes >= budget.bytes) {
      result->more = end_ > begin_;
      if (!result->more && (last_read_full_ || !transport_->short_read_is_all())) result->more = true;
      return true;
    }
  }
  return false;
}

bool LinkIo::TakeFrame(bool proven, const FrameHeader& header, ReadResult* result) {
  const uint8_t* payload = input_.get() + begin_ + kFrameHeaderBytes;
  if ((header.type == FrameType::kMessage) != proven) {
    result->close = CloseReason::kUnexpectedFrame;
    return false;
  }
  if (!proven) {
    result->handshake = {header.type, {reinterpret_cast<const char*>(payload), header.length}};
    return true;
  }
  auto message = std::make_shared<proto::BusMessage>();
  if (!message->ParseFromArray(payload, static_cast<int>(header.length))) {
    result->close = CloseReason::kUndecodable;
    return false;
  }
  uint8_t kind = MessageKind(*message);
  if (kind == 0 && !IsKnownKind(header.kind)) {
    // A later build's message: not an error, and nothing this build could act on.
    ++result->unknown;
    return true;
  }
  if (kind != header.kind) {
    result->close = CloseReason::kUndecodable;
    return false;
  }
  result->message_bytes += header.size();
  result->kinds.push_back(kind);
  result->messages.push_back(std::move(message));
  return true;
}

bool LinkIo::MakeRoom(size_t limit) {
  if (begin_ == end_) begin_ = end_ = 0;
  size_t wanted = std::max(capacity_, kFirstInput);
  if (last_read_full_ && wanted < kLargestRead) wanted *= 2;
  if (begin_ == 0 && end_ == capacity_) wanted = std::max(wanted, capacity_ * 2);  // a frame longer than the buffer
  if (wanted > limit) wanted = std::max(limit, capacity_);
  if (wanted > capacity_) {
    auto larger = std::make_unique_for_overwrite<uint8_t[]>(wanted);
    if (end_ > begin_) memcpy(larger.get(), input_.get() + begin_, end_ - begin_);
    input_ = std::move(larger);
    capacity_ = wanted;
    end_ -= begin_;
    begin_ = 0;
    PublishMemory();
  } else if (end_ == capacity_ && begin_ > 0) {
    memmove(input_.get(), input_.get() + begin_, end_ - begin_);
    moved_bytes_ += end_ - begin_;
    end_ -= begin_;
    begin_ = 0;
  }
  return end_ < capacity_;
}

void LinkIo::Compact() {
  if (begin_ == end_) {
    begin_ = end_ = 0;
    if (capacity_ > kFirstInput && !last_read_full_) {
      input_.reset();
      capacity_ = 0;
    }
  } else if (begin_ > 0) {
    memmove(input_.get(), input_.get() + begin_, end_ - begin_);
    moved_bytes_ += end_ - begin_;
    end_ -= begin_;
    begin_ = 0;
  }
}

void LinkIo::Write(const JobBudget& budget, WriteResult* result) {
  uint32_t messages_left = budget.messages;
  for (;;) {
    if (written_ == output_.size()) {
      output_.clear();
      written_ = 0;
      if (!Encode(kOutputChunk, &messages_left, result)) break;
      if (output_.empty()) {
        result->more = !sending_.empty();
        break;
      }
      PublishMemory();
    }
    ssize_t n = transport_->Write(output_.data() + written_, output_.size() - written_);
    if (n < 0) {
      if (n == -EAGAIN || n == -EWOULDBLOCK) {
        result->blocked = true;
        result->wants_read = transport_->wants_other(false);
      } else {
        result->close = CloseReason::kIoError;
        result->error = static_cast<int>(-n);
      }
      break;
    }
    written_ += static_cast<size_t>(n);
    result->bytes += static_cast<uint64_t>(n);
    while (!encoded_.empty() && encoded_.front().end <= written_) {
      if (encoded_.front().is_message) result->kinds.push_back(encoded_.front().kind);
      result->done_bytes += encoded_.front().bytes;
      encoded_.pop_front();
    }
    if (result->bytes >= budget.bytes && has_output()) {
      result->more = true;
      break;
    }
  }
  if (written_ == output_.size()) {
    output_.clear();
    written_ = 0;
    if (output_.capacity() > kKeptOutput) output_.shrink_to_fit();
  }
  PublishMemory();
}

bool LinkIo::Encode(uint32_t target, uint32_t* messages_left, WriteResult* result) {
  while (!sending_.empty() && *messages_left > 0 && output_.size() < target) {
    Outgoing& out = sending_.front();
    --*messages_left;
    size_t start = output_.size();
    uint8_t kind = 0;
    if (out.message != nullptr) {
      kind = MessageKind(*out.message);
      size_t length = out.message->ByteSizeLong();
      output_.resize(start + kFrameHeaderBytes + length + (sending_tags_ != nullptr ? kTagBytes : 0));
      auto* frame = reinterpret_cast<uint8_t*>(output_.data()) + start;
      if (!out.message->SerializeToArray(frame + kFrameHeaderBytes, static_cast<int>(length))) {
        output_.resize(start);
        result->close = CloseReason::kMessageTooLong;
        return false;
      }
      SealFrame(FrameType::kMessage, kind, frame, static_cast<uint32_t>(length), sending_tags_.get());
    } else {
      output_.append(out.frame);
    }
    encoded_.push_back({output_.size(), kind, out.message != nullptr, out.bytes});
    sending_.pop_front();
  }
  return true;
}

void LinkIo::PublishMemory() { memory_.store(capacity_, std::memory_order_relaxed); }

}  // namespace skein::bus
