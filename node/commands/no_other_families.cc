// For tests of the families that need neither sessions nor the bus: the others are empty.
#include "node/commands/families.h"

namespace skein::node {

std::span<const CommandSpec> ConnectionCommands() { return {}; }
std::span<const CommandSpec> ServerCommands() { return {}; }
std::span<const CommandSpec> PersistenceCommands() { return {}; }
std::span<const CommandSpec> PubsubCommands() { return {}; }
std::span<const CommandSpec> ReplicationCommands() { return {}; }
std::span<const CommandSpec> ClusterCommands() { return {}; }

}  // namespace skein::node
