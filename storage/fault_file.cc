#include "storage/fault_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "glog/logging.h"

namespace skein::storage {

struct FaultFileSystem::Node {
  bool is_dir = false;
  // A file: its bytes, those that were synced, and what was done since.
  struct Change {
    uint64_t offset;
    std::string bytes;  // a write
    bool truncate;      // or a cut to `offset`
  };
  std::string bytes;
  std::string synced;
  std::vector<Change> changes;
  // A folder: its names, those that were synced, and what was changed since; a change may set several names at once
  // (a rename), null removes.
  Names names;
  Names synced_names;
  std::vector<std::vector<std::pair<std::string, NodePtr>>> name_changes;
};

namespace {

void Overwrite(std::string* bytes, uint64_t offset, std::string_view with) {
  if (bytes->size() < offset + with.size()) bytes->resize(offset + with.size());
  std::memcpy(bytes->data() + offset, with.data(), with.size());
}

}  // namespace

class FaultFile : public File {
 public:
  FaultFile(FaultFileSystem* fs, std::string path, std::shared_ptr<FaultFileSystem::Node> node)
      : fs_(fs), path_(std::move(path)), node_(std::move(node)) {}

  absl::StatusOr<size_t> ReadAt(uint64_t offset, char* out, size_t size) override {
    if (absl::Status status = fs_->Ask(FaultFileSystem::Op::kRead, path_); !status.ok()) return status;
    const std::lock_guard<std::mutex> lock(fs_->mutex_);
    if (offset >= node_->bytes.size()) return size_t{0};
    const size_t n = std::min<uint64_t>(size, node_->bytes.size() - offset);
    std::memcpy(out, node_->bytes.data() + offset, n);
    return n;
  }

  absl::Status WriteAt(uint64_t offset, const std::vector<iovec>& pieces) override {
    if (absl::Status status = fs_->Ask(FaultFileSystem::Op::kWrite, path_); !status.ok()) return status;
    const std::lock_guard<std::mutex> lock(fs_->mutex_);
    for (const iovec& piece : pieces) {
      const size_t n = std::min<uint64_t>(piece.iov_len, fs_->room_);
      if (n > 0) {
        const std::string_view bytes(static_cast<const char*>(piece.iov_base), n);
        node_->changes.push_back({offset, std::string(bytes), false});
        Overwrite(&node_->bytes, offset, bytes);
        offset += n;
        if (fs_->room_ != FaultFileSystem::kUnlimited) fs_->room_ -= n;
      }
      if (n < piece.iov_len) return ErrnoStatus(ENOSPC, path_);
    }
    return absl::OkStatus();
  }

  absl::Status Truncate(uint64_t size) override {
    if (absl::Status status = fs_->Ask(FaultFileSystem::Op::kTruncate, path_); !status.ok()) return status;
    const std::lock_guard<std::mutex> lock(fs_->mutex_);
    if (fs_->room_ != FaultFileSystem::kUnlimited && size < node_->bytes.size())
      fs_->room_ += node_->bytes.size() - size;
    node_->changes.push_back({size, "", true});
    node_->bytes.resize(size);
    return absl::OkStatus();
  }

  absl::Status Sync() override {
    // What had been written when the sync began is what it makes durable.
    size_t begun;
    {
      const std::lock_guard<std::mutex> lock(fs_->mutex_);
      begun = node_->changes.size();
    }
    if (absl::Status status = fs_->Ask(FaultFileSystem::Op::kSync, path_); !status.ok()) return status;
    if (fs_->syncs_lie_.load()) return absl::OkStatus();
    const std::lock_guard<std::mutex> lock(fs_->mutex_);
    const auto end = node_->changes.begin() + static_cast<ptrdiff_t>(begun);
    for (auto change = node_->changes.begin(); change != end; ++change) {
      if (change->truncate) {
        node_->synced.resize(change->offset);
      } else {
        Overwrite(&node_->synced, change->offset, change->bytes);
      }
    }
    node_->changes.erase(node_->changes.begin(), end);
    fs_->syncs_.fetch_add(1);
    return absl::OkStatus();
  }

  absl::StatusOr<uint64_t> Size() override {
    const std::lock_guard<std::mutex> lock(fs_->mutex_);
    return node_->bytes.size();
  }

