// What connection.cc and client.cc share.
#ifndef SKEIN_NODE_COMMANDS_CONNECTION_H_
#define SKEIN_NODE_COMMANDS_CONNECTION_H_

#include <span>
#include <string_view>

#include "node/command.h"

namespace skein::node {

// The subcommands of CLIENT.
std::span<const CommandSpec> ClientSubcommands();

// A name that CLIENT LIST can print: no spaces, line breaks or other bytes outside '!'..'~'.
inline bool IsClientName(std::string_view name) {
  for (char c : name) {
    if (c < '!' || c > '~') return false;
  }
  return true;
}

}  // namespace skein::node

#endif  // SKEIN_NODE_COMMANDS_CONNECTION_H_
