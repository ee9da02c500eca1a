#include <algorithm>
#include <map>

#include "ops/aof_tool/commands.h"
#include "ops/aof_tool/facts.h"
#include "ops/aof_tool/folder.h"
#include "ops/aof_tool/json.h"
#include "ops/aof_tool/judge.h"
#include "ops/aof_tool/text.h"
#include "storage/layout.h"

namespace skein::ops {

using storage::Manifest;

namespace {

// A file on disk with what stands in it.
struct Seen {
  FoundFile file;
  bool listed = false;
  std::optional<storage::Lsn> base_lsn;  // of a base that is listed
  std::optional<uint64_t> base_keys;     // and whole
  std::optional<IncrFacts> facts;        // of an incr whose header reads
  std::string problem;                   // why there are none
};

struct Shown {
  std::vector<std::vector<Seen>> shards;  // by shard, ordered as ListFiles
  std::vector<ShardJudgement> judgements;
};

bool Lists(const Manifest& manifest, const FoundFile& file) {
  if (file.shard >= manifest.shards.size()) return false;
  const Manifest::Shard& shard = manifest.shards[file.shard];
  if (file.base) return shard.base.has_value() && shard.base->sequence == file.sequence;
  return std::any_of(shard.incrs.begin(), shard.incrs.end(),
                     [&](const Manifest::FileRef& ref) { return ref.sequence == file.sequence; });
}

absl::StatusOr<Shown> Look(const Tool& tool, Folder* folder) {
  Shown shown;
  if (folder->manifest.ok()) shown.judgements = JudgeShards(tool, folder, "checking");
  const absl::StatusOr<std::vector<FoundFile>> files = ListFiles(tool.fs, folder->path);
  if (!files.ok()) return files.status();
  uint32_t count = folder->manifest.ok() ? static_cast<uint32_t>(folder->manifest->shards.size()) : 0;
  uint64_t total = 0;
  for (const FoundFile& file : *files) {
    count = std::max(count, file.shard + 1);
    total += file.size;
  }
  shown.shards.resize(count);
  Progress progress(tool.console, "counting", total);
  for (const FoundFile& file : *files) {
    Seen seen;
    seen.file = file;
    seen.listed = folder->manifest.ok() && Lists(*folder->manifest, file);
    if (file.base) {
      if (seen.listed) {
        seen.base_lsn = folder->manifest->shards[file.shard].base->lsn;
        const ShardJudgement& judgement = shown.judgements[file.shard];
        if (judgement.status.ok()) seen.base_keys = judgement.recovery.keys;
      }
      progress.Advance(file.size);
    } else {
      absl::StatusOr<IncrFacts> facts =
          ReadIncr(tool.fs, storage::JoinPath(folder->path, file.name), [&](const storage::AofReader& reader) {
            progress.Advance(storage::kRecordHeaderSize + reader.body().size());
            return absl::OkStatus();
          });
      if (facts.ok()) {
        seen.facts = *std::move(facts);
      } else {
        seen.problem = Message(facts.status());
      }
    }
    shown.shards[file.shard].push_back(std::move(seen));
  }
  return shown;
}

// The reigns that the files tell of, oldest first.
std::vector<storage::Reign> Reigns(const std::vector<Seen>& files) {
  std::vector<storage::Reign> reigns;
  for (const Seen& seen : files) {
    if (!seen.facts.has_value()) continue;
    if (reigns.empty()) reigns = seen.facts->header.history;
    reigns.insert(reigns.end(), seen.facts->reigns.begin(), seen.facts->reigns.end());
  }
  return reigns;
}

RecordFacts Total(const std::vector<Seen>& files) {
  RecordFacts total;
  for (const Seen& seen : files) {
    if (seen.listed && seen.facts.has_value()) total.Add(seen.facts->records);
  }
  return total;
}

Json TimeJson(const std::optional<storage::UnixMillis>& time) {
  return time.has_value() ? Json(TimeText(*time)) : Json::Null();
}

Json RecordsJson(const RecordFacts& records) {
  return Json::Object()
      .Set("data", records.data)
      .Set("reign", records.reign)
      .Set("time", records.time)
      .Set("effects", records.effects)
      .Set("bytes", records.bytes)
      .Set("first_time", TimeJson(records.first_time))
      .Set("last_time", TimeJson(records.last_time));
}

Json FileJson(const Seen& seen) {
  Json json = Json::Object();
  json.Set("file", seen.file.name).Set("kind", seen.file.base ? "base" : "incr").Set("listed", seen.listed);
  json.Set("sequence", seen.file.sequence).Set("size", seen.file.size);
  if (seen.file.base) {
    json.Set("lsn", seen.base_lsn.has_value() ? Json(*seen.base_lsn) : Json::Null());
    return json.Set("keys", seen.base_keys.has_value() ? Json(*seen.base_keys) : Json::Null());
  }
  if (!seen.facts.has_value()) return json.Set("problem", seen.problem);
  const IncrFacts& facts = *seen.facts;
  json.Set("lsn", facts.header.start_lsn).Set("end", facts.end).Set("marked_durable", facts.marked);
  json.Set("created", TimeText(facts.header.created)).Set("records", RecordsJson(facts.records));
  return json.Set("problem", facts.problem.empty() ? Json::Null() : Json(facts.problem));
}

Json ShardJson(const Folder& folder, const Shown& shown, uint32_t shard) {
  const std::vector<Seen>& files = shown.shards[shard];
  Json json = Json::Object();
  json.Set("shard", shard);
  Json list = Json::Array();
  for (const Seen& seen : files) list.Add(FileJson(seen));
  json.Set("files", list).Set("records", RecordsJson(Total(files)));
  Json reigns = Json::Array();
  for (const storage::Reign& reign : Reigns(files)) {
    reigns.Add(Json::Object().Set("id", reign.IdHex()).Set("epoch", reign.epoch).Set("lsn", reign.first_lsn));
  }
  json.Set("reigns", reigns);
  if (!folder.manifest.ok() || shard >= shown.judgements.size()) return json.Set("problem", "is not in the manifest");
  json.Set("durable", folder.manifest->shards[shard].durable);
  const ShardJudgement& judgement = shown.judgements[shard];
  if (!judgement.status.ok()) return json.Set("problem", Message(judgement.status));
  const storage::ShardRecovery& recovery = judgement.recovery;
  json.Set("end", recovery.end).Set("problem", Json::Null());
  if (recovery.cut_bytes == 0) return json.Set("torn_tail", Json::Null());
  return json.Set("torn_tail", Json::Object()
                                   .Set("file", recovery.path)
                                   .Set("offset", recovery.size)
                                   .Set("lsn", recovery.end)
                                   .Set("bytes", recovery.cut_bytes)
                                   .Set("reason", recovery.cut_reason));
}

std::string RecordsText(const RecordFacts& records) {
  if (records.records() == 0) return "no records";
  std::string text = Count(records.data, "data record") + " (" + Count(records.effects, "effect") + "), " +
                     std::to_string(records.reign) + " reign, " + std::to_string(records.time) + " time";
  return text + ", " + TimeText(*records.first_time) + " to " + TimeText(*records.last_time);
}

std::string FileText(const Seen& seen) {
  std::string text = "  " + seen.file.name + ", " + SizeText(seen.file.size);
  if (!seen.listed) text += ", not listed by the manifest";
  if (seen.file.base) {
    if (seen.base_keys.has_value()) text += ", " + Count(*seen.base_keys, "key");
    if (seen.base_lsn.has_value()) text += ", the state at LSN " + std::to_string(*seen.base_lsn);
    return text + "\n";
  }
  if (!seen.facts.has_value()) return text + "\n    problem: " + seen.problem + "\n";
  const IncrFacts& facts = *seen.facts;
  text += ", LSN " + std::to_string(facts.header.start_lsn) + " to " + std::to_string(facts.end);
  text += ", marked durable to " + std::to_string(facts.marked) + "\n    " + RecordsText(facts.records) + "\n";
  if (!facts.problem.empty()) text += "    problem: " + facts.problem + "\n";
  return text;
}

std::string ShardText(const Folder& folder, const Shown& shown, uint32_t shard) {
  const std::vector<Seen>& files = shown.shards[shard];
  std::string text = "shard " + std::to_string(shard);
  if (folder.manifest.ok() && shard < shown.judgements.size()) {
    const ShardJudgement& judgement = shown.judgements[shard];
    if (judgement.status.ok()) text += ": to LSN " + std::to_string(judgement.recovery.end);
    text += (judgement.status.ok() ? ", durable to " : ": durable to ") +
            std::to_string(folder.manifest->shards[shard].durable) + " by the manifest";
  }
  text += "\n";
  for (const Seen& seen : files) text += FileText(seen);
  const std::vector<storage::Reign> reigns = Reigns(files);
  // The newest tell most; --json has them all.
  constexpr size_t kShow = 3;
  if (reigns.size() > kShow) text += "  " + Count(reigns.size() - kShow, "older reign") + "\n";
  for (size_t i = reigns.size() - std::min(kShow, reigns.size()); i < reigns.size(); ++i) {
    text += "  reign " + reigns[i].IdHex() + ", epoch " + std::to_string(reigns[i].epoch) + ", from LSN " +
            std::to_string(reigns[i].first_lsn) + "\n";
  }
  if (shard >= shown.judgements.size()) return text;
  const ShardJudgement& judgement = shown.judgements[shard];
  if (!judgement.status.ok()) return text + "  refused: " + Message(judgement.status) + "\n";
  const storage::ShardRecovery& recovery = judgement.recovery;
  if (recovery.cut_bytes == 0) return text;
  return text + "  torn tail: " + Count(recovery.cut_bytes, "byte") + " at offset " + std::to_string(recovery.size) +
         " of " + recovery.path + ": " + recovery.cut_reason + "; the next start cuts it\n";
}

int InspectFile(const Tool& tool, const Arguments& arguments) {
  absl::StatusOr<IncrFacts> facts = ReadIncr(tool.fs, arguments.dir(), nullptr);
  if (!facts.ok()) return Fail(tool, facts.status());
  Seen seen;
  seen.file.name = arguments.dir();
  seen.file.shard = facts->header.shard;
  seen.file.size = facts->size;
  seen.listed = true;  // No manifest is asked.
  seen.facts = *std::move(facts);
  const std::string& problem = seen.facts->problem;
  const uint32_t count = seen.facts->header.shard_count;
  tool.console->Out(arguments.json() ? FileJson(seen).Set("shard", seen.file.shard).Set("shards", count).Text() + "\n"
                                     : "a file of shard " + std::to_string(seen.file.shard) + " of " +
                                           std::to_string(count) + "\n" + FileText(seen));
  return problem.empty() ? kOk : ExitCode(absl::DataLossError(problem));
}

}  // namespace

int Inspect(const Tool& tool, const Arguments& arguments) {
  if (IsLoneFile(arguments)) return InspectFile(tool, arguments);
  absl::StatusOr<Folder> folder = FindFolder(tool, arguments);
  if (!folder.ok()) return Fail(tool, folder.status());
  SayState(tool, *folder);
  const absl::StatusOr<Shown> shown = Look(tool, &*folder);
  if (!shown.ok()) return Fail(tool, shown.status());
  const absl::Status problem = folder->manifest.ok() ? FirstRefusal(shown->judgements) : folder->manifest.status();
  const auto count = static_cast<uint32_t>(shown->shards.size());
  if (arguments.json()) {
    Json json = Json::Object();
    json.Set("folder", folder->path).Set("in_use", folder->in_use);
    if (folder->manifest.ok()) {
      json.Set("manifest", Json::Object()
                               .Set("sequence", folder->manifest->sequence)
                               .Set("shards", folder->manifest->shards.size())
                               .Set("chosen", ChosenName(folder->manifest->chosen))
                               .Set("databases", folder->manifest->databases));
    } else {
      json.Set("manifest", Json::Null());
    }
    json.Set("problem", problem.ok() ? Json::Null() : Json(Message(problem)));
    Json shards = Json::Array();
    for (uint32_t shard = 0; shard < count; ++shard) shards.Add(ShardJson(*folder, *shown, shard));
    tool.console->Out(json.Set("shards", shards).Text() + "\n");
    return ExitCode(problem);
  }
  if (folder->manifest.ok()) {
    tool.console->Out(folder->path + ": " + Count(folder->manifest->shards.size(), "shard") + " (" +
                      std::string(ChosenName(folder->manifest->chosen)) + "), " +
                      Count(folder->manifest->databases, "database") + ", manifest " +
                      std::to_string(folder->manifest->sequence) + "\n");
  } else {
    tool.console->Out(Message(problem) + "\nThe files that are there:\n");
  }
  for (uint32_t shard = 0; shard < count; ++shard) tool.console->Out(ShardText(*folder, *shown, shard));
  return ExitCode(problem);
}

}  // namespace skein::ops
