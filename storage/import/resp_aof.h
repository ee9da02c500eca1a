// Reads the commands of an append-only file of Redis or Valkey: RESP arrays, with "#TS:seconds" lines between them.
//
// Hostile input is expected: lengths are limited and checked against what the file has. One thread.
#ifndef SKEIN_STORAGE_IMPORT_RESP_AOF_H_
#define SKEIN_STORAGE_IMPORT_RESP_AOF_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/file.h"
#include "storage/types.h"

namespace skein::storage {

class RespAof {
 public:
  static constexpr uint64_t kMaxArguments = 1u << 20;
  static constexpr uint64_t kMaxArgument = uint64_t{512} << 20;

  // `file` outlives the reader; reading begins at `offset`, `size` is the file's.
  RespAof(File* file, std::string path, uint64_t offset, uint64_t size)
      : file_(file), path_(std::move(path)), size_(size), offset_(offset) {}

  enum class Found : uint8_t {
    kCommand,    // argv()
    kEnd,        // the file ends behind a whole command
    kTruncated,  // what stands at offset() is the beginning of a command whose end is not there
  };
  // DataLoss, which names file and offset, for what is no command, and for a command that reaches past the end of the
  // file although others follow it: its length is wrong. Then other errors of the file layer.
  absl::StatusOr<Found> Next();

  // At least one word; views until the next call.
  const std::vector<std::string_view>& argv() const { return argv_; }
  // Where the command of argv() starts, and where the next one does.
  uint64_t command_offset() const { return command_offset_; }
  uint64_t offset() const { return offset_; }
  // What the last annotation said, in milliseconds; 0 if there was none.
  UnixMillis annotated_time() const { return annotated_time_; }

 private:
  enum class Got : uint8_t { kOk, kShort, kBad };

  // Makes the bytes from offset_ to offset_ + n available; false at the end of the file.
  absl::StatusOr<bool> Fill(uint64_t n);
  std::string_view Window() const { return std::string_view(window_).substr(offset_ - window_at_); }
  // The line at `at` behind offset_, without its end, whose length is limited.
  absl::StatusOr<Got> Line(uint64_t at, std::string_view* line);
  absl::StatusOr<Got> Number(uint64_t* at, char sign, uint64_t max, uint64_t* number);
  absl::StatusOr<Got> Command(uint64_t* length);
  absl::StatusOr<bool> CommandFollows();
  absl::Status Bad(std::string_view why) const;

  File* const file_;
  const std::string path_;
  const uint64_t size_;
  uint64_t offset_;
  uint64_t command_offset_ = 0;
  UnixMillis annotated_time_ = 0;
  std::string window_;
  uint64_t window_at_ = 0;
  std::vector<std::pair<uint64_t, uint64_t>> places_;  // of the arguments: behind offset_, and how long
  std::vector<std::string_view> argv_;
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_IMPORT_RESP_AOF_H_
