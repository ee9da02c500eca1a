// The persistence section of INFO.
#ifndef SKEIN_NODE_COMMANDS_PERSISTENCE_INFO_H_
#define SKEIN_NODE_COMMANDS_PERSISTENCE_INFO_H_

#include <cstdint>
#include <string>

#include "node/node.h"

namespace skein::node {

// "field:value" lines. `changes`: of all shards since the start. `kept_bytes`: what they hold for a snapshot alone.
std::string PersistenceFields(const Node& node, uint64_t changes, uint64_t kept_bytes);

}  // namespace skein::node

#endif  // SKEIN_NODE_COMMANDS_PERSISTENCE_INFO_H_
