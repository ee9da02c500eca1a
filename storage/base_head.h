// What a base file says of itself: RDB's auxiliary fields under names of Skein's, written before the first key. Their
// words stand in storage/FORMAT.md.
//
// Pure functions; any thread.
#ifndef SKEIN_STORAGE_BASE_HEAD_H_
#define SKEIN_STORAGE_BASE_HEAD_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/record.h"
#include "storage/types.h"

namespace skein::storage {

class RdbEncoder;

struct BaseHead {
  uint32_t shard = 0;
  uint32_t shard_count = 1;
  Lsn lsn = 0;                 // the base holds the state after every record before this
  UnixMillis time = 0;         // no record before the LSN is later: the clock once the snapshot had begun
  std::vector<Reign> history;  // the reigns that began before the LSN, oldest first

  bool operator==(const BaseHead&) const = default;
};

// Writes the fields; between the encoder's Begin and its first key.
void WriteBaseHead(const BaseHead& head, RdbEncoder* encoder);

// Puts a head together from the auxiliary fields of a file. Fields of other names are passed over.
class BaseHeadReader {
 public:
  // DataLoss if a field of ours is malformed, or stands twice.
  absl::Status OnAux(std::string_view name, std::string_view value);
  // Nothing if the file has none of our fields: an RDB file that is no base. DataLoss if some are there and others not.
  absl::StatusOr<std::optional<BaseHead>> Finish() const;

 private:
  BaseHead head_;
  uint32_t seen_ = 0;
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_BASE_HEAD_H_
