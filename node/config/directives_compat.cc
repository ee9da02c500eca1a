// The directives of Redis 7.2 that set nothing here: kept (accepted, without effect, and why) or fixed (only the
// default can be had, and why). So an ordinary redis.conf starts a node, or is refused at the line that asks for what
// is not there. Promises (security, durability, copies) are never kept, only fixed.
#include "node/config/directives.h"

namespace skein::node {
namespace {

using Type = Directive::Type;
using Role = Directive::Role;

struct Row {
  std::string_view name, alias, standard;
  Type type;
  int64_t min = 0, max = std::numeric_limits<int64_t>::max();
  uint32_t flags = 0;
  std::vector<std::string_view> choices = {};  // of kEnum
};

constexpr int64_t kAny = std::numeric_limits<int64_t>::min();

// Each group shares one reason.
struct Group {
  Role role;
  std::string_view why;
  std::vector<Row> rows;
};

std::vector<Group> ValueGroups() {
  return {
      {Role::kKept,
       "values of that type do not exist in this version",
       {{"hash-max-listpack-entries", "hash-max-ziplist-entries", "512", Type::kInteger},
        {"hash-max-listpack-value", "hash-max-ziplist-value", "64", Type::kMemory},
        {"list-max-listpack-size", "list-max-ziplist-size", "-2", Type::kInteger, kAny},
        {"list-compress-depth", "", "0", Type::kInteger},
        {"set-max-intset-entries", "", "512", Type::kInteger},
        {"set-max-listpack-entries", "", "128", Type::kInteger},
        {"set-max-listpack-value", "", "64", Type::kMemory},
        {"zset-max-listpack-entries", "zset-max-ziplist-entries", "128", Type::kInteger},
        {"zset-max-listpack-value", "zset-max-ziplist-value", "64", Type::kMemory},
        {"hll-sparse-max-bytes", "", "3000", Type::kMemory},
        {"stream-node-max-bytes", "", "4096", Type::kMemory},
        {"stream-node-max-entries", "", "100", Type::kInteger}}},
      {Role::kKept,
       "tables grow and shrink by themselves, and the allocator is left as it is",
       {{"activerehashing", "", "yes", Type::kBool},
        {"jemalloc-bg-thread", "", "yes", Type::kBool},
        {"disable-thp", "", "yes", Type::kBool},
        {"active-defrag-cycle-max", "", "25", Type::kInteger, 1, 99},
        {"active-defrag-cycle-min", "", "1", Type::kInteger, 1, 99},
        {"active-defrag-ignore-bytes", "", "104857600", Type::kMemory, 1},
        {"active-defrag-max-scan-fields", "", "1000", Type::kInteger, 1},
        {"active-defrag-threshold-lower", "", "10", Type::kInteger, 0, 1000},
        {"active-defrag-threshold-upper", "", "100", Type::kInteger, 0, 1000}}},
      {Role::kFixed, "active defragmentation is not available", {{"activedefrag", "", "no", Type::kBool}}},
      {Role::kKept,
       "the search for expired keys is bounded by time",
       {{"active-expire-effort", "", "1", Type::kInteger, 1, 10}}},
      {Role::kKept,
       "a value that a command replaces is freed at once",
       {{"lazyfree-lazy-server-del", "", "no", Type::kBool}}},
      {Role::kKept,
       "keys are not evicted in this version",
       {{"maxmemory-samples", "", "5", Type::kInteger, 1},
        {"maxmemory-eviction-tenacity", "", "10", Type::kInteger, 0, 100},
        {"lfu-log-factor", "", "10", Type::kInteger},
        {"lfu-decay-time", "", "1", Type::kInteger},
        {"lazyfree-lazy-eviction", "", "no", Type::kBool}}},
      {Role::kFixed,
       "eviction is not available yet: past maxmemory writes are refused",
       {{"maxmemory-policy", "", "noeviction", Type::kString}}},
      {Role::kFixed,
       "eviction of clients is not available yet: client-output-buffer-limit and client-query-buffer-limit bound each "
       "client",
       {{"maxmemory-clients", "", "0", Type::kString}}},
      {Role::kKept,
       "the clocks of background work do not follow the number of clients",
       {{"dynamic-hz", "", "yes", Type::kBool}}},
  };
}

std::vector<Group> FileGroups() {
  return {
      {Role::kKept,
       "files are neither saved nor loaded by other ways than this",
       {{"rdb-del-sync-files", "", "no", Type::kBool},
        {"sanitize-dump-payload", "", "no", Type::kEnum, 0, 0, 0, {"no", "yes", "clients"}},
        {"rdb-key-save-delay", "", "0", Type::kInteger, kAny},
        {"key-load-delay", "", "0", Type::kInteger, kAny}}},
      {Role::kKept,
       "the log is synced by its policy also while a base is written, a base is always an RDB, and a file that the "
       "manifest does not list any more is always removed",
       {{"no-appendfsync-on-rewrite", "", "no", Type::kBool},
        {"aof-use-rdb-preamble", "", "yes", Type::kBool},
        {"aof-disable-auto-gc", "", "no", Type::kBool}}},
      {Role::kKept, "every record of the log carries its time", {{"aof-timestamp-enabled", "", "no", Type::kBool}}},
  };
}

std::vector<Group> ReplicationGroups() {
  return {
      {Role::kKept,
       "a full synchronization streams the snapshot while it is made, from memory to memory, to each replica by itself",
       {{"repl-diskless-load", "", "disabled", Type::kEnum, 0, 0, 0, {"disabled", "on-empty-db", "swapdb"}},
        {"repl-diskless-sync", "", "yes", Type::kBool},
        {"repl-diskless-sync-delay", "", "5", Type::kInteger},
        {"repl-diskless-sync-max-replicas", "", "0", Type::kInteger}}},
      {Role::kKept,
       "records are sent at once, one batch of commands at a time",
       {{"repl-disable-tcp-nodelay", "", "no", Type::kBool}}},
      {Role::kKept,
       "a replica that cannot write its log stops taking records until it can, and serves reads meanwhile",
       {{"replica-ignore-disk-write-errors", "", "no", Type::kBool}}},
      {Role::kKept,
       "a replica never evicts",
       {{"replica-ignore-maxmemory", "slave-ignore-maxmemory", "yes", Type::kBool}}},
      {Role::kKept,
       "what a full synchronization replaces is always freed in the background",
       {{"replica-lazy-flush", "slave-lazy-flush", "no", Type::kBool}}},
      {Role::kKept,
       "a replica takes no writes of its own",
       {{"close-on-replica-write", "", "yes", Type::kBool},
        {"propagation-error-behavior", "", "ignore", Type::kString}}},
  };
}

std::vector<Group> SecurityGroups() {
  constexpr uint32_t kHidden = Directive::kHidden | Directive::kMultiLine;
  return {
      {Role::kFixed,
       "users besides 'default' are not available yet: use requirepass",
       {{"aclfile", "", "", Type::kString},
        {"user", "", "", Type::kWords, 0, 0, kHidden | Directive::kSensitive},
        {"acl-pubsub-default", "", "resetchannels", Type::kString}}},
      {Role::kKept, "refused calls are not recorded in this version", {{"acllog-max-len", "", "128", Type::kInteger}}},
      {Role::kFixed, "commands cannot be renamed", {{"rename-command", "", "", Type::kWords, 0, 0, kHidden}}},
      {Role::kFixed,
       "modules are not available",
       {{"loadmodule", "", "", Type::kWords, 0, 0, kHidden},
        {"enable-module-command", "", "no", Type::kString, 0, 0, Directive::kImmutable}}},
      {Role::kFixed,
       "dir and dbfilename cannot be changed while the node runs",
       {{"enable-protected-configs", "", "no", Type::kString, 0, 0, Directive::kImmutable}}},
      {Role::kFixed,
       "Unix sockets are not available: clients connect over TCP",
       {{"unixsocket", "", "", Type::kString}}},
      {Role::kKept, "there is no Unix socket", {{"unixsocketperm", "", "0", Type::kString}}},
  };
}

std::vector<Group> ProcessGroups() {
  constexpr uint32_t kImmutable = Directive::kImmutable;
  return {
      {Role::kFixed,
       "the process stays in the foreground: start it under a service manager, or in the background with '&'",
       {{"daemonize", "", "no", Type::kBool, 0, 0, kImmutable}}},
      {Role::kFixed,
       "the process does not report to a service manager: use Type=simple or Type=exec there",
       {{"supervised", "", "no", Type::kString, 0, 0, kImmutable}}},
      {Role::kKept,
       "the process title is not changed and no logo is shown",
       {{"always-show-logo", "", "no", Type::kBool, 0, 0, kImmutable},
        {"set-proc-title", "", "yes", Type::kBool, 0, 0, kImmutable},
        {"proc-title-template", "", "{title} {listen-addr} {server-mode}", Type::kString}}},
      {Role::kKept,
       "client-loops says how many threads serve clients",
       {{"io-threads", "", "1", Type::kInteger, 1, 128, kImmutable},
        {"io-threads-do-reads", "", "no", Type::kBool, 0, 0, kImmutable}}},
      {Role::kFixed,
       "threads are not bound to processors: use taskset or a cpuset",
       {{"server-cpulist", "server_cpulist", "", Type::kString, 0, 0, kImmutable},
        {"bio-cpulist", "bio_cpulist", "", Type::kString, 0, 0, kImmutable},
        {"aof-rewrite-cpulist", "aof_rewrite_cpulist", "", Type::kString, 0, 0, kImmutable},
        {"bgsave-cpulist", "bgsave_cpulist", "", Type::kString, 0, 0, kImmutable}}},
      {Role::kFixed,
       "the OOM score is not changed: set it where the process is started",
       {{"oom-score-adj", "", "no", Type::kString}}},
      {Role::kKept, "the OOM score is not changed", {{"oom-score-adj-values", "", "0 200 800", Type::kWords}}},
      {Role::kFixed,
       "the system's log is not available: use logfile, or let the service manager collect standard error",
       {{"syslog-enabled", "", "no", Type::kBool, 0, 0, kImmutable}}},
      {Role::kKept,
       "the system's log is not available",
       {{"syslog-ident", "", "redis", Type::kString, 0, 0, kImmutable},
        {"syslog-facility", "", "local0", Type::kString, 0, 0, kImmutable}}},
      {Role::kKept,
       "a crash is left to the operating system's core dump",
       {{"crash-log-enabled", "", "yes", Type::kBool},
        {"crash-memcheck-enabled", "", "yes", Type::kBool},
        {"use-exit-on-panic", "", "no", Type::kBool}}},
      {Role::kFixed,
       "a signal always begins the same clean stop",
       {{"shutdown-on-sigint", "", "default", Type::kString}, {"shutdown-on-sigterm", "", "default", Type::kString}}},
      {Role::kKept, "no warning refuses to start", {{"ignore-warnings", "", "", Type::kString}}},
      {Role::kFixed,
       "outgoing connections are made from any local address",
       {{"bind-source-addr", "", "", Type::kString}}},
      {Role::kFixed, "sockets are not marked", {{"socket-mark-id", "", "0", Type::kInteger}}},
      {Role::kFixed, "text is compared byte by byte", {{"locale-collate", "", "", Type::kString}}},
  };
}

std::vector<Group> FeatureGroups() {
  return {
      {Role::kFixed,
       "the LATENCY monitor is not available yet: see slowlog-log-slower-than",
       {{"latency-monitor-threshold", "", "0", Type::kInteger}}},
      {Role::kKept,
       "latencies are not tracked by command in this version",
       {{"latency-tracking", "", "no", Type::kBool},
        {"latency-tracking-info-percentiles", "", "50 99 99.9", Type::kWords}}},
      {Role::kKept,
       "scripts and functions are not available yet",
       {{"busy-reply-threshold", "lua-time-limit", "5000", Type::kInteger}}},
      {Role::kKept,
       "client tracking is not available yet",
       {{"tracking-table-max-keys", "", "1000000", Type::kInteger}}},
  };
}

}  // namespace

namespace internal {

std::vector<Directive> CompatDirectives() {
  std::vector<Directive> table;
  for (const auto& make : {ValueGroups, FileGroups, ReplicationGroups, SecurityGroups, ProcessGroups, FeatureGroups}) {
    for (const Group& group : make()) {
      for (const Row& row : group.rows) {
        // A row that sets flags had to write bounds too; an integer never has 0..0.
        const int64_t max = row.max == 0 ? std::numeric_limits<int64_t>::max() : row.max;
        table.push_back({.name = row.name,
                         .alias = row.alias,
                         .type = row.type,
                         .role = group.role,
                         .flags = row.flags,
                         .min = row.min,
                         .max = max,
                         .choices = row.choices,
                         .standard = row.standard,
                         .why = group.why});
      }
    }
  }
  return table;
}

}  // namespace internal
}  // namespace skein::node
