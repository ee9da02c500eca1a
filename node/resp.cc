#include "node/resp.h"

#include <algorithm>
#include <climits>
#include <cstring>

namespace skein::node {
namespace {

// Looks at the line that starts at `pos`. Returns the offset of its '\r' if the whole line with its '\n' is there,
// npos if not. Does not look further than a line may be long.
size_t LineEnd(std::string_view in, size_t pos) {
  const size_t limit = std::min(in.size() - pos, kMaxLine + 2);
  const void* cr = std::memchr(in.data() + pos, '\r', limit);
  if (cr == nullptr) return std::string_view::npos;
  const size_t at = static_cast<const char*>(cr) - in.data();
  return at + 1 < in.size() ? at : std::string_view::npos;
}

bool LineTooLong(std::string_view in, size_t pos) {
  return in.size() - pos > kMaxLine && std::memchr(in.data() + pos, '\r', kMaxLine + 1) == nullptr;
}

bool IsSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The digits of a short, plain, non-negative number ending in "\r\n" at `p`. Returns the byte after the line, or null:
// then the slow path looks at it.
inline const char* ShortNumber(const char* p, const char* end, int64_t* value) {
  if (end - p < 3) return nullptr;
  uint32_t d = static_cast<unsigned char>(*p) - '0';
  if (d > 9) return nullptr;
  uint32_t n = d;
  ++p;
  if (n == 0 && *p != '\r') return nullptr;
  for (int i = 0; i < 7; ++i) {
    if (*p == '\r') {
      if (p + 1 >= end) return nullptr;
      *value = n;
      return p + 2;
    }
    d = static_cast<unsigned char>(*p) - '0';
    if (d > 9) return nullptr;
    n = n * 10 + d;
    if (++p == end) return nullptr;
  }
  return nullptr;
}

}  // namespace

bool ParseInteger(std::string_view text, int64_t* value) {
  if (text.empty() || text.size() > 20) return false;
  if (text == "0") {
    *value = 0;
    return true;
  }
  size_t i = 0;
  const bool negative = text[0] == '-';
  if (negative) ++i;
  if (i == text.size() || text[i] < '1' || text[i] > '9') return false;
  uint64_t n = 0;
  for (; i < text.size(); ++i) {
    const unsigned d = static_cast<unsigned char>(text[i]) - '0';
    if (d > 9) return false;
    if (n > (UINT64_MAX - d) / 10) return false;
    n = n * 10 + d;
  }
  if (negative) {
    if (n > static_cast<uint64_t>(INT64_MAX) + 1) return false;
    *value = static_cast<int64_t>(0 - n);
  } else {
    if (n > INT64_MAX) return false;
    *value = static_cast<int64_t>(n);
  }
  return true;
}

bool SplitInline(std::string_view line, std::deque<std::string>* storage, std::vector<std::string_view>* args) {
  size_t i = 0;
  while (true) {
    while (i < line.size() && IsSpace(line[i])) ++i;
    if (i == line.size() || line[i] == '\0') return true;
    size_t end = i;
    while (end < line.size() && !IsSpace(line[end]) && line[end] != '"' && line[end] != '\'' && line[end] != '\0') {
      ++end;
    }
    if (end == line.size() || (line[end] != '"' && line[end] != '\'')) {
      args->push_back(line.substr(i, end - i));
      i = end;
      continue;
    }
    std::string word(line.substr(i, end - i));
    i = end;
    char quote = 0;
    for (;; ++i) {
      if (i == line.size() || line[i] == '\0') {
        if (quote != 0) return false;
        break;
      }
      const char c = line[i];
      if (quote == 0) {
        if (IsSpace(c)) break;
        if (c == '"' || c == '\'') {
          quote = c;
        } else {
          word.push_back(c);
        }
      } else if (c == quote) {
        // A closing quote must end the word.
        if (i + 1 < line.size() && !IsSpace(line[i + 1]) && line[i + 1] != '\0') return false;
        ++i;
        quote = 0;
        break;
      } else if (quote == '"' && c == '\\' && i + 1 < line.size()) {
        if (line[i + 1] == 'x' && i + 3 < line.size() && HexDigit(line[i + 2]) >= 0 && HexDigit(line[i + 3]) >= 0) {
          word.push_back(static_cast<char>(HexDigit(line[i + 2]) * 16 + HexDigit(line[i + 3])));
          i += 3;
          continue;
        }
        ++i;
        switch (line[i]) {
          case 'n':
            word.push_back('\n');
            break;
          case 'r':
            word.push_back('\r');
            break;
          case 't':
            word.push_back('\t');
            break;
          case 'b':
            word.push_back('\b');
            break;
          case 'a':
            word.push_back('\a');
            break;
          default:
            word.push_back(line[i]);
        }
      } else if (quote == '\'' && c == '\\' && i + 1 < line.size() && line[i + 1] == '\'') {
        word.push_back('\'');
        ++i;
      } else {
        word.push_back(c);
      }
    }
    storage->push_back(std::move(word));
    args->push_back(storage->back());
  }
}

ParseResult RequestParser::Fail(std::string_view text) {
  error_ = "Protocol error: ";
  error_ += text;
  return ParseResult::kError;
}

ParseResult RequestParser::ParseInline(std::string_view in, std::vector<std::string_view>* args, size_t* consumed) {
  const void* lf = std::memchr(in.data(), '\n', std::min(in.size(), kMaxLine + 2));
  if (lf == nullptr) {
    if (in.size() > kMaxLine) return Fail("too big inline request");
    return ParseResult::kIncomplete;
  }
  size_t end = static_cast<const char*>(lf) - in.data();
  *consumed = end + 1;
  if (end > 0 && in[end - 1] == '\r') --end;
  if (!SplitInline(in.substr(0, end), &unquoted_, args)) return Fail("unbalanced quotes in request");
  return ParseResult::kCommand;
}

ParseResult RequestParser::ParseFresh(std::string_view in, const RespLimits& limits, PartialCommand* partial,
                                      std::vector<std::string_view>* args, size_t* consumed) {
  const char* p = in.data();
  const char* const end = p + in.size();
  // Commands of everyday size that are there whole; anything else, errors included, goes the careful way below.
  const int64_t max_args = limits.authenticated ? 1024 : kMaxUnauthenticatedArgs;
  const int64_t max_bulk = std::min<int64_t>(limits.authenticated ? 1 << 20 : kMaxUnauthenticatedBulk,
                                             static_cast<int64_t>(limits.max_bulk));
  int64_t argc;
  if (*p == '*' && (p = ShortNumber(p + 1, end, &argc)) != nullptr && argc > 0 && argc <= max_args) {
    const size_t first = args->size();
    int64_t i = 0;
    for (; i < argc; ++i) {
      int64_t len;
      if (p == end || *p != '$') break;
      const char* bytes = ShortNumber(p + 1, end, &len);
      if (bytes == nullptr || len > max_bulk || end - bytes < len + 2) break;
      args->emplace_back(bytes, len);
      p = bytes + len + 2;
    }
    if (i == argc) {
      *consumed = p - in.data();
      return ParseResult::kCommand;
    }
    args->resize(first);
  }
  partial->pos = 0;
  partial->args_left = 0;
  partial->bulk_len = -1;
  partial->args.clear();
  return Parse(in, limits, partial, args, consumed);
}

ParseResult RequestParser::Parse(std::string_view in, const RespLimits& limits, PartialCommand* partial,
                                 std::vector<std::string_view>* args, size_t* consumed) {
  if (in.empty()) return ParseResult::kIncomplete;
  if (in[0] != '*') return ParseInline(in, args, consumed);

  PartialCommand& c = *partial;
  if (c.args_left == 0) {
    const size_t cr = LineEnd(in, 0);
    if (cr == std::string_view::npos) {
      return LineTooLong(in, 0) ? Fail("too big mbulk count string") : ParseResult::kIncomplete;
    }
    int64_t n;
    if (!ParseInteger(in.substr(1, cr - 1), &n) || n > INT_MAX) return Fail("invalid multibulk length");
    if (n > kMaxUnauthenticatedArgs && !limits.authenticated) return Fail("unauthenticated multibulk length");
    c.pos = cr + 2;
    if (n <= 0) {
      *consumed = c.pos;
      return ParseResult::kCommand;
    }
    c.args_left = n;
    c.args.reserve(static_cast<size_t>(std::min<int64_t>(n, 64)));
  }
  while (c.args_left > 0) {
    if (c.bulk_len < 0) {
      if (c.pos >= in.size()) return ParseResult::kIncomplete;
      const size_t cr = LineEnd(in, c.pos);
      if (cr == std::string_view::npos) {
        return LineTooLong(in, c.pos) ? Fail("too big bulk count string") : ParseResult::kIncomplete;
      }
      if (in[c.pos] != '$') {
        const char text[] = {'e',  'x', 'p', 'e', 'c', 't', 'e', 'd',  ' ',       '\'', '$',
                             '\'', ',', ' ', 'g', 'o', 't', ' ', '\'', in[c.pos], '\''};
        return Fail({text, sizeof(text)});
      }
      int64_t len;
      if (!ParseInteger(in.substr(c.pos + 1, cr - c.pos - 1), &len) || len < 0 ||
          static_cast<uint64_t>(len) > limits.max_bulk) {
        return Fail("invalid bulk length");
      }
      if (len > kMaxUnauthenticatedBulk && !limits.authenticated) return Fail("unauthenticated bulk length");
      c.pos = cr + 2;
      c.bulk_len = len;
    }
    const size_t len = static_cast<size_t>(c.bulk_len);
    if (in.size() < c.pos || in.size() - c.pos < len + 2) return ParseResult::kIncomplete;
    c.args.push_back({c.pos, len});
    c.pos += len + 2;
    c.bulk_len = -1;
    --c.args_left;
  }
  args->reserve(args->size() + c.args.size());
  for (const PartialCommand::Range& r : c.args) args->push_back(in.substr(r.offset, r.size));
  *consumed = c.pos;
  return ParseResult::kCommand;
}

}  // namespace skein::node
