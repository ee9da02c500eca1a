// A TLS connection that reads ahead: what the kernel has is taken in one call into a buffer of the thread, OpenSSL is
// fed from there, and only what is left of an incomplete record is kept with the connection. An idle connection has no
// buffer.
//
// Sources: OpenSSL 3 manual pages SSL_get_error, SSL_pending, BIO_meth_new; RFC 8446 section 5.1 (record header).
#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "bus/tls/context.h"
#include "bus/tls/errors.h"
#include "bus/tls/tls.h"
#include "glog/logging.h"

namespace skein::bus {
namespace {

constexpr size_t kReadAhead = 32 * 1024;  // two whole records and a bit
constexpr size_t kRecord = 16 * 1024;     // the most that one record carries
constexpr size_t kRecordHeader = 5;
// What one call takes from the descriptor beyond what it was asked for: records that carry no data (key updates,
// tickets, empty ones) could otherwise keep the thread for as long as the peer sends them.
constexpr size_t kOverhead = 64 * 1024;
constexpr char kPeerSessionContext[] = "skein-peer";

char* ThreadBuffer() {
  thread_local const std::unique_ptr<char[]> buffer(new char[kReadAhead]);
  return buffer.get();
}

template <typename T, void (*Free)(T*)>
struct Deleter {
  void operator()(T* p) const { Free(p); }
};
using SslPtr = std::unique_ptr<SSL, Deleter<SSL, SSL_free>>;
using X509Ptr = std::unique_ptr<X509, Deleter<X509, X509_free>>;

class StreamImpl final : public TlsStream {
 public:
  StreamImpl(std::shared_ptr<const TlsContextImpl> context, int fd, Role role);

  int Handshake() override;
  ssize_t Read(void* to, size_t length) override;
  ssize_t Write(const void* from, size_t length) override;
  bool wants_write() const override { return wants_write_; }
  size_t pending() const override;
  void Shutdown() override;
  const std::string& error() const override { return error_; }
  TlsPeer peer() const override;

 private:
  // While it lives, the read-ahead stands in the thread's buffer; then the rest moves to `saved_`.
  class Borrow {
   public:
    Borrow(StreamImpl* stream, size_t length);
    ~Borrow();

   private:
    StreamImpl* const s_;
  };

  static const BIO_METHOD* Method();
  static int BioRead(BIO* bio, char* to, int length);
  static int BioWrite(BIO* bio, const char* from, int length);
  static long BioControl(BIO* bio, int command, long number, void* pointer);

  // What OpenSSL's result `rc` (of a call that did not succeed) means; 0 for a clean end of the stream.
  int Failure(int rc);
  int Fail(int code, std::string why);

  const std::shared_ptr<const TlsContextImpl> context_;
  const int fd_;
  SslPtr ssl_;
  bool wants_write_ = false;
  bool done_ = false;   // the handshake
  bool ended_ = false;  // the descriptor: end of file
  int failed_ = 0;      // negative errno of the first failure
  int io_error_ = 0;    // errno of the descriptor's last failure
  const char* ahead_ = nullptr;
  size_t ahead_size_ = 0;
  size_t budget_ = 0;  // bytes that the current call may still take from the descriptor
  std::string saved_;
  std::string error_;
};

StreamImpl::Borrow::Borrow(StreamImpl* stream, size_t length) : s_(stream) {
  ERR_clear_error();
  s_->io_error_ = 0;
  s_->budget_ = length + kOverhead;
}

StreamImpl::Borrow::~Borrow() {
  s_->budget_ = 0;
  if (s_->ahead_size_ == 0) {
    if (s_->saved_.capacity() > sizeof(s_->saved_)) std::string().swap(s_->saved_);
  } else if (!s_->saved_.empty()) {
    s_->saved_.erase(0, s_->saved_.size() - s_->ahead_size_);
  } else {
    s_->saved_.assign(s_->ahead_, s_->ahead_size_);
  }
  s_->ahead_ = s_->saved_.data();
}

StreamImpl::StreamImpl(std::shared_ptr<const TlsContextImpl> context, int fd, Role role)
    : context_(std::move(context)),
      fd_(fd),
      ssl_(SSL_new(role == Role::kDial ? context_->client() : context_->server())) {
  BIO* const bio = BIO_new(Method());
  CHECK(ssl_ != nullptr && bio != nullptr) << "out of memory";
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
  switch (role) {
    case Role::kDial:
      SSL_set_connect_state(ssl_.get());
      return;
    case Role::kAcceptPeer:
      // A resumed session is not asked for its certificate again: one that a client got must not open the bus.
      SSL_set_session_id_context(ssl_.get(), reinterpret_cast<const unsigned char*>(kPeerSessionContext),
                                 sizeof(kPeerSessionContext) - 1);
      SSL_set_options(ssl_.get(), SSL_OP_NO_TICKET);
      SSL_set_num_tickets(ssl_.get(), 0);
      break;
    case Role::kAcceptClient:
      if (context_->auth_clients() != TlsAuthClients::kYes) {
        const bool optional = context_->auth_clients() == TlsAuthClients::kOptional;
        SSL_set_verify(ssl_.get(), optional ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
      }
  }
  SSL_set_accept_state(ssl_.get());
}

// ---- The descriptor ------------------------------------------------------------------------------------------------

const BIO_METHOD* StreamImpl::Method() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "skein");
    BIO_meth_set_read(m, BioRead);
    BIO_meth_set_write(m, BioWrite);
    BIO_meth_set_ctrl(m, BioControl);
    return m;
  }();
  return method;
}

