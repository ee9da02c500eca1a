// What can still be read of a damaged data set, as shards in memory: of each, everything before its first damage.
#ifndef SKEIN_OPS_AOF_TOOL_SALVAGE_H_
#define SKEIN_OPS_AOF_TOOL_SALVAGE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ops/aof_tool/folder.h"
#include "ops/aof_tool/tool.h"
#include "storage/shard.h"

namespace skein::ops {

struct Salvaged {
  std::vector<std::unique_ptr<storage::Shard>> shards;
  std::vector<std::string> problems;  // by shard: why it ends where it does; empty where all of it could be read
  uint64_t keys = 0;
};

// The caller holds the folder's lock; its manifest is whole. Changes nothing. Fails only for what is no damage: a file
// that cannot be read for want of rights, say.
absl::StatusOr<Salvaged> Salvage(const Tool& tool, const Folder& folder);

}  // namespace skein::ops

#endif  // SKEIN_OPS_AOF_TOOL_SALVAGE_H_
