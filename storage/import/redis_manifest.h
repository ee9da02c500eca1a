// The manifest of a multi-part append-only folder as Redis 7 and Valkey write it: a line a file, "file NAME seq N type
// T" with T b (base), i (incr) or h (history: no longer needed).
//
// Pure; any thread. Source: the multi-part AOF of Redis 7.0.
#ifndef SKEIN_STORAGE_IMPORT_REDIS_MANIFEST_H_
#define SKEIN_STORAGE_IMPORT_REDIS_MANIFEST_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace skein::storage {

struct RedisManifest {
  std::optional<std::string> base;
  std::vector<std::string> incrs;  // in order
  bool operator==(const RedisManifest&) const = default;
};

inline constexpr uint64_t kMaxRedisManifest = 16u << 20;

// DataLoss with the line if it is malformed: no such line, a name that is a path, two bases, incr files out of order,
// or nothing at all. Words after the six that are known are passed over, as Redis does.
absl::StatusOr<RedisManifest> ParseRedisManifest(std::string_view text);

// A line as words: bare, in double quotes with escapes (\n, \r, \t, \b, \a, \xHH), or in single quotes. False if the
// quotes are unbalanced.
bool SplitRedisWords(std::string_view line, std::vector<std::string>* words);

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_IMPORT_REDIS_MANIFEST_H_
