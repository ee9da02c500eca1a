// Fields that Redis has, with its names, where the sum over the shards means the same; what is known of each shard
// stands behind them.
#include "node/commands/replication_info.h"

#include <algorithm>
#include <iterator>

#include "fmt/format.h"
#include "node/config/config.h"
#include "node/node.h"

namespace skein::node {
namespace {

constexpr const char* kStates[] = {"connect", "connecting", "handshake", "sync", "connected"};

const char* Name(FlowState state) { return kStates[static_cast<size_t>(state)]; }

class Lines {
 public:
  template <typename... Args>
  void Add(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
    text_ += "\r\n";
  }
  std::string Take() { return std::move(text_); }

 private:
  std::string text_;
};

void AsReplica(const Config& config, const ReplicationInfo& info, uint64_t offset, Lines* out) {
  const Upstream& upstream = *info.upstream;
  const bool up =
      std::all_of(info.flows.begin(), info.flows.end(), [](const auto& f) { return f.state == FlowState::kConnected; });
  int64_t last_io = 0, down = 0;
  bool syncing = false;
  for (const ReplicationInfo::Flow& f : info.flows) {
    last_io = f.last_io_ms < 0 || last_io < 0 ? -1 : std::max(last_io, f.last_io_ms);
    down = std::max(down, f.down_since_ms);
    syncing = syncing || f.state == FlowState::kSync;
  }
  out->Add("master_host:{}", upstream.host);
  out->Add("master_port:{}", upstream.port);
  out->Add("master_link_status:{}", up ? "up" : "down");
  out->Add("master_last_io_seconds_ago:{}", up && last_io >= 0 ? last_io / 1000 : -1);
  out->Add("master_sync_in_progress:{}", syncing ? 1 : 0);
  out->Add("slave_read_repl_offset:{}", offset);
  out->Add("slave_repl_offset:{}", offset);
  if (!up) out->Add("master_link_down_since_seconds:{}", down / 1000);
  out->Add("slave_priority:{}", config.replica_priority);
  out->Add("slave_read_only:1");
  out->Add("replica_announced:{}", config.replica_announced ? 1 : 0);
}

}  // namespace

const char* LinkState(const ReplicationInfo& info) {
  FlowState least = FlowState::kConnected;
  for (const ReplicationInfo::Flow& f : info.flows) least = std::min(least, f.state);
  return Name(least);
}

std::string ReplicationFields(const Node& node, const Config& config, const ReplicationInfo& info, uint64_t offset) {
  Lines out;
  out.Add("role:{}", info.upstream ? "slave" : "master");
  if (info.upstream) AsReplica(config, info, offset, &out);
  out.Add("connected_slaves:{}", info.replicas.size());
  if (!info.upstream && config.min_replicas_to_write != 0 && config.min_replicas_max_lag != 0) {
    out.Add("min_slaves_good_slaves:{}", info.good_replicas);
  }
  for (size_t i = 0; i < info.replicas.size(); ++i) {
    const ReplicationInfo::Replica& r = info.replicas[i];
    out.Add("slave{}:ip={},port={},state={},offset={},lag={},durable_offset={},id={}", i, r.ip, r.port, r.state,
            r.received, r.lag_ms < 0 ? -1 : r.lag_ms / 1000, r.durable, r.id);
  }
  out.Add("master_failover_state:no-failover");
  out.Add("master_replid:{}", info.primary_id.empty() ? node.run_id() : info.primary_id);
  out.Add("master_replid2:{}", std::string(40, '0'));
  out.Add("master_repl_offset:{}", offset);
  out.Add("second_repl_offset:-1");
  out.Add("repl_backlog_active:{}", info.backlog_active ? 1 : 0);
  out.Add("repl_backlog_size:{}", config.repl_backlog_size);
  out.Add("repl_backlog_first_byte_offset:{}",
          info.backlog_active ? offset - std::min(offset, info.backlog_bytes) + 1 : 0);
  out.Add("repl_backlog_histlen:{}", info.backlog_bytes);
  out.Add("master_catching_up:{}", info.catching_up ? 1 : 0);
  out.Add("flows_unproven:{}", info.flows_unproven);
  out.Add("lost_records:{}", info.lost_records);
  out.Add("lost_bytes:{}", info.lost_bytes);
  for (size_t shard = 0; shard < info.flows.size(); ++shard) {
    const ReplicationInfo::Flow& f = info.flows[shard];
    out.Add("flow{}:state={},lsn={},primary_lsn={},last_io_ms={},whole={}", shard, Name(f.state), f.received,
            std::max(f.received, f.upstream_end), f.last_io_ms, f.whole ? 1 : 0);
    if (!f.error.empty()) out.Add("flow{}_error:{}", shard, f.error);
  }
  for (size_t i = 0; i < info.replicas.size(); ++i) {
    const ReplicationInfo::Replica& r = info.replicas[i];
    for (size_t shard = 0; shard < r.received_lsn.size(); ++shard) {
      out.Add("slave{}_shard{}:state={},received_lsn={},durable_lsn={}", i, shard, r.states[shard],
              r.received_lsn[shard], r.durable_lsn[shard]);
    }
  }
  return out.Take();
}

}  // namespace skein::node
