#include "node/config/check.h"

#include <arpa/inet.h>
#include <sched.h>

#include <algorithm>

#include "bus/seeds.h"
#include "node/config/text.h"

namespace skein::node {
namespace {

uint32_t Cores() {
  cpu_set_t set;
  // What taskset or a container left to this process, not what the machine has.
  if (sched_getaffinity(0, sizeof set, &set) == 0) return static_cast<uint32_t>(CPU_COUNT(&set));
  return 1;
}

absl::Status Refused(std::string_view why) { return absl::InvalidArgumentError(std::string(why)); }

// A name that stays inside `dir`.
bool IsFileName(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos;
}

bool IsNumericAddress(const std::string& text) {
  in6_addr any;
  return inet_pton(AF_INET, text.c_str(), &any) == 1 || inet_pton(AF_INET6, text.c_str(), &any) == 1;
}

absl::Status CheckAddresses(const Config& c) {
  for (const std::string& word : c.bind) {
    const std::string ip = word.starts_with('-') ? word.substr(1) : word;
    if (ip != "*" && ip != "::*" && !IsNumericAddress(ip)) {
      return Refused(Cat("'bind ", word, "' is not a numeric address"));
    }
  }
  if (c.bind.empty()) return Refused("'bind' names no address: clients could not connect");
  if (!c.cluster_announce_ip.empty() && !IsNumericAddress(c.cluster_announce_ip)) {
    return Refused(Cat("'cluster-announce-ip ", c.cluster_announce_ip,
                       "' is not a numeric address (a name goes into cluster-announce-hostname)"));
  }
  return absl::OkStatus();
}

uint16_t ClientPort(const Config& c) { return c.port != 0 ? c.port : c.tls_port; }

absl::Status CheckPorts(const Config& c) {
  if (c.port == 0 && c.tls_port == 0) {
    return Refused(
        "'port 0' without tls-port: there is no other way for a client to connect, as Unix sockets are not available "
        "yet");
  }
  if (c.port == c.tls_port) {
    return Refused(
        Cat("'tls-port ", c.tls_port, "' is the port of the clients without TLS; choose another, or set 'port 0'"));
  }
  return absl::OkStatus();
}

absl::Status CheckCluster(const Config& c) {
  if (!c.cluster_enabled) {
    if (c.storage_shards > 1) {
      return Refused(Cat("'storage-shards ", c.storage_shards,
                         "' with 'cluster-enabled no': a node outside a cluster has exactly one shard, so that "
                         "every command is atomic; remove storage-shards or set it to 1"));
    }
    if (c.cluster_bootstrap) {
      return Refused("'cluster-bootstrap yes' with 'cluster-enabled no': there are no slots to take; remove one");
    }
    return absl::OkStatus();
  }
  if (!c.replicaof.empty()) {
    return Refused(
        "'replicaof' with 'cluster-enabled yes': in a cluster a node becomes a replica by CLUSTER REPLICATE");
  }
  if (c.cluster_port == 0 && ClientPort(c) > 55535) {
    return Refused(Cat(c.port != 0 ? "'port " : "'tls-port ", ClientPort(c),
                       "' leaves no room for the cluster bus at port + 10000; lower it or set "
                       "cluster-port"));
  }
  if (BusPort(c) == c.port || BusPort(c) == c.tls_port) {
    return Refused(Cat("'cluster-port ", c.cluster_port, "' is the port of the clients; choose another"));
  }
  if (auto seeds = bus::ParseSeeds(c.cluster_seeds, BusPort(c)); !seeds.ok()) {
    return Refused(Cat("cluster-seeds: ", std::string(seeds.status().message())));
  }
  for (char letter : c.cluster_announce_human_nodename) {
    if (letter <= ' ' || letter >= 0x7f || letter == ',' || letter == '"' || letter == '\\') {
      return Refused("Announced human node name contained invalid character");
    }
  }
  if (!IsFileName(c.cluster_config_file)) {
    return Refused("cluster-config-file must be a file name without a path; it lives in dir");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckCombinations(const Config& c) {
  if (c.write_commit == WriteCommit::kQuorum) {
    return Refused(
        "'write-commit quorum': there are no replicas yet that a majority could be made of; use 'write-commit disk' "
        "with "
        "'appendonly yes'");
  }
  if (c.write_commit == WriteCommit::kDisk && !c.appendonly) {
    return Refused("'write-commit disk' with 'appendonly no': nothing would ever be durable; set 'appendonly yes'");
  }
  if (!IsFileName(c.dbfilename)) return Refused("dbfilename can't be a path, just a filename");
  if (absl::Status status = CheckPorts(c); !status.ok()) return status;
  if (!IsFileName(c.appendfilename)) return Refused("appendfilename can't be a path, just a filename");
  if (!IsFileName(c.appenddirname)) return Refused("appenddirname can't be a path, just a dirname");
  if (absl::Status status = CheckAddresses(c); !status.ok()) return status;
  if (c.tls_replication && c.tls_port == 0 && c.tls_cert_file.empty() && c.tls_ca_cert_file.empty() &&
      c.tls_ca_cert_dir.empty()) {
    return Refused("'tls-replication yes' without tls-ca-cert-file: the primary's certificate could not be checked");
  }
  return CheckCluster(c);
}

uint32_t LoopCount(const Config& c) {
  return c.client_loops != 0 ? c.client_loops : std::clamp<uint32_t>(Cores(), 1, 8);
}

uint32_t ShardCount(const Config& c) {
  if (!c.cluster_enabled) return 1;
  return c.storage_shards != 0 ? c.storage_shards : LoopCount(c);
}

uint16_t BusPort(const Config& c) {
  return c.cluster_port != 0 ? c.cluster_port : static_cast<uint16_t>(ClientPort(c) + 10000);
}

std::string EffectiveSave(const Config& c) { return c.save.value_or(c.appendonly ? "" : kDefaultSave); }

WriteCommit EffectiveCommit(const Config& c) {
  const bool always = c.appendonly && c.appendfsync == storage::AppendFsync::kAlways;
  return always ? std::max(c.write_commit, WriteCommit::kDisk) : c.write_commit;
}

storage::AppendFsync EffectiveFsync(const Config& c) {
  return c.write_commit == WriteCommit::kMemory ? c.appendfsync : storage::AppendFsync::kAlways;
}

}  // namespace skein::node
