// The command line: argv brought into a form that gflags can hold, and read back from it.
//
// gflags alone reads `--appendonly no` as true, drops what follows the first word of `--save 900 1`, and ends the
// process at a name it does not know. So argv is first rewritten from the table of directives: one string flag a
// directive, `--appendonly="no"`, several lines where it was given several times. gflags holds the flags; the table
// says what they mean.
#ifndef SKEIN_NODE_CONFIG_COMMAND_LINE_H_
#define SKEIN_NODE_CONFIG_COMMAND_LINE_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "node/config/load.h"

namespace skein::node {

struct CommandLine {
  absl::Status status;
  LoadMode mode = LoadMode::kRun;
  std::string file;             // empty: none
  bool standard_input = false;  // "-"
  // The directives given, each a line of a configuration file split into words; include comes first.
  std::vector<std::vector<std::string>> directives;
};

CommandLine ReadCommandLine(int argc, const char* const* argv);

// "unknown directive 'appendonyl'; did you mean 'appendonly'?"
std::string UnknownDirective(std::string_view name);

}  // namespace skein::node

#endif  // SKEIN_NODE_CONFIG_COMMAND_LINE_H_
