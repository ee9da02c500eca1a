// Comparing words of a command without regard to ASCII case.
#ifndef SKEIN_NODE_UTIL_WORDS_H_
#define SKEIN_NODE_UTIL_WORDS_H_

#include <cstddef>
#include <string_view>

namespace skein::node {

inline constexpr char LowerAscii(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }
inline constexpr char UpperAscii(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c & ~0x20) : c; }

// Whether `word` is `expected`, in any case.
inline constexpr bool IsWord(std::string_view word, std::string_view expected) {
  if (word.size() != expected.size()) return false;
  for (size_t i = 0; i < word.size(); ++i) {
    if (LowerAscii(word[i]) != LowerAscii(expected[i])) return false;
  }
  return true;
}

}  // namespace skein::node

#endif  // SKEIN_NODE_UTIL_WORDS_H_
