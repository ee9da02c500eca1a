// The manifest of an open append-only folder: the one place that changes it.
//
// Any thread; changes are serialized, each durable before it is visible. Never on the path of a command.
#ifndef SKEIN_STORAGE_MANIFEST_STORE_H_
#define SKEIN_STORAGE_MANIFEST_STORE_H_

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "storage/file.h"
#include "storage/manifest.h"

namespace skein::storage {

class ManifestStore {
 public:
  // `dir`: the append-only folder. `manifest`: what its file says now.
  ManifestStore(FileSystem* fs, std::string dir, Manifest manifest);

  Manifest Get() const;
  Manifest::Shard Get(uint32_t shard) const;
  // Applies `edit` to a copy, writes the copy with the next sequence (aside, synced, renamed, folder synced), then
  // takes it as the new one. If `edit` or any step fails, the manifest in memory is the old one; the one on disk is the
  // old or, after a failed rename or sync of the folder, perhaps the new one (see Settle).
  absl::Status Edit(const std::function<absl::Status(Manifest*)>& edit);

  // Makes sure that the file says what Get does: writes it once more if an Edit failed so late that the file may hold
  // what that one wanted. Whoever cannot live with both calls this after a failed Edit, until it succeeds, before he
  // does anything that the other manifest would not be true of.
  absl::Status Settle();

  // The folder is called `dir` from now on: its file is looked for there.
  void Moved(std::string dir);

  // Nothing is written from now on, edits fail: another's manifest may stand there.
  void End();

  // A sequence for a new file of this shard: above every one that the manifest lists and every one handed out.
  uint64_t NextSequence(uint32_t shard);

 private:
  absl::Status Write(Manifest* next);  // under the mutex

  FileSystem* const fs_;
  mutable std::mutex mutex_;
  std::string dir_;
  Manifest manifest_;
  uint64_t written_sequence_;  // the highest that may be in the file
  bool settled_ = true, ended_ = false;
  std::vector<uint64_t> handed_out_;  // by shard
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_MANIFEST_STORE_H_
