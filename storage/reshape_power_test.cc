// Power lost, processes killed and operations failing at every step of what changes a data set as a whole: conversion,
// change of the number of shards, restore, export. Either the old state is there and the step can be taken again, or
// the new one is whole; and what there was is never lost.
#include <atomic>
#include <cerrno>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "glog/logging.h"
#include "gtest/gtest.h"
#include "storage/export.h"
#include "storage/flip.h"
#include "storage/kill_point.h"
#include "storage/reshape_testing.h"
#include "storage/reshard.h"
#include "storage/restore.h"
#include "tests/sanitized.h"

namespace skein::storage {
namespace {

// Each crash leaves a line or two in the log.
[[maybe_unused]] const bool quiet = (FLAGS_minloglevel = google::GLOG_FATAL, true);

using Op = FaultFileSystem::Op;
using Files = std::map<std::string, std::string>;
using Step = std::function<absl::Status(FileSystem*)>;

constexpr uint64_t kSeeds = kSanitized ? 1 : 3;

// Whatever stands on the disk, by path.
void Collect(FaultFileSystem* fs, const std::string& dir, Files* files) {
  const absl::StatusOr<std::vector<std::string>> names = fs->List(dir);
  ASSERT_TRUE(names.ok()) << names.status();
  for (const std::string& name : *names) {
    const std::string path = JoinPath(dir, name);
    if (fs->List(path).ok()) {
      Collect(fs, path, files);
    } else {
      (*files)[path] = fs->Bytes(path);
    }
  }
}

Files AllFiles(FaultFileSystem* fs) {
  Files files;
  Collect(fs, "/", &files);
  return files;
}

// The same as one text, folders included.
std::string Everything(FaultFileSystem* fs) {
  std::string text = fs->Tree();
  for (const auto& [path, bytes] : AllFiles(fs)) text += path + '\n' + bytes + '\n';
  return text;
}

// Every one of the `originals` still stands somewhere, byte for byte.
void ExpectKept(const Files& originals, FaultFileSystem* fs, const std::string& what) {
  const Files found = AllFiles(fs);
  for (const auto& [path, bytes] : originals) {
    bool kept = false;
    for (const auto& [where, there] : found) kept = kept || there == bytes;
    ASSERT_TRUE(kept) << what << ": " << path << " is lost\n" << fs->Tree();
  }
}

// A disk as a crash may have left it.
struct Image {
  std::string what;
  std::unique_ptr<FaultFileSystem> disk;
  bool done = false;  // the step had been reported as taken
};

// Takes a step on a copy of `start`; the disks that would be found if the process was killed or the power lost before
// any of its operations or at any of its kill points, and after it; each once.
std::vector<Image> CrashesOf(const FaultFileSystem& start, const Step& step, uint64_t seeds = kSeeds) {
  const std::unique_ptr<FaultFileSystem> fs = start.AfterKill();
  std::mutex mutex;
  std::vector<Image> images;
  std::atomic<uint64_t> operations{0};
  std::set<std::pair<bool, std::string>> seen;
  const auto add = [&](const std::string& what, std::unique_ptr<FaultFileSystem> disk, bool done) {
    if (seen.emplace(done, Everything(disk.get())).second) images.push_back({what, std::move(disk), done});
  };
  const auto take = [&](const std::string& what, bool done) {
    const std::lock_guard<std::mutex> lock(mutex);
    add(what + ", killed", fs->AfterKill(), done);
    for (uint64_t seed = 0; seed < seeds; ++seed) {
      add(what + ", power lost " + std::to_string(seed), fs->AfterPowerLoss(images.size() * 7 + seed), done);
    }
  };
  fs->SetHook([&](Op op, const std::string& path) {
    if (op == Op::kRead || op == Op::kOpen) return 0;  // nothing changes between these
    take("operation " + std::to_string(operations++) + " on " + path, false);
    return 0;
  });
  SetKillPointHook([&](std::string_view name) { take(std::string(name), false); });
  const absl::Status status = step(fs.get());
  SetKillPointHook(nullptr);
  fs->SetHook(nullptr);
  EXPECT_TRUE(status.ok()) << status;
  take("the end", true);
  return images;
}

// The same step, with each operation in turn failing, alone or with all that come after it.
std::vector<Image> FailuresOf(const FaultFileSystem& start, const Step& step) {
  std::vector<Image> images;
  for (const bool from_there_on : {false, true}) {
    bool reached = true;
    for (uint64_t nth = 0; reached; ++nth) {
      std::unique_ptr<FaultFileSystem> fs = start.AfterKill();
      std::atomic<uint64_t> operations{0};
      fs->SetHook([&](Op op, const std::string&) {
        if (op == Op::kRead) return 0;
        const uint64_t now = operations++;
        return now == nth || (from_there_on && now > nth) ? EIO : 0;
      });
      const absl::Status status = step(fs.get());
      fs->SetHook(nullptr);
      reached = operations > nth;
      EXPECT_TRUE(reached || status.ok()) << status;
      const std::string what = "operation " + std::to_string(nth) + (from_there_on ? " and all later ones" : "") +
                               " failed" + (status.ok() ? ", and the step did not" : "");
      if (!from_there_on) images.push_back({what + ", then the power", fs->AfterPowerLoss(nth), status.ok()});
      images.push_back({what, std::move(fs), status.ok()});
    }
  }
  return images;
}

// ---- Conversion ----------------------------------------------------------------------------------------------------

struct Left {
  const char* name;
  void (*put)(FaultFileSystem* fs);
  Picture want;
};

class Conversion : public testing::TestWithParam<Left> {
 protected:
  // An interrupted conversion made kTold shards; a start that has to convert anew makes kAnew.
  static constexpr uint32_t kTold = 2, kAnew = 1;
  static absl::Status Convert(FileSystem* disk) { return DataSet::Open(Options(disk, kTold)).status(); }

