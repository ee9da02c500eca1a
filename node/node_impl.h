// The process: assembles loops, shards, bus and configuration.
#ifndef SKEIN_NODE_NODE_IMPL_H_
#define SKEIN_NODE_NODE_IMPL_H_

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "node/admission.h"
#include "node/loop_impl.h"
#include "node/node.h"

namespace skein::node {

class ListenSocket;
class ReplicaControl;
struct FlowStatus;

// Something to be done on a loop, in words of its own.
class ClosureMessage final : public Message {
 public:
  explicit ClosureMessage(std::function<void(LoopImpl&)> fn) : fn_(std::move(fn)) {}
  void Run(LoopImpl& loop, std::unique_ptr<Message>) override { fn_(loop); }

 private:
  std::function<void(LoopImpl&)> fn_;
};

// An accepted connection on its way to its loop. If it never arrives, descriptor and admission are given back.
class NewClient final : public Message {
 public:
  NewClient(int fd, Admission admission, std::string addr, std::string laddr, bus::TlsContextPtr tls,
            std::string_view denial)
      : fd_(fd),
        admission_(std::move(admission)),
        addr_(std::move(addr)),
        laddr_(std::move(laddr)),
        tls_(std::move(tls)),
        denial_(denial) {}
  ~NewClient() override;
  void Run(LoopImpl& loop, std::unique_ptr<Message>) override;

 private:
  int fd_;
  Admission admission_;
  std::string addr_, laddr_;
  bus::TlsContextPtr tls_;
  std::string_view denial_;
};

struct NodeOptions {
  ConfigPtr config;
  // Opens the data set; `on_progress` is to be called by its writers. Default: storage::DataSet::Open.
  std::function<absl::StatusOr<std::unique_ptr<storage::DataSet>>(storage::DataSetOptions)> open_data;
  // Default: bus::Bus::Start. Called if cluster-enabled is yes.
  std::function<absl::StatusOr<std::unique_ptr<bus::Bus>>(bus::BusOptions, bus::BusCallbacks)> start_bus;
  // Listens on free ports instead of config->port and, unless it is 0, config->tls_port: tests.
  bool any_port = false;
};

class NodeImpl final : public Node {
 public:
  // Opens, binds and starts everything. On an error nothing is left running. The message is for the operator; the
  // process exits with code 2.
  static absl::StatusOr<std::unique_ptr<NodeImpl>> Start(NodeOptions options);
  ~NodeImpl() override;  // Stop, if it has not been called

  // Readable once a shutdown has been asked for.
  int shutdown_fd() const { return shutdown_fd_; }
  // Saves the RDB file if the request says so, or if none has come and save points are set (a signal): writes are held
  // back meanwhile. An error if it could not be saved and the request does not insist; then the node goes on. Not on a
  // loop's thread.
  absl::Status PrepareStop();
  // The clean stop (L21): sessions stop, shards finish, logs drain and sync, writers end, the bus stops. Not on a
  // loop's thread. The status is that of the last syncs.
  absl::Status Stop();
  uint16_t port() const { return port_; }
  uint16_t tls_port() const { return tls_port_; }  // 0: none

  // ---- Node
  uint32_t loop_count() const override { return static_cast<uint32_t>(loops_.size()); }
  uint32_t shard_count() const override { return shard_count_.load(std::memory_order_relaxed); }
  bus::Bus* bus() const override { return bus_.load(std::memory_order_acquire); }
  Replication* replication() const override;
  storage::DataSet& data() const override { return *data_; }
  int64_t start_time_ms() const override { return start_time_ms_; }
  const std::string& run_id() const override { return run_id_; }
  uint64_t connected_clients() const override { return desk_.count(); }
  absl::Status RequestShutdown(ShutdownRequest request) override;
  absl::Status SetConfig(const std::vector<std::pair<std::string, std::string>>& pairs) override;
  void SwitchLog(const std::vector<std::pair<std::string, std::string>>& pairs,
                 std::function<void(const absl::Status&)> done) override;
  void BecomeEmptyPrimary(std::function<void(const absl::Status&)> done) override;  // failover.cc
  ConfigPtr config() const override;
  bus::TopologyPtr topology() const override;
  void ResetStats() override;
  DeferredReply Defer(Call& call) override;
  void GatherLoops(Call& call, std::function<std::string(Loop&)> part,
                   std::function<void(ReplyWriter&, const std::vector<std::string>&)> whole) override;
  void CollectShards(Loop& from, std::function<std::string(storage::Shard&)> part,
                     std::function<void(std::vector<std::string>)> done) override;
  void GatherShards(Call& call, std::function<std::string(storage::Shard&)> part,
                    std::function<void(ReplyWriter&, const std::vector<std::string>&)> whole) override;

  // ---- The loops
  LoopImpl& loop(uint32_t i) { return *loops_[i]; }
  uint32_t LoopOf(uint32_t shard) const { return shard % loop_count(); }
  // The newest that the shard has, or had: where its LSNs are. Any thread.
  storage::Log* log(uint32_t shard) const { return logs_[shard].load(std::memory_order_acquire); }
  storage::Lsn ShardEnd(uint32_t shard) { return loops_[LoopOf(shard)]->ShardEnd(shard); }
  AdmissionDesk& desk() { return desk_; }

