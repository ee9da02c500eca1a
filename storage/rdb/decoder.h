// Reads the RDB format: files of versions 6 to 12 and Valkey's 80, and the payloads of RESTORE.
//
// Hostile input is expected: every length is checked against what is there before memory is taken for it, and nothing
// is delivered that was not read whole. One thread at a time.
#ifndef SKEIN_STORAGE_RDB_DECODER_H_
#define SKEIN_STORAGE_RDB_DECODER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/file.h"
#include "storage/rdb/item.h"

namespace skein::storage {

// What takes what a file holds, in the order of the file. A status other than OK ends the reading with it.
class RdbVisitor {
 public:
  virtual ~RdbVisitor() = default;
  virtual absl::Status OnAux(std::string_view /*name*/, std::string_view /*value*/) { return absl::OkStatus(); }
  virtual absl::Status OnSizeHint(uint32_t /*db*/, uint64_t /*keys*/, uint64_t /*expiring*/) {
    return absl::OkStatus();
  }
  // The views live until it returns. `item.access` is 0 unless the file says otherwise (LFU or idle time: see below).
  virtual absl::Status OnItem(const RdbItem& item) = 0;
};

struct RdbDecoderOptions {
  UnixMillis now = 0;                         // for idle times, which are counted back from it into an LRU clock
  bool verify_checksum = true;                // rdbchecksum; a checksum of 0 in the file is never checked
  uint64_t max_string = uint64_t{512} << 20;  // longer strings are refused
  // Told now and then: bytes read so far. For progress bars. May be null.
  std::function<void(uint64_t offset)> progress = {};
};

struct RdbInfo {
  int version = 0;      // as the head says
  bool valkey = false;  // "VALKEY" instead of "REDIS"
  uint64_t size = 0;    // bytes from the start offset to the end of the RDB: what follows is not looked at
  uint64_t keys = 0;
};

// Reads one RDB from `offset` of `file` on. Errors name `path`, the offset and what is wrong:
//   DataLoss         damaged, truncated, a wrong checksum
//   Unimplemented    a version that is not known, or a type of value or a module that this version cannot hold: the
//                    message names the key and the type ("key 'cart:7' is a hash (listpack)"), or the function library
// What had been delivered before stays delivered.
absl::StatusOr<RdbInfo> ReadRdb(File* file, const std::string& path, uint64_t offset, const RdbDecoderOptions& options,
                                RdbVisitor* visitor);

// Whether the bytes are the start of an RDB ("REDIS" or "VALKEY" and a number).
bool LooksLikeRdb(std::string_view head);

// Checks and decodes the payload of RESTORE. `*storage` keeps decompressed bytes: the item's views point into it or
// into the payload. InvalidArgument with Redis's words ("DUMP payload version or checksum are wrong", "Bad data
// format"); Unimplemented for types as above.
absl::StatusOr<RdbItem> DecodeDumpPayload(std::string_view payload, std::string* storage);

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_RDB_DECODER_H_
