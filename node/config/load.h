// Reads the configuration of a process that starts: defaults, then the file, then standard input, then the command
// line; the later wins. Called once, before any thread exists.
#ifndef SKEIN_NODE_CONFIG_LOAD_H_
#define SKEIN_NODE_CONFIG_LOAD_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "node/config/config.h"

namespace skein::node {

// What the command line asks for.
enum class LoadMode : uint8_t {
  kRun,
  kCheckConfig,  // --check-config: CheckAll(config), say so, exit 0 or 2
  kHelp,         // --help, -h: print HelpText(), exit 0
  kVersion,      // --version, -v: print VersionText(), exit 0
};

// `skein-node [file.conf] [-] [--name value ...] [--name=value] [--check-config | --help | --version]`.
// "-" reads directives from standard input. Errors are InvalidArgument with one line a person can act on:
// "/etc/skein.conf:12: …" or "command line: …"; the process exits with code 2. The combinations are checked
// (CheckCombinations), `dir` is made absolute and must be a folder that can be written. Nothing is changed outside.
// *mode is set in any case. argv is gflags' afterwards, and not changed.
absl::StatusOr<Config> LoadConfig(int argc, const char* const* argv, LoadMode* mode);

// Reads directives from text, as of a file called `name` (for messages), on top of *config. Follows include.
absl::Status LoadText(std::string_view text, const std::string& name, Config* config);

// Makes `config` usable: the folder absolute and checked, the combinations checked, the notes written.
absl::Status FinishLoading(Config* config);

// Generated from the table.
std::string HelpText();
std::string VersionText();

}  // namespace skein::node

#endif  // SKEIN_NODE_CONFIG_LOAD_H_
