// A file that is written from front to back in large pieces, no faster than it may be, and synced as it grows, so that
// the sync at its end is short and the logs' own syncs do not wait behind gigabytes.
//
// One thread.
#ifndef SKEIN_STORAGE_SAVE_FILE_H_
#define SKEIN_STORAGE_SAVE_FILE_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "storage/file.h"

namespace skein::storage {

// Holds writing back to a rate that may change at any time.
class SavePace {
 public:
  using Clock = std::chrono::steady_clock;
  // `rate`: bytes a second now, 0: no limit. `wait_until`: waits, or returns false as soon as there is nothing to wait
  // for any more because the save is to end.
  SavePace(std::function<uint64_t()> rate, std::function<bool(Clock::time_point)> wait_until)
      : rate_(std::move(rate)), wait_until_(std::move(wait_until)) {}
  // How much to write at once.
  size_t Piece() const;
  // Waits until `bytes` more may be written. Cancelled if the save is to end.
  absl::Status Take(size_t bytes);

 private:
  const std::function<uint64_t()> rate_;
  const std::function<bool(Clock::time_point)> wait_until_;
  double debt_ = 0;  // bytes written ahead of the rate, as of then_
  Clock::time_point then_ = Clock::now();
};

class SaveFile {
 public:
  // `pace` outlives the file.
  SaveFile(FileSystem* fs, std::string path, bool incremental_sync, SavePace* pace)
      : fs_(fs), path_(std::move(path)), incremental_sync_(incremental_sync), pace_(pace) {}

  // Makes the file, or empties the one that is there.
  absl::Status Open();
  // Bytes to be written next; append here.
  std::string* buffer() { return &buffer_; }
  // Writes what has gathered if it is worth it.
  absl::Status WriteSome();
  // Writes everything and syncs the file.
  absl::Status Finish();
  // Closes and removes the file, so far as it was made.
  void Remove();

  const std::string& path() const { return path_; }
  uint64_t written() const { return written_; }

 private:
  absl::Status Write(size_t keep_below);

  FileSystem* const fs_;
  const std::string path_;
  const bool incremental_sync_;
  SavePace* const pace_;
  std::unique_ptr<File> file_;
  bool made_ = false;
  std::string buffer_;
  uint64_t written_ = 0, synced_ = 0;
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_SAVE_FILE_H_
