// SLOWLOG. Each loop remembers the slow commands of its own clients; an answer joins them.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "node/commands/help.h"
#include "node/commands/parse.h"
#include "node/commands/server.h"
#include "node/config/config.h"
#include "node/loop.h"
#include "node/node.h"

namespace skein::node {
namespace {

using Entries = std::vector<SlowLogEntry>;

void WriteEntries(ReplyWriter& reply, const Entries& entries, size_t count) {
  reply.Array(count);
  for (size_t i = 0; i < count; ++i) {
    const SlowLogEntry& e = entries[i];
    reply.Array(6);
    reply.Integer(static_cast<int64_t>(e.id));
    reply.Integer(e.unix_seconds);
    reply.Integer(e.micros);
    reply.Array(e.argv.size());
    for (const std::string& arg : e.argv) reply.Bulk(arg);
    reply.Bulk(e.client_addr);
    reply.Bulk(e.client_name);
  }
}

void SlowlogGet(Call& call) {
  if (call.argv.size() > 3) return WrongArity(*call.spec, call.reply);
  int64_t count = 10;
  if (call.argv.size() == 3 && (!ParseInt64(call.argv[2], &count) || count < -1)) {
    return call.reply->Error("ERR count should be greater than or equal to -1");
  }
  // slowlog-max-len is about all loops together.
  const uint64_t longest = call.config->slowlog_max_len;
  const uint64_t wanted = count == -1 ? longest : std::min<uint64_t>(longest, static_cast<uint64_t>(count));
  // Each loop fills the element of its own.
  auto parts = std::make_shared<std::vector<Entries>>(call.node->loop_count());
  call.node->GatherLoops(
      call,
      [parts, wanted](Loop& loop) {
        const auto& entries = loop.slowlog().entries();
        const size_t n = std::min<size_t>(wanted, entries.size());
        (*parts)[loop.index()] = Entries(entries.begin(), entries.begin() + static_cast<ptrdiff_t>(n));
        return std::string();
      },
      [parts, wanted](ReplyWriter& reply, const std::vector<std::string>&) {
        Entries all;
        for (Entries& part : *parts) std::move(part.begin(), part.end(), std::back_inserter(all));
        std::stable_sort(all.begin(), all.end(), [](const SlowLogEntry& a, const SlowLogEntry& b) {
          return a.unix_seconds != b.unix_seconds ? a.unix_seconds > b.unix_seconds : a.id > b.id;
        });
        WriteEntries(reply, all, std::min<size_t>(wanted, all.size()));
      });
}

void SlowlogLen(Call& call) {
  const uint64_t longest = call.config->slowlog_max_len;
  call.node->GatherLoops(
      call, [](Loop& loop) { return std::to_string(loop.slowlog().entries().size()); },
      [longest](ReplyWriter& reply, const std::vector<std::string>& parts) {
        uint64_t sum = 0;
        for (const std::string& part : parts) sum += std::stoull(part);
        reply.Integer(static_cast<int64_t>(std::min(sum, longest)));
      });
}

void SlowlogReset(Call& call) {
  call.node->GatherLoops(
      call,
      [](Loop& loop) {
        loop.slowlog().Clear();
        return std::string();
      },
      [](ReplyWriter& reply, const std::vector<std::string>&) { reply.Ok(); });
}

void SlowlogHelp(Call& call) {
  static constexpr std::string_view kLines[] = {
      "GET [<count>]",
      "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
      "    Entries are made of:",
      "    id, timestamp, time in microseconds, arguments array, client IP and port,",
      "    client name",
      "LEN",
      "    Return the length of the slowlog.",
      "RESET",
      "    Reset the slowlog.",
  };
  ReplyHelp(call, "SLOWLOG", kLines);
}

constexpr uint32_t kFlags = kFlagAdmin | kFlagLoading | kFlagStale;
constexpr ArgDoc kGetArgs[] = {{.name = "count", .type = "integer", .flags = ArgDoc::kOptional}};
constexpr CommandNote kGetHistory[] = {{"4.0.0", "Added client IP address, port and name to the reply."}};
constexpr const char* kGetTips[] = {"request_policy:all_nodes", "nondeterministic_output"};
constexpr const char* kLenTips[] = {"request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"};
constexpr const char* kResetTips[] = {"request_policy:all_nodes", "response_policy:all_succeeded"};

}  // namespace

std::span<const CommandSpec> SlowlogSubcommands() {
  static const CommandSpec kRows[] = {
      {.name = "get",
       .group = "server",
       .since = "2.2.12",
       .summary = "Returns the slow log's entries.",
       .complexity = "O(N) where N is the number of entries returned",
       .arity = -2,
       .flags = kFlags,
       .acl = 0,
       .scope = Scope::kSession,
       .run = SlowlogGet,
       .args = kGetArgs,
       .parent = "slowlog",
       .history = kGetHistory,
       .tips = kGetTips},
      {.name = "help",
       .group = "server",
       .since = "6.2.0",
       .summary = "Show helpful text about the different subcommands",
       .complexity = "O(1)",
       .arity = 2,
       .flags = kFlagLoading | kFlagStale,
       .acl = 0,
       .scope = Scope::kSession,
       .run = SlowlogHelp,
       .parent = "slowlog"},
      {.name = "len",
       .group = "server",
       .since = "2.2.12",
       .summary = "Returns the number of entries in the slow log.",
       .complexity = "O(1)",
       .arity = 2,
       .flags = kFlags,
       .acl = 0,
       .scope = Scope::kSession,
       .run = SlowlogLen,
       .parent = "slowlog",
       .tips = kLenTips},
      {.name = "reset",
       .group = "server",
       .since = "2.2.12",
       .summary = "Clears all entries from the slow log.",
       .complexity = "O(N) where N is the number of entries in the slowlog",
       .arity = 2,
       .flags = kFlags,
       .acl = 0,
       .scope = Scope::kSession,
       .run = SlowlogReset,
       .parent = "slowlog",
       .tips = kResetTips},
  };
  return kRows;
}

}  // namespace skein::node
