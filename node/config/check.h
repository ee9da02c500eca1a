// The one place that refuses what directives, each good by itself, cannot mean together, and what follows from them.
#ifndef SKEIN_NODE_CONFIG_CHECK_H_
#define SKEIN_NODE_CONFIG_CHECK_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "node/config/config.h"
#include "storage/log.h"

namespace skein::node {

// Every way to start and every CONFIG SET passes through this. InvalidArgument with the directives by name.
absl::Status CheckCombinations(const Config& config);

// ---- What follows from the directives -------------------------------------------------------------------------------
// Loops to start: client-loops, or one a core, at least 1 and at most 8.
uint32_t LoopCount(const Config& config);
// Shards of an empty data folder: storage-shards, or as many as loops; 1 with cluster-enabled no.
uint32_t ShardCount(const Config& config);
// Whether the number of shards was said (then a data folder with another number is refused).
inline bool ShardsConfigured(const Config& config) { return config.storage_shards != 0; }
// Whether certificates are needed for anything.
inline bool TlsInUse(const Config& config) {
  return config.tls_port != 0 || config.tls_replication || (config.cluster_enabled && config.tls_cluster);
}
// cluster-port, or the clients' port (the TLS one if there is no other) + 10000.
uint16_t BusPort(const Config& config);
// The save points: save, or what holds where it was not said.
std::string EffectiveSave(const Config& config);
// What a reply waits for: `appendfsync always` implies at least disk.
WriteCommit EffectiveCommit(const Config& config);
// How the log is synced: write-commit disk and quorum sync as always does.
storage::AppendFsync EffectiveFsync(const Config& config);

}  // namespace skein::node

#endif  // SKEIN_NODE_CONFIG_CHECK_H_
