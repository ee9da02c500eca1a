// The reply of the HELP subcommands.
#ifndef SKEIN_NODE_COMMANDS_HELP_H_
#define SKEIN_NODE_COMMANDS_HELP_H_

#include <span>
#include <string>
#include <string_view>

#include "node/call.h"

namespace skein::node {

// "<NAME> <subcommand> … Subcommands are:", the lines, and HELP itself; as status replies, as Redis gives them.
inline void ReplyHelp(Call& call, std::string_view name, std::span<const std::string_view> lines) {
  call.reply->Array(lines.size() + 3);
  call.reply->Status(std::string(name) + " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
  for (std::string_view line : lines) call.reply->Status(line);
  call.reply->Status("HELP");
  call.reply->Status("    Prints this help.");
}

}  // namespace skein::node

#endif  // SKEIN_NODE_COMMANDS_HELP_H_
