// The file in which a node keeps its identity and what it knows of the cluster (nodes.conf): a header with magic,
// version, length and checksum, then a NodeState. Replaced as a whole: written aside, synced, renamed, folder synced.
// Format: bus/STATE_FORMAT.md.
#ifndef SKEIN_BUS_STATE_FILE_H_
#define SKEIN_BUS_STATE_FILE_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "bus/link/socket.h"

namespace skein::proto {
class NodeState;
}

namespace skein::bus {

using StatePtr = std::shared_ptr<const proto::NodeState>;

// Where the file is: `file` inside `dir`, or `file` itself if it is an absolute path.
std::string StatePath(const std::string& dir, const std::string& file);

// Reads the file; null if there is none. FailedPrecondition for a file that is not ours or of a newer version, DataLoss
// for one that is damaged: the message names the file and the way out. Changes nothing.
absl::StatusOr<StatePtr> LoadState(const std::string& path);

// Durably replaces the file. On an error the old file is as it was.
absl::Status SaveState(const std::string& path, const proto::NodeState& state);

// Keeps other processes from using the same file, for as long as it lives: a flock on `path`.lock (the file itself is
// replaced by each save).
class StateLock {
 public:
  static absl::StatusOr<StateLock> Take(const std::string& path);

 private:
  explicit StateLock(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace skein::bus

#endif  // SKEIN_BUS_STATE_FILE_H_
