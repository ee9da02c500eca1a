#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

#include "node/util/glob.h"
#include "ops/aof_tool/commands.h"
#include "ops/aof_tool/effect.h"
#include "ops/aof_tool/facts.h"
#include "ops/aof_tool/folder.h"
#include "ops/aof_tool/json.h"
#include "ops/aof_tool/text.h"
#include "storage/base_head.h"
#include "storage/layout.h"
#include "storage/rdb/decoder.h"
#include "storage/runbook.h"

namespace skein::ops {

using storage::AofReader;
using storage::Lsn;
using storage::Manifest;
using storage::UnixMillis;

namespace {

enum class Form : uint8_t { kReadable, kResp, kJson };

struct Filter {
  std::optional<uint32_t> shard;
  std::optional<uint16_t> slot;
  std::optional<std::string> key;
  UnixMillis from_time = std::numeric_limits<UnixMillis>::min();
  UnixMillis to_time = std::numeric_limits<UnixMillis>::max();
  Lsn from_lsn = 0;
  Lsn to_lsn = ~Lsn{0};

  bool Wants(const storage::RecordHeader& record) const {
    return record.time >= from_time && record.time <= to_time && record.lsn >= from_lsn && record.end() <= to_lsn;
  }
  // An effect on whole databases changes every key in them.
  bool Wants(const Effect& effect) const {
    if (!slot.has_value() && !key.has_value()) return true;
    const std::vector<std::string_view> keys = effect.Keys();
    return keys.empty() || std::any_of(keys.begin(), keys.end(), [&](std::string_view k) {
             return (!slot.has_value() || storage::KeySlot(k) == *slot) &&
                    (!key.has_value() || *key == "*" || node::GlobMatch(*key, k));
           });
  }
};

absl::Status Bad(std::string_view option, std::string_view what) {
  return absl::InvalidArgumentError(std::string(option) + ": " + std::string(what));
}

absl::Status TakeTime(const Arguments& arguments, std::string_view option, UnixMillis* time) {
  if (!arguments.Has(option)) return absl::OkStatus();
  const std::optional<UnixMillis> parsed = ParseTime(arguments.Value(option));
  if (!parsed.has_value()) {
    return Bad(option, "'" + arguments.Value(option) +
                           "' is no time: 2026-11-22T01:02:03Z, or seconds or milliseconds since 1970");
  }
  *time = *parsed;
  return absl::OkStatus();
}

absl::Status TakeLsn(const Arguments& arguments, std::string_view option, Lsn* lsn) {
  if (!arguments.Has(option)) return absl::OkStatus();
  const std::optional<uint64_t> parsed = ParseNumber(arguments.Value(option));
  if (!parsed.has_value()) return Bad(option, "'" + arguments.Value(option) + "' is no LSN");
  *lsn = *parsed;
  return absl::OkStatus();
}

absl::StatusOr<Filter> ParseFilter(const Arguments& arguments) {
  Filter filter;
  if (arguments.Has("--shard")) {
    const std::optional<uint64_t> shard = ParseNumber(arguments.Value("--shard"), storage::kMaxShards - 1);
    if (!shard.has_value()) return Bad("--shard", "'" + arguments.Value("--shard") + "' is no shard");
    filter.shard = static_cast<uint32_t>(*shard);
  }
  if (arguments.Has("--slot")) {
    const std::optional<uint64_t> slot = ParseNumber(arguments.Value("--slot"), storage::kSlots - 1);
    if (!slot.has_value()) return Bad("--slot", "'" + arguments.Value("--slot") + "' is no slot (0 to 16383)");
    filter.slot = static_cast<uint16_t>(*slot);
  }
  if (arguments.Has("--key")) filter.key = arguments.Value("--key");
  for (const absl::Status& status :
       {TakeTime(arguments, "--from-time", &filter.from_time), TakeTime(arguments, "--to-time", &filter.to_time),
        TakeLsn(arguments, "--from-lsn", &filter.from_lsn), TakeLsn(arguments, "--to-lsn", &filter.to_lsn)}) {
    if (!status.ok()) return status;
  }
  return filter;
}

class Dumper {
 public:
  Dumper(const Tool& tool, const Folder& folder, Form form, Filter filter)
      : tool_(tool), folder_(folder), form_(form), filter_(std::move(filter)) {}

  // One incr file by itself: what a loser of an election has kept aside, or any other.
  absl::Status RunFile(const std::string& path) {
    const absl::StatusOr<IncrFacts> facts = ReadIncr(tool_.fs, path, [&](const AofReader& reader) {
      const uint32_t shard = reader.header().shard;
      return filter_.shard.value_or(shard) == shard ? DumpRecord(shard, reader) : absl::OkStatus();
    });
    if (!facts.ok()) return facts.status();
    if (facts->problem.empty()) return absl::OkStatus();
    return absl::DataLossError(facts->problem + "; shown is what stands before it" +
                               storage::SeeRunbook("corrupt-file"));
  }

