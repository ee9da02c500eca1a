#include "node/config/load.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "node/config/check.h"
#include "node/config/directives.h"

namespace skein::node {
namespace {

std::string Folder() {
  static const std::string folder = [] {
    std::string path = std::string(getenv("TEST_TMPDIR") != nullptr ? getenv("TEST_TMPDIR") : "/tmp") + "/load";
    mkdir(path.c_str(), 0700);
    return path;
  }();
  return folder;
}

std::string Write(const std::string& name, const std::string& text) {
  const std::string path = Folder() + "/" + name;
  std::ofstream(path) << text;
  return path;
}

absl::StatusOr<Config> Start(std::vector<std::string> words, LoadMode* mode = nullptr) {
  words.insert(words.begin(), "skein-node");
  std::vector<const char*> argv;
  for (const std::string& word : words) argv.push_back(word.c_str());
  LoadMode ignored;
  return LoadConfig(static_cast<int>(argv.size()), argv.data(), mode != nullptr ? mode : &ignored);
}

std::string Refusal(const std::vector<std::string>& words) {
  const absl::StatusOr<Config> config = Start(words);
  return config.ok() ? "" : std::string(config.status().message());
}

std::string TextRefusal(const std::string& text) {
  Config config;
  const absl::Status status = LoadText(text, "f.conf", &config);
  return status.ok() ? "" : std::string(status.message());
}

TEST(Load, CommandLineFormsThatGflagsAloneGetsWrong) {
  const absl::StatusOr<Config> c = Start({"--appendonly",
                                          "no",
                                          "--proto-max-bulk-len",
                                          "1gb",
                                          "--port=7001",
                                          "--slowlog-log-slower-than",
                                          "-1",
                                          "--client-output-buffer-limit",
                                          "normal",
                                          "1mb",
                                          "512kb",
                                          "60",
                                          "--client-output-buffer-limit",
                                          "pubsub",
                                          "1",
                                          "2",
                                          "3",
                                          "--bind",
                                          "127.0.0.1",
                                          "-::1",
                                          "--requirepass=--a b"});
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_FALSE(c->appendonly);
  EXPECT_EQ(c->proto_max_bulk_len, 1u << 30);
  EXPECT_EQ(c->port, 7001);
  EXPECT_EQ(c->slowlog_log_slower_than, -1);
  EXPECT_EQ(c->output_normal.hard, 1u << 20);
  EXPECT_EQ(c->output_normal.soft, 512u << 10);
  EXPECT_EQ(c->output_pubsub.soft_seconds, 3u);
  EXPECT_EQ(c->bind, (std::vector<std::string>{"127.0.0.1", "-::1"}));
  EXPECT_EQ(c->requirepass, "--a b");
  // Nothing of one reading is left for the next.
  EXPECT_EQ(Start({})->port, 6379);
}

TEST(Load, CommandLineRefusals) {
  EXPECT_EQ(Refusal({"--appendonyl", "yes"}),
            "command line: unknown directive 'appendonyl'; did you mean 'appendonly'?");
  EXPECT_EQ(Refusal({"--qwertyuiop", "yes"}), "command line: unknown directive 'qwertyuiop'; --help lists all");
  EXPECT_EQ(Refusal({"--port"}), "command line: '--port' needs a value");
  EXPECT_EQ(Refusal({"--port", "1", "2"}), "command line: 'port 1 2': wrong number of arguments");
  EXPECT_EQ(Refusal({"--appendonly", "maybe"}), "command line: 'appendonly maybe': argument must be 'yes' or 'no'");
  EXPECT_EQ(Refusal({"--hz", "abc"}), "command line: 'hz abc': argument couldn't be parsed into an integer");
  EXPECT_EQ(Refusal({"--port", "70000"}), "command line: 'port 70000': argument must be between 0 and 65535 inclusive");
  EXPECT_EQ(Refusal({"--tls-port", "70000"}),
            "command line: 'tls-port 70000': argument must be between 0 and 65535 inclusive");
  EXPECT_EQ(Refusal({"--tls-auth-clients", "maybe"}),
            "command line: 'tls-auth-clients maybe': argument(s) must be one of the following: no, yes, optional");
  EXPECT_NE(Refusal({"--requirepass", "secret", "word"}).find("'requirepass':"), std::string::npos);
  EXPECT_EQ(Refusal({"--requirepass", "secret", "word"}).find("secret"), std::string::npos);
  // gflags' own flags are not a second way in (L45).
  EXPECT_NE(Refusal({"--flagfile=/etc/passwd"}).find("unknown directive 'flagfile'"), std::string::npos);
  EXPECT_NE(Refusal({"--minloglevel=3"}).find("unknown directive 'minloglevel'"), std::string::npos);
}

TEST(Load, EveryBadLineNamesFileAndLine) {
  const struct {
    const char *line, *says;
  } kCases[] = {
      {"prot 1", "f.conf:3: unknown directive 'prot'; did you mean 'port'?"},
      {"slavof a 1", "f.conf:3: unknown directive 'slavof'; did you mean 'slaveof'?"},
      {"port", "f.conf:3: 'port': wrong number of arguments"},
      {"port 1 2", "f.conf:3: 'port 1 2': wrong number of arguments"},
      {"port \"1", "f.conf:3: unbalanced quotes in configuration line"},
      {"loglevel loud",
       "f.conf:3: 'loglevel loud': argument(s) must be one of the following: debug, verbose, notice, warning, nothing"},
      {"appendfsync sometimes",
       "f.conf:3: 'appendfsync sometimes': argument(s) must be one of the following: always, everysec, no"},
      {"maxmemory 1zb", "f.conf:3: 'maxmemory 1zb': argument must be a memory value"},
      {"save 900", "f.conf:3: 'save 900': Invalid save parameters"},
      {"client-output-buffer-limit normal 1 2",
       "f.conf:3: 'client-output-buffer-limit normal 1 2': Wrong number of arguments in buffer limit configuration."},
      {"client-output-buffer-limit king 1 2 3",
       "f.conf:3: 'client-output-buffer-limit king 1 2 3': Invalid client class specified in buffer limit "
       "configuration."},
      {"include", "f.conf:3: 'include' takes one file name or pattern"},
      {"replicaof 10.0.0.1", "f.conf:3: 'replicaof 10.0.0.1': wrong number of arguments"},
      {"replicaof 10.0.0.1 70000", "f.conf:3: 'replicaof 10.0.0.1 70000': Invalid master port"},
      {"replica-read-only no",
       "f.conf:3: 'replica-read-only no': a replica's log is its primary's, byte for byte: it takes no writes of its "
       "own"},
      {"user bob on nopass", "f.conf:3: 'user': users besides 'default' are not available yet: use requirepass"},
      {"rename-command FLUSHALL x", "f.conf:3: 'rename-command FLUSHALL x': commands cannot be renamed"},
      {"maxmemory-policy allkeys-lru",
       "f.conf:3: 'maxmemory-policy allkeys-lru': eviction is not available yet: past maxmemory writes are refused"},
  };
  for (const auto& c : kCases) EXPECT_EQ(TextRefusal(std::string("# comment\n\n") + c.line + "\n"), c.says);
}

TEST(Load, KnownToRedisIsKnownHere) {
  Config config;
  const absl::Status status = LoadText(
      "tcp-backlog 511\nreplica-read-only yes\nrepl-diskless-sync-delay 5\nslave-priority 100\n"
      "hash-max-ziplist-entries 512\nlua-time-limit 5000\nactivedefrag no\nsupervised no\ntls-port 0\n"
      "io-threads 4\nreplicaof no one\nproc-title-template \"{title} {listen-addr} {server-mode}\"\n"
      "PORT 7000\nlatency-tracking yes\nserver_cpulist \"\"\n",
      "f.conf", &config);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(config.port, 7000);
  config.dir = Folder();
  ASSERT_TRUE(FinishLoading(&config).ok());
  bool said = false;
  for (const std::string& note : config.notes) {
    said = said || note == "no effect: io-threads (client-loops says how many threads serve clients)";
  }
  EXPECT_TRUE(said) << "what has no effect is said in the log";
}

TEST(Load, TheLaterWins) {
  Write("inner.conf", "port 2\nhz 20\n");
  const std::string file = Write("outer.conf", "port 1\ninclude " + Folder() + "/inner*.conf\nmaxclients 5\n");
  const absl::StatusOr<Config> plain = Start({file});
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ(plain->port, 2);
  EXPECT_EQ(plain->maxclients, 5u);
  EXPECT_EQ(plain->config_file, file);
  const absl::StatusOr<Config> over = Start({file, "--port", "3"});
  ASSERT_TRUE(over.ok()) << over.status();
  EXPECT_EQ(over->port, 3);
  EXPECT_EQ(over->hz, 20u);
}

TEST(Load, IncludesMayNotCircleOrBeAbsent) {
  const std::string self = Write("self.conf", "include " + Folder() + "/self.conf\n");
  EXPECT_NE(Refusal({self}).find("self.conf:1: 'include " + self + "' is nested deeper than 16 files"),
            std::string::npos);
  EXPECT_EQ(TextRefusal("include /nonexistent/x.conf"),
            "f.conf:1: can't open configuration file '/nonexistent/x.conf': No such file or directory");
  EXPECT_EQ(TextRefusal("include /nonexistent/*.conf"), "");  // a pattern that matches nothing
  EXPECT_NE(Refusal({Folder()}).find("is a folder"), std::string::npos);
}

TEST(Load, Combinations) {
  EXPECT_NE(Refusal({"--write-commit", "disk", "--appendonly", "no"}).find("'write-commit disk' with 'appendonly no'"),
            std::string::npos);
  EXPECT_NE(Refusal({"--write-commit", "quorum"}).find("there are no replicas yet"), std::string::npos);
  EXPECT_NE(Refusal({"--cluster-enabled", "no", "--storage-shards", "2"}).find("'storage-shards 2'"),
            std::string::npos);
  EXPECT_NE(Refusal({"--port", "60000"}).find("no room for the cluster bus"), std::string::npos);
  EXPECT_EQ(Start({"--save", "900", "1"})->save, "900 1");
  EXPECT_NE(Refusal({"--dbfilename", "a/b.rdb"}).find("dbfilename"), std::string::npos);
  EXPECT_NE(Refusal({"--dir", "/nonexistent"}).find("'dir /nonexistent'"), std::string::npos);
  EXPECT_NE(Refusal({"--appenddirname", "a/b"}).find("appenddirname"), std::string::npos);
  EXPECT_NE(Refusal({"--bind", "example.org"}).find("not a numeric address"), std::string::npos);
  const absl::StatusOr<Config> c = Start({"--save", "900", "1", "--save", "300 10", "--appendonly", "yes"});
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->save, "900 1 300 10");
  EXPECT_TRUE(Start({"--save", "", "--port", "60000", "--cluster-port", "7000"}).ok());
}

TEST(Load, Modes) {
  const std::string file = Write("mode.conf", "port 7007\n");
  for (const auto& [word, expected] :
       std::vector<std::pair<std::string, LoadMode>>{{"--help", LoadMode::kHelp},
                                                     {"-h", LoadMode::kHelp},
                                                     {"--version", LoadMode::kVersion},
                                                     {"-v", LoadMode::kVersion},
                                                     {"--check-config", LoadMode::kCheckConfig}}) {
    LoadMode mode;
    EXPECT_TRUE(Start({word}, &mode).ok());
    EXPECT_EQ(mode, expected) << word;
  }
  LoadMode mode;
  EXPECT_EQ(Start({"--check-config", file}, &mode)->port, 7007);
  EXPECT_EQ(Start({file, "--check-config", "--hz", "7"}, &mode)->hz, 7u);
  EXPECT_EQ(mode, LoadMode::kCheckConfig);
  for (const Directive& d : Directives()) {
    const bool said = HelpText().find(std::string(d.name)) != std::string::npos;
    EXPECT_TRUE(said || d.Is(Directive::kHidden)) << d.name;
  }
}

TEST(Load, WhatFollowsFromTheDirectives) {
  Config c;
  c.client_loops = 3;
  EXPECT_EQ(ShardCount(c), 3u);
  EXPECT_FALSE(ShardsConfigured(c));
  c.storage_shards = 2;
  EXPECT_EQ(ShardCount(c), 2u);
  c.cluster_enabled = false;
  EXPECT_EQ(ShardCount(c), 1u);
  c.port = 7000;
  EXPECT_EQ(BusPort(c), 17000);
  EXPECT_EQ(EffectiveCommit(c), WriteCommit::kMemory);
  c.appendonly = true;
  c.appendfsync = storage::AppendFsync::kAlways;
  EXPECT_EQ(EffectiveCommit(c), WriteCommit::kDisk);
  c.appendfsync = storage::AppendFsync::kNo;
  c.write_commit = WriteCommit::kDisk;
  EXPECT_EQ(EffectiveFsync(c), storage::AppendFsync::kAlways);
}

}  // namespace
}  // namespace skein::node
