#include "node/util/glob.h"

#include <cstddef>
#include <utility>

namespace skein::node {
namespace {

int Fold(char c, GlobCase fold) {
  if (fold == GlobCase::kIgnore && c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  return static_cast<unsigned char>(c);
}

// Matches `c` with the class that starts behind the '[' at `*at`; leaves `*at` behind the class.
bool MatchClass(std::string_view pattern, size_t* at, int c, GlobCase fold) {
  size_t p = *at;
  const bool negated = p < pattern.size() && pattern[p] == '^';
  if (negated) ++p;
  bool in = false;
  while (p < pattern.size()) {
    if (pattern[p] == '\\' && p + 1 < pattern.size()) {
      in |= Fold(pattern[p + 1], fold) == c;
      p += 2;
    } else if (pattern[p] == ']') {
      ++p;
      break;
    } else if (p + 2 < pattern.size() && pattern[p + 1] == '-') {
      int low = Fold(pattern[p], fold), high = Fold(pattern[p + 2], fold);
      if (low > high) std::swap(low, high);
      in |= low <= c && c <= high;
      p += 3;
    } else {
      in |= Fold(pattern[p], fold) == c;
      ++p;
    }
  }
  *at = p;
  return in != negated;
}

// Matches one character with the pattern's element at `*at`, which is not a star; leaves `*at` behind the element.
bool MatchOne(std::string_view pattern, size_t* at, char raw, GlobCase fold) {
  const char e = pattern[(*at)++];
  const int c = Fold(raw, fold);
  if (e == '?') return true;
  if (e == '[') return MatchClass(pattern, at, c, fold);
  if (e == '\\' && *at < pattern.size()) return Fold(pattern[(*at)++], fold) == c;
  return Fold(e, fold) == c;
}

}  // namespace

bool GlobMatch(std::string_view pattern, std::string_view text, GlobCase fold) {
  if (text.empty()) return pattern.empty();
  size_t p = 0, t = 0;
  // Behind the last star, and the text that it has been tried against. Every element but the star takes exactly one
  // character, so going back further than the last star can never help.
  size_t star = std::string_view::npos, star_text = 0;
  while (t < text.size()) {
    if (p < pattern.size()) {
      if (pattern[p] == '*') {
        while (p < pattern.size() && pattern[p] == '*') ++p;
        if (p == pattern.size()) return true;
        star = p;
        star_text = t;
        continue;
      }
      if (MatchOne(pattern, &p, text[t], fold)) {
        ++t;
        continue;
      }
    }
    if (star == std::string_view::npos) return false;
    p = star;
    t = ++star_text;
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

bool GlobIsLiteral(std::string_view pattern) { return pattern.find_first_of("*?[\\") == std::string_view::npos; }

}  // namespace skein::node
