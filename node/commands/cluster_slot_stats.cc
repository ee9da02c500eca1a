// CLUSTER SLOT-STATS. Source: the Valkey 8 documentation of the command.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "node/commands/cluster.h"
#include "node/commands/parse.h"
#include "node/config/config.h"
#include "node/loop.h"
#include "node/node.h"
#include "node/slot_stats.h"
#include "storage/slot.h"

namespace skein::node {
namespace {

struct Row {
  uint16_t slot;
  uint64_t keys = 0, usec = 0, bytes_in = 0, bytes_out = 0;
};
using Metric = uint64_t Row::*;

// What is asked for: a range, in the order of slots; or the greatest or least by a metric.
struct Query {
  uint16_t first = 0, last = storage::kSlots - 1;
  Metric order_by = nullptr;
  bool descending = true;
  int64_t limit = storage::kSlots;
  bool all_metrics = false;
};

bool ParseSlot(Call& call, std::string_view word, uint16_t* slot) {
  int64_t n;
  if (!ParseInt64(word, &n) || n < 0 || n >= storage::kSlots) {
    call.reply->Error("ERR Invalid or out of range slot");
    return false;
  }
  *slot = static_cast<uint16_t>(n);
  return true;
}

bool ParseRange(Call& call, Query* query) {
  if (!ParseSlot(call, call.argv[3], &query->first) || !ParseSlot(call, call.argv[4], &query->last)) return false;
  if (query->first <= query->last) return true;
  call.reply->Error(
      fmt::format("ERR Start slot number {} is greater than end slot number {}", query->first, query->last));
  return false;
}

Metric MetricOf(std::string_view word, bool all) {
  if (IsWord(word, "KEY-COUNT")) return &Row::keys;
  if (!all) return nullptr;
  if (IsWord(word, "CPU-USEC")) return &Row::usec;
  if (IsWord(word, "NETWORK-BYTES-IN")) return &Row::bytes_in;
  if (IsWord(word, "NETWORK-BYTES-OUT")) return &Row::bytes_out;
  return nullptr;
}

bool ParseOrder(Call& call, Query* query) {
  query->order_by = MetricOf(call.argv[3], query->all_metrics);
  if (query->order_by == nullptr) {
    call.reply->Error("ERR Unrecognized sort metric for ORDERBY.");
    return false;
  }
  int limits = 0, directions = 0;
  for (size_t i = 4; i < call.argv.size(); ++i) {
    if (IsWord(call.argv[i], "LIMIT") && i + 1 < call.argv.size()) {
      if (!ParseInt64(call.argv[++i], &query->limit) || query->limit < 1 || query->limit > storage::kSlots) {
        call.reply->Error("ERR Limit has to lie in between 1 and 16384 (maximum number of slots).");
        return false;
      }
      ++limits;
    } else if (IsWord(call.argv[i], "ASC") || IsWord(call.argv[i], "DESC")) {
      query->descending = IsWord(call.argv[i], "DESC");
      ++directions;
    } else {
      call.reply->SyntaxError();
      return false;
    }
    if (limits > 1 || directions > 1) {
      call.reply->Error("ERR Multiple filters of the same type are disallowed.");
      return false;
    }
  }
  return true;
}

// The rows of the slots that this loop's shards hold and that this node's group owns.
std::vector<Row> RowsOf(Loop& loop, const Query& query, uint32_t shards) {
  const bus::Topology& topology = *loop.topology();
  const bus::NodeIndex owner = topology.me().primary ? 0 : topology.me().primary_index;
  std::vector<Row> rows;
  loop.ForEachShard([&](storage::Shard& shard) {
    const uint32_t aligned = query.first - query.first % shards + shard.index();
    for (uint32_t slot = aligned < query.first ? aligned + shards : aligned; slot <= query.last; slot += shards) {
      if (owner == bus::kNobody || topology.owner[slot] != owner) continue;
      Row row{.slot = static_cast<uint16_t>(slot)};
      row.keys = shard.KeyCountInSlot(0, row.slot);
      if (const SlotStats* stats = loop.slot_stats()) {
        const SlotUse& use = (*stats)[row.slot];
        row.usec = static_cast<uint64_t>(loop.NanosOf(use.cycles) / 1000);
        row.bytes_in = use.bytes_in;
        row.bytes_out = use.bytes_out;
      }
      rows.push_back(row);
    }
  });
  return rows;
}

void Write(std::vector<Row> rows, const Query& query, ReplyWriter& reply) {
  std::sort(rows.begin(), rows.end(), [&query](const Row& a, const Row& b) {
    if (query.order_by == nullptr || a.*query.order_by == b.*query.order_by) return a.slot < b.slot;
    return (a.*query.order_by < b.*query.order_by) != query.descending;
  });
  if (rows.size() > static_cast<size_t>(query.limit)) rows.resize(static_cast<size_t>(query.limit));
  reply.Array(rows.size());
  for (const Row& row : rows) {
    reply.Array(2);
    reply.Integer(row.slot);
    reply.Map(query.all_metrics ? 4 : 1);
    reply.Bulk("key-count");
    reply.Integer(static_cast<int64_t>(row.keys));
    if (!query.all_metrics) continue;
    reply.Bulk("cpu-usec");
    reply.Integer(static_cast<int64_t>(row.usec));
    reply.Bulk("network-bytes-in");
    reply.Integer(static_cast<int64_t>(row.bytes_in));
    reply.Bulk("network-bytes-out");
    reply.Integer(static_cast<int64_t>(row.bytes_out));
  }
}

}  // namespace

void ClusterSlotStats(Call& call) {
  Query query;
  query.all_metrics = call.config->cluster_slot_stats_enabled;
  if (call.argv.size() == 5 && IsWord(call.argv[2], "SLOTSRANGE")) {
    if (!ParseRange(call, &query)) return;
  } else if (call.argv.size() >= 4 && IsWord(call.argv[2], "ORDERBY")) {
    if (!ParseOrder(call, &query)) return;
  } else {
    return call.reply->Error(
        fmt::format("ERR unknown subcommand or wrong number of arguments for '{}'. Try CLUSTER HELP.", call.argv[1]));
  }
  auto parts = std::make_shared<std::vector<std::vector<Row>>>(call.node->loop_count());
  call.node->GatherLoops(
      call,
      [parts, query, shards = call.node->shard_count()](Loop& loop) {
        (*parts)[loop.index()] = RowsOf(loop, query, shards);  // each loop its own element
        return std::string();
      },
      [parts, query](ReplyWriter& reply, const std::vector<std::string>&) {
        std::vector<Row> rows;
        for (const std::vector<Row>& part : *parts) rows.insert(rows.end(), part.begin(), part.end());
        Write(std::move(rows), query, reply);
      });
}

}  // namespace skein::node
