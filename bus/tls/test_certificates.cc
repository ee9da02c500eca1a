#include "bus/tls/test_certificates.h"

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "glog/logging.h"

namespace skein::bus {
namespace {

EVP_PKEY* MakeKey() {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  CHECK(key != nullptr);
  return key;
}

void AddExtension(X509* cert, X509* issuer, int nid, const std::string& value) {
  if (value.empty()) return;
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, cert, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  CHECK(extension != nullptr) << value;
  CHECK_EQ(X509_add_ext(cert, extension, -1), 1);
  X509_EXTENSION_free(extension);
}

// Not signed yet. `issuer` null: itself.
X509* MakeCertificate(EVP_PKEY* key, const TestSubject& s, X509* issuer) {
  X509* cert = X509_new();
  X509_set_version(cert, X509_VERSION_3);
  uint64_t serial = 0;
  CHECK_EQ(RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof(serial)), 1);
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), serial >> 1);
  X509_gmtime_adj(X509_getm_notBefore(cert), s.from_s);
  X509_gmtime_adj(X509_getm_notAfter(cert), s.until_s);
  X509_set_pubkey(cert, key);
  X509_NAME* name = X509_get_subject_name(cert);
  X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(s.common_name.data()),
                             static_cast<int>(s.common_name.size()), -1, 0);
  X509_set_issuer_name(cert, issuer == nullptr ? name : X509_get_subject_name(issuer));
  return cert;
}

template <typename F>
std::string Pem(F write) {
  BIO* bio = BIO_new(BIO_s_mem());
  CHECK_EQ(write(bio), 1);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string out(data, static_cast<size_t>(size));
  BIO_free(bio);
  return out;
}

}  // namespace

TestAuthority::TestAuthority(const std::string& name) : key_(MakeKey()) {
  cert_ = MakeCertificate(key_, {.common_name = name}, nullptr);
  AddExtension(cert_, cert_, NID_basic_constraints, "critical,CA:TRUE");
  CHECK_GT(X509_sign(cert_, key_, EVP_sha256()), 0);
}

TestAuthority::~TestAuthority() {
  X509_free(cert_);
  EVP_PKEY_free(key_);
}

std::string TestAuthority::cert() const {
  return Pem([this](BIO* bio) { return PEM_write_bio_X509(bio, cert_); });
}

TestCertificate TestAuthority::Issue(const TestSubject& subject) const {
  EVP_PKEY* key = MakeKey();
  X509* cert = MakeCertificate(key, subject, cert_);
  AddExtension(cert, cert_, NID_subject_alt_name, subject.alternative_names);
  AddExtension(cert, cert_, NID_ext_key_usage, subject.usage);
  CHECK_GT(X509_sign(cert, key_, EVP_sha256()), 0);
  TestCertificate out;
  out.cert = Pem([cert](BIO* bio) { return PEM_write_bio_X509(bio, cert); });
  out.key = Pem([&](BIO* bio) {
    const auto* pass = reinterpret_cast<const unsigned char*>(subject.pass.data());
    return PEM_write_bio_PKCS8PrivateKey(bio, key, subject.pass.empty() ? nullptr : EVP_aes_128_cbc(),
                                         reinterpret_cast<const char*>(pass), static_cast<int>(subject.pass.size()),
                                         nullptr, nullptr);
  });
  X509_free(cert);
  EVP_PKEY_free(key);
  return out;
}

TestFolder::TestFolder() {
  const char* base = getenv("TEST_TMPDIR");
  path_ = std::string(base != nullptr ? base : "/tmp") + "/tls-XXXXXX";
  CHECK(mkdtemp(path_.data()) != nullptr);
}

TestFolder::~TestFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TestFolder::Write(const std::string& name, const std::string& text) const {
  const std::string path = path_ + "/" + name;
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
  return path;
}

std::string TestFingerprint(const std::string& pem) {
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  X509* cert = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
  CHECK(cert != nullptr);
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  X509_digest(cert, EVP_sha256(), digest, &size);
  std::string out;
  for (unsigned int i = 0; i < size; ++i) {
    char hex[3];
    snprintf(hex, sizeof(hex), "%02x", digest[i]);
    out += hex;
  }
  X509_free(cert);
  BIO_free(bio);
  return out;
}

}  // namespace skein::bus
