#include "node/replication/flow_frame.h"

namespace skein::node {
namespace {

void Put32(char* p, uint32_t v) {
  for (int i = 0; i < 4; ++i) p[i] = static_cast<char>(v >> (8 * i));
}
void Put64(char* p, uint64_t v) {
  for (int i = 0; i < 8; ++i) p[i] = static_cast<char>(v >> (8 * i));
}
uint64_t Get(const char* p, int bytes) {
  uint64_t v = 0;
  for (int i = 0; i < bytes; ++i) v |= static_cast<uint64_t>(static_cast<unsigned char>(p[i])) << (8 * i);
  return v;
}
uint32_t Get32(const char* p) { return static_cast<uint32_t>(Get(p, 4)); }
uint64_t Get64(const char* p) { return Get(p, 8); }

bool Known(uint8_t type) {
  switch (static_cast<FrameType>(type)) {
    case FrameType::kRecords:
    case FrameType::kSnapshot:
    case FrameType::kSnapshotEnd:
    case FrameType::kPing:
    case FrameType::kAsk:
    case FrameType::kAck:
    case FrameType::kEnd:
      return true;
  }
  return false;
}

}  // namespace

void EncodeFrameHeader(const FrameHeader& header, char* out) {
  Put32(out, header.size);
  Put32(out + 4, static_cast<uint8_t>(header.type));
  Put32(out + 8, header.crc);
  Put32(out + 12, storage::Crc32c({out, 12}));
}

FrameResult DecodeFrame(std::string_view in, Frame* frame, size_t* used, std::string* why) {
  *used = kFrameHeaderSize;
  if (in.size() < kFrameHeaderSize) return FrameResult::kIncomplete;
  if (Get32(in.data() + 12) != storage::Crc32c(in.substr(0, 12))) {
    *why = "the checksum of a frame's header does not match";
    return FrameResult::kBad;
  }
  const uint32_t size = Get32(in.data()), type = Get32(in.data() + 4);
  if (type > 0xff || !Known(static_cast<uint8_t>(type))) {
    *why = "a frame of unknown type " + std::to_string(type);
    return FrameResult::kBad;
  }
  if (size > kMaxFramePayload) {
    *why = "a frame of " + std::to_string(size) + " bytes";
    return FrameResult::kBad;
  }
  *used = kFrameHeaderSize + size;
  if (in.size() < *used) return FrameResult::kIncomplete;
  frame->type = static_cast<FrameType>(type);
  frame->payload = in.substr(kFrameHeaderSize, size);
  if (Get32(in.data() + 8) != storage::Crc32c(frame->payload)) {
    *why = "the checksum of a frame does not match";
    return FrameResult::kBad;
  }
  return FrameResult::kFrame;
}

std::string EncodeFrame(FrameType type, std::string_view payload) {
  std::string out(kFrameHeaderSize, '\0');
  EncodeFrameHeader({type, static_cast<uint32_t>(payload.size()), storage::Crc32c(payload)}, out.data());
  out += payload;
  return out;
}

void EncodeRecordsHead(storage::Lsn lsn, const iovec* pieces, size_t count, char* out) {
  Put64(out + kFrameHeaderSize, lsn);
  uint32_t crc = storage::Crc32c({out + kFrameHeaderSize, 8});
  size_t size = 8;
  for (size_t i = 0; i < count; ++i) {
    crc = storage::Crc32c({static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len}, crc);
    size += pieces[i].iov_len;
  }
  EncodeFrameHeader({FrameType::kRecords, static_cast<uint32_t>(size), crc}, out);
}

std::string EncodePing(const PingPayload& ping) {
  char payload[16];
  Put64(payload, ping.end);
  Put64(payload + 8, static_cast<uint64_t>(ping.now));
  return EncodeFrame(FrameType::kPing, {payload, sizeof payload});
}

std::string EncodeAck(FrameType type, const AckPayload& ack) {
  char payload[16];
  Put64(payload, ack.received);
  Put64(payload + 8, ack.durable);
  return EncodeFrame(type, {payload, sizeof payload});
}

std::string EncodeSnapshotEnd(storage::Lsn lsn) {
  char payload[8];
  Put64(payload, lsn);
  return EncodeFrame(FrameType::kSnapshotEnd, {payload, sizeof payload});
}

std::string EncodeEnd(std::string_view why) { return EncodeFrame(FrameType::kEnd, why.substr(0, kMaxEndText)); }

bool DecodeRecords(std::string_view payload, storage::Lsn* lsn, std::string_view* bytes) {
  if (payload.size() <= 8) return false;
  *lsn = Get64(payload.data());
  *bytes = payload.substr(8);
  return true;
}

bool DecodePing(std::string_view payload, PingPayload* ping) {
  if (payload.size() != 16) return false;
  ping->end = Get64(payload.data());
  ping->now = static_cast<storage::UnixMillis>(Get64(payload.data() + 8));
  return true;
}

bool DecodeAck(std::string_view payload, AckPayload* ack) {
  if (payload.size() != 16) return false;
  ack->received = Get64(payload.data());
  ack->durable = Get64(payload.data() + 8);
  return true;
}

bool DecodeSnapshotEnd(std::string_view payload, storage::Lsn* lsn) {
  if (payload.size() != 8) return false;
  *lsn = Get64(payload.data());
  return true;
}

bool WholeRecords(std::string_view bytes, uint64_t limit, size_t* whole, uint64_t* needed) {
  size_t at = 0;
  *needed = storage::kRecordHeaderSize;
  while (bytes.size() - at >= storage::kRecordHeaderSize) {
    const uint64_t body = storage::RawBodySize(bytes.data() + at);
    if (body > limit) return false;
    *needed = storage::kRecordHeaderSize + body;
    if (bytes.size() - at < *needed) break;
    at += static_cast<size_t>(*needed);
    *needed = storage::kRecordHeaderSize;
  }
  *whole = at;
  return true;
}

}  // namespace skein::node
