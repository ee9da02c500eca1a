// Sources: OpenSSL 3 manual pages SSL_CTX_set_options, SSL_CTX_use_certificate, SSL_CTX_load_verify_locations,
// SSL_CTX_set_session_cache_mode, SSL_CTX_set_tmp_dh; redis.conf 7.2, TLS section.
#include "bus/tls/context.h"

#include <openssl/bio.h>
#include <openssl/dh.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "bus/tls/errors.h"

namespace skein::bus {
namespace {

constexpr char kSessionContext[] = "skein-client";

struct PkeyFree {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
struct BioFree {
  void operator()(BIO* bio) const { BIO_free(bio); }
};

absl::Status Refused(const std::string& directive, const std::string& file, const std::string& why) {
  return absl::InvalidArgumentError(absl::StrCat("'", directive, " ", file, "': ", why));
}

absl::Status SslRefused(const std::string& directive, const std::string& value, const char* otherwise) {
  return Refused(directive, value, TakeSslError(otherwise).words);
}

// The system's own words for a file that cannot be read; OpenSSL has many for that.
absl::Status CheckReadable(const std::string& directive, const std::string& file, bool folder) {
  struct stat info;
  if (stat(file.c_str(), &info) != 0) return Refused(directive, file, std::strerror(errno));
  if (S_ISDIR(info.st_mode) != folder) return Refused(directive, file, std::strerror(folder ? ENOTDIR : EISDIR));
  if (access(file.c_str(), folder ? R_OK | X_OK : R_OK) != 0) return Refused(directive, file, std::strerror(errno));
  return absl::OkStatus();
}

struct Passphrase {
  const std::string& text;
  bool asked = false;
};

// Without a passphrase an encrypted key is an error; OpenSSL's own callback would ask at the terminal.
int GivePassphrase(char* buffer, int size, int /*for_writing*/, void* user) {
  auto& pass = *static_cast<Passphrase*>(user);
  pass.asked = true;
  if (pass.text.empty() || pass.text.size() > static_cast<size_t>(size)) return -1;
  std::memcpy(buffer, pass.text.data(), pass.text.size());
  return static_cast<int>(pass.text.size());
}

struct Version {
  std::string_view name;  // lower case
  int number;
  uint64_t off;  // the option that forbids it
};
constexpr Version kVersions[] = {
    {"tlsv1", TLS1_VERSION, SSL_OP_NO_TLSv1},
    {"tlsv1.1", TLS1_1_VERSION, SSL_OP_NO_TLSv1_1},
    {"tlsv1.2", TLS1_2_VERSION, SSL_OP_NO_TLSv1_2},
    {"tlsv1.3", TLS1_3_VERSION, SSL_OP_NO_TLSv1_3},
};

absl::Status SetProtocols(SSL_CTX* ctx, const std::string& protocols) {
  uint64_t off = SSL_OP_NO_TLSv1 | SSL_OP_NO_TLSv1_1;
  if (!protocols.empty()) {
    off = SSL_OP_NO_TLSv1 | SSL_OP_NO_TLSv1_1 | SSL_OP_NO_TLSv1_2 | SSL_OP_NO_TLSv1_3;
    for (absl::string_view word : absl::StrSplit(protocols, ' ', absl::SkipEmpty())) {
      const std::string lower = absl::AsciiStrToLower(word);
      uint64_t bit = 0;
      for (const Version& v : kVersions) bit = v.name == lower ? v.off : bit;
      if (bit == 0) {
        return Refused("tls-protocols", protocols,
                       absl::StrCat("'", word, "' is none of TLSv1, TLSv1.1, TLSv1.2, TLSv1.3"));
      }
      off &= ~bit;
    }
  }
  // The system's configuration may have set bounds of its own; the directive is what holds here.
  for (const Version& v : kVersions) {
    if ((off & v.off) != 0) continue;
    SSL_CTX_set_min_proto_version(ctx, v.number);
    break;
  }
  SSL_CTX_set_max_proto_version(ctx, 0);
  SSL_CTX_clear_options(ctx, SSL_OP_NO_TLSv1 | SSL_OP_NO_TLSv1_1 | SSL_OP_NO_TLSv1_2 | SSL_OP_NO_TLSv1_3);
  SSL_CTX_set_options(ctx, off | SSL_OP_NO_SSLv3);
  return absl::OkStatus();
}

// A certificate with its key; the names are the directives' ("tls-", "tls-client-").
struct Identity {
  std::string prefix;
  const std::string &cert, &key, &pass;
};

absl::Status LoadIdentity(SSL_CTX* ctx, const Identity& id) {
  const std::string cert = id.prefix + "cert-file", key = id.prefix + "key-file";
  if (absl::Status s = CheckReadable(cert, id.cert, false); !s.ok()) return s;
  if (absl::Status s = CheckReadable(key, id.key, false); !s.ok()) return s;
  if (SSL_CTX_use_certificate_chain_file(ctx, id.cert.c_str()) != 1) {
    return SslRefused(cert, id.cert, "not a certificate in PEM");
  }
  Passphrase pass{id.pass};
  SSL_CTX_set_default_passwd_cb(ctx, GivePassphrase);
  SSL_CTX_set_default_passwd_cb_userdata(ctx, &pass);
  const int loaded = SSL_CTX_use_PrivateKey_file(ctx, id.key.c_str(), SSL_FILETYPE_PEM);
  SSL_CTX_set_default_passwd_cb_userdata(ctx, nullptr);
  if (loaded == 1) return absl::OkStatus();
  const SslError error = TakeSslError("not a private key in PEM");
  if (error.library == ERR_LIB_X509 && error.reason == X509_R_KEY_VALUES_MISMATCH) {
    return Refused(key, id.key, absl::StrCat(error.words, " (", cert, " ", id.cert, ")"));
  }
  if (!pass.asked) return Refused(key, id.key, error.words);
  return Refused(key, id.key,
                 id.pass.empty() ? absl::StrCat("it is encrypted: set ", key, "-pass")
                                 : absl::StrCat("it cannot be decrypted with ", key, "-pass"));
}

absl::Status LoadAuthorities(SSL_CTX* ctx, const TlsOptions& o) {
  if (!o.ca_cert_file.empty()) {
    if (absl::Status s = CheckReadable("tls-ca-cert-file", o.ca_cert_file, false); !s.ok()) return s;
    if (SSL_CTX_load_verify_file(ctx, o.ca_cert_file.c_str()) != 1) {
      return SslRefused("tls-ca-cert-file", o.ca_cert_file, "no certificate in PEM");
    }
  }
  if (!o.ca_cert_dir.empty()) {
    if (absl::Status s = CheckReadable("tls-ca-cert-dir", o.ca_cert_dir, true); !s.ok()) return s;
    if (SSL_CTX_load_verify_dir(ctx, o.ca_cert_dir.c_str()) != 1) {
      return SslRefused("tls-ca-cert-dir", o.ca_cert_dir, "cannot be used");
    }
  }
  return absl::OkStatus();
}

absl::Status SetDhParams(SSL_CTX* ctx, const std::string& file) {
  if (file.empty()) {
    SSL_CTX_set_dh_auto(ctx, 1);
    return absl::OkStatus();
  }
  if (absl::Status s = CheckReadable("tls-dh-params-file", file, false); !s.ok()) return s;
  const std::unique_ptr<BIO, BioFree> bio(BIO_new_file(file.c_str(), "r"));
  std::unique_ptr<EVP_PKEY, PkeyFree> params(bio == nullptr ? nullptr : PEM_read_bio_Parameters(bio.get(), nullptr));
  if (params == nullptr) return SslRefused("tls-dh-params-file", file, "no DH parameters in PEM");
  if (EVP_PKEY_get_base_id(params.get()) != EVP_PKEY_DH || SSL_CTX_set0_tmp_dh_pkey(ctx, params.get()) != 1) {
    return SslRefused("tls-dh-params-file", file, "these are not DH parameters");
  }
  params.release();  // set0: the context has it
  return absl::OkStatus();
}

void SetSessionCache(SSL_CTX* ctx, const TlsOptions& o) {
  if (!o.session_caching) {
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(ctx, 0);
    return;
  }
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER);
  SSL_CTX_sess_set_cache_size(ctx, static_cast<long>(o.session_cache_size));
  SSL_CTX_set_timeout(ctx, static_cast<long>(o.session_cache_timeout_s));
  SSL_CTX_set_session_id_context(ctx, reinterpret_cast<const unsigned char*>(kSessionContext),
                                 sizeof(kSessionContext) - 1);
}

absl::StatusOr<SslCtxPtr> MakeCtx(const TlsOptions& o, const Identity& identity, bool server) {
  SslCtxPtr ctx(SSL_CTX_new(server ? TLS_server_method() : TLS_client_method()));
  if (ctx == nullptr) return absl::InternalError(TakeSslError("OpenSSL cannot make a context").words);
  SSL_CTX_set_options(ctx.get(), SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
  // A buffer of a record's size for each direction would be most of what an idle connection costs.
  SSL_CTX_set_mode(ctx.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
  SSL_CTX_set_verify(ctx.get(), SSL_VERIFY_PEER | (server ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), nullptr);
  if (absl::Status s = SetProtocols(ctx.get(), o.protocols); !s.ok()) return s;
  // Before the certificates: the level of security that they must have is part of it.
  if (!o.ciphers.empty() && SSL_CTX_set_cipher_list(ctx.get(), o.ciphers.c_str()) != 1) {
    return SslRefused("tls-ciphers", o.ciphers, "no such cipher");
  }
  if (!o.ciphersuites.empty() && SSL_CTX_set_ciphersuites(ctx.get(), o.ciphersuites.c_str()) != 1) {
    return SslRefused("tls-ciphersuites", o.ciphersuites, "no such cipher suite");
  }
  if (absl::Status s = LoadIdentity(ctx.get(), identity); !s.ok()) return s;
  if (absl::Status s = LoadAuthorities(ctx.get(), o); !s.ok()) return s;
  if (!server) {
    SSL_CTX_set_session_cache_mode(ctx.get(), SSL_SESS_CACHE_OFF);
    return ctx;
  }
  if (absl::Status s = SetDhParams(ctx.get(), o.dh_params_file); !s.ok()) return s;
  if (o.prefer_server_ciphers) SSL_CTX_set_options(ctx.get(), SSL_OP_CIPHER_SERVER_PREFERENCE);
  SetSessionCache(ctx.get(), o);
  return ctx;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const TlsContext>> TlsContext::Create(const TlsOptions& o) {
  ERR_clear_error();
  if (o.cert_file.empty()) return absl::InvalidArgumentError("TLS needs a certificate: set tls-cert-file");
  if (o.key_file.empty()) return absl::InvalidArgumentError("TLS needs a private key: set tls-key-file");
  if (o.client_cert_file.empty() != o.client_key_file.empty()) {
    return absl::InvalidArgumentError("tls-client-cert-file and tls-client-key-file go together: set both or neither");
  }
  if (o.auth_clients != TlsAuthClients::kNo && o.ca_cert_file.empty() && o.ca_cert_dir.empty()) {
    return absl::InvalidArgumentError(
        "clients are asked for a certificate (tls-auth-clients), so there must be an authority that theirs are checked "
        "against: set tls-ca-cert-file or tls-ca-cert-dir");
  }
  const Identity own{"tls-", o.cert_file, o.key_file, o.key_file_pass};
  const Identity dial{"tls-client-", o.client_cert_file, o.client_key_file, o.client_key_file_pass};
  absl::StatusOr<SslCtxPtr> server = MakeCtx(o, own, true);
  if (!server.ok()) return server.status();
  absl::StatusOr<SslCtxPtr> client = MakeCtx(o, o.client_cert_file.empty() ? own : dial, false);
  if (!client.ok()) return client.status();
  return std::make_shared<const TlsContextImpl>(*std::move(server), *std::move(client), o.auth_clients);
}

}  // namespace skein::bus
