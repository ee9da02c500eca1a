// An append-only folder as the tool finds it: where it is, whether a node has it, what its manifest says.
#ifndef SKEIN_OPS_AOF_TOOL_FOLDER_H_
#define SKEIN_OPS_AOF_TOOL_FOLDER_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ops/aof_tool/arguments.h"
#include "ops/aof_tool/tool.h"
#include "storage/data_set.h"
#include "storage/manifest.h"

namespace skein::ops {

struct Folder {
  std::string path;     // where its files are
  std::string place;    // where it belongs: another path only while an interrupted change waits to be finished
  bool in_use = false;  // by a process that holds its lock
  // What the manifest says, or why it says nothing, in the words of a start that refuses it.
  absl::StatusOr<storage::Manifest> manifest;

  std::string lock_path() const { return place + ".lock"; }
  std::string manifest_path() const { return storage::JoinPath(path, storage::kManifestName); }
};

// Whether the command line names one incr file, not a folder.
bool IsLoneFile(const Arguments& arguments);

// Finds it; takes no lock and changes nothing. NotFound if there is no such folder, or nothing in it.
absl::StatusOr<Folder> FindFolder(const Tool& tool, const Arguments& arguments);
// For commands that only read: says on standard error if a running process has the folder (what is read then may be
// behind, and may end inside a record), and if an interrupted change waits for the next start.
void SayState(const Tool& tool, const Folder& folder);
// Reads its manifest (again).
absl::Status LoadManifestOf(const Tool& tool, Folder* folder);

// For commands that change something: takes the lock, finishes an interrupted change, reads the manifest again.
// FailedPrecondition if another process has the folder.
absl::StatusOr<std::unique_ptr<storage::FileLock>> TakeFolder(const Tool& tool, Folder* folder);

// What a node would open this folder with: as many databases as there can be, and no number of shards asked for.
storage::DataSetOptions OptionsOf(const Tool& tool, const std::string& path);

// A file of a shard on disk, whether listed or not.
struct FoundFile {
  std::string name;  // "shard-0/incr.1.aof"
  uint32_t shard = 0;
  bool base = false;
  uint64_t sequence = 0;
  uint64_t size = 0;
};
// Every base and incr by its name, ordered by shard, kind and sequence.
absl::StatusOr<std::vector<FoundFile>> ListFiles(storage::FileSystem* fs, const std::string& path);

// Bytes of all files that the manifest lists, as far as they are there: for progress.
uint64_t ListedBytes(storage::FileSystem* fs, const std::string& path, const storage::Manifest& manifest);
absl::StatusOr<uint64_t> FileSize(storage::FileSystem* fs, const std::string& path);

std::string_view ChosenName(storage::Manifest::Chosen chosen);

}  // namespace skein::ops

#endif  // SKEIN_OPS_AOF_TOOL_FOLDER_H_
