#include "node/config/change.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "node/config/directives.h"
#include "node/config/load.h"

namespace skein::node {
namespace {

std::string Get(const Config& config, const std::string& name) {
  const ConfigPairs pairs = ConfigGet(config, name);
  return pairs.size() == 1 ? pairs[0].second : "(" + std::to_string(pairs.size()) + " values)";
}

std::string SetError(const ConfigPairs& pairs) {
  const absl::StatusOr<Config> config = ConfigSet(Config(), pairs);
  return config.ok() ? "" : std::string(config.status().message());
}

// A configuration as a node has it after it has started.
Config Started() {
  Config config;
  char here[PATH_MAX];
  config.dir = realpath(".", here);
  return config;
}

TEST(Change, GetMatchesPatternsAndOlderNames) {
  const Config config;
  EXPECT_EQ(Get(config, "PORT"), "6379");
  EXPECT_EQ(Get(config, "slaveof"), "");
  EXPECT_EQ(Get(config, "client-output-buffer-limit"),
            "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60");
  EXPECT_EQ(ConfigGet(config, "slowlog-*").size(), 2u);
  EXPECT_EQ(ConfigGet(config, "nosuch").size(), 0u);
  std::set<std::string> names;
  for (const auto& [name, value] : ConfigGet(config, "*")) EXPECT_TRUE(names.insert(name).second) << name;
  EXPECT_TRUE(names.contains("save"));
  EXPECT_FALSE(names.contains("rename-command"));
}

TEST(Change, EveryDefaultReadsBackTheSame) {
  for (const Directive& d : Directives()) {
    Config config;
    const std::string value = DirectiveValue(d, config);
    ASSERT_TRUE(ApplyDirective(d, {value}, &config).ok()) << d.name << " '" << value << "'";
    EXPECT_EQ(DirectiveValue(d, config), value) << d.name;
    std::string text;
    for (const std::string& line : DirectiveLines(d, config)) text += line + "\n";
    Config read;
    const absl::Status status = LoadText(text, "f.conf", &read);
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(DirectiveValue(d, read), value) << d.name;
  }
}

TEST(Change, SetIsAllOrNothingAndWordsErrorsAsRedisDoes) {
  const absl::StatusOr<Config> config = ConfigSet(Config(), {{"hz", "20"}, {"maxmemory", "2mb"}, {"SAVE", ""}});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->hz, 20u);
  EXPECT_EQ(config->maxmemory, 2u << 20);
  EXPECT_EQ(SetError({{"nosuch", "1"}}), "ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'");
  EXPECT_EQ(SetError({{"hz", "20"}, {"port", "1"}}),
            "ERR CONFIG SET failed (possibly related to argument 'port') - can't set immutable config");
  EXPECT_EQ(SetError({{"hz", "20"}, {"hz", "21"}}),
            "ERR CONFIG SET failed (possibly related to argument 'hz') - duplicate parameter");
  EXPECT_EQ(SetError({{"hz", "20"}, {"maxmemory", "x"}}),
            "ERR CONFIG SET failed (possibly related to argument 'maxmemory') - argument must be a memory value");
  EXPECT_EQ(SetError({{"maxclients", "0"}}),
            "ERR CONFIG SET failed (possibly related to argument 'maxclients') - argument must be between 1 and "
            "4294967295 inclusive");
  EXPECT_EQ(SetError({{"rename-command", "a b"}}),
            "ERR Unknown option or number of arguments for CONFIG SET - 'rename-command'");
  EXPECT_EQ(SetError({{"replicaof", "10.0.0.1 6379"}}),
            "ERR CONFIG SET failed (possibly related to argument 'replicaof') - can't set immutable config");
  EXPECT_EQ(SetError({{"masterauth", "secret"}, {"hz", "x"}}).find("secret"), std::string::npos);
  EXPECT_EQ(SetError({{"dbfilename", "other.rdb"}}),
            "ERR CONFIG SET failed (possibly related to argument 'dbfilename') - can't set protected config");
  EXPECT_EQ(SetError({{"save", "900"}}),
            "ERR CONFIG SET failed (possibly related to argument 'save') - Invalid save parameters");
}

TEST(Change, SavePointsAreRedisDefaultWithoutALogAndNoneWithOne) {
  Config config;
  EXPECT_EQ(Get(config, "save"), "3600 1 300 100 60 10000");
  config.appendonly = true;
  EXPECT_EQ(Get(config, "save"), "");
  EXPECT_EQ(Get(*ConfigSet(config, {{"save", "900 1"}}), "save"), "900 1");
  config.appendonly = false;
  EXPECT_EQ(Get(*ConfigSet(config, {{"save", "900 1"}}), "save"), "900 1") << "accepted without a log as well";
  EXPECT_EQ(Get(*ConfigSet(config, {{"save", ""}}), "save"), "");
}

TEST(Change, SetOfAnAppendingDirectiveReplaces) {
  Config base;
  base.appendonly = true;
  base.save = "900 1";
  EXPECT_EQ(ConfigSet(base, {{"save", "60 5"}})->save, "60 5");
  EXPECT_EQ(ConfigSet(base, {{"save", ""}})->save, "");
}

TEST(Change, RewriteKeepsCommentsAndOrder) {
  Config config = Started();
  const std::string old =
      "# head\nport   6379   \n\n# limits\nmaxmemory 1024kb\nhz 20\nHZ 30\n  # tail\nsave 900 1\n"
      "client-output-buffer-limit normal 1mb 0 0\nhash-max-listpack-entries 5\n";
  ASSERT_TRUE(LoadText(old, "f.conf", &config).ok());
  EXPECT_EQ(*RewriteText(old, "f.conf", config), old) << "what is said already stays as it is";
  config.maxmemory = 2u << 30;
  config.hz = 40;
  config.loglevel = "debug";
  config.save = "";
  config.output_normal = {};
  EXPECT_EQ(*RewriteText(old, "f.conf", config),
            "# head\nport   6379   \n\n# limits\nmaxmemory 2gb\nhz 40\n  # tail\nsave \"\"\n"
            "client-output-buffer-limit normal 0 0 0\nclient-output-buffer-limit slave 268435456 67108864 60\n"
            "client-output-buffer-limit pubsub 33554432 8388608 60\nhash-max-listpack-entries 5\n"
            "# Generated by CONFIG REWRITE\nloglevel debug\n");
  // Once more changes nothing.
  const std::string again = *RewriteText(old, "f.conf", config);
  EXPECT_EQ(*RewriteText(again, "f.conf", config), again);
}

TEST(Change, RewrittenFileMeansTheSame) {
  Config config = Started();
  config.port = 7001;
  config.requirepass = "a \"b\"\n\x01";
  config.bind = {"127.0.0.1", "-::1"};
  config.appendonly = true;
  config.appendfsync = storage::AppendFsync::kAlways;
  config.save = "900 1 300 10";
  config.cluster_announce_hostname = "";
  config.kept["list-max-listpack-size"] = "-3";
  config.output_replica = {1, 2, 3};
  Config read;
  const absl::Status status = LoadText(*RewriteText("", "f.conf", config), "f.conf", &read);
  ASSERT_TRUE(status.ok()) << status;
  read.dir = config.dir;
  EXPECT_EQ(ConfigGet(read, "*"), ConfigGet(config, "*"));
}

TEST(Change, RewriteReplacesTheFileInOneStep) {
  Config config = Started();
  EXPECT_EQ(ConfigRewrite(config).message(), "ERR The server is running without a config file");
  const std::string folder = std::string(getenv("TEST_TMPDIR") != nullptr ? getenv("TEST_TMPDIR") : "/tmp");
  config.config_file = folder + "/rewrite.conf";
  std::ofstream(config.config_file) << "# mine\nhz 10\n";
  chmod(config.config_file.c_str(), 0640);
  config.hz = 25;
  const absl::Status status = ConfigRewrite(config);
  ASSERT_TRUE(status.ok()) << status;
  std::stringstream text;
  text << std::ifstream(config.config_file).rdbuf();
  EXPECT_EQ(text.str(), "# mine\nhz 25\n");
  struct stat info;
  ASSERT_EQ(stat(config.config_file.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0640u);
  EXPECT_NE(access((config.config_file + ".rewrite-" + std::to_string(getpid())).c_str(), F_OK), 0);
  config.config_file = folder + "/absent.conf";
  EXPECT_EQ(ConfigRewrite(config).message().substr(0, 27), "ERR Rewriting config file: ");
}

}  // namespace
}  // namespace skein::node