 private:
  FaultFileSystem* const fs_;
  const std::string path_;
  const std::shared_ptr<FaultFileSystem::Node> node_;
};

class FaultLock : public FileLock {
 public:
  FaultLock(FaultFileSystem* fs, std::string path) : fs_(fs), path_(std::move(path)) {}
  ~FaultLock() override {
    const std::lock_guard<std::mutex> lock(fs_->mutex_);
    fs_->locks_.erase(path_);
  }

 private:
  FaultFileSystem* const fs_;
  const std::string path_;
};

FaultFileSystem::FaultFileSystem() : root_(std::make_shared<Node>()) { root_->is_dir = true; }
FaultFileSystem::~FaultFileSystem() = default;

void FaultFileSystem::SetHook(Hook hook) {
  const std::lock_guard<std::mutex> lock(mutex_);
  hook_ = std::move(hook);
}

void FaultFileSystem::SetReadOnly(const std::string& path) {
  const std::lock_guard<std::mutex> lock(mutex_);
  read_only_.insert(path);
}

void FaultFileSystem::SetRoom(uint64_t bytes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  room_ = bytes;
}

absl::Status FaultFileSystem::Ask(Op op, const std::string& path) const {
  Hook hook;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    hook = hook_;
  }
  const int error = hook ? hook(op, path) : 0;
  return error == 0 ? absl::OkStatus() : ErrnoStatus(error, path);
}

FaultFileSystem::NodePtr FaultFileSystem::Find(const std::string& path) const {
  NodePtr node = root_;
  size_t at = 0;
  while (at < path.size()) {
    const size_t slash = std::min(path.find('/', at), path.size());
    const std::string name = path.substr(at, slash - at);
    at = slash + 1;
    if (name.empty() || name == ".") continue;
    if (!node->is_dir) return nullptr;
    const auto it = node->names.find(name);
    if (it == node->names.end()) return nullptr;
    node = it->second;
  }
  return node;
}

FaultFileSystem::NodePtr FaultFileSystem::Parent(const std::string& path, std::string* name) const {
  *name = path.substr(path.rfind('/') + 1);
  const NodePtr dir = Find(DirName(path));
  return dir != nullptr && dir->is_dir ? dir : nullptr;
}

void FaultFileSystem::SetName(Node* dir, std::vector<std::pair<std::string, NodePtr>> changes) {
  for (const auto& [name, node] : changes) {
    if (node == nullptr) {
      dir->names.erase(name);
    } else {
      dir->names[name] = node;
    }
  }
  dir->name_changes.push_back(std::move(changes));
}

absl::StatusOr<std::unique_ptr<File>> FaultFileSystem::Open(const std::string& path, Mode mode) {
  if (absl::Status status = Ask(Op::kOpen, path); !status.ok()) return status;
  const std::lock_guard<std::mutex> lock(mutex_);
  std::string name;
  const NodePtr dir = Parent(path, &name);
  if (dir == nullptr) return ErrnoStatus(ENOENT, path);
  const auto it = dir->names.find(name);
  NodePtr node = it != dir->names.end() ? it->second : nullptr;
  if (node != nullptr && node->is_dir) return ErrnoStatus(EISDIR, path);
  if (node != nullptr && mode != Mode::kRead && read_only_.contains(path)) return ErrnoStatus(EACCES, path);
  if (node != nullptr && mode == Mode::kCreateNew) return ErrnoStatus(EEXIST, path);
  if (node == nullptr && (mode == Mode::kRead || mode == Mode::kWrite)) return ErrnoStatus(ENOENT, path);
  if (node == nullptr) {
    node = std::make_shared<Node>();
    SetName(dir.get(), {{name, node}});
  } else if (mode == Mode::kReplace) {
    node->bytes.clear();
    node->changes.push_back({0, "", true});
  }
  return std::make_unique<FaultFile>(this, path, node);
}

absl::StatusOr<bool> FaultFileSystem::Exists(const std::string& path) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return Find(path) != nullptr;
}

absl::StatusOr<std::vector<std::string>> FaultFileSystem::List(const std::string& path) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const NodePtr dir = Find(path);
  if (dir == nullptr) return ErrnoStatus(ENOENT, path);
  if (!dir->is_dir) return ErrnoStatus(ENOTDIR, path);
  std::vector<std::string> names;
  for (const auto& [name, node] : dir->names) names.push_back(name);
  return names;
}

