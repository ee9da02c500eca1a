// The shared secret: how two nodes prove to each other that both know it without sending it, and how what they say
// afterwards is authenticated. Knows nothing of frames, sockets or threads; the bus and replication both stand on it.
//
// The dialler speaks first and proves first:
//
//   dialler   -> its id, the versions it speaks, a nonce
//   acceptor  -> the version chosen, a nonce                                  (nothing of itself)
//   dialler   -> Prove(kDialler): over purpose, version, both nonces, its id
//   acceptor  -> its id, Prove(kAcceptor): over all that and its own id
//
// then each direction has a key of its own, made from the secret and everything that was said. Keys are HKDF-SHA-256
// (RFC 5869), proofs and tags HMAC-SHA-256 (RFC 2104), by OpenSSL.
//
// What it does not do: it hides nothing (that is TLS), and who sees a proof can try guesses against it offline; hence
// the least length of a secret, and the advice to draw it at random.
#ifndef SKEIN_BUS_TRUST_TRUST_H_
#define SKEIN_BUS_TRUST_TRUST_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace skein::bus {

inline constexpr size_t kMinSecretBytes = 16;
inline constexpr size_t kMaxSecretBytes = 1024;
inline constexpr size_t kMaxSecrets = 8;
inline constexpr size_t kNonceBytes = 32;
inline constexpr size_t kProofBytes = 32;
inline constexpr size_t kTagBytes = 16;

using Nonce = std::array<uint8_t, kNonceBytes>;
using Proof = std::array<uint8_t, kProofBytes>;

// Unpredictable bytes.
Nonce NewNonce();

enum class TrustRole : uint8_t { kDialler, kAcceptor };

// What the two sides have said of themselves.
struct Introduction {
  std::string purpose;                        // "bus", "replication": a proof for one is none for the other
  uint16_t min_version = 0, max_version = 0;  // what the dialler offered
  uint16_t version = 0;                       // what the acceptor chose
  Nonce dialler_nonce{}, acceptor_nonce{};
  std::string dialler_id, acceptor_id;  // the acceptor's is not known to the dialler when it proves itself
};

// 256 bits that are wiped when they go.
class SecretKey {
 public:
  SecretKey() = default;
  SecretKey(const SecretKey&) = default;
  SecretKey& operator=(const SecretKey&) = default;
  ~SecretKey();
  bool operator==(const SecretKey& other) const;  // in constant time
  std::array<uint8_t, 32> bytes{};
};

// The secrets of a node, newest first: it proves itself by the first and accepts a proof by any. Immutable, any thread.
class Secrets {
 public:
  // Null for none. InvalidArgument says what is wrong with which; never what it is.
  static absl::StatusOr<std::shared_ptr<const Secrets>> Create(const std::vector<std::string>& secrets);

  size_t size() const { return keys_.size(); }
  // `secret`: an index.
  Proof Prove(size_t secret, TrustRole role, const Introduction& introduction) const;
  // The secret by which `proof` was made in this role; -1 if by none. The time does not depend on which, or how much of
  // it is right.
  int Check(TrustRole role, const Introduction& introduction, const Proof& proof) const;
  // The key of what `from` sends after both have proven themselves.
  SecretKey FrameKey(size_t secret, TrustRole from, const Introduction& introduction) const;
  // What a secret is recognised by after the list has changed; not the secret, and not to be shown.
  const SecretKey& identity(size_t secret) const { return keys_[secret]; }
  bool Has(const SecretKey& identity) const;

 private:
  explicit Secrets(std::vector<SecretKey> keys) : keys_(std::move(keys)) {}
  std::vector<SecretKey> keys_;
};
using SecretsPtr = std::shared_ptr<const Secrets>;

// Tags of the frames of one direction of one connection. Each covers the frame's place in the order of all of them, so
// that none can be left out, repeated, swapped or carried to another connection. One thread at a time.
class FrameTags {
 public:
  explicit FrameTags(const SecretKey& key);
  ~FrameTags();
  FrameTags(const FrameTags&) = delete;

  // The tag of the next frame, kTagBytes of it.
  void Seal(const void* frame, size_t length, uint8_t* tag);
  // Whether this is the next frame; in constant time. After a false nothing is accepted any more.
  bool Check(const void* frame, size_t length, const uint8_t* tag);
  uint64_t frames() const { return sequence_; }

 private:
  void Compute(const void* frame, size_t length, uint8_t* full);
  struct Context;
  std::unique_ptr<Context> context_;
  uint64_t sequence_ = 0;
  bool broken_ = false;
};

}  // namespace skein::bus

#endif  // SKEIN_BUS_TRUST_TRUST_H_
