// What a start says to damage anywhere in a log of several files: the manifest, a base, an incr file that is full and
// one that is not. Exact data, or a torn tail cut and reported, or a refusal that names the file; never wrong data,
// never silence.
#include <atomic>
#include <cerrno>
#include <map>
#include <string>
#include <thread>

#include "glog/logging.h"
#include "gtest/gtest.h"
#include "storage/layout.h"
#include "storage/recovery.h"
#include "storage/saver_testing.h"
#include "storage/shard_testing.h"
#include "tests/sanitized.h"

namespace skein::storage {
namespace {

using Op = FaultFileSystem::Op;

constexpr size_t kStride = kSanitized ? 23 : 3;

// Each start leaves a line or two in the log.
[[maybe_unused]] const bool quiet = (FLAGS_minloglevel = google::GLOG_FATAL, true);

constexpr char kDir[] = "/data/appendonlydir";

class ChainDamage : public testing::Test {
 protected:
  // What a start finds.
  struct Found {
    absl::Status status;
    ShardRecovery recovery;
    Picture data;
  };

  // A base, an incr file that begins before it, and a second one whose last records no sync has covered.
  void SetUp() override {
    FaultFileSystem source;
    options_ = ServedData::OptionsOn(&source, true, 1);
    options_.fsync = AppendFsync::kAlways;
    {
      ServedData data(options_);
      const auto set = [&](const std::string& key, const std::string& value) {
        data.Set(0, key, value);
        data.Run(0, [this](Shard& shard) { states_[shard.log()->end()] = PictureOf(shard); });
      };
      const auto log = [&] { return data.data().stats().shards[0]; };
      set("a", "first");
      set("b", "12345");
      ASSERT_TRUE(data.Rewrite().ok());
      set("c", "behind the base");
      set("a", "again");
      // A rewrite that fails leaves a second incr file.
      source.SetHook([](Op op, const std::string& path) {
        return op == Op::kSync && path.find("/base.") != std::string::npos ? EIO : 0;
      });
      ASSERT_FALSE(data.Rewrite().ok());
      source.SetHook(nullptr);
      set("d", "in the second file");
      set("a", "once more");
      data.AwaitDurable();
      // These are one group, so that no mark stands between them.
      data.Run(0, [](Shard& shard) { shard.log()->set_fsync(AppendFsync::kNo); });
      data.Run(0, [this](Shard& shard) {
        for (const char* value : {"e", "f", "g"}) {
          shard.Begin(1'000'000);
          shard.SetString(0, Key(std::string(value)), std::string(20, *value), kNoExpiry, "set");
          shard.Delete(0, Key(std::string("b")), "del", false);
          shard.End();
          states_[shard.log()->end()] = PictureOf(shard);
        }
      });
      // Nobody is told of a write that no sync follows.
      while (log().written != log().end) std::this_thread::yield();
      start_ = source.AfterKill();
      end_ = log().end;
      durable_ = log().durable;
    }
    options_.fs = start_.get();
    const absl::StatusOr<std::optional<Manifest>> manifest = LoadManifest(options_);
    ASSERT_TRUE(manifest.ok() && manifest->has_value()) << manifest.status();
    const Manifest::Shard& entry = (*manifest)->shards[0];
    ASSERT_TRUE(entry.base.has_value());
    listed_ = entry.durable;
    ASSERT_EQ(entry.incrs.size(), 2u);
    base_ = JoinPath(kDir, BaseName(0, entry.base->sequence));
    full_ = JoinPath(kDir, IncrName(0, entry.incrs[0].sequence));
    last_ = JoinPath(kDir, IncrName(0, entry.incrs[1].sequence));
    for (const std::string& path : {JoinPath(kDir, kManifestName), base_, full_, last_}) {
      files_[path] = start_->Bytes(path);
    }
    const Found whole = Start();
    ASSERT_TRUE(whole.status.ok()) << whole.status;
    EXPECT_EQ(whole.data, states_.at(end_));
    EXPECT_EQ(whole.recovery.cut_bytes, 0u);
    EXPECT_EQ(whole.recovery.keys, 2u);
    EXPECT_GT(end_, durable_);
  }

  // As a start does, up to where it would change something.
  Found Start() {
    Found found;
    const absl::StatusOr<std::optional<Manifest>> manifest = LoadManifest(options_);
    found.status = manifest.status();
    if (!manifest.ok()) return found;
    if (!manifest->has_value()) {
      found.status = absl::InternalError("it would start empty");
      return found;
    }
    ShardOptions shard_options;
    shard_options.databases = (*manifest)->databases;
    Shard shard(shard_options, nullptr);
    ShardSink sink(&shard);
    absl::StatusOr<ShardRecovery> recovery = RecoverShard(start_.get(), kDir, **manifest, 0, &sink);
    found.status = recovery.status();
    if (!recovery.ok()) return found;
    found.recovery = *std::move(recovery);
    found.data = PictureOf(shard);
    return found;
  }

  Found StartWith(const std::string& path, std::string_view bytes) {
    start_->SetBytes(path, bytes);
    Found found = Start();
    start_->SetBytes(path, files_.at(path));
    return found;
  }

  Picture StateAt(Lsn lsn) const {
    const auto next = states_.upper_bound(lsn);
    return next == states_.begin() ? Picture() : std::prev(next)->second;
  }

  void ExpectRefusal(const Found& found, const std::string& path, const std::string& what) {
    EXPECT_TRUE(absl::IsDataLoss(found.status) || absl::IsFailedPrecondition(found.status) ||
                absl::IsUnimplemented(found.status))
        << what << found.status;
    EXPECT_NE(found.status.message().find(path), std::string_view::npos) << what << found.status;
    EXPECT_NE(found.status.message().find("; see ops/runbooks/"), std::string_view::npos) << what << found.status;
  }

