// --check-config and starting refuse the same, in the same words (L14); there is one gate (L45).
#include "node/config/start.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "node/config/load.h"

namespace skein::node {
namespace {

class StartTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* root = getenv("TEST_TMPDIR");
    config_.dir = std::string(root != nullptr ? root : "/tmp") + "/start-" +
                  ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(config_.dir);
    std::filesystem::create_directory(config_.dir);
    config_.appendonly = true;
    config_.storage_shards = 2;
  }
  bool Empty() const { return std::filesystem::is_empty(config_.dir); }

  Config config_;
};

TEST_F(StartTest, L14_CheckOfAnEmptyFolderPassesAndLeavesNoTrace) {
  const absl::Status status = CheckAll(config_);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(Empty());
}

TEST_F(StartTest, L14_CheckRefusesWhatOpeningRefusesInTheSameWords) {
  {
    auto made = storage::DataSet::Open(DataSetOptionsOf(config_));
    ASSERT_TRUE(made.ok()) << made.status();
    ASSERT_TRUE((*made)->Close().ok());
  }
  EXPECT_TRUE(CheckAll(config_).ok());
  config_.storage_shards = 3;
  const absl::Status checked = CheckAll(config_);
  const absl::Status opened = storage::DataSet::Open(DataSetOptionsOf(config_)).status();
  ASSERT_FALSE(checked.ok());
  EXPECT_EQ(checked.message(), opened.message());
  EXPECT_NE(checked.message().find("manifest=2"), absl::string_view::npos) << checked;
  // Not said, but defaulted: the data's own number is taken.
  config_.storage_shards = 0;
  config_.client_loops = 3;
  EXPECT_TRUE(CheckAll(config_).ok());
}

TEST_F(StartTest, L14_CheckRefusesAStateFileThatTheBusRefuses) {
  std::ofstream(config_.dir + "/nodes.conf") << "this is not the state of a node\n";
  const absl::Status checked = CheckAll(config_);
  const absl::Status started = bus::Bus::Start(BusOptionsOf(config_), {}).status();
  ASSERT_FALSE(checked.ok());
  EXPECT_EQ(checked.message(), started.message());
  config_.cluster_enabled = false;
  config_.storage_shards = 0;
  EXPECT_TRUE(CheckAll(config_).ok()) << "outside a cluster that file is nobody's";
}

TEST_F(StartTest, L45_EveryGateChecksCombinationsAndFiles) {
  Config bad = config_;
  bad.write_commit = WriteCommit::kQuorum;
  const absl::Status checked = CheckAll(bad), loaded = FinishLoading(&bad);
  ASSERT_FALSE(checked.ok());
  EXPECT_EQ(checked.message(), loaded.message());
  for (std::string Config::*file : {&Config::logfile, &Config::pidfile}) {
    Config config = config_;
    config.*file = "/nonexistent/file";
    EXPECT_NE(CheckAll(config).message().find("/nonexistent/file"), absl::string_view::npos);
    EXPECT_FALSE(CheckAll(config).ok());
    config.*file = config_.dir;  // a folder
    EXPECT_FALSE(CheckAll(config).ok());
    config.*file = "inside";
    EXPECT_TRUE(CheckAll(config).ok());
  }
  EXPECT_TRUE(Empty());
}

TEST(Start, L45_OptionsCarryEveryDirective) {
  Config c;
  c.dir = "/d";
  c.appenddirname = "a";
  c.appendfilename = "old.aof";
  c.appendonly = true;
  c.write_commit = WriteCommit::kDisk;
  c.cluster_enabled = false;
  const storage::DataSetOptions d = DataSetOptionsOf(c);
  EXPECT_EQ(d.dir, "/d");
  EXPECT_EQ(d.append_dir, "a");
  EXPECT_TRUE(d.append_only);
  EXPECT_EQ(d.append_file, "old.aof");
  EXPECT_TRUE(d.run_command != nullptr);
  EXPECT_EQ(d.import_databases, 0u);
  EXPECT_EQ(d.fsync, storage::AppendFsync::kAlways);
  EXPECT_EQ(d.shards, 1u);
  EXPECT_TRUE(d.shards_configured);
  c.port = 7000;
  c.cluster_announce_port = 8000;
  c.cluster_announce_ip = "10.0.0.1";
  c.protected_mode = false;
  c.bus_io_threads = 2;
  const bus::BusOptions b = BusOptionsOf(c);
  EXPECT_EQ(b.bus_port, 17000);
  EXPECT_EQ(b.port, 8000);
  EXPECT_EQ(b.announce_ip, "10.0.0.1");
  EXPECT_FALSE(b.protected_mode);
  EXPECT_EQ(b.io_threads, 2u);
  EXPECT_EQ(b.bind, c.bind);
}

}  // namespace
}  // namespace skein::node
