// The subcommands, a file each.
#ifndef SKEIN_OPS_AOF_TOOL_COMMANDS_H_
#define SKEIN_OPS_AOF_TOOL_COMMANDS_H_

#include "ops/aof_tool/arguments.h"
#include "ops/aof_tool/tool.h"

namespace skein::ops {

int Inspect(const Tool& tool, const Arguments& arguments);
int Verify(const Tool& tool, const Arguments& arguments);
int Repair(const Tool& tool, const Arguments& arguments);
int Dump(const Tool& tool, const Arguments& arguments);
int Reshard(const Tool& tool, const Arguments& arguments);
int Restore(const Tool& tool, const Arguments& arguments);
int Export(const Tool& tool, const Arguments& arguments);

}  // namespace skein::ops

#endif  // SKEIN_OPS_AOF_TOOL_COMMANDS_H_
