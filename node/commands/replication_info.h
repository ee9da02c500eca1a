// The replication section of INFO.
#ifndef SKEIN_NODE_COMMANDS_REPLICATION_INFO_H_
#define SKEIN_NODE_COMMANDS_REPLICATION_INFO_H_

#include <cstdint>
#include <string>

#include "node/replication/replication.h"

namespace skein::node {

class Node;
struct Config;

// Lines of "field:value". `offset`: the sum of the ends of the shards' logs.
std::string ReplicationFields(const Node& node, const Config& config, const ReplicationInfo& info, uint64_t offset);
// Of all its flows, as ROLE says it: "connect", "connecting", "handshake", "sync" or "connected".
const char* LinkState(const ReplicationInfo& info);

}  // namespace skein::node

#endif  // SKEIN_NODE_COMMANDS_REPLICATION_INFO_H_
