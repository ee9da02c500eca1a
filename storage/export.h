// All of a data set that no node has open as one plain RDB file.
#ifndef SKEIN_STORAGE_EXPORT_H_
#define SKEIN_STORAGE_EXPORT_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "storage/offline.h"

namespace skein::storage {

struct ExportOptions {
  OfflinePlace place;
  std::string path;  // of the RDB file; must not exist
  bool compress = true;
  OfflineProgress progress = nullptr;
};

struct ExportReport {
  uint64_t keys = 0;
  uint64_t bytes = 0;      // of the file
  uint64_t cut_bytes = 0;  // torn tails of the logs, which are not in it
};

// Keys whose time has passed are written with their time, as Redis does: who loads the file drops them.
absl::StatusOr<ExportReport> Export(const ExportOptions& options);

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_EXPORT_H_
