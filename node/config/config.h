// The node's configuration: plain data. Loops read an immutable snapshot; CONFIG SET makes a new one and hands it
// round.
//
// Every field is a directive: the one table in node/config/directives.cc binds names to fields and generates the
// command line, the configuration file, CONFIG GET/SET/REWRITE, --help and --check-config.
#ifndef SKEIN_NODE_CONFIG_CONFIG_H_
#define SKEIN_NODE_CONFIG_CONFIG_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "storage/log.h"

namespace skein::node {

enum class WriteCommit : uint8_t { kMemory, kDisk, kQuorum };

struct OutputLimit {  // client-output-buffer-limit <class> <hard> <soft> <seconds>
  uint64_t hard = 0, soft = 0;
  uint32_t soft_seconds = 0;
};

// As Redis has it: after an hour if a key has changed, after five minutes with 100 changes, after one with 10000.
inline constexpr char kDefaultSave[] = "3600 1 300 100 60 10000";

// Of the data set.
struct DataShape {
  uint32_t shards = 0, databases = 0;
  bool operator==(const DataShape&) const = default;
};

struct Config {
  // network
  uint16_t port = 6379;
  uint16_t tls_port = 0;
  std::vector<std::string> bind = {"*", "-::*"};  // as Redis: a leading '-' makes an address optional
  uint32_t tcp_backlog = 511;
  uint32_t tcp_keepalive = 300;  // seconds, 0 off
  uint32_t timeout = 0;          // seconds of idleness, 0 off
  bool protected_mode = true;
  uint32_t maxclients = 10000;
  std::string requirepass;
  // TLS: for clients (tls-port), and for the bus where it uses it
  std::string tls_cert_file, tls_key_file, tls_key_file_pass;
  std::string tls_client_cert_file, tls_client_key_file, tls_client_key_file_pass;
  std::string tls_ca_cert_file, tls_ca_cert_dir, tls_dh_params_file;
  std::string tls_auth_clients = "yes";  // no | yes | optional
  std::string tls_protocols, tls_ciphers, tls_ciphersuites;
  bool tls_prefer_server_ciphers = false;
  bool tls_session_caching = true;
  int64_t tls_session_cache_size = 20480, tls_session_cache_timeout = 300;  // sessions, seconds
  uint32_t tls_handshake_timeout = 10;                                      // seconds
  // limits of the protocol
  uint64_t proto_max_bulk_len = 512ull << 20;
  uint64_t client_query_buffer_limit = 1ull << 30;
  OutputLimit output_normal, output_replica{256u << 20, 64u << 20, 60}, output_pubsub{32u << 20, 8u << 20, 60};
  // threads and data
  uint32_t client_loops = 0;    // 0: one a core, at least 1, at most 8
  uint32_t storage_shards = 0;  // 0: as many as loops (1 with cluster-enabled no)
  uint32_t databases = 16;
  std::string dir = ".";
  bool appendonly = false;
  // "900 1 300 10". Not said at all: kDefaultSave with appendonly no, and none with appendonly yes (EffectiveSave).
  std::optional<std::string> save;
  std::string dbfilename = "dump.rdb";
  bool rdbcompression = true, rdbchecksum = true;
  bool rdb_save_incremental_fsync = true, aof_rewrite_incremental_fsync = true;
  bool stop_writes_on_bgsave_error = true;
  uint32_t auto_aof_rewrite_percentage = 100;
  uint64_t auto_aof_rewrite_min_size = 64u << 20;
  uint64_t snapshot_buffer_limit = 8u << 20;  // bytes a shard on their way to a file
  uint64_t snapshot_max_rate = 0;             // bytes a second written by saves and rewrites; 0: no limit
  std::string appenddirname = "appendonlydir";
  std::string appendfilename = "appendonly.aof";  // of a folder that is imported
  bool aof_load_truncated = true;
  storage::AppendFsync appendfsync = storage::AppendFsync::kEverySec;
  WriteCommit write_commit = WriteCommit::kMemory;
  bool lazyfree_lazy_user_del = false, lazyfree_lazy_user_flush = false, lazyfree_lazy_expire = false;
  uint64_t maxmemory = 0;                       // of values, tables and log tails; past it writes get -OOM
  std::string maxmemory_policy = "noeviction";  // the only one yet
  uint32_t hz = 10;
  bool debug_active_expire = true;  // DEBUG SET-ACTIVE-EXPIRE: whether expired keys are looked for unasked
  // cluster
  bool cluster_enabled = true;
  bool cluster_bootstrap = false;
  std::string cluster_config_file = "nodes.conf";
  int64_t cluster_node_timeout = 15000;  // milliseconds
  uint16_t cluster_port = 0;             // 0: port + 10000
  std::string cluster_announce_ip, cluster_announce_hostname, cluster_announce_human_nodename;
  std::vector<std::string> cluster_seeds;  // host[:bus-port]
  uint16_t cluster_announce_port = 0, cluster_announce_tls_port = 0, cluster_announce_bus_port = 0;
  std::string cluster_preferred_endpoint_type = "ip";  // ip | hostname | unknown-endpoint
  bool cluster_require_full_coverage = true;
  bool cluster_slot_stats_enabled = false;
  uint32_t notify_keyspace_events = 0;  // node/pubsub/keyspace_events.h
  bool cluster_allow_reads_when_down = false, cluster_allow_pubsubshard_when_down = true;
  bool cluster_replica_no_failover = false;
  uint32_t cluster_replica_validity_factor = 10, cluster_migration_barrier = 1;
  bool cluster_allow_replica_migration = true;
  uint64_t cluster_link_sendbuf_limit = 0;
  std::vector<std::string> cluster_secret;  // newest first
  std::string cluster_secret_file;
  bool tls_cluster = false;
  uint32_t bus_io_threads = 0;
  // replication
  std::vector<std::string> replicaof;                             // host and port; empty: a primary
  std::string masteruser, masterauth;                             // of the primary
  uint32_t min_replicas_to_write = 0, min_replicas_max_lag = 10;  // seconds
  uint64_t repl_backlog_size = 1u << 20;                          // bytes, of each shard
  uint32_t repl_backlog_ttl = 3600;                               // seconds
  uint32_t repl_ping_replica_period = 10, repl_timeout = 60;      // seconds
  std::string replica_announce_ip;
  uint16_t replica_announce_port = 0;
  bool replica_announced = true;
  bool replica_serve_stale_data = true;
  uint32_t replica_priority = 100;
  bool tls_replication = false;
  // log and diagnostics
  std::string loglevel = "notice";  // debug verbose notice warning nothing
  std::string logfile;              // empty: standard error
  std::string pidfile;
  int64_t slowlog_log_slower_than = 10000;  // microseconds; negative: off, 0: all
  uint64_t slowlog_max_len = 128;
  std::string enable_debug_command = "no";  // no | yes | local
  uint32_t shutdown_timeout = 10;           // seconds
  // as read: for CONFIG REWRITE and INFO
  std::optional<DataShape> said_shape;  // where storage_shards and databases tell what the data set is like instead
  std::string config_file;              // absolute path, empty if none
  // Values of directives that are known for compatibility and have no effect here, by name; absent: the default.
  std::map<std::string, std::string> kept;
  // One line each, for the log at start: directives that were given and have no effect here, and why.
  std::vector<std::string> notes;
};

// What CONFIG REWRITE writes: shards 0 where nothing was said.
inline DataShape ConfiguredShape(const Config& config) {
  return config.said_shape.value_or(DataShape{config.storage_shards, config.databases});
}

using ConfigPtr = std::shared_ptr<const Config>;

}  // namespace skein::node

#endif  // SKEIN_NODE_CONFIG_CONFIG_H_
