// Whose log knows more: what a primary that restarts makes of its replicas' answers. Pure.
#ifndef SKEIN_NODE_REPLICATION_LOG_CENSUS_H_
#define SKEIN_NODE_REPLICATION_LOG_CENSUS_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "storage/record.h"
#include "storage/types.h"

namespace skein::node {

// What a shard's log is. Without a history: nothing that counts.
struct LogKnowledge {
  storage::Lsn end = 0;
  std::vector<storage::Reign> history;
  bool elsewhere = false;  // whoever has it follows another primary now, or none
};

enum class Knows : uint8_t {
  kNothingMore,  // what it has, this log has
  kMore,         // all that this log has, and records beyond: or this log has nothing
  kOther,  // each has records that the other lacks, or it is not of this primary any more: whose count is not to be
           // found out from the logs
};
Knows Compare(const LogKnowledge& mine, const LogKnowledge& theirs);

// The answers of one round.
class LogCensus {
 public:
  LogCensus(std::vector<LogKnowledge> mine, size_t peers);

  // Nothing for what was not asked.
  void Hear(size_t peer, uint32_t shard, LogKnowledge theirs);
  // Everybody has answered for every shard, and nobody has other records.
  bool complete() const { return left_ == 0 && !parted_; }

  struct Source {
    size_t peer;
    storage::Lsn end;
  };
  // By shard, who knows most of those that know more; nullopt: nobody does.
  const std::vector<std::optional<Source>>& sources() const { return sources_; }
  bool knows_more() const;

 private:
  std::vector<LogKnowledge> mine_;
  std::vector<bool> heard_;  // by shard, then peer
  size_t peers_, left_;
  bool parted_ = false;
  std::vector<std::optional<Source>> sources_;
};

}  // namespace skein::node

#endif  // SKEIN_NODE_REPLICATION_LOG_CENSUS_H_
