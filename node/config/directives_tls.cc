// The directives of TLS, as Redis has them. All but the port may be set at run time: certificates are read again then,
// and connections made from then on use the new ones.
#include "node/config/directives.h"

namespace skein::node {
namespace {

using Type = Directive::Type;
constexpr int64_t kMaxInt = std::numeric_limits<int32_t>::max();

Directive Row(std::string_view name, Type type, Directive::Field field, std::string_view help, uint32_t flags = 0) {
  return {.name = name, .type = type, .flags = flags, .field = field, .help = help};
}
Directive Number(std::string_view name, Directive::Field field, int64_t min, int64_t max, std::string_view help) {
  return {.name = name, .type = Type::kInteger, .field = field, .min = min, .max = max, .help = help};
}

}  // namespace

namespace internal {

std::vector<Directive> TlsDirectives() {
  constexpr uint32_t kSecret = Directive::kSensitive;
  Directive port = Number("tls-port", &Config::tls_port, 0, 65535, "TCP port for clients that speak TLS; 0: none.");
  port.flags = Directive::kImmutable;
  Directive auth =
      Row("tls-auth-clients", Type::kEnum, &Config::tls_auth_clients,
          "Whether clients must show a certificate of the authority: no, yes, or optional (checked if shown).");
  auth.choices = {"no", "yes", "optional"};
  return {
      port,
      auth,
      Row("tls-cert-file", Type::kString, &Config::tls_cert_file,
          "Certificate of this node, PEM; its chain may follow."),
      Row("tls-key-file", Type::kString, &Config::tls_key_file, "Private key of tls-cert-file, PEM."),
      Row("tls-key-file-pass", Type::kString, &Config::tls_key_file_pass, "Passphrase of tls-key-file.", kSecret),
      Row("tls-client-cert-file", Type::kString, &Config::tls_client_cert_file,
          "Certificate for connections that this node dials; empty: tls-cert-file."),
      Row("tls-client-key-file", Type::kString, &Config::tls_client_key_file, "Private key of tls-client-cert-file."),
      Row("tls-client-key-file-pass", Type::kString, &Config::tls_client_key_file_pass,
          "Passphrase of tls-client-key-file.", kSecret),
      Row("tls-ca-cert-file", Type::kString, &Config::tls_ca_cert_file,
          "Certificates of the authorities that others' certificates are checked against, PEM."),
      Row("tls-ca-cert-dir", Type::kString, &Config::tls_ca_cert_dir,
          "Folder of such certificates, named by hash (openssl rehash)."),
      Row("tls-dh-params-file", Type::kString, &Config::tls_dh_params_file,
          "Diffie-Hellman parameters, PEM; empty: chosen to suit the key."),
      Row("tls-protocols", Type::kString, &Config::tls_protocols,
          "Versions that are spoken, of TLSv1 TLSv1.1 TLSv1.2 TLSv1.3; empty: the last two."),
      Row("tls-ciphers", Type::kString, &Config::tls_ciphers, "Ciphers up to TLS 1.2, as openssl-ciphers(1) has them."),
      Row("tls-ciphersuites", Type::kString, &Config::tls_ciphersuites, "Cipher suites of TLS 1.3."),
      Row("tls-prefer-server-ciphers", Type::kBool, &Config::tls_prefer_server_ciphers,
          "Choose ciphers by the server's order, not the client's."),
      Row("tls-session-caching", Type::kBool, &Config::tls_session_caching, "Let clients resume sessions."),
      Number("tls-session-cache-size", &Config::tls_session_cache_size, 0, kMaxInt,
             "TLS 1.2 sessions remembered; 0: any number."),
      Number("tls-session-cache-timeout", &Config::tls_session_cache_timeout, 0, kMaxInt,
             "Seconds for which a session can be resumed."),
      Number("tls-handshake-timeout", &Config::tls_handshake_timeout, 1, 3600,
             "Seconds that a client may take for its TLS handshake."),
      Number("cluster-announce-tls-port", &Config::cluster_announce_tls_port, 0, 65535,
             "TLS client port that others are told; 0: tls-port."),
  };
}

}  // namespace internal
}  // namespace skein::node