  absl::Status Run() {
    for (uint32_t shard = 0; shard < folder_.manifest->shards.size(); ++shard) {
      if (filter_.shard.has_value() && *filter_.shard != shard) continue;
      // A slot lives in one shard.
      if (filter_.slot.has_value() && *filter_.slot % folder_.manifest->shards.size() != shard) continue;
      shown_base_ = 0;
      if (const auto& base = folder_.manifest->shards[shard].base; base.has_value()) {
        if (absl::Status status = DumpBase(shard, *base); !status.ok()) return status;
      }
      const std::vector<Manifest::FileRef>& incrs = folder_.manifest->shards[shard].incrs;
      for (size_t i = 0; i < incrs.size(); ++i) {
        const bool ends = i + 1 == incrs.size() || incrs[i + 1].lsn > filter_.from_lsn;
        if (!ends || incrs[i].lsn > filter_.to_lsn) continue;
        if (absl::Status status = DumpFile(shard, incrs[i], i + 1 == incrs.size()); !status.ok()) return status;
      }
    }
    return absl::OkStatus();
  }

 private:
  // Shows each key as the command that makes it.
  class KeyPrinter : public storage::RdbVisitor {
   public:
    KeyPrinter(Dumper* dumper, uint32_t shard, Lsn lsn) : dumper_(dumper), shard_(shard), lsn_(lsn) {}
    absl::Status OnAux(std::string_view name, std::string_view value) override { return head_.OnAux(name, value); }
    absl::Status OnItem(const storage::RdbItem& item) override {
      if (!std::exchange(begun_, true)) {
        const absl::StatusOr<std::optional<storage::BaseHead>> head = head_.Finish();
        if (!head.ok()) return head.status();
        if (!head->has_value()) return absl::DataLossError("is an RDB file, but not a base");
        record_.time = (*head)->time;
        wanted_ = record_.time >= dumper_->filter_.from_time && record_.time <= dumper_->filter_.to_time;
      }
      if (!wanted_) return absl::OkStatus();
      const std::string expiry = std::to_string(item.expire_at);
      Effect effect{item.db, {"SET", item.key, item.string}};
      if (item.expire_at != storage::kNoExpiry) effect.argv.insert(effect.argv.end(), {"PXAT", expiry});
      if (!dumper_->filter_.Wants(effect)) return absl::OkStatus();
      record_.lsn = lsn_;
      record_.slot = storage::KeySlot(item.key);
      dumper_->Show(shard_, record_, effect, /*base=*/true);
      return absl::OkStatus();
    }
    bool wanted() const { return wanted_; }

   private:
    Dumper* const dumper_;
    const uint32_t shard_;
    const Lsn lsn_;
    storage::BaseHeadReader head_;
    storage::RecordHeader record_;
    bool begun_ = false, wanted_ = false;
  };

  absl::Status DumpBase(uint32_t shard, const Manifest::FileRef& ref) {
    if (ref.lsn < filter_.from_lsn || ref.lsn > filter_.to_lsn) return absl::OkStatus();
    const std::string path = storage::JoinPath(folder_.path, storage::BaseName(shard, ref.sequence));
    const absl::StatusOr<std::unique_ptr<storage::File>> file = tool_.fs->Open(path, storage::FileSystem::Mode::kRead);
    if (absl::IsNotFound(file.status())) {
      return absl::DataLossError(path + ": is missing, but the manifest lists it" +
                                 storage::SeeRunbook("missing-file"));
    }
    if (!file.ok()) return file.status();
    KeyPrinter printer(this, shard, ref.lsn);
    const absl::StatusOr<storage::RdbInfo> read =
        storage::ReadRdb(file->get(), path, 0, storage::RdbDecoderOptions(), &printer);
    if (absl::IsDataLoss(read.status())) {
      const std::string message = Message(read.status());
      return absl::DataLossError((message.starts_with(path) ? message : path + ": " + message) +
                                 "; shown is what stands before it" + storage::SeeRunbook("corrupt-file"));
    }
    if (!read.ok()) return read.status();
    // What happened before it is in it.
    if (printer.wanted()) shown_base_ = ref.lsn;
    return absl::OkStatus();
  }

  absl::Status DumpFile(uint32_t shard, const Manifest::FileRef& ref, bool last) {
    const std::string path = storage::JoinPath(folder_.path, storage::IncrName(shard, ref.sequence));
    const absl::StatusOr<IncrFacts> facts =
        ReadIncr(tool_.fs, path, [&](const AofReader& reader) { return DumpRecord(shard, reader); });
    if (absl::IsNotFound(facts.status())) {
      return absl::DataLossError(path + ": is missing, but the manifest lists it" +
                                 storage::SeeRunbook("missing-file"));
    }
    if (!facts.ok()) return facts.status();
    if (facts->header.shard != shard || facts->header.start_lsn != ref.lsn) {
      return absl::DataLossError(path + ": is the file of shard " + std::to_string(facts->header.shard) + " from LSN " +
                                 std::to_string(facts->header.start_lsn) + ", not what the manifest lists" +
                                 storage::SeeRunbook("corrupt-manifest"));
    }
    if (facts->problem.empty()) return absl::OkStatus();
    if (!last || !facts->torn || facts->end < folder_.manifest->shards[shard].durable) {
      return absl::DataLossError(facts->problem + "; shown is what stands before it" +
                                 storage::SeeRunbook("corrupt-file"));
    }
    tool_.console->Err("note: " + facts->problem + ": a torn tail, shown is what stands before it\n");
    return absl::OkStatus();
  }

