// Where a data set stands in its folder, what is refused before any of its files is read, and how an empty one is made.
//
// Any thread. The caller holds the folder's lock where something is changed.
#ifndef SKEIN_STORAGE_LAYOUT_H_
#define SKEIN_STORAGE_LAYOUT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/data_set.h"
#include "storage/file.h"
#include "storage/manifest.h"
#include "storage/runbook.h"
#include "storage/wall_clock.h"

namespace skein::storage {

// options.fs, or the real one.
FileSystem* FileSystemOf(const DataSetOptions& options);
std::string AppendDir(const DataSetOptions& options);
std::string LockPath(const DataSetOptions& options);

// The refusal of a folder whose lock another process holds.
absl::Status InUse(const DataSetOptions& options);
// Takes the folder's lock, or says who is in the way.
absl::StatusOr<std::unique_ptr<FileLock>> LockFolder(const DataSetOptions& options);
// The same words if somebody holds it now, without side effects.
absl::Status CheckLock(const DataSetOptions& options);

// What is wrong with the options or the place by themselves.
absl::Status CheckPlace(const DataSetOptions& options);

// The folder's manifest, if it fits the options; nothing if there is no data set yet.
absl::StatusOr<std::optional<Manifest>> LoadManifest(const DataSetOptions& options);

// The same for the folder `dir`, whatever the options call it.
absl::StatusOr<std::optional<Manifest>> LoadManifestFrom(const std::string& dir, const DataSetOptions& options);

// The refusal of a data set whose log was switched off: it is older than what the node held when it ended.
absl::Status CheckNotSwitchedOff(const DataSetOptions& options, const Manifest& manifest);

// Finishes a flip (storage/flip.h) that was interrupted, under the lock. Before LoadManifest.
absl::Status FinishInterrupted(const DataSetOptions& options);

// How many bytes the files have that the manifest lists: for progress bars, so those that are not there count nothing.
uint64_t SizeOfListed(FileSystem* fs, const std::string& dir, const Manifest& manifest);

// The refusal of a place for a new data set that holds something, an interrupted change included; `page` says more.
absl::Status CheckFree(const DataSetOptions& options, Runbook page);

// What a data set is called that another one has superseded, which its node inherited: NAME.superseded-SECONDS. Nobody
// needs it.
inline constexpr std::string_view kSupersededWord = "superseded";
// Their paths.
std::vector<std::string> SupersededDirs(const DataSetOptions& options);
// Removes them, what is there of an inherited one that has not come to be whole, and of any that has no manifest yet.
// At a start, under the lock, after FinishInterrupted. Failures are logged.
void RemoveSuperseded(const DataSetOptions& options);

// Removes a folder of the kind that CreateDataSet makes, as far as it is there.
absl::Status RemoveAside(FileSystem* fs, const std::string& dir);

// Makes the folder of a shard in `dir` with its first incr file, empty; both synced. `made`, which may be null: the
// file's header.
absl::Status WriteFirstIncr(FileSystem* fs, const std::string& dir, uint32_t shard, uint32_t count,
                            const LogStart& start = {}, FileHeader* made = nullptr);

// Makes `dir` anew with empty logs that start there, one a shard, and a manifest that lists them without bases.
// All of it is durable when this returns but the name `dir` itself. `headers`, which may be null: of the incr files.
absl::StatusOr<Manifest> WriteEmptyLogs(const DataSetOptions& options, const std::string& dir,
                                        const std::vector<LogStart>& starts, std::vector<FileHeader>* headers);

// Makes a data set of empty logs: in full aside, durable, then renamed.
absl::StatusOr<Manifest> CreateDataSet(const DataSetOptions& options);

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_LAYOUT_H_
