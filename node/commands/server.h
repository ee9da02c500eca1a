// The server family, by file: server.cc (table, TIME, ROLE, SHUTDOWN, LOLWUT), server_config.cc, server_info.cc,
// server_memory.cc, server_slowlog.cc, server_debug.cc, server_acl.cc. All run on the client's loop; figures of other
// loops and shards are gathered (server_figures.h).
// Source: the Redis 7.2 documentation of each command; replies and error texts compared with redis-server 7.0.15.
#ifndef SKEIN_NODE_COMMANDS_SERVER_H_
#define SKEIN_NODE_COMMANDS_SERVER_H_

#include <span>

#include "node/command.h"

namespace skein::node {

void RunInfo(Call& call);
void RunDebug(Call& call);

std::span<const CommandSpec> ConfigSubcommands();
std::span<const CommandSpec> MemorySubcommands();
std::span<const CommandSpec> SlowlogSubcommands();
std::span<const CommandSpec> AclSubcommands();

}  // namespace skein::node

#endif  // SKEIN_NODE_COMMANDS_SERVER_H_
