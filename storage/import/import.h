// What Redis or Valkey left in a data folder: found, read into shards, and converted into a data set of Skein's.
//
// Any thread; a call works on its own thread and a few more. Source: DESIGN "Import"; lessons L11, L12.
#ifndef SKEIN_STORAGE_IMPORT_IMPORT_H_
#define SKEIN_STORAGE_IMPORT_IMPORT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/data_set.h"
#include "storage/shard.h"

namespace skein::storage {

struct ImportSource {
  enum class Kind : uint8_t {
    kFolder,      // appendonlydir of Redis 7 or Valkey
    kSingleFile,  // appendonly.aof of older ones, with or without an RDB in front
    kRdb,         // dump.rdb
  };
  Kind kind;
  std::string name;  // in options.dir: what is read, and moved aside afterwards
  std::string path;  // of the file that says what there is: the manifest, or the file itself
};

// What there is to convert with `appendonly yes`; nothing if there is a data set of Skein's, or nothing at all.
absl::StatusOr<std::optional<ImportSource>> FindImport(const DataSetOptions& options);

struct ImportReport {
  uint64_t keys = 0;      // read from RDB files
  uint64_t commands = 0;  // run
  uint64_t expired = 0;   // keys of an RDB file that were past their time
  uint64_t cut_bytes = 0;
  std::string cut;  // what was cut, in words; empty if nothing was
};

// FailedPrecondition, in words, if keys may not be in this database.
absl::Status CheckImportDatabase(const DataSetOptions& options, uint64_t db);

// Shards without logs, as many as the options say, that nothing expires in.
std::vector<std::unique_ptr<Shard>> ScratchShards(const DataSetOptions& options, uint32_t count);

// Reads all of it into the shards. Changes no file. Errors name file, offset, reason, way out and page.
absl::StatusOr<ImportReport> ReadImport(const DataSetOptions& options, const ImportSource& source,
                                        const std::vector<std::unique_ptr<Shard>>& shards);

// Reads one RDB file into the shards, as a primary does: keys past their time at `now` are left out.
absl::StatusOr<ImportReport> ReadRdbFile(const DataSetOptions& options, const std::string& path, UnixMillis now,
                                         const std::vector<std::unique_ptr<Shard>>& shards);

// Makes a data set of it, in place; under the folder's lock. Killed at any point the old files are there, or the new
// data set is, or an interrupted flip that FinishInterrupted ends. The old files are kept aside.
absl::Status Convert(const DataSetOptions& options, const ImportSource& source);

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_IMPORT_IMPORT_H_
