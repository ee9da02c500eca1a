// For tests of commands: shards, and the part of the node's core that takes a command's words to its row and back to a
// reply. Commands that need a session or the bus cannot run here.
#ifndef SKEIN_NODE_COMMANDS_HARNESS_H_
#define SKEIN_NODE_COMMANDS_HARNESS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "node/config/config.h"
#include "node/node.h"
#include "storage/shard.h"

namespace skein::storage {
class FakeLog;
}

namespace skein::node {

// The words of a line as redis-cli reads them: bare, or in double quotes with \xHH, \n, \r, \t and escaped characters.
std::vector<std::string> SplitWords(std::string_view line);
// With line ends, backslashes and unprintable bytes as escapes.
std::string Escape(std::string_view bytes);

class Harness {
 public:
  // Without cluster mode there is one shard.
  explicit Harness(uint32_t shards = 1, bool cluster = false);
  ~Harness();

  // The raw reply.
  std::string Run(const std::vector<std::string>& words);
  std::string Run(std::string_view line) { return Run(SplitWords(line)); }

  storage::Shard& shard(uint32_t i) { return *shards_[i]; }
  storage::FakeLog& log(uint32_t shard) { return *logs_[shard]; }
  // What the mutation hook has told since the last call: "set a, expire a", with "@1" behind a key of database 1.
  std::string TakeEvents();
  // The bodies of the records since the last call, escaped, joined by " | ".
  std::string TakeLog();

  Config config;
  int64_t now_ms = 1'700'000'000'000;
  int resp = 2;
  uint32_t db = 0;

 private:
  class FakeNode;
  class EventLog;
  struct Sink;

  std::string RunOn(uint32_t shard, Call call);

  std::unique_ptr<EventLog> events_;
  std::vector<std::unique_ptr<storage::FakeLog>> logs_;
  std::vector<std::unique_ptr<storage::Shard>> shards_;
  std::unique_ptr<FakeNode> node_;
};

}  // namespace skein::node

#endif  // SKEIN_NODE_COMMANDS_HARNESS_H_
