// The server family on a whole node: several loops, several shards, real sockets.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "node/node_testing.h"

namespace skein::node {
namespace {

using Words = std::vector<std::string>;

std::string Bulk(const std::string& s) { return "$" + std::to_string(s.size()) + "\r\n" + s + "\r\n"; }

TestNode::Options Shape(std::function<void(Config*)> configure = nullptr) {
  return {.loops = 3, .shards = 4, .configure = std::move(configure)};
}

// The payload of a bulk reply.
std::string Payload(const std::string& reply) {
  const size_t start = reply.find("\r\n");
  if (reply.empty() || reply[0] != '$' || start == std::string::npos) return "(not a bulk: " + reply + ")";
  return reply.substr(start + 2, reply.size() - start - 4);
}

// Fields of an INFO text; adds a failure for a line that no tool could read.
std::map<std::string, std::string> Fields(const std::string& text, std::vector<std::string>* sections = nullptr) {
  std::map<std::string, std::string> fields;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find("\r\n", at);
    EXPECT_NE(end, std::string::npos);
    const std::string line = text.substr(at, end - at);
    at = end + 2;
    if (line.empty()) continue;
    if (line.starts_with("# ")) {
      if (sections != nullptr) sections->push_back(line.substr(2));
      continue;
    }
    const size_t colon = line.find(':');
    EXPECT_NE(colon, std::string::npos) << line;
    EXPECT_TRUE(fields.emplace(line.substr(0, colon), line.substr(colon + 1)).second) << "twice: " << line;
  }
  return fields;
}

TEST(Server, InfoReadsAsRedisToolsReadIt) {
  TestNode node(Shape());
  TestClient client(node);
  for (int i = 0; i < 20; ++i) client.Ask({"SET", "key:" + std::to_string(i), "v"});
  client.Ask({"EXPIRE", "key:1", "100"});
  client.Ask({"NOSUCH"});
  std::vector<std::string> sections;
  auto fields = Fields(Payload(client.Ask({"INFO"})), &sections);
  EXPECT_EQ(sections,
            (std::vector<std::string>{"Server", "Clients", "Memory", "Persistence", "Stats", "Replication", "CPU",
                                      "Modules", "Errorstats", "Cluster", "Keyspace", "Loops", "Shards"}));
  EXPECT_EQ(fields["redis_version"], "7.2.4");
  EXPECT_EQ(fields["redis_mode"], "cluster");
  EXPECT_EQ(fields["connected_clients"], "1");
  EXPECT_EQ(fields["role"], "master");
  EXPECT_EQ(fields["run_id"].size(), 40u);
  EXPECT_EQ(fields["cluster_enabled"], "1");
  EXPECT_EQ(fields["storage_shards"], "4");
  EXPECT_EQ(fields["errorstat_ERR"], "count=1");
  EXPECT_TRUE(fields["db0"].starts_with("keys=20,expires=1,avg_ttl=")) << fields["db0"];
  for (const char* name : {"used_memory", "used_memory_rss", "maxmemory", "uptime_in_seconds", "process_id",
                           "total_commands_processed", "instantaneous_ops_per_sec", "keyspace_hits", "expired_keys"}) {
    EXPECT_FALSE(fields[name].empty()) << name;
    EXPECT_EQ(fields[name].find_first_not_of("0123456789"), std::string::npos) << name << ": " << fields[name];
  }
  EXPECT_TRUE(fields.contains("loop2"));
  EXPECT_TRUE(fields.contains("shard3"));
}

TEST(Server, InfoAnswersTheSectionsAskedFor) {
  TestNode node(Shape());
  TestClient client(node);
  EXPECT_EQ(client.Ask({"INFO", "nosuch"}), "$0\r\n\r\n");
  EXPECT_EQ(client.Ask({"INFO", "CLUSTER", "keyspace"}), Bulk("# Cluster\r\ncluster_enabled:1\r\n\r\n# Keyspace\r\n"));
  client.Ask({"GET", "a"});
  client.Ask({"CONFIG", "GET", "port"});
  auto fields = Fields(Payload(client.Ask({"INFO", "commandstats"})));
  EXPECT_TRUE(fields["cmdstat_get"].starts_with("calls=1,usec=")) << fields["cmdstat_get"];
  EXPECT_TRUE(fields["cmdstat_config|get"].ends_with("rejected_calls=0,failed_calls=0"));
  std::vector<std::string> sections;
  Fields(Payload(client.Ask({"INFO", "everything"})), &sections);
  EXPECT_EQ(std::count(sections.begin(), sections.end(), "Commandstats"), 1);
}

TEST(Server, ConfigIsSetOnEveryLoopAllOrNothing) {
  TestNode node(Shape());
  TestClient a(node), b(node), c(node);
  EXPECT_EQ(a.Ask({"CONFIG", "SET", "slowlog-max-len", "7", "timeout", "77"}), "+OK\r\n");
  for (TestClient* client : {&a, &b, &c}) {
    EXPECT_EQ(client->Ask({"CONFIG", "GET", "timeout", "slowlog-max*", "TIMEOUT"}),
              "*4\r\n" + Bulk("slowlog-max-len") + Bulk("7") + Bulk("timeout") + Bulk("77"));
  }
  EXPECT_EQ(a.Ask({"CONFIG", "SET", "timeout", "5", "port", "1"}),
            "-ERR CONFIG SET failed (possibly related to argument 'port') - can't set immutable config\r\n");
  EXPECT_EQ(a.Ask({"CONFIG", "SET", "timeout", "5", "hz"}),
            "-ERR wrong number of arguments for 'config|set' command\r\n");
  EXPECT_EQ(b.Ask({"CONFIG", "GET", "timeout"}), "*2\r\n" + Bulk("timeout") + Bulk("77"));
  EXPECT_EQ(a.Ask({"CONFIG", "REWRITE"}), "-ERR The server is running without a config file\r\n");
  EXPECT_EQ(a.Ask({"CONFIG", "FOO"}), "-ERR unknown subcommand 'FOO'. Try CONFIG HELP.\r\n");
}

TEST(Server, SlowlogJoinsTheLoops) {
  TestNode node(Shape());
  TestClient a(node), b(node), c(node);
  EXPECT_EQ(a.Ask({"CONFIG", "SET", "slowlog-log-slower-than", "-1"}), "+OK\r\n");
  EXPECT_EQ(a.Ask({"SLOWLOG", "RESET"}), "+OK\r\n");
  EXPECT_EQ(a.Ask({"CONFIG", "SET", "slowlog-log-slower-than", "0", "slowlog-max-len", "3"}), "+OK\r\n");
  for (TestClient* client : {&a, &b, &c}) {
    ASSERT_EQ(client->Ask({"CONFIG", "GET", "slowlog-max-len"}), "*2\r\n" + Bulk("slowlog-max-len") + Bulk("3"));
    for (int i = 0; i < 3; ++i) client->Ask({"OBJECT", "HELP"});
  }
  EXPECT_EQ(a.Ask({"SLOWLOG", "LEN"}), ":3\r\n") << "the limit is one of all loops together";
  EXPECT_TRUE(a.Ask({"SLOWLOG", "GET", "-1"}).starts_with("*3\r\n*6\r\n:"));
  EXPECT_TRUE(a.Ask({"SLOWLOG", "GET", "2"}).starts_with("*2\r\n"));
  EXPECT_EQ(a.Ask({"SLOWLOG", "GET", "-2"}), "-ERR count should be greater than or equal to -1\r\n");
  EXPECT_EQ(a.Ask({"SLOWLOG", "GET", "x"}), "-ERR count should be greater than or equal to -1\r\n");
}

TEST(Server, MemoryIsCountedOverAllLoops) {
  TestNode node(Shape([](Config* c) { c->maxmemory = 200'000; }));
  TestClient client(node);
  int stored = 0;
  std::string last;
  for (int i = 0; i < 100; ++i) {
    last = client.Ask({"SET", "key:" + std::to_string(i), std::string(10'000, 'x')});
    if (last == "+OK\r\n") ++stored;
  }
  EXPECT_EQ(last, "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
  EXPECT_GT(stored, 10);
  // Another loop's figure may be a tick old; then it holds everywhere.
  EXPECT_LT(stored, 100);
  EXPECT_TRUE(client.Ask({"GET", "key:0"}).starts_with("$10000\r\n")) << "reads go on";
  EXPECT_EQ(client.Ask({"DEL", "key:0"}), ":1\r\n") << "and so does what frees";
  const std::string usage = client.Ask({"MEMORY", "USAGE", "key:1"});
  EXPECT_GT(std::stoi(usage.substr(1)), 10'000);
  EXPECT_EQ(client.Ask({"MEMORY", "USAGE", "nosuch"}), "$-1\r\n");
  EXPECT_EQ(client.Ask({"MEMORY", "USAGE", "key:1", "SAMPLES", "-1"}), "-ERR syntax error\r\n");
  EXPECT_EQ(client.Ask({"MEMORY", "PURGE"}), "+OK\r\n");
  const std::string stats = client.Ask({"MEMORY", "STATS"});
  EXPECT_NE(stats.find(Bulk("keys.count") + ":" + std::to_string(stored - 1) + "\r\n"), std::string::npos) << stats;
}

TEST(Server, DebugIsGuarded) {
  TestNode closed(Shape());
  EXPECT_TRUE(TestClient(closed).Ask({"DEBUG", "SLEEP", "0"}).starts_with("-ERR DEBUG command not allowed. If the "));
  TestNode node(Shape([](Config* c) { c->enable_debug_command = "local"; }));
  TestClient client(node);
  EXPECT_EQ(client.Ask({"DEBUG", "SLEEP", "0.01"}), "+OK\r\n");
  EXPECT_EQ(client.Ask({"DEBUG", "ERROR", "hello"}), "-hello\r\n");
  EXPECT_EQ(client.Ask({"DEBUG", "OBJECT", "a"}), "-ERR no such key\r\n");
  client.Ask({"SET", "a", "12"});
  const std::string said = client.Ask({"DEBUG", "OBJECT", "a"});
  EXPECT_NE(said.find("refcount:1 encoding:int serializedlength:2 lru:"), std::string::npos) << said;
  EXPECT_EQ(client.Ask({"DEBUG", "STRINGMATCH-LEN", "5", "a*"}), ":1\r\n");
  EXPECT_EQ(client.Ask({"DEBUG", "SLEEP"}),
            "-ERR unknown subcommand or wrong number of arguments for 'SLEEP'. Try DEBUG HELP.\r\n");
  EXPECT_TRUE(client.Ask({"DEBUG", "RELOAD"}).starts_with("-ERR DEBUG RELOAD is not available"));
}

TEST(Server, DebugSetActiveExpireStopsAndStartsTheSearch) {
  TestNode node(Shape([](Config* c) { c->enable_debug_command = "yes"; }));
  TestClient client(node);
  EXPECT_EQ(client.Ask({"DEBUG", "SET-ACTIVE-EXPIRE", "0"}), "+OK\r\n");
  client.Ask({"SET", "a", "1", "PX", "1"});
  // Several rounds of the search would have passed; the key is still counted.
  EXPECT_EQ(client.Ask({"DEBUG", "SLEEP", "0.3"}), "+OK\r\n");
  EXPECT_EQ(client.Ask({"DBSIZE"}), ":1\r\n");
  EXPECT_EQ(client.Ask({"DEBUG", "SET-ACTIVE-EXPIRE", "1"}), "+OK\r\n");
  EXPECT_TRUE(Await([&] { return client.Ask({"DBSIZE"}) == ":0\r\n"; }));
}

TEST(Server, SmallCommands) {
  TestNode node(Shape([](Config* c) { c->requirepass = ""; }));
  TestClient client(node);
  EXPECT_TRUE(client.Ask({"ROLE"}).starts_with("*3\r\n$6\r\nmaster\r\n:"));
  EXPECT_TRUE(client.Ask({"TIME"}).starts_with("*2\r\n$10\r\n"));
  EXPECT_NE(client.Ask({"LOLWUT"}).find("Redis ver. 7.2.4\n"), std::string::npos);
  EXPECT_EQ(client.Ask({"ACL", "WHOAMI"}), Bulk("default"));
  EXPECT_EQ(client.Ask({"ACL", "LIST"}), "*1\r\n" + Bulk("user default on nopass ~* &* +@all"));
  EXPECT_EQ(client.Ask({"ACL", "CAT", "nosuch"}), "-ERR Unknown category 'nosuch'\r\n");
  EXPECT_NE(client.Ask({"ACL", "CAT", "dangerous"}).find(Bulk("config|set")), std::string::npos);
  for (const Words& words :
       {Words{"SHUTDOWN", "FOO"}, Words{"SHUTDOWN", "SAVE", "NOSAVE"}, Words{"SHUTDOWN", "ABORT", "NOW"}}) {
    EXPECT_EQ(client.Ask(words), "-ERR syntax error\r\n");
  }
  EXPECT_EQ(client.Ask({"SHUTDOWN", "ABORT"}), "-ERR No shutdown in progress.\r\n");
}

}  // namespace
}  // namespace skein::node
