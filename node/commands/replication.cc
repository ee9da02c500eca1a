// REPLICAOF, SLAVEOF, ROLE, and LOGSYNC, which replicas say. Replies in Redis's words where it has the command.
#include "node/replication/replication.h"

#include "node/commands/families.h"
#include "node/commands/replication_info.h"
#include "node/commands/server_figures.h"
#include "node/node.h"

namespace skein::node {
namespace {

void ReplicaOf(Call& call) { call.node->replication()->ReplicaOf(call); }

void Logsync(Call& call) { call.node->replication()->BeginFlow(call); }

void Role(Call& call) {
  const Replication* const replication = call.node->replication();
  GatherFigures(call, [replication](ReplyWriter& reply, const Figures& figures) {
    const ReplicationInfo info = replication == nullptr ? ReplicationInfo() : replication->Info();
    const auto offset = static_cast<int64_t>(figures.offset());
    if (info.upstream) {
      reply.Array(5);
      reply.Bulk("slave");
      reply.Bulk(info.upstream->host);
      reply.Integer(info.upstream->port);
      reply.Bulk(LinkState(info));
      return reply.Integer(offset);
    }
    reply.Array(3);
    reply.Bulk("master");
    reply.Integer(offset);
    reply.Array(info.replicas.size());
    for (const ReplicationInfo::Replica& r : info.replicas) {
      reply.Array(3);
      reply.Bulk(r.ip);
      reply.Bulk(std::to_string(r.port));
      reply.Bulk(std::to_string(r.received));
    }
  });
}

constexpr ArgDoc kHostPort[] = {{.name = "host", .type = "string"}, {.name = "port", .type = "integer"}};
constexpr ArgDoc kNoOne[] = {{.name = "no", .type = "pure-token", .token = "NO"},
                             {.name = "one", .type = "pure-token", .token = "ONE"}};
constexpr ArgDoc kReplicaofChoices[] = {{.name = "host-port", .type = "block", .arguments = kHostPort},
                                        {.name = "no-one", .type = "block", .arguments = kNoOne}};
constexpr ArgDoc kReplicaofArgs[] = {{.name = "args", .type = "oneof", .arguments = kReplicaofChoices}};
constexpr uint32_t kChange = kFlagAdmin | kFlagNoscript | kFlagStale | kFlagNoAsyncLoading;

constexpr CommandSpec kRows[] = {
    {.name = "logsync",
     .group = "server",
     .since = "7.0.0",
     .summary = "An internal command used in replication: asks for the log of one storage shard.",
     .complexity = "O(1)",
     .arity = -2,
     .flags = kFlagAdmin | kFlagNoscript | kFlagLoading | kFlagStale | kFlagNoMulti,
     .acl = 0,
     .scope = Scope::kSession,
     .run = Logsync},
    {.name = "replicaof",
     .group = "server",
     .since = "5.0.0",
     .summary = "Configures a server as replica of another, or promotes it to a master.",
     .complexity = "O(1)",
     .arity = 3,
     .flags = kChange | kFlagLoading,
     .acl = 0,
     .scope = Scope::kSession,
     .run = ReplicaOf,
     .args = kReplicaofArgs},
    {.name = "role",
     .group = "server",
     .since = "2.8.12",
     .summary = "Returns the replication role.",
     .complexity = "O(1)",
     .arity = 1,
     .flags = kFlagNoscript | kFlagLoading | kFlagStale | kFlagFast,
     .acl = kAclAdmin | kAclDangerous,
     .scope = Scope::kSession,
     .run = Role},
    {.name = "slaveof",
     .group = "server",
     .since = "1.0.0",
     .summary = "Sets a Redis server as a replica of another, or promotes it to being a master.",
     .complexity = "O(1)",
     .arity = 3,
     .flags = kChange | kFlagLoading,
     .acl = 0,
     .scope = Scope::kSession,
     .run = ReplicaOf,
     .args = kReplicaofArgs,
     .deprecated_since = "5.0.0",
     .replaced_by = "`REPLICAOF`"},
};

}  // namespace

std::span<const CommandSpec> ReplicationCommands() { return kRows; }

}  // namespace skein::node
