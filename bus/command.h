// What an operator asks of the cluster (the CLUSTER subcommands that change or query engine state), as data. The node
// parses the client's words into one of these; the engine decides and answers with the reply or error that Redis gives.
#ifndef SKEIN_BUS_COMMAND_H_
#define SKEIN_BUS_COMMAND_H_

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "bus/topology.h"

namespace skein::bus {

// A host name or address, and the bus port there.
struct Seed {
  std::string host;
  uint16_t bus_port;
  friend bool operator==(const Seed&, const Seed&) = default;
};

struct MeetCommand {
  std::string ip;
  uint16_t port;
  uint16_t bus_port;
};  // bus_port 0: port + 10000
struct ForgetCommand {
  std::string id;
};
// `has_keys`: filled by the node (RESET is refused by a primary that holds keys). Answered after the effects are
// durable.
struct ResetCommand {
  bool hard;
  bool has_keys;
};
struct AddSlotsCommand {
  std::vector<SlotRange> ranges;
};
struct DelSlotsCommand {
  std::vector<SlotRange> ranges;
};
struct FlushSlotsCommand {
  bool has_keys;
};
struct BumpEpochCommand {};
struct SetConfigEpochCommand {
  uint64_t epoch;
};
struct SaveConfigCommand {};
struct CountFailureReportsCommand {
  std::string id;
};
enum class SetSlotKind : uint8_t { kMigrating, kImporting, kStable, kNode };
// `keys_in_slot`: filled by the node, for NODE ("I still hold keys for hash slot").
struct SetSlotCommand {
  uint16_t slot;
  SetSlotKind kind;
  std::string id;
  uint64_t keys_in_slot;
};
// cluster-preferred-endpoint-type: how clients should be told to reach this node.
enum class EndpointPreference : uint8_t { kIp, kHostname, kUnknown };
// What peers are told from now on: announced addresses and the like, from CONFIG SET. Replaces everything: an empty
// address is learnt again, ports of 0 are none. A bus_port of 0 keeps what was announced.
struct AnnounceCommand {
  std::string ip;
  std::string hostname;
  uint16_t port;
  uint16_t tls_port;
  uint16_t bus_port;
  std::string name = "";  // cluster-announce-human-nodename
  EndpointPreference preferred_endpoint = EndpointPreference::kIp;
};
// Run-time settings of the engine (CONFIG SET cluster-node-timeout, cluster-require-full-coverage, …).
struct SettingsCommand {
  int64_t node_timeout_ms;
  bool require_full_coverage;
  bool no_failover;
  uint32_t replica_validity_factor = 10;
  uint32_t migration_barrier = 1;
  bool allow_replica_migration = true;
};
// cluster-seeds: replaces those there were.
struct SeedsCommand {
  std::vector<Seed> seeds;
};
// CLUSTER REPLICATE. `has_keys`: filled by the node (a primary must be empty and without slots).
struct ReplicateCommand {
  std::string id;
  bool has_keys;
};
// CLUSTER FAILOVER [FORCE | TAKEOVER], said to a replica.
enum class FailoverKind : uint8_t { kAgreed, kForce, kTakeover };
struct FailoverCommand {
  FailoverKind kind;
};

// Said to a primary that is about to stop (SIGTERM, SHUTDOWN): its best replica takes over as by FailoverCommand
// kAgreed. Answered "OK" once this node is its replica and that is durable, else with an error within a bounded time.
struct HandOverCommand {};

using OperatorCommand =
    std::variant<MeetCommand, ForgetCommand, ResetCommand, AddSlotsCommand, DelSlotsCommand, FlushSlotsCommand,
                 BumpEpochCommand, SetConfigEpochCommand, SaveConfigCommand, CountFailureReportsCommand, SetSlotCommand,
                 AnnounceCommand, SettingsCommand, SeedsCommand, ReplicateCommand, FailoverCommand, HandOverCommand>;

// The reply, RESP-neutral: an error text (with its code: "ERR Slot 5 is already busy"), a status ("OK", "BUMPED 3"), or
// a number.
struct OperatorReply {
  enum class Kind : uint8_t { kStatus, kError, kInteger } kind = Kind::kStatus;
  std::string text = "OK";
  int64_t number = 0;
};

}  // namespace skein::bus

#endif  // SKEIN_BUS_COMMAND_H_
