// What a topology looks like to a client: CLUSTER NODES, SLOTS, SHARDS, INFO. Pure functions of the snapshot.
// Source: the Redis 7.2 documentation of these commands.
#ifndef SKEIN_NODE_COMMANDS_CLUSTER_VIEW_H_
#define SKEIN_NODE_COMMANDS_CLUSTER_VIEW_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "bus/bus.h"
#include "bus/topology.h"
#include "node/reply.h"

namespace skein::node {

// How a client is told where a node is.
struct EndpointView {
  std::string_view preferred = "ip";  // cluster-preferred-endpoint-type
  bool tls = false;                   // the client came by TLS: it gets TLS ports
  // The address by which the client reached this node, without port: what it is told while this node's own is not
  // known.
  std::string_view local_ip;
};

// One line of CLUSTER NODES with its line break; `with_slots`: as NODES prints it (REPLICAS leaves them out).
std::string NodeLine(const bus::Topology& topology, bus::NodeIndex index, const EndpointView& view, bool with_slots);
std::string NodesText(const bus::Topology& topology, const EndpointView& view);
void ReplySlots(const bus::Topology& topology, const EndpointView& view, ReplyWriter* reply);
void ReplyShards(const bus::Topology& topology, const EndpointView& view, ReplyWriter* reply);
// `serves` false: the cluster may be well, but this node does not answer yet.
std::string InfoText(const bus::Topology& topology, const bus::BusStats& stats, bool serves);
// The ip of "ip:port", brackets of IPv6 removed.
std::string_view IpOf(std::string_view address);

}  // namespace skein::node

#endif  // SKEIN_NODE_COMMANDS_CLUSTER_VIEW_H_
