#include "bus/bus_options.h"

#include <sys/stat.h>

#include <algorithm>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "bus/link/io_pool.h"
#include "bus/link/socket.h"
#include "bus/publisher.h"
#include "bus/state_file.h"

namespace skein::bus {
namespace {

constexpr uint64_t kLargestLinkBuffer = 1u << 30;

int64_t HalfTimeout(int64_t node_timeout_ms) { return std::clamp<int64_t>(node_timeout_ms / 2, 50, 5000); }

}  // namespace

uint64_t LinkBufferLimit(uint64_t bytes) {
  return bytes == 0 ? kLargestLinkBuffer : std::min(bytes, kLargestLinkBuffer);
}

size_t PublishLimit(uint64_t link_buffer_limit) {
  return std::min<size_t>(PublisherOptions().peer_limit, LinkBufferLimit(link_buffer_limit) / 2);
}

LinksOptions MakeLinksOptions(const BusOptions& options) {
  LinksOptions links;
  links.max_inbound = options.max_inbound;
  links.max_unproven = options.max_unproven;
  links.max_unproven_per_address = options.max_unproven_per_address;
  links.hello_timeout_ms =
      options.hello_timeout_ms > 0 ? options.hello_timeout_ms : HalfTimeout(options.node_timeout_ms);
  links.connect_timeout_ms = HalfTimeout(options.node_timeout_ms);
  links.dead_after_ms = options.node_timeout_ms;
  links.buffer_limit = LinkBufferLimit(options.link_buffer_limit);
  links.bind = options.bind;
  links.workers = options.io_threads;
  links.renew_within_ms =
      options.renew_within_ms > 0 ? options.renew_within_ms : std::min<int64_t>(2 * options.node_timeout_ms, 30'000);
  return links;
}

EngineOptions MakeEngineOptions(const BusOptions& options, uint16_t bus_port) {
  EngineOptions engine;
  std::random_device random;
  engine.seed = (static_cast<uint64_t>(random()) << 32) | random();
  engine.ip = options.announce_ip;
  engine.hostname = options.announce_hostname;
  engine.port = options.port;
  engine.tls_port = options.tls_port;
  engine.bus_port = options.announce_bus_port != 0 ? options.announce_bus_port : bus_port;
  engine.node_timeout_ms = options.node_timeout_ms;
  engine.require_full_coverage = options.require_full_coverage;
  engine.bootstrap = options.bootstrap;
  engine.no_failover = options.no_failover;
  engine.replica_validity_factor = options.replica_validity_factor;
  engine.migration_barrier = options.migration_barrier;
  engine.allow_replica_migration = options.allow_replica_migration;
  engine.name = options.announce_human_name;
  engine.preferred_endpoint = options.preferred_endpoint;
  engine.seeds = options.seeds;
  return engine;
}

absl::Status CheckBusOptions(const BusOptions& options) {
  if (options.io_threads > IoPool::kMaxWorkers) {
    return absl::InvalidArgumentError(absl::StrCat("bus-io-threads must be between 0 and ", IoPool::kMaxWorkers));
  }
  if (options.node_timeout_ms <= 0) return absl::InvalidArgumentError("cluster-node-timeout must be positive");
  if (options.config_file.empty()) return absl::InvalidArgumentError("cluster-config-file must not be empty");
  for (const std::string& word : options.bind) {
    std::string ip = word.starts_with("-") ? word.substr(1) : word;
    if (ip != "*" && ip != "::*" && !IsNumericAddress(ip)) {
      return absl::InvalidArgumentError(absl::StrCat("'", word, "' in bind is not a numeric address"));
    }
  }
  if (!options.announce_ip.empty() && !IsNumericAddress(options.announce_ip)) {
    return absl::InvalidArgumentError(absl::StrCat("cluster-announce-ip '", options.announce_ip,
                                                   "' is not a numeric address (a name goes into "
                                                   "cluster-announce-hostname)"));
  }
  if (absl::StatusOr<BusTrust> trust = LoadTrust(options); !trust.ok()) return trust.status();
  struct stat info {};
  std::string dir = options.dir.empty() ? "." : options.dir;
  if (stat(dir.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
    return absl::FailedPreconditionError(absl::StrCat("the directory ", dir, " does not exist"));
  }
  return LoadState(StatePath(options.dir, options.config_file)).status();
}

}  // namespace skein::bus
