// cluster-secret on flows: a replica proves that it knows the secret before it is told anything, and is then shown that
// the other end knows it too. The words are in PROTOCOL.md. Pure.
#ifndef SKEIN_NODE_REPLICATION_FLOW_PROOF_H_
#define SKEIN_NODE_REPLICATION_FLOW_PROOF_H_

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bus/trust/trust.h"
#include "node/call.h"
#include "node/replication/logsync.h"

namespace skein::node {

// What the two ends prove to each other for this LOGSYNC, argv[0] included. `acceptor_id` is not needed for the
// dialler's proof.
bus::Introduction AboutFlow(Args words, const std::string& dialler_id, const bus::Nonce& dialler_nonce,
                            const bus::Nonce& acceptor_nonce, const std::string& acceptor_id);

std::string HexOf(const uint8_t* bytes, size_t count);
template <typename Array>
std::string HexOf(const Array& bytes) {
  return HexOf(bytes.data(), bytes.size());
}
// False if it is not exactly that many lower-case digits.
bool FromHex(std::string_view hex, uint8_t* bytes, size_t count);
template <typename Array>
bool FromHex(std::string_view hex, Array* bytes) {
  return FromHex(hex, bytes->data(), bytes->size());
}

// A LOGSYNC that has to be proven, with the session that said it. Counts itself as unproven unless it has been.
class FlowChallenge {
 public:
  FlowChallenge(Args words, LogsyncRequest request, std::atomic<uint64_t>* unproven);
  ~FlowChallenge();
  FlowChallenge(const FlowChallenge&) = delete;
  FlowChallenge& operator=(const FlowChallenge&) = delete;

  // "CHALLENGE VERSION NONCE".
  std::string Line() const;
  // The words of LOGSYNC PROVE. What is to be shown to the dialler, in hexadecimal digits; nothing if they prove
  // nothing.
  std::optional<std::string> Prove(Args words, const bus::Secrets& secrets, const std::string& acceptor_id);
  const LogsyncRequest& request() const { return request_; }

 private:
  std::vector<std::string> words_;
  const LogsyncRequest request_;
  const bus::Nonce nonce_ = bus::NewNonce();
  std::atomic<uint64_t>* const unproven_;
  bool proven_ = false;
};

// The dialler's side of one LOGSYNC.
class FlowProver {
 public:
  // `secrets`: null if this node has none.
  FlowProver(std::vector<std::string> words, std::string dialler_id, bus::SecretsPtr secrets);

  static bool IsChallenge(std::string_view line) { return line.starts_with("CHALLENGE "); }
  // The words that answer it. The error's message says why there are none.
  absl::StatusOr<std::vector<std::string>> Answer(std::string_view challenge);
  // Takes the acceptor's proof off the end of its answer and checks it; or the answer must have none, if this node has
  // no secret.
  absl::Status Check(std::string_view* line, const std::string& acceptor_id) const;
  // The id in an answer, which the proof is about.
  static std::string AcceptorId(std::string_view line);

 private:
  const std::vector<std::string> words_;
  const std::string dialler_id_;
  const bus::SecretsPtr secrets_;
  std::optional<bus::Nonce> nonce_, theirs_;
};

}  // namespace skein::node

#endif  // SKEIN_NODE_REPLICATION_FLOW_PROOF_H_
