#include "ops/aof_tool/commands.h"
#include "ops/aof_tool/facts.h"
#include "ops/aof_tool/folder.h"
#include "ops/aof_tool/json.h"
#include "ops/aof_tool/judge.h"
#include "ops/aof_tool/rebuild.h"
#include "ops/aof_tool/text.h"
#include "storage/kill_point.h"
#include "storage/runbook.h"

namespace skein::ops {
namespace {

struct Cut {
  uint32_t shard = 0;
  storage::ShardRecovery recovery;
  TailFacts tail;
};

std::string CutText(const Cut& cut) {
  const storage::ShardRecovery& recovery = cut.recovery;
  std::string text = "shard " + std::to_string(cut.shard) + ": " + recovery.path +
                     " has a torn tail: " + recovery.cut_reason + "\n  goes: " + Count(recovery.cut_bytes, "byte") +
                     " from offset " + std::to_string(recovery.size) + " on, everything after LSN " +
                     std::to_string(recovery.end) + "\n";
  const TailFacts& tail = cut.tail;
  if (tail.headers == 0) {
    text += "  no record can be recognised in it\n";
  } else {
    text += "  in it can be recognised: " + Count(tail.headers, "record") + ", " + std::to_string(tail.records) +
            " of them whole, LSN " + std::to_string(tail.first_lsn) + " to " + std::to_string(tail.last_lsn) + ", " +
            TimeText(*tail.first_time) + " to " + TimeText(*tail.last_time) + "\n";
  }
  if (tail.looked_at < recovery.cut_bytes) text += "  (looked at its first " + SizeText(tail.looked_at) + ")\n";
  return text + "  stays: " + Count(recovery.records, "data record") + ", to LSN " + std::to_string(recovery.end) +
         "\n";
}

Json CutJson(const Cut& cut) {
  const storage::ShardRecovery& recovery = cut.recovery;
  Json json = Json::Object();
  json.Set("shard", cut.shard).Set("file", recovery.path).Set("offset", recovery.size).Set("lsn", recovery.end);
  json.Set("bytes", recovery.cut_bytes).Set("reason", recovery.cut_reason);
  json.Set("recognised", cut.tail.headers).Set("recognised_whole", cut.tail.records);
  const bool any = cut.tail.headers > 0;
  json.Set("first_lsn", any ? Json(cut.tail.first_lsn) : Json::Null());
  json.Set("last_lsn", any ? Json(cut.tail.last_lsn) : Json::Null());
  json.Set("first_time", any ? Json(TimeText(*cut.tail.first_time)) : Json::Null());
  json.Set("last_time", any ? Json(TimeText(*cut.tail.last_time)) : Json::Null());
  return json.Set("kept_records", recovery.records);
}

class Repairer {
 public:
  Repairer(const Tool& tool, const Arguments& arguments, Folder folder)
      : tool_(tool), arguments_(arguments), folder_(std::move(folder)) {}

  int Run() {
    absl::Status status;
    if (!folder_.manifest.ok()) status = MakeManifest();
    if (status.ok() && folder_.manifest.ok()) status = CutTails();
    if (arguments_.json()) {
      Json cuts = Json::Array();
      for (const Cut& cut : cuts_) cuts.Add(CutJson(cut));
      tool_.console->Out(Json::Object()
                             .Set("folder", folder_.path)
                             .Set("manifest_rebuilt", rebuilt_)
                             .Set("torn_tails", cuts)
                             .Set("changed", changed_)
                             .Set("problem", status.ok() ? Json::Null() : Json(Message(status)))
                             .Text() +
                         "\n");
      return ExitCode(status);
    }
    return status.ok() ? kOk : Fail(tool_, status);
  }

 private:
  void Say(const std::string& text) {
    if (!arguments_.json()) {
      tool_.console->Out(text);
    } else if (tool_.console->CanAsk()) {
      tool_.console->Err(text);  // standard output is for the JSON, but who is asked must know what
    }
  }

  // Whether a change that was shown is to be made; OK and *yes false if it only was to be shown.
  absl::Status Agreed(bool given, std::string_view option, std::string_view question, bool* yes) {
    *yes = false;
    if (arguments_.Has("--dry-run")) return absl::OkStatus();
    if (!given) {
      if (!tool_.console->CanAsk()) {
        return absl::FailedPreconditionError("nothing was changed: this needs " + std::string(option) +
                                             " where nobody can be asked");
      }
      if (!tool_.console->Ask(question)) return absl::FailedPreconditionError("nothing was changed");
    }
    *yes = true;
    return absl::OkStatus();
  }

