#include "ops/aof_tool/folder.h"

#include <algorithm>
#include <filesystem>
#include <tuple>

#include "ops/aof_tool/text.h"
#include "storage/flip.h"
#include "storage/import/import.h"
#include "storage/layout.h"
#include "storage/runbook.h"

namespace skein::ops {

using storage::FileSystem;
using storage::JoinPath;
using storage::Manifest;

namespace {

bool IsFolder(FileSystem* fs, const std::string& path) { return fs->List(path).ok(); }

// Whether the path itself is an append-only folder.
bool LooksAppendOnly(FileSystem* fs, const std::string& path) {
  const absl::StatusOr<std::vector<std::string>> names = fs->List(path);
  if (!names.ok()) return false;
  return std::any_of(names->begin(), names->end(),
                     [](const std::string& name) { return name == storage::kManifestName || name == "shard-0"; });
}

std::optional<uint64_t> Between(std::string_view name, std::string_view prefix, std::string_view suffix) {
  if (name.size() <= prefix.size() + suffix.size() || !name.starts_with(prefix) || !name.ends_with(suffix)) {
    return std::nullopt;
  }
  name.remove_prefix(prefix.size());
  name.remove_suffix(suffix.size());
  if (name.size() > 1 && name.front() == '0') return std::nullopt;
  return ParseNumber(name);
}

}  // namespace

storage::DataSetOptions OptionsOf(const Tool& tool, const std::string& path) {
  storage::DataSetOptions options;
  options.dir = storage::DirName(path);
  options.append_dir = path.substr(path.rfind('/') + 1);
  options.append_only = true;
  options.databases = storage::kMaxDatabases;
  options.fs = tool.fs;
  return options;
}

bool IsLoneFile(const Arguments& arguments) { return arguments.dir().ends_with(".aof"); }

absl::StatusOr<Folder> FindFolder(const Tool& tool, const Arguments& arguments) {
  // The lock stands beside the folder: "." must become a name.
  std::string given = std::filesystem::absolute(arguments.dir()).lexically_normal().string();
  while (given.size() > 1 && given.back() == '/') given.pop_back();
  const std::string inner = JoinPath(given, arguments.append_dir());
  Folder folder;
  if (IsFolder(tool.fs, inner) || IsFolder(tool.fs, inner + ".new")) {
    folder.place = inner;
  } else if (LooksAppendOnly(tool.fs, given)) {
    folder.place = given;
  } else if (IsFolder(tool.fs, given)) {
    return absl::NotFoundError(given + ": there is no append-only folder (" + arguments.append_dir() +
                               ") here, and this is none");
  } else {
    return absl::NotFoundError(given + ": there is no such folder, or it cannot be read");
  }
  const storage::DataSetOptions options = OptionsOf(tool, folder.place);
  const absl::StatusOr<std::optional<std::vector<storage::Move>>> pending =
      storage::PendingFlip(tool.fs, options.dir, options.append_dir);
  if (!pending.ok()) return pending.status();
  folder.path = pending->has_value() ? folder.place + ".new" : folder.place;
  const absl::StatusOr<bool> locked = tool.fs->IsLocked(folder.lock_path());
  if (!locked.ok()) return locked.status();
  folder.in_use = *locked;
  if (absl::Status status = LoadManifestOf(tool, &folder); !status.ok()) return status;
  return folder;
}

void SayState(const Tool& tool, const Folder& folder) {
  if (folder.in_use) {
    tool.console->Err("note: a running process has " + folder.place +
                      "; what is shown may be behind it, and an incomplete end may be a write that is under way\n");
  }
  if (folder.path != folder.place) {
    tool.console->Err("note: an interrupted change is finished by the next start; shown is what it makes, " +
                      folder.path + "\n");
  }
}

absl::Status LoadManifestOf(const Tool& tool, Folder* folder) {
  const storage::DataSetOptions options = OptionsOf(tool, folder->place);
  // Before the first start on it, a folder of Redis or Valkey.
  if (folder->path == folder->place) {
    const absl::StatusOr<std::optional<storage::ImportSource>> redis = storage::FindImport(options);
    if (!redis.ok()) return redis.status();
    if (redis->has_value()) {
      return absl::FailedPreconditionError((*redis)->path +
                                           ": is data of Redis or Valkey, which skein-node takes in when it starts" +
                                           storage::SeeRunbook("from-redis"));
    }
  }
  absl::StatusOr<std::optional<Manifest>> manifest = storage::LoadManifestFrom(folder->path, options);
  if (!manifest.ok()) {
    folder->manifest = manifest.status();
  } else if (manifest->has_value()) {
    folder->manifest = **std::move(manifest);
  } else {
    return absl::NotFoundError(folder->path + ": is empty: there is no data set here yet");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<storage::FileLock>> TakeFolder(const Tool& tool, Folder* folder) {
  const storage::DataSetOptions options = OptionsOf(tool, folder->place);
  absl::StatusOr<std::unique_ptr<storage::FileLock>> lock = storage::LockFolder(options);
  if (!lock.ok()) return lock;
  if (absl::Status status = storage::FinishInterrupted(options); !status.ok()) return status;
  folder->path = folder->place;
  // Between looking and locking another process may have changed it.
  if (absl::Status status = LoadManifestOf(tool, folder); !status.ok()) return status;
  return lock;
}

absl::StatusOr<std::vector<FoundFile>> ListFiles(FileSystem* fs, const std::string& path) {
  const absl::StatusOr<std::vector<std::string>> shards = fs->List(path);
  if (!shards.ok()) return shards.status();
  std::vector<FoundFile> files;
  for (const std::string& shard_name : *shards) {
    const std::optional<uint64_t> shard = Between(shard_name, "shard-", "");
    if (!shard.has_value() || *shard >= storage::kMaxShards) continue;
    const absl::StatusOr<std::vector<std::string>> names = fs->List(JoinPath(path, shard_name));
    if (!names.ok()) return names.status();
    for (const std::string& name : *names) {
      FoundFile file;
      file.name = JoinPath(shard_name, name);
      file.shard = static_cast<uint32_t>(*shard);
      std::optional<uint64_t> sequence = Between(name, "incr.", ".aof");
      if (!sequence.has_value()) {
        sequence = Between(name, "base.", ".rdb");
        file.base = true;
      }
      if (!sequence.has_value()) continue;
      file.sequence = *sequence;
      const absl::StatusOr<uint64_t> size = FileSize(fs, JoinPath(path, file.name));
      if (!size.ok()) return size.status();
      file.size = *size;
      files.push_back(std::move(file));
    }
  }
  std::sort(files.begin(), files.end(), [](const FoundFile& a, const FoundFile& b) {
    return std::tuple(a.shard, !a.base, a.sequence) < std::tuple(b.shard, !b.base, b.sequence);
  });
  return files;
}

absl::StatusOr<uint64_t> FileSize(FileSystem* fs, const std::string& path) {
  const absl::StatusOr<std::unique_ptr<storage::File>> file = fs->Open(path, FileSystem::Mode::kRead);
  if (!file.ok()) return file.status();
  return (*file)->Size();
}

uint64_t ListedBytes(FileSystem* fs, const std::string& path, const Manifest& manifest) {
  uint64_t total = 0;
  const auto add = [&](const std::string& name) {
    const absl::StatusOr<uint64_t> size = FileSize(fs, JoinPath(path, name));
    if (size.ok()) total += *size;
  };
  for (uint32_t shard = 0; shard < manifest.shards.size(); ++shard) {
    if (manifest.shards[shard].base.has_value()) add(storage::BaseName(shard, manifest.shards[shard].base->sequence));
    for (const Manifest::FileRef& incr : manifest.shards[shard].incrs) add(storage::IncrName(shard, incr.sequence));
  }
  return total;
}

std::string_view ChosenName(Manifest::Chosen chosen) {
  static constexpr std::string_view kNames[] = {"configured", "defaulted", "inherited"};
  return kNames[static_cast<size_t>(chosen)];
}

}  // namespace skein::ops
