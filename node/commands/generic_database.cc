// Commands on whole databases: RANDOMKEY, DBSIZE, FLUSHDB, FLUSHALL, SWAPDB. All of them run on every shard.
#include <charconv>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <random>
#include <string>

#include "node/buffer.h"
#include "node/commands/generic.h"
#include "node/commands/lookup.h"
#include "node/commands/parse.h"
#include "node/config/config.h"

namespace skein::node {
namespace {

void PutCount(Call& call, uint64_t n) { call.reply->Raw({reinterpret_cast<const char*>(&n), sizeof(n)}); }

uint64_t CountOf(std::string_view partial) {
  uint64_t n = 0;
  std::memcpy(&n, partial.data(), sizeof(n));
  return n;
}

// The ASYNC or SYNC of FLUSHDB and FLUSHALL; nullopt: a syntax error, which has been written.
std::optional<bool> FlushLazily(Call& call) {
  if (call.argv.size() == 1) return call.config->lazyfree_lazy_user_flush;
  if (call.argv.size() == 2 && IsWord(call.argv[1], "sync")) return false;
  if (call.argv.size() == 2 && IsWord(call.argv[1], "async")) return true;
  call.reply->SyntaxError();
  return std::nullopt;
}

bool ParseIndex(Call& call, std::string_view text, const char* error, int64_t* index) {
  if (ParseInt64(text, index) && *index >= std::numeric_limits<int32_t>::min() &&
      *index <= std::numeric_limits<int32_t>::max()) {
    return true;
  }
  call.reply->Error(error);
  return false;
}

}  // namespace

// A partial is the number of keys in the shard and one of them, chosen about evenly; no key if none was found alive.
void RunRandomkey(Call& call) {
  const std::optional<std::string> key = call.shard->RandomKey(call.caller.db);
  PutCount(call, key ? call.shard->KeyCount(call.caller.db) : 0);
  if (key) call.reply->Raw(*key);
}

// A shard is chosen with the weight of its keys.
void MergeRandomkey(Call& call, Partials partials) {
  thread_local std::minstd_rand random{std::random_device{}()};
  uint64_t total = 0;
  for (const std::string_view partial : partials) total += CountOf(partial);
  if (total == 0) return call.reply->Null();
  uint64_t at = std::uniform_int_distribution<uint64_t>(0, total - 1)(random);
  for (const std::string_view partial : partials) {
    const uint64_t count = CountOf(partial);
    if (at < count) return call.reply->Bulk(partial.substr(sizeof(uint64_t)));
    at -= count;
  }
}

void RunDbsize(Call& call) { PutCount(call, call.shard->KeyCount(call.caller.db)); }

void MergeDbsize(Call& call, Partials partials) {
  uint64_t total = 0;
  for (const std::string_view partial : partials) total += CountOf(partial);
  call.reply->Integer(static_cast<int64_t>(total));
}

void RunFlushdb(Call& call) {
  const std::optional<bool> lazy = FlushLazily(call);
  if (!lazy) return;
  call.shard->FlushDb(call.caller.db, *lazy);
  call.reply->Ok();
}

void RunFlushall(Call& call) {
  const std::optional<bool> lazy = FlushLazily(call);
  if (!lazy) return;
  call.shard->FlushAll(*lazy);
  call.reply->Ok();
}

// With several shards the node is in cluster mode, where SWAPDB is refused; so a swap is one effect of one shard.
void RunSwapdb(Call& call) {
  if (call.config->cluster_enabled) return call.reply->Error("ERR SWAPDB is not allowed in cluster mode");
  int64_t first = 0, second = 0;
  if (!ParseIndex(call, call.argv[1], "ERR invalid first DB index", &first)) return;
  if (!ParseIndex(call, call.argv[2], "ERR invalid second DB index", &second)) return;
  const int64_t databases = call.shard->databases();
  if (first < 0 || first >= databases || second < 0 || second >= databases) {
    return call.reply->Error("ERR DB index is out of range");
  }
  if (first != second) call.shard->SwapDb(static_cast<uint32_t>(first), static_cast<uint32_t>(second));
  call.reply->Ok();
}

void MergeAllSucceeded(Call& call, Partials partials) {
  for (const std::string_view partial : partials) {
    if (!partial.empty() && partial[0] == '-') return call.reply->Raw(partial);
  }
  call.reply->Raw(partials.front());
}

}  // namespace skein::node
