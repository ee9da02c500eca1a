#include "storage/export.h"

#include "ops/aof_tool/commands.h"
#include "ops/aof_tool/json.h"
#include "ops/aof_tool/offline.h"
#include "ops/aof_tool/salvage.h"
#include "ops/aof_tool/text.h"
#include "storage/layout_writer.h"
#include "storage/runbook.h"

namespace skein::ops {

namespace {

// Writes what stands before the damage, and says what does not.
int ExportSalvaged(const Tool& tool, const Arguments& arguments, Folder folder, const std::string& path) {
  const absl::StatusOr<std::unique_ptr<storage::FileLock>> lock = TakeFolder(tool, &folder);
  if (!lock.ok()) return Fail(tool, lock.status());
  if (!folder.manifest.ok()) return Fail(tool, folder.manifest.status());
  const absl::StatusOr<bool> exists = tool.fs->Exists(path);
  if (!exists.ok()) return Fail(tool, exists.status());
  if (*exists)
    return Fail(tool, absl::AlreadyExistsError(path + ": exists already; choose another name" +
                                               storage::SeeRunbook("back-to-redis")));
  const absl::StatusOr<Salvaged> salvaged = Salvage(tool, folder);
  if (!salvaged.ok()) return Fail(tool, salvaged.status());
  storage::LayoutWriterOptions options;
  options.databases = folder.manifest->databases;
  options.compress = !arguments.Has("--no-compression");
  const absl::StatusOr<uint64_t> bytes = storage::WritePlainRdb(tool.fs, path, salvaged->shards, options);
  if (!bytes.ok()) return Fail(tool, bytes.status());
  if (arguments.json()) {
    Json left = Json::Array();
    for (size_t i = 0; i < salvaged->problems.size(); ++i) {
      if (salvaged->problems[i].empty()) continue;
      left.Add(Json::Object().Set("shard", i).Set("problem", salvaged->problems[i]));
    }
    tool.console->Out(Json::Object()
                          .Set("folder", folder.path)
                          .Set("rdb", path)
                          .Set("keys", salvaged->keys)
                          .Set("bytes", *bytes)
                          .Set("left_out_from", left)
                          .Text() +
                      "\n");
    return kOk;
  }
  std::string text;
  for (size_t i = 0; i < salvaged->problems.size(); ++i) {
    if (salvaged->problems[i].empty()) continue;
    text += "shard " + std::to_string(i) + ": left out from here on: " + salvaged->problems[i] + "\n";
  }
  tool.console->Out(text + path + ": " + Count(salvaged->keys, "key") + ", " + SizeText(*bytes) + "\n");
  return kOk;
}

}  // namespace

int Export(const Tool& tool, const Arguments& arguments) {
  storage::ExportOptions options;
  options.path = arguments.Value("--rdb");
  if (options.path.empty()) return Fail(tool, absl::InvalidArgumentError("--rdb is missing: the file to write"));
  const absl::StatusOr<Folder> folder = FindFolder(tool, arguments);
  if (!folder.ok()) return Fail(tool, folder.status());
  if (arguments.Has("--salvage")) return ExportSalvaged(tool, arguments, *folder, options.path);
  options.place = PlaceOf(tool, *folder);
  options.compress = !arguments.Has("--no-compression");
  options.progress = DrawPhases(tool.console);
  const absl::StatusOr<storage::ExportReport> report = storage::Export(options);
  options.progress = nullptr;
  if (!report.ok()) return Fail(tool, report.status());
  if (arguments.json()) {
    tool.console->Out(Json::Object()
                          .Set("folder", folder->path)
                          .Set("rdb", options.path)
                          .Set("keys", report->keys)
                          .Set("bytes", report->bytes)
                          .Set("cut_bytes", report->cut_bytes)
                          .Text() +
                      "\n");
    return kOk;
  }
  std::string text = options.path + ": " + Count(report->keys, "key") + ", " + SizeText(report->bytes) + "\n";
  if (report->cut_bytes > 0) {
    text += "torn tails of " + Count(report->cut_bytes, "byte") +
            " in all are not in it; see ops/aof repair DIR --dry-run\n";
  }
  tool.console->Out(text);
  return kOk;
}

}  // namespace skein::ops
