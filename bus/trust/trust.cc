#include "bus/trust/trust.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "glog/logging.h"

namespace skein::bus {
namespace {

constexpr char kLabel[] = "skein trust 1";

// Fetched once: a fetch looks through the providers under a lock.
EVP_MAC* Hmac() {
  static EVP_MAC* const mac = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
  CHECK(mac != nullptr) << "OpenSSL has no HMAC";
  return mac;
}
EVP_KDF* Hkdf() {
  static EVP_KDF* const kdf = EVP_KDF_fetch(nullptr, "HKDF", nullptr);
  CHECK(kdf != nullptr) << "OpenSSL has no HKDF";
  return kdf;
}

struct FreeMac {
  void operator()(EVP_MAC_CTX* context) const { EVP_MAC_CTX_free(context); }
};
struct FreeKdf {
  void operator()(EVP_KDF_CTX* context) const { EVP_KDF_CTX_free(context); }
};

std::unique_ptr<EVP_MAC_CTX, FreeMac> KeyedHmac(const SecretKey& key) {
  std::unique_ptr<EVP_MAC_CTX, FreeMac> context(EVP_MAC_CTX_new(Hmac()));
  char digest[] = "SHA256";
  OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                         OSSL_PARAM_construct_end()};
  CHECK(context != nullptr && EVP_MAC_init(context.get(), key.bytes.data(), key.bytes.size(), params) == 1);
  return context;
}

SecretKey Derive(int mode, std::string_view key, std::string_view salt, std::string_view info) {
  std::unique_ptr<EVP_KDF_CTX, FreeKdf> context(EVP_KDF_CTX_new(Hkdf()));
  char digest[] = "SHA256";
  const auto octets = [](const char* name, std::string_view value) {
    return OSSL_PARAM_construct_octet_string(name, const_cast<char*>(value.data()), value.size());
  };
  OSSL_PARAM params[6];
  size_t n = 0;
  params[n++] = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
  params[n++] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0);
  params[n++] = octets(OSSL_KDF_PARAM_KEY, key);
  if (!salt.empty()) params[n++] = octets(OSSL_KDF_PARAM_SALT, salt);
  if (!info.empty()) params[n++] = octets(OSSL_KDF_PARAM_INFO, info);
  params[n] = OSSL_PARAM_construct_end();
  SecretKey result;
  CHECK(context != nullptr && EVP_KDF_derive(context.get(), result.bytes.data(), result.bytes.size(), params) == 1);
  return result;
}

SecretKey Extract(std::string_view salt, std::string_view key) {
  return Derive(EVP_KDF_HKDF_MODE_EXTRACT_ONLY, key, salt, "");
}
std::string_view View(const SecretKey& key) {
  return {reinterpret_cast<const char*>(key.bytes.data()), key.bytes.size()};
}
SecretKey Expand(const SecretKey& key, std::string_view info) {
  return Derive(EVP_KDF_HKDF_MODE_EXPAND_ONLY, View(key), "", info);
}

void AddField(std::string* to, std::string_view field) {
  CHECK_LT(field.size(), size_t{1} << 16);
  to->push_back(static_cast<char>(field.size()));
  to->push_back(static_cast<char>(field.size() >> 8));
  to->append(field);
}
void AddNumber(std::string* to, uint16_t number) {
  to->push_back(static_cast<char>(number));
  to->push_back(static_cast<char>(number >> 8));
}

// Everything that a proof or key is about, so that no two meanings have the same bytes.
std::string Transcript(std::string_view use, TrustRole role, const Introduction& about, std::string_view acceptor_id) {
  std::string text;
  AddField(&text, kLabel);
  AddField(&text, about.purpose);
  AddField(&text, use);
  AddField(&text, role == TrustRole::kDialler ? "dialler" : "acceptor");
  AddNumber(&text, about.min_version);
  AddNumber(&text, about.max_version);
  AddNumber(&text, about.version);
  for (const Nonce* nonce : {&about.dialler_nonce, &about.acceptor_nonce}) {
    AddField(&text, {reinterpret_cast<const char*>(nonce->data()), nonce->size()});
  }
  AddField(&text, about.dialler_id);
  AddField(&text, acceptor_id);
  return text;
}

void Mac(EVP_MAC_CTX* context, std::string_view first, std::string_view second, uint8_t* to) {
  const auto* a = reinterpret_cast<const unsigned char*>(first.data());
  const auto* b = reinterpret_cast<const unsigned char*>(second.data());
  size_t length = 0;
  CHECK(EVP_MAC_update(context, a, first.size()) == 1 && EVP_MAC_update(context, b, second.size()) == 1 &&
        EVP_MAC_final(context, to, &length, kProofBytes) == 1 && length == kProofBytes);
}

}  // namespace

