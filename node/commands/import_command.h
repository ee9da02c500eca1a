// Runs the commands of Redis's append-only files while a data folder is converted (storage/import/import.h).
#ifndef SKEIN_NODE_COMMANDS_IMPORT_COMMAND_H_
#define SKEIN_NODE_COMMANDS_IMPORT_COMMAND_H_

#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "node/config/config.h"
#include "storage/shard.h"

namespace skein::node {

// Runs one command on the shards of its keys, which have no logs; one thread at a time. What such a file holds are
// effects, so nothing expires while they run: the keys were there when the command was written. Times that are relative
// count from now, as redis-server does.
//
// Keys of several shards: DEL, UNLINK, MSET and MSETNX (which is only written where it has succeeded) are run key by
// key, others are refused; commands on whole databases run on all of them. Errors say why the command cannot be run,
// without its name: it is not known here, it does not write, its arguments are wrong, or it answered an error.
absl::Status RunImportedCommand(const Config& config, const std::vector<storage::Shard*>& shards, uint32_t db,
                                const std::vector<std::string_view>& argv);

}  // namespace skein::node

#endif  // SKEIN_NODE_COMMANDS_IMPORT_COMMAND_H_
