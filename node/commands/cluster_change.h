// Subcommands of CLUSTER that the engine decides, on the bus thread: parsed here, answered when it has.
#ifndef SKEIN_NODE_COMMANDS_CLUSTER_CHANGE_H_
#define SKEIN_NODE_COMMANDS_CLUSTER_CHANGE_H_

#include <cstdint>
#include <optional>
#include <string_view>

#include "node/call.h"

namespace skein::node {

// A slot as a word; none if it is no number below 16384. And the error that says so.
std::optional<uint16_t> ParseSlot(std::string_view word);
void BadSlot(Call& call);

void ClusterAddSlots(Call& call);
void ClusterAddSlotsRange(Call& call);
void ClusterBumpEpoch(Call& call);
void ClusterCountFailureReports(Call& call);
void ClusterDelSlots(Call& call);
void ClusterDelSlotsRange(Call& call);
void ClusterFailover(Call& call);
void ClusterFlushSlots(Call& call);
void ClusterForget(Call& call);
void ClusterMeet(Call& call);
void ClusterReplicate(Call& call);
void ClusterReset(Call& call);
void ClusterSaveConfig(Call& call);
void ClusterSetConfigEpoch(Call& call);
void ClusterSetSlot(Call& call);

}  // namespace skein::node

#endif  // SKEIN_NODE_COMMANDS_CLUSTER_CHANGE_H_
