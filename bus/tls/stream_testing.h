// Two ends of a connection over a pair of sockets, driven by one thread; the far end may also be OpenSSL itself, to do
// what our own client never does.
#ifndef SKEIN_BUS_TLS_STREAM_TESTING_H_
#define SKEIN_BUS_TLS_STREAM_TESTING_H_

#include <fcntl.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>
#include <string_view>

#include "bus/tls/test_certificates.h"
#include "bus/tls/tls.h"
#include "glog/logging.h"
#include "gtest/gtest.h"

namespace skein::bus {

// An authority, a certificate of it, and options that use both.
struct TestSite {
  TestSite() : TestSite(TestSubject{"node"}) {}
  explicit TestSite(const TestSubject& subject) : authority("authority") {
    const TestCertificate own = authority.Issue(subject);
    certificate = own.cert;
    options.cert_file = folder.Write("node.crt", own.cert);
    options.key_file = folder.Write("node.key", own.key);
    options.key_file_pass = subject.pass;
    options.ca_cert_file = folder.Write("ca.crt", authority.cert());
  }
  TlsContextPtr Context() const { return Context(options); }
  static TlsContextPtr Context(const TlsOptions& o) {
    absl::StatusOr<TlsContextPtr> made = TlsContext::Create(o);
    CHECK(made.ok()) << made.status();
    return *made;
  }
  TestFolder folder;
  TestAuthority authority;
  std::string certificate;
  TlsOptions options;
};

struct SocketPair {
  SocketPair() { CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0); }
  ~SocketPair() {
    for (int i : {0, 1}) Close(i);
  }
  void Close(int i) {
    if (fd[i] >= 0) close(fd[i]);
    fd[i] = -1;
  }
  int fd[2];
};

// Both handshakes, in turns, until both have ended one way or the other.
inline void Shake(TlsStream* a, TlsStream* b, int* result_a, int* result_b) {
  *result_a = *result_b = -EAGAIN;
  for (int i = 0; i < 100 && (*result_a == -EAGAIN || *result_b == -EAGAIN); ++i) {
    if (*result_a == -EAGAIN) *result_a = a->Handshake();
    if (*result_b == -EAGAIN) *result_b = b->Handshake();
    if (*result_a < 0 && *result_a != -EAGAIN && *result_b == -EAGAIN) *result_b = b->Handshake();
    if (*result_a < 0 && *result_a != -EAGAIN) return;
    if (*result_b < 0 && *result_b != -EAGAIN) return;
  }
}

// A connection of `server`'s kind, dialled with `client`'s context.
struct TlsPair {
  TlsPair(TlsContextPtr server, TlsContextPtr client, TlsStream::Role role = TlsStream::Role::kAcceptClient)
      : near(TlsStream::Create(std::move(server), sockets.fd[0], role)),
        far(TlsStream::Create(std::move(client), sockets.fd[1], TlsStream::Role::kDial)) {}
  void Shake() { bus::Shake(far.get(), near.get(), &far_result, &near_result); }
  SocketPair sockets;
  std::unique_ptr<TlsStream> near, far;
  int near_result = -EAGAIN, far_result = -EAGAIN;
};

inline ssize_t Put(TlsStream* s, std::string_view text) { return s->Write(text.data(), text.size()); }
inline std::string Get(TlsStream* s, size_t most = 64 * 1024) {
  std::string out(most, '\0');
  const ssize_t n = s->Read(out.data(), most);
  out.resize(n > 0 ? static_cast<size_t>(n) : 0);
  return out;
}

// OpenSSL's own client on a socket.
struct RawClient {
  explicit RawClient(const TestSite& site, int version = TLS1_3_VERSION) : ctx(SSL_CTX_new(TLS_client_method())) {
    SSL_CTX_set_min_proto_version(ctx, version);
    SSL_CTX_set_max_proto_version(ctx, version);
    SSL_CTX_use_certificate_file(ctx, site.options.cert_file.c_str(), SSL_FILETYPE_PEM);
    SSL_CTX_use_PrivateKey_file(ctx, site.options.key_file.c_str(), SSL_FILETYPE_PEM);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_set_app_data(ctx, this);
    SSL_CTX_sess_set_new_cb(ctx, [](SSL* s, SSL_SESSION* session) {
      auto* self = static_cast<RawClient*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(s)));
      SSL_SESSION_free(self->session);
      self->session = session;
      return 1;
    });
  }
  ~RawClient() {
    SSL_free(ssl);
    SSL_SESSION_free(session);
    SSL_CTX_free(ctx);
  }
  void Dial(int fd) {
    SSL_free(ssl);
    ssl = SSL_new(ctx);
    SSL_set_fd(ssl, fd);
    if (session != nullptr) SSL_set_session(ssl, session);
    SSL_set_connect_state(ssl);
  }
  // Both sides until done; whether both succeeded.
  bool Shake(TlsStream* server) {
    int mine = 0, theirs = -EAGAIN;
    for (int i = 0; i < 100 && (mine != 1 || theirs != 0); ++i) {
      if (mine != 1) mine = SSL_do_handshake(ssl);
      if (theirs == -EAGAIN) theirs = server->Handshake();
      if (theirs < 0 && theirs != -EAGAIN) return false;
    }
    return mine == 1 && theirs == 0;
  }
  SSL_CTX* ctx;
  SSL* ssl = nullptr;
  SSL_SESSION* session = nullptr;
};

}  // namespace skein::bus

#endif  // SKEIN_BUS_TLS_STREAM_TESTING_H_
