// The command line, taken apart by the table of commands.
#ifndef SKEIN_OPS_AOF_TOOL_ARGUMENTS_H_
#define SKEIN_OPS_AOF_TOOL_ARGUMENTS_H_

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ops/aof_tool/tool.h"

namespace skein::ops {

class Arguments;

struct Option {
  std::string_view name;   // "--slot"
  std::string_view value;  // what stands behind it, as the help calls it; empty: nothing does
  std::string_view help;
};

struct Command {
  std::string_view name;
  std::string_view summary;                // one line
  std::string_view about;                  // paragraphs, with line ends
  std::vector<Option> options;             // beside those that all commands have
  std::vector<std::string_view> examples;  // whole command lines
  int (*run)(const Tool& tool, const Arguments& arguments);
};

std::span<const Command> Commands();
std::string Help();
std::string HelpOf(const Command& command);

class Arguments {
 public:
  // `words` behind the command's name. InvalidArgument, in words for a person.
  static absl::StatusOr<Arguments> Parse(const Command& command, const std::vector<std::string>& words);

  const std::string& dir() const { return dir_; }
  bool Has(std::string_view name) const;
  // The last value given, or `fallback`.
  std::string Value(std::string_view name, std::string_view fallback = "") const;
  std::vector<std::string> Values(std::string_view name) const;

  bool help() const { return Has("--help"); }
  bool json() const { return Has("--json"); }
  std::string append_dir() const { return Value("--appenddirname", "appendonlydir"); }

 private:
  std::string dir_;
  std::vector<std::pair<std::string, std::string>> given_;
};

}  // namespace skein::ops

#endif  // SKEIN_OPS_AOF_TOOL_ARGUMENTS_H_
