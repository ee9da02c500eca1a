// What a node believes about the cluster, as an immutable snapshot.
//
// Made by the engine, published by the bus thread, read by every loop without a lock and without waiting. A loop keeps
// a `shared_ptr<const Topology>` of its own and swaps it when a new one arrives in its mailbox.
#ifndef SKEIN_BUS_TOPOLOGY_H_
#define SKEIN_BUS_TOPOLOGY_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace skein::bus {

inline constexpr uint32_t kSlots = 16384;
// Index of a node in Topology::nodes; 0 is always this node itself.
using NodeIndex = uint16_t;
inline constexpr NodeIndex kNobody = 0xffff;

struct SlotRange {
  uint16_t first;
  uint16_t last;  // inclusive
};

// Of a member what seldom changes. Snapshots share it.
struct MemberIdentity {
  std::string id = "";        // 40 hex digits
  std::string shard_id = "";  // 40 hex digits: the replica group (CLUSTER MYSHARDID)
  std::string ip = "";        // announced address; empty if not known yet (own address before the first MEET)
  std::string hostname = "";  // cluster-announce-hostname, or empty
};

struct TopologyNode {
  std::shared_ptr<const MemberIdentity> identity;  // never null in a snapshot
  const std::string& id() const { return identity->id; }
  const std::string& shard_id() const { return identity->shard_id; }
  const std::string& ip() const { return identity->ip; }
  const std::string& hostname() const { return identity->hostname; }
  void SetIdentity(MemberIdentity is) { identity = std::make_shared<const MemberIdentity>(std::move(is)); }

  uint16_t port = 0;      // client port, plain
  uint16_t tls_port = 0;  // client port, TLS; 0 if none
  // The one that a client is told that came by TLS, or not; the other if there is no such.
  uint16_t client_port(bool tls) const { return (tls && tls_port != 0) || port == 0 ? tls_port : port; }
  uint16_t bus_port = 0;
  bool primary = true;
  NodeIndex primary_index = kNobody;  // of a replica
  bool myself = false;
  bool pfail = false;      // suspected by this node ("fail?")
  bool fail = false;       // agreed by a quorum
  bool handshake = false;  // met, not yet proven
  bool no_address = false;
  bool no_failover = false;
  bool link_up = false;  // outbound link connected
  uint64_t config_epoch = 0;
  int64_t ping_sent_ms = 0;      // Unix time of the unanswered ping; 0 if none is pending
  int64_t pong_received_ms = 0;  // Unix time
  std::vector<SlotRange> slots;  // sorted; of a primary
  uint32_t slot_count = 0;
  uint64_t offset = 0;  // sum of the node's log positions
};

struct SlotMove {
  uint16_t slot;
  std::string peer_id;  // 40 hex digits: migrating to / importing from
};

struct Topology {
  uint64_t version = 0;                 // grows with each publication of this process
  std::vector<TopologyNode> nodes;      // [0] is this node
  std::array<NodeIndex, kSlots> owner;  // kNobody: not assigned
  std::vector<SlotMove> migrating;      // slots this node gives away (CLUSTER SETSLOT MIGRATING)
  std::vector<SlotMove> importing;      // slots this node takes over
  bool ok = false;                      // cluster_state
  std::string why_not_ok;               // for the log, when !ok
  uint64_t current_epoch = 0;
  uint32_t size = 0;  // primaries that own slots
  uint32_t slots_assigned = 0, slots_ok = 0, slots_pfail = 0, slots_fail = 0;

  const TopologyNode& me() const { return nodes[0]; }
  bool Owns(uint16_t slot) const { return owner[slot] == 0; }
};

using TopologyPtr = std::shared_ptr<const Topology>;

}  // namespace skein::bus

#endif  // SKEIN_BUS_TOPOLOGY_H_
