// What a loop remembers about the commands it ran: SLOWLOG, INFO commandstats, INFO errorstats.
// One loop owns one of each; read them there, or gather them with Node::GatherLoops.
#ifndef SKEIN_NODE_DIAGNOSTICS_H_
#define SKEIN_NODE_DIAGNOSTICS_H_

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "node/command.h"

namespace skein::node {

struct SlowLogEntry {
  uint64_t id = 0;  // unique in the process, grows with time on one loop
  int64_t unix_seconds = 0;
  int64_t micros = 0;
  std::vector<std::string> argv;  // shortened as Redis shortens them
  std::string client_addr, client_name;
};

// The slow commands of this loop's clients, newest first. In a pipelined run of cheap commands (all flagged fast) the
// clock is read once a run of at most eight, and an entry may name a neighbour of the command that was slow.
class SlowLog {
 public:
  // Shortens to 32 arguments of 128 bytes.
  static std::vector<std::string> Shorten(Args argv);
  void Add(SlowLogEntry entry, size_t max_len);
  void Clear() { entries_.clear(); }
  void Trim(size_t max_len);
  const std::deque<SlowLogEntry>& entries() const { return entries_; }

 private:
  std::deque<SlowLogEntry> entries_;
};

// Of one command on one loop.
struct CommandStats {
  const CommandSpec* spec = nullptr;
  uint64_t calls = 0;
  uint64_t nanos = 0;
  uint64_t rejected_calls = 0;  // before execution: arity, NOAUTH, redirection, …
  uint64_t failed_calls = 0;    // executed, and answered with an error
};

// Error replies by code ("ERR", "WRONGTYPE"), at most 128 codes; further ones are counted together as
// "ERRORSTATS_OVERFLOW".
using ErrorStats = std::map<std::string, uint64_t, std::less<>>;

}  // namespace skein::node

#endif  // SKEIN_NODE_DIAGNOSTICS_H_
