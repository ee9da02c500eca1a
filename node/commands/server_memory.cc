// MEMORY. What a key takes is asked of its shard; everything else is about the process.
#include <algorithm>
#include <string>
#include <vector>

#include "fmt/format.h"
#include "node/commands/allocator.h"
#include "node/commands/help.h"
#include "node/commands/parse.h"
#include "node/commands/server.h"
#include "node/commands/server_figures.h"
#include "node/config/config.h"
#include "node/node.h"

namespace skein::node {
namespace {

void MemoryUsage(Call& call) {
  for (size_t i = 3; i < call.argv.size(); i += 2) {
    if (!IsWord(call.argv[i], "SAMPLES") || i + 1 >= call.argv.size()) return call.reply->SyntaxError();
    int64_t samples;
    if (!ParseInt64(call.argv[i + 1], &samples)) return call.reply->NotAnInteger();
    // The size of a value is known, not estimated: the number is checked and not needed.
    if (samples < 0) return call.reply->SyntaxError();
  }
  const storage::Entry* const entry = call.shard->Find(call.caller.db, call.key(2), storage::Shard::Touch::kNo);
  if (entry == nullptr) return call.reply->Null();
  call.reply->Integer(static_cast<int64_t>(entry->memory_usage()));
}

struct Field {
  std::string name;
  double value;
  bool whole;  // an integer
};

std::vector<Field> Describe(const Figures& figures) {
  const uint64_t data = figures.used_bytes(), keys = figures.keys(), rss = ResidentBytes();
  const std::optional<AllocatorFigures> allocator = ReadAllocator();
  const uint64_t used = allocator ? allocator->allocated : data;
  std::vector<Field> fields;
  const auto whole = [&](std::string name, uint64_t n) {
    fields.push_back({std::move(name), static_cast<double>(n), true});
  };
  const auto real = [&](std::string name, double x) { fields.push_back({std::move(name), x, false}); };
  const auto share = [](uint64_t a, uint64_t b) {
    return b == 0 ? 0.0 : static_cast<double>(a) / static_cast<double>(b);
  };
  whole("total.allocated", used);
  whole("replication.backlog", figures.backlog_bytes() - figures.backlog_extra_bytes());
  whole("clients.slaves", figures.backlog_extra_bytes());
  whole("clients.normal", figures.client_bytes());
  whole("aof.buffer", figures.pending_bytes());
  whole("overhead.total", used - std::min(used, data));
  whole("keys.count", keys);
  whole("keys.bytes-per-key", keys == 0 ? 0 : data / keys);
  whole("dataset.bytes", data);
  real("dataset.percentage", 100 * share(data, used));
  if (allocator) {
    whole("allocator.allocated", allocator->allocated);
    whole("allocator.active", allocator->active);
    whole("allocator.resident", allocator->resident);
    real("allocator-fragmentation.ratio", share(allocator->active, allocator->allocated));
    whole("allocator-fragmentation.bytes", allocator->active - allocator->allocated);
    real("allocator-rss.ratio", share(allocator->resident, allocator->active));
    real("rss-overhead.ratio", share(rss, allocator->resident));
  }
  real("fragmentation", share(rss, used));
  fields.push_back({"fragmentation.bytes", static_cast<double>(rss) - static_cast<double>(used), true});
  return fields;
}

void MemoryStats(Call& call) {
  GatherFigures(call, [](ReplyWriter& reply, const Figures& figures) {
    const std::vector<Field> fields = Describe(figures);
    reply.Map(fields.size());
    for (const Field& field : fields) {
      reply.Bulk(field.name);
      if (field.whole) {
        reply.Integer(static_cast<int64_t>(field.value));
      } else {
        reply.Double(field.value);
      }
    }
  });
}

std::string Diagnose(const Figures& figures, const Config& config) {
  constexpr uint64_t kSmall = 5u << 20;
  const uint64_t data = figures.used_bytes(), clients = figures.client_bytes(), rss = ResidentBytes();
  const std::optional<AllocatorFigures> allocator = ReadAllocator();
  const uint64_t used = allocator ? allocator->allocated : data;
  if (used < kSmall) return "There is too little data for a judgement: the node uses less than 5 MiB.";
  std::string found;
  if (allocator && static_cast<double>(rss) > 1.4 * static_cast<double>(used) && rss - used > 64u << 20) {
    found += fmt::format(
        "* Fragmentation: the process holds {} bytes of physical memory for {} that are in use. MEMORY PURGE gives "
        "free "
        "pages back.\n",
        rss, used);
  }
  if (clients > used / 4) {
    found += fmt::format(
        "* Clients: {} bytes wait in the buffers of clients. CLIENT LIST (qbuf, omem) shows whose; "
        "client-output-buffer-limit bounds them.\n",
        clients);
  }
  if (config.maxmemory != 0 && data > config.maxmemory / 10 * 9) {
    found += fmt::format("* Limit: {} of the {} bytes of maxmemory are taken; past it writes are refused.\n", data,
                         config.maxmemory);
  }
  return found.empty() ? "No memory problem was found." : "Found:\n\n" + found;
}

void MemoryDoctor(Call& call) {
  GatherFigures(call, [config = call.node->config()](ReplyWriter& reply, const Figures& figures) {
    reply.Verbatim("txt", Diagnose(figures, *config));
  });
}

void MemoryMallocStats(Call& call) {
  const std::string report = AllocatorReport();
  if (report.empty()) return call.reply->Bulk("Stats not supported for the current allocator");
  call.reply->Verbatim("txt", report);
}

void MemoryPurge(Call& call) {
  if (!PurgeAllocator()) return call.reply->Error("ERR Error purging dirty pages");
  call.reply->Ok();
}

void MemoryHelp(Call& call) {
  static constexpr std::string_view kLines[] = {
      "DOCTOR",
      "    Return memory problems reports.",
      "MALLOC-STATS",
      "    Return internal statistics report from the memory allocator.",
      "PURGE",
      "    Attempt to purge dirty pages for reclamation by the allocator.",
      "STATS",
      "    Return information about the memory usage of the server.",
      "USAGE <key> [SAMPLES <count>]",
      "    Return memory in bytes used by <key> and its value. Nested values are",
      "    sampled up to <count> times (default: 5, 0 means sample all).",
  };
  ReplyHelp(call, "MEMORY", kLines);
}

constexpr KeySpec kUsageKeys[] = {{.flags = KeySpec::kRo, .index = 2}};
constexpr ArgDoc kUsageArgs[] = {{.name = "key", .type = "key", .key_spec_index = 0},
                                 {.name = "count", .type = "integer", .token = "SAMPLES", .flags = ArgDoc::kOptional}};
constexpr const char* kSpecialTips[] = {"nondeterministic_output", "request_policy:all_shards",
                                        "response_policy:special"};
constexpr const char* kPurgeTips[] = {"request_policy:all_shards", "response_policy:all_succeeded"};

CommandSpec Row(const char* name, const char* summary, const char* complexity, void (*run)(Call&),
                std::span<const char* const> tips) {
  return {.name = name,
          .group = "server",
          .since = "4.0.0",
          .summary = summary,
          .complexity = complexity,
          .arity = 2,
          .flags = 0,
          .acl = 0,
          .scope = Scope::kSession,
          .run = run,
          .parent = "memory",
          .tips = tips};
}

}  // namespace

std::span<const CommandSpec> MemorySubcommands() {
  constexpr const char* kSlow = "Depends on how much memory is allocated, could be slow";
  static const CommandSpec kRows[] = {
      Row("doctor", "Outputs a memory problems report.", "O(1)", MemoryDoctor, kSpecialTips),
      {.name = "help",
       .group = "server",
       .since = "4.0.0",
       .summary = "Returns helpful text about the different subcommands.",
       .complexity = "O(1)",
       .arity = 2,
       .flags = kFlagLoading | kFlagStale,
       .acl = 0,
       .scope = Scope::kSession,
       .run = MemoryHelp,
       .parent = "memory"},
      Row("malloc-stats", "Returns the allocator statistics.", kSlow, MemoryMallocStats, kSpecialTips),
      Row("purge", "Asks the allocator to release memory.", kSlow, MemoryPurge, kPurgeTips),
      Row("stats", "Returns details about memory usage.", "O(1)", MemoryStats, kSpecialTips),
      {.name = "usage",
       .group = "server",
       .since = "4.0.0",
       .summary = "Estimates the memory usage of a key.",
       .complexity = "O(N) where N is the number of samples.",
       .arity = -3,
       .flags = kFlagReadonly,
       .acl = 0,
       .scope = Scope::kShard,
       .run = MemoryUsage,
       .keys = kUsageKeys,
       .args = kUsageArgs,
       .parent = "memory"},
  };
  return kRows;
}

}  // namespace skein::node
