// CLUSTER and its subcommands, ASKING, READONLY, READWRITE. What only reads is answered from the loop's snapshot of the
// topology; what changes the cluster is in cluster_change.cc.
// Source: the Redis 7.2 documentation of CLUSTER; error texts compared with redis-server 7.0.15.
#include "node/commands/cluster.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fmt/format.h"
#include "node/commands/cluster_change.h"
#include "node/commands/cluster_view.h"
#include "node/commands/families.h"
#include "node/commands/help.h"
#include "node/commands/parse.h"
#include "node/config/config.h"
#include "node/loop.h"
#include "node/node.h"
#include "node/session.h"
#include "storage/slot.h"

namespace skein::node {
namespace {

// Runs a subcommand, or refuses it as Redis does where there is no cluster.
template <void (*kRun)(Call&)>
void InCluster(Call& call) {
  if (!call.config->cluster_enabled) return call.reply->Error("ERR This instance has cluster support disabled");
  kRun(call);
}

EndpointView ViewOf(Call& call) {
  EndpointView view;
  view.preferred = call.config->cluster_preferred_endpoint_type;
  view.tls = call.caller.tls;
  view.local_ip = IpOf(call.session->state().laddr);
  return view;
}

// ---- Reads of the topology -----------------------------------------------------------------------------------------

void MyId(Call& call) { call.reply->Bulk(call.loop->topology()->me().id()); }
void MyShardId(Call& call) { call.reply->Bulk(call.loop->topology()->me().shard_id()); }
void KeySlotOf(Call& call) { call.reply->Integer(storage::KeySlot(call.argv[2])); }
void Nodes(Call& call) { call.reply->Verbatim("txt", NodesText(*call.loop->topology(), ViewOf(call))); }
void Slots(Call& call) { ReplySlots(*call.loop->topology(), ViewOf(call), call.reply); }
void Shards(Call& call) { ReplyShards(*call.loop->topology(), ViewOf(call), call.reply); }

void Replicas(Call& call) {
  const bus::Topology& topology = *call.loop->topology();
  for (bus::NodeIndex i = 0; i < topology.nodes.size(); ++i) {
    if (topology.nodes[i].id() != call.argv[2]) continue;
    if (!topology.nodes[i].primary) return call.reply->Error("ERR The specified node is not a master");
    std::vector<std::string> lines;
    for (bus::NodeIndex r = 0; r < topology.nodes.size(); ++r) {
      if (topology.nodes[r].primary || topology.nodes[r].primary_index != i) continue;
      lines.push_back(NodeLine(topology, r, ViewOf(call), /*with_slots=*/false));
      lines.back().pop_back();  // the line break
    }
    call.reply->Array(lines.size());
    for (const std::string& line : lines) call.reply->Bulk(line);
    return;
  }
  call.reply->Error(fmt::format("ERR Unknown node {}", call.argv[2]));
}

// ---- Keys of a slot ------------------------------------------------------------------------------------------------

std::optional<uint16_t> RouteBySlot(Args argv) { return argv.size() > 2 ? ParseSlot(argv[2]) : std::nullopt; }

// Without a shard: the slot did not parse.
void CountKeysInSlot(Call& call) {
  int64_t slot;
  if (!ParseInt64(call.argv[2], &slot)) return call.reply->NotAnInteger();
  if (call.shard == nullptr) return call.reply->Error("ERR Invalid slot");
  call.reply->Integer(static_cast<int64_t>(call.shard->KeyCountInSlot(0, static_cast<uint16_t>(slot))));
}

void GetKeysInSlot(Call& call) {
  int64_t slot, limit;
  if (!ParseInt64(call.argv[2], &slot) || !ParseInt64(call.argv[3], &limit)) return call.reply->NotAnInteger();
  if (call.shard == nullptr || limit < 0) return call.reply->Error("ERR Invalid slot or number of keys");
  std::vector<std::string> keys;
  call.shard->KeysInSlot(0, static_cast<uint16_t>(slot), static_cast<size_t>(limit),
                         [&keys](std::string_view key) { keys.emplace_back(key); });
  call.reply->Array(keys.size());
  for (const std::string& key : keys) call.reply->Bulk(key);
}

// ---- The connection's attitude -------------------------------------------------------------------------------------

void Asking(Call& call) {
  call.session->state().asking = true;
  call.reply->Ok();
}

void Readonly(Call& call) {
  call.session->state().readonly = true;
  call.reply->Ok();
}

void Readwrite(Call& call) {
  call.session->state().readonly = false;
  call.reply->Ok();
}

void Help(Call& call) {
  static constexpr std::string_view kLines[] = {
      "ADDSLOTS <slot> [<slot> ...]",
      "    Assign slots to current node.",
      "ADDSLOTSRANGE <start slot> <end slot> [<start slot> <end slot> ...]",
      "    Assign slots which are between <start-slot> and <end-slot> to current node.",
      "BUMPEPOCH",
      "    Advance the cluster config epoch.",
      "COUNT-FAILURE-REPORTS <node-id>",
      "    Return number of failure reports for <node-id>.",
      "COUNTKEYSINSLOT <slot>",
      "    Return the number of keys in <slot>.",
      "DELSLOTS <slot> [<slot> ...]",
      "    Delete slots information from current node.",
      "DELSLOTSRANGE <start slot> <end slot> [<start slot> <end slot> ...]",
      "    Delete slots information which are between <start-slot> and <end-slot> from current node.",
      "EVENTS [COUNT <count>] [KIND <kind>]",
      "    Return what happened to the cluster lately, newest first.",
      "EVENTS RESET",
      "    Forget these events.",
      "FAILOVER [FORCE|TAKEOVER]",
      "    Promote current replica node to being a master.",
      "FLUSHSLOTS",
      "    Delete current node own slots information.",
      "FORGET <node-id>",
      "    Remove a node from the cluster.",
      "GETKEYSINSLOT <slot> <count>",
      "    Return key names stored by current node in a slot.",
      "INFO",
      "    Return information about the cluster.",
      "KEYSLOT <key>",
      "    Return the hash slot for <key>.",
      "LINKS",
      "    Return information about all network links between this node and its peers.",
      "MEET <ip> <port> [<bus-port>]",
      "    Connect nodes into a working cluster.",
      "MYID",
      "    Return the node id.",
      "MYSHARDID",
      "    Return the node's shard id.",
      "NODES",
      "    Return cluster configuration seen by node. Output format:",
      "    <id> <ip:port@bus-port[,hostname]> <flags> <master> <pings> <pongs> <epoch> <link> <slot> ...",
      "REPLICATE <node-id>",
      "    Configure current node as replica to <node-id>.",
      "REPLICAS <node-id>",
      "    Return <node-id> replicas.",
      "RESET [HARD|SOFT]",
      "    Reset current node (default: soft).",
      "SAVECONFIG",
      "    Force saving cluster configuration on disk.",
      "SET-CONFIG-EPOCH <epoch>",
      "    Set config epoch of current node.",
      "SETSLOT <slot> (IMPORTING <node-id>|MIGRATING <node-id>|STABLE|NODE <node-id>)",
      "    Set slot state.",
      "SHARDS",
      "    Return information about slot range mappings and the nodes associated with them.",
      "SLOT-STATS (SLOTSRANGE <start slot> <end slot>|ORDERBY <metric> [LIMIT <limit>] [ASC|DESC])",
      "    Return what the slots of this node hold and cost.",
      "SLOTS",
      "    Return information about slots range mappings. Each range is made of:",
      "    start, end, master and replicas IP addresses, ports and ids",
  };
  ReplyHelp(call, "CLUSTER", kLines);
}

constexpr ArgDoc kNodeId[] = {{.name = "node-id", .type = "string"}};
constexpr ArgDoc kSlot[] = {{.name = "slot", .type = "integer"}};
constexpr ArgDoc kSlotList[] = {{.name = "slot", .type = "integer", .flags = ArgDoc::kMultiple}};
constexpr ArgDoc kStartEnd[] = {{.name = "start-slot", .type = "integer"}, {.name = "end-slot", .type = "integer"}};
constexpr ArgDoc kRangeList[] = {
    {.name = "range", .type = "block", .flags = ArgDoc::kMultiple, .arguments = kStartEnd}};
constexpr ArgDoc kSlotCount[] = {{.name = "slot", .type = "integer"}, {.name = "count", .type = "integer"}};
constexpr ArgDoc kKey[] = {{.name = "key", .type = "string"}};
constexpr ArgDoc kEpoch[] = {{.name = "config-epoch", .type = "integer"}};
constexpr ArgDoc kMeetArgs[] = {
    {.name = "ip", .type = "string"},
    {.name = "port", .type = "integer"},
    {.name = "cluster-bus-port", .type = "integer", .flags = ArgDoc::kOptional, .since = "4.0.0"}};
constexpr ArgDoc kResetTypes[] = {{.name = "hard", .type = "pure-token", .token = "HARD"},
                                  {.name = "soft", .type = "pure-token", .token = "SOFT"}};
constexpr ArgDoc kResetArgs[] = {
    {.name = "reset-type", .type = "oneof", .flags = ArgDoc::kOptional, .arguments = kResetTypes}};
constexpr ArgDoc kSetSlotKinds[] = {{.name = "importing", .type = "string", .token = "IMPORTING"},
                                    {.name = "migrating", .type = "string", .token = "MIGRATING"},
                                    {.name = "node", .type = "string", .token = "NODE"},
                                    {.name = "stable", .type = "pure-token", .token = "STABLE"}};
constexpr ArgDoc kSetSlotArgs[] = {{.name = "slot", .type = "integer"},
                                   {.name = "subcommand", .type = "oneof", .arguments = kSetSlotKinds}};

constexpr ArgDoc kEventsFilter[] = {{.name = "count", .type = "integer", .token = "COUNT", .flags = ArgDoc::kOptional},
                                    {.name = "kind", .type = "string", .token = "KIND", .flags = ArgDoc::kOptional}};
constexpr ArgDoc kEventsKinds[] = {{.name = "filter", .type = "block", .arguments = kEventsFilter},
                                   {.name = "reset", .type = "pure-token", .token = "RESET"}};
constexpr ArgDoc kEventsArgs[] = {
    {.name = "what", .type = "oneof", .flags = ArgDoc::kOptional, .arguments = kEventsKinds}};
constexpr ArgDoc kDirections[] = {{.name = "asc", .type = "pure-token", .token = "ASC"},
                                  {.name = "desc", .type = "pure-token", .token = "DESC"}};
constexpr ArgDoc kOrderBy[] = {
    {.name = "metric", .type = "string"},
    {.name = "limit", .type = "integer", .token = "LIMIT", .flags = ArgDoc::kOptional},
    {.name = "order", .type = "oneof", .flags = ArgDoc::kOptional, .arguments = kDirections}};
constexpr ArgDoc kSlotStatsFilters[] = {
    {.name = "slotsrange", .type = "block", .token = "SLOTSRANGE", .arguments = kStartEnd},
    {.name = "orderby", .type = "block", .token = "ORDERBY", .arguments = kOrderBy}};
constexpr ArgDoc kSlotStatsArgs[] = {{.name = "filter", .type = "oneof", .arguments = kSlotStatsFilters}};

constexpr ArgDoc kFailoverWords[] = {{.name = "force", .type = "pure-token", .token = "FORCE"},
                                     {.name = "takeover", .type = "pure-token", .token = "TAKEOVER"}};
constexpr ArgDoc kFailoverArgs[] = {
    {.name = "options", .type = "oneof", .flags = ArgDoc::kOptional, .arguments = kFailoverWords}};

constexpr uint32_t kRead = kFlagStale;
constexpr uint32_t kChange = kFlagAdmin | kFlagStale | kFlagNoAsyncLoading;

CommandSpec Row(const char* name, const char* since, int arity, uint32_t flags, void (*run)(Call&), const char* summary,
                const char* complexity = "O(1)", std::span<const ArgDoc> args = {}) {
  return {.name = name,
          .group = "cluster",
          .since = since,
          .summary = summary,
          .complexity = complexity,
          .arity = arity,
          .flags = flags,
          .acl = 0,
          .scope = Scope::kSession,
          .run = run,
          .args = args,
          .parent = "cluster"};
}

// A subcommand that runs on the loop of the slot it names.
CommandSpec OnSlot(CommandSpec row) {
  row.scope = Scope::kShard;
  row.route = RouteBySlot;
  return row;
}

constexpr const char* kChanging[] = {"nondeterministic_output"};
constexpr CommandNote kSlotsHistory[] = {{"4.0.0", "Added node IDs."},
                                         {"7.0.0", "Added additional networking metadata field."}};

// A subcommand whose reply differs from call to call without a change of the data.
CommandSpec Changing(CommandSpec row) {
  row.tips = kChanging;
  return row;
}

CommandSpec Deprecated(CommandSpec row, const char* since, const char* replaced_by) {
  row.deprecated_since = since;
  row.replaced_by = replaced_by;
  return row;
}

CommandSpec WithHistory(CommandSpec row, std::span<const CommandNote> history) {
  row.history = history;
  return row;
}

std::span<const CommandSpec> Subcommands() {
  static constexpr char kNodes[] = "O(N) where N is the total number of Cluster nodes";
  static constexpr char kSlots[] = "O(N) where N is the total number of hash slot arguments";
  static constexpr char kRanges[] =
      "O(N) where N is the total number of the slots between the start slot and end slot arguments.";
  static const CommandSpec kRows[] = {
      Row("addslots", "3.0.0", -3, kChange, InCluster<ClusterAddSlots>, "Assigns new hash slots to a node.", kSlots,
          kSlotList),
      Row("addslotsrange", "7.0.0", -4, kChange, InCluster<ClusterAddSlotsRange>,
          "Assigns new hash slot ranges to a node.", kRanges, kRangeList),
      Changing(
          Row("bumpepoch", "3.0.0", 2, kChange, InCluster<ClusterBumpEpoch>, "Advances the cluster config epoch.")),
      Changing(Row("count-failure-reports", "3.0.0", 3, kFlagAdmin | kFlagStale, InCluster<ClusterCountFailureReports>,
                   "Returns the number of active failure reports active for a node.",
                   "O(N) where N is the number of failure reports", kNodeId)),
      OnSlot(Row("countkeysinslot", "3.0.0", 3, kRead, InCluster<CountKeysInSlot>,
                 "Returns the number of keys in a hash slot.", "O(1)", kSlot)),
      Row("delslots", "3.0.0", -3, kChange, InCluster<ClusterDelSlots>, "Sets hash slots as unbound for a node.",
          kSlots, kSlotList),
      Row("delslotsrange", "7.0.0", -4, kChange, InCluster<ClusterDelSlotsRange>,
          "Sets hash slot ranges as unbound for a node.", kRanges, kRangeList),
      Changing(Row("events", "7.2.0", -2, kRead, InCluster<ClusterEvents>,
                   "Returns what happened to the cluster lately, newest first.",
                   "O(N) where N is the number of events kept", kEventsArgs)),
      Row("failover", "3.0.0", -2, kChange, InCluster<ClusterFailover>,
          "Forces a replica to perform a manual failover of its master.", "O(1)", kFailoverArgs),
      Row("flushslots", "3.0.0", 2, kChange, InCluster<ClusterFlushSlots>,
          "Deletes all slots information from a node."),
      Row("forget", "3.0.0", 3, kChange, InCluster<ClusterForget>, "Removes a node from the nodes table.", "O(1)",
          kNodeId),
      Changing(OnSlot(Row("getkeysinslot", "3.0.0", 4, kRead, InCluster<GetKeysInSlot>,
                          "Returns the key names in a hash slot.", "O(N) where N is the number of requested keys",
                          kSlotCount))),
      Row("help", "5.0.0", 2, kFlagLoading | kFlagStale, InCluster<Help>,
          "Returns helpful text about the different subcommands."),
      Changing(
          Row("info", "3.0.0", 2, kRead, InCluster<ClusterInfo>, "Returns information about the state of a node.")),
      Row("keyslot", "3.0.0", 3, kRead, InCluster<KeySlotOf>, "Returns the hash slot for a key.",
          "O(N) where N is the number of bytes in the key", kKey),
      Changing(Row("links", "7.0.0", 2, kRead, InCluster<ClusterLinks>,
                   "Returns a list of all TCP links to and from peer nodes.", kNodes)),
      Row("meet", "3.0.0", -4, kChange, InCluster<ClusterMeet>, "Forces a node to handshake with another node.", "O(1)",
          kMeetArgs),
      Row("myid", "3.0.0", 2, kRead, InCluster<MyId>, "Returns the ID of a node."),
      Row("myshardid", "7.2.0", 2, kRead, InCluster<MyShardId>, "Returns the shard ID of a node."),
      Changing(
          Row("nodes", "3.0.0", 2, kRead, InCluster<Nodes>, "Returns the cluster configuration for a node.", kNodes)),
      Changing(Row("replicas", "5.0.0", 3, kFlagAdmin | kFlagStale, InCluster<Replicas>,
                   "Lists the replica nodes of a master node.", "O(N) where N is the number of replicas.", kNodeId)),
      Row("replicate", "3.0.0", 3, kChange, InCluster<ClusterReplicate>,
          "Configure a node as replica of a master node.", "O(1)", kNodeId),
      Row("reset", "3.0.0", -2, kFlagAdmin | kFlagStale | kFlagNoscript, InCluster<ClusterReset>, "Resets a node.",
          "O(N) where N is the number of known nodes. The command may execute a FLUSHALL as a side effect.",
          kResetArgs),
      Row("saveconfig", "3.0.0", 2, kChange, InCluster<ClusterSaveConfig>,
          "Forces a node to save the cluster configuration to disk."),
      Row("set-config-epoch", "3.0.0", 3, kChange, InCluster<ClusterSetConfigEpoch>,
          "Sets the configuration epoch for a new node.", "O(1)", kEpoch),
      Row("setslot", "3.0.0", -4, kChange, InCluster<ClusterSetSlot>, "Binds a hash slot to a node.", "O(1)",
          kSetSlotArgs),
      Changing(Row("shards", "7.0.0", 2, kFlagLoading | kFlagStale, InCluster<Shards>,
                   "Returns the mapping of cluster slots to shards.", kNodes)),
      Deprecated(Changing(Row("slaves", "3.0.0", 3, kFlagAdmin | kFlagStale, InCluster<Replicas>,
                              "Lists the replica nodes of a master node.", "O(N) where N is the number of replicas.",
                              kNodeId)),
                 "5.0.0", "`CLUSTER REPLICAS`"),
      Changing(Row("slot-stats", "8.0.0", -4, kRead, InCluster<ClusterSlotStats>,
                   "Returns an array of slot usage statistics for slots assigned to the current node.",
                   "O(N) where N is the total number of slots based on arguments. O(N*log(N)) with ORDERBY subcommand.",
                   kSlotStatsArgs)),
      Deprecated(WithHistory(Changing(Row("slots", "3.0.0", 2, kFlagLoading | kFlagStale, InCluster<Slots>,
                                          "Returns the mapping of cluster slots to nodes.", kNodes)),
                             kSlotsHistory),
                 "7.0.0", "`CLUSTER SHARDS`"),
  };
  return kRows;
}

CommandSpec Attitude(const char* name, uint32_t flags, void (*run)(Call&), const char* summary) {
  return {.name = name,
          .group = "cluster",
          .since = "3.0.0",
          .summary = summary,
          .complexity = "O(1)",
          .arity = 1,
          .flags = flags,
          .acl = kAclConnection,
          .scope = Scope::kSession,
          .run = run};
}

}  // namespace

std::span<const CommandSpec> ClusterCommands() {
  static const CommandSpec kRows[] = {
      {.name = "cluster",
       .group = "cluster",
       .since = "3.0.0",
       .summary = "A container for Redis Cluster commands.",
       .complexity = "Depends on subcommand.",
       .arity = -2,
       .flags = 0,
       .acl = 0,
       .scope = Scope::kSession,
       .run = nullptr,
       .subcommands = Subcommands()},
      Attitude("asking", kFlagFast, InCluster<Asking>, "Signals that a cluster client is following an -ASK redirect."),
      Attitude("readonly", kFlagFast | kFlagLoading | kFlagStale, InCluster<Readonly>,
               "Enables read-only queries for a connection to a Redis Cluster replica node."),
      Attitude("readwrite", kFlagFast | kFlagLoading | kFlagStale, InCluster<Readwrite>,
               "Enables read-write queries for a connection to a Redis Cluster replica node."),
  };
  return kRows;
}

}  // namespace skein::node
