// The directives of replication, as Redis has them.
#include "node/config/directives.h"
#include "node/config/text.h"

namespace skein::node {
namespace {

using Type = Directive::Type;
using Words = std::vector<std::string>;
constexpr int64_t kMaxInt = std::numeric_limits<int32_t>::max();

Directive Row(std::string_view name, std::string_view alias, Type type, Directive::Field field, std::string_view help,
              int64_t min = 0, int64_t max = kMaxInt, uint32_t flags = 0) {
  return {
      .name = name, .alias = alias, .type = type, .flags = flags, .field = field, .min = min, .max = max, .help = help};
}

absl::Status ParseReplicaof(const Words& words, Config* config) {
  const Words list = SplitBlanks(Join(words, " "));
  if (list.empty() || (list.size() == 2 && SameName(list[0], "no") && SameName(list[1], "one"))) {
    config->replicaof.clear();
    return absl::OkStatus();
  }
  if (list.size() != 2) return absl::InvalidArgumentError("wrong number of arguments");
  const std::optional<int64_t> port = ParseInteger(list[1]);
  if (!port || *port < 0 || *port > 65535) return absl::InvalidArgumentError("Invalid master port");
  if (*port == 0) {
    config->replicaof.clear();
  } else {
    config->replicaof = {list[0], std::to_string(*port)};
  }
  return absl::OkStatus();
}
Words FormatReplicaof(const Config& config) { return {Join(config.replicaof, " ")}; }

}  // namespace

namespace internal {

std::vector<Directive> ReplicationDirectives() {
  return {
      {.name = "replicaof",
       .alias = "slaveof",
       .type = Type::kCustom,
       .flags = Directive::kImmutable,
       .help = "<host> <port> of the primary whose replica this node is; 'no one': it is a primary. Not in a cluster.",
       .parse = ParseReplicaof,
       .format = FormatReplicaof},
      Row("masterauth", "primaryauth", Type::kString, &Config::masterauth, "Password of the primary (its requirepass).",
          0, 0, Directive::kSensitive),
      Row("masteruser", "primaryuser", Type::kString, &Config::masteruser, "User name that goes with masterauth."),
      Row("min-replicas-to-write", "min-slaves-to-write", Type::kInteger, &Config::min_replicas_to_write,
          "Take writes only while so many replicas are connected and not too late; 0: always."),
      Row("min-replicas-max-lag", "min-slaves-max-lag", Type::kInteger, &Config::min_replicas_max_lag,
          "Seconds since its last acknowledgement after which a replica does not count; 0: nothing is checked."),
      Row("repl-backlog-size", "", Type::kMemory, &Config::repl_backlog_size,
          "Bytes of each shard's newest records that are kept in memory for replicas.", 1,
          std::numeric_limits<int64_t>::max()),
      Row("repl-backlog-ttl", "", Type::kInteger, &Config::repl_backlog_ttl,
          "Seconds after which that memory is given back when no replica is connected; 0: never."),
      Row("repl-ping-replica-period", "repl-ping-slave-period", Type::kInteger, &Config::repl_ping_replica_period,
          "Seconds of silence after which a primary pings its replicas; in a cluster a quarter of its node timeout if "
          "that is less.",
          1),
      Row("repl-timeout", "", Type::kInteger, &Config::repl_timeout,
          "Seconds of silence after which a primary or replica gives the other up.", 1),
      Row("replica-announce-ip", "slave-announce-ip", Type::kString, &Config::replica_announce_ip,
          "Address that a replica tells its primary, for INFO and ROLE."),
      Row("replica-announce-port", "slave-announce-port", Type::kInteger, &Config::replica_announce_port,
          "Port that it tells; 0: its own.", 0, 65535),
      Row("replica-announced", "", Type::kBool, &Config::replica_announced,
          "Whether sentinels should tell clients of this replica (replica_announced in INFO)."),
      {.name = "replica-read-only",
       .alias = "slave-read-only",
       .type = Type::kBool,
       .role = Directive::Role::kFixed,
       .standard = "yes",
       .why = "a replica's log is its primary's, byte for byte: it takes no writes of its own"},
      Row("replica-serve-stale-data", "slave-serve-stale-data", Type::kBool, &Config::replica_serve_stale_data,
          "Whether a replica without a connection to its primary serves reads."),
      Row("replica-priority", "slave-priority", Type::kInteger, &Config::replica_priority,
          "What sentinels choose replicas by (slave_priority in INFO); 0: never."),
      Row("tls-replication", "", Type::kBool, &Config::tls_replication,
          "Replicas dial the TLS port of their primary, with tls-client-cert-file if it asks for one."),
  };
}

}  // namespace internal
}  // namespace skein::node
