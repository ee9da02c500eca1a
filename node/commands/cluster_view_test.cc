// CLUSTER INFO: what it says of the bus, by the names under which it is watched.
#include "node/commands/cluster_view.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace skein::node {
namespace {

std::map<std::string, std::string> Fields(const std::string& text) {
  std::map<std::string, std::string> fields;
  for (size_t at = 0; at < text.size();) {
    const size_t colon = text.find(':', at), end = text.find("\r\n", at);
    EXPECT_LT(colon, end) << text.substr(at);
    EXPECT_TRUE(fields.emplace(text.substr(at, colon - at), text.substr(colon + 1, end - colon - 1)).second);
    at = end + 2;
  }
  return fields;
}

TEST(ClusterInfo, L37_EachCountOfTheBusStandsUnderItsName) {
  bus::Topology topology;
  topology.nodes.emplace_back();
  bus::BusStats stats;
  stats.reads_inline = 1;
  stats.reads_offloaded = 2;
  stats.writes_inline = 3;
  stats.writes_offloaded = 4;
  stats.accepts_inline = 5;
  stats.accepts_offloaded = 6;
  stats.links_closing = 7;
  stats.links_refused_by_limit = 8;
  stats.links_closed_over_buffer_limit = 9;
  stats.publishes_dropped = 10;
  stats.publishes_refused = 11;
  stats.closes = {{"end-of-stream", 12}, {"bad-checksum", 13}};
  stats.messages = {{"ping", 14, 0}, {"pong", 15, 16}, {"vote", 0, 0}};
  std::map<std::string, std::string> fields = Fields(InfoText(topology, stats, true));
  const std::map<std::string, std::string> expected = {
      {"cluster_bus_reads_inline", "1"},
      {"cluster_bus_reads_offloaded", "2"},
      {"cluster_bus_writes_inline", "3"},
      {"cluster_bus_writes_offloaded", "4"},
      {"cluster_bus_accepts_inline", "5"},
      {"cluster_bus_accepts_offloaded", "6"},
      {"cluster_bus_links_closing", "7"},
      {"cluster_bus_links_refused_by_limit", "8"},
      {"total_cluster_links_buffer_limit_exceeded", "9"},
      {"cluster_bus_publishes_dropped", "10"},
      {"cluster_bus_publishes_refused", "11"},
      {"cluster_bus_closes", "end-of-stream=12,bad-checksum=13"},
      {"cluster_stats_messages_ping_sent", "14"},
      {"cluster_stats_messages_pong_sent", "15"},
      {"cluster_stats_messages_pong_received", "16"},
      {"cluster_stats_messages_sent", "29"},
      {"cluster_stats_messages_received", "16"},
  };
  for (const auto& [name, value] : expected) EXPECT_EQ(fields[name], value) << name;
  EXPECT_FALSE(fields.contains("cluster_stats_messages_ping_received"));
  // With the nine that tell of the cluster: few fields, and none beside these.
  EXPECT_EQ(fields.size(), expected.size() + 9);
}

}  // namespace
}  // namespace skein::node
