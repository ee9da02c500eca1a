// Rewrites and the way back from a failed sync, with the disk looked at before every operation and at every kill point:
// as a killed process leaves it, and as a loss of power does. Nothing that was durable is ever gone.
#include <atomic>
#include <cerrno>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "glog/logging.h"
#include "gtest/gtest.h"
#include "storage/fault_file.h"
#include "storage/kill_point.h"
#include "storage/log.h"
#include "storage/saver_testing.h"
#include "tests/sanitized.h"

namespace skein::storage {
namespace {

// Each crash leaves a line or two in the log.
[[maybe_unused]] const bool quiet = (FLAGS_minloglevel = google::GLOG_FATAL, true);

using Op = FaultFileSystem::Op;

constexpr uint32_t kShards = 2;
constexpr int kKeys = 60;

constexpr uint64_t kSeeds = kSanitized ? 1 : 3;

std::string KeyName(int i) { return "key:" + std::to_string(i); }

void Fill(ServedData* data, const std::string& value) {
  for (int i = 0; i < kKeys; ++i) data->Set(0, KeyName(i), value);
}

// Until `met`, which must come: the test's own time limit is the only one.
template <typename Fn>
void Await(const Fn& met) {
  while (!met()) std::this_thread::yield();
}

struct Image {
  std::string what;
  std::unique_ptr<FaultFileSystem> disk;
};

// While it lives, what crashes would leave. `fail`: which operations fail meanwhile.
class Crashes {
 public:
  using Fail = std::function<int(Op op, const std::string& path)>;
  explicit Crashes(FaultFileSystem* fs, Fail fail = nullptr) : fs_(fs) {
    fs->SetHook([this, fail = std::move(fail)](Op op, const std::string& path) {
      if (op == Op::kRead) return 0;
      Take("before an operation on " + path);
      return fail ? fail(op, path) : 0;
    });
    SetKillPointHook([this](std::string_view name) {
      Take(std::string(name));
      const std::lock_guard<std::mutex> lock(mutex_);
      points_.emplace(name);
    });
  }
  ~Crashes() { End(); }
  void End() {
    SetKillPointHook(nullptr);
    fs_->SetHook(nullptr);
  }
  std::vector<Image>& images() { return images_; }
  bool Passed(const std::string& point) const { return points_.contains(point); }

 private:
  void Take(const std::string& what) {
    const std::lock_guard<std::mutex> lock(mutex_);
    images_.push_back({what + ", killed", fs_->AfterKill()});
    for (uint64_t seed = 0; seed < kSeeds; ++seed) {
      images_.push_back({what + ", power lost", fs_->AfterPowerLoss(images_.size() * 7 + seed)});
    }
  }

  FaultFileSystem* const fs_;
  std::mutex mutex_;
  std::vector<Image> images_;
  std::set<std::string> points_;
};

TEST(SaverPower, L12_ARewriteThatCrashesLosesNothing) {
  FaultFileSystem fs;
  ServedData data(ServedData::OptionsOn(&fs, true, kShards));
  Fill(&data, "old");
  ASSERT_TRUE(data.Rewrite().ok());
  Fill(&data, "new");
  data.AwaitDurable();
  const Contents state = data.Read();
  Crashes crashes(&fs);
  ASSERT_TRUE(data.Rewrite().ok());
  crashes.End();
  for (const char* point : {"rewrite.base-made", "rewrite.base-synced", "rewrite.log-durable", "rotate.listed",
                            "install.folder-synced", "install.listed", "install.old-removed"}) {
    EXPECT_TRUE(crashes.Passed(point)) << point;
  }
  for (Image& image : crashes.images()) {
    for (int start = 0; start < 2; ++start) {
      ServedData found(ServedData::OptionsOn(image.disk.get(), true, kShards));
      ASSERT_EQ(found.Read(), state) << image.what << ", start " << start;
    }
  }
}

// The keys of each shard are written in order, "old" all over and then "new": what is found must be the state after
// some of these writes, and after no fewer than were durable.
TEST(SaverPower, L12_ARevivalThatCrashesLosesNothingThatWasDurable) {
  FaultFileSystem fs;
  ServedData data(ServedData::OptionsOn(&fs, true, kShards));
  Fill(&data, "old");
  data.AwaitDurable();
  // A sync of each shard.
  std::atomic<bool> failed[kShards] = {};
  Crashes crashes(&fs, [&failed](Op op, const std::string& path) {
    for (uint32_t i = 0; i < kShards; ++i) {
      const bool mine = path.find("shard-" + std::to_string(i) + "/incr") != std::string::npos;
      if (op == Op::kSync && mine && !failed[i].exchange(true)) return EIO;
    }
    return 0;
  });
  Fill(&data, "new");
  for (uint32_t i = 0; i < kShards; ++i) {
    data.Run(i, [](Shard& shard) { shard.log()->AskSync(shard.log()->end()); });
  }
  data.AwaitLog([&] { return data.data().stats().fsync_errors == kShards; });
  Await([&] {
    return data.data().stats().shards[0].ok && data.data().stats().shards[1].ok &&
           data.saver().status().running == SaveStatus::Kind::kNone;
  });
  crashes.End();
  for (const char* point : {"revive.file-made", "revive.folder-synced", "revive.listed", "revive.adopted"}) {
    EXPECT_TRUE(crashes.Passed(point)) << point;
  }
  bool some_old = false;
  for (Image& image : crashes.images()) {
    ServedData found(ServedData::OptionsOn(image.disk.get(), true, kShards));
    const Contents contents = found.Read();
    ASSERT_EQ(contents.size(), static_cast<size_t>(kKeys)) << image.what;
    std::vector<bool> ended(kShards);
    for (int i = 0; i < kKeys; ++i) {
      const std::string& value = contents.at("0/" + KeyName(i));
      const uint32_t shard = Key(KeyName(i)).slot % kShards;
      ASSERT_TRUE(value == "old" || value == "new") << image.what;
      ASSERT_FALSE(ended[shard] && value == "new") << image.what << ": no prefix of shard " << shard;
      ended[shard] = ended[shard] || value == "old";
      some_old = some_old || value == "old";
    }
  }
  EXPECT_TRUE(some_old);
  // What revival has saved anew is durable.
  data.AwaitDurable();
  const Contents state = data.Read();
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const std::unique_ptr<FaultFileSystem> left = fs.AfterPowerLoss(seed);
    ServedData found(ServedData::OptionsOn(left.get(), true, kShards));
    EXPECT_EQ(found.Read(), state);
  }
}

}  // namespace
}  // namespace skein::storage
