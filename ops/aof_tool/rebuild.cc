#include "ops/aof_tool/rebuild.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "ops/aof_tool/effect.h"
#include "ops/aof_tool/facts.h"
#include "ops/aof_tool/text.h"
#include "storage/base_head.h"
#include "storage/rdb/decoder.h"
#include "storage/runbook.h"

namespace skein::ops {

using storage::Lsn;
using storage::Manifest;
using storage::Reign;

namespace {

absl::Status Refuse(const std::string& what) {
  return absl::FailedPreconditionError(what + ": the manifest cannot be made anew from the files" +
                                       storage::SeeRunbook("corrupt-manifest"));
}

class Rebuilder {
 public:
  Rebuilder(const Tool& tool, const Folder& folder) : tool_(tool), folder_(folder) {}

  absl::StatusOr<Rebuilt> Run() {
    const absl::StatusOr<std::vector<FoundFile>> files = ListFiles(tool_.fs, folder_.path);
    if (!files.ok()) return files.status();
    if (files->empty()) return Refuse(folder_.path + ": there are no files of shards");
    shards_.resize(files->back().shard + 1);
    uint64_t total = 0;
    for (const FoundFile& file : *files) total += file.size;
    Progress progress(tool_.console, "reading", total);
    for (const FoundFile& file : *files) {
      if (absl::Status status = Read(file, &progress); !status.ok()) return status;
    }
    Rebuilt rebuilt;
    rebuilt.manifest.chosen = Manifest::Chosen::kDefaulted;
    rebuilt.manifest.databases = highest_database_ + 1;
    for (uint32_t shard = 0; shard < shards_.size(); ++shard) {
      absl::StatusOr<Manifest::Shard> entry = Chain(shard);
      if (!entry.ok()) return entry.status();
      rebuilt.manifest.shards.push_back(*std::move(entry));
    }
    rebuilt.manifest.sequence = highest_sequence_ + 1;
    rebuilt.notes = std::move(notes_);
    return rebuilt;
  }

 private:
  struct Incr {
    FoundFile file;
    IncrFacts facts;
  };
  struct Base {
    FoundFile file;
    storage::BaseHead head;
  };
  struct Files {
    std::vector<Incr> incrs;  // by sequence
    std::vector<Base> bases;  // the whole ones, by sequence
  };

  // Takes what a base says of itself, and looks at its databases.
  class Visitor : public storage::RdbVisitor {
   public:
    absl::Status OnAux(std::string_view name, std::string_view value) override { return head_.OnAux(name, value); }
    absl::Status OnItem(const storage::RdbItem& item) override {
      highest_database = std::max(highest_database, item.db);
      return absl::OkStatus();
    }
    absl::StatusOr<std::optional<storage::BaseHead>> head() const { return head_.Finish(); }
    uint32_t highest_database = 0;

   private:
    storage::BaseHeadReader head_;
  };

  absl::Status Read(const FoundFile& file, Progress* progress) {
    const std::string path = storage::JoinPath(folder_.path, file.name);
    highest_sequence_ = std::max(highest_sequence_, file.sequence);
    if (file.base) return ReadBase(path, file, progress);
    absl::StatusOr<IncrFacts> facts = ReadIncr(tool_.fs, path, [&](const storage::AofReader& reader) -> absl::Status {
      progress->Advance(storage::kRecordHeaderSize + reader.body().size());
      if (reader.record().kind != storage::RecordKind::kData) return absl::OkStatus();
      const absl::StatusOr<uint32_t> highest = HighestDatabase(reader.record().db, reader.body());
      if (!highest.ok()) return Refuse(reader.Describe(Message(highest.status())));
      highest_database_ = std::max(highest_database_, *highest);
      return absl::OkStatus();
    });
    if (absl::IsDataLoss(facts.status()) || absl::IsUnimplemented(facts.status())) {
      return Refuse(Message(facts.status()));
    }
    if (!facts.ok()) return facts.status();
    if (facts->header.shard != file.shard || facts->header.sequence != file.sequence) {
      return Refuse(path + ": says that it is the file of shard " + std::to_string(facts->header.shard) +
                    ", sequence " + std::to_string(facts->header.sequence));
    }
    if (absl::Status status = SameCount(path, facts->header.shard_count); !status.ok()) return status;
    shards_[file.shard].incrs.push_back({file, *std::move(facts)});
    return absl::OkStatus();
  }

  absl::Status ReadBase(const std::string& path, const FoundFile& found, Progress* progress) {
    const absl::StatusOr<std::unique_ptr<storage::File>> file = tool_.fs->Open(path, storage::FileSystem::Mode::kRead);
    if (!file.ok()) return file.status();
    Visitor visitor;
    storage::RdbDecoderOptions options;
    uint64_t told = 0;
    options.progress = [&](uint64_t offset) {
      progress->Advance(offset - told);
      told = offset;
    };
    const absl::StatusOr<storage::RdbInfo> info = storage::ReadRdb(file->get(), path, 0, options, &visitor);
    if (absl::IsDataLoss(info.status()) || (info.ok() && info->size != found.size)) {
      // One that was being written, or a damaged one: whether it is needed, the chain shows.
      notes_.push_back(path + " is not whole: left out");
      return absl::OkStatus();
    }
    if (absl::IsUnimplemented(info.status())) return Refuse(Message(info.status()));
    if (!info.ok()) return info.status();
    const absl::StatusOr<std::optional<storage::BaseHead>> head = visitor.head();
    if (!head.ok()) return Refuse(path + ": " + Message(head.status()));
    if (!head->has_value() || (*head)->shard != found.shard) return Refuse(path + ": is no base of this shard");
    if (absl::Status status = SameCount(path, (*head)->shard_count); !status.ok()) return status;
    highest_database_ = std::max(highest_database_, visitor.highest_database);
    shards_[found.shard].bases.push_back({found, **head});
    return absl::OkStatus();
  }

