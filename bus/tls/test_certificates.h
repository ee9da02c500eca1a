// Certificates for tests: an authority that issues them, and a folder for their files.
#ifndef SKEIN_BUS_TLS_TEST_CERTIFICATES_H_
#define SKEIN_BUS_TLS_TEST_CERTIFICATES_H_

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <string>
#include <vector>

namespace skein::bus {

struct TestCertificate {
  std::string cert, key;  // PEM
};

struct TestSubject {
  std::string common_name;
  std::string alternative_names = {};  // as openssl.cnf has them: "DNS:a,URI:skein:node/1,IP:127.0.0.1"; empty: none
  int64_t from_s = -3600, until_s = 3600;  // validity, seconds from now
  std::string usage = {};                  // extendedKeyUsage: "serverAuth", "clientAuth"; empty: both
  std::string pass = {};                   // of the key; empty: not encrypted
};

class TestAuthority {
 public:
  explicit TestAuthority(const std::string& name);
  ~TestAuthority();
  std::string cert() const;  // PEM
  TestCertificate Issue(const TestSubject& subject) const;

 private:
  EVP_PKEY* key_;
  X509* cert_;
};

// A new folder; it and what is in it go with the object.
class TestFolder {
 public:
  TestFolder();
  ~TestFolder();
  const std::string& path() const { return path_; }
  // Writes a file and gives its path.
  std::string Write(const std::string& name, const std::string& text) const;

 private:
  std::string path_;
};

// The SHA-256 of a certificate in PEM, lower-case hex.
std::string TestFingerprint(const std::string& pem);

}  // namespace skein::bus

#endif  // SKEIN_BUS_TLS_TEST_CERTIFICATES_H_