Nonce NewNonce() {
  Nonce nonce;
  CHECK_EQ(RAND_bytes(nonce.data(), static_cast<int>(nonce.size())), 1) << "no randomness";
  return nonce;
}

SecretKey::~SecretKey() { OPENSSL_cleanse(bytes.data(), bytes.size()); }

bool SecretKey::operator==(const SecretKey& other) const {
  return CRYPTO_memcmp(bytes.data(), other.bytes.data(), bytes.size()) == 0;
}

absl::StatusOr<SecretsPtr> Secrets::Create(const std::vector<std::string>& secrets) {
  if (secrets.empty()) return SecretsPtr();
  if (secrets.size() > kMaxSecrets) {
    return absl::InvalidArgumentError(absl::StrCat("more than ", kMaxSecrets, " secrets"));
  }
  std::vector<SecretKey> keys;
  for (size_t i = 0; i < secrets.size(); ++i) {
    const std::string& secret = secrets[i];
    std::string which = secrets.size() > 1 ? absl::StrCat("secret ", i + 1, " of ", secrets.size()) : "the secret";
    if (secret.size() < kMinSecretBytes || secret.size() > kMaxSecretBytes) {
      return absl::InvalidArgumentError(absl::StrCat(which, " must have ", kMinSecretBytes, " to ", kMaxSecretBytes,
                                                     " bytes; 'openssl rand -hex 32' makes a good one"));
    }
    if (std::count(secret.begin(), secret.end(), secret[0]) == static_cast<std::ptrdiff_t>(secret.size())) {
      return absl::InvalidArgumentError(absl::StrCat(which, " is one character again and again"));
    }
    keys.push_back(Extract(kLabel, secret));
    for (size_t other = 0; other < i; ++other) {
      if (keys[other] == keys[i]) return absl::InvalidArgumentError(absl::StrCat(which, " stands there twice"));
    }
  }
  return SecretsPtr(new Secrets(std::move(keys)));
}

Proof Secrets::Prove(size_t secret, TrustRole role, const Introduction& about) const {
  const bool dialler = role == TrustRole::kDialler;
  const SecretKey key = Expand(keys_[secret], "proofs");
  Proof proof;
  Mac(KeyedHmac(key).get(), Transcript("proof", role, about, dialler ? "" : about.acceptor_id), "", proof.data());
  return proof;
}

int Secrets::Check(TrustRole role, const Introduction& about, const Proof& proof) const {
  int found = -1;
  for (size_t i = keys_.size(); i-- > 0;) {
    const Proof right = Prove(i, role, about);
    if (CRYPTO_memcmp(right.data(), proof.data(), proof.size()) == 0) found = static_cast<int>(i);
  }
  return found;
}

SecretKey Secrets::FrameKey(size_t secret, TrustRole from, const Introduction& about) const {
  return Expand(keys_[secret], Transcript("frames", from, about, about.acceptor_id));
}

bool Secrets::Has(const SecretKey& identity) const {
  bool found = false;
  for (const SecretKey& key : keys_) found |= key == identity;
  return found;
}

struct FrameTags::Context {
  std::unique_ptr<EVP_MAC_CTX, FreeMac> mac;
};

FrameTags::FrameTags(const SecretKey& key) : context_(new Context{KeyedHmac(key)}) {}
FrameTags::~FrameTags() = default;

void FrameTags::Compute(const void* frame, size_t length, uint8_t* full) {
  char sequence[8];
  for (size_t i = 0; i < sizeof(sequence); ++i) sequence[i] = static_cast<char>(sequence_ >> (8 * i));
  CHECK_EQ(EVP_MAC_init(context_->mac.get(), nullptr, 0, nullptr), 1);  // from the start, with the same key
  Mac(context_->mac.get(), {sequence, sizeof(sequence)}, {static_cast<const char*>(frame), length}, full);
  ++sequence_;
}

void FrameTags::Seal(const void* frame, size_t length, uint8_t* tag) {
  uint8_t full[kProofBytes];
  Compute(frame, length, full);
  memcpy(tag, full, kTagBytes);
}

bool FrameTags::Check(const void* frame, size_t length, const uint8_t* tag) {
  if (broken_) return false;
  uint8_t full[kProofBytes];
  Compute(frame, length, full);
  broken_ = CRYPTO_memcmp(full, tag, kTagBytes) != 0;
  return !broken_;
}

}  // namespace skein::bus
