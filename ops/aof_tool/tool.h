// skein-aof: looks into, checks, repairs and converts a node's append-only folder while no node runs on it.
//
// Start here. main.cc hands the command line to RunTool; arguments.* takes it apart by the table in commands.cc; each
// subcommand is a file of its own. All work on files goes through storage's file layer and its readers, so that what
// the tool says of a folder is what a starting node would say of it.
#ifndef SKEIN_OPS_AOF_TOOL_TOOL_H_
#define SKEIN_OPS_AOF_TOOL_TOOL_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "ops/aof_tool/console.h"
#include "storage/file.h"

namespace skein::ops {

// Exit codes.
inline constexpr int kOk = 0;
inline constexpr int kFailed = 1;   // could not be done: a file cannot be read, a disk is full
inline constexpr int kRefused = 2;  // must not be done: damage that starting refuses, a folder in use, wrong arguments

struct Tool {
  storage::FileSystem* fs;
  Console* console;
};

// Runs one command line (without the program's name); returns the exit code. Paths are absolute or as given.
int RunTool(const Tool& tool, const std::vector<std::string>& words);

// What a status says.
std::string Message(const absl::Status& status);
// The exit code that fits a status.
int ExitCode(const absl::Status& status);
// Says what is wrong on standard error and returns the exit code.
int Fail(const Tool& tool, const absl::Status& status);

}  // namespace skein::ops

#endif  // SKEIN_OPS_AOF_TOOL_TOOL_H_
