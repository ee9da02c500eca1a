// A file system in memory, for tests, that can lose what was not synced, run full, fail and hang.
//
// It knows for each file what has been synced and what has been written since, and for each folder which names are
// durable. AfterPowerLoss makes the disk that a machine might find after losing power now: of each file the synced
// bytes and any part of the later writes, in any order, torn at any byte; of each folder the synced names and a prefix
// of the later changes, or any of them. Thread-safe.
#ifndef SKEIN_STORAGE_FAULT_FILE_H_
#define SKEIN_STORAGE_FAULT_FILE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "storage/file.h"

namespace skein::storage {

class FaultFileSystem : public FileSystem {
 public:
  enum class Op : uint8_t { kOpen, kRead, kWrite, kTruncate, kSync, kCreateDir, kRemove, kRename, kSyncDir, kLock };

  FaultFileSystem();
  ~FaultFileSystem() override;

  // Asked before each operation; a value other than 0 is the errno that it fails with. Called without locks, so it may
  // block or call `Set…`. Null: nothing fails.
  using Hook = std::function<int(Op op, const std::string& path)>;
  void SetHook(Hook hook);
  // How many bytes may be written before the disk is full: the write that passes it writes what fits, then fails.
  void SetRoom(uint64_t bytes);
  static constexpr uint64_t kUnlimited = ~uint64_t{0};
  // Opening this file for writing fails: it is somebody else's.
  void SetReadOnly(const std::string& path);
  // Syncs of files say that they are done and make nothing durable: what a reply before the sync comes to.
  void SetSyncsLie(bool yes) { syncs_lie_.store(yes); }

  // The disk after losing power at this instant.
  std::unique_ptr<FaultFileSystem> AfterPowerLoss(uint64_t seed) const;
  // The disk after the process is killed at this instant: everything written is there.
  std::unique_ptr<FaultFileSystem> AfterKill() const;

  uint64_t syncs() const { return syncs_.load(); }
  // Every path, folders with a slash at the end, sorted, with sizes: to see that nothing was touched.
  std::string Tree() const;
  // The bytes of a file, CHECKed to exist.
  std::string Bytes(const std::string& path);
  void SetBytes(const std::string& path, std::string_view bytes);

  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path, Mode mode) override;
  absl::StatusOr<bool> Exists(const std::string& path) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override;
  absl::Status CreateDir(const std::string& path) override;
  absl::Status RemoveFile(const std::string& path) override;
  absl::Status RemoveDir(const std::string& path) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status CheckWritable(const std::string& path) override;
  absl::Status SyncDir(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) override;
  absl::StatusOr<bool> IsLocked(const std::string& path) override;

 private:
  friend class FaultFile;
  friend class FaultLock;
  struct Node;
  using NodePtr = std::shared_ptr<Node>;
  using Names = std::map<std::string, NodePtr>;

  absl::Status Ask(Op op, const std::string& path) const;
  NodePtr Find(const std::string& path) const;
  // The folder that `path` is in and its last name; null if there is no such folder.
  NodePtr Parent(const std::string& path, std::string* name) const;
  static void SetName(Node* dir, std::vector<std::pair<std::string, NodePtr>> changes);
  static NodePtr Crashed(const Node& node, std::mt19937_64* rng);
  static NodePtr Copy(const Node& node);
  static void Describe(const Node& node, const std::string& path, std::string* out);

  mutable std::mutex mutex_;
  NodePtr root_;
  Hook hook_;
  uint64_t room_ = kUnlimited;
  std::set<std::string> locks_;
  std::set<std::string> read_only_;
  std::atomic<uint64_t> syncs_{0};
  std::atomic<bool> syncs_lie_{false};
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_FAULT_FILE_H_
