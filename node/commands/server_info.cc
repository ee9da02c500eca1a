// INFO: sections of "field:value" lines, with Redis' names where the meaning is the same, so that tools read them.
// A figure that this node does not keep is left out, not made up.
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "fmt/format.h"
#include "node/commands/allocator.h"
#include "node/commands/command_words.h"
#include "node/commands/parse.h"
#include "node/commands/persistence_info.h"
#include "node/commands/replication_info.h"
#include "node/commands/server.h"
#include "node/commands/server_figures.h"
#include "node/config/check.h"
#include "node/config/config.h"
#include "node/node.h"
#include "node/version.h"

namespace skein::node {
namespace {

// ---- Figures that need more than one look --------------------------------------------------------------------------

// Rates between two looks: over at least a second, or since the node started. Nothing is sampled while nobody asks.
class RateMeter {
 public:
  struct Sample {
    int64_t at_ms;
    uint64_t commands, net_in, net_out;
  };
  struct Rates {
    uint64_t commands = 0;
    double in_kbps = 0, out_kbps = 0;
  };

  Rates Look(const Sample& now, int64_t start_ms) {
    const std::lock_guard lock(mutex_);
    Sample from{start_ms, 0, 0, 0};
    for (const Sample& sample : samples_) {
      // After CONFIG RESETSTAT the counters begin again.
      if (now.at_ms - sample.at_ms >= 1000 && sample.commands <= now.commands) from = sample;
    }
    samples_.push_back(now);
    if (samples_.size() > kSamples) samples_.pop_front();
    const double seconds = static_cast<double>(std::max<int64_t>(now.at_ms - from.at_ms, 1)) / 1000;
    return {static_cast<uint64_t>(static_cast<double>(now.commands - from.commands) / seconds),
            static_cast<double>(now.net_in - std::min(from.net_in, now.net_in)) / 1024 / seconds,
            static_cast<double>(now.net_out - std::min(from.net_out, now.net_out)) / 1024 / seconds};
  }

 private:
  static constexpr size_t kSamples = 64;
  std::mutex mutex_;  // INFO alone takes it
  std::deque<Sample> samples_;
};

uint64_t Peak(uint64_t now) {
  static std::atomic<uint64_t> peak{0};
  uint64_t seen = peak.load(std::memory_order_relaxed);
  while (seen < now && !peak.compare_exchange_weak(seen, now, std::memory_order_relaxed)) {
  }
  return std::max(seen, now);
}

// ---- Text ----------------------------------------------------------------------------------------------------------

// "1.04M", as Redis shortens sizes.
std::string Human(uint64_t bytes) {
  constexpr const char* kUnits[] = {"K", "M", "G", "T", "P"};
  if (bytes < 1024) return fmt::format("{}B", bytes);
  double size = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  for (; size >= 1024 && unit + 1 < std::size(kUnits); ++unit) size /= 1024;
  return fmt::format("{:.2f}{}", size, kUnits[unit]);
}

struct View {
  Node* node;
  ConfigPtr config;
  const Figures* figures;
  LoopStats total;
  ReplicationInfo replication;
  std::string* out;

