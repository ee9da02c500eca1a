#include "storage/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>

#include "storage/kill_point.h"

namespace skein::storage {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

int OpenRetrying(const char* path, int flags) {
  int fd;
  do {
    fd = open(path, flags | O_CLOEXEC, 0644);
  } while (fd < 0 && errno == EINTR);
  return fd;
}

class PosixFile : public File {
 public:
  PosixFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}

  absl::StatusOr<size_t> ReadAt(uint64_t offset, char* out, size_t size) override {
    size_t got = 0;
    while (got < size) {
      const ssize_t n = pread(fd_.get(), out + got, size - got, static_cast<off_t>(offset + got));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return ErrnoStatus(errno, path_);
      if (n == 0) break;
      got += static_cast<size_t>(n);
    }
    return got;
  }

  absl::Status WriteAt(uint64_t offset, const std::vector<iovec>& pieces) override {
    // A copy of the window that pwritev is given, so that a partial write can move its front.
    std::vector<iovec> window;
    size_t next = 0;
    while (true) {
      while (next < pieces.size() && window.size() < IOV_MAX) window.push_back(pieces[next++]);
      if (window.empty()) return absl::OkStatus();
      ssize_t n = pwritev(fd_.get(), window.data(), static_cast<int>(window.size()), static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return ErrnoStatus(errno, path_);
      offset += static_cast<uint64_t>(n);
      size_t whole = 0;
      while (whole < window.size() && static_cast<size_t>(n) >= window[whole].iov_len) {
        n -= static_cast<ssize_t>(window[whole++].iov_len);
      }
      if (whole < window.size()) {
        // A write that moves nothing and reports no error would loop for ever.
        if (n == 0 && whole == 0) return ErrnoStatus(ENOSPC, path_);
        window[whole].iov_base = static_cast<char*>(window[whole].iov_base) + n;
        window[whole].iov_len -= static_cast<size_t>(n);
      }
      window.erase(window.begin(), window.begin() + static_cast<ptrdiff_t>(whole));
    }
  }

  absl::Status Truncate(uint64_t size) override {
    int rc;
    do {
      rc = ftruncate(fd_.get(), static_cast<off_t>(size));
    } while (rc < 0 && errno == EINTR);
    return rc < 0 ? ErrnoStatus(errno, path_) : absl::OkStatus();
  }

  absl::Status Sync() override {
    // Not repeated on EINTR or anything else: after a failed sync nobody knows what is on disk.
    return fdatasync(fd_.get()) < 0 ? ErrnoStatus(errno, path_) : absl::OkStatus();
  }

  absl::StatusOr<uint64_t> Size() override {
    struct stat st;
    if (fstat(fd_.get(), &st) < 0) return ErrnoStatus(errno, path_);
    return static_cast<uint64_t>(st.st_size);
  }

 private:
  const std::string path_;
  const Descriptor fd_;
};

class PosixLock : public FileLock {
 public:
  explicit PosixLock(int fd) : fd_(fd) {}

 private:
  const Descriptor fd_;
};

// An open-file-description lock over the whole file: it excludes other opens in this process too, and can be asked
// about without being taken.
struct flock WholeFile() {
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;
}

class PosixFileSystem : public FileSystem {
 public:
  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path, Mode mode) override {
    int flags = O_RDWR;
    if (mode == Mode::kRead) flags = O_RDONLY;
    if (mode == Mode::kCreateNew) flags |= O_CREAT | O_EXCL;
    if (mode == Mode::kReplace) flags |= O_CREAT | O_TRUNC;
    const int fd = OpenRetrying(path.c_str(), flags);
    if (fd < 0) return ErrnoStatus(errno, path);
    return std::make_unique<PosixFile>(path, fd);
  }

