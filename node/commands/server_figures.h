// Figures of all loops and shards at one time, for INFO, MEMORY and ROLE.
#ifndef SKEIN_NODE_COMMANDS_SERVER_FIGURES_H_
#define SKEIN_NODE_COMMANDS_SERVER_FIGURES_H_

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "node/diagnostics.h"
#include "node/node.h"
#include "node/pubsub/registry.h"
#include "storage/types.h"

namespace skein::node {

struct DatabaseFigures {
  uint64_t keys = 0, expires = 0;
  uint64_t ttl_weight = 0;  // average TTL in milliseconds times `expires`
  uint64_t AverageTtl() const { return expires == 0 ? 0 : ttl_weight / expires; }
};

struct ShardFigures {
  uint32_t index = 0;
  uint64_t used_bytes = 0, pending_bytes = 0, expired_keys = 0, keys = 0;
  uint64_t backlog_bytes = 0, backlog_extra_bytes = 0;  // memory; the second: of it, what only replicas' lag keeps
  uint64_t changes = 0;                                 // since the start, as save points count them
  uint64_t snapshot_kept_bytes = 0;                     // held only for a snapshot
  storage::Lsn end = 0, durable = 0;
  std::vector<DatabaseFigures> databases;
};

struct LoopFigures {
  LoopStats stats;
  std::vector<ShardFigures> shards;
  std::vector<CommandStats> commands;
  ErrorStats errors;
  int64_t cpu_user_micros = 0, cpu_system_micros = 0;
  uint64_t published_dropped = 0;
  // Of the names that clients are subscribed to, by kind: a hash of each, since loops may have the same ones.
  std::array<std::vector<uint64_t>, kSubscriptionKinds> subscriptions;
};

struct Figures {
  std::vector<LoopFigures> loops;

  LoopStats Total() const;
  // In order of index.
  std::vector<ShardFigures> Shards() const;
  std::vector<DatabaseFigures> Databases() const;
  uint64_t used_bytes() const;     // of all shards
  uint64_t pending_bytes() const;  // of all logs
  uint64_t backlog_bytes() const;
  uint64_t backlog_extra_bytes() const;
  uint64_t expired_keys() const;
  uint64_t keys() const;
  uint64_t changes() const;
  uint64_t snapshot_kept_bytes() const;
  // Sum of the logs' ends: what clients know as the replication offset.
  uint64_t offset() const;
  uint64_t client_bytes() const;
  uint64_t published_dropped() const;
  // Names that any client is subscribed to.
  size_t subscriptions(SubscriptionKind kind) const;
};

// Each loop fills its part on its own thread, then `whole` on the caller's loop writes the reply.
void GatherFigures(Call& call, std::function<void(ReplyWriter&, const Figures&)> whole);

}  // namespace skein::node

#endif  // SKEIN_NODE_COMMANDS_SERVER_FIGURES_H_
