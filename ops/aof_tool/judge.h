// What a starting node would make of each shard, found with the same code.
#ifndef SKEIN_OPS_AOF_TOOL_JUDGE_H_
#define SKEIN_OPS_AOF_TOOL_JUDGE_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "ops/aof_tool/folder.h"
#include "ops/aof_tool/tool.h"
#include "storage/recovery.h"

namespace skein::ops {

struct ShardJudgement {
  absl::Status status;              // why starting refuses, if it does
  storage::ShardRecovery recovery;  // if it does not
};

// Reads all shards in parallel, each record's effects included. A running node may delete files meanwhile (a rewrite):
// then the manifest in `folder` is read again.
std::vector<ShardJudgement> JudgeShards(const Tool& tool, Folder* folder, const std::string& label);

// The first refusal, if there is one.
absl::Status FirstRefusal(const std::vector<ShardJudgement>& judgements);

}  // namespace skein::ops

#endif  // SKEIN_OPS_AOF_TOOL_JUDGE_H_
