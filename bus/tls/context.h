// The two SSL_CTX behind a TlsContext. Private to bus/tls.
#ifndef SKEIN_BUS_TLS_CONTEXT_H_
#define SKEIN_BUS_TLS_CONTEXT_H_

#include <openssl/ssl.h>

#include <memory>

#include "bus/tls/tls.h"

namespace skein::bus {

struct SslCtxFree {
  void operator()(SSL_CTX* ctx) const { SSL_CTX_free(ctx); }
};
using SslCtxPtr = std::unique_ptr<SSL_CTX, SslCtxFree>;

class TlsContextImpl final : public TlsContext {
 public:
  TlsContextImpl(SslCtxPtr server, SslCtxPtr client, TlsAuthClients auth)
      : server_(std::move(server)), client_(std::move(client)), auth_clients_(auth) {}

  SSL_CTX* server() const { return server_.get(); }
  SSL_CTX* client() const { return client_.get(); }
  TlsAuthClients auth_clients() const { return auth_clients_; }

 private:
  const SslCtxPtr server_, client_;
  const TlsAuthClients auth_clients_;
};

}  // namespace skein::bus

#endif  // SKEIN_BUS_TLS_CONTEXT_H_
