// Reading the words of a command.
#ifndef SKEIN_NODE_COMMANDS_PARSE_H_
#define SKEIN_NODE_COMMANDS_PARSE_H_

#include <strings.h>

#include <charconv>
#include <cstdint>
#include <string_view>

namespace skein::node {

// Whether `word` is `expected`, in any case.
inline bool IsWord(std::string_view word, std::string_view expected) {
  return word.size() == expected.size() && strncasecmp(word.data(), expected.data(), word.size()) == 0;
}

// A 64-bit integer in the one form that Redis takes (no sign '+', no leading zeros or spaces, no "-0").
inline bool ParseInt64(std::string_view text, int64_t* value) {
  if (text.empty() || text.size() > 20) return false;
  const size_t first = text[0] == '-' ? 1 : 0;
  if (first == text.size()) return false;
  if (text[first] == '0' && text.size() != 1) return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace skein::node

#endif  // SKEIN_NODE_COMMANDS_PARSE_H_
