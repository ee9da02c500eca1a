// TLS over raw non-blocking descriptors, for client sessions (on the loops), bus links (in jobs, on the bus thread or a
// worker) and replication. Nothing here watches a descriptor or waits: a call does what can be done now.
//
// Sources: OpenSSL 3 manual pages SSL_CTX_new, SSL_do_handshake, SSL_read, SSL_write, SSL_get_error; TLS directives of
// redis.conf 7.2.
#ifndef SKEIN_BUS_TLS_TLS_H_
#define SKEIN_BUS_TLS_TLS_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace skein::bus {

enum class TlsAuthClients : uint8_t { kNo, kYes, kOptional };

// The tls-* directives, with Redis's meanings and defaults.
struct TlsOptions {
  std::string cert_file, key_file, key_file_pass;
  // For connections that this node dials; empty: the same as above.
  std::string client_cert_file, client_key_file, client_key_file_pass;
  std::string ca_cert_file, ca_cert_dir;
  std::string dh_params_file;
  TlsAuthClients auth_clients = TlsAuthClients::kYes;
  std::string protocols;  // "TLSv1.2 TLSv1.3"; empty: both
  std::string ciphers, ciphersuites;
  bool prefer_server_ciphers = false;
  bool session_caching = true;
  int64_t session_cache_size = 20480;
  int64_t session_cache_timeout_s = 300;
};

// Certificates, keys and settings as they were when read: immutable, shared by the connections made with it, which keep
// it alive. New certificates are a new context; connections that exist keep theirs. Any thread.
class TlsContext {
 public:
  // Reads the files. InvalidArgument names the directive, the file and what OpenSSL said of it.
  static absl::StatusOr<std::shared_ptr<const TlsContext>> Create(const TlsOptions& options);
  virtual ~TlsContext() = default;
};
using TlsContextPtr = std::shared_ptr<const TlsContext>;

// Whom the peer's certificate names. Empty if it gave none.
struct TlsPeer {
  std::string common_name;
  std::vector<std::string> names;  // subject alternative names: "DNS:…", "URI:…", "IP:…"; sorted
  std::string fingerprint;         // SHA-256 of the certificate, lower-case hex
  bool present() const { return !fingerprint.empty(); }
};

// One connection. Does not own the descriptor. Used by one thread at a time.
class TlsStream {
 public:
  enum class Role : uint8_t {
    kAcceptClient,  // asks for a certificate as auth_clients says
    kAcceptPeer,    // a bus link: a certificate is required
    kDial           // verifies the server against the CA; does not compare host names (as Redis does)
  };
  static std::unique_ptr<TlsStream> Create(TlsContextPtr context, int fd, Role role);
  virtual ~TlsStream() = default;

  // 0: done. -EAGAIN: go on when wants_write() says. Other negative errno: failed, see error().
  virtual int Handshake() = 0;
  // Bytes moved; 0 at the end of the stream (Read only; a connection cut without close_notify is -EIO); else a negative
  // errno, -EAGAIN: nothing can be done now. Writes may be repeated with more bytes after the same beginning, at
  // another address. Also answers renegotiation and key updates inside.
  virtual ssize_t Read(void* to, size_t length) = 0;
  virtual ssize_t Write(const void* from, size_t length) = 0;
  // After -EAGAIN, or a Write that took less than all: whether the descriptor must become writable (else readable)
  // before it is worth trying again.
  virtual bool wants_write() const = 0;
  // About how many bytes Read would give without touching the descriptor: libuv will not tell of them. Zero if there is
  // nothing to read but by waiting; look at it after a handshake and after a Read that filled its buffer. The end of
  // the stream and a failure count as well, and so does a record without data: Read may say 0 or -EAGAIN.
  virtual size_t pending() const = 0;
  // Sends close_notify if that can be done at once.
  virtual void Shutdown() = 0;
  // Of the last failure, for people ("certificate verify failed: …").
  virtual const std::string& error() const = 0;
  // After the handshake.
  virtual TlsPeer peer() const = 0;
};

}  // namespace skein::bus

#endif  // SKEIN_BUS_TLS_TLS_H_
