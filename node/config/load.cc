#include "node/config/load.h"

#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <utility>
#include <vector>

#include "node/config/check.h"
#include "node/config/command_line.h"
#include "node/config/directives.h"
#include "node/config/text.h"

namespace skein::node {
namespace {

constexpr int kIncludeDepth = 16;
constexpr size_t kLargestFile = 16u << 20;

absl::Status Refused(std::string_view where, std::string_view why) {
  return absl::InvalidArgumentError(Cat(where, ": ", why));
}

absl::Status Load(std::string_view text, const std::string& name, int depth, Config* config);

absl::StatusOr<std::string> ReadAll(std::istream& in, const std::string& name) {
  std::string text;
  char block[65536];
  while (in.read(block, sizeof block), in.gcount() > 0) {
    text.append(block, static_cast<size_t>(in.gcount()));
    if (text.size() > kLargestFile) {
      return absl::InvalidArgumentError(Cat(name, ": larger than ", kLargestFile >> 20, " MiB"));
    }
  }
  return text;
}

absl::Status LoadFile(const std::string& path, std::string_view where, int depth, Config* config) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    return Refused(where, Cat("can't open configuration file '", path, "': ", strerror(errno)));
  }
  if (S_ISDIR(info.st_mode)) return Refused(where, Cat("configuration file '", path, "' is a folder"));
  std::ifstream in(path, std::ios::binary);
  if (!in) return Refused(where, Cat("can't open configuration file '", path, "': ", strerror(errno)));
  const absl::StatusOr<std::string> text = ReadAll(in, path);
  if (!text.ok()) return text.status();
  return Load(*text, path, depth, config);
}

// `include pattern`: a pattern that matches nothing is nothing; a plain name must exist. Relative to the working
// folder.
absl::Status Include(const std::vector<std::string>& words, const std::string& where, int depth, Config* config) {
  if (words.size() != 1) return Refused(where, "'include' takes one file name or pattern");
  if (depth >= kIncludeDepth) {
    return Refused(where, Cat("'include ", words[0], "' is nested deeper than ", kIncludeDepth,
                              " files; does a file include itself?"));
  }
  if (words[0].find_first_of("*?[") == std::string::npos) return LoadFile(words[0], where, depth + 1, config);
  glob_t found;
  absl::Status status;
  if (glob(words[0].c_str(), 0, nullptr, &found) == 0) {
    for (size_t i = 0; i < found.gl_pathc && status.ok(); ++i) {
      status = LoadFile(found.gl_pathv[i], where, depth + 1, config);
    }
  }
  globfree(&found);
  return status;
}

absl::Status Apply(const std::vector<std::string>& line, const std::string& where, int depth, Config* config) {
  const std::vector<std::string> words(line.begin() + 1, line.end());
  if (SameName(line[0], "include")) return Include(words, where, depth, config);
  const Directive* const directive = FindDirective(line[0]);
  if (directive == nullptr) return Refused(where, UnknownDirective(line[0]));
  const absl::Status status = ApplyDirective(*directive, words, config);
  if (status.ok()) return status;
  const std::string said = directive->Is(Directive::kSensitive) ? std::string(directive->name) : JoinWords(line);
  return Refused(where, Cat("'", said, "': ", std::string(status.message())));
}

absl::Status Load(std::string_view text, const std::string& name, int depth, Config* config) {
  size_t number = 0;
  for (std::string_view line : SplitLines(text)) {
    ++number;
    line.remove_prefix(std::min(line.find_first_not_of(" \t\r\v\f"), line.size()));
    if (line.empty() || line[0] == '#') continue;
    const std::string where = Cat(name, ":", number);
    const auto words = ReadWords(line);
    if (!words) return Refused(where, "unbalanced quotes in configuration line");
    if (words->empty()) continue;
    if (absl::Status status = Apply(*words, where, depth, config); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status CheckFolder(Config* config) {
  char path[PATH_MAX];
  if (realpath(config->dir.c_str(), path) == nullptr) {
    return absl::InvalidArgumentError(Cat("'dir ", config->dir, "': ", strerror(errno)));
  }
  struct stat info;
  if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode)) {
    return absl::InvalidArgumentError(Cat("'dir ", config->dir, "': not a folder"));
  }
  if (access(path, R_OK | W_OK | X_OK) != 0) {
    return absl::InvalidArgumentError(Cat("'dir ", config->dir, "': ", strerror(errno)));
  }
  config->dir = path;
  return absl::OkStatus();
}

// One line a reason, not one a directive: an ordinary redis.conf holds dozens of them.
std::vector<std::string> Notes(const Config& config) {
  std::map<std::string_view, std::string> by_reason;
  for (const auto& [name, value] : config.kept) {
    std::string& names = by_reason[FindDirective(name)->why];
    Append(&names, names.empty() ? "" : ", ", name);
  }
  std::vector<std::string> notes;
  for (const auto& [why, names] : by_reason) notes.push_back(Cat("no effect: ", names, " (", why, ")"));
  return notes;
}

}  // namespace

absl::Status LoadText(std::string_view text, const std::string& name, Config* config) {
  return Load(text, name, 0, config);
}

absl::Status FinishLoading(Config* config) {
  if (absl::Status status = CheckFolder(config); !status.ok()) return status;
  if (absl::Status status = CheckCombinations(*config); !status.ok()) return status;
  config->notes = Notes(*config);
  return absl::OkStatus();
}

absl::StatusOr<Config> LoadConfig(int argc, const char* const* argv, LoadMode* mode) {
  const CommandLine line = ReadCommandLine(argc, argv);
  *mode = line.mode;
  if (!line.status.ok()) return line.status;
  Config config;
  if (line.mode == LoadMode::kHelp || line.mode == LoadMode::kVersion) return config;
  if (!line.file.empty()) {
    if (absl::Status status = LoadFile(line.file, "command line", 0, &config); !status.ok()) return status;
    char path[PATH_MAX];
    if (realpath(line.file.c_str(), path) != nullptr) config.config_file = path;
  }
  if (line.standard_input) {
    const absl::StatusOr<std::string> text = ReadAll(std::cin, "standard input");
    if (!text.ok()) return text.status();
    if (absl::Status status = Load(*text, "standard input", 0, &config); !status.ok()) return status;
  }
  for (const std::vector<std::string>& words : line.directives) {
    if (absl::Status status = Apply(words, "command line", 0, &config); !status.ok()) return status;
  }
  if (absl::Status status = FinishLoading(&config); !status.ok()) return status;
  return config;
}

}  // namespace skein::node
