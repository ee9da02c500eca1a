#include "node/commands/cluster_view.h"

#include <algorithm>
#include <map>
#include <vector>

#include "fmt/format.h"

namespace skein::node {
namespace {

using bus::NodeIndex;
using bus::SlotRange;
using bus::Topology;
using bus::TopologyNode;

std::string FlagsText(const TopologyNode& node) {
  std::string flags;
  const auto add = [&flags](bool set, std::string_view name) {
    if (!set) return;
    if (!flags.empty()) flags += ',';
    flags += name;
  };
  add(node.myself, "myself");
  // A node that is only being met has not said yet what it is.
  add(node.primary && !node.handshake, "master");
  add(!node.primary, "slave");
  add(node.pfail && !node.fail, "fail?");
  add(node.fail, "fail");
  add(node.handshake, "handshake");
  add(node.no_address, "noaddr");
  add(node.no_failover, "nofailover");
  return flags.empty() ? "noflags" : flags;
}

std::string_view Ip(const TopologyNode& node, const EndpointView& view) {
  return node.ip().empty() && node.myself ? view.local_ip : std::string_view(node.ip());
}

uint16_t Port(const TopologyNode& node, const EndpointView& view) { return node.client_port(view.tls); }

// endpoint, port, id, and what else is known of where the node is.
void ReplyNode(const TopologyNode& node, const EndpointView& view, ReplyWriter* reply) {
  reply->Array(4);
  const bool by_ip = view.preferred == "ip", by_name = view.preferred == "hostname";
  if (by_ip) {
    reply->Bulk(Ip(node, view));
  } else if (by_name) {
    reply->Bulk(node.hostname().empty() ? "?" : node.hostname());
  } else {
    reply->Null();
  }
  reply->Integer(Port(node, view));
  reply->Bulk(node.id());
  const bool more_name = !by_name && !node.hostname().empty();
  reply->Map((by_ip ? 0 : 1) + (more_name ? 1 : 0));
  if (!by_ip) {
    reply->Bulk("ip");
    reply->Bulk(Ip(node, view));
  }
  if (more_name) {
    reply->Bulk("hostname");
    reply->Bulk(node.hostname());
  }
}

// Replicas of each primary that are not failed.
std::map<NodeIndex, std::vector<NodeIndex>> Replicas(const Topology& topology) {
  std::map<NodeIndex, std::vector<NodeIndex>> replicas;
  for (NodeIndex i = 0; i < topology.nodes.size(); ++i) {
    const TopologyNode& node = topology.nodes[i];
    if (!node.primary && node.primary_index != bus::kNobody) replicas[node.primary_index].push_back(i);
  }
  return replicas;
}

void ReplyShardNode(const TopologyNode& node, const EndpointView& view, ReplyWriter* reply) {
  size_t pairs = 6;
  if (node.port != 0) ++pairs;
  if (node.tls_port != 0) ++pairs;
  if (!node.hostname().empty()) ++pairs;
  reply->Map(pairs);
  reply->Bulk("id");
  reply->Bulk(node.id());
  if (node.port != 0) {
    reply->Bulk("port");
    reply->Integer(node.port);
  }
  if (node.tls_port != 0) {
    reply->Bulk("tls-port");
    reply->Integer(node.tls_port);
  }
  reply->Bulk("ip");
  reply->Bulk(Ip(node, view));
  reply->Bulk("endpoint");
  if (view.preferred == "ip") {
    reply->Bulk(Ip(node, view));
  } else if (view.preferred == "hostname") {
    reply->Bulk(node.hostname().empty() ? "?" : node.hostname());
  } else {
    reply->Null();
  }
  if (!node.hostname().empty()) {
    reply->Bulk("hostname");
    reply->Bulk(node.hostname());
  }
  reply->Bulk("role");
  reply->Bulk(node.primary ? "master" : "replica");
  reply->Bulk("replication-offset");
  reply->Integer(static_cast<int64_t>(node.offset));
  reply->Bulk("health");
  reply->Bulk(node.fail ? "fail" : "online");
}

}  // namespace

std::string_view IpOf(std::string_view address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string_view::npos) return address;
  std::string_view ip = address.substr(0, colon);
  if (ip.size() >= 2 && ip.front() == '[' && ip.back() == ']') ip = ip.substr(1, ip.size() - 2);
  return ip;
}

std::string NodeLine(const Topology& topology, NodeIndex index, const EndpointView& view, bool with_slots) {
  const TopologyNode& node = topology.nodes[index];
  std::string line = fmt::format("{} {}:{}@{}", node.id(), node.ip(), Port(node, view), node.bus_port);
  if (!node.hostname().empty()) line += fmt::format(",{}", node.hostname());
  const bool of_known = !node.primary && node.primary_index != bus::kNobody;
  line += fmt::format(" {} {} {} {} {} {}", FlagsText(node), of_known ? topology.nodes[node.primary_index].id() : "-",
                      node.ping_sent_ms, node.pong_received_ms, node.config_epoch,
                      node.link_up || node.myself ? "connected" : "disconnected");
  if (with_slots) {
    for (const SlotRange& range : node.slots) {
      line +=
          range.first == range.last ? fmt::format(" {}", range.first) : fmt::format(" {}-{}", range.first, range.last);
    }
    if (node.myself) {
      for (const bus::SlotMove& move : topology.migrating) line += fmt::format(" [{}->-{}]", move.slot, move.peer_id);
      for (const bus::SlotMove& move : topology.importing) line += fmt::format(" [{}-<-{}]", move.slot, move.peer_id);
    }
  }
  line += '\n';
  return line;
}

