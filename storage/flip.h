// Puts a new data set in the place of what a folder held: the last steps of every conversion and change in place.
//
// The new data set stands whole and durable in `<append_dir>.new`, together with a list of what has to be moved aside
// for it. Then each of these is moved, then the folder takes its name: this flips last (L11, L12). Until the first move
// an interrupted change is as if it had not begun; from there on whoever opens the folder next finishes it. What is
// moved is never deleted. The steps stand in storage/FORMAT.md.
//
// Any thread; the caller holds the folder's lock, except for PendingFlip.
#ifndef SKEIN_STORAGE_FLIP_H_
#define SKEIN_STORAGE_FLIP_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/file.h"

namespace skein::storage {

// Names inside `dir`.
struct Move {
  std::string from;
  std::string to;
  bool operator==(const Move&) const = default;
};

// What stands in the list's file, in `<append_dir>.new` and, after the flip, in the data set's folder, where it says
// what the data set was made from.
inline constexpr std::string_view kMovesName = "moved";
std::string EncodeMoves(const std::vector<Move>& moves);
absl::StatusOr<std::vector<Move>> ParseMoves(std::string_view text);

// A name for `name` to be moved to that nothing in `dir` has: "NAME.WORD-SECONDS", with a number behind it if need be.
absl::StatusOr<std::string> FreeName(FileSystem* fs, const std::string& dir, const std::string& name,
                                     const std::string& word);

// Writes the list into `<append_dir>.new`, durably. Before its manifest is written.
absl::Status WriteMoves(FileSystem* fs, const std::string& dir, const std::string& append_dir,
                        const std::vector<Move>& moves);

// Moves and flips. `<append_dir>.new` holds the list and the data set, both durable.
absl::Status Flip(FileSystem* fs, const std::string& dir, const std::string& append_dir);

// Whether a flip has begun that has not ended: its moves. FailedPrecondition, with the way out, if it cannot be
// finished, because something stands again where the data set belongs.
absl::StatusOr<std::optional<std::vector<Move>>> PendingFlip(FileSystem* fs, const std::string& dir,
                                                             const std::string& append_dir);
// Finishes it, if there is one.
absl::Status FinishFlip(FileSystem* fs, const std::string& dir, const std::string& append_dir);

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_FLIP_H_
