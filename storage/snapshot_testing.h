// For tests of snapshots: sinks that read what they get, at once or later.
#ifndef SKEIN_STORAGE_SNAPSHOT_TESTING_H_
#define SKEIN_STORAGE_SNAPSHOT_TESTING_H_

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "storage/shard.h"
#include "storage/shard_testing.h"
#include "storage/snapshot.h"

namespace skein::storage {

// Value and expiry of each key of each database.
using Contents = std::map<std::pair<uint32_t, std::string>, std::pair<std::string, UnixMillis>>;

inline Contents ContentsOf(const Shard& shard) {
  Contents contents;
  for (auto& [where, held] : PictureOf(shard)) contents[where] = {held.value, held.expire_at};
  return contents;
}

// What chunks have brought together.
class Collected {
 public:
  void Add(const SnapshotChunk& chunk) {
    uint64_t keys = 0;
    chunk.ForEach([&](const RdbItem& item) {
      ++keys;
      const bool fresh =
          contents_.insert({{item.db, std::string(item.key)}, {std::string(item.string), item.expire_at}}).second;
      repeated_ += !fresh;
    });
    miscounted_ += keys != chunk.keys();
  }
  const Contents& contents() const { return contents_; }
  // Keys that came twice, and chunks that held another number of keys than they said.
  uint64_t repeated() const { return repeated_; }
  uint64_t miscounted() const { return miscounted_; }

 private:
  Contents contents_;
  uint64_t repeated_ = 0, miscounted_ = 0;
};

// Keeps chunks until Read, on the shard's thread.
class HoldingSink final : public SnapshotSink {
 public:
  void Take(uint32_t /*shard*/, std::unique_ptr<SnapshotChunk> chunk) override { chunks_.push_back(std::move(chunk)); }
  void End(uint32_t /*shard*/, absl::Status status) override {
    ++ends_;
    end_ = std::move(status);
  }
  // Reads and destroys the oldest ones.
  void Read(size_t chunks) {
    for (; chunks > 0 && !chunks_.empty(); --chunks) {
      collected_.Add(*chunks_.front());
      chunks_.pop_front();
    }
  }
  void ReadAll() { Read(chunks_.size()); }
  size_t waiting() const { return chunks_.size(); }
  const Collected& collected() const { return collected_; }
  int ends() const { return ends_; }
  const std::optional<absl::Status>& end() const { return end_; }

 private:
  std::deque<std::unique_ptr<SnapshotChunk>> chunks_;
  Collected collected_;
  std::optional<absl::Status> end_;
  int ends_ = 0;
};

// Keeps chunks back until it is opened, then reads each at once; any thread.
class GateSink final : public SnapshotSink {
 public:
  void Take(uint32_t /*shard*/, std::unique_ptr<SnapshotChunk> chunk) override {
    const std::lock_guard lock(mutex_);
    if (open_) {
      collected_.Add(*chunk);
    } else {
      held_.push_back(std::move(chunk));
    }
  }
  void End(uint32_t /*shard*/, absl::Status status) override {
    const std::lock_guard lock(mutex_);
    ++ends_;
    end_ = std::move(status);
  }
  void Open() {
    std::deque<std::unique_ptr<SnapshotChunk>> held;
    {
      const std::lock_guard lock(mutex_);
      open_ = true;
      held.swap(held_);
      for (const auto& chunk : held) collected_.Add(*chunk);
    }
  }
  int ends() const {
    const std::lock_guard lock(mutex_);
    return ends_;
  }
  // After the end.
  absl::Status end() const {
    const std::lock_guard lock(mutex_);
    return *end_;
  }
  const Collected& collected() const { return collected_; }

 private:
  mutable std::mutex mutex_;
  bool open_ = false;
  std::deque<std::unique_ptr<SnapshotChunk>> held_;
  Collected collected_;
  std::optional<absl::Status> end_;
  int ends_ = 0;
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_SNAPSHOT_TESTING_H_