std::string NodesText(const Topology& topology, const EndpointView& view) {
  std::string text;
  for (NodeIndex i = 0; i < topology.nodes.size(); ++i) text += NodeLine(topology, i, view, /*with_slots=*/true);
  return text;
}

void ReplySlots(const Topology& topology, const EndpointView& view, ReplyWriter* reply) {
  const auto replicas = Replicas(topology);
  struct Row {
    SlotRange range;
    NodeIndex owner;
  };
  std::vector<Row> rows;
  for (NodeIndex i = 0; i < topology.nodes.size(); ++i) {
    for (const SlotRange& range : topology.nodes[i].slots) rows.push_back({range, i});
  }
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.range.first < b.range.first; });
  reply->Array(rows.size());
  for (const Row& row : rows) {
    std::vector<NodeIndex> shown{row.owner};
    if (const auto it = replicas.find(row.owner); it != replicas.end()) {
      for (NodeIndex replica : it->second) {
        if (!topology.nodes[replica].fail) shown.push_back(replica);
      }
    }
    reply->Array(2 + shown.size());
    reply->Integer(row.range.first);
    reply->Integer(row.range.last);
    for (NodeIndex index : shown) ReplyNode(topology.nodes[index], view, reply);
  }
}

void ReplyShards(const Topology& topology, const EndpointView& view, ReplyWriter* reply) {
  const auto replicas = Replicas(topology);
  std::vector<NodeIndex> primaries;
  for (NodeIndex i = 0; i < topology.nodes.size(); ++i) {
    if (topology.nodes[i].primary && !topology.nodes[i].handshake) primaries.push_back(i);
  }
  reply->Array(primaries.size());
  for (NodeIndex primary : primaries) {
    const TopologyNode& node = topology.nodes[primary];
    reply->Map(2);
    reply->Bulk("slots");
    reply->Array(node.slots.size() * 2);
    for (const SlotRange& range : node.slots) {
      reply->Integer(range.first);
      reply->Integer(range.last);
    }
    reply->Bulk("nodes");
    const auto it = replicas.find(primary);
    reply->Array(1 + (it == replicas.end() ? 0 : it->second.size()));
    ReplyShardNode(node, view, reply);
    if (it != replicas.end()) {
      for (NodeIndex replica : it->second) ReplyShardNode(topology.nodes[replica], view, reply);
    }
  }
}

std::string InfoText(const Topology& topology, const bus::BusStats& stats, bool serves) {
  std::string text = fmt::format(
      "cluster_state:{}\r\ncluster_slots_assigned:{}\r\ncluster_slots_ok:{}\r\ncluster_slots_pfail:{}\r\n"
      "cluster_slots_fail:{}\r\ncluster_known_nodes:{}\r\ncluster_size:{}\r\ncluster_current_epoch:{}\r\n"
      "cluster_my_epoch:{}\r\n",
      topology.ok && serves ? "ok" : "fail", topology.slots_assigned, topology.slots_ok, topology.slots_pfail,
      topology.slots_fail, topology.nodes.size(), topology.size, topology.current_epoch, topology.me().config_epoch);
  uint64_t sent = 0, received = 0;
  for (const bus::MessageCount& count : stats.messages) {
    if (count.sent != 0) text += fmt::format("cluster_stats_messages_{}_sent:{}\r\n", count.type, count.sent);
    sent += count.sent;
  }
  text += fmt::format("cluster_stats_messages_sent:{}\r\n", sent);
  for (const bus::MessageCount& count : stats.messages) {
    if (count.received != 0) {
      text += fmt::format("cluster_stats_messages_{}_received:{}\r\n", count.type, count.received);
    }
    received += count.received;
  }
  text += fmt::format("cluster_stats_messages_received:{}\r\n", received);
  text += fmt::format("total_cluster_links_buffer_limit_exceeded:{}\r\n", stats.links_closed_over_buffer_limit);
  text += fmt::format(
      "cluster_bus_reads_inline:{}\r\ncluster_bus_reads_offloaded:{}\r\ncluster_bus_writes_inline:{}\r\n"
      "cluster_bus_writes_offloaded:{}\r\ncluster_bus_accepts_inline:{}\r\ncluster_bus_accepts_offloaded:{}\r\n"
      "cluster_bus_links_closing:{}\r\ncluster_bus_links_refused_by_limit:{}\r\n",
      stats.reads_inline, stats.reads_offloaded, stats.writes_inline, stats.writes_offloaded, stats.accepts_inline,
      stats.accepts_offloaded, stats.links_closing, stats.links_refused_by_limit);
  text += fmt::format("cluster_bus_publishes_dropped:{}\r\ncluster_bus_publishes_refused:{}\r\n",
                      stats.publishes_dropped, stats.publishes_refused);
  text += "cluster_bus_closes:";
  for (size_t i = 0; i < stats.closes.size(); ++i) {
    text += fmt::format("{}{}={}", i == 0 ? "" : ",", stats.closes[i].first, stats.closes[i].second);
  }
  text += "\r\n";
  return text;
}

}  // namespace skein::node