  absl::Status SameCount(const std::string& path, uint32_t count) {
    if (count_ == 0) count_ = count;
    if (count == count_) return absl::OkStatus();
    return Refuse(path + ": is of a data set with " + Count(count, "shard") + ", others of one with " +
                  std::to_string(count_));
  }

  absl::StatusOr<Manifest::Shard> Chain(uint32_t shard) {
    if (shard >= count_) {
      return Refuse(folder_.path + ": holds shard " + std::to_string(shard) + ", but its files are of " +
                    Count(count_, "shard"));
    }
    if (shards_.size() != count_) {
      return Refuse(folder_.path + ": of " + Count(count_, "shard") + ", number " + std::to_string(shards_.size()) +
                    " is missing");
    }
    std::vector<Incr>& incrs = shards_[shard].incrs;
    // Files that were made and never came into use.
    for (size_t i = incrs.size(); i-- > 1;) {
      if (incrs[i].facts.records.records() > 0 || !incrs[i].facts.problem.empty()) continue;
      if (incrs[i].facts.header.start_lsn == incrs[i - 1].facts.end) continue;
      if (HasBaseAt(shard, incrs[i].facts.header.start_lsn)) continue;
      notes_.push_back(incrs[i].facts.path + " is empty and follows nothing: left out");
      incrs.erase(incrs.begin() + static_cast<ptrdiff_t>(i));
    }
    if (incrs.empty()) return Refuse(folder_.path + ": shard " + std::to_string(shard) + " has no incr file");
    // Whichever whole base the chain is hung on, the state is the same; the newest needs the least behind it.
    const std::vector<Base>& bases = shards_[shard].bases;
    absl::StatusOr<Manifest::Shard> entry;
    for (size_t i = bases.size() + 1; i-- > 0;) {
      absl::StatusOr<Manifest::Shard> tried = ChainFrom(incrs, i == 0 ? nullptr : &bases[i - 1]);
      // The reason that is shown is the newest base's.
      if (tried.ok() || i == bases.size()) entry = std::move(tried);
      if (entry.ok()) break;
    }
    return entry;
  }

  bool HasBaseAt(uint32_t shard, Lsn lsn) const {
    const std::vector<Base>& bases = shards_[shard].bases;
    return std::any_of(bases.begin(), bases.end(), [&](const Base& base) { return base.head.lsn == lsn; });
  }

  // `base` may be null: the log from its beginning.
  absl::StatusOr<Manifest::Shard> ChainFrom(const std::vector<Incr>& incrs, const Base* base) {
    const Lsn from = base == nullptr ? 0 : base->head.lsn;
    size_t first = incrs.size();
    for (size_t i = 0; i < incrs.size(); ++i) {
      if (incrs[i].facts.header.start_lsn <= from) first = i;
    }
    if (first == incrs.size()) {
      return Refuse(incrs[0].facts.path + ": starts at LSN " + std::to_string(incrs[0].facts.header.start_lsn) +
                    ", and there is nothing whole that holds what was before");
    }
    Manifest::Shard entry;
    if (base != nullptr) entry.base = Manifest::FileRef{base->file.sequence, from};
    entry.durable = from;
    std::vector<Reign> history = incrs[first].facts.header.history;
    for (size_t i = first; i < incrs.size(); ++i) {
      const IncrFacts& facts = incrs[i].facts;
      if (i > first && facts.header.start_lsn != incrs[i - 1].facts.end) {
        return Refuse(facts.path + ": starts at LSN " + std::to_string(facts.header.start_lsn) +
                      ", but the file before it ends at LSN " + std::to_string(incrs[i - 1].facts.end));
      }
      if (i > first && facts.header.history != history) {
        return Refuse(facts.path + ": tells another history than the file before it");
      }
      if (!facts.problem.empty() && i + 1 < incrs.size()) return Refuse(facts.problem);
      history.insert(history.end(), facts.reigns.begin(), facts.reigns.end());
      if (history.size() > storage::kMaxReigns) {
        history.erase(history.begin(), history.end() - static_cast<ptrdiff_t>(storage::kMaxReigns));
      }
      entry.durable = std::max(entry.durable, facts.marked);
      entry.incrs.push_back({incrs[i].file.sequence, facts.header.start_lsn});
    }
    if (incrs.back().facts.end < from) {
      return Refuse(incrs.back().facts.path + ": ends before LSN " + std::to_string(from) + ", where the base is");
    }
    if (entry.incrs.size() > storage::kMaxIncrFiles) return Refuse(folder_.path + ": too many incr files");
    entry.history = std::move(history);
    return entry;
  }

  const Tool& tool_;
  const Folder& folder_;
  std::vector<Files> shards_;
  uint32_t count_ = 0;
  uint32_t highest_database_ = 0;
  uint64_t highest_sequence_ = 0;
  std::vector<std::string> notes_;
};

}  // namespace

absl::StatusOr<Rebuilt> RebuildManifest(const Tool& tool, const Folder& folder) {
  return Rebuilder(tool, folder).Run();
}

}  // namespace skein::ops
