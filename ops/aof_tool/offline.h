// What reshard, restore and export share: they work on a data set that no node has open, through storage's own code.
#ifndef SKEIN_OPS_AOF_TOOL_OFFLINE_H_
#define SKEIN_OPS_AOF_TOOL_OFFLINE_H_

#include "ops/aof_tool/folder.h"
#include "ops/aof_tool/tool.h"
#include "storage/offline.h"

namespace skein::ops {

storage::OfflinePlace PlaceOf(const Tool& tool, const Folder& folder);
// Draws the bars of its phases, one after the other. The console outlives it.
storage::OfflineProgress DrawPhases(Console* console);

}  // namespace skein::ops

#endif  // SKEIN_OPS_AOF_TOOL_OFFLINE_H_
