// Glob patterns as KEYS, SCAN MATCH and COMMAND LIST take them: '*', '?', '[a-z]', '[^a]', '\x'.
// Source: the documentation of KEYS; corner cases as redis-server 7.0 answers them.
#ifndef SKEIN_NODE_UTIL_GLOB_H_
#define SKEIN_NODE_UTIL_GLOB_H_

#include <string_view>

namespace skein::node {

enum class GlobCase { kSensitive, kIgnore };

// Whether all of `text` matches `pattern`. Time is at most |pattern| * |text| steps and there is no recursion, whatever
// the pattern: a pattern of many stars costs no more than one of few. As in Redis, an empty text matches only an empty
// pattern (not "*"; callers treat a lone "*" as "everything"), a class that is not closed ends with the pattern, and a
// trailing backslash stands for itself.
bool GlobMatch(std::string_view pattern, std::string_view text, GlobCase fold = GlobCase::kSensitive);

// Whether the pattern has no character with a special meaning: it matches only itself.
bool GlobIsLiteral(std::string_view pattern);

}  // namespace skein::node

#endif  // SKEIN_NODE_UTIL_GLOB_H_
