// Frames and handshakes from anybody.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "node/replication/flow_frame.h"
#include "node/replication/logsync.h"

using namespace skein::node;  // NOLINT

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view in(reinterpret_cast<const char*>(data), size);
  {
    std::vector<std::string_view> words{"LOGSYNC"};
    std::string_view rest = in;
    while (!rest.empty() && words.size() < 20) {
      const size_t at = rest.find('\n');
      words.push_back(rest.substr(0, at));
      rest = at == std::string_view::npos ? std::string_view() : rest.substr(at + 1);
    }
    const auto request = DecodeLogsync(words);
    if (request.ok() && request->version == kFlowVersion) {
      const std::vector<std::string> again = EncodeLogsync(*request);
      const std::vector<std::string_view> views(again.begin(), again.end());
      if (!DecodeLogsync(views).ok()) abort();
    }
    DecodeAnswer(in).status().IgnoreError();
  }
  // Sealed, so that what lies behind the checksums is reached as well.
  std::string sealed;
  if (size > 0 && size <= 4096) {
    sealed = EncodeFrame(static_cast<FrameType>(data[0] % 40), in.substr(1));
    in = sealed;
  }
  Frame frame;
  size_t used;
  std::string why;
  while (DecodeFrame(in, &frame, &used, &why) == FrameResult::kFrame) {
    if (used > in.size()) abort();
    PingPayload ping;
    AckPayload ack;
    skein::storage::Lsn lsn;
    std::string_view bytes;
    DecodePing(frame.payload, &ping);
    DecodeAck(frame.payload, &ack);
    DecodeSnapshotEnd(frame.payload, &lsn);
    if (DecodeRecords(frame.payload, &lsn, &bytes)) {
      size_t whole;
      uint64_t needed;
      if (WholeRecords(bytes, 1u << 20, &whole, &needed) && whole > bytes.size()) abort();
    }
    in.remove_prefix(used);
  }
  return 0;
}