  template <typename Value>
  void Line(std::string_view field, const Value& value) const {
    fmt::format_to(std::back_inserter(*out), "{}:{}\r\n", field, value);
  }
  void Seconds(std::string_view field, int64_t micros) const {
    fmt::format_to(std::back_inserter(*out), "{}:{}.{:06}\r\n", field, micros / 1000000, micros % 1000000);
  }
  // With "_human" beside it.
  void Bytes(const std::string& field, uint64_t bytes) const {
    Line(field, bytes);
    Line(field + "_human", Human(bytes));
  }
};

int64_t UnixMicros() {
  using std::chrono::duration_cast, std::chrono::microseconds, std::chrono::system_clock;
  return duration_cast<microseconds>(system_clock::now().time_since_epoch()).count();
}

// ---- Sections ------------------------------------------------------------------------------------------------------

void Server(const View& v) {
  utsname os{};
  uname(&os);
  char program[4096];
  const ssize_t n = readlink("/proc/self/exe", program, sizeof program);
  const int64_t now = UnixMicros();
  const int64_t up = std::max<int64_t>(0, now / 1000 - v.node->start_time_ms()) / 1000;
  v.Line("redis_version", kRedisVersion);
  v.Line("skein_version", kSkeinVersion);
  v.Line("redis_mode", v.config->cluster_enabled ? "cluster" : "standalone");
  v.Line("os", fmt::format("{} {} {}", os.sysname, os.release, os.machine));
  v.Line("arch_bits", sizeof(void*) * 8);
  v.Line("monotonic_clock", "POSIX clock_gettime");
  v.Line("multiplexing_api", "epoll");
  v.Line("gcc_version", fmt::format("{}.{}.{}", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__));
  v.Line("process_id", getpid());
  v.Line("run_id", v.node->run_id());
  v.Line("tcp_port", v.config->port != 0 ? v.config->port : v.config->tls_port);
  v.Line("server_time_usec", now);
  v.Line("uptime_in_seconds", up);
  v.Line("uptime_in_days", up / 86400);
  v.Line("hz", v.config->hz);
  v.Line("configured_hz", v.config->hz);
  v.Line("lru_clock", (now / 1000000) & 0xffffff);
  v.Line("executable", std::string_view(program, n > 0 ? static_cast<size_t>(n) : 0));
  v.Line("config_file", v.config->config_file);
  v.Line("io_threads_active", 0);
  v.Line("client_loops", v.node->loop_count());
  v.Line("storage_shards", v.node->shard_count());
}

void Clients(const View& v) {
  v.Line("connected_clients", v.node->connected_clients());
  v.Line("maxclients", v.config->maxclients);
  v.Line("blocked_clients", v.total.blocked);
  v.Line("tracking_clients", 0);
  v.Line("clients_in_timeout_table", 0);
  v.Line("total_blocking_keys", 0);
}

void Memory(const View& v) {
  const uint64_t data = v.figures->used_bytes(), rss = ResidentBytes();
  const std::optional<AllocatorFigures> allocator = ReadAllocator();
  const uint64_t used = allocator ? allocator->allocated : data;
  const uint64_t peak = Peak(used);
  const auto percent = [](uint64_t part, uint64_t whole) {
    return fmt::format("{:.2f}%", whole == 0 ? 0.0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole));
  };
  const auto ratio = [](uint64_t a, uint64_t b) {
    return fmt::format("{:.2f}", b == 0 ? 0.0 : static_cast<double>(a) / static_cast<double>(b));
  };
  v.Bytes("used_memory", used);
  v.Bytes("used_memory_rss", rss);
  v.Bytes("used_memory_peak", peak);
  v.Line("used_memory_peak_perc", percent(used, peak));
  v.Line("used_memory_overhead", used - std::min(used, data));
  v.Line("used_memory_dataset", data);
  v.Line("used_memory_dataset_perc", percent(data, used));
  if (allocator) {
    v.Line("allocator_allocated", allocator->allocated);
    v.Line("allocator_active", allocator->active);
    v.Line("allocator_resident", allocator->resident);
  }
  v.Bytes("total_system_memory", SystemMemory());
  v.Bytes("maxmemory", v.config->maxmemory);
  v.Line("maxmemory_policy", v.config->maxmemory_policy);
  if (allocator) {
    v.Line("allocator_frag_ratio", ratio(allocator->active, allocator->allocated));
    v.Line("allocator_frag_bytes", allocator->active - allocator->allocated);
    v.Line("allocator_rss_ratio", ratio(allocator->resident, allocator->active));
    v.Line("allocator_rss_bytes", static_cast<int64_t>(allocator->resident) - static_cast<int64_t>(allocator->active));
    v.Line("rss_overhead_ratio", ratio(rss, allocator->resident));
    v.Line("rss_overhead_bytes", static_cast<int64_t>(rss) - static_cast<int64_t>(allocator->resident));
  }
  v.Line("mem_fragmentation_ratio", ratio(rss, used));
  v.Line("mem_fragmentation_bytes", static_cast<int64_t>(rss) - static_cast<int64_t>(used));
  // As in Redis: of what replicas are sent from, the backlog as far as its limit, and what beyond it their lag keeps.
  const uint64_t replicas = v.figures->backlog_bytes(), extra = v.figures->backlog_extra_bytes();
  v.Line("mem_not_counted_for_evict", extra);
  v.Line("mem_replication_backlog", replicas - extra);
  v.Line("mem_total_replication_buffers", replicas);
  v.Line("mem_clients_slaves", extra);
  v.Line("mem_clients_normal", v.figures->client_bytes());
  v.Line("mem_aof_buffer", v.figures->pending_bytes());
  v.Line("mem_allocator", AllocatorName());
  v.Line("active_defrag_running", 0);
}

void Persistence(const View& v) {
  *v.out += PersistenceFields(*v.node, v.figures->changes(), v.figures->snapshot_kept_bytes());
}

void Stats(const View& v) {
  static RateMeter* const meter = new RateMeter();
  const LoopStats& t = v.total;
  const RateMeter::Rates rates =
      meter->Look({UnixMicros() / 1000, t.commands, t.net_in, t.net_out}, v.node->start_time_ms());
  v.Line("total_connections_received", t.connections);
  v.Line("total_commands_processed", t.commands);
  v.Line("instantaneous_ops_per_sec", rates.commands);
  v.Line("total_net_input_bytes", t.net_in);
  v.Line("total_net_output_bytes", t.net_out);
  v.Line("instantaneous_input_kbps", fmt::format("{:.2f}", rates.in_kbps));
  v.Line("instantaneous_output_kbps", fmt::format("{:.2f}", rates.out_kbps));
  v.Line("rejected_connections", t.rejected);
  v.Line("sync_full", v.replication.sync_full);
  v.Line("sync_partial_ok", v.replication.sync_partial_ok);
  v.Line("sync_partial_err", v.replication.sync_partial_err);
  v.Line("expired_keys", v.figures->expired_keys());
  v.Line("evicted_keys", 0);
  v.Line("evicted_clients", 0);
  v.Line("keyspace_hits", t.keyspace_hits);
  v.Line("keyspace_misses", t.keyspace_misses);
  v.Line("pubsub_channels", v.figures->subscriptions(SubscriptionKind::kChannel));
  v.Line("pubsub_patterns", v.figures->subscriptions(SubscriptionKind::kPattern));
  v.Line("pubsubshard_channels", v.figures->subscriptions(SubscriptionKind::kShardChannel));
  v.Line("pubsub_messages_dropped", v.figures->published_dropped());
  v.Line("latest_fork_usec", 0);
  v.Line("total_forks", 0);
  v.Line("total_error_replies", t.errors);
  v.Line("client_query_buffer_limit_disconnections", t.query_buffer_limit_closes);
  v.Line("client_output_buffer_limit_disconnections", t.output_limit_closes);
  v.Line("client_timeout_disconnections", t.timeouts);
  v.Line("commands_handed_over", t.handed_over);
  v.Line("tls_handshakes", t.tls_handshakes);
  v.Line("tls_handshake_failures", t.tls_handshake_failures);
  v.Line("tls_handshake_timeouts", t.tls_handshake_timeouts);
}

void ReplicationSection(const View& v) {
  *v.out += ReplicationFields(*v.node, *v.config, v.replication, v.figures->offset());
}

int64_t Micros(const timeval& t) { return t.tv_sec * int64_t{1000000} + t.tv_usec; }

void Cpu(const View& v) {
  rusage self{}, children{};
  getrusage(RUSAGE_SELF, &self);
  getrusage(RUSAGE_CHILDREN, &children);
  v.Seconds("used_cpu_sys", Micros(self.ru_stime));
  v.Seconds("used_cpu_user", Micros(self.ru_utime));
  v.Seconds("used_cpu_sys_children", Micros(children.ru_stime));
  v.Seconds("used_cpu_user_children", Micros(children.ru_utime));
}

void Modules(const View&) {}

void Commands(const View& v) {
  std::map<std::string, CommandStats> sum;
  for (const LoopFigures& loop : v.figures->loops) {
    for (const CommandStats& c : loop.commands) {
      if (c.spec == nullptr || c.calls + c.rejected_calls + c.failed_calls == 0) continue;
      CommandStats& s = sum[FullName(*c.spec)];
      s.calls += c.calls;
      s.nanos += c.nanos;
      s.rejected_calls += c.rejected_calls;
      s.failed_calls += c.failed_calls;
    }
  }
  for (const auto& [name, s] : sum) {
    const double micros = static_cast<double>(s.nanos) / 1000;
    v.Line(
        "cmdstat_" + name,
        fmt::format("calls={},usec={},usec_per_call={:.2f},rejected_calls={},failed_calls={}", s.calls, s.nanos / 1000,
                    s.calls == 0 ? 0.0 : micros / static_cast<double>(s.calls), s.rejected_calls, s.failed_calls));
  }
}

void Errors(const View& v) {
  std::map<std::string, uint64_t> sum;
  for (const LoopFigures& loop : v.figures->loops) {
    for (const auto& [code, count] : loop.errors) sum[code] += count;
  }
  for (const auto& [code, count] : sum) v.Line("errorstat_" + code, fmt::format("count={}", count));
}

void Cluster(const View& v) { v.Line("cluster_enabled", v.config->cluster_enabled ? 1 : 0); }

void Keyspace(const View& v) {
  const std::vector<DatabaseFigures> databases = v.figures->Databases();
  for (size_t db = 0; db < databases.size(); ++db) {
    const DatabaseFigures& d = databases[db];
    if (d.keys == 0) continue;
    v.Line(fmt::format("db{}", db), fmt::format("keys={},expires={},avg_ttl={}", d.keys, d.expires, d.AverageTtl()));
  }
}

void Loops(const View& v) {
  for (size_t i = 0; i < v.figures->loops.size(); ++i) {
    const LoopFigures& l = v.figures->loops[i];
    v.Line(
        fmt::format("loop{}", i),
        fmt::format("clients={},commands={},handed_over={},shards={},cpu_user_usec={},cpu_sys_usec={}", l.stats.clients,
                    l.stats.commands, l.stats.handed_over, l.shards.size(), l.cpu_user_micros, l.cpu_system_micros));
  }
}

void Shards(const View& v) {
  for (const ShardFigures& s : v.figures->Shards()) {
    v.Line(fmt::format("shard{}", s.index),
           fmt::format("keys={},used_bytes={},lsn={},durable_lsn={},pending_bytes={},expired_keys={}", s.keys,
                       s.used_bytes, s.end, s.durable, s.pending_bytes, s.expired_keys));
  }
}

struct Section {
  std::string_view name, title;
  bool standard;  // in the answer to INFO without arguments
  void (*write)(const View&);
};

constexpr Section kSections[] = {
    {"server", "Server", true, Server},
    {"clients", "Clients", true, Clients},
    {"memory", "Memory", true, Memory},
    {"persistence", "Persistence", true, Persistence},
    {"stats", "Stats", true, Stats},
    {"replication", "Replication", true, ReplicationSection},
    {"cpu", "CPU", true, Cpu},
    {"modules", "Modules", true, Modules},
    {"commandstats", "Commandstats", false, Commands},
    {"errorstats", "Errorstats", true, Errors},
    {"cluster", "Cluster", true, Cluster},
    {"keyspace", "Keyspace", true, Keyspace},
    {"loops", "Loops", true, Loops},
    {"shards", "Shards", true, Shards},
};

std::set<std::string_view> Wanted(Args words) {
  std::set<std::string_view> wanted;
  for (const Section& section : kSections) {
    bool want = words.empty() && section.standard;
    for (const std::string_view word : words) {
      if (IsWord(word, section.name) || IsWord(word, "all") || IsWord(word, "everything")) want = true;
      if (IsWord(word, "default") && section.standard) want = true;
    }
    if (want) wanted.insert(section.name);
  }
  return wanted;
}

}  // namespace

void RunInfo(Call& call) {
  GatherFigures(call, [node = call.node, wanted = Wanted(call.argv.subspan(1))](ReplyWriter& reply, const Figures& f) {
    std::string text;
    const View view{node,
                    node->config(),
                    &f,
                    f.Total(),
                    node->replication() == nullptr ? ReplicationInfo() : node->replication()->Info(),
                    &text};
    for (const Section& section : kSections) {
      if (!wanted.contains(section.name)) continue;
      text += fmt::format("{}# {}\r\n", text.empty() ? "" : "\r\n", section.title);
      section.write(view);
    }
    reply.Verbatim("txt", text);
  });
}

}  // namespace skein::node
