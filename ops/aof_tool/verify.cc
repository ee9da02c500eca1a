#include "ops/aof_tool/commands.h"
#include "ops/aof_tool/folder.h"
#include "ops/aof_tool/json.h"
#include "ops/aof_tool/judge.h"
#include "ops/aof_tool/text.h"

namespace skein::ops {
namespace {

Json ShardJson(uint32_t shard, const ShardJudgement& judgement) {
  Json json = Json::Object();
  json.Set("shard", shard).Set("ok", judgement.status.ok());
  if (!judgement.status.ok()) return json.Set("problem", Message(judgement.status));
  const storage::ShardRecovery& recovery = judgement.recovery;
  json.Set("base_keys", recovery.keys)
      .Set("records", recovery.records)
      .Set("bytes", recovery.bytes)
      .Set("end", recovery.end);
  if (recovery.cut_bytes == 0) return json.Set("torn_tail", Json::Null());
  return json.Set("torn_tail", Json::Object()
                                   .Set("file", recovery.path)
                                   .Set("offset", recovery.size)
                                   .Set("lsn", recovery.end)
                                   .Set("bytes", recovery.cut_bytes)
                                   .Set("reason", recovery.cut_reason));
}

std::string ShardText(uint32_t shard, const ShardJudgement& judgement) {
  std::string text = "shard " + std::to_string(shard) + ": ";
  if (!judgement.status.ok()) return text + "refused: " + Message(judgement.status) + "\n";
  const storage::ShardRecovery& recovery = judgement.recovery;
  text += "ok, ";
  if (recovery.base_bytes > 0) text += "a base of " + Count(recovery.keys, "key") + " and ";
  text += Count(recovery.records, "record") + " to LSN " + std::to_string(recovery.end) + "\n";
  if (recovery.cut_bytes == 0) return text;
  return text + "  torn tail: " + recovery.path + ": " + Count(recovery.cut_bytes, "byte") + " at offset " +
         std::to_string(recovery.size) + " (LSN " + std::to_string(recovery.end) + "): " + recovery.cut_reason +
         "; the next start cuts it\n";
}

}  // namespace

int Verify(const Tool& tool, const Arguments& arguments) {
  absl::StatusOr<Folder> folder = FindFolder(tool, arguments);
  if (!folder.ok()) return Fail(tool, folder.status());
  SayState(tool, *folder);
  absl::Status problem = folder->manifest.status();
  std::vector<ShardJudgement> judgements;
  if (problem.ok()) {
    judgements = JudgeShards(tool, &*folder, "verifying");
    problem = FirstRefusal(judgements);
  }
  if (arguments.json()) {
    Json shards = Json::Array();
    for (uint32_t shard = 0; shard < judgements.size(); ++shard) shards.Add(ShardJson(shard, judgements[shard]));
    Json json = Json::Object();
    json.Set("folder", folder->path).Set("in_use", folder->in_use).Set("ok", problem.ok());
    json.Set("problem", problem.ok() ? Json::Null() : Json(Message(problem))).Set("shards", shards);
    tool.console->Out(json.Text() + "\n");
    return ExitCode(problem);
  }
  for (uint32_t shard = 0; shard < judgements.size(); ++shard) {
    tool.console->Out(ShardText(shard, judgements[shard]));
  }
  if (!folder->manifest.ok()) tool.console->Out(Message(problem) + "\n");
  tool.console->Out(folder->path + (problem.ok() ? ": ok\n" : ": a start would refuse this\n"));
  return ExitCode(problem);
}

}  // namespace skein::ops