  absl::Status DumpRecord(uint32_t shard, const AofReader& reader) {
    const storage::RecordHeader& record = reader.record();
    if (record.kind != storage::RecordKind::kData || !filter_.Wants(record)) return absl::OkStatus();
    if (record.lsn < shown_base_) return absl::OkStatus();
    const absl::Status status = ForEachEffect(record.db, reader.body(), [&](const Effect& effect) {
      if (filter_.Wants(effect)) Show(shard, record, effect);
    });
    if (status.ok()) return status;
    return absl::DataLossError(reader.Describe(Message(status) + " (before this place)") +
                               storage::SeeRunbook("corrupt-file"));
  }

  void Show(uint32_t shard, const storage::RecordHeader& record, const Effect& effect, bool base = false) {
    if (form_ == Form::kResp) return ShowResp(effect);
    if (form_ == Form::kJson) return ShowJson(shard, record, effect, base);
    std::string line = "shard " + std::to_string(shard) + (base ? "  base at LSN " : "  LSN ") +
                       std::to_string(record.lsn) + "  " + TimeText(record.time) + "  db " + std::to_string(effect.db) +
                       "  ";
    line += record.slot == storage::kNoSlot ? "slot -  " : "slot " + std::to_string(record.slot) + "  ";
    line += Printable(effect.argv[0]);
    for (size_t i = 1; i < effect.argv.size(); ++i) line += " " + Quote(effect.argv[i]);
    tool_.console->Out(line + "\n");
  }

  void ShowResp(const Effect& effect) {
    std::string out;
    if (!selected_.has_value() || *selected_ != effect.db) {
      storage::AppendResp({"SELECT", std::to_string(effect.db)}, &out);
      selected_ = effect.db;
    }
    storage::AppendResp(effect.argv, &out);
    tool_.console->Out(out);
  }

  void ShowJson(uint32_t shard, const storage::RecordHeader& record, const Effect& effect, bool base) {
    Json words = Json::Array();
    for (const std::string_view word : effect.argv) words.Add(Json::Bytes(word));
    Json json = Json::Object();
    json.Set("shard", shard).Set("lsn", record.lsn);
    base ? json.Set("base", true) : json.Set("end", record.end());
    json.Set("time", TimeText(record.time));
    json.Set("time_ms", record.time).Set("db", effect.db);
    json.Set("slot", record.slot == storage::kNoSlot ? Json::Null() : Json(record.slot)).Set("effect", words);
    tool_.console->Out(json.Text() + "\n");
  }

  const Tool& tool_;
  const Folder& folder_;
  const Form form_;
  const Filter filter_;
  Lsn shown_base_ = 0;                // of the shard at hand; 0: none
  std::optional<uint32_t> selected_;  // the database that the RESP text is in
};

}  // namespace

int Dump(const Tool& tool, const Arguments& arguments) {
  const absl::StatusOr<Filter> filter = ParseFilter(arguments);
  if (!filter.ok()) return Fail(tool, filter.status());
  Form form = arguments.json() ? Form::kJson : Form::kReadable;
  if (arguments.Has("--format")) {
    const std::string format = arguments.Value("--format");
    if (format != "readable" && format != "resp") return Fail(tool, Bad("--format", "readable or resp"));
    if (arguments.json()) return Fail(tool, Bad("--format", "--json is a format of its own"));
    if (format == "resp") form = Form::kResp;
  }
  if (IsLoneFile(arguments)) {
    const absl::Status status = Dumper(tool, Folder(), form, *filter).RunFile(arguments.dir());
    return status.ok() ? kOk : Fail(tool, status);
  }
  const absl::StatusOr<Folder> folder = FindFolder(tool, arguments);
  if (!folder.ok()) return Fail(tool, folder.status());
  SayState(tool, *folder);
  if (!folder->manifest.ok()) return Fail(tool, folder->manifest.status());
  const size_t count = folder->manifest->shards.size();
  if (filter->shard.has_value() && *filter->shard >= count) {
    return Fail(tool, Bad("--shard", "there are " + Count(count, "shard") + ", counted from 0"));
  }
  // A FLUSHALL is logged by each shard for its own part: one after the other they would empty what others have set.
  if (form == Form::kResp && count > 1 && !filter->shard.has_value() && !filter->slot.has_value()) {
    return Fail(tool, Bad("--format resp",
                          "of one shard at a time: give --shard or --slot; for all data as one, see "
                          "ops/runbooks/back-to-redis.md"));
  }
  const absl::Status status = Dumper(tool, *folder, form, *filter).Run();
  return status.ok() ? kOk : Fail(tool, status);
}

}  // namespace skein::ops
