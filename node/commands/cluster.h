// The subcommands of CLUSTER that stand in files of their own.
#ifndef SKEIN_NODE_COMMANDS_CLUSTER_H_
#define SKEIN_NODE_COMMANDS_CLUSTER_H_

#include "node/call.h"

namespace skein::node {

// cluster_diagnostics.cc
void ClusterInfo(Call& call);
void ClusterLinks(Call& call);
void ClusterEvents(Call& call);

// cluster_slot_stats.cc
void ClusterSlotStats(Call& call);

}  // namespace skein::node

#endif  // SKEIN_NODE_COMMANDS_CLUSTER_H_
