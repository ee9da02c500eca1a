#include "storage/import/aof_runner.h"

#include <strings.h>

#include <utility>

#include "storage/entry.h"
#include "storage/import/resp_aof.h"
#include "storage/runbook.h"

namespace skein::storage {
namespace {

// Commands of one transaction.
constexpr size_t kMaxQueued = 10'000'000;

bool IsWord(std::string_view word, std::string_view name) {
  return word.size() == name.size() && strncasecmp(word.data(), name.data(), name.size()) == 0;
}

std::string At(const std::string& path, uint64_t offset) { return path + ": at offset " + std::to_string(offset); }

absl::Status Refused(const std::string& where, std::string_view why) {
  return absl::FailedPreconditionError(where + ": " + std::string(why) +
                                       "; move the file away to start without its data" + SeeRunbook("from-redis"));
}

absl::Status Damaged(std::string_view what) {
  return absl::DataLossError(std::string(what) +
                             "; repair the file with redis-check-aof --fix, or put back an intact copy" +
                             SeeRunbook("from-redis"));
}

}  // namespace

absl::Status AofRunner::Run(File* file, const std::string& path, uint64_t offset, bool last) {
  const absl::StatusOr<uint64_t> size = file->Size();
  if (!size.ok()) return size.status();
  RespAof reader(file, path, offset, *size);
  db_ = 0;
  in_transaction_ = false;
  queued_.clear();
  absl::StatusOr<RespAof::Found> found = reader.Next();
  for (; found.ok() && *found == RespAof::Found::kCommand; found = reader.Next()) {
    const absl::Status status = Take(path, reader.command_offset(), reader.annotated_time(), reader.argv());
    if (!status.ok()) return status;
  }
  if (absl::IsDataLoss(found.status())) return Damaged(std::string(found.status().message()));
  if (!found.ok()) return found.status();
  const bool truncated = *found == RespAof::Found::kTruncated;
  if (!truncated && !in_transaction_) return absl::OkStatus();
  const std::string what = truncated ? "a command ends before its end" : "a transaction has no end";
  const uint64_t from = in_transaction_ ? transaction_offset_ : reader.offset();
  if (!last) return Damaged(At(path, from) + ": " + what + ", but other files follow this one");
  if (!options_.load_truncated) {
    return absl::FailedPreconditionError(At(path, from) + ": " + what +
                                         ": not left out, because aof-load-truncated is no; set it to yes, or run "
                                         "redis-check-aof --fix" +
                                         SeeRunbook("torn-tail"));
  }
  report_->cut_bytes = *size - from;
  report_->cut = At(path, from) + ": " + what + ": its last " + std::to_string(report_->cut_bytes) +
                 " bytes are left out" + SeeRunbook("torn-tail");
  return absl::OkStatus();
}

absl::Status AofRunner::Take(const std::string& path, uint64_t offset, UnixMillis annotated,
                             const std::vector<std::string_view>& argv) {
  if (IsWord(argv[0], "MULTI")) {
    if (in_transaction_) return Damaged(At(path, offset) + ": MULTI inside a transaction");
    in_transaction_ = true;
    transaction_offset_ = offset;
    return absl::OkStatus();
  }
  if (IsWord(argv[0], "EXEC")) {
    if (!in_transaction_) return Damaged(At(path, offset) + ": EXEC without MULTI");
    in_transaction_ = false;
    std::vector<std::string_view> views;
    for (const Queued& queued : queued_) {
      views.assign(queued.argv.begin(), queued.argv.end());
      if (absl::Status status = RunOne(path, queued.offset, annotated, views); !status.ok()) return status;
    }
    queued_.clear();
    return absl::OkStatus();
  }
  if (!in_transaction_) return RunOne(path, offset, annotated, argv);
  if (queued_.size() == kMaxQueued) return Damaged(At(path, offset) + ": a transaction of too many commands");
  queued_.push_back({offset, {argv.begin(), argv.end()}});
  return absl::OkStatus();
}

absl::Status AofRunner::RunOne(const std::string& path, uint64_t offset, UnixMillis annotated,
                               const std::vector<std::string_view>& argv) {
  if (IsWord(argv[0], "SELECT")) {
    int64_t db;
    if (argv.size() != 2 || !ParseCanonicalInteger(argv[1], &db) || db < 0) {
      return Damaged(At(path, offset) + ": malformed SELECT");
    }
    if (absl::Status status = CheckImportDatabase(options_, static_cast<uint64_t>(db)); !status.ok()) {
      return Refused(At(path, offset), std::string(status.message()));
    }
    db_ = static_cast<uint32_t>(db);
    return absl::OkStatus();
  }
  if (!options_.run_command) {
    return Refused(At(path, offset), "the file holds commands, which only skein-node can run: start it on this folder");
  }
  ++report_->commands;
  const absl::Status status = options_.run_command(shards_, db_, annotated, argv);
  if (status.ok()) return status;
  return Refused(At(path, offset), std::string("command '") + std::string(argv[0].substr(0, 64)) +
                                       "' cannot be run: " + std::string(status.message()));
}

}  // namespace skein::storage