  absl::StatusOr<bool> Exists(const std::string& path) override {
    struct stat st;
    if (stat(path.c_str(), &st) == 0) return true;
    if (errno == ENOENT) return false;
    return ErrnoStatus(errno, path);
  }

  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override {
    DIR* dir = opendir(path.c_str());
    if (dir == nullptr) return ErrnoStatus(errno, path);
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = readdir(dir)) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
    const int error = errno;
    closedir(dir);
    if (error != 0) return ErrnoStatus(error, path);
    std::sort(names.begin(), names.end());
    return names;
  }

  absl::Status CreateDir(const std::string& path) override {
    if (mkdir(path.c_str(), 0755) == 0) return absl::OkStatus();
    if (errno != EEXIST) return ErrnoStatus(errno, path);
    struct stat st;
    if (stat(path.c_str(), &st) < 0) return ErrnoStatus(errno, path);
    return S_ISDIR(st.st_mode) ? absl::OkStatus() : ErrnoStatus(ENOTDIR, path);
  }

  absl::Status RemoveFile(const std::string& path) override {
    return unlink(path.c_str()) < 0 ? ErrnoStatus(errno, path) : absl::OkStatus();
  }

  absl::Status RemoveDir(const std::string& path) override {
    return rmdir(path.c_str()) < 0 ? ErrnoStatus(errno, path) : absl::OkStatus();
  }

  absl::Status Rename(const std::string& from, const std::string& to) override {
    return rename(from.c_str(), to.c_str()) < 0 ? ErrnoStatus(errno, to) : absl::OkStatus();
  }

  absl::Status CheckWritable(const std::string& path) override {
    struct stat st;
    if (stat(path.c_str(), &st) < 0) return ErrnoStatus(errno, path);
    if (!S_ISDIR(st.st_mode)) return ErrnoStatus(ENOTDIR, path);
    return faccessat(AT_FDCWD, path.c_str(), W_OK | X_OK, AT_EACCESS) < 0 ? ErrnoStatus(errno, path) : absl::OkStatus();
  }

  absl::Status SyncDir(const std::string& path) override {
    const Descriptor fd(OpenRetrying(path.c_str(), O_RDONLY | O_DIRECTORY));
    if (fd.get() < 0 || fsync(fd.get()) < 0) return ErrnoStatus(errno, path);
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) override {
    const int fd = OpenRetrying(path.c_str(), O_RDWR | O_CREAT);
    if (fd < 0) return ErrnoStatus(errno, path);
    auto held = std::make_unique<PosixLock>(fd);
    struct flock lock = WholeFile();
    if (fcntl(fd, F_OFD_SETLK, &lock) == 0) return std::unique_ptr<FileLock>(std::move(held));
    if (errno != EAGAIN && errno != EACCES) return ErrnoStatus(errno, path);
    return absl::FailedPreconditionError(path + ": locked by another process");
  }

  absl::StatusOr<bool> IsLocked(const std::string& path) override {
    const Descriptor fd(OpenRetrying(path.c_str(), O_RDWR));
    if (fd.get() < 0) return errno == ENOENT ? absl::StatusOr<bool>(false) : ErrnoStatus(errno, path);
    struct flock lock = WholeFile();
    if (fcntl(fd.get(), F_OFD_GETLK, &lock) < 0) return ErrnoStatus(errno, path);
    return lock.l_type != F_UNLCK;
  }
};

}  // namespace

absl::Status ErrnoStatus(int error, std::string_view what) {
  const std::string message = std::string(what) + ": " + std::generic_category().message(error);
  switch (error) {
    case ENOENT:
      return absl::NotFoundError(message);
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return absl::ResourceExhaustedError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case EEXIST:
      return absl::AlreadyExistsError(message);
    default:
      return absl::InternalError(message);
  }
}

absl::Status File::WriteAt(uint64_t offset, std::string_view bytes) {
  return WriteAt(offset, std::vector<iovec>{{const_cast<char*>(bytes.data()), bytes.size()}});
}

absl::StatusOr<std::string> FileSystem::ReadFile(const std::string& path, uint64_t limit) {
  absl::StatusOr<std::unique_ptr<File>> file = Open(path, Mode::kRead);
  if (!file.ok()) return file.status();
  const absl::StatusOr<uint64_t> size = (*file)->Size();
  if (!size.ok()) return size.status();
  if (*size > limit) {
    return absl::ResourceExhaustedError(path + ": " + std::to_string(*size) + " bytes, more than the limit of " +
                                        std::to_string(limit));
  }
  std::string bytes(*size, '\0');
  const absl::StatusOr<size_t> got = (*file)->ReadAt(0, bytes.data(), bytes.size());
  if (!got.ok()) return got.status();
  bytes.resize(*got);
  return bytes;
}

absl::Status FileSystem::ReplaceFile(const std::string& path, std::string_view bytes) {
  const std::string aside = path + ".tmp";
  {
    absl::StatusOr<std::unique_ptr<File>> file = Open(aside, Mode::kReplace);
    if (!file.ok()) return file.status();
    if (absl::Status status = (*file)->WriteAt(0, bytes); !status.ok()) return status;
    KillPoint("replace.aside-written");
    if (absl::Status status = (*file)->Sync(); !status.ok()) return status;
  }
  KillPoint("replace.aside-synced");
  if (absl::Status status = Rename(aside, path); !status.ok()) return status;
  KillPoint("replace.renamed");
  if (absl::Status status = SyncDir(DirName(path)); !status.ok()) return status;
  KillPoint("replace.folder-synced");
  return absl::OkStatus();
}

FileSystem* RealFileSystem() {
  static PosixFileSystem* const instance = new PosixFileSystem;
  return instance;
}

std::string DirName(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string JoinPath(std::string_view dir, std::string_view name) {
  std::string path(dir.empty() ? "." : dir);
  if (path.back() != '/') path.push_back('/');
  path.append(name);
  return path;
}

}  // namespace skein::storage
