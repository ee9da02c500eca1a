// The file layer: everything that storage does to files goes through here, so that tests can replace it with one that
// fails, tears and forgets (storage/fault_file.h).
//
// Thread: a FileSystem is used by any thread; a File by one at a time.
#ifndef SKEIN_STORAGE_FILE_H_
#define SKEIN_STORAGE_FILE_H_

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace skein::storage {

// A status for `error` (an errno value) whose message is "`what`: strerror". NotFound for ENOENT, ResourceExhausted for
// full disks and quotas, PermissionDenied for EACCES, EPERM and EROFS, AlreadyExists for EEXIST, else Internal.
absl::Status ErrnoStatus(int error, std::string_view what);

// An open file; closed when destroyed. Closing reports nothing: what matters has been synced before.
class File {
 public:
  virtual ~File() = default;
  // Reads up to `size` bytes at `offset`; fewer only at the end of the file.
  virtual absl::StatusOr<size_t> ReadAt(uint64_t offset, char* out, size_t size) = 0;
  // Writes all pieces one after the other at `offset`. After an error any part of them may have been written. The
  // pieces are not changed.
  virtual absl::Status WriteAt(uint64_t offset, const std::vector<iovec>& pieces) = 0;
  virtual absl::Status Truncate(uint64_t size) = 0;
  // Returns once the data, and the size, are on stable storage (fdatasync).
  virtual absl::Status Sync() = 0;
  virtual absl::StatusOr<uint64_t> Size() = 0;

  absl::Status WriteAt(uint64_t offset, std::string_view bytes);
};

// A lock on a file, held until destroyed, and let go by the system when the process dies.
class FileLock {
 public:
  virtual ~FileLock() = default;
};

class FileSystem {
 public:
  virtual ~FileSystem() = default;

  enum class Mode : uint8_t {
    kRead,       // existing file, reading only
    kWrite,      // existing file, reading and writing
    kCreateNew,  // a new file, AlreadyExists if there is one; reading and writing
    kReplace,    // a new file, or an existing one emptied
  };
  virtual absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path, Mode mode) = 0;
  virtual absl::StatusOr<bool> Exists(const std::string& path) = 0;
  // Names in a folder, without "." and "..", sorted. NotFound if there is no such folder.
  virtual absl::StatusOr<std::vector<std::string>> List(const std::string& path) = 0;
  // OK if the folder exists already.
  virtual absl::Status CreateDir(const std::string& path) = 0;
  virtual absl::Status RemoveFile(const std::string& path) = 0;
  virtual absl::Status RemoveDir(const std::string& path) = 0;
  // Replaces a file, or an empty folder by a folder, atomically.
  virtual absl::Status Rename(const std::string& from, const std::string& to) = 0;
  // Whether files may be made in this folder, without making one. NotFound if there is no such folder.
  virtual absl::Status CheckWritable(const std::string& path) = 0;
  // Makes the names in a folder durable.
  virtual absl::Status SyncDir(const std::string& path) = 0;
  // Takes the lock, creating the file. FailedPrecondition if another holds it.
  virtual absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) = 0;
  // Whether somebody holds the lock now; takes and creates nothing.
  virtual absl::StatusOr<bool> IsLocked(const std::string& path) = 0;

  // The whole file. ResourceExhausted if it is larger than `limit`.
  absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t limit);
  // Replaces `path` by a file with these bytes, durably: written aside as `path`.tmp, synced, renamed, folder synced.
  // After an error or a crash the old file is there, or the new one, whole.
  absl::Status ReplaceFile(const std::string& path, std::string_view bytes);
};

// The real one. Lives as long as the process.
FileSystem* RealFileSystem();

// The folder part of a path; "." if there is none.
std::string DirName(const std::string& path);
std::string JoinPath(std::string_view dir, std::string_view name);

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_FILE_H_
