// The real file system, and that the one for tests agrees with it.
#include "storage/file.h"

#include <cstdlib>
#include <string>

#include "gtest/gtest.h"
#include "storage/fault_file.h"

namespace skein::storage {
namespace {

using Mode = FileSystem::Mode;

class FileTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (GetParam()) {
      dir_ = std::string(testing::TempDir()) + "/fileXXXXXX";
      ASSERT_NE(mkdtemp(dir_.data()), nullptr);
      fs_ = RealFileSystem();
    } else {
      fs_ = &fault_;
      dir_ = "/dir";
      ASSERT_TRUE(fs_->CreateDir(dir_).ok());
    }
  }
  void TearDown() override {
    if (GetParam()) {
      EXPECT_EQ(std::system(("rm -r " + dir_).c_str()), 0);
    }
  }
  std::string Path(const std::string& name) const { return JoinPath(dir_, name); }

  FaultFileSystem fault_;
  FileSystem* fs_ = nullptr;
  std::string dir_;
};

TEST_P(FileTest, WritesManyPiecesAndReadsThemBack) {
  auto file = fs_->Open(Path("f"), Mode::kCreateNew);
  ASSERT_TRUE(file.ok()) << file.status();
  // More pieces than the system takes at once, empty ones among them.
  std::vector<std::string> texts;
  std::string want;
  for (int i = 0; i < 3000; ++i) {
    texts.push_back(i % 7 == 0 ? "" : std::to_string(i));
    want += texts.back();
  }
  std::vector<iovec> pieces;
  for (std::string& text : texts) pieces.push_back({text.data(), text.size()});
  ASSERT_TRUE((*file)->WriteAt(3, pieces).ok());
  EXPECT_TRUE((*file)->Sync().ok());
  EXPECT_EQ(*(*file)->Size(), 3 + want.size());
  EXPECT_EQ(*fs_->ReadFile(Path("f"), 1 << 20), std::string(3, '\0') + want);
  EXPECT_EQ(fs_->ReadFile(Path("f"), 10).status().code(), absl::StatusCode::kResourceExhausted);
  ASSERT_TRUE((*file)->Truncate(5).ok());
  EXPECT_EQ(*(*file)->Size(), 5u);
  char bytes[10];
  EXPECT_EQ(*(*file)->ReadAt(4, bytes, sizeof(bytes)), 1u);
  EXPECT_EQ(*(*file)->ReadAt(9, bytes, sizeof(bytes)), 0u);
}

TEST_P(FileTest, ModesAndErrors) {
  EXPECT_EQ(fs_->Open(Path("f"), Mode::kRead).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(fs_->Open(Path("f"), Mode::kWrite).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(fs_->Open(Path("no/f"), Mode::kReplace).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(fs_->Open(Path("f"), Mode::kRead).status().message(), Path("f") + ": No such file or directory");
  ASSERT_TRUE((*fs_->Open(Path("f"), Mode::kReplace))->WriteAt(0, "abc").ok());
  EXPECT_EQ(fs_->Open(Path("f"), Mode::kCreateNew).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(*(*fs_->Open(Path("f"), Mode::kWrite))->Size(), 3u);
  EXPECT_EQ(*(*fs_->Open(Path("f"), Mode::kReplace))->Size(), 0u);
  EXPECT_TRUE(*fs_->Exists(Path("f")));
  EXPECT_FALSE(*fs_->Exists(Path("g")));
  EXPECT_TRUE(fs_->RemoveFile(Path("f")).ok());
  EXPECT_EQ(fs_->RemoveFile(Path("f")).code(), absl::StatusCode::kNotFound);
}

TEST_P(FileTest, Folders) {
  EXPECT_EQ(fs_->List(Path("d")).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(fs_->CheckWritable(Path("d")).code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(fs_->CreateDir(Path("d")).ok());
  EXPECT_TRUE(fs_->CreateDir(Path("d")).ok()) << "is there already";
  EXPECT_TRUE(fs_->CheckWritable(Path("d")).ok());
  EXPECT_TRUE(fs_->ReplaceFile(Path("d/b"), "1").ok());
  EXPECT_TRUE(fs_->ReplaceFile(Path("d/a"), "2").ok());
  EXPECT_TRUE(fs_->ReplaceFile(Path("d/a"), "three").ok());
  EXPECT_EQ(*fs_->ReadFile(Path("d/a"), 10), "three");
  EXPECT_EQ(*fs_->List(Path("d")), (std::vector<std::string>{"a", "b"}));
  EXPECT_FALSE(fs_->RemoveDir(Path("d")).ok());
  EXPECT_FALSE(fs_->CheckWritable(Path("d/a")).ok());
  // A folder replaces an empty one, no other.
  EXPECT_TRUE(fs_->CreateDir(Path("e")).ok());
  EXPECT_TRUE(fs_->Rename(Path("d"), Path("e")).ok());
  EXPECT_TRUE(fs_->CreateDir(Path("d")).ok());
  EXPECT_FALSE(fs_->Rename(Path("d"), Path("e")).ok());
  EXPECT_TRUE(fs_->SyncDir(Path("e")).ok());
  EXPECT_TRUE(fs_->RemoveFile(Path("e/a")).ok());
  EXPECT_TRUE(fs_->RemoveFile(Path("e/b")).ok());
  EXPECT_TRUE(fs_->RemoveDir(Path("e")).ok());
}

TEST_P(FileTest, LocksExcludeEachOtherAndGoWithTheirHolder) {
  EXPECT_FALSE(*fs_->IsLocked(Path("l")));
  EXPECT_FALSE(*fs_->Exists(Path("l"))) << "asking makes nothing";
  {
    auto lock = fs_->Lock(Path("l"));
    ASSERT_TRUE(lock.ok()) << lock.status();
    EXPECT_TRUE(*fs_->IsLocked(Path("l")));
    EXPECT_EQ(fs_->Lock(Path("l")).status().code(), absl::StatusCode::kFailedPrecondition);
  }
  EXPECT_FALSE(*fs_->IsLocked(Path("l")));
  EXPECT_TRUE(fs_->Lock(Path("l")).ok());
}

INSTANTIATE_TEST_SUITE_P(, FileTest, testing::Bool(), [](const auto& info) { return info.param ? "Real" : "Fault"; });

TEST(FaultFile, LosesWhatWasNotSynced) {
  FaultFileSystem fs;
  ASSERT_TRUE(fs.ReplaceFile("/kept", "synced").ok());
  ASSERT_TRUE((*fs.Open("/kept", Mode::kWrite))->WriteAt(6, std::string(200, 'x')).ok());
  ASSERT_TRUE((*fs.Open("/new", Mode::kCreateNew))->WriteAt(0, "y").ok());
  bool without = false;
  bool with = false;
  bool torn = false;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const auto after = fs.AfterPowerLoss(seed);
    const std::string kept = after->Bytes("/kept");
    EXPECT_EQ(kept.substr(0, 6), "synced");
    without = without || kept.size() == 6;
    with = with || *after->Exists("/new");
    torn = torn || (kept.size() > 6 && kept.find(std::string(200, 'x')) == std::string::npos);
  }
  EXPECT_TRUE(without && with && torn);
  EXPECT_EQ(fs.AfterKill()->Bytes("/kept").size(), 206u);
}

}  // namespace
}  // namespace skein::storage
