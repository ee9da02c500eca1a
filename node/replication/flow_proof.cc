#include "node/replication/flow_proof.h"

#include <openssl/evp.h>

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "glog/logging.h"

namespace skein::node {
namespace {

// Each word with its length before it, so that no two lists of words have the same digest.
std::string DigestOf(Args words) {
  std::string text;
  for (const std::string_view word : words) text.append(std::to_string(word.size())).append(":").append(word);
  uint8_t digest[32];
  unsigned size = 0;
  CHECK(EVP_Digest(text.data(), text.size(), digest, &size, EVP_sha256(), nullptr) == 1 && size == sizeof digest);
  return HexOf(digest, sizeof digest);
}

std::vector<std::string_view> Views(const std::vector<std::string>& words) { return {words.begin(), words.end()}; }

}  // namespace

std::string HexOf(const uint8_t* bytes, size_t count) {
  return absl::BytesToHexString({reinterpret_cast<const char*>(bytes), count});
}

bool FromHex(std::string_view hex, uint8_t* bytes, size_t count) {
  if (hex.size() != 2 * count) return false;
  const auto digit = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; };
  for (size_t i = 0; i < count; ++i) {
    const int high = digit(hex[2 * i]), low = digit(hex[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    bytes[i] = static_cast<uint8_t>(high << 4 | low);
  }
  return true;
}

bus::Introduction AboutFlow(Args words, const std::string& dialler_id, const bus::Nonce& dialler_nonce,
                            const bus::Nonce& acceptor_nonce, const std::string& acceptor_id) {
  bus::Introduction about;
  about.purpose = "replication " + DigestOf(words);
  about.min_version = about.max_version = about.version = kFlowVersion;
  about.dialler_nonce = dialler_nonce;
  about.acceptor_nonce = acceptor_nonce;
  about.dialler_id = dialler_id;
  about.acceptor_id = acceptor_id;
  return about;
}

FlowChallenge::FlowChallenge(Args words, LogsyncRequest request, std::atomic<uint64_t>* unproven)
    : words_(words.begin(), words.end()), request_(std::move(request)), unproven_(unproven) {}

FlowChallenge::~FlowChallenge() {
  if (!proven_) unproven_->fetch_add(1, std::memory_order_relaxed);
}

std::string FlowChallenge::Line() const { return absl::StrCat("CHALLENGE ", kFlowVersion, " ", HexOf(nonce_)); }

std::optional<std::string> FlowChallenge::Prove(Args words, const bus::Secrets& secrets,
                                                const std::string& acceptor_id) {
  bus::Nonce theirs;
  bus::Proof proof;
  if (words.size() != 4 || !FromHex(words[2], &theirs) || !FromHex(words[3], &proof)) return std::nullopt;
  const bus::Introduction about = AboutFlow(Views(words_), request_.replica_id, theirs, nonce_, acceptor_id);
  const int secret = secrets.Check(bus::TrustRole::kDialler, about, proof);
  if (secret < 0) return std::nullopt;
  proven_ = true;
  return HexOf(secrets.Prove(static_cast<size_t>(secret), bus::TrustRole::kAcceptor, about));
}

FlowProver::FlowProver(std::vector<std::string> words, std::string dialler_id, bus::SecretsPtr secrets)
    : words_(std::move(words)), dialler_id_(std::move(dialler_id)), secrets_(std::move(secrets)) {}

absl::StatusOr<std::vector<std::string>> FlowProver::Answer(std::string_view challenge) {
  if (secrets_ == nullptr) {
    return absl::FailedPreconditionError("it asks for a proof of cluster-secret, and this node has none");
  }
  const std::string head = absl::StrCat("CHALLENGE ", kFlowVersion, " ");
  bus::Nonce theirs;
  if (theirs_ || !challenge.starts_with(head) || !FromHex(challenge.substr(head.size()), &theirs)) {
    return absl::InvalidArgumentError("its challenge is not understood");
  }
  theirs_ = theirs;
  nonce_ = bus::NewNonce();
  const bus::Introduction about = AboutFlow(Views(words_), dialler_id_, *nonce_, theirs, "");
  return std::vector<std::string>{"LOGSYNC", "PROVE", HexOf(*nonce_),
                                  HexOf(secrets_->Prove(0, bus::TrustRole::kDialler, about))};
}

std::string FlowProver::AcceptorId(std::string_view line) {
  for (int word = 0; word < 2; ++word) {
    const size_t end = line.find(' ');
    if (end == std::string_view::npos) return {};
    line.remove_prefix(end + 1);
  }
  return std::string(line.substr(0, line.find(' ')));
}

absl::Status FlowProver::Check(std::string_view* line, const std::string& acceptor_id) const {
  if (secrets_ == nullptr) return absl::OkStatus();
  if (!theirs_) {
    return absl::FailedPreconditionError("it asks for no proof of cluster-secret, which is set here and not there");
  }
  const size_t at = line->rfind(' ');
  bus::Proof proof;
  if (at == std::string_view::npos || !FromHex(line->substr(at + 1), &proof) ||
      secrets_->Check(bus::TrustRole::kAcceptor, AboutFlow(Views(words_), dialler_id_, *nonce_, *theirs_, acceptor_id),
                      proof) < 0) {
    return absl::PermissionDeniedError("it does not prove that it knows cluster-secret");
  }
  *line = line->substr(0, at);
  return absl::OkStatus();
}

}  // namespace skein::node
