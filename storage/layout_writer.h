// Writes a whole new data set out of shards in memory: a base a shard, an empty incr behind it, the manifest last.
//
// Any thread; the shards are not changed meanwhile.
#ifndef SKEIN_STORAGE_LAYOUT_WRITER_H_
#define SKEIN_STORAGE_LAYOUT_WRITER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/file.h"
#include "storage/manifest.h"
#include "storage/offline.h"
#include "storage/shard.h"

namespace skein::storage {

// The entry as an RDB file carries it; its views are of the entry and of `scratch`.
RdbItem ItemOf(uint32_t db, const Entry& entry, IntText* scratch);

struct LayoutWriterOptions {
  uint32_t databases = 16;
  Manifest::Chosen chosen = Manifest::Chosen::kConfigured;
  bool compress = true;
  uint64_t off = 0;          // Manifest::off
  OfflineProgress progress;  // in keys
};

// Makes `dir` (whose parent exists), which must not exist or be empty, a data set of these shards, whose logs start at
// LSN 0 with no history. All of it is durable when this returns but the name `dir` itself. After an error part of it
// may be there, never a manifest. Kill points: "layout.base-synced", "layout.incr-synced", "layout.shards-synced",
// "layout.manifest-synced".
absl::StatusOr<Manifest> WriteLayout(FileSystem* fs, const std::string& dir,
                                     const std::vector<std::unique_ptr<Shard>>& shards,
                                     const LayoutWriterOptions& options);

// Writes all keys of these shards into one plain RDB file, synced: aside as `path`.tmp, then renamed, folder synced.
// Without fields of Skein's: a file for redis-server, Valkey, or anybody. Returns its size.
absl::StatusOr<uint64_t> WritePlainRdb(FileSystem* fs, const std::string& path,
                                       const std::vector<std::unique_ptr<Shard>>& shards,
                                       const LayoutWriterOptions& options);

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_LAYOUT_WRITER_H_
