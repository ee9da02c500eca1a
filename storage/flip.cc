#include "storage/flip.h"

#include <algorithm>

#include "glog/logging.h"
#include "storage/kill_point.h"
#include "storage/record.h"
#include "storage/runbook.h"
#include "storage/wall_clock.h"

namespace skein::storage {
namespace {

constexpr std::string_view kHead = "skein-moved 1\n";
constexpr uint64_t kMaxMovesSize = 1u << 20;

std::string Sum(std::string_view text) {
  char line[32];
  snprintf(line, sizeof(line), "checksum %08x\n", Crc32c(text));
  return line;
}

bool IsName(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string_view::npos &&
         name.find('\n') == std::string_view::npos;
}

std::string NewDir(const std::string& dir, const std::string& append_dir) { return JoinPath(dir, append_dir + ".new"); }

// Moves what has not been moved yet, one after the other, each durable before the next.
absl::Status MoveAll(FileSystem* fs, const std::string& dir, const std::vector<Move>& moves) {
  for (const Move& move : moves) {
    const std::string to = JoinPath(dir, move.to);
    const absl::StatusOr<bool> moved = fs->Exists(to);
    if (!moved.ok()) return moved.status();
    if (!*moved) {
      if (absl::Status status = fs->Rename(JoinPath(dir, move.from), to); !status.ok()) return status;
      KillPoint("flip.moved");
    }
    // Also if it had been moved before a crash: its new name may not be durable.
    if (absl::Status status = fs->SyncDir(dir); !status.ok()) return status;
    KillPoint("flip.move-synced");
  }
  return absl::OkStatus();
}

absl::Status TakeName(FileSystem* fs, const std::string& dir, const std::string& append_dir) {
  if (absl::Status status = fs->Rename(NewDir(dir, append_dir), JoinPath(dir, append_dir)); !status.ok()) return status;
  KillPoint("flip.renamed");
  if (absl::Status status = fs->SyncDir(dir); !status.ok()) return status;
  KillPoint("flip.synced");
  return absl::OkStatus();
}

}  // namespace

std::string EncodeMoves(const std::vector<Move>& moves) {
  std::string text(kHead);
  for (const Move& move : moves) {
    text.append("from ").append(move.from).append("\nto ").append(move.to).append("\n");
  }
  return text + Sum(text);
}

absl::StatusOr<std::vector<Move>> ParseMoves(std::string_view text) {
  constexpr size_t kSumSize = sizeof("checksum 01234567\n") - 1;
  if (text.size() < kSumSize) return absl::DataLossError("the file is incomplete");
  std::string_view lines = text.substr(0, text.size() - kSumSize);
  if (text.substr(lines.size()) != Sum(lines)) return absl::DataLossError("its checksum does not match");
  if (!lines.starts_with(kHead)) return absl::DataLossError("written by a newer version");
  lines.remove_prefix(kHead.size());
  const auto take = [&](std::string_view word, std::string* name) {
    const size_t end = lines.find('\n');
    if (!lines.starts_with(word) || end == std::string_view::npos) return false;
    *name = lines.substr(word.size(), end - word.size());
    lines.remove_prefix(end + 1);
    return IsName(*name);
  };
  std::vector<Move> moves;
  while (!lines.empty()) {
    Move& move = moves.emplace_back();
    if (!take("from ", &move.from) || !take("to ", &move.to)) return absl::DataLossError("malformed");
  }
  return moves;
}

absl::StatusOr<std::string> FreeName(FileSystem* fs, const std::string& dir, const std::string& name,
                                     const std::string& word) {
  if (!IsName(name)) return absl::FailedPreconditionError("not a name: \"" + name + "\"");
  const UnixMillis seconds = WallClock() / 1000;
  const std::string first = name + "." + word + "-" + std::to_string(seconds);
  constexpr int kTries = 1000;
  for (int i = 1; i <= kTries; ++i) {
    std::string free = i == 1 ? first : first + "-" + std::to_string(i);
    const absl::StatusOr<bool> exists = fs->Exists(JoinPath(dir, free));
    if (!exists.ok()) return exists.status();
    if (!*exists) return free;
  }
  return absl::ResourceExhaustedError(JoinPath(dir, first) + ": exists, and so do " + std::to_string(kTries) +
                                      " more of such names");
}

absl::Status WriteMoves(FileSystem* fs, const std::string& dir, const std::string& append_dir,
                        const std::vector<Move>& moves) {
  return fs->ReplaceFile(JoinPath(NewDir(dir, append_dir), kMovesName), EncodeMoves(moves));
}

absl::Status Flip(FileSystem* fs, const std::string& dir, const std::string& append_dir) {
  const std::string list = JoinPath(NewDir(dir, append_dir), kMovesName);
  const absl::StatusOr<std::string> text = fs->ReadFile(list, kMaxMovesSize);
  if (!text.ok()) return text.status();
  const absl::StatusOr<std::vector<Move>> moves = ParseMoves(*text);
  if (!moves.ok()) return absl::DataLossError(list + ": " + std::string(moves.status().message()));
  // The name of the new folder is durable before anything is moved for it.
  if (absl::Status status = fs->SyncDir(dir); !status.ok()) return status;
  KillPoint("flip.new-synced");
  if (absl::Status status = MoveAll(fs, dir, *moves); !status.ok()) return status;
  return TakeName(fs, dir, append_dir);
}

absl::StatusOr<std::optional<std::vector<Move>>> PendingFlip(FileSystem* fs, const std::string& dir,
                                                             const std::string& append_dir) {
  using None = std::optional<std::vector<Move>>;
  const std::string fresh = NewDir(dir, append_dir);
  const absl::StatusOr<std::string> text = fs->ReadFile(JoinPath(fresh, kMovesName), kMaxMovesSize);
  if (absl::IsNotFound(text.status())) return None();
  if (!text.ok()) return text.status();
  const absl::StatusOr<std::vector<Move>> moves = ParseMoves(*text);
  // Not whole: then nothing has been moved for it yet.
  if (!moves.ok()) return None();
  std::vector<std::string> moved;
  for (const Move& move : *moves) {
    const absl::StatusOr<bool> there = fs->Exists(JoinPath(dir, move.to));
    if (!there.ok()) return there.status();
    if (*there) moved.push_back(move.to);
  }
  // A folder that had nothing to be moved aside for it is made anew, too.
  if (moved.empty()) return None();
  const std::string place = JoinPath(dir, append_dir);
  const absl::StatusOr<std::vector<std::string>> names = fs->List(place);
  if (!names.ok() && !absl::IsNotFound(names.status())) return names.status();
  const bool in_the_way =
      names.ok() && !names->empty() && std::none_of(moves->begin(), moves->end(), [&](const Move& move) {
        return move.from == append_dir && std::find(moved.begin(), moved.end(), move.to) == moved.end();
      });
  if (in_the_way) {
    return absl::FailedPreconditionError(
        place + ": stands where an interrupted change would put " + fresh + ", for which " + JoinPath(dir, moved[0]) +
        " was moved aside; move one of the two folders away: the one that stays is the data" +
        SeeRunbook("from-redis"));
  }
  return None(*moves);
}

absl::Status FinishFlip(FileSystem* fs, const std::string& dir, const std::string& append_dir) {
  const absl::StatusOr<std::optional<std::vector<Move>>> moves = PendingFlip(fs, dir, append_dir);
  if (!moves.ok()) return moves.status();
  if (!moves->has_value()) return absl::OkStatus();
  LOG(WARNING) << JoinPath(dir, append_dir) << ": finishing a change that was interrupted: " << NewDir(dir, append_dir)
               << " takes its place";
  if (absl::Status status = MoveAll(fs, dir, **moves); !status.ok()) return status;
  return TakeName(fs, dir, append_dir);
}

}  // namespace skein::storage
