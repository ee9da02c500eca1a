#include "storage/reshard.h"

#include "ops/aof_tool/commands.h"
#include "ops/aof_tool/json.h"
#include "ops/aof_tool/offline.h"
#include "ops/aof_tool/text.h"

namespace skein::ops {

int Reshard(const Tool& tool, const Arguments& arguments) {
  const std::optional<uint64_t> to = ParseNumber(arguments.Value("--to"), storage::kMaxShards);
  if (!to.has_value() || *to == 0) {
    return Fail(tool, absl::InvalidArgumentError("--to needs a number of shards, 1 to 1024"));
  }
  const absl::StatusOr<Folder> folder = FindFolder(tool, arguments);
  if (!folder.ok()) return Fail(tool, folder.status());
  storage::ReshardOptions options;
  options.place = PlaceOf(tool, *folder);
  options.to = static_cast<uint32_t>(*to);
  options.target_dir = arguments.Value("--into");
  if (!options.target_dir.empty()) {
    if (absl::Status status = tool.fs->CreateDir(options.target_dir); !status.ok()) return Fail(tool, status);
  }
  options.progress = DrawPhases(tool.console);
  const absl::StatusOr<storage::ReshardReport> report = storage::Reshard(options);
  options.progress = nullptr;
  if (!report.ok()) return Fail(tool, report.status());
  if (arguments.json()) {
    tool.console->Out(Json::Object()
                          .Set("folder", folder->path)
                          .Set("from", report->from)
                          .Set("to", report->to)
                          .Set("keys", report->keys)
                          .Set("cut_bytes", report->cut_bytes)
                          .Set("kept", report->kept.empty() ? Json::Null() : Json(report->kept))
                          .Text() +
                      "\n");
    return kOk;
  }
  std::string text = "from " + Count(report->from, "shard") + " to " + std::to_string(report->to) + ": " +
                     Count(report->keys, "key") + "\n";
  if (report->cut_bytes > 0) {
    text += "torn tails of " + Count(report->cut_bytes, "byte") + " in all are not in the new logs\n";
  }
  if (!report->kept.empty()) text += "the old folder is kept as " + report->kept + "; remove it when all is well\n";
  tool.console->Out(text);
  return kOk;
}

}  // namespace skein::ops
