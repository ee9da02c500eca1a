// For tests of sessions over TLS: certificates, and a client that speaks it.
#ifndef SKEIN_NODE_SESSION_TLS_TESTING_H_
#define SKEIN_NODE_SESSION_TLS_TESTING_H_

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bus/tls/test_certificates.h"
#include "glog/logging.h"
#include "node/config/config.h"
#include "node/node_testing.h"

namespace skein::node {

// The certificates of a node and of its clients.
struct Site {
  Site() : authority("authority") {
    const bus::TestCertificate own = authority.Issue({.common_name = "node"});
    cert = folder.Write("node.crt", own.cert);
    key = folder.Write("node.key", own.key);
    ca = folder.Write("ca.crt", authority.cert());
  }
  void Configure(Config* c) const {
    c->tls_port = 1;
    c->tls_cert_file = cert;
    c->tls_key_file = key;
    c->tls_ca_cert_file = ca;
  }
  bus::TestFolder folder;
  bus::TestAuthority authority;
  std::string cert, key, ca;
};

inline int Connect(uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  PCHECK(connect(fd, reinterpret_cast<sockaddr*>(&a), sizeof(a)) == 0);
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  const timeval limit{10, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  return fd;
}

// A blocking client that speaks TLS.
class SecureClient {
 public:
  explicit SecureClient(uint16_t port, const Site* site, bool shake = true) : fd_(Connect(port)) {
    signal(SIGPIPE, SIG_IGN);  // OpenSSL's own sockets raise it
    ctx_ = SSL_CTX_new(TLS_client_method());
    if (site != nullptr) {
      SSL_CTX_use_certificate_file(ctx_, site->cert.c_str(), SSL_FILETYPE_PEM);
      SSL_CTX_use_PrivateKey_file(ctx_, site->key.c_str(), SSL_FILETYPE_PEM);
    }
    ssl_ = SSL_new(ctx_);
    SSL_set_fd(ssl_, fd_);
    if (shake) Shake();
  }
  SecureClient(SecureClient&& o) noexcept
      : ok(o.ok),
        fd_(std::exchange(o.fd_, -1)),
        ctx_(std::exchange(o.ctx_, nullptr)),
        ssl_(std::exchange(o.ssl_, nullptr)) {}
  ~SecureClient() {
    SSL_free(ssl_);
    SSL_CTX_free(ctx_);
    if (fd_ >= 0) close(fd_);
  }
  void Shake() { ok = SSL_connect(ssl_) == 1; }
  void Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const int n = SSL_write(ssl_, bytes.data(), static_cast<int>(std::min<size_t>(bytes.size(), 1 << 30)));
      if (n <= 0) return;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
  }
  std::string Read(size_t n) {
    std::string out(n, '\0');
    size_t have = 0;
    while (have < n) {
      const int got = SSL_read(ssl_, out.data() + have, static_cast<int>(std::min<size_t>(n - have, 1 << 30)));
      if (got <= 0) break;
      have += static_cast<size_t>(got);
    }
    out.resize(have);
    return out;
  }
  std::string ReadLine() {
    std::string line;
    while (!line.ends_with("\r\n")) {
      const std::string byte = Read(1);
      if (byte.empty()) return line + "<end>";
      line += byte;
    }
    line.resize(line.size() - 2);
    return line;
  }
  // Of one reply that is no collection.
  std::string Ask(const std::vector<std::string>& words) {
    Send(TestClient::Encode(words));
    const std::string line = ReadLine();
    if (line.empty() || line[0] != '$' || line == "$-1") return line;
    const std::string body = Read(std::stoul(line.substr(1)) + 2);
    return body.substr(0, body.size() < 2 ? 0 : body.size() - 2);
  }
  void EndSending() { SSL_shutdown(ssl_); }
  std::string ServerFingerprint() const {
    X509* cert = SSL_get1_peer_certificate(ssl_);
    BIO* bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, cert);
    char* data;
    const long size = BIO_get_mem_data(bio, &data);
    const std::string pem(data, static_cast<size_t>(size));
    BIO_free(bio);
    X509_free(cert);
    return bus::TestFingerprint(pem);
  }
  int fd() const { return fd_; }
  SSL* ssl() { return ssl_; }
  bool ok = false;

 private:
  int fd_;
  SSL_CTX* ctx_;
  SSL* ssl_;
};

}  // namespace skein::node

#endif  // SKEIN_NODE_SESSION_TLS_TESTING_H_
