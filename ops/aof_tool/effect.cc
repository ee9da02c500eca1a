#include "ops/aof_tool/effect.h"

#include <algorithm>
#include <optional>

#include "absl/status/statusor.h"
#include "ops/aof_tool/text.h"
#include "storage/manifest.h"
#include "storage/record.h"

namespace skein::ops {

std::vector<std::string_view> Effect::Keys() const {
  const std::string_view name = argv[0];
  if (name == "FLUSHALL" || name == "FLUSHDB" || name == "SWAPDB" || argv.size() < 2) return {};
  if (name == "RENAME" || name == "COPY") return {argv.begin() + 1, argv.begin() + (argv.size() > 2 ? 3 : 2)};
  return {argv[1]};
}

absl::Status ForEachEffect(uint32_t db, std::string_view body, const std::function<void(const Effect&)>& fn) {
  Effect effect;
  effect.db = db;
  while (!body.empty()) {
    if (!storage::TakeResp(&body, &effect.argv) || effect.argv.empty()) {
      return absl::DataLossError("the record's body is not a list of effects");
    }
    if (effect.argv[0] == "SELECT" && effect.argv.size() == 2) {
      const std::optional<uint64_t> selected = ParseNumber(effect.argv[1], storage::kMaxDatabases - 1);
      if (!selected.has_value()) return absl::DataLossError("the record's body selects no database");
      effect.db = static_cast<uint32_t>(*selected);
      continue;
    }
    fn(effect);
  }
  return absl::OkStatus();
}

absl::StatusOr<uint32_t> HighestDatabase(uint32_t db, std::string_view body) {
  uint32_t highest = db;
  const auto target = [&](std::string_view text) {
    const std::optional<uint64_t> found = ParseNumber(text, storage::kMaxDatabases - 1);
    if (found.has_value()) highest = std::max(highest, static_cast<uint32_t>(*found));
  };
  const absl::Status status = ForEachEffect(db, body, [&](const Effect& effect) {
    highest = std::max(highest, effect.db);
    if (effect.argv[0] == "MOVE" && effect.argv.size() == 3) target(effect.argv[2]);
    if (effect.argv[0] == "SWAPDB" && effect.argv.size() == 3) target(effect.argv[1]), target(effect.argv[2]);
    if (effect.argv[0] == "COPY" && effect.argv.size() > 4) target(effect.argv[4]);
  });
  if (!status.ok()) return status;
  return highest;
}

}  // namespace skein::ops
