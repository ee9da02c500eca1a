// The directives that set a field of Config.
#include <array>

#include "node/config/check.h"
#include "node/config/directives.h"
#include "node/config/text.h"
#include "node/pubsub/keyspace_events.h"

namespace skein::node {
namespace {

using Type = Directive::Type;
using Words = std::vector<std::string>;
constexpr int64_t kMaxInt = std::numeric_limits<int32_t>::max();
constexpr uint32_t kImmutable = Directive::kImmutable;

absl::Status Refused(std::string_view why) { return absl::InvalidArgumentError(std::string(why)); }

Directive Bool(std::string_view name, bool Config::*field, uint32_t flags, std::string_view help) {
  return {.name = name, .type = Type::kBool, .flags = flags, .field = field, .help = help};
}
Directive Integer(std::string_view name, Directive::Field field, int64_t min, int64_t max, uint32_t flags,
                  std::string_view help) {
  return {.name = name, .type = Type::kInteger, .flags = flags, .field = field, .min = min, .max = max, .help = help};
}
Directive Memory(std::string_view name, Directive::Field field, int64_t min, uint32_t flags, std::string_view help) {
  return {.name = name, .type = Type::kMemory, .flags = flags, .field = field, .min = min, .help = help};
}
Directive String(std::string_view name, std::string Config::*field, uint32_t flags, std::string_view help) {
  return {.name = name, .type = Type::kString, .flags = flags, .field = field, .help = help};
}
Directive Enum(std::string_view name, std::string Config::*field, std::vector<std::string_view> choices, uint32_t flags,
               std::string_view help) {
  return {
      .name = name, .type = Type::kEnum, .flags = flags, .field = field, .choices = std::move(choices), .help = help};
}
Directive Custom(std::string_view name, uint32_t flags, Directive::Parse parse, Directive::Format format,
                 std::string_view help) {
  return {.name = name, .type = Type::kCustom, .flags = flags, .help = help, .parse = parse, .format = format};
}

// An enumeration with a type of its own: the words stand in the order of its values.
template <auto Field, const auto& kNames>
absl::Status ParseNamed(const Words& words, Config* config) {
  if (words.size() != 1) return Refused("wrong number of arguments");
  const std::string word = Lower(words[0]);
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (word != kNames[i]) continue;
    config->*Field = static_cast<std::remove_reference_t<decltype(config->*Field)>>(i);
    return absl::OkStatus();
  }
  return Refused(Cat("argument(s) must be one of the following: ", Join({kNames.begin(), kNames.end()}, ", ")));
}
template <auto Field, const auto& kNames>
Words FormatNamed(const Config& config) {
  return {std::string(kNames[static_cast<size_t>(config.*Field)])};
}
absl::Status ParseEvents(const Words& words, Config* config) {
  if (words.size() != 1) return Refused("wrong number of arguments");
  const std::optional<uint32_t> events = ParseKeyspaceEvents(words[0]);
  if (!events) return Refused("Invalid event class character. Use 'Ag$lshzxeKEtd'.");
  config->notify_keyspace_events = *events;
  return absl::OkStatus();
}
Words FormatEvents(const Config& config) { return {FormatKeyspaceEvents(config.notify_keyspace_events)}; }

constexpr std::array<std::string_view, 3> kFsyncNames = {"always", "everysec", "no"};
constexpr std::array<std::string_view, 3> kCommitNames = {"memory", "disk", "quorum"};

// Pairs of seconds and changes; "" forgets those said before.
absl::Status ParseSave(const Words& words, Config* config) {
  const Words list = SplitBlanks(Join(words, " "));
  if (list.empty()) {
    config->save = "";
    return absl::OkStatus();
  }
  if (list.size() % 2 != 0) return Refused("Invalid save parameters");
  for (size_t i = 0; i < list.size(); i += 2) {
    const std::optional<int64_t> seconds = ParseInteger(list[i]), changes = ParseInteger(list[i + 1]);
    if (!seconds || !changes || *seconds < 1 || *changes < 0) return Refused("Invalid save parameters");
  }
  std::string& save = config->save.has_value() ? *config->save : config->save.emplace();
  Append(&save, save.empty() ? "" : " ", Join(list, " "));
  return absl::OkStatus();
}
Words FormatSave(const Config& config) { return {EffectiveSave(config)}; }

OutputLimit* LimitOf(std::string_view name, Config* config) {
  const std::string lower = Lower(name);
  if (lower == "normal") return &config->output_normal;
  if (lower == "slave" || lower == "replica") return &config->output_replica;
  if (lower == "pubsub") return &config->output_pubsub;
  return nullptr;
}

absl::Status ParseOutputLimits(const Words& words, Config* config) {
  const Words list = SplitBlanks(Join(words, " "));
  if (list.empty() || list.size() % 4 != 0) {
    return Refused("Wrong number of arguments in buffer limit configuration.");
  }
  for (size_t i = 0; i < list.size(); i += 4) {
    OutputLimit* const limit = LimitOf(list[i], config);
    if (limit == nullptr) return Refused("Invalid client class specified in buffer limit configuration.");
    const std::optional<uint64_t> hard = ParseMemory(list[i + 1]), soft = ParseMemory(list[i + 2]);
    const std::optional<int64_t> seconds = ParseInteger(list[i + 3]);
    if (!hard || !soft || !seconds || *seconds < 0 || *seconds > kMaxInt) {
      return Refused("Error in hard, soft or soft_seconds setting in buffer limit configuration.");
    }
    *limit = {*hard, *soft, static_cast<uint32_t>(*seconds)};
  }
  return absl::OkStatus();
}

Words FormatOutputLimits(const Config& config) {
  const auto line = [](std::string_view name, const OutputLimit& limit) {
    return Cat(name, " ", limit.hard, " ", limit.soft, " ", limit.soft_seconds);
  };
  // Redis shows the replicas' class by its older name.
  return {line("normal", config.output_normal), line("slave", config.output_replica),
          line("pubsub", config.output_pubsub)};
}

absl::Status ParseSecrets(const Words& words, Config* config) {
  const Words list = SplitBlanks(Join(words, " "));
  for (const std::string& secret : list) {
    // CONFIG REWRITE must be able to write it, and a person to read it back.
    for (const char c : secret) {
      if (c <= ' ' || c > '~' || c == '"' || c == '\'' || c == '\\' || c == '#') {
        return Refused("a secret consists of visible ASCII characters other than quotes, '\\' and '#'");
      }
    }
  }
  config->cluster_secret = list;
  return absl::OkStatus();
}

Words FormatSecrets(const Config& config) { return {Join(config.cluster_secret, " ")}; }

void AddNetwork(std::vector<Directive>* rows) {
  rows->insert(
      rows->end(),
      {
          Integer("port", &Config::port, 0, 65535, kImmutable, "TCP port for clients."),
          {.name = "bind",
           .type = Type::kWords,
           .flags = kImmutable,
           .field = &Config::bind,
           .help = "Addresses to listen on; one that begins with '-' may be missing on this machine."},
          Integer("tcp-backlog", &Config::tcp_backlog, 0, kMaxInt, kImmutable, "Length of the queue of accepts."),
          Integer("tcp-keepalive", &Config::tcp_keepalive, 0, kMaxInt, 0, "Seconds between TCP keep-alives; 0: none."),
          Integer("timeout", &Config::timeout, 0, kMaxInt, 0,
                  "Seconds after which an idle client is closed; 0: never."),
          Bool("protected-mode", &Config::protected_mode, 0,
               "Without a password and a bind address, serve this machine only."),
          Integer("maxclients", &Config::maxclients, 1, std::numeric_limits<uint32_t>::max(), 0,
                  "Clients that may be connected at once."),
          String("requirepass", &Config::requirepass, Directive::kSensitive,
                 "Password of the default user; empty: none."),
          Memory("proto-max-bulk-len", &Config::proto_max_bulk_len, 1 << 20, 0, "Longest single argument."),
          Memory("client-query-buffer-limit", &Config::client_query_buffer_limit, 1 << 20, 0,
                 "Bytes a client may have sent without completing a command."),
          Custom("client-output-buffer-limit", Directive::kMultiLine, ParseOutputLimits, FormatOutputLimits,
                 "<class> <hard> <soft> <seconds>: replies a client may leave unread; class is normal, replica or "
                 "pubsub."),
      });
}

void AddData(std::vector<Directive>* rows) {
  rows->insert(
      rows->end(),
      {
          Integer("client-loops", &Config::client_loops, 0, 256, kImmutable,
                  "Threads that serve clients; 0: one a core, at most 8."),
          Integer(
              "storage-shards", &Config::storage_shards, 0, 256, kImmutable,
              "Storage shards of an empty data folder; 0: as many as loops. Fixed for the life of the data, but that a "
              "replica takes over the number that its primary has, whatever is configured."),
          Integer("databases", &Config::databases, 1, 1024, kImmutable, "Databases that SELECT can choose."),
          String("dir", &Config::dir, Directive::kProtected, "Folder of everything the node writes."),
          Bool("appendonly", &Config::appendonly, 0, "Keep the log on disk."),
          Custom(
              "save", Directive::kAppends, ParseSave, FormatSave,
              "<seconds> <changes> ...: save dbfilename in the background once so much has changed in so long; \"\": "
              "never. Default: 3600 1 300 100 60 10000, as in Redis, with appendonly no, where nothing else outlives "
              "the process; none with appendonly yes, as the log keeps every change and a second copy of all data "
              "would only be work for the disk."),
          {.name = "dbfilename",
           .type = Type::kString,
           .flags = Directive::kProtected,
           .field = &Config::dbfilename,
           .help = "File of BGSAVE, SAVE and the save points, inside dir."},
          Bool("rdbcompression", &Config::rdbcompression, 0, "Compress long strings in RDB files and bases (LZF)."),
          Bool("rdbchecksum", &Config::rdbchecksum, kImmutable,
               "Put a checksum at the end of RDB files (bases always have one)."),
          Bool("rdb-save-incremental-fsync", &Config::rdb_save_incremental_fsync, 0,
               "Sync an RDB file every 4 MB while it is written."),
          Bool("aof-rewrite-incremental-fsync", &Config::aof_rewrite_incremental_fsync, 0,
               "Sync a base every 4 MB while it is written."),
          Bool("stop-writes-on-bgsave-error", &Config::stop_writes_on_bgsave_error, 0,
               "With save points, refuse writes after a failed background save, until one succeeds."),
          Integer("auto-aof-rewrite-percentage", &Config::auto_aof_rewrite_percentage, 0, kMaxInt, 0,
                  "Rewrite the log of a shard when its files have grown by so much since the last time; 0: never."),
          Memory("auto-aof-rewrite-min-size", &Config::auto_aof_rewrite_min_size, 0, 0,
                 "The log of a shard is not rewritten by growth before its files have this size."),
          Memory("snapshot-buffer-limit", &Config::snapshot_buffer_limit, 64 << 10, 0,
                 "Bytes a shard may have on their way to the file of a save or rewrite; at twice this, writes that "
                 "would add to them wait."),
          Memory("snapshot-max-rate", &Config::snapshot_max_rate, 0, 0,
                 "Bytes a second that saves and rewrites may write; 0: no limit."),
          String("appenddirname", &Config::appenddirname, kImmutable, "Folder of the log, inside dir."),
          String("appendfilename", &Config::appendfilename, kImmutable,
                 "What Redis or Valkey called its append-only files: looked for on first start, and converted."),
          Bool("aof-load-truncated", &Config::aof_load_truncated, 0,
               "Cut the torn tail of a log at start, and report it; no: refuse to start."),
          Custom("appendfsync", 0, ParseNamed<&Config::appendfsync, kFsyncNames>,
                 FormatNamed<&Config::appendfsync, kFsyncNames>,
                 "When the log is synced: always (before the reply), everysec, or no."),
          Custom("write-commit", kImmutable, ParseNamed<&Config::write_commit, kCommitNames>,
                 FormatNamed<&Config::write_commit, kCommitNames>,
                 "What a reply to a write waits for: memory (applied), disk (durable here), quorum (durable on a "
                 "majority)."),
          Bool("lazyfree-lazy-user-del", &Config::lazyfree_lazy_user_del, 0, "DEL frees in the background, as UNLINK."),
          Bool("lazyfree-lazy-user-flush", &Config::lazyfree_lazy_user_flush, 0,
               "FLUSHALL and FLUSHDB without a word free in the background."),
          Bool("lazyfree-lazy-expire", &Config::lazyfree_lazy_expire, 0, "Expired values are freed in the background."),
          Memory("maxmemory", &Config::maxmemory, 0, 0, "Bytes of data past which writes are refused; 0: no limit."),
          Integer("hz", &Config::hz, 1, 500, 0, "Rounds of background work a second."),
      });
}

void AddCluster(std::vector<Directive>* rows) {
  rows->insert(
      rows->end(),
      {
          Bool("cluster-enabled", &Config::cluster_enabled, kImmutable, "Be a node of a cluster."),
          Bool("cluster-bootstrap", &Config::cluster_bootstrap, kImmutable,
               "On an empty folder take all slots: a cluster of one node."),
          String("cluster-config-file", &Config::cluster_config_file, kImmutable,
                 "File of the node's identity and view of the cluster, inside dir; written by the node."),
          Integer("cluster-node-timeout", &Config::cluster_node_timeout, 1, kMaxInt, 0,
                  "Milliseconds of silence after which a node is suspected."),
          Integer("cluster-port", &Config::cluster_port, 0, 65535, kImmutable, "Port of the bus; 0: port + 10000."),
          String("cluster-announce-ip", &Config::cluster_announce_ip, 0,
                 "Address that other nodes and clients are told."),
          String("cluster-announce-hostname", &Config::cluster_announce_hostname, 0, "Host name that they are told."),
          String("cluster-announce-human-nodename", &Config::cluster_announce_human_nodename, 0,
                 "Name of the node for people, in the log and in CLUSTER EVENTS."),
          {.name = "cluster-seeds",
           .type = Type::kWords,
           .field = &Config::cluster_seeds,
           .help = "Names or addresses, host[:bus-port], under which nodes of the cluster may be found: resolved again "
                   "and again while no known address answers."},
          Integer("cluster-announce-port", &Config::cluster_announce_port, 0, 65535, 0,
                  "Client port that they are told; 0: port."),
          Integer("cluster-announce-bus-port", &Config::cluster_announce_bus_port, 0, 65535, 0,
                  "Bus port that they are told; 0: the bus port."),
          Enum("cluster-preferred-endpoint-type", &Config::cluster_preferred_endpoint_type,
               {"ip", "hostname", "unknown-endpoint"}, 0, "What CLUSTER SLOTS and MOVED show of a node."),
          Bool("cluster-require-full-coverage", &Config::cluster_require_full_coverage, 0,
               "Serve nothing while any slot has no owner."),
          Bool("cluster-slot-stats-enabled", &Config::cluster_slot_stats_enabled, 0,
               "Count what each slot costs, for CLUSTER SLOT-STATS."),
          Bool("cluster-allow-reads-when-down", &Config::cluster_allow_reads_when_down, 0,
               "Serve reads of own slots while the cluster is down."),
          Custom("notify-keyspace-events", 0, ParseEvents, FormatEvents,
                 "Which changes of keys are published: K (by key) or E (by event), and classes of g$lshzxetd, or A for "
                 "all; \"\": none."),
          Bool("cluster-allow-pubsubshard-when-down", &Config::cluster_allow_pubsubshard_when_down, 0,
               "Serve shard channels while the cluster is down."),
          {.name = "cluster-replica-no-failover",
           .alias = "cluster-slave-no-failover",
           .type = Type::kBool,
           .field = &Config::cluster_replica_no_failover,
           .help = "Never become primary by itself."},
          {.name = "cluster-replica-validity-factor",
           .alias = "cluster-slave-validity-factor",
           .type = Type::kInteger,
           .field = &Config::cluster_replica_validity_factor,
           .min = 0,
           .max = kMaxInt,
           .help = "Node timeouts without news of its primary after which a replica does not take over; 0: it always "
                   "does."},
          Integer("cluster-migration-barrier", &Config::cluster_migration_barrier, 0, kMaxInt, 0,
                  "Replicas that a primary keeps before one of them moves to a primary that has none."),
          Bool("cluster-allow-replica-migration", &Config::cluster_allow_replica_migration, 0,
               "Move to a primary that has lost its last replica."),
          Memory("cluster-link-sendbuf-limit", &Config::cluster_link_sendbuf_limit, 0, 0,
                 "Bytes that may wait on one link of the bus; 0: 1gb."),
          Custom("cluster-secret", Directive::kSensitive, ParseSecrets, FormatSecrets,
                 "What a peer must know to speak on the bus, 16 to 1024 characters; of several, newest first, any is "
                 "accepted and the first is used (to change it without a pause)."),
          Bool("tls-cluster", &Config::tls_cluster, 0,
               "The bus speaks TLS; peers need a certificate of tls-ca-cert-file's authority."),
          String("cluster-secret-file", &Config::cluster_secret_file, 0,
                 "File that holds cluster-secret, one a line, newest first; read again when it is set again."),
          Integer("bus-io-threads", &Config::bus_io_threads, 0, 64, 0,
                  "Threads for the bus's socket work; 0: the bus thread does it."),
      });
}

void AddDiagnostics(std::vector<Directive>* rows) {
  rows->insert(
      rows->end(),
      {
          Bool("debug-active-expire", &Config::debug_active_expire, Directive::kHidden,
               "Whether expired keys are looked for unasked (DEBUG SET-ACTIVE-EXPIRE)."),
          Enum("loglevel", &Config::loglevel, {"debug", "verbose", "notice", "warning", "nothing"}, 0,
               "How much is logged."),
          String("logfile", &Config::logfile, kImmutable, "File of the log; empty: standard error."),
          String("pidfile", &Config::pidfile, kImmutable, "File that holds the process id while it runs."),
          Integer("slowlog-log-slower-than", &Config::slowlog_log_slower_than, -1, std::numeric_limits<int64_t>::max(),
                  0, "Microseconds past which a command is logged as slow; negative: none, 0: all."),
          Integer("slowlog-max-len", &Config::slowlog_max_len, 0, 1 << 20, 0, "Entries the slow log holds."),
          Enum("enable-debug-command", &Config::enable_debug_command, {"no", "yes", "local"}, kImmutable,
               "Who may call DEBUG: nobody, everybody, or clients on this machine."),
          Integer("shutdown-timeout", &Config::shutdown_timeout, 0, kMaxInt, 0, "Seconds that a clean stop may wait."),
      });
}

}  // namespace

namespace internal {

std::vector<Directive> BoundDirectives() {
  std::vector<Directive> rows;
  AddNetwork(&rows);
  AddData(&rows);
  AddCluster(&rows);
  AddDiagnostics(&rows);
  return rows;
}

}  // namespace internal
}  // namespace skein::node