  // Only the last file may end early, and not before what was on disk.
  void ExpectCutOrRefusal(const Found& found, const std::string& path, size_t size, Lsn durable,
                          const std::string& what) {
    if (!found.status.ok()) return ExpectRefusal(found, path, what);
    ASSERT_EQ(path, last_) << what << ": silence";
    ASSERT_EQ(found.recovery.path, last_) << what;
    ASSERT_EQ(found.recovery.size + found.recovery.cut_bytes, size) << what;
    ASSERT_EQ(found.recovery.cut_bytes > 0, !found.recovery.cut_reason.empty()) << what;
    ASSERT_GE(found.recovery.end, durable) << what << ": something durable is gone";
    ASSERT_EQ(found.data, StateAt(found.recovery.end)) << what << ": wrong data";
  }

  DataSetOptions options_;
  std::unique_ptr<FaultFileSystem> start_;
  std::map<Lsn, Picture> states_;  // after the record that ends there
  Lsn end_ = 0, durable_ = 0;
  Lsn listed_ = 0;  // as durable, by the manifest
  std::string base_, full_, last_;
  std::map<std::string, std::string> files_;
};

TEST_F(ChainDamage, EveryFlippedBitOfEveryFile) {
  for (const auto& [path, bytes] : files_) {
    size_t refusals = 0, cuts = 0;
    for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
      std::string flipped = bytes;
      flipped[bit / 8] ^= static_cast<char>(1 << (bit % 8));
      const Found found = StartWith(path, flipped);
      const std::string what = path + ", bit " + std::to_string(bit) + ": ";
      ExpectCutOrRefusal(found, path, bytes.size(), durable_, what);
      if (HasFatalFailure()) return;
      refusals += !found.status.ok();
      if (!found.status.ok()) continue;
      ++cuts;
      ASSERT_GT(found.recovery.cut_bytes, 0u) << what << "silence";
      ASSERT_LE(found.recovery.size, bit / 8) << what << "nothing behind the damage is kept";
    }
    EXPECT_GT(refusals, 0u) << path;
    EXPECT_EQ(cuts > 0, path == last_) << path;
  }
}

TEST_F(ChainDamage, EveryTruncationOfEveryFile) {
  for (const auto& [path, bytes] : files_) {
    for (size_t size = 0; size < bytes.size(); ++size) {
      // Where a log ends with its marks, only the manifest knows more.
      ExpectCutOrRefusal(StartWith(path, bytes.substr(0, size)), path, size, listed_,
                         path + ", truncated to " + std::to_string(size) + ": ");
      if (HasFatalFailure()) return;
    }
  }
}

TEST_F(ChainDamage, EveryByteOverwrittenWithZeros) {
  // A sector that was never written, at any place.
  for (const auto& [path, bytes] : files_) {
    for (size_t at = 0; at < bytes.size(); ++at) {
      std::string zeroed = bytes;
      const size_t size = std::min<size_t>(16, bytes.size() - at);
      zeroed.replace(at, size, size, '\0');
      // A checksum of 0 says that there is none.
      if (zeroed == bytes || (path == base_ && at >= bytes.size() - sizeof(uint64_t))) continue;
      // It may take the mark with it that knew what was durable; then it is still cut and reported.
      const Found found = StartWith(path, zeroed);
      const std::string what = path + ", zeros at " + std::to_string(at) + ": ";
      ExpectCutOrRefusal(found, path, bytes.size(), listed_, what);
      if (HasFatalFailure()) return;
      ASSERT_TRUE(!found.status.ok() || found.recovery.cut_bytes > 0) << what << "silence";
    }
  }
}

// What --check-config says, and what a start says.
TEST_F(ChainDamage, L14_CheckingRefusesWhatAStartRefuses) {
  size_t accepted = 0;
  for (const auto& [path, bytes] : files_) {
    for (size_t at = 0; at < bytes.size(); at += kStride) {
      std::string flipped = bytes;
      flipped[at] ^= static_cast<char>(1 << (at % 8));
      for (const std::string& damaged : {flipped, bytes.substr(0, at)}) {
        start_->SetBytes(path, damaged);
        const std::unique_ptr<FaultFileSystem> disk = start_->AfterKill();
        DataSetOptions options = options_;
        options.fs = disk.get();
        const std::string tree = disk->Tree();
        const absl::Status checked = DataSet::Check(options);
        ASSERT_EQ(disk->Tree(), tree);
        const absl::Status opened = DataSet::Open(options).status();
        ASSERT_EQ(checked, opened) << path << " at " << at;
        accepted += opened.ok();
      }
    }
    start_->SetBytes(path, bytes);
  }
  EXPECT_GT(accepted, 0u);
}

TEST_F(ChainDamage, L13_EveryFileThatIsMissing) {
  for (const auto& [path, bytes] : files_) {
    ASSERT_TRUE(start_->RemoveFile(path).ok());
    ExpectRefusal(Start(), path, path + " is missing: ");
    ASSERT_TRUE(start_->Open(path, FileSystem::Mode::kCreateNew).ok());
    start_->SetBytes(path, bytes);
  }
}

TEST_F(ChainDamage, EveryFileInThePlaceOfEveryOther) {
  for (const auto& [path, bytes] : files_) {
    for (const auto& [other, others] : files_) {
      if (path != other) ExpectRefusal(StartWith(path, others), path, other + " as " + path + ": ");
    }
  }
}

}  // namespace
}  // namespace skein::storage
