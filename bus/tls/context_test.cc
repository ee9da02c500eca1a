#include <gtest/gtest.h>
#include <sys/stat.h>

#include "bus/tls/test_certificates.h"
#include "bus/tls/tls.h"

namespace skein::bus {
namespace {

class ContextTest : public ::testing::Test {
 protected:
  ContextTest() : authority_("authority") {
    const TestCertificate own = authority_.Issue({.common_name = "node"});
    o_.cert_file = folder_.Write("node.crt", own.cert);
    o_.key_file = folder_.Write("node.key", own.key);
    o_.ca_cert_file = folder_.Write("ca.crt", authority_.cert());
  }
  std::string Refusal(const TlsOptions& o) {
    const absl::StatusOr<TlsContextPtr> made = TlsContext::Create(o);
    return made.ok() ? "accepted" : std::string(made.status().message());
  }
  std::string Path(const std::string& name) { return folder_.path() + "/" + name; }

  TestFolder folder_;
  TestAuthority authority_;
  TlsOptions o_;
};

TEST_F(ContextTest, TakesWhatIsRight) { EXPECT_EQ(Refusal(o_), "accepted"); }

TEST_F(ContextTest, NamesDirectiveFileAndReasonOfWhatCannotBeRead) {
  TlsOptions o = o_;
  o.cert_file = Path("none.crt");
  EXPECT_EQ(Refusal(o), "'tls-cert-file " + Path("none.crt") + "': No such file or directory");
  o = o_;
  o.key_file = folder_.path();
  EXPECT_EQ(Refusal(o), "'tls-key-file " + folder_.path() + "': Is a directory");
  o = o_;
  o.ca_cert_file = Path("none.crt");
  EXPECT_EQ(Refusal(o), "'tls-ca-cert-file " + Path("none.crt") + "': No such file or directory");
  o = o_;
  o.ca_cert_dir = o.cert_file;
  EXPECT_EQ(Refusal(o), "'tls-ca-cert-dir " + o.cert_file + "': Not a directory");
  o = o_;
  o.dh_params_file = Path("none.pem");
  EXPECT_EQ(Refusal(o), "'tls-dh-params-file " + Path("none.pem") + "': No such file or directory");
}

TEST_F(ContextTest, NamesDirectiveFileAndReasonOfWhatIsNoCertificateOrKey) {
  TlsOptions o = o_;
  o.cert_file = folder_.Write("bad.crt", "not a certificate\n");
  EXPECT_EQ(Refusal(o), "'tls-cert-file " + o.cert_file + "': no start line");
  o = o_;
  o.key_file = folder_.Write("bad.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
  EXPECT_TRUE(Refusal(o).starts_with("'tls-key-file " + o.key_file + "': ")) << Refusal(o);
  o = o_;
  o.ca_cert_file = folder_.Write("bad.ca", "");
  EXPECT_TRUE(Refusal(o).starts_with("'tls-ca-cert-file " + o.ca_cert_file + "': ")) << Refusal(o);
  o = o_;
  o.dh_params_file = o.cert_file;
  EXPECT_TRUE(Refusal(o).starts_with("'tls-dh-params-file " + o.cert_file + "': ")) << Refusal(o);
}

TEST_F(ContextTest, RefusesAKeyOfAnotherCertificate) {
  TlsOptions o = o_;
  o.key_file = folder_.Write("other.key", authority_.Issue({.common_name = "other"}).key);
  EXPECT_EQ(Refusal(o), "'tls-key-file " + o.key_file + "': key values mismatch (tls-cert-file " + o.cert_file + ")");
}

TEST_F(ContextTest, ReadsAnEncryptedKeyWithItsPassphraseAndNeverAsks) {
  const TestCertificate locked = authority_.Issue({.common_name = "node", .pass = "open sesame"});
  TlsOptions o = o_;
  o.cert_file = folder_.Write("locked.crt", locked.cert);
  o.key_file = folder_.Write("locked.key", locked.key);
  o.key_file_pass = "open sesame";
  EXPECT_EQ(Refusal(o), "accepted");
  o.key_file_pass.clear();
  EXPECT_EQ(Refusal(o), "'tls-key-file " + o.key_file + "': it is encrypted: set tls-key-file-pass");
  o.key_file_pass = "wrong";
  EXPECT_EQ(Refusal(o), "'tls-key-file " + o.key_file + "': it cannot be decrypted with tls-key-file-pass");
}

TEST_F(ContextTest, ASeparateClientCertificateIsCheckedUnderItsOwnNames) {
  const TestCertificate client = authority_.Issue({.common_name = "client"});
  TlsOptions o = o_;
  o.client_cert_file = folder_.Write("client.crt", client.cert);
  EXPECT_EQ(Refusal(o), "tls-client-cert-file and tls-client-key-file go together: set both or neither");
  o.client_key_file = o.key_file;
  EXPECT_TRUE(Refusal(o).starts_with("'tls-client-key-file " + o.key_file + "': key values mismatch")) << Refusal(o);
  o.client_key_file = folder_.Write("client.key", client.key);
  EXPECT_EQ(Refusal(o), "accepted");
}

TEST_F(ContextTest, WantsCertificateKeyAndAuthority) {
  TlsOptions o = o_;
  o.cert_file.clear();
  EXPECT_EQ(Refusal(o), "TLS needs a certificate: set tls-cert-file");
  o = o_;
  o.key_file.clear();
  EXPECT_EQ(Refusal(o), "TLS needs a private key: set tls-key-file");
  o = o_;
  o.ca_cert_file.clear();
  EXPECT_NE(Refusal(o).find("set tls-ca-cert-file or tls-ca-cert-dir"), std::string::npos);
  o.auth_clients = TlsAuthClients::kNo;
  EXPECT_EQ(Refusal(o), "accepted");
  o.auth_clients = TlsAuthClients::kOptional;
  o.ca_cert_dir = folder_.path();
  EXPECT_EQ(Refusal(o), "accepted");
}

TEST_F(ContextTest, RefusesUnknownProtocolsAndCiphersInWords) {
  TlsOptions o = o_;
  o.protocols = "tlsv1.2 TLSv1.3";
  EXPECT_EQ(Refusal(o), "accepted");
  o.protocols = "TLSv1.2 SSLv3";
  EXPECT_EQ(Refusal(o), "'tls-protocols TLSv1.2 SSLv3': 'SSLv3' is none of TLSv1, TLSv1.1, TLSv1.2, TLSv1.3");
  o = o_;
  o.ciphers = "NO-SUCH-CIPHER";
  EXPECT_EQ(Refusal(o), "'tls-ciphers NO-SUCH-CIPHER': no cipher match");
  o = o_;
  o.ciphersuites = "TLS_NO_SUCH";
  EXPECT_TRUE(Refusal(o).starts_with("'tls-ciphersuites TLS_NO_SUCH': ")) << Refusal(o);
}

TEST_F(ContextTest, TakesDhParameters) {
  // The 2048-bit group of RFC 7919 section A.1.
  constexpr char kParams[] =
      "-----BEGIN DH PARAMETERS-----\n"
      "MIIBDAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz\n"
      "+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a\n"
      "87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7\n"
      "YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi\n"
      "7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD\n"
      "ssbzSibBsu/6iGtCOGEoXJf//////////wIBAgICAOE=\n"
      "-----END DH PARAMETERS-----\n";
  TlsOptions o = o_;
  o.dh_params_file = folder_.Write("dh.pem", kParams);
  EXPECT_EQ(Refusal(o), "accepted");
}

}  // namespace
}  // namespace skein::bus
