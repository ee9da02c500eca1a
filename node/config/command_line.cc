#include "node/config/command_line.h"

#include <gflags/gflags.h>

#include <algorithm>
#include <deque>
#include <map>

#include "node/config/directives.h"
#include "node/config/text.h"
#include "node/version.h"

namespace skein::node {
namespace {

using Words = std::vector<std::string>;

// gflags' names have no dashes.
std::string FlagName(std::string_view name) {
  std::string flag(name);
  std::replace(flag.begin(), flag.end(), '-', '_');
  return flag;
}

// One string flag of gflags: its value is what the command line said, as lines of a configuration file; empty: nothing.
struct Flag {
  std::string directive, name, help, value, standard;
};

// Registered once; gflags keeps pointers into it.
std::deque<Flag>& Flags() {
  static std::deque<Flag>* const flags = [] {
    auto* all = new std::deque<Flag>();
    const auto add = [all](std::string_view directive, std::string_view help) {
      Flag& flag = all->emplace_back();
      flag.directive = directive;
      flag.name = FlagName(directive);
      flag.help = help;
      google::FlagRegisterer(flag.name.c_str(), flag.help.c_str(), "skein-node", &flag.value, &flag.standard);
    };
    add("include", "Another configuration file.");
    for (const Directive& d : Directives()) add(d.name, d.help.empty() ? d.why : d.help);
    return all;
  }();
  return *flags;
}

absl::Status Refused(std::string_view why) { return absl::InvalidArgumentError(Cat("command line: ", why)); }

// What the words of argv say, by directive, before gflags holds it.
struct Rewriter {
  CommandLine* out;
  std::map<std::string, std::string> lines;  // by canonical name

  // Reads the option at argv[i] and its values; returns the position behind them.
  int Option(int argc, const char* const* argv, int i) {
    std::string name = argv[i] + 2;
    Words values;
    if (const size_t equals = name.find('='); equals != std::string::npos) {
      values.push_back(name.substr(equals + 1));
      name.resize(equals);
      ++i;
    } else {
      for (++i; i < argc && !std::string_view(argv[i]).starts_with("--") && std::string_view(argv[i]) != "-"; ++i) {
        values.emplace_back(argv[i]);
      }
    }
    Add(name, values);
    return i;
  }

  void Add(const std::string& name, const Words& values) {
    const Directive* const directive = FindDirective(name);
    if (directive == nullptr && !SameName(name, "include")) {
      out->status = Refused(UnknownDirective(name));
    } else if (values.empty()) {
      out->status = Refused(Cat("'--", name, "' needs a value"));
    } else {
      std::string& text = lines[directive == nullptr ? "include" : std::string(directive->name)];
      Append(&text, text.empty() ? "" : "\n", JoinWords(values));
    }
  }
};

// "-h" and the like: true if the word was one of these.
bool ReadMode(std::string_view word, LoadMode* mode) {
  if (word == "--help" || word == "-h") {
    *mode = LoadMode::kHelp;
  } else if (word == "--version" || word == "-v") {
    *mode = LoadMode::kVersion;
  } else if (word == "--check-config") {
    *mode = LoadMode::kCheckConfig;
  } else {
    return false;
  }
  return true;
}

void PassThroughGflags(const char* program, const std::map<std::string, std::string>& lines) {
  Words words = {program};
  for (const auto& [name, text] : lines) words.push_back(Cat("--", FlagName(name), "=", text));
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  int count = static_cast<int>(words.size());
  char** argv = pointers.data();
  google::SetVersionString(kSkeinVersion);
  google::ParseCommandLineNonHelpFlags(&count, &argv, /*remove_flags=*/false);
}

}  // namespace

std::string UnknownDirective(std::string_view name) {
  const std::string_view near = NearestDirective(name);
  const std::string hint = near.empty() ? "; --help lists all" : Cat("; did you mean '", near, "'?");
  return Cat("unknown directive '", name, "'", hint);
}

CommandLine ReadCommandLine(int argc, const char* const* argv) {
  CommandLine out;
  std::deque<Flag>& flags = Flags();
  for (Flag& flag : flags) flag.value.clear();
  Rewriter rewriter{&out, {}};
  for (int i = 1; i < argc && out.status.ok();) {
    const std::string_view word = argv[i];
    if (ReadMode(word, &out.mode)) {
      ++i;
    } else if (word == "-") {
      out.standard_input = true;
      ++i;
    } else if (word.starts_with("--") && word.size() > 2) {
      i = rewriter.Option(argc, argv, i);
    } else if (i == 1 && !word.starts_with('-')) {
      out.file = word;
      ++i;
    } else if (out.file.empty() && !word.starts_with('-') && out.mode == LoadMode::kCheckConfig) {
      out.file = word;  // skein-node --check-config file.conf
      ++i;
    } else {
      out.status = Refused(Cat("'", word,
                               "' is neither an option nor the value of one; a configuration file comes "
                               "first"));
    }
  }
  if (!out.status.ok()) return out;
  PassThroughGflags(argc > 0 ? argv[0] : "skein-node", rewriter.lines);
  for (const Flag& flag : flags) {
    if (flag.value.empty()) continue;
    for (const std::string_view line : SplitLines(flag.value)) {
      Words words = *ReadWords(line);
      words.insert(words.begin(), flag.directive);
      out.directives.push_back(std::move(words));
    }
  }
  return out;
}

}  // namespace skein::node
