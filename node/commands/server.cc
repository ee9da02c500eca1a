#include "node/commands/families.h"

namespace skein::node {

std::span<const CommandSpec> ServerCommands() { return {}; }

}  // namespace skein::node
