// For tests of what changes the files of an open data set: one on a disk that fails as it is told, and what should be
// in it.
#ifndef SKEIN_STORAGE_LOG_CHANGE_TESTING_H_
#define SKEIN_STORAGE_LOG_CHANGE_TESTING_H_

#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "storage/log_testing.h"

namespace skein::storage {

inline constexpr char kChangeDir[] = "/appendonlydir/";

class ChangeTest : public testing::Test {
 protected:
  void Open(AppendFsync fsync = AppendFsync::kAlways, uint32_t shards = 1, AofOptions tuning = Brisk()) {
    DataSetOptions options = TestOptions(&fs_, shards, fsync);
    options.on_progress = [this](uint32_t) { progress_.Poke(); };
    options.on_fatal = [](const std::string&) {};
    opened_ = OpenSet(options, tuning);
    ASSERT_TRUE(opened_.status.ok()) << opened_.status;
    want_.resize(shards);
    for (uint32_t i = 0; i < shards; ++i) want_[i] = opened_.sinks[i].bodies;
  }
  LogSet& set() { return *opened_.set; }
  Log& log(uint32_t shard = 0) { return set().log(shard); }
  Lsn Append(const std::string& value, uint32_t shard = 0) {
    want_[shard].push_back(Body({"SET", "k", value}));
    return AppendSet(&log(shard), "k", value);
  }
  bool AwaitDurable(Lsn lsn, uint32_t shard = 0) {
    return progress_.Await([&] { return log(shard).durable() >= lsn; });
  }
  // A file in the place of a base; nobody reads it here.
  LogSet::NewBase WriteBase(uint32_t shard = 0) {
    const LogSet::NewBase base = set().NextBase(shard);
    auto file = fs_.Open(base.path, FileSystem::Mode::kCreateNew);
    EXPECT_TRUE(file.ok()) << file.status();
    EXPECT_TRUE((*file)->WriteAt(0, "base").ok());
    EXPECT_TRUE((*file)->Sync().ok());
    return base;
  }
  Manifest::Shard Entry(uint32_t shard = 0) { return set().manifest().shards[shard]; }
  bool Exists(const std::string& name) { return *fs_.Exists(kChangeDir + name); }
  void ExpectAllOn(std::unique_ptr<FaultFileSystem> fs) {
    OpenedSet opened = OpenSet(TestOptions(fs.get(), static_cast<uint32_t>(want_.size())));
    ASSERT_TRUE(opened.status.ok()) << opened.status;
    for (size_t i = 0; i < want_.size(); ++i) EXPECT_EQ(opened.sinks[i].bodies, want_[i]);
  }

  FaultFileSystem fs_;
  Progress progress_;
  std::vector<std::vector<std::string>> want_;
  OpenedSet opened_;
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_LOG_CHANGE_TESTING_H_
