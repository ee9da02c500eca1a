#include "ops/aof_tool/arguments.h"

#include <algorithm>

namespace skein::ops {
namespace {

constexpr Option kCommon[] = {
    {"--json", "", "print JSON with stable names"},
    {"--appenddirname", "NAME", "the folder's name inside DIR, if it is not appendonlydir"},
    {"--help", "", "this text"},
};

const Option* Find(const Command& command, std::string_view name) {
  for (const Option& option : command.options) {
    if (option.name == name) return &option;
  }
  for (const Option& option : kCommon) {
    if (option.name == name) return &option;
  }
  return nullptr;
}

void AppendOptions(std::span<const Option> options, std::string* out) {
  for (const Option& option : options) {
    std::string line = "  " + std::string(option.name);
    if (!option.value.empty()) line.append(" ").append(option.value);
    line.resize(std::max<size_t>(line.size() + 2, 28), ' ');
    out->append(line).append(option.help).append("\n");
  }
}

}  // namespace

std::string Help() {
  std::string text =
      "Usage: ops/aof COMMAND DIR [options]\n\n"
      "Looks into, checks, repairs and converts the append-only files of a node. DIR is the node's dir, or the\n"
      "append-only folder inside it. Commands that change something need the node to be stopped.\n\n"
      "Commands:\n";
  for (const Command& command : Commands()) {
    std::string line = "  " + std::string(command.name);
    line.resize(12, ' ');
    text.append(line).append(command.summary).append("\n");
  }
  return text.append(
      "\nops/aof COMMAND --help tells more. Exit codes: 0 done; 1 failed (a file that cannot be read, a full disk); 2\n"
      "refused (damage that starting refuses, a folder in use, wrong arguments).\n");
}

std::string HelpOf(const Command& command) {
  std::string text = "Usage: ops/aof " + std::string(command.name) + " DIR [options]\n\n";
  text.append(command.about).append("\nOptions:\n");
  AppendOptions(command.options, &text);
  AppendOptions(kCommon, &text);
  text.append("\nExamples:\n");
  for (const std::string_view example : command.examples) text.append("  ").append(example).append("\n");
  return text;
}

absl::StatusOr<Arguments> Arguments::Parse(const Command& command, const std::vector<std::string>& words) {
  Arguments arguments;
  for (size_t i = 0; i < words.size(); ++i) {
    std::string name = words[i];
    if (name.size() < 2 || name[0] != '-') {
      if (!arguments.dir_.empty()) {
        return absl::InvalidArgumentError("one DIR is expected; '" + arguments.dir_ + "' and '" + name +
                                          "' were given");
      }
      if (name.empty()) return absl::InvalidArgumentError("DIR is empty");
      arguments.dir_ = name;
      continue;
    }
    if (name == "-h") name = "--help";
    const size_t equals = name.find('=');
    const bool attached = equals != std::string::npos;
    std::string value;
    if (attached) {
      value = name.substr(equals + 1);
      name.resize(equals);
    }
    const Option* option = Find(command, name);
    if (option == nullptr) {
      return absl::InvalidArgumentError("there is no option '" + name + "'; see ops/aof " + std::string(command.name) +
                                        " --help");
    }
    if (option->value.empty()) {
      if (attached) return absl::InvalidArgumentError(name + " takes no value");
    } else if (!attached) {
      if (++i == words.size())
        return absl::InvalidArgumentError(name + " needs a value: " + std::string(option->value));
      value = words[i];
    }
    arguments.given_.emplace_back(name, value);
  }
  if (arguments.dir_.empty() && !arguments.help()) {
    return absl::InvalidArgumentError("DIR is missing: the node's dir, or the append-only folder");
  }
  return arguments;
}

bool Arguments::Has(std::string_view name) const {
  return std::any_of(given_.begin(), given_.end(), [&](const auto& given) { return given.first == name; });
}

std::string Arguments::Value(std::string_view name, std::string_view fallback) const {
  const std::vector<std::string> values = Values(name);
  return values.empty() ? std::string(fallback) : values.back();
}

std::vector<std::string> Arguments::Values(std::string_view name) const {
  std::vector<std::string> values;
  for (const auto& [key, value] : given_) {
    if (key == name) values.push_back(value);
  }
  return values;
}

}  // namespace skein::ops