absl::Status FaultFileSystem::CreateDir(const std::string& path) {
  if (absl::Status status = Ask(Op::kCreateDir, path); !status.ok()) return status;
  const std::lock_guard<std::mutex> lock(mutex_);
  if (const NodePtr node = Find(path); node != nullptr) {
    return node->is_dir ? absl::OkStatus() : ErrnoStatus(ENOTDIR, path);
  }
  std::string name;
  const NodePtr dir = Parent(path, &name);
  if (dir == nullptr) return ErrnoStatus(ENOENT, path);
  auto node = std::make_shared<Node>();
  node->is_dir = true;
  SetName(dir.get(), {{name, std::move(node)}});
  return absl::OkStatus();
}

absl::Status FaultFileSystem::RemoveFile(const std::string& path) {
  if (absl::Status status = Ask(Op::kRemove, path); !status.ok()) return status;
  const std::lock_guard<std::mutex> lock(mutex_);
  const NodePtr node = Find(path);
  if (node == nullptr) return ErrnoStatus(ENOENT, path);
  if (node->is_dir) return ErrnoStatus(EISDIR, path);
  std::string name;
  SetName(Parent(path, &name).get(), {{path.substr(path.rfind('/') + 1), nullptr}});
  return absl::OkStatus();
}

absl::Status FaultFileSystem::RemoveDir(const std::string& path) {
  if (absl::Status status = Ask(Op::kRemove, path); !status.ok()) return status;
  const std::lock_guard<std::mutex> lock(mutex_);
  const NodePtr node = Find(path);
  if (node == nullptr) return ErrnoStatus(ENOENT, path);
  if (!node->is_dir) return ErrnoStatus(ENOTDIR, path);
  if (!node->names.empty()) return ErrnoStatus(ENOTEMPTY, path);
  std::string name;
  SetName(Parent(path, &name).get(), {{path.substr(path.rfind('/') + 1), nullptr}});
  return absl::OkStatus();
}

absl::Status FaultFileSystem::Rename(const std::string& from, const std::string& to) {
  if (absl::Status status = Ask(Op::kRename, to); !status.ok()) return status;
  const std::lock_guard<std::mutex> lock(mutex_);
  const NodePtr node = Find(from);
  if (node == nullptr) return ErrnoStatus(ENOENT, from);
  std::string from_name;
  std::string to_name;
  const NodePtr from_dir = Parent(from, &from_name);
  const NodePtr to_dir = Parent(to, &to_name);
  if (to_dir == nullptr) return ErrnoStatus(ENOENT, to);
  CHECK(from_dir == to_dir) << "renames between folders are not modelled";
  if (const NodePtr old = Find(to); old != nullptr) {
    if (old->is_dir != node->is_dir) return ErrnoStatus(node->is_dir ? ENOTDIR : EISDIR, to);
    if (old->is_dir && !old->names.empty()) return ErrnoStatus(ENOTEMPTY, to);
  }
  SetName(to_dir.get(), {{to_name, node}, {from_name, nullptr}});
  return absl::OkStatus();
}

absl::Status FaultFileSystem::CheckWritable(const std::string& path) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const NodePtr dir = Find(path);
  if (dir == nullptr) return ErrnoStatus(ENOENT, path);
  return dir->is_dir ? absl::OkStatus() : ErrnoStatus(ENOTDIR, path);
}

absl::Status FaultFileSystem::SyncDir(const std::string& path) {
  if (absl::Status status = Ask(Op::kSyncDir, path); !status.ok()) return status;
  const std::lock_guard<std::mutex> lock(mutex_);
  const NodePtr dir = Find(path);
  if (dir == nullptr || !dir->is_dir) return ErrnoStatus(ENOENT, path);
  dir->synced_names = dir->names;
  dir->name_changes.clear();
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<FileLock>> FaultFileSystem::Lock(const std::string& path) {
  if (absl::Status status = Ask(Op::kLock, path); !status.ok()) return status;
  const std::lock_guard<std::mutex> lock(mutex_);
  std::string name;
  const NodePtr dir = Parent(path, &name);
  if (dir == nullptr) return ErrnoStatus(ENOENT, path);
  if (dir->names.find(name) == dir->names.end()) SetName(dir.get(), {{name, std::make_shared<Node>()}});
  if (!locks_.insert(path).second) return absl::FailedPreconditionError(path + ": locked by another process");
  return std::make_unique<FaultLock>(this, path);
}

absl::StatusOr<bool> FaultFileSystem::IsLocked(const std::string& path) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return locks_.contains(path);
}

