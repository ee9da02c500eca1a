// Who is let in: certificates, authorities, and who is asked for one.
#include "bus/tls/stream_testing.h"

namespace skein::bus {
namespace {

using Role = TlsStream::Role;

// Shakes hands with a client that has `certificate` (none: empty files) and trusts `site`'s authority. Whether the
// server let it in; `error`: the server's.
bool LetIn(const TestSite& site, TlsAuthClients auth, Role role, const TestCertificate& certificate,
           std::string* error) {
  TlsOptions o = site.options;
  o.auth_clients = auth;
  SocketPair sockets;
  const auto near = TlsStream::Create(TestSite::Context(o), sockets.fd[0], role);
  SSL_CTX* ctx = SSL_CTX_new(TLS_client_method());
  if (!certificate.cert.empty()) {
    TestFolder folder;
    const std::string cert = folder.Write("c", certificate.cert), key = folder.Write("k", certificate.key);
    CHECK_EQ(SSL_CTX_use_certificate_file(ctx, cert.c_str(), SSL_FILETYPE_PEM), 1);
    CHECK_EQ(SSL_CTX_use_PrivateKey_file(ctx, key.c_str(), SSL_FILETYPE_PEM), 1);
  }
  SSL* ssl = SSL_new(ctx);
  SSL_set_fd(ssl, sockets.fd[1]);
  SSL_set_connect_state(ssl);
  int result = -EAGAIN;
  for (int i = 0; i < 20 && result == -EAGAIN; ++i) {
    SSL_do_handshake(ssl);
    result = near->Handshake();
  }
  EXPECT_NE(result, -EAGAIN);
  *error = near->error();
  SSL_free(ssl);
  SSL_CTX_free(ctx);
  return result == 0;
}

TEST(VerifyTest, AskedForACertificate) {
  TestSite site;
  const TestCertificate good = site.authority.Issue({.common_name = "client"});
  const TestCertificate none;
  std::string error;
  EXPECT_TRUE(LetIn(site, TlsAuthClients::kYes, Role::kAcceptClient, good, &error)) << error;
  EXPECT_FALSE(LetIn(site, TlsAuthClients::kYes, Role::kAcceptClient, none, &error));
  EXPECT_EQ(error, "peer did not return a certificate");
  EXPECT_TRUE(LetIn(site, TlsAuthClients::kOptional, Role::kAcceptClient, good, &error)) << error;
  EXPECT_TRUE(LetIn(site, TlsAuthClients::kOptional, Role::kAcceptClient, none, &error)) << error;
  EXPECT_TRUE(LetIn(site, TlsAuthClients::kNo, Role::kAcceptClient, good, &error)) << error;
  EXPECT_TRUE(LetIn(site, TlsAuthClients::kNo, Role::kAcceptClient, none, &error)) << error;
}

TEST(VerifyTest, APeerAlwaysShowsOne) {
  TestSite site;
  const TestCertificate good = site.authority.Issue({.common_name = "peer"});
  std::string error;
  for (const TlsAuthClients auth : {TlsAuthClients::kYes, TlsAuthClients::kOptional, TlsAuthClients::kNo}) {
    EXPECT_TRUE(LetIn(site, auth, Role::kAcceptPeer, good, &error)) << error;
    EXPECT_FALSE(LetIn(site, auth, Role::kAcceptPeer, {}, &error));
  }
}

TEST(VerifyTest, WhatIsShownMustBeGood) {
  TestSite site;
  const TestAuthority stranger("authority");  // the same name, another key
  std::string error;
  for (const TlsAuthClients auth : {TlsAuthClients::kYes, TlsAuthClients::kOptional}) {
    EXPECT_FALSE(LetIn(site, auth, Role::kAcceptClient, stranger.Issue({.common_name = "client"}), &error));
    EXPECT_TRUE(error.starts_with("certificate verify failed: ")) << error;
    EXPECT_FALSE(LetIn(site, auth, Role::kAcceptClient,
                       site.authority.Issue({.common_name = "old", .from_s = -7200, .until_s = -60}), &error));
    EXPECT_EQ(error, "certificate verify failed: certificate has expired");
    EXPECT_FALSE(LetIn(site, auth, Role::kAcceptClient,
                       site.authority.Issue({.common_name = "early", .from_s = 3600, .until_s = 7200}), &error));
    EXPECT_EQ(error, "certificate verify failed: certificate is not yet valid");
    EXPECT_FALSE(LetIn(site, auth, Role::kAcceptClient,
                       site.authority.Issue({.common_name = "server", .usage = "serverAuth"}), &error));
    EXPECT_NE(error.find("certificate purpose"), std::string::npos) << error;
  }
}

TEST(VerifyTest, WhoDialsChecksTheServer) {
  TestSite ours, theirs;
  TlsPair pair(theirs.Context(), ours.Context());
  pair.Shake();
  EXPECT_EQ(pair.far_result, -EPROTO);
  EXPECT_TRUE(pair.far->error().starts_with("certificate verify failed: ")) << pair.far->error();

  TestSite expired(TestSubject{.common_name = "node", .from_s = -7200, .until_s = -60});
  TlsPair old(expired.Context(), expired.Context());
  old.Shake();
  EXPECT_EQ(old.far_result, -EPROTO);
  EXPECT_EQ(old.far->error(), "certificate verify failed: certificate has expired");
}

TEST(VerifyTest, WhoWasRefusedHearsWhy) {
  TestSite ours, theirs;
  TlsOptions o = theirs.options;  // trusts ours, but is not trusted by it
  o.ca_cert_file = ours.options.ca_cert_file;
  TlsPair pair(ours.Context(), TestSite::Context(o));
  pair.Shake();
  EXPECT_EQ(pair.near_result, -EPROTO);
  char byte;
  EXPECT_EQ(pair.far->Read(&byte, 1), -EPROTO);
  EXPECT_NE(pair.far->error().find("alert"), std::string::npos) << pair.far->error();
}

TEST(VerifyTest, DialsWithItsClientCertificate) {
  TestSite site;
  const TestCertificate client = site.authority.Issue({.common_name = "dialler", .usage = "clientAuth"});
  TlsOptions o = site.options;
  o.client_cert_file = site.folder.Write("client.crt", client.cert);
  o.client_key_file = site.folder.Write("client.key", client.key);
  TlsPair pair(TestSite::Context(o), TestSite::Context(o), Role::kAcceptPeer);
  pair.Shake();
  ASSERT_EQ(pair.near_result, 0) << pair.near->error();
  EXPECT_EQ(pair.near->peer().common_name, "dialler");
  EXPECT_EQ(pair.far->peer().common_name, "node");
}

TEST(VerifyTest, NamesThePeer) {
  TestSite site(TestSubject{.common_name = "n\xc3\xb6"
                                           "de",
                            .alternative_names = "URI:skein:node/0123,DNS:node.example,IP:127.0.0.1,IP:::1"});
  TlsPair pair(site.Context(), site.Context());
  EXPECT_FALSE(pair.near->peer().present()) << "before the handshake nobody is known";
  pair.Shake();
  ASSERT_EQ(pair.near_result, 0) << pair.near->error();
  const TlsPeer peer = pair.near->peer();
  EXPECT_EQ(peer.common_name,
            "n\xc3\xb6"
            "de");
  EXPECT_EQ(peer.names,
            (std::vector<std::string>{"DNS:node.example", "IP:127.0.0.1", "IP:::1", "URI:skein:node/0123"}));
  EXPECT_EQ(peer.fingerprint, TestFingerprint(site.certificate));
}

TEST(VerifyTest, ProtocolsThatDoNotMeetAreRefused) {
  TestSite site;
  TlsOptions old = site.options, current = site.options;
  old.protocols = "TLSv1.2";
  current.protocols = "TLSv1.3";
  TlsPair pair(TestSite::Context(current), TestSite::Context(old));
  pair.Shake();
  EXPECT_EQ(pair.near_result, -EPROTO);
  EXPECT_EQ(pair.near->error(), "unsupported protocol");
}

TEST(VerifyTest, AFolderOfAuthoritiesServes) {
  TestSite site;
  const std::string folder = site.folder.path() + "/authorities";
  ASSERT_EQ(mkdir(folder.c_str(), 0700), 0);
  // Found under the hash of its subject, as `openssl rehash` names it.
  X509_NAME* name = X509_NAME_new();
  X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>("authority"),
                             -1, -1, 0);
  char hash[16];
  snprintf(hash, sizeof(hash), "%08lx.0", X509_NAME_hash_ex(name, nullptr, nullptr, nullptr));
  X509_NAME_free(name);
  site.folder.Write(std::string("authorities/") + hash, site.authority.cert());
  TlsOptions o = site.options;
  o.ca_cert_file.clear();
  o.ca_cert_dir = folder;
  TlsPair pair(TestSite::Context(o), TestSite::Context(o));
  pair.Shake();
  EXPECT_EQ(pair.near_result, 0) << pair.near->error();
  EXPECT_EQ(pair.far_result, 0) << pair.far->error();
}

}  // namespace
}  // namespace skein::bus