  void SetUp() override {
    FaultFileSystem made;
    GetParam().put(&made);
    start_ = made.AfterKill();
    originals_ = AllFiles(start_.get());
  }

  void Look(const Image& image, std::map<uint32_t, int>* outcomes) {
    ExpectKept(originals_, image.disk.get(), image.what);
    if (HasFatalFailure()) return;
    DataSetOptions options = Options(image.disk.get(), kAnew);
    options.shards_configured = false;
    const absl::Status checked = DataSet::Check(options);
    ASSERT_TRUE(checked.ok()) << image.what << ": " << checked;
    for (int start = 0; start < 2; ++start) {
      const std::unique_ptr<DataSet> set = MustOpen(options);
      ASSERT_NE(set, nullptr) << image.what << "\n" << image.disk->Tree();
      ASSERT_EQ(AllOf(set.get()), GetParam().want) << image.what;
      ASSERT_TRUE(set->shard_count() == kAnew || set->shard_count() == kTold) << image.what;
      ASSERT_TRUE(set->shard_count() == kTold || !image.done) << image.what << ": what was reported is kept";
      ++(*outcomes)[set->shard_count()];
    }
    ExpectKept(originals_, image.disk.get(), image.what);
  }

  std::unique_ptr<FaultFileSystem> start_;
  Files originals_;
};

TEST_P(Conversion, L12_AnyCrashLeavesTheOldOrTheNew) {
  std::map<uint32_t, int> outcomes;
  for (const Image& image : CrashesOf(*start_, Convert)) {
    Look(image, &outcomes);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(outcomes[kTold], 0);
  EXPECT_GT(outcomes[kAnew], 10);
}

TEST_P(Conversion, L12_ACrashOfTheStartThatFinishesItDoesNoHarm) {
  int interrupted = 0;
  for (const Image& image : CrashesOf(*start_, Convert, 1)) {
    const auto pending = PendingFlip(image.disk.get(), "/", "appendonlydir");
    ASSERT_TRUE(pending.ok()) << pending.status();
    if (!pending->has_value()) continue;
    ++interrupted;
    std::map<uint32_t, int> outcomes;
    for (const Image& again : CrashesOf(
             *image.disk,
             [](FileSystem* disk) {
               DataSetOptions options = Options(disk, kAnew);
               options.shards_configured = false;
               return DataSet::Open(options).status();
             },
             1)) {
      Look({image.what + "; " + again.what, again.disk->AfterKill(), /*done=*/true}, &outcomes);
      if (HasFatalFailure()) return;
    }
    EXPECT_EQ(outcomes[kAnew], 0) << "a flip that has begun is finished";
  }
  EXPECT_GT(interrupted, 0);
}

TEST_P(Conversion, L12_AnyOperationMayFail) {
  std::map<uint32_t, int> outcomes;
  for (const Image& image : FailuresOf(*start_, Convert)) {
    Look(image, &outcomes);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(outcomes[kTold], 0);
  EXPECT_GT(outcomes[kAnew], 0);
}

INSTANTIATE_TEST_SUITE_P(
    , Conversion,
    testing::Values(Left{"Folder", PutRedisFolder, PictureOfStrings(kFolder)},
                    Left{"SingleFile", [](FaultFileSystem* fs) { Put(fs, "/appendonly.aof", Tail()); },
                         PictureOfStrings({{"b", "second"}, {"c", "third"}})},
                    Left{"SingleFileWithAnRdbInFront",
                         [](FaultFileSystem* fs) {
                           Put(fs, "/appendonly.aof", Rdb({{"a", "first"}, {"x", "leaves"}}) + Tail());
                           // Not read, because of the other one; and not lost either.
                           Put(fs, "/dump.rdb", Rdb({{"old", "of an earlier time"}}));
                         },
                         PictureOfStrings({{"a", "first"}, {"b", "second"}, {"c", "third"}})},
                    Left{"DumpFile",
                         [](FaultFileSystem* fs) {
                           Put(fs, "/dump.rdb", Rdb({{"a", "first"}, {"b", "second"}}));
                         },
                         PictureOfStrings({{"a", "first"}, {"b", "second"}})}),
    [](const auto& info) { return std::string(info.param.name); });

// ---- Offline changes -----------------------------------------------------------------------------------------------

// A data set at rest, and a folder for another one.
class Offline : public testing::Test {
 protected:
  void SetUp() override {
    FaultFileSystem made;
    all_ = Fill(&made);
    ASSERT_TRUE(made.CreateDir(kTarget).ok());
    start_ = made.AfterKill();
    originals_ = AllFiles(start_.get());
  }

  static Picture Open(FaultFileSystem* fs, const std::string& dir, uint32_t* shards) {
    DataSetOptions options = Options(fs, 1);
    options.dir = dir;
    options.shards_configured = false;
    const absl::Status checked = DataSet::Check(options);
    EXPECT_TRUE(checked.ok()) << checked;
    const std::unique_ptr<DataSet> set = MustOpen(options);
    if (set == nullptr) return {};
    *shards = set->shard_count();
    return AllOf(set.get());
  }

  // A step that makes a data set in kTarget: the source is as it was, and the target whole or made by taking it again.
  void LookAtTarget(const Image& image, const Step& step, const Picture& want, uint32_t want_shards, int* found_whole) {
    const Files now = AllFiles(image.disk.get());
    ExpectUnchanged(now, image.what);
    const bool whole = now.contains(std::string(kTarget) + "/appendonlydir/manifest");
    ASSERT_TRUE(whole || !image.done) << image.what << ": what was reported is kept";
    *found_whole += whole;
    if (!whole) {
      const absl::Status again = step(image.disk.get());
      ASSERT_TRUE(again.ok()) << image.what << ": " << again << "\n" << image.disk->Tree();
    }
    uint32_t shards = 0;
    ASSERT_EQ(Open(image.disk.get(), kTarget, &shards), want) << image.what;
    ASSERT_EQ(shards, want_shards) << image.what;
    ExpectUnchanged(AllFiles(image.disk.get()), image.what);
  }

  void ExpectUnchanged(const Files& now, const std::string& what) {
    for (const auto& [path, bytes] : originals_) {
      ASSERT_TRUE(now.contains(path) && now.at(path) == bytes) << what << ": " << path << " is changed";
    }
  }

  void ExpectWholeOrAgain(const Step& step, const Picture& want, uint32_t shards) {
    for (const std::vector<Image>& images : {CrashesOf(*start_, step), FailuresOf(*start_, step)}) {
      int whole = 0;
      for (const Image& image : images) {
        LookAtTarget(image, step, want, shards, &whole);
        if (HasFatalFailure()) return;
      }
      EXPECT_GT(whole, 0);
      EXPECT_LT(whole, static_cast<int>(images.size()));
      EXPECT_GT(images.size(), 15u);
    }
  }

  Picture all_;
  std::unique_ptr<FaultFileSystem> start_;
  Files originals_;
};

TEST_F(Offline, L12_ReshardInPlaceLeavesTheOldOrTheNew) {
  constexpr uint32_t kTo = 2;
  const Step step = [](FileSystem* disk) { return Reshard({.place = {.dir = "/", .fs = disk}, .to = kTo}).status(); };
  originals_.erase("/appendonlydir.lock");
  for (const std::vector<Image>& images : {CrashesOf(*start_, step), FailuresOf(*start_, step)}) {
    std::map<uint32_t, int> outcomes;
    for (const Image& image : images) {
      ExpectKept(originals_, image.disk.get(), image.what);
      if (HasFatalFailure()) return;
      uint32_t shards = 0;
      ASSERT_EQ(Open(image.disk.get(), "/", &shards), all_) << image.what;
      ASSERT_TRUE(shards == kTo || (shards == kShards && !image.done)) << image.what;
      ++outcomes[shards];
      if (shards == kTo) {
        ExpectKept(originals_, image.disk.get(), image.what);
        continue;
      }
      ASSERT_TRUE(step(image.disk.get()).ok()) << image.what << ": it can be run again";
      ASSERT_EQ(Open(image.disk.get(), "/", &shards), all_) << image.what;
      ASSERT_EQ(shards, kTo) << image.what;
    }
    EXPECT_GT(outcomes[kShards], 10);
    EXPECT_GT(outcomes[kTo], 0);
  }
}

TEST_F(Offline, L12_ReshardIntoAnotherFolder) {
  ExpectWholeOrAgain(
      [](FileSystem* disk) {
        return Reshard({.place = {.dir = "/", .fs = disk}, .to = 5, .target_dir = kTarget}).status();
      },
      all_, 5);
}

TEST_F(Offline, L12_RestoreIntoANewFolder) {
  const Step step = [](FileSystem* disk) {
    const RestoreOptions options{
        .place = {.dir = "/", .fs = disk}, .target_dir = kTarget, .to_time = kFirstTime + 19, .to_lsn = {}};
    return Restore(options).status();
  };
  Picture want;
  for (int i = 0; i < 20; ++i) {
    const std::pair<uint32_t, std::string> place = {static_cast<uint32_t>(i % 3), "key:" + std::to_string(i)};
    want[place] = all_.at(place);
  }
  ExpectWholeOrAgain(step, want, kShards);
}

TEST_F(Offline, L12_ExportIsWholeOrNotThere) {
  const std::string path = std::string(kTarget) + "/dump.rdb";
  const Step step = [&](FileSystem* disk) {
    return Export({.place = {.dir = "/", .fs = disk}, .path = path}).status();
  };
  for (const std::vector<Image>& images : {CrashesOf(*start_, step), FailuresOf(*start_, step)}) {
    int whole = 0;
    for (const Image& image : images) {
      ExpectKept(originals_, image.disk.get(), image.what);
      if (HasFatalFailure()) return;
      const bool there = *image.disk->Exists(path);
      ASSERT_TRUE(there || !image.done) << image.what;
      whole += there;
      if (!there) {
        const absl::Status again = step(image.disk.get());
        ASSERT_TRUE(again.ok()) << image.what << ": " << again;
      }
      DataSetOptions options = Options(image.disk.get(), 2);
      options.dir = kTarget;
      options.append_only = false;
      const std::unique_ptr<DataSet> set = MustOpen(options);
      ASSERT_NE(set, nullptr) << image.what;
      ASSERT_EQ(AllOf(set.get()), all_) << image.what;
    }
    EXPECT_GT(whole, 0);
    EXPECT_LT(whole, static_cast<int>(images.size()));
  }
}

// ---- Folders with an interrupted change ----------------------------------------------------------------------------

// What a reshard in place leaves when it is killed after its first move.
std::unique_ptr<FaultFileSystem> Interrupted(const FaultFileSystem& start) {
  const std::unique_ptr<FaultFileSystem> fs = start.AfterKill();
  std::unique_ptr<FaultFileSystem> left;
  SetKillPointHook([&](std::string_view name) {
    if (name == "flip.moved") left = fs->AfterKill();
  });
  EXPECT_TRUE(Reshard({.place = {.dir = "/", .fs = fs.get()}, .to = 2}).ok());
  SetKillPointHook(nullptr);
  return left;
}

TEST_F(Offline, L12_RestoreFinishesAnInterruptedChangeOfItsSource) {
  const std::unique_ptr<FaultFileSystem> fs = Interrupted(*start_);
  ASSERT_NE(fs, nullptr);
  const auto report = Restore({.place = {.dir = "/", .fs = fs.get()},
                               .target_dir = kTarget,
                               .to_time = std::nullopt,
                               .to_lsn = {~Lsn{0}, ~Lsn{0}}});
  ASSERT_TRUE(report.ok()) << report.status();
  uint32_t shards = 0;
  EXPECT_EQ(Open(fs.get(), kTarget, &shards), all_);
  EXPECT_EQ(shards, 2u);
}

TEST_F(Offline, L12_ATargetWithAnInterruptedChangeIsNoFreeFolder) {
  const std::unique_ptr<FaultFileSystem> fs = Interrupted(*start_);
  ASSERT_NE(fs, nullptr);
  // Another data set, and the first folder as the target.
  const std::string other = std::string(kTarget) + "/x";
  ASSERT_TRUE(fs->CreateDir(other).ok());
  DataSetOptions options = Options(fs.get(), 1);
  options.dir = other;
  MustOpen(options).reset();
  const Files before = AllFiles(fs.get());
  const absl::Status restored =
      Restore(
          {.place = {.dir = other, .fs = fs.get()}, .target_dir = "/", .to_time = std::nullopt, .to_lsn = {~Lsn{0}}})
          .status();
  const absl::Status resharded =
      Reshard({.place = {.dir = other, .fs = fs.get()}, .to = 4, .target_dir = "/"}).status();
  for (const absl::Status& status : {restored, resharded}) {
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_NE(status.message().find("appendonlydir.new"), std::string_view::npos) << status;
    EXPECT_NE(status.message().find("choose a folder without a data set"), std::string_view::npos) << status;
  }
  EXPECT_EQ(AllFiles(fs.get()), before);
  uint32_t shards = 0;
  EXPECT_EQ(Open(fs.get(), "/", &shards), all_);
}

}  // namespace
}  // namespace skein::storage