FaultFileSystem::NodePtr FaultFileSystem::Crashed(const Node& node, std::mt19937_64* rng) {
  auto after = std::make_shared<Node>();
  after->is_dir = node.is_dir;
  if (node.is_dir) {
    Names names = node.synced_names;
    // Most file systems let changes of names reach the disk in order; nobody promises it.
    const bool in_order = (*rng)() % 2 == 0;
    const size_t kept = (*rng)() % (node.name_changes.size() + 1);
    for (size_t i = 0; i < node.name_changes.size(); ++i) {
      if (in_order ? i >= kept : (*rng)() % 2 == 0) continue;
      for (const auto& [name, child] : node.name_changes[i]) {
        if (child == nullptr) {
          names.erase(name);
        } else {
          names[name] = child;
        }
      }
    }
    for (const auto& [name, child] : names) after->names[name] = Crashed(*child, rng);
    after->synced_names = after->names;
    return after;
  }
  after->bytes = node.synced;
  // Of what was done since, each piece of up to 64 bytes of each write is there or not; cuts too.
  const uint64_t odds = (*rng)() % 4;  // 0: nothing, 3: nearly everything
  for (const Node::Change& change : node.changes) {
    const auto keep = [&] { return odds == 3 ? (*rng)() % 16 != 0 : (*rng)() % 4 < odds; };
    if (change.truncate) {
      if (keep()) after->bytes.resize(change.offset);
      continue;
    }
    for (size_t at = 0; at < change.bytes.size();) {
      const size_t n = std::min<size_t>(change.bytes.size() - at, 1 + (*rng)() % 64);
      if (keep()) Overwrite(&after->bytes, change.offset + at, std::string_view(change.bytes).substr(at, n));
      at += n;
    }
  }
  after->synced = after->bytes;
  return after;
}

FaultFileSystem::NodePtr FaultFileSystem::Copy(const Node& node) {
  auto copy = std::make_shared<Node>(node);
  for (auto& [name, child] : copy->names) child = Copy(*child);
  copy->synced_names = copy->names;  // what a killed process leaves is not lost by a later loss of power in these tests
  copy->name_changes.clear();
  return copy;
}

std::unique_ptr<FaultFileSystem> FaultFileSystem::AfterPowerLoss(uint64_t seed) const {
  std::mt19937_64 rng(seed);
  auto after = std::make_unique<FaultFileSystem>();
  const std::lock_guard<std::mutex> lock(mutex_);
  after->root_ = Crashed(*root_, &rng);
  return after;
}

std::unique_ptr<FaultFileSystem> FaultFileSystem::AfterKill() const {
  auto after = std::make_unique<FaultFileSystem>();
  const std::lock_guard<std::mutex> lock(mutex_);
  after->root_ = Copy(*root_);
  return after;
}

void FaultFileSystem::Describe(const Node& node, const std::string& path, std::string* out) {
  for (const auto& [name, child] : node.names) {
    out->append(path).append(name);
    if (child->is_dir) {
      out->append("/\n");
      Describe(*child, path + name + "/", out);
    } else {
      out->append(" ").append(std::to_string(child->bytes.size())).append("\n");
    }
  }
}

std::string FaultFileSystem::Tree() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::string out;
  Describe(*root_, "", &out);
  return out;
}

std::string FaultFileSystem::Bytes(const std::string& path) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const NodePtr node = Find(path);
  CHECK(node != nullptr && !node->is_dir) << path;
  return node->bytes;
}

void FaultFileSystem::SetBytes(const std::string& path, std::string_view bytes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const NodePtr node = Find(path);
  CHECK(node != nullptr && !node->is_dir) << path;
  node->bytes = node->synced = bytes;
  node->changes.clear();
}

}  // namespace skein::storage
