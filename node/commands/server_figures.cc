#include "node/commands/server_figures.h"

#include <sys/resource.h>

#include <algorithm>
#include <memory>

#include "node/loop.h"
#include "storage/backlog.h"
#include "storage/log.h"
#include "storage/shard.h"

namespace skein::node {
namespace {

ShardFigures OfShard(const storage::Shard& shard) {
  ShardFigures f;
  f.index = shard.index();
  f.used_bytes = shard.used_bytes();
  f.expired_keys = shard.expired_keys();
  f.changes = shard.changes();
  f.snapshot_kept_bytes = shard.snapshot_kept_bytes();
  if (storage::Log* const log = shard.log(); log != nullptr) {
    f.pending_bytes = log->pending_bytes();
    if (const storage::Backlog* const backlog = log->backlog()) {
      f.backlog_bytes = backlog->memory();
      f.backlog_extra_bytes = backlog->extra_memory();
    }
    f.end = log->end();
    f.durable = log->durable();
  }
  f.databases.resize(shard.databases());
  for (uint32_t db = 0; db < shard.databases(); ++db) {
    DatabaseFigures& d = f.databases[db];
    d.keys = shard.KeyCount(db);
    if (d.keys == 0) continue;
    d.expires = shard.ExpiringKeyCount(db);
    d.ttl_weight = shard.AverageTtlMillis(db) * d.expires;
    f.keys += d.keys;
  }
  return f;
}

int64_t Micros(const timeval& t) { return t.tv_sec * int64_t{1000000} + t.tv_usec; }

LoopFigures OfLoop(Loop& loop) {
  LoopFigures f;
  f.stats = loop.stats();
  loop.ForEachShard([&f](storage::Shard& shard) { f.shards.push_back(OfShard(shard)); });
  loop.ForEachCommandStats([&f](const CommandStats& stats) { f.commands.push_back(stats); });
  f.errors = loop.error_stats();
  f.published_dropped = loop.published_dropped();
  for (size_t kind = 0; kind < kSubscriptionKinds; ++kind) {
    loop.subscriptions().ForEach(static_cast<SubscriptionKind>(kind), [&](const Channel& channel) {
      f.subscriptions[kind].push_back(std::hash<std::string>()(channel.name));
    });
  }
  rusage usage;
  if (getrusage(RUSAGE_THREAD, &usage) == 0) {
    f.cpu_user_micros = Micros(usage.ru_utime);
    f.cpu_system_micros = Micros(usage.ru_stime);
  }
  return f;
}

template <typename Get>
uint64_t SumOfShards(const Figures& figures, Get get) {
  uint64_t sum = 0;
  for (const LoopFigures& loop : figures.loops) {
    for (const ShardFigures& shard : loop.shards) sum += get(shard);
  }
  return sum;
}

}  // namespace

LoopStats Figures::Total() const {
  LoopStats sum;
  for (const LoopFigures& loop : loops) {
    const LoopStats& s = loop.stats;
    sum.commands += s.commands;
    sum.connections += s.connections;
    sum.rejected += s.rejected;
    sum.net_in += s.net_in;
    sum.net_out += s.net_out;
    sum.keyspace_hits += s.keyspace_hits;
    sum.keyspace_misses += s.keyspace_misses;
    sum.errors += s.errors;
    sum.query_buffer_limit_closes += s.query_buffer_limit_closes;
    sum.output_limit_closes += s.output_limit_closes;
    sum.handed_over += s.handed_over;
    sum.timeouts += s.timeouts;
    sum.tls_handshakes += s.tls_handshakes;
    sum.tls_handshake_failures += s.tls_handshake_failures;
    sum.tls_handshake_timeouts += s.tls_handshake_timeouts;
    sum.clients += s.clients;
    sum.blocked += s.blocked;
    sum.output_bytes += s.output_bytes;
    sum.query_bytes += s.query_bytes;
  }
  return sum;
}

std::vector<ShardFigures> Figures::Shards() const {
  std::vector<ShardFigures> all;
  for (const LoopFigures& loop : loops) all.insert(all.end(), loop.shards.begin(), loop.shards.end());
  std::sort(all.begin(), all.end(), [](const ShardFigures& a, const ShardFigures& b) { return a.index < b.index; });
  return all;
}

std::vector<DatabaseFigures> Figures::Databases() const {
  std::vector<DatabaseFigures> sum;
  for (const LoopFigures& loop : loops) {
    for (const ShardFigures& shard : loop.shards) {
      sum.resize(std::max(sum.size(), shard.databases.size()));
      for (size_t db = 0; db < shard.databases.size(); ++db) {
        sum[db].keys += shard.databases[db].keys;
        sum[db].expires += shard.databases[db].expires;
        sum[db].ttl_weight += shard.databases[db].ttl_weight;
      }
    }
  }
  return sum;
}

uint64_t Figures::used_bytes() const {
  return SumOfShards(*this, [](const ShardFigures& s) { return s.used_bytes; });
}
uint64_t Figures::pending_bytes() const {
  return SumOfShards(*this, [](const ShardFigures& s) { return s.pending_bytes; });
}
uint64_t Figures::backlog_bytes() const {
  return SumOfShards(*this, [](const ShardFigures& s) { return s.backlog_bytes; });
}
uint64_t Figures::backlog_extra_bytes() const {
  return SumOfShards(*this, [](const ShardFigures& s) { return s.backlog_extra_bytes; });
}
uint64_t Figures::expired_keys() const {
  return SumOfShards(*this, [](const ShardFigures& s) { return s.expired_keys; });
}
uint64_t Figures::keys() const {
  return SumOfShards(*this, [](const ShardFigures& s) { return s.keys; });
}
uint64_t Figures::changes() const {
  return SumOfShards(*this, [](const ShardFigures& s) { return s.changes; });
}
uint64_t Figures::snapshot_kept_bytes() const {
  return SumOfShards(*this, [](const ShardFigures& s) { return s.snapshot_kept_bytes; });
}
uint64_t Figures::offset() const {
  return SumOfShards(*this, [](const ShardFigures& s) { return s.end; });
}
uint64_t Figures::client_bytes() const {
  uint64_t sum = 0;
  for (const LoopFigures& loop : loops) sum += loop.stats.output_bytes + loop.stats.query_bytes;
  return sum;
}

uint64_t Figures::published_dropped() const {
  uint64_t sum = 0;
  for (const LoopFigures& loop : loops) sum += loop.published_dropped;
  return sum;
}
size_t Figures::subscriptions(SubscriptionKind kind) const {
  std::vector<uint64_t> all;
  for (const LoopFigures& loop : loops) {
    const std::vector<uint64_t>& names = loop.subscriptions[static_cast<size_t>(kind)];
    all.insert(all.end(), names.begin(), names.end());
  }
  std::sort(all.begin(), all.end());
  return static_cast<size_t>(std::unique(all.begin(), all.end()) - all.begin());
}

void GatherFigures(Call& call, std::function<void(ReplyWriter&, const Figures&)> whole) {
  // Each loop writes the element of its own; the gathering orders that before `whole`.
  auto figures = std::make_shared<Figures>();
  figures->loops.resize(call.node->loop_count());
  call.node->GatherLoops(
      call,
      [figures](Loop& loop) {
        figures->loops[loop.index()] = OfLoop(loop);
        return std::string();
      },
      [figures, whole = std::move(whole)](ReplyWriter& reply, const std::vector<std::string>&) {
        whole(reply, *figures);
      });
}

}  // namespace skein::node
