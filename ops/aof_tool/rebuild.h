// Makes a manifest from the files themselves, when they leave no choice.
//
// What must hold: all files say the same number of shards, and no shard is missing. In each shard, from the newest
// whole base on that allows it, or from LSN 0, the incr files follow each other without a gap up to the newest of them,
// their histories agree, and all read whole but the newest, which may have a torn tail. A base that is not whole and an
// incr that was made and never written to are left out. Anything else is refused: two stories about one log are not for
// a program to choose between.
//
// What nobody can know afterwards: whether the newest file of a shard has gone as well, and up to where the log was on
// disk beyond the marks in it.
#ifndef SKEIN_OPS_AOF_TOOL_REBUILD_H_
#define SKEIN_OPS_AOF_TOOL_REBUILD_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ops/aof_tool/folder.h"

namespace skein::ops {

struct Rebuilt {
  storage::Manifest manifest;
  std::vector<std::string> notes;  // what was left out, for a person
};

// FailedPrecondition, with the reason, if the files leave a choice. Changes nothing.
absl::StatusOr<Rebuilt> RebuildManifest(const Tool& tool, const Folder& folder);

}  // namespace skein::ops

#endif  // SKEIN_OPS_AOF_TOOL_REBUILD_H_
