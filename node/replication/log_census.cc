#include "node/replication/log_census.h"

#include <algorithm>
#include <utility>

#include "storage/history.h"

namespace skein::node {

Knows Compare(const LogKnowledge& mine, const LogKnowledge& theirs) {
  if (theirs.history.empty()) return Knows::kNothingMore;
  if (theirs.elsewhere) return Knows::kOther;
  if (mine.history.empty()) return Knows::kMore;
  const std::optional<storage::Lsn> common = storage::CommonPoint(mine.history, mine.end, theirs.history, theirs.end);
  if (common == theirs.end) return Knows::kNothingMore;
  return common == mine.end ? Knows::kMore : Knows::kOther;
}

LogCensus::LogCensus(std::vector<LogKnowledge> mine, size_t peers)
    : mine_(std::move(mine)),
      heard_(mine_.size() * peers),
      peers_(peers),
      left_(heard_.size()),
      sources_(mine_.size()) {}

void LogCensus::Hear(size_t peer, uint32_t shard, LogKnowledge theirs) {
  if (peer >= peers_ || shard >= mine_.size() || heard_[shard * peers_ + peer]) return;
  heard_[shard * peers_ + peer] = true;
  --left_;
  switch (Compare(mine_[shard], theirs)) {
    case Knows::kNothingMore:
      break;
    case Knows::kOther:
      parted_ = true;
      break;
    case Knows::kMore:
      if (!sources_[shard] || sources_[shard]->end < theirs.end) sources_[shard] = Source{peer, theirs.end};
  }
}

bool LogCensus::knows_more() const {
  return std::any_of(sources_.begin(), sources_.end(), [](const auto& source) { return source.has_value(); });
}

}  // namespace skein::node
