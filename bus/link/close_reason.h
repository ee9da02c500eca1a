// Why a link was closed or a connection refused. Each has a static name and is counted.
#ifndef SKEIN_BUS_LINK_CLOSE_REASON_H_
#define SKEIN_BUS_LINK_CLOSE_REASON_H_

#include <cstdint>

#include "bus/link/frame.h"

namespace skein::bus {

enum class CloseReason : uint8_t {
  kNone,
  kEngine,  // the engine's Close effect; counted under its own name
  kStopping,
  kEndOfStream,
  kIoError,
  kConnectFailed,
  kConnectTimeout,
  kHelloTimeout,
  kBadAddress,
  kBadMagic,
  kBadLayout,
  kBadType,
  kBadFlags,
  kFrameTooLong,
  kBadChecksum,
  kUndecodable,
  kUnexpectedFrame,
  kBadHello,
  kNoCommonVersion,
  kSelf,
  kOverBufferLimit,
  kMessageTooLong,
  // Connections that never became links.
  kInboundCeiling,
  kUnprovenCeiling,
  kAddressLimit,
  kNotLoopback,
  kOutboundCeiling,
  kLast = kOutboundCeiling,
};

constexpr const char* CloseReasonName(CloseReason reason) {
  switch (reason) {
    case CloseReason::kNone:
      return "none";
    case CloseReason::kEngine:
      return "engine";
    case CloseReason::kStopping:
      return "stopping";
    case CloseReason::kEndOfStream:
      return "end-of-stream";
    case CloseReason::kIoError:
      return "io-error";
    case CloseReason::kConnectFailed:
      return "connect-failed";
    case CloseReason::kConnectTimeout:
      return "connect-timeout";
    case CloseReason::kHelloTimeout:
      return "hello-timeout";
    case CloseReason::kBadAddress:
      return "bad-address";
    case CloseReason::kBadMagic:
      return "bad-magic";
    case CloseReason::kBadLayout:
      return "bad-layout";
    case CloseReason::kBadType:
      return "bad-type";
    case CloseReason::kBadFlags:
      return "bad-flags";
    case CloseReason::kFrameTooLong:
      return "frame-too-long";
    case CloseReason::kBadChecksum:
      return "bad-checksum";
    case CloseReason::kUndecodable:
      return "undecodable";
    case CloseReason::kUnexpectedFrame:
      return "unexpected-frame";
    case CloseReason::kBadHello:
      return "bad-hello";
    case CloseReason::kNoCommonVersion:
      return "no-common-version";
    case CloseReason::kSelf:
      return "self";
    case CloseReason::kOverBufferLimit:
      return "over-buffer-limit";
    case CloseReason::kMessageTooLong:
      return "message-too-long";
    case CloseReason::kInboundCeiling:
      return "inbound-ceiling";
    case CloseReason::kUnprovenCeiling:
      return "unproven-ceiling";
    case CloseReason::kAddressLimit:
      return "address-limit";
    case CloseReason::kNotLoopback:
      return "not-loopback";
    case CloseReason::kOutboundCeiling:
      return "outbound-ceiling";
  }
  return "none";
}

constexpr CloseReason ReasonOf(FrameError error) {
  switch (error) {
    case FrameError::kNone:
      return CloseReason::kNone;
    case FrameError::kMagic:
      return CloseReason::kBadMagic;
    case FrameError::kLayout:
      return CloseReason::kBadLayout;
    case FrameError::kType:
      return CloseReason::kBadType;
    case FrameError::kFlags:
      return CloseReason::kBadFlags;
    case FrameError::kTooLong:
      return CloseReason::kFrameTooLong;
    case FrameError::kChecksum:
      return CloseReason::kBadChecksum;
  }
  return CloseReason::kNone;
}

}  // namespace skein::bus

#endif  // SKEIN_BUS_LINK_CLOSE_REASON_H_
