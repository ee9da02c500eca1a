// The manifest: the one text file that says what an append-only folder holds. Its form stands in storage/FORMAT.md.
//
// Pure functions over bytes; any thread. Paths are derived from shard and sequence and stand nowhere.
#ifndef SKEIN_STORAGE_MANIFEST_H_
#define SKEIN_STORAGE_MANIFEST_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/record.h"
#include "storage/types.h"

namespace skein::storage {

inline constexpr uint32_t kManifestVersion = 1;
inline constexpr uint32_t kMaxShards = 1024;
inline constexpr uint32_t kMaxDatabases = 65535;  // a record has 16 bits for it
inline constexpr size_t kMaxIncrFiles = 1024;     // of one shard
inline constexpr uint64_t kMaxManifestSize = 256u << 20;

// Where a shard's log starts, and the sequence of its first file.
struct LogStart {
  Lsn lsn = 0;
  uint64_t sequence = 1;
};

struct Manifest {
  // How the number of shards was chosen.
  enum class Chosen : uint8_t { kConfigured, kDefaulted, kInherited };

  // A file and the LSN at which it starts (an incr) or that it holds the state of (a base).
  struct FileRef {
    uint64_t sequence = 0;
    Lsn lsn = 0;
    bool operator==(const FileRef&) const = default;
  };

  struct Shard {
    std::optional<FileRef> base;
    std::vector<FileRef> incrs;  // in order, at least one; the last is the one written to
    // Everything before this was on disk when the manifest was written: recovery must reach it.
    Lsn durable = 0;
    std::vector<Reign> history;  // oldest first
    bool operator==(const Shard&) const = default;
  };

  uint64_t sequence = 0;  // one more with every change
  Chosen chosen = Chosen::kDefaulted;
  uint32_t databases = 16;
  // When the log was switched off while the node went on without it; 0: it was not. What was written since then is not
  // in it, so it is not to be taken for the data.
  uint64_t off = 0;
  std::vector<Shard> shards;  // the index is the id

  bool operator==(const Manifest&) const = default;
};

std::string EncodeManifest(const Manifest& manifest);
// DataLoss, with the line, if it is malformed or its checksum does not match; Unimplemented if the version is newer.
// Accepts exactly what EncodeManifest makes.
absl::StatusOr<Manifest> ParseManifest(std::string_view text);

// Names inside the append-only folder.
inline constexpr std::string_view kManifestName = "manifest";
std::string ShardDirName(uint32_t shard);
std::string IncrName(uint32_t shard, uint64_t sequence);
std::string BaseName(uint32_t shard, uint64_t sequence);

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_MANIFEST_H_
