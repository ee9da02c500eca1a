// Socket addresses in words, as CLIENT LIST shows them.
#ifndef SKEIN_NODE_UTIL_ADDRESS_H_
#define SKEIN_NODE_UTIL_ADDRESS_H_

#include <sys/socket.h>

#include <string>

namespace skein::node {

// "192.0.2.7:6379" or "[2001:db8::7]:6379"; "?:0" for any other family. Neither resolves a name nor blocks.
std::string AddressText(const sockaddr_storage& address);

}  // namespace skein::node

#endif  // SKEIN_NODE_UTIL_ADDRESS_H_
