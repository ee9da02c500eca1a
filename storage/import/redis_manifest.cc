#include "storage/import/redis_manifest.h"

#include <charconv>

namespace skein::storage {
namespace {

constexpr size_t kMaxFiles = 100'000;

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f'; }

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Takes what stands in double quotes off the front of `line`, which begins behind the opening one.
bool TakeQuoted(std::string_view* line, std::string* word) {
  while (!line->empty()) {
    const char c = line->front();
    line->remove_prefix(1);
    if (c == '"') return line->empty() || IsSpace(line->front());
    if (c != '\\') {
      word->push_back(c);
      continue;
    }
    if (line->empty()) return false;
    if (line->size() >= 3 && line->front() == 'x' && HexDigit((*line)[1]) >= 0 && HexDigit((*line)[2]) >= 0) {
      word->push_back(static_cast<char>(HexDigit((*line)[1]) << 4 | HexDigit((*line)[2])));
      line->remove_prefix(3);
      continue;
    }
    const char escaped = line->front();
    line->remove_prefix(1);
    switch (escaped) {
      case 'n':
        word->push_back('\n');
        break;
      case 'r':
        word->push_back('\r');
        break;
      case 't':
        word->push_back('\t');
        break;
      case 'b':
        word->push_back('\b');
        break;
      case 'a':
        word->push_back('\a');
        break;
      default:
        word->push_back(escaped);
    }
  }
  return false;
}

bool TakeSingleQuoted(std::string_view* line, std::string* word) {
  while (!line->empty()) {
    const char c = line->front();
    line->remove_prefix(1);
    if (c == '\'') return line->empty() || IsSpace(line->front());
    if (c == '\\' && line->starts_with('\'')) {
      word->push_back('\'');
      line->remove_prefix(1);
    } else {
      word->push_back(c);
    }
  }
  return false;
}

bool ParseNumber(const std::string& text, int64_t* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

struct Line {
  std::string name;
  int64_t sequence = 0;
  char type = 0;
};

// What is wrong with the line; empty if nothing is.
std::string ParseLine(const std::vector<std::string>& words, Line* line) {
  if (words.size() < 6 || words.size() % 2 != 0) return "expected \"file NAME seq N type T\"";
  for (size_t i = 0; i < words.size(); i += 2) {
    const std::string& value = words[i + 1];
    if (words[i] == "file") {
      line->name = value;
      if (value.empty() || value.find('/') != std::string::npos || value == "." || value == "..") {
        return "not the name of a file: \"" + value + "\"";
      }
    } else if (words[i] == "seq") {
      if (!ParseNumber(value, &line->sequence)) return "not a number: \"" + value + "\"";
    } else if (words[i] == "type") {
      if (value != "b" && value != "i" && value != "h") return "not a type of file: \"" + value + "\"";
      line->type = value[0];
    }
  }
  if (line->name.empty() || line->sequence == 0 || line->type == 0) return "file, seq or type is missing";
  return "";
}

}  // namespace

bool SplitRedisWords(std::string_view line, std::vector<std::string>* words) {
  words->clear();
  while (true) {
    while (!line.empty() && IsSpace(line.front())) line.remove_prefix(1);
    if (line.empty()) return true;
    std::string& word = words->emplace_back();
    while (!line.empty() && !IsSpace(line.front())) {
      const char c = line.front();
      line.remove_prefix(1);
      if (c == '"') {
        if (!TakeQuoted(&line, &word)) return false;
        break;
      }
      if (c == '\'') {
        if (!TakeSingleQuoted(&line, &word)) return false;
        break;
      }
      word.push_back(c);
    }
  }
}

absl::StatusOr<RedisManifest> ParseRedisManifest(std::string_view text) {
  RedisManifest manifest;
  int64_t last_sequence = 0;
  std::vector<std::string> words;
  for (size_t number = 1; !text.empty(); ++number) {
    const auto bad = [&](const std::string& why) {
      return absl::DataLossError("line " + std::to_string(number) + ": " + why);
    };
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) return bad("the file ends here");
    const std::string_view content = text.substr(0, end);
    text.remove_prefix(end + 1);
    if (content.starts_with('#')) continue;
    if (!SplitRedisWords(content, &words)) return bad("unbalanced quotes");
    Line line;
    if (const std::string why = ParseLine(words, &line); !why.empty()) return bad(why);
    if (line.type == 'b') {
      if (manifest.base.has_value()) return bad("a second base");
      manifest.base = line.name;
    } else if (line.type == 'i') {
      if (line.sequence <= last_sequence) return bad("incr files out of order");
      last_sequence = line.sequence;
      manifest.incrs.push_back(line.name);
      if (manifest.incrs.size() > kMaxFiles) return bad("too many files");
    }
  }
  if (!manifest.base.has_value() && manifest.incrs.empty()) return absl::DataLossError("it lists no file");
  return manifest;
}

}  // namespace skein::storage
