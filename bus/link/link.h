// One connection of the bus: one direction, one peer. Owned by the bus thread; its LinkIo is lent to one job at a time.
#ifndef SKEIN_BUS_LINK_LINK_H_
#define SKEIN_BUS_LINK_LINK_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "bus/link/count_token.h"
#include "bus/link/io_pool.h"
#include "bus/link/link_io.h"
#include "bus/link/socket.h"
#include "bus/tls/tls.h"
#include "bus/trust/trust.h"
#include "glog/logging.h"

namespace skein::bus {

// Even: inbound, odd: dialled by the engine; each side counts up and never reuses an id (L41).
using LinkId = uint64_t;

struct LinkWatch;  // libuv's side of it

// The handshake by which a secret is proven, while it goes on.
struct SecretHandshake {
  SecretsPtr secrets;  // as they were when it began
  Introduction about;
};

struct Link {
  // kHello: the acceptor waits for the Hello, the dialler for the answer to its own. kProof: each for the other's
  // proof.
  enum class State : uint8_t { kConnecting, kTls, kHello, kProof, kUp };

  LinkId id = 0;
  bool outbound = false;
  LinkClass link_class = LinkClass::kControl;  // of an inbound link: as its Hello says
  State state = State::kConnecting;
  SocketAddress remote;
  std::string peer_id;  // from its Hello or Accept
  uint16_t version = 0;
  std::unique_ptr<SecretHandshake> handshake;
  bool tagged = false;                 // frames of messages bear tags (once up)
  std::optional<SecretKey> proven_by;  // the identity of the secret
  TlsContextPtr tls;                   // what its TLS is made with; null: none
  std::string certificate;             // the names in the peer's
  int64_t renew_ms = 0;                // when it is closed to be made anew; 0: not
  int64_t create_unix_ms = 0;
  int64_t deadline_ms = 0;  // until which it must be up

  Fd fd;
  LinkWatch* watch = nullptr;
  std::unique_ptr<LinkIo> io;
  bool blocked = false;           // writing waits for writability
  bool write_wants_read = false;  // or for readability, and reading for writability (TLS)
  bool read_wants_write = false;

  // Queued since the last dispatch of a write job; `unsent_bytes` also counts what jobs took and have not written.
  // Messages wait until the link is up, frames of the handshake do not.
  std::deque<Outgoing> queue, handshake_queue;
  size_t queue_bytes = 0;
  size_t unsent_bytes = 0;
  size_t unsent_messages = 0;

  // L25: how many jobs borrow `io`; closing meanwhile is only marked, and the last completion destroys the link.
  uint32_t io_refs = 0;
  bool async_close = false;
  // L26: what came while it was borrowed.
  bool want_read = false, want_write = false;
  bool watched = false;  // libuv watches the descriptor; not while a read job has it
  bool in_ready = false, in_dirty = false;
  bool accept_counted = false;

  TokenCount::Token direction_count, unproven_count;
  KeyedCount::Token address_count;

  size_t memory() const { return unsent_bytes + io->input_memory(); }
};

// A borrow of a link: counted up when made, counted down once when destroyed, on the bus thread.
class Borrow {
 public:
  Borrow() = default;
  explicit Borrow(Link* link) : link_(link) {
    DCHECK_EQ(link->io_refs, 0u);
    DCHECK(!link->async_close);
    ++link->io_refs;
  }
  Borrow(Borrow&& other) noexcept : link_(std::exchange(other.link_, nullptr)) {}
  Borrow& operator=(Borrow&& other) noexcept {
    if (this != &other) {
      Return();
      link_ = std::exchange(other.link_, nullptr);
    }
    return *this;
  }
  ~Borrow() { Return(); }
  void Return() {
    if (Link* link = std::exchange(link_, nullptr)) {
      CHECK_GT(link->io_refs, 0u);
      --link->io_refs;
    }
  }
  Link* link() const { return link_; }

 private:
  Link* link_ = nullptr;
};

// A unit of work on a borrowed link: what a worker gets and gives back.
struct LinkJob final : IoJob {
  enum class Kind : uint8_t { kRead, kWrite, kHandshake } kind = Kind::kRead;
  Borrow borrow;
  LinkIo* io = nullptr;
  bool proven = false;
  size_t input_limit = 0;
  JobBudget budget;
  ReadResult read;
  WriteResult write;
  int handshake = 0;
  bool handshake_wants_write = false;

  // On the bus thread or a worker; touches `io` and the results only.
  void Run() override {
    if (kind == Kind::kRead) {
      io->Read(proven, budget, input_limit, &read);
    } else if (kind == Kind::kWrite) {
      io->Write(budget, &write);
    } else {
      handshake = io->Handshake(&handshake_wants_write);
    }
  }
};

}  // namespace skein::bus

#endif  // SKEIN_BUS_LINK_LINK_H_
