// The functions of COMMAND; the rows are in command.cc. All of it is generated from the command table's rows.
#ifndef SKEIN_NODE_COMMANDS_COMMAND_H_
#define SKEIN_NODE_COMMANDS_COMMAND_H_

#include "node/call.h"

namespace skein::node {

// command_info.cc
void RunCommand(Call& call);
void RunCommandCount(Call& call);
void RunCommandInfo(Call& call);
void RunCommandList(Call& call);
void RunCommandHelp(Call& call);
// command_docs.cc
void RunCommandDocs(Call& call);
// command_keys.cc
void RunCommandGetkeys(Call& call);
void RunCommandGetkeysandflags(Call& call);

}  // namespace skein::node

#endif  // SKEIN_NODE_COMMANDS_COMMAND_H_
