// A data set that no node has open, as a whole in memory: what reshard, export and the conversions start from.
//
// Any thread; each call works on as many threads as there are processors.
#ifndef SKEIN_STORAGE_OFFLINE_H_
#define SKEIN_STORAGE_OFFLINE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/file.h"
#include "storage/manifest.h"
#include "storage/recovery.h"
#include "storage/shard.h"

namespace skein::storage {

// Told now and then, from any thread but one at a time: what is done ("reading", "writing", "copying"), how much of how
// much. For progress bars.
using OfflineProgress = std::function<void(std::string_view phase, uint64_t done, uint64_t total)>;

// Where a data set stands.
struct OfflinePlace {
  std::string dir;                           // --dir
  std::string append_dir = "appendonlydir";  // --appenddirname
  FileSystem* fs = nullptr;                  // null: the real one
};

struct OfflineData {
  std::unique_ptr<FileLock> lock;  // held as long as this lives
  Manifest manifest;
  std::vector<std::unique_ptr<Shard>> shards;  // without logs; nothing in them expires by itself
  std::vector<ShardRecovery> found;            // torn tails among it, which are not cut
};

// Takes the folder's lock and reads all of it into memory. Changes no file but the lock's. Errors as of starting a
// node.
absl::StatusOr<OfflineData> LoadOffline(const OfflinePlace& place, const OfflineProgress& progress = nullptr);

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_OFFLINE_H_
