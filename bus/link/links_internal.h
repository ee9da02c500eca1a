// What the files that implement Links share, and nobody else.
//
//   links.cc          jobs, sending, ending
//   links_connect.cc  accepting, dialling
//   links_trust.cc    the handshake: Hellos, proofs, TLS; secrets and certificates that change
#ifndef SKEIN_BUS_LINK_LINKS_INTERNAL_H_
#define SKEIN_BUS_LINK_LINKS_INTERNAL_H_

#include <uv.h>

#include "bus/link/links.h"

namespace skein::bus {

struct LinkWatch {
  uv_poll_t poll{};
  Links* links = nullptr;
  Link* link = nullptr;
};

struct Links::Listener {
  Fd fd;
  uv_poll_t* poll = nullptr;  // freed by its close callback
};

}  // namespace skein::bus

#endif  // SKEIN_BUS_LINK_LINKS_INTERNAL_H_
