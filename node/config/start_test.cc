// --check-config and starting refuse the same, in the same words (L14); there is one gate (L45).
#include "node/config/start.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "bus/tls/test_certificates.h"
#include "node/config/check.h"
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

TEST_F(StartTest, L14_CheckRefusesCertificatesThatStartingRefuses) {
  const bus::TestFolder folder;
  const bus::TestAuthority authority("authority");
  const bus::TestCertificate own = authority.Issue({.common_name = "node"});
  config_.tls_port = 6380;
  EXPECT_EQ(CheckAll(config_).message(), "TLS needs a certificate: set tls-cert-file");
  config_.tls_cert_file = folder.Write("node.crt", own.cert);
  config_.tls_key_file = folder.Write("node.key", own.key);
  config_.tls_ca_cert_file = folder.Write("ca.crt", authority.cert());
  EXPECT_TRUE(CheckAll(config_).ok()) << CheckAll(config_);
  // Relative names live in dir, as all others do.
  config_.tls_key_file = "node.key";
  const absl::Status checked = CheckAll(config_);
  EXPECT_EQ(checked.message(), "'tls-key-file " + config_.dir + "/node.key': No such file or directory");
  EXPECT_EQ(checked.message(), TlsContextOf(config_).status().message());
  // Nobody reads them where nothing uses TLS, as in Redis.
  config_.tls_port = 0;
  EXPECT_TRUE(CheckAll(config_).ok());
  EXPECT_TRUE(Empty());
}

TEST_F(StartTest, PortsMustDifferAndOneMustBeThere) {
  config_.tls_port = config_.port;
  EXPECT_NE(CheckAll(config_).message().find("'tls-port 6379' is the port of the clients"), absl::string_view::npos);
  config_.tls_port = 0;
  config_.port = 0;
  EXPECT_NE(CheckAll(config_).message().find("'port 0' without tls-port"), absl::string_view::npos);
  config_.tls_port = 7000;
  EXPECT_TRUE(CheckCombinations(config_).ok()) << CheckCombinations(config_);
  EXPECT_EQ(BusPort(config_), 17000);
  config_.cluster_port = 7000;
  EXPECT_NE(CheckCombinations(config_).message().find("'cluster-port 7000'"), absl::string_view::npos);
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
  c.tls_port = 7100;
  c.cluster_replica_no_failover = true;
  c.cluster_replica_validity_factor = 3;
  c.cluster_migration_barrier = 2;
  c.cluster_allow_replica_migration = false;
  const bus::BusOptions b = BusOptionsOf(c);
  EXPECT_EQ(b.bus_port, 17000);
  EXPECT_EQ(b.port, 8000);
  EXPECT_EQ(b.announce_ip, "10.0.0.1");
  EXPECT_FALSE(b.protected_mode);
  EXPECT_EQ(b.io_threads, 2u);
  EXPECT_EQ(b.bind, c.bind);
  EXPECT_EQ(b.tls_port, 7100);
  EXPECT_TRUE(b.no_failover);
  EXPECT_EQ(b.replica_validity_factor, 3u);
  EXPECT_EQ(b.migration_barrier, 2u);
  EXPECT_FALSE(b.allow_replica_migration);
  c.cluster_announce_tls_port = 8100;
  EXPECT_EQ(BusOptionsOf(c).tls_port, 8100);
}

TEST(Start, L45_TlsOptionsCarryEveryDirective) {
  Config c;
  c.dir = "/d";
  c.tls_cert_file = "a";
  c.tls_key_file = "b";
  c.tls_key_file_pass = "c";
  c.tls_client_cert_file = "d";
  c.tls_client_key_file = "/e";
  c.tls_client_key_file_pass = "f";
  c.tls_ca_cert_file = "g";
  c.tls_ca_cert_dir = "h";
  c.tls_dh_params_file = "i";
  c.tls_protocols = "j";
  c.tls_ciphers = "k";
  c.tls_ciphersuites = "l";
  c.tls_prefer_server_ciphers = true;
  c.tls_session_caching = false;
  c.tls_session_cache_size = 1;
  c.tls_session_cache_timeout = 2;
  const bus::TlsOptions o = TlsOptionsOf(c);
  EXPECT_EQ(o.cert_file + o.key_file + o.client_cert_file + o.client_key_file, "/d/a/d/b/d/d/e");
  EXPECT_EQ(o.ca_cert_file + o.ca_cert_dir + o.dh_params_file, "/d/g/d/h/d/i");
  EXPECT_EQ(o.key_file_pass + o.client_key_file_pass + o.protocols + o.ciphers + o.ciphersuites, "cfjkl");
  EXPECT_TRUE(o.prefer_server_ciphers);
  EXPECT_FALSE(o.session_caching);
  EXPECT_EQ(o.session_cache_size, 1);
  EXPECT_EQ(o.session_cache_timeout_s, 2);
  EXPECT_EQ(o.auth_clients, bus::TlsAuthClients::kYes);
  c.tls_auth_clients = "no";
  EXPECT_EQ(TlsOptionsOf(c).auth_clients, bus::TlsAuthClients::kNo);
  c.tls_auth_clients = "optional";
  EXPECT_EQ(TlsOptionsOf(c).auth_clients, bus::TlsAuthClients::kOptional);
}

}  // namespace
}  // namespace skein::node
