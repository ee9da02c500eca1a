#include "bus/state_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "bus/link/frame.h"
#include "proto/node_state.pb.h"

namespace skein::bus {
namespace {

constexpr std::string_view kMagic = "SKEIN BUS STATE\n";
constexpr uint32_t kVersion = 1;
constexpr size_t kHeaderBytes = 16 + 4 + 4 + 4;  // magic, version, length, checksum
constexpr uint64_t kMaxBytes = 256u << 20;

void Put32(std::string* to, uint32_t v) {
  for (int i = 0; i < 4; ++i) to->push_back(static_cast<char>(v >> (8 * i)));
}
uint32_t Get32(std::string_view from) {
  uint32_t v = 0;
  for (size_t i = 0; i < 4; ++i) v |= static_cast<uint32_t>(static_cast<uint8_t>(from[i])) << (8 * i);
  return v;
}

std::string Because(const std::string& what, const std::string& path, int error) {
  return absl::StrCat("cannot ", what, " ", path, ": ", strerror(error));
}

std::string WayOut(const std::string& path) {
  return absl::StrCat(". Restore it from a backup, or move it away (mv ", path, " ", path,
                      ".bad): the node then starts with a new id and has to join the cluster anew");
}

std::string Folder(const std::string& path) {
  size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// nodes.conf of Redis and Valkey: lines of node ids and one that starts with "vars currentEpoch".
bool LooksLikeRedis(std::string_view bytes) {
  return bytes.starts_with("vars ") || bytes.find("vars currentEpoch") != std::string_view::npos ||
         (bytes.size() > 41 && IsNodeId(bytes.substr(0, 40)) && bytes[40] == ' ');
}

absl::StatusOr<StatePtr> Decode(const std::string& path, std::string_view bytes) {
  if (bytes.size() < kMagic.size() || bytes.substr(0, kMagic.size()) != kMagic) {
    if (LooksLikeRedis(bytes)) {
      return absl::FailedPreconditionError(
          absl::StrCat(path,
                       " is a cluster configuration file of Redis or Valkey, whose bus Skein does not speak. Move it "
                       "away (mv ",
                       path, " ", path, ".redis), or name another with cluster-config-file"));
    }
    // A prefix of ours is a damaged file of ours, as is an empty one.
    if (bytes.size() < kMagic.size() && kMagic.starts_with(bytes)) {
      return absl::DataLossError(
          absl::StrCat(path, " is damaged: it ends after ", bytes.size(), " bytes", WayOut(path)));
    }
    return absl::FailedPreconditionError(absl::StrCat(
        path, " is not a cluster state file of Skein. Move it away, or name another with cluster-config-file"));
  }
  if (bytes.size() < kHeaderBytes) {
    return absl::DataLossError(absl::StrCat(path, " is damaged: it ends within its header", WayOut(path)));
  }
  uint32_t version = Get32(bytes.substr(16));
  uint32_t length = Get32(bytes.substr(20));
  uint32_t checksum = Get32(bytes.substr(24));
  if (version > kVersion) {
    return absl::FailedPreconditionError(absl::StrCat(path, " was written by a newer Skein (format ", version,
                                                      ", this one reads up to ", kVersion,
                                                      "). Start that version, or move the file away"));
  }
  std::string_view payload = bytes.substr(kHeaderBytes);
  if (version == 0 || payload.size() != length) {
    return absl::DataLossError(
        absl::StrCat(path, " is damaged: its header says ", length, " bytes, it has ", payload.size(), WayOut(path)));
  }
  std::string covered(bytes.substr(0, 24));
  covered += payload;
  if (Crc32c(covered.data(), covered.size()) != checksum) {
    return absl::DataLossError(absl::StrCat(path, " is damaged: its checksum does not match", WayOut(path)));
  }
  auto state = std::make_shared<proto::NodeState>();
  if (!state->ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
    return absl::DataLossError(absl::StrCat(path, " is damaged: its contents cannot be decoded", WayOut(path)));
  }
  return StatePtr(std::move(state));
}

absl::Status WriteWhole(int fd, const std::string& path, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return absl::UnavailableError(Because("write", path, n < 0 ? errno : ENOSPC));
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

}  // namespace

std::string StatePath(const std::string& dir, const std::string& file) {
  if (file.starts_with("/") || dir.empty()) return file;
  return absl::StrCat(dir, dir.ends_with("/") ? "" : "/", file);
}

absl::StatusOr<StatePtr> LoadState(const std::string& path) {
  Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    if (errno == ENOENT) return StatePtr();
    return absl::FailedPreconditionError(Because("open", path, errno));
  }
  struct stat info {};
  if (fstat(fd.get(), &info) != 0) return absl::FailedPreconditionError(Because("read", path, errno));
  if (!S_ISREG(info.st_mode)) {
    return absl::FailedPreconditionError(absl::StrCat(path,
                                                      " is not a regular file; name another with "
                                                      "cluster-config-file"));
  }
  if (static_cast<uint64_t>(info.st_size) > kMaxBytes) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is not a cluster state file of Skein: it has ", info.st_size, " bytes"));
  }
  std::string bytes(static_cast<size_t>(info.st_size), '\0');
  size_t have = 0;
  while (have < bytes.size()) {
    ssize_t n = read(fd.get(), bytes.data() + have, bytes.size() - have);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return absl::FailedPreconditionError(Because("read", path, errno));
    if (n == 0) break;
    have += static_cast<size_t>(n);
  }
  bytes.resize(have);
  return Decode(path, bytes);
}

absl::Status SaveState(const std::string& path, const proto::NodeState& state) {
  std::string payload;
  if (!state.SerializeToString(&payload) || payload.size() > kMaxBytes) {
    return absl::InternalError("the cluster state is too large to be written");
  }
  std::string bytes(kMagic);
  Put32(&bytes, kVersion);
  Put32(&bytes, static_cast<uint32_t>(payload.size()));
  std::string covered = bytes + payload;
  Put32(&bytes, Crc32c(covered.data(), covered.size()));
  bytes += payload;

  // One writer at a time, by the lock: the name aside needs no randomness, and a left-over is overwritten.
  std::string aside = path + ".new";
  Fd fd(open(aside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd) return absl::UnavailableError(Because("create", aside, errno));
  if (absl::Status written = WriteWhole(fd.get(), aside, bytes); !written.ok()) return written;
  if (fsync(fd.get()) != 0) return absl::UnavailableError(Because("sync", aside, errno));
  fd.Reset();
  if (rename(aside.c_str(), path.c_str()) != 0) return absl::UnavailableError(Because("rename", aside, errno));
  std::string folder = Folder(path);
  Fd folder_fd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder_fd || fsync(folder_fd.get()) != 0) return absl::UnavailableError(Because("sync", folder, errno));
  return absl::OkStatus();
}

absl::StatusOr<StateLock> StateLock::Take(const std::string& path) {
  std::string name = path + ".lock";
  Fd fd(open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!fd) return absl::FailedPreconditionError(Because("open", name, errno));
  int locked;
  do {
    locked = flock(fd.get(), LOCK_EX | LOCK_NB);
  } while (locked != 0 && errno == EINTR);
  if (locked != 0) {
    if (errno == EWOULDBLOCK) {
      return absl::FailedPreconditionError(
          absl::StrCat(path,
                       " is in use by another process. Stop that one, or give this node another dir or "
                       "cluster-config-file"));
    }
    return absl::FailedPreconditionError(Because("lock", name, errno));
  }
  return StateLock(std::move(fd));
}

}  // namespace skein::bus
