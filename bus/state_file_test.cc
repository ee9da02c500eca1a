#include "bus/state_file.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "bus/link/frame.h"
#include "gtest/gtest.h"
#include "proto/node_state.pb.h"

namespace skein::bus {
namespace {

class StateFile : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "/state-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    dir_ = name;
    path_ = StatePath(dir_, "nodes.conf");
  }
  void TearDown() override {
    for (const char* suffix : {"", ".new", ".lock"}) unlink((path_ + suffix).c_str());
    rmdir(dir_.c_str());
  }
  void Write(const std::string& bytes) { std::ofstream(path_, std::ios::binary) << bytes; }
  std::string Read() {
    std::ostringstream out;
    out << std::ifstream(path_, std::ios::binary).rdbuf();
    return out.str();
  }
  std::string dir_, path_;
};

proto::NodeState Sample() {
  proto::NodeState state;
  state.set_format(1);
  state.set_own_record(std::string("\x00\x01record", 8));
  state.set_current_epoch(77);
  return state;
}

TEST_F(StateFile, AMissingFileIsANewNode) {
  auto loaded = LoadState(path_);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(*loaded, nullptr);
  EXPECT_NE(access(path_.c_str(), F_OK), 0) << "loading must not make the file";
}

TEST_F(StateFile, WhatIsSavedIsLoaded) {
  ASSERT_TRUE(SaveState(path_, Sample()).ok());
  auto loaded = LoadState(path_);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ((*loaded)->SerializeAsString(), Sample().SerializeAsString());
  EXPECT_NE(access((path_ + ".new").c_str(), F_OK), 0);
}

TEST_F(StateFile, EveryFlippedBitIsRefusedAndNamed) {
  ASSERT_TRUE(SaveState(path_, Sample()).ok());
  const std::string good = Read();
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    Write(bad);
    auto loaded = LoadState(path_);
    ASSERT_FALSE(loaded.ok()) << "bit " << bit;
    EXPECT_NE(loaded.status().message().find(path_), std::string::npos) << loaded.status();
    EXPECT_EQ(Read(), bad) << "refusing must not change the file";
  }
}

TEST_F(StateFile, EveryTruncationIsRefused) {
  ASSERT_TRUE(SaveState(path_, Sample()).ok());
  const std::string good = Read();
  for (size_t length = 0; length < good.size(); ++length) {
    Write(good.substr(0, length));
    EXPECT_EQ(LoadState(path_).status().code(), absl::StatusCode::kDataLoss) << length;
  }
  Write(good + "x");
  EXPECT_EQ(LoadState(path_).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(StateFile, ARedisNodesConfIsRefusedWithTheWayOut) {
  Write(
      "07c37dfeb235213a872192d90877d0cd55635b91 127.0.0.1:30004@31004 slave e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca 0 "
      "1426238317239 4 connected\nvars currentEpoch 6 lastVoteEpoch 0\n");
  absl::Status refused = LoadState(path_).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(refused.message().find("Redis"), std::string::npos);
  EXPECT_NE(refused.message().find("mv " + path_), std::string::npos);
}

TEST_F(StateFile, ForeignAndNewerFilesAreRefused) {
  Write("hello, I am somebody's notes about something else entirely\n");
  EXPECT_EQ(LoadState(path_).status().code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(SaveState(path_, Sample()).ok());
  std::string newer = Read();
  newer[16] = 2;
  Write(newer);
  absl::Status refused = LoadState(path_).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(refused.message().find("newer"), std::string::npos);
}

TEST_F(StateFile, ASaveThatFailsLeavesTheOldFile) {
  ASSERT_TRUE(SaveState(path_, Sample()).ok());
  const std::string good = Read();
  // A folder in the place of the file aside cannot be opened for writing, by root either.
  ASSERT_EQ(mkdir((path_ + ".new").c_str(), 0755), 0);
  proto::NodeState other = Sample();
  other.set_current_epoch(78);
  absl::Status failed = SaveState(path_, other);
  EXPECT_FALSE(failed.ok());
  EXPECT_NE(failed.message().find(path_), std::string::npos);
  EXPECT_EQ(Read(), good);
  rmdir((path_ + ".new").c_str());
  // A left-over of a crash is overwritten.
  std::ofstream(path_ + ".new") << std::string(100000, 'x');
  ASSERT_TRUE(SaveState(path_, other).ok());
  EXPECT_EQ((*LoadState(path_))->current_epoch(), 78u);
}

TEST_F(StateFile, OneUserAtATime) {
  {
    auto mine = StateLock::Take(path_);
    ASSERT_TRUE(mine.ok()) << mine.status();
    ASSERT_TRUE(SaveState(path_, Sample()).ok());  // the lock outlives the replacement of the file
    auto theirs = StateLock::Take(path_);
    ASSERT_FALSE(theirs.ok());
    EXPECT_NE(theirs.status().message().find(path_), std::string::npos);
  }
  EXPECT_TRUE(StateLock::Take(path_).ok());
}

}  // namespace
}  // namespace skein::bus
