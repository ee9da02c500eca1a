// Runs the commands of Redis's append-only files on shards: databases, transactions, and words for what went wrong.
#ifndef SKEIN_STORAGE_IMPORT_AOF_RUNNER_H_
#define SKEIN_STORAGE_IMPORT_AOF_RUNNER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/data_set.h"
#include "storage/file.h"
#include "storage/import/import.h"

namespace skein::storage {

class AofRunner {
 public:
  // All outlive the runner.
  AofRunner(const DataSetOptions& options, std::vector<Shard*> shards, ImportReport* report)
      : options_(options), shards_(std::move(shards)), report_(report) {}

  // Runs the commands of `file` from `offset` on. `last`: it may end in the middle of a command or of a transaction,
  // which is then left out and reported. Databases begin at 0 in every file.
  absl::Status Run(File* file, const std::string& path, uint64_t offset, bool last);

 private:
  absl::Status Take(const std::string& path, uint64_t offset, UnixMillis annotated,
                    const std::vector<std::string_view>& argv);
  absl::Status RunOne(const std::string& path, uint64_t offset, UnixMillis annotated,
                      const std::vector<std::string_view>& argv);

  const DataSetOptions& options_;
  const std::vector<Shard*> shards_;
  ImportReport* const report_;
  uint32_t db_ = 0;
  // The commands since MULTI, and where it stands.
  struct Queued {
    uint64_t offset;
    std::vector<std::string> argv;
  };
  bool in_transaction_ = false;
  uint64_t transaction_offset_ = 0;
  std::vector<Queued> queued_;
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_IMPORT_AOF_RUNNER_H_
