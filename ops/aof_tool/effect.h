// The effects in the body of a data record, and which keys and databases they are about (storage/FORMAT.md).
#ifndef SKEIN_OPS_AOF_TOOL_EFFECT_H_
#define SKEIN_OPS_AOF_TOOL_EFFECT_H_

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace skein::ops {

struct Effect {
  uint32_t db = 0;
  std::vector<std::string_view> argv;  // views of the body

  // The keys that it changes: none for an effect on whole databases.
  std::vector<std::string_view> Keys() const;
};

// Calls `fn` for each effect; SELECT is taken as what it says and not handed on. DataLoss if the body is malformed;
// what effects there are is not judged here.
absl::Status ForEachEffect(uint32_t db, std::string_view body, const std::function<void(const Effect&)>& fn);

// The highest database that the body names, as one it works in or as a target.
absl::StatusOr<uint32_t> HighestDatabase(uint32_t db, std::string_view body);

}  // namespace skein::ops

#endif  // SKEIN_OPS_AOF_TOOL_EFFECT_H_
