// The command families. Each stands in a file of its own; node/commands/table.cc joins them into the one table.
#ifndef SKEIN_NODE_COMMANDS_FAMILIES_H_
#define SKEIN_NODE_COMMANDS_FAMILIES_H_

#include <span>

#include "node/command.h"

namespace skein::node {

std::span<const CommandSpec> StringCommands();         // string.cc
std::span<const CommandSpec> GenericCommands();        // generic.cc
std::span<const CommandSpec> ExpireCommands();         // generic_expire_rows.cc
std::span<const CommandSpec> SerializationCommands();  // generic_dump.cc
std::span<const CommandSpec> WaitCommands();           // generic_wait.cc
std::span<const CommandSpec> ConnectionCommands();     // connection.cc
std::span<const CommandSpec> ServerCommands();         // server.cc
std::span<const CommandSpec> PersistenceCommands();    // persistence.cc
std::span<const CommandSpec> PubsubCommands();         // pubsub.cc
std::span<const CommandSpec> ReplicationCommands();    // replication.cc
std::span<const CommandSpec> ClusterCommands();        // cluster.cc
std::span<const CommandSpec> CommandCommands();        // command.cc: COMMAND itself

}  // namespace skein::node

#endif  // SKEIN_NODE_COMMANDS_FAMILIES_H_
