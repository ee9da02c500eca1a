// The manifest of an open append-only folder: the one place that changes it.
//
// Any thread; changes are serialized, each durable before it is visible. Never on the path of a command.
#ifndef SKEIN_STORAGE_MANIFEST_STORE_H_
#define SKEIN_STORAGE_MANIFEST_STORE_H_

#include <functional>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "storage/file.h"
#include "storage/manifest.h"

namespace skein::storage {

class ManifestStore {
 public:
  // `dir`: the append-only folder. `manifest`: what its file says now.
  ManifestStore(FileSystem* fs, std::string dir, Manifest manifest);

  Manifest Get() const;
  // Applies `edit` to a copy, writes the copy with the next sequence (aside, synced, renamed, folder synced), then
  // takes it as the new one. If `edit` or any step fails, the manifest in memory is the old one; the one on disk is the
  // old or, after a failed sync of the folder, perhaps the new one, which is as true.
  absl::Status Edit(const std::function<absl::Status(Manifest*)>& edit);

  // A sequence for a new file of this shard: above every one that the manifest lists and every one handed out.
  uint64_t NextSequence(uint32_t shard);

 private:
  FileSystem* const fs_;
  const std::string dir_;
  mutable std::mutex mutex_;
  Manifest manifest_;
  std::vector<uint64_t> handed_out_;  // by shard
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_MANIFEST_STORE_H_
