#include "node/config/start.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "bus/seeds.h"
#include "node/commands/import_command.h"
#include "node/config/check.h"
#include "node/config/text.h"
#include "node/version.h"

namespace skein::node {
namespace {

// Whether a file could be opened for writing, without making it.
absl::Status CheckWritable(const Config& config, std::string_view directive, const std::string& file) {
  if (file.empty()) return absl::OkStatus();
  const std::string path = PathOf(config, file);
  struct stat info;
  int error = 0;
  if (stat(path.c_str(), &info) == 0) {
    error = S_ISDIR(info.st_mode) ? EISDIR : access(path.c_str(), W_OK) != 0 ? errno : 0;
  } else if (errno != ENOENT) {
    error = errno;
  } else {
    const std::string folder = path.substr(0, path.rfind('/') + 1);
    error = access(folder.c_str(), W_OK | X_OK) != 0 ? errno : 0;
  }
  if (error == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(Cat("'", directive, " ", file, "': ", strerror(error)));
}

}  // namespace

std::string PathOf(const Config& config, const std::string& file) {
  return file.starts_with('/') ? file : Cat(config.dir, "/", file);
}

storage::DataSetOptions DataSetOptionsOf(const Config& config) {
  storage::DataSetOptions options;
  options.dir = config.dir;
  options.append_dir = config.appenddirname;
  options.append_only = config.appendonly;
  options.fsync = EffectiveFsync(config);
  options.load_truncated = config.aof_load_truncated;
  options.databases = config.databases;
  options.save = SaveOptionsOf(config);
  options.append_file = config.appendfilename;
  if (config.cluster_enabled) options.import_databases = 1;
  options.run_command = [config](const std::vector<storage::Shard*>& shards, uint32_t db, storage::UnixMillis,
                                 const std::vector<std::string_view>& argv) {
    return RunImportedCommand(config, shards, db, argv);
  };
  options.follow = !config.replicaof.empty();
  options.shards = ShardCount(config);
  // Outside a cluster one shard is not a default but the only number there is.
  options.shards_configured = ShardsConfigured(config) || !config.cluster_enabled;
  options.shards_fixed = !config.cluster_enabled;
  return options;
}

storage::SaveOptions SaveOptionsOf(const Config& config) {
  storage::SaveOptions options;
  options.rdb_name = config.dbfilename;
  options.compress = config.rdbcompression;
  options.checksum = config.rdbchecksum;
  const std::vector<std::string> words = SplitBlanks(EffectiveSave(config));
  for (size_t i = 0; i + 1 < words.size(); i += 2) {
    options.save_points.push_back({*ParseInteger(words[i]), static_cast<uint64_t>(*ParseInteger(words[i + 1]))});
  }
  options.stop_writes_on_error = config.stop_writes_on_bgsave_error;
  options.incremental_sync = config.rdb_save_incremental_fsync;
  options.rewrite_incremental_sync = config.aof_rewrite_incremental_fsync;
  options.rewrite_percentage = config.auto_aof_rewrite_percentage;
  options.rewrite_min_size = config.auto_aof_rewrite_min_size;
  options.buffer_limit = config.snapshot_buffer_limit;
  options.max_rate = config.snapshot_max_rate;
  options.redis_version = kRedisVersion;
  return options;
}

bus::BusOptions BusOptionsOf(const Config& config) {
  bus::BusOptions options;
  options.dir = config.dir;
  options.config_file = config.cluster_config_file;
  options.bind = config.bind;
  options.bus_port = BusPort(config);
  options.announce_bus_port = config.cluster_announce_bus_port;
  options.announce_ip = config.cluster_announce_ip;
  options.announce_hostname = config.cluster_announce_hostname;
  options.announce_human_name = config.cluster_announce_human_nodename;
  options.preferred_endpoint = config.cluster_preferred_endpoint_type == "hostname" ? bus::EndpointPreference::kHostname
                               : config.cluster_preferred_endpoint_type == "ip"     ? bus::EndpointPreference::kIp
                                                                                    : bus::EndpointPreference::kUnknown;
  // Checked with the other directives.
  if (auto seeds = bus::ParseSeeds(config.cluster_seeds, options.bus_port); seeds.ok()) options.seeds = *seeds;
  options.port = config.cluster_announce_port != 0 ? config.cluster_announce_port : config.port;
  options.tls_port = config.cluster_announce_tls_port != 0 ? config.cluster_announce_tls_port : config.tls_port;
  options.node_timeout_ms = config.cluster_node_timeout;
  options.require_full_coverage = config.cluster_require_full_coverage;
  options.bootstrap = config.cluster_bootstrap;
  options.no_failover = config.cluster_replica_no_failover;
  options.replica_validity_factor = config.cluster_replica_validity_factor;
  options.migration_barrier = config.cluster_migration_barrier;
  options.allow_replica_migration = config.cluster_allow_replica_migration;
  options.link_buffer_limit = config.cluster_link_sendbuf_limit;
  options.io_threads = config.bus_io_threads;
  options.protected_mode = config.protected_mode;
  options.secrets = config.cluster_secret;
  if (!config.cluster_secret_file.empty()) options.secret_file = PathOf(config, config.cluster_secret_file);
  options.tls_cluster = config.tls_cluster;
  if (config.tls_cluster) options.tls = TlsOptionsOf(config);
  return options;
}

bus::TlsOptions TlsOptionsOf(const Config& config) {
  const auto path = [&config](const std::string& file) { return file.empty() ? file : PathOf(config, file); };
  bus::TlsOptions o;
  o.cert_file = path(config.tls_cert_file);
  o.key_file = path(config.tls_key_file);
  o.key_file_pass = config.tls_key_file_pass;
  o.client_cert_file = path(config.tls_client_cert_file);
  o.client_key_file = path(config.tls_client_key_file);
  o.client_key_file_pass = config.tls_client_key_file_pass;
  o.ca_cert_file = path(config.tls_ca_cert_file);
  o.ca_cert_dir = path(config.tls_ca_cert_dir);
  o.dh_params_file = path(config.tls_dh_params_file);
  o.auth_clients = config.tls_auth_clients == "no"    ? bus::TlsAuthClients::kNo
                   : config.tls_auth_clients == "yes" ? bus::TlsAuthClients::kYes
                                                      : bus::TlsAuthClients::kOptional;
  o.protocols = config.tls_protocols;
  o.ciphers = config.tls_ciphers;
  o.ciphersuites = config.tls_ciphersuites;
  o.prefer_server_ciphers = config.tls_prefer_server_ciphers;
  o.session_caching = config.tls_session_caching;
  o.session_cache_size = config.tls_session_cache_size;
  o.session_cache_timeout_s = config.tls_session_cache_timeout;
  return o;
}

absl::StatusOr<bus::TlsContextPtr> TlsContextOf(const Config& config) {
  if (!TlsInUse(config)) return bus::TlsContextPtr();
  return bus::TlsContext::Create(TlsOptionsOf(config));
}

absl::Status CheckBeforeOpening(const Config& config) {
  if (absl::Status status = CheckCombinations(config); !status.ok()) return status;
  if (absl::Status status = CheckWritable(config, "logfile", config.logfile); !status.ok()) return status;
  if (absl::Status status = CheckWritable(config, "pidfile", config.pidfile); !status.ok()) return status;
  if (absl::Status status = TlsContextOf(config).status(); !status.ok()) return status;
  const bus::BusOptions options = BusOptionsOf(config);
  return config.cluster_enabled ? bus::Bus::Check(options) : bus::LoadSecrets(options).status();
}

absl::Status CheckAll(const Config& config) {
  if (absl::Status status = CheckBeforeOpening(config); !status.ok()) return status;
  return storage::DataSet::Check(DataSetOptionsOf(config));
}

}  // namespace skein::node
