// A link's bytes over TLS.
#ifndef SKEIN_BUS_LINK_TLS_TRANSPORT_H_
#define SKEIN_BUS_LINK_TLS_TRANSPORT_H_

#include <memory>
#include <string>

#include "bus/link/socket.h"
#include "bus/tls/tls.h"

namespace skein::bus {

// Does not own the descriptor.
class TlsTransport : public Transport {
 public:
  TlsTransport(const TlsContextPtr& context, int fd, bool dials);

  int Handshake() override;
  ssize_t Read(void* to, size_t length) override;
  ssize_t Write(const void* from, size_t length) override { return stream_->Write(from, length); }
  bool wants_other(bool reading) const override { return stream_->wants_write() == reading; }
  // A read ends with a record, whatever else has come.
  bool short_read_is_all() const override { return false; }
  void Shutdown() override;
  std::string error() const override { return stream_->error(); }
  std::string peer_names() const override;
  bool peer_is_plain() const override { return peer_is_plain_; }

 private:
  const int fd_;
  const bool dials_;
  bool begun_ = false, done_ = false, peer_is_plain_ = false;
  std::unique_ptr<TlsStream> stream_;
};

}  // namespace skein::bus

#endif  // SKEIN_BUS_LINK_TLS_TRANSPORT_H_
