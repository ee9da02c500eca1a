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
  kBadTag,
  kUndecodable,
  kUnexpectedFrame,
  kWrongClass,  // a message that has no place on links of this class
  kBadHello,
  kNoCommonVersion,
  kSelf,
  // Of the handshake with a secret, or with TLS.
  kPeerHasNoSecret,
  kPeerHasSecret,
  kBadProof,
  kReflected,       // our own nonce came back
  kHandshakeEnded,  // the other side closed before the link was up, as one does that is not told why
  kPeerHasNoTls,
  kPeerHasTls,
  kTlsFailed,
  kCertificateMismatch,  // another certificate than the one that this node id was first seen with
  kSecretWithdrawn,
  kTlsRenewed,
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
    case CloseReason::kWrongClass:
      return "wrong-class";
    case CloseReason::kBadHello:
      return "bad-hello";
    case CloseReason::kNoCommonVersion:
      return "no-common-version";
    case CloseReason::kSelf:
      return "self";
    case CloseReason::kBadTag:
      return "bad-tag";
    case CloseReason::kPeerHasNoSecret:
      return "peer-has-no-secret";
    case CloseReason::kPeerHasSecret:
      return "peer-has-secret";
    case CloseReason::kBadProof:
      return "bad-proof";
    case CloseReason::kReflected:
      return "reflected";
    case CloseReason::kHandshakeEnded:
      return "handshake-ended";
    case CloseReason::kPeerHasNoTls:
      return "peer-has-no-tls";
    case CloseReason::kPeerHasTls:
      return "peer-has-tls";
    case CloseReason::kTlsFailed:
      return "tls-failed";
    case CloseReason::kCertificateMismatch:
      return "certificate-mismatch";
    case CloseReason::kSecretWithdrawn:
      return "secret-withdrawn";
    case CloseReason::kTlsRenewed:
      return "tls-renewed";
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

// What a person can do about it; null if there is nothing to add.
constexpr const char* CloseReasonHint(CloseReason reason) {
  switch (reason) {
    case CloseReason::kPeerHasNoSecret:
      return "this node has a cluster-secret and the peer offers none: set the same one there";
    case CloseReason::kPeerHasSecret:
      return "the peer has a cluster-secret and this node has none: set the same one here";
    case CloseReason::kBadProof:
      return "the peer does not know this node's cluster-secret, or is an impostor";
    case CloseReason::kHandshakeEnded:
      return "the peer closed without a word during the handshake: compare cluster-secret and tls-cluster on both, "
             "and see the peer's log";
    case CloseReason::kPeerHasNoTls:
      return "this node has tls-cluster yes and the peer speaks without TLS: set tls-cluster yes there";
    case CloseReason::kPeerHasTls:
      return "the peer speaks TLS and this node has tls-cluster no: set tls-cluster the same on both";
    case CloseReason::kTlsFailed:
      return "compare tls-cluster, tls-ca-cert-file and the certificates of both";
    case CloseReason::kCertificateMismatch:
      return "the node id was first seen with a certificate of other names; if they were changed on purpose, restart "
             "this node";
    default:
      return nullptr;
  }
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
    case FrameError::kTag:
      return CloseReason::kBadTag;
  }
  return CloseReason::kNone;
}

}  // namespace skein::bus

#endif  // SKEIN_BUS_LINK_CLOSE_REASON_H_