int StreamImpl::BioRead(BIO* bio, char* to, int length) {
  StreamImpl& s = *static_cast<StreamImpl*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  if (length <= 0) return 0;
  if (s.ahead_size_ == 0) {
    if (s.budget_ == 0) {
      BIO_set_retry_read(bio);
      return -1;
    }
    s.saved_.clear();
    char* const buffer = ThreadBuffer();
    ssize_t n;
    do {
      n = recv(s.fd_, buffer, std::min(kReadAhead, s.budget_), 0);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
      if (errno == EAGAIN || errno == EWOULDBLOCK) {
        BIO_set_retry_read(bio);
      } else {
        s.io_error_ = errno;
      }
      return -1;
    }
    if (n == 0) {
      s.ended_ = true;
      return 0;
    }
    s.budget_ -= static_cast<size_t>(n);
    s.ahead_ = buffer;
    s.ahead_size_ = static_cast<size_t>(n);
  }
  const size_t take = std::min(s.ahead_size_, static_cast<size_t>(length));
  std::memcpy(to, s.ahead_, take);
  s.ahead_ += take;
  s.ahead_size_ -= take;
  return static_cast<int>(take);
}

int StreamImpl::BioWrite(BIO* bio, const char* from, int length) {
  StreamImpl& s = *static_cast<StreamImpl*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  ssize_t n;
  do {
    n = send(s.fd_, from, static_cast<size_t>(length), MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  if (n >= 0) return static_cast<int>(n);
  if (errno == EAGAIN || errno == EWOULDBLOCK) {
    BIO_set_retry_write(bio);
  } else {
    s.io_error_ = errno;
  }
  return -1;
}

long StreamImpl::BioControl(BIO* bio, int command, long /*number*/, void* /*pointer*/) {
  switch (command) {
    case BIO_CTRL_FLUSH:
      return 1;
    case BIO_CTRL_EOF:
      return static_cast<StreamImpl*>(BIO_get_data(bio))->ended_ ? 1 : 0;
    default:
      return 0;
  }
}

// ---- Calls ---------------------------------------------------------------------------------------------------------

int StreamImpl::Fail(int code, std::string why) {
  failed_ = code;
  error_ = std::move(why);
  return code;
}

int StreamImpl::Failure(int rc) {
  switch (SSL_get_error(ssl_.get(), rc)) {
    case SSL_ERROR_WANT_READ:
      wants_write_ = false;
      return -EAGAIN;
    case SSL_ERROR_WANT_WRITE:
      wants_write_ = true;
      return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
      return 0;
    case SSL_ERROR_SYSCALL:
      ERR_clear_error();
      if (io_error_ != 0) return Fail(-io_error_, std::strerror(io_error_));
      return Fail(-EIO, "the connection was cut");
    default:
      break;
  }
  SslError error = TakeSslError("protocol error");
  if (error.library == ERR_LIB_SSL && error.reason == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
    return Fail(-EIO, "the connection was cut");
  }
  if (error.library == ERR_LIB_SSL && error.reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
    absl::StrAppend(&error.words, ": ", X509_verify_cert_error_string(SSL_get_verify_result(ssl_.get())));
  }
  return Fail(-EPROTO, std::move(error.words));
}

int StreamImpl::Handshake() {
  if (failed_ != 0) return failed_;
  if (done_) return 0;
  Borrow borrow(this, 0);
  const int rc = SSL_do_handshake(ssl_.get());
  if (rc == 1) {
    done_ = true;
    return 0;
  }
  const int failure = Failure(rc);
  return failure != 0 ? failure : Fail(-EIO, "closed during the handshake");
}

ssize_t StreamImpl::Read(void* to, size_t length) {
  if (failed_ != 0) return failed_;
  if (length == 0) return 0;
  Borrow borrow(this, length);
  size_t total = 0;
  do {
    size_t n = 0;
    const int rc = SSL_read_ex(ssl_.get(), static_cast<char*>(to) + total, length - total, &n);
    if (rc != 1) {
      const int failure = Failure(rc);
      // What came before the end or the failure is delivered first; the next call says the rest.
      return total != 0 ? static_cast<ssize_t>(total) : failure;
    }
    total += n;
    // Half a record ahead: the rest of it has mostly arrived meanwhile.
  } while (total < length && (ahead_size_ != 0 || SSL_pending(ssl_.get()) > 0));
  return static_cast<ssize_t>(total);
}

ssize_t StreamImpl::Write(const void* from, size_t length) {
  if (failed_ != 0) return failed_;
  Borrow borrow(this, 0);
  size_t total = 0;
  while (total < length) {
    size_t n = 0;
    const size_t chunk = std::min(length - total, kRecord);
    const int rc = SSL_write_ex(ssl_.get(), static_cast<const char*>(from) + total, chunk, &n);
    if (rc != 1) {
      const int failure = Failure(rc);
      if (total != 0) break;
      return failure != 0 ? failure : Fail(-EPIPE, "closed by the peer");
    }
    total += n;
  }
  return static_cast<ssize_t>(total);
}

size_t StreamImpl::pending() const {
  // The end has been read behind the last data, and the descriptor may never tell of it again.
  if (failed_ != 0 || (SSL_get_shutdown(ssl_.get()) & SSL_RECEIVED_SHUTDOWN) != 0) return 1;
  if (const int n = SSL_pending(ssl_.get()); n > 0) return static_cast<size_t>(n);
  // OpenSSL takes records one by one, so what is left of the read-ahead starts with a header.
  if (ahead_size_ < kRecordHeader) return 0;
  const auto* header = reinterpret_cast<const unsigned char*>(ahead_);
  const size_t body = static_cast<size_t>(header[3]) << 8 | header[4];
  return ahead_size_ >= kRecordHeader + body ? std::max<size_t>(body, 1) : 0;
}

void StreamImpl::Shutdown() {
  if (!done_ || failed_ != 0) return;
  Borrow borrow(this, 0);
  SSL_shutdown(ssl_.get());
  ERR_clear_error();
}

// ---- The peer ------------------------------------------------------------------------------------------------------

std::string Text(const ASN1_STRING* text) {
  return std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                     static_cast<size_t>(ASN1_STRING_length(text)));
}

std::string Utf8(const ASN1_STRING* text) {
  unsigned char* bytes = nullptr;
  const int size = ASN1_STRING_to_UTF8(&bytes, text);
  if (size < 0) return std::string();
  std::string out(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
  OPENSSL_free(bytes);
  return out;
}

std::vector<std::string> AlternativeNames(X509* certificate) {
  std::vector<std::string> out;
  auto* names = static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
    if (name->type == GEN_DNS) {
      out.push_back("DNS:" + Text(name->d.dNSName));
    } else if (name->type == GEN_URI) {
      out.push_back("URI:" + Text(name->d.uniformResourceIdentifier));
    } else if (name->type == GEN_IPADD) {
      char shown[INET6_ADDRSTRLEN];
      const int family = ASN1_STRING_length(name->d.iPAddress) == 4 ? AF_INET : AF_INET6;
      if (family == AF_INET6 && ASN1_STRING_length(name->d.iPAddress) != 16) continue;
      if (inet_ntop(family, ASN1_STRING_get0_data(name->d.iPAddress), shown, sizeof(shown)) == nullptr) continue;
      out.push_back(absl::StrCat("IP:", shown));
    }
  }
  GENERAL_NAMES_free(names);
  std::sort(out.begin(), out.end());
  return out;
}

TlsPeer StreamImpl::peer() const {
  TlsPeer out;
  if (!done_) return out;
  const X509Ptr certificate(SSL_get1_peer_certificate(ssl_.get()));
  if (certificate == nullptr) return out;
  const X509_NAME* subject = X509_get_subject_name(certificate.get());
  if (const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1); at >= 0) {
    out.common_name = Utf8(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  }
  out.names = AlternativeNames(certificate.get());
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (X509_digest(certificate.get(), EVP_sha256(), digest, &size) == 1) {
    constexpr char kHex[] = "0123456789abcdef";
    for (unsigned int i = 0; i < size; ++i) out.fingerprint.append({kHex[digest[i] >> 4], kHex[digest[i] & 15]});
  }
  return out;
}

}  // namespace

std::unique_ptr<TlsStream> TlsStream::Create(TlsContextPtr context, int fd, Role role) {
  return std::make_unique<StreamImpl>(std::static_pointer_cast<const TlsContextImpl>(std::move(context)), fd, role);
}

}  // namespace skein::bus
