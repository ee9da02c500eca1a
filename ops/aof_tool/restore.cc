#include "storage/restore.h"

#include "ops/aof_tool/commands.h"
#include "ops/aof_tool/json.h"
#include "ops/aof_tool/offline.h"
#include "ops/aof_tool/text.h"

namespace skein::ops {
namespace {

// Takes "SHARD:LSN" apart; a shard that is not named is taken whole.
absl::Status TakeLsns(const Arguments& arguments, size_t shards, std::vector<storage::Lsn>* lsns) {
  lsns->assign(shards, ~storage::Lsn{0});
  for (const std::string& word : arguments.Values("--to-lsn")) {
    const size_t colon = word.find(':');
    const std::optional<uint64_t> shard = ParseNumber(std::string_view(word).substr(0, colon));
    const std::optional<uint64_t> lsn =
        colon == std::string::npos ? std::nullopt : ParseNumber(std::string_view(word).substr(colon + 1));
    if (!shard.has_value() || !lsn.has_value()) {
      return absl::InvalidArgumentError("--to-lsn: '" + word + "' is not SHARD:LSN");
    }
    if (*shard >= shards) {
      return absl::InvalidArgumentError("--to-lsn: there are " + Count(shards, "shard") + ", counted from 0");
    }
    (*lsns)[*shard] = *lsn;
  }
  return absl::OkStatus();
}

Json ReportJson(const storage::RestoreReport& report) {
  Json shards = Json::Array();
  for (size_t i = 0; i < report.shards.size(); ++i) {
    const storage::RestoreReport::PerShard& shard = report.shards[i];
    shards.Add(Json::Object()
                   .Set("shard", i)
                   .Set("end", shard.end)
                   .Set("last_time", shard.last_time == 0 ? Json::Null() : Json(TimeText(shard.last_time)))
                   .Set("records", shard.records)
                   .Set("left_records", shard.left_records)
                   .Set("left_bytes", shard.left_bytes));
  }
  return shards;
}

std::string ReportText(const storage::RestoreReport& report) {
  std::string text;
  for (size_t i = 0; i < report.shards.size(); ++i) {
    const storage::RestoreReport::PerShard& shard = report.shards[i];
    text += "shard " + std::to_string(i) + ": to LSN " + std::to_string(shard.end);
    if (shard.last_time != 0) text += ", last record " + TimeText(shard.last_time);
    text += "; " + Count(shard.left_records, "later record") + " left out\n";
  }
  return text;
}

}  // namespace

int Restore(const Tool& tool, const Arguments& arguments) {
  storage::RestoreOptions options;
  options.target_dir = arguments.Value("--into");
  if (options.target_dir.empty()) {
    return Fail(tool, absl::InvalidArgumentError("--into is missing: the dir of the new data set"));
  }
  if (arguments.Has("--to-time") == arguments.Has("--to-lsn")) {
    return Fail(tool, absl::InvalidArgumentError("one of --to-time and --to-lsn is needed"));
  }
  if (arguments.Has("--to-time")) {
    options.to_time = ParseTime(arguments.Value("--to-time"));
    if (!options.to_time.has_value()) {
      return Fail(tool, absl::InvalidArgumentError(
                            "--to-time: '" + arguments.Value("--to-time") +
                            "' is no time: 2026-11-22T01:02:03Z, or seconds or milliseconds since 1970"));
    }
  }
  const absl::StatusOr<Folder> folder = FindFolder(tool, arguments);
  if (!folder.ok()) return Fail(tool, folder.status());
  if (!folder->manifest.ok()) return Fail(tool, folder->manifest.status());
  if (arguments.Has("--to-lsn")) {
    const absl::Status status = TakeLsns(arguments, folder->manifest->shards.size(), &options.to_lsn);
    if (!status.ok()) return Fail(tool, status);
  }
  options.place = PlaceOf(tool, *folder);
  if (absl::Status status = tool.fs->CreateDir(options.target_dir); !status.ok()) return Fail(tool, status);
  options.progress = DrawPhases(tool.console);
  const absl::StatusOr<storage::RestoreReport> report = storage::Restore(options);
  options.progress = nullptr;
  if (!report.ok()) return Fail(tool, report.status());
  if (arguments.json()) {
    tool.console->Out(Json::Object()
                          .Set("folder", folder->path)
                          .Set("into", options.target_dir)
                          .Set("shards", ReportJson(*report))
                          .Text() +
                      "\n");
  } else {
    tool.console->Out(ReportText(*report) + "restored into " + options.target_dir + "\n");
  }
  return kOk;
}

}  // namespace skein::ops