  absl::Status MakeManifest() {
    if (!absl::IsDataLoss(folder_.manifest.status())) return folder_.manifest.status();
    Say(Message(folder_.manifest.status()) + "\n");
    absl::StatusOr<Rebuilt> rebuilt = RebuildManifest(tool_, folder_);
    if (!rebuilt.ok()) return rebuilt.status();
    const storage::Manifest& manifest = rebuilt->manifest;
    Folder with = folder_;
    with.manifest = manifest;
    if (absl::Status status = FirstRefusal(JudgeShards(tool_, &with, "checking")); !status.ok()) return status;
    std::string text = "A new one can be made from the files: " + Count(manifest.shards.size(), "shard") + ", " +
                       Count(manifest.databases, "database") + "\n";
    for (size_t shard = 0; shard < manifest.shards.size(); ++shard) {
      text += "  shard " + std::to_string(shard) + ": " + Count(manifest.shards[shard].incrs.size(), "incr file") +
              ", known to be on disk to LSN " + std::to_string(manifest.shards[shard].durable) + "\n";
    }
    for (const std::string& note : rebuilt->notes) text += "  " + note + "\n";
    Say(text + "It cannot tell whether the newest file of a shard has gone as well.\n");
    bool yes = false;
    if (absl::Status status =
            Agreed(arguments_.Has("--rebuild-manifest"), "--rebuild-manifest", "Make the manifest anew? [y/N] ", &yes);
        !status.ok() || !yes) {
      return status;
    }
    const std::string path = folder_.manifest_path();
    const absl::StatusOr<std::string> old = tool_.fs->ReadFile(path, storage::kMaxManifestSize);
    if (old.ok()) {
      if (absl::Status status = tool_.fs->ReplaceFile(path + ".damaged", *old); !status.ok()) return status;
      storage::KillPoint("repair.damaged-kept");
      Say("the old one is kept as " + path + ".damaged\n");
    } else if (!absl::IsNotFound(old.status())) {
      return old.status();
    }
    if (absl::Status status = tool_.fs->ReplaceFile(path, storage::EncodeManifest(manifest)); !status.ok()) {
      return status;
    }
    storage::KillPoint("repair.manifest-made");
    changed_ = rebuilt_ = true;
    Say("made " + path + "\n");
    folder_.manifest = manifest;
    return absl::OkStatus();
  }

  absl::Status CutTails() {
    const std::vector<ShardJudgement> judgements = JudgeShards(tool_, &folder_, "checking");
    if (absl::Status status = FirstRefusal(judgements); !status.ok()) return status;
    for (uint32_t shard = 0; shard < judgements.size(); ++shard) {
      const storage::ShardRecovery& recovery = judgements[shard].recovery;
      if (recovery.cut_bytes == 0) continue;
      const absl::StatusOr<TailFacts> tail = ReadTail(tool_.fs, recovery.path, recovery.size);
      if (!tail.ok()) return tail.status();
      cuts_.push_back({shard, recovery, *tail});
      Say(CutText(cuts_.back()));
    }
    if (cuts_.empty()) {
      Say(folder_.path + (rebuilt_ ? ": nothing else to repair\n" : ": nothing to repair\n"));
      return absl::OkStatus();
    }
    bool yes = false;
    if (absl::Status status = Agreed(arguments_.Has("--yes"), "--yes", "Cut this? [y/N] ", &yes);
        !status.ok() || !yes) {
      return status;
    }
    for (const Cut& cut : cuts_) {
      const absl::StatusOr<std::unique_ptr<storage::File>> file =
          tool_.fs->Open(cut.recovery.path, storage::FileSystem::Mode::kWrite);
      if (!file.ok()) return file.status();
      if (absl::Status status = (*file)->Truncate(cut.recovery.size); !status.ok()) return status;
      storage::KillPoint("repair.tail-cut");
      changed_ = true;
      if (absl::Status status = (*file)->Sync(); !status.ok()) return status;
      storage::KillPoint("repair.tail-synced");
      Say("shard " + std::to_string(cut.shard) + ": cut\n");
    }
    return absl::OkStatus();
  }

  const Tool& tool_;
  const Arguments& arguments_;
  Folder folder_;
  std::vector<Cut> cuts_;
  bool rebuilt_ = false;
  bool changed_ = false;
};

}  // namespace

int Repair(const Tool& tool, const Arguments& arguments) {
  absl::StatusOr<Folder> folder = FindFolder(tool, arguments);
  if (!folder.ok()) return Fail(tool, folder.status());
  const absl::StatusOr<std::unique_ptr<storage::FileLock>> lock = TakeFolder(tool, &*folder);
  if (!lock.ok()) return Fail(tool, lock.status());
  return Repairer(tool, arguments, *std::move(folder)).Run();
}

}  // namespace skein::ops
