#include "node/config/text.h"

#include <fnmatch.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

namespace skein::node {
namespace {

// Those of <cctype> follow the locale and want an unsigned char.
bool IsSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
char ToLower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }
bool IsHex(char c) { return IsDigit(c) || (ToLower(c) >= 'a' && ToLower(c) <= 'f'); }
int HexValue(char c) { return IsDigit(c) ? c - '0' : ToLower(c) - 'a' + 10; }
bool IsPrint(char c) { return c >= ' ' && c <= '~'; }

char Unescape(char c) {
  switch (c) {
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'b':
      return '\b';
    case 'a':
      return '\a';
    default:
      return c;
  }
}

// Reads one word at `*i`; false if its quotes are not balanced.
bool ReadWord(std::string_view line, size_t* i, std::string* word) {
  char quote = 0;
  for (; *i < line.size(); ++*i) {
    const char c = line[*i];
    if (quote == 0) {
      if (IsSpace(c) || c == '\0') return true;
      if (c == '"' || c == '\'') {
        quote = c;
      } else {
        word->push_back(c);
      }
      continue;
    }
    if (c == quote) {
      ++*i;
      return *i == line.size() || IsSpace(line[*i]);
    }
    if (c == '\\' && quote == '"') {
      if (*i + 3 < line.size() && line[*i + 1] == 'x' && IsHex(line[*i + 2]) && IsHex(line[*i + 3])) {
        word->push_back(static_cast<char>(HexValue(line[*i + 2]) * 16 + HexValue(line[*i + 3])));
        *i += 3;
      } else if (*i + 1 < line.size()) {
        word->push_back(Unescape(line[++*i]));
      } else {
        return false;
      }
    } else if (c == '\\' && *i + 1 < line.size() && line[*i + 1] == '\'') {
      word->push_back(line[++*i]);
    } else {
      word->push_back(c);
    }
  }
  return quote == 0;
}

}  // namespace

std::string CatPieces(std::initializer_list<std::string_view> pieces) {
  size_t size = 0;
  for (const std::string_view piece : pieces) size += piece.size();
  std::string out;
  out.reserve(size);
  for (const std::string_view piece : pieces) out += piece;
  return out;
}

std::string Join(const std::vector<std::string>& words, std::string_view between) {
  std::string out;
  for (size_t i = 0; i < words.size(); ++i) {
    if (i != 0) out += between;
    out += words[i];
  }
  return out;
}

std::string Lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), ToLower);
  return out;
}

bool SameName(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return ToLower(x) == ToLower(y); });
}

std::vector<std::string> SplitBlanks(std::string_view text) {
  std::vector<std::string> words;
  for (size_t i = 0; i < text.size();) {
    if (IsSpace(text[i])) {
      ++i;
      continue;
    }
    size_t end = i;
    while (end < text.size() && !IsSpace(text[end])) ++end;
    words.emplace_back(text.substr(i, end - i));
    i = end;
  }
  return words;
}

std::vector<std::string_view> SplitLines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (true) {
    const size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return lines;
    text.remove_prefix(end + 1);
  }
}

std::optional<std::vector<std::string>> ReadWords(std::string_view line) {
  std::vector<std::string> words;
  size_t i = 0;
  while (true) {
    while (i < line.size() && IsSpace(line[i])) ++i;
    if (i >= line.size() || line[i] == '\0') return words;
    words.emplace_back();
    if (!ReadWord(line, &i, &words.back())) return std::nullopt;
  }
}

std::string QuoteWord(std::string_view word) {
  const bool plain = !word.empty() && word[0] != '#' && std::all_of(word.begin(), word.end(), [](char c) {
    return IsPrint(c) && c != ' ' && c != '"' && c != '\'' && c != '\\';
  });
  if (plain) return std::string(word);
  std::string out = "\"";
  for (const char c : word) {
    switch (c) {
      case '"':
      case '\\':
        out += '\\';
        out += c;
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\a':
        out += "\\a";
        break;
      default:
        if (IsPrint(c)) {
          out += c;
        } else {
          constexpr char kDigits[] = "0123456789abcdef";
          out += "\\x";
          out += kDigits[static_cast<unsigned char>(c) >> 4];
          out += kDigits[static_cast<unsigned char>(c) & 15];
        }
    }
  }
  return out + "\"";
}

std::string JoinWords(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) Append(&out, out.empty() ? "" : " ", QuoteWord(word));
  return out;
}

std::optional<uint64_t> ParseMemory(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  const std::string unit = Lower(text.substr(static_cast<size_t>(end - text.data())));
  static constexpr std::pair<std::string_view, uint64_t> kUnits[] = {
      {"", 1},        {"b", 1},         {"k", 1000},       {"kb", 1u << 10},
      {"m", 1000000}, {"mb", 1u << 20}, {"g", 1000000000}, {"gb", 1u << 30},
  };
  for (const auto& [name, factor] : kUnits) {
    if (name != unit) continue;
    uint64_t bytes = 0;
    if (__builtin_mul_overflow(number, factor, &bytes)) return std::nullopt;
    return bytes;
  }
  return std::nullopt;
}

std::string FormatMemory(uint64_t bytes) {
  if (bytes != 0 && bytes % (1u << 30) == 0) return Cat(bytes >> 30, "gb");
  if (bytes != 0 && bytes % (1u << 20) == 0) return Cat(bytes >> 20, "mb");
  if (bytes != 0 && bytes % (1u << 10) == 0) return Cat(bytes >> 10, "kb");
  return Cat(bytes);
}

std::optional<int64_t> ParseInteger(std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

uint32_t EditDistance(std::string_view a, std::string_view b, uint32_t limit) {
  constexpr size_t kLongest = 64;  // no directive is as long; what is longer is far from all of them
  if (a.size() > kLongest || b.size() > kLongest) return limit + 1;
  // Three rows of the usual table: the one being filled and the two above it.
  std::array<std::array<uint32_t, kLongest + 1>, 3> rows;
  for (size_t j = 0; j <= b.size(); ++j) rows[0][j] = static_cast<uint32_t>(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    auto& row = rows[i % 3];
    const auto& above = rows[(i + 2) % 3];
    row[0] = static_cast<uint32_t>(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const bool same = ToLower(a[i - 1]) == ToLower(b[j - 1]);
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (same ? 0 : 1)});
      if (i > 1 && j > 1 && ToLower(a[i - 1]) == ToLower(b[j - 2]) && ToLower(a[i - 2]) == ToLower(b[j - 1])) {
        row[j] = std::min(row[j], rows[(i + 1) % 3][j - 2] + 1);
      }
    }
  }
  return std::min(rows[a.size() % 3][b.size()], limit + 1);
}

bool MatchName(const std::string& pattern, const std::string& name) {
  return fnmatch(pattern.c_str(), name.c_str(), FNM_CASEFOLD) == 0;
}

}  // namespace skein::node