  // ---- Replication; any thread
  ReplicaControl& control() { return *control_; }
  FlowStatus* flow_status(uint32_t shard);
  // What this node calls itself in flows.
  const std::string& replication_id() const { return run_id_; }
  uint64_t NextFlowId() { return next_flow_id_.fetch_add(1, std::memory_order_relaxed); }
  void OnAcks();
  void OnFlowChanged();
  // `replicaof` in the configuration, which CONFIG REWRITE writes; empty: none.
  void NoteReplicaOf(std::vector<std::string> words);
  // The certificates for new connections; null if nothing uses TLS.
  bus::TlsContextPtr tls_context() const;
  // cluster-secret; null if there is none.
  bus::SecretsPtr secrets() const;
  uint64_t NextClientId() { return next_client_id_.fetch_add(1, std::memory_order_relaxed); }
  uint64_t NextSlowLogId() { return next_slowlog_id_.fetch_add(1, std::memory_order_relaxed); }
  void Post(uint32_t loop, std::function<void(LoopImpl&)> fn) {
    loops_[loop]->mailbox().Post(std::make_unique<ClosureMessage>(std::move(fn)));
  }
  // `part` on every shard, on its loop; then `done` on `home` with the parts in shard order. `done` runs before this
  // returns if all shards are on `home` and there is no other loop.
  void AskShards(LoopImpl& home, bool write, ShardTask part,
                 std::function<void(LoopImpl&, std::vector<ShardPart>)> done);
  // On every loop, and returns when all have done it. Not on a loop's thread.
  void OnAllLoops(std::function<void(LoopImpl&)> fn);

  // ---- Another data set instead of this one (replication/shape_change.h)
  // Held while the data set is being exchanged, or must not be.
  std::mutex& layout_mutex() { return layout_mutex_; }
  // What the configuration says, with this node's callbacks.
  storage::DataSetOptions DataOptions(const Config& config);
  // Whether answers are being gathered from loops or shards.
  bool gathers() const { return gathers_.load(std::memory_order_acquire) != 0; }
  // All loops stand still: *data serves from now on, and is what served before when this returns.
  void TakeData(std::unique_ptr<storage::DataSet>* data);
  // The configuration tells what the data set is like.
  void NoteShape();

  // Called by a loop that has drained.
  void OnDrained();

 private:
  explicit NodeImpl(NodeOptions options);
  absl::Status Open();
  absl::Status Bind(const Config& config, std::vector<ListenSocket>* sockets);
  void Publish(bus::TopologyPtr topology);
  void Deliver(std::vector<bus::PublishedMessage> published);
  void DataPlane(bus::DataPlane* data_plane);
  // failover.cc
  void OnPromote(uint64_t epoch);
  void OnFreeze(int64_t until_mono_ms);
  void TendPromotion();
  // Before a stop: a replica takes over what this node serves, if there is one. Waits for it, with a limit.
  void HandOver();
  void Spread(ConfigPtr config);
  absl::Status ChangeConfig(const std::vector<std::pair<std::string, std::string>>& pairs, bool switched);
  // appendonly is no from now on, whatever was configured.
  void LogIsOff(const absl::Status& why);
  void NoteLog(uint32_t shard);
  // Every loop looks again at what its replies wait for.
  void GateAnew();
  void BeginServing();
  // The counting of an answer that is being gathered.
  struct Gathering {
    explicit Gathering(NodeImpl* node) : node(node) { node->gathers_.fetch_add(1, std::memory_order_acq_rel); }
    ~Gathering() { node->gathers_.fetch_sub(1, std::memory_order_acq_rel); }
    Gathering(const Gathering&) = delete;
    Gathering& operator=(const Gathering&) = delete;
    NodeImpl* const node;
  };
  absl::Status SaveAndWait();
  // When the loops have ended.
  bool ChangedSinceSave() const;

  NodeOptions options_;
  AdmissionDesk desk_;
  std::vector<std::unique_ptr<LoopImpl>> loops_;
  std::unique_ptr<storage::DataSet> data_;
  std::vector<std::atomic<storage::Log*>> logs_;  // set by the shards' loops
  std::atomic<uint32_t> shard_count_{0};
  std::atomic<uint32_t> gathers_{0};
  std::mutex layout_mutex_;
  std::mutex swap_mutex_;  // what the bus thread looks at of the data set is being exchanged
  std::unique_ptr<ReplicaControl> control_;
  // The bus thread's: the reign that it has asked for.
  struct {
    std::atomic<uint64_t> epoch{0};
    std::atomic<int64_t> again_ms{0};  // CLOCK_MONOTONIC; 0: not to be tried again
  } promoting_;
  std::unique_ptr<bus::Bus> owned_bus_;
  std::atomic<bus::Bus*> bus_{nullptr};
  int64_t start_time_ms_ = 0;
  std::string run_id_;
  uint16_t port_ = 0, tls_port_ = 0;
  int shutdown_fd_ = -1, drained_fd_ = -1;
  std::atomic<bool> running_{false};  // loops have been started
  bool stopped_ = false;
  bool save_on_stop_ = false;  // what has changed since the last save is to be saved when the loops have ended
  std::atomic<uint64_t> next_client_id_{1}, next_slowlog_id_{0}, next_flow_id_{1};

  mutable std::mutex mutex_;  // newest snapshots; never on the path of a command
  ConfigPtr config_;
  bus::TlsContextPtr tls_context_;
  bus::SecretsPtr secrets_;
  bus::TopologyPtr topology_;
  std::optional<ShutdownRequest> shutdown_;
  std::mutex config_change_;  // one CONFIG SET at a time
};

}  // namespace skein::node

#endif  // SKEIN_NODE_NODE_IMPL_H_
