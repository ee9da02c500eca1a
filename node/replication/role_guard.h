// What a node's part in replication forbids its clients, beside what the topology says.
#ifndef SKEIN_NODE_REPLICATION_ROLE_GUARD_H_
#define SKEIN_NODE_REPLICATION_ROLE_GUARD_H_

namespace skein::node {

// The same on all loops, but for the moments that a message takes.
struct RoleGuard {
  bool catching_up = false;   // a primary that first asks its replicas for what its log may lack: no data at all
  bool replica = false;       // it follows another, or has not opened its reigns since: no writes
  bool stale = false;         // the link is down, and stale data is not to be served
  bool loading = false;       // some shard is being filled by a full synchronization
  bool reshaping = false;     // its data set gives way to one of its primary's number of shards: no data at all
  bool few_replicas = false;  // too few for min-replicas-to-write

  bool operator==(const RoleGuard&) const = default;
  bool any() const { return catching_up || replica || stale || loading || reshaping || few_replicas; }
};

}  // namespace skein::node

#endif  // SKEIN_NODE_REPLICATION_ROLE_GUARD_H_
