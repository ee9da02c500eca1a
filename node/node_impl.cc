#include "node/node_impl.h"

#include <glog/logging.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "fmt/format.h"
#include "node/config/change.h"
#include "node/config/check.h"
#include "node/config/directives.h"
#include "node/config/start.h"
#include "node/config/text.h"
#include "node/listener.h"
#include "node/log/logging.h"
#include "node/replication/replica_control.h"

namespace skein::node {
namespace {

std::string RandomHex(size_t digits) {
  std::string bytes((digits + 1) / 2, '\0');
  PCHECK(getrandom(bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  std::string hex = absl::BytesToHexString(bytes);
  hex.resize(digits);
  return hex;
}

// While it lives, threads are started with all signals blocked: those of the process go to the thread that waits for
// them.
class BlockSignals {
 public:
  BlockSignals() {
    sigset_t all;
    sigfillset(&all);
    for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGPROF}) sigdelset(&all, fault);
    pthread_sigmask(SIG_BLOCK, &all, &before_);
  }
  ~BlockSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  BlockSignals(const BlockSignals&) = delete;
  BlockSignals& operator=(const BlockSignals&) = delete;

 private:
  sigset_t before_;
};

// Whether a directive whose name begins so is among them.
bool Names(const std::vector<std::pair<std::string, std::string>>& pairs, std::string_view prefix) {
  for (const auto& [name, value] : pairs) {
    const Directive* const d = FindDirective(name);
    if (d != nullptr && d->name.starts_with(prefix)) return true;
  }
  return false;
}

// What it says of the data set is what that is like.
ConfigPtr WithShape(const Config& config, const storage::DataSet& data) {
  auto next = std::make_shared<Config>(config);
  next->said_shape = ConfiguredShape(config);
  next->storage_shards = data.shard_count();
  next->databases = data.databases();
  return next;
}

}  // namespace

NodeImpl::NodeImpl(NodeOptions options)
    : options_(std::move(options)), desk_(options_.config->maxclients), config_(options_.config) {
  shutdown_fd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  drained_fd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  PCHECK(shutdown_fd_ >= 0 && drained_fd_ >= 0);
  if (!options_.open_data) options_.open_data = [](storage::DataSetOptions o) { return storage::DataSet::Open(o); };
  if (!options_.start_bus) {
    options_.start_bus = [](bus::BusOptions o, bus::BusCallbacks c) { return bus::Bus::Start(o, std::move(c)); };
  }
  start_time_ms_ = ReadClockNanos(CLOCK_REALTIME) / 1'000'000;
  run_id_ = RandomHex(40);
}

NodeImpl::~NodeImpl() {
  if (!stopped_) Stop().IgnoreError();
  bus_.store(nullptr);
  owned_bus_.reset();
  loops_.clear();
  data_.reset();
  close(shutdown_fd_);
  close(drained_fd_);
}

absl::StatusOr<std::unique_ptr<NodeImpl>> NodeImpl::Start(NodeOptions options) {
  std::unique_ptr<NodeImpl> node(new NodeImpl(std::move(options)));
  const BlockSignals block;
  if (absl::Status status = node->Open(); !status.ok()) return status;
  return node;
}

absl::Status NodeImpl::Bind(const Config& config, std::vector<ListenSocket>* sockets) {
  const auto bind = [&](uint16_t port, bool secure, uint16_t* bound) -> absl::Status {
    absl::StatusOr<std::vector<ListenSocket>> made =
        BindAll(config.bind, options_.any_port ? 0 : port, static_cast<int>(config.tcp_backlog), secure);
    if (!made.ok()) return made.status();
    *bound = made->front().port();
    for (ListenSocket& s : *made) sockets->push_back(std::move(s));
    return absl::OkStatus();
  };
  absl::Status status;
  if (config.port != 0) status = bind(config.port, false, &port_);
  if (status.ok() && config.tls_port != 0) status = bind(config.tls_port, true, &tls_port_);
  return status;
}

absl::Status NodeImpl::Open() {
  const ConfigPtr configured = config_;
  const Config& config = *configured;
  if (absl::Status status = CheckCombinations(config); !status.ok()) return status;
  absl::StatusOr<bus::TlsContextPtr> tls = TlsContextOf(config);
  if (!tls.ok()) return tls.status();
  tls_context_ = *std::move(tls);
  const bus::BusOptions bus_options = BusOptionsOf(config);
  absl::StatusOr<bus::SecretsPtr> secrets = bus::LoadSecrets(bus_options);
  if (!secrets.ok()) return secrets.status();
  secrets_ = *std::move(secrets);
  std::vector<ListenSocket> sockets;
  if (absl::Status status = Bind(config, &sockets); !status.ok()) return status;

  storage::DataSetOptions data_options = DataOptions(config);
  // A primary that has replicas begins its reign when it knows that none of them has more of its log.
  using Begins = bus::Bus::Begins;
  const Begins begins = config.cluster_enabled     ? bus::Bus::BeginsAs(bus_options)
                        : config.replicaof.empty() ? Begins::kPrimary
                                                   : Begins::kReplica;
  data_options.follow = begins != Begins::kPrimary;
  absl::StatusOr<std::unique_ptr<storage::DataSet>> data = options_.open_data(data_options);
  if (!data.ok()) return data.status();
  data_ = *std::move(data);
  shard_count_ = data_->shard_count();
  logs_ = std::vector<std::atomic<storage::Log*>>(shard_count_);
  for (uint32_t i = 0; i < shard_count_; ++i) NoteLog(i);
  if (shard_count_ != ShardCount(config) || data_->databases() != config.databases) config_ = WithShape(config, *data_);

  control_ = std::make_unique<ReplicaControl>(this, data_options.follow, begins == Begins::kPrimaryWithReplicas);
  const uint32_t loops = LoopCount(config);
  loops_.resize(loops);  // the number is known to each
  for (uint32_t i = 0; i < loops; ++i) loops_[i] = std::make_unique<LoopImpl>(this, i);
  for (uint32_t i = 0; i < shard_count_; ++i) loops_[LoopOf(i)]->Host(&data_->shard(i));
  if (!sockets.empty()) loops_[0]->Listen(std::make_unique<Listener>(this, std::move(sockets)));

  if (config.cluster_enabled) {
    bus::BusCallbacks callbacks;
    callbacks.publish = [this](bus::TopologyPtr t) { Publish(std::move(t)); };
    callbacks.deliver = [this](std::vector<bus::PublishedMessage> m) { Deliver(std::move(m)); };
    callbacks.promote = [this](uint64_t epoch) { OnPromote(epoch); };
    callbacks.freeze = [this](int64_t until_mono_ms) { OnFreeze(until_mono_ms); };
    callbacks.data_plane = [this](bus::DataPlane* now) { DataPlane(now); };
    absl::StatusOr<std::unique_ptr<bus::Bus>> bus = options_.start_bus(BusOptionsOf(config), std::move(callbacks));
    if (!bus.ok()) return bus.status();
    owned_bus_ = *std::move(bus);
    bus_.store(owned_bus_.get(), std::memory_order_release);
  }
  BeginServing();
  running_.store(true, std::memory_order_release);
  for (auto& loop : loops_) loop->Start();
  if (!config.replicaof.empty()) {
    control_->Follow(Upstream{config.replicaof[0], static_cast<uint16_t>(std::stoi(config.replicaof[1])),
                              config.tls_replication, ""});
  }
  return absl::OkStatus();
}

// ---- The data set --------------------------------------------------------------------------------------------------

storage::DataSetOptions NodeImpl::DataOptions(const Config& config) {
  storage::DataSetOptions options = DataSetOptionsOf(config);
  // Writers run before the loops do; loops are there before anything is appended.
  options.on_progress = [this](uint32_t) {
    if (!running_.load(std::memory_order_acquire)) return;
    for (auto& loop : loops_) loop->OnProgress();
  };
  options.on_durable = [this](uint32_t shard, storage::Lsn durable) {
    if (!running_.load(std::memory_order_acquire)) return;
    for (auto& loop : loops_) loop->OnDurable(shard, durable);
  };
  return options;
}

void NodeImpl::BeginServing() {
  data_->BeginServing([this, data = data_.get()](uint32_t shard, std::function<void(storage::Shard&)> fn) {
    Post(LoopOf(shard), [this, data, shard, fn = std::move(fn)](LoopImpl&) {
      if (data_.get() != data) return;  // it has ended since, and nobody waits for this
      fn(data->shard(shard));
      NoteLog(shard);  // it may have been given another
    });
  });
}

void NodeImpl::TakeData(std::unique_ptr<storage::DataSet>* data) {
  const std::lock_guard lock(swap_mutex_);
  data_.swap(*data);
  data_->GoOnFrom(**data);
  const uint32_t count = data_->shard_count();
  shard_count_ = count;
  logs_ = std::vector<std::atomic<storage::Log*>>(count);
  control_->OnShapeTaken();
  BeginServing();
}

void NodeImpl::NoteShape() {
  const std::lock_guard<std::mutex> one_at_a_time(config_change_);
  const ConfigPtr now = config();
  const uint32_t said = ConfiguredShape(*now).shards;
  if (said != 0 && said != data_->shard_count()) {
    LOG(WARNING) << "storage-shards " << said << " gives way to the primary's " << data_->shard_count()
                 << ", which the data set has inherited";
  }
  Spread(WithShape(*now, *data_));
}

// ---- Replication ---------------------------------------------------------------------------------------------------

Replication* NodeImpl::replication() const { return control_.get(); }

FlowStatus* NodeImpl::flow_status(uint32_t shard) { return control_->flow_status(shard); }

void NodeImpl::OnAcks() {
  for (auto& loop : loops_) loop->OnAcks();
}

void NodeImpl::OnFlowChanged() { control_->OnFlowChanged(); }

void NodeImpl::NoteReplicaOf(std::vector<std::string> words) {
  const std::lock_guard<std::mutex> one_at_a_time(config_change_);
  auto next = std::make_shared<Config>(*config());
  next->replicaof = std::move(words);
  Spread(std::move(next));
}

// ---- The bus -------------------------------------------------------------------------------------------------------

void NodeImpl::Publish(bus::TopologyPtr topology) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    topology_ = topology;
  }
  // The last loop to apply it says so: from then on nobody serves by an older one.
  auto left = std::make_shared<std::atomic<uint32_t>>(loop_count());
  for (uint32_t i = 0; i < loop_count(); ++i) {
    Post(i, [this, topology, left](LoopImpl& loop) {
      const uint64_t version = topology->version;
      loop.ApplyTopology(topology);
      if (left->fetch_sub(1, std::memory_order_acq_rel) == 1) bus()->Fenced(version);
    });
  }
}

void NodeImpl::DataPlane(bus::DataPlane* data_plane) {
  const std::lock_guard lock(swap_mutex_);
  data_plane->positions.resize(shard_count_);
  for (uint32_t i = 0; i < shard_count_; ++i) data_plane->positions[i] = loops_[LoopOf(i)]->ShardEnd(i);
  data_plane->data_age_ms = control_->catching_up() ? 0 : control_->data_age_ms();
  if (control_->fetching()) data_plane->healthy = false;
  if (!running_.load(std::memory_order_acquire)) return;
  TendPromotion();
  const int64_t now = ReadClockNanos(CLOCK_MONOTONIC) / 1'000'000;
  // What is longer than usual work; the bus counts for how long it lasts, and others judge by that.
  const int64_t limit = std::max<int64_t>(100, config()->cluster_node_timeout / 4);
  for (auto& loop : loops_) {
    const int64_t alive = loop->alive_ms();
    if (alive != 0 && now - alive > limit) data_plane->healthy = false;
  }
  for (const storage::Log* log : logs_) {
    if (log != nullptr && log->DiskBusyMs() > limit) data_plane->healthy = false;
  }
}

// ---- Configuration -------------------------------------------------------------------------------------------------

ConfigPtr NodeImpl::config() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return config_;
}

bus::TlsContextPtr NodeImpl::tls_context() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return tls_context_;
}

bus::SecretsPtr NodeImpl::secrets() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return secrets_;
}

bus::TopologyPtr NodeImpl::topology() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return topology_;
}

absl::Status NodeImpl::SetConfig(const std::vector<std::pair<std::string, std::string>>& pairs) {
  return ChangeConfig(pairs, /*switched=*/false);
}

absl::Status NodeImpl::ChangeConfig(const std::vector<std::pair<std::string, std::string>>& pairs, bool switched) {
  std::lock_guard<std::mutex> one_at_a_time(config_change_);
  const ConfigPtr before = config();
  absl::StatusOr<Config> changed = ConfigSet(*before, pairs);
  if (!changed.ok()) return changed.status();
  if (changed->appendonly != before->appendonly) {
    if (!switched) return absl::FailedPreconditionError("ERR appendonly is being changed by another client");
    // As in Redis the save points stay what they were: until the log is the data, they are all there is.
    if (changed->appendonly && !changed->save.has_value()) changed->save = EffectiveSave(*before);
  }
  auto next = std::make_shared<const Config>(*std::move(changed));
  const bool new_secrets = Names(pairs, "cluster-secret"), new_tls = Names(pairs, "tls-");
  bus::BusTrust trust;
  absl::Status read;
  if (bus() != nullptr && (new_secrets || new_tls)) {
    absl::StatusOr<bus::BusTrust> both = bus::LoadTrust(BusOptionsOf(*next));
    read = both.status();
    if (both.ok()) trust = *std::move(both);
  } else if (new_secrets) {
    absl::StatusOr<bus::SecretsPtr> secrets = bus::LoadSecrets(BusOptionsOf(*next));
    read = secrets.status();
    if (secrets.ok()) trust.secrets = *std::move(secrets);
  }
  if (!read.ok()) return absl::InvalidArgumentError(absl::StrCat("ERR CONFIG SET failed - ", read.message()));
  // Said again, a directive means that its file has changed. All of one call are read together, or none.
  const auto of_tls = std::find_if(pairs.begin(), pairs.end(), [](const auto& pair) {
    return pair.first.size() > 4 && SameName(std::string_view(pair.first).substr(0, 4), "tls-");
  });
  if (of_tls != pairs.end()) {
    absl::StatusOr<bus::TlsContextPtr> made = TlsContextOf(*next);
    if (!made.ok()) {
      return absl::InvalidArgumentError(
          Cat("ERR CONFIG SET failed (possibly related to argument '", of_tls->first, "') - ", TextOf(made.status())));
    }
    std::lock_guard<std::mutex> lock(mutex_);
    tls_context_ = *std::move(made);
  }
  Spread(std::move(next));
  if (new_secrets) {
    std::lock_guard<std::mutex> lock(mutex_);
    secrets_ = trust.secrets;
  }
  if (bus::Bus* b = bus()) {
    if (new_secrets) b->SetSecrets(std::move(trust.secrets));
    if (new_tls) b->SetTls(std::move(trust.tls));
  }
  return absl::OkStatus();
}

void NodeImpl::Spread(ConfigPtr next) {
  const ConfigPtr before = config();
  {
    std::lock_guard<std::mutex> lock(mutex_);
    config_ = next;
  }
  desk_.set_limit(next->maxclients);
  if (storage::Saver* const saver = data_->saver(); saver != nullptr) saver->SetOptions(SaveOptionsOf(*next));
  if (next->loglevel != before->loglevel) SetLogLevel(next->loglevel);
  if (bus::Bus* b = bus()) {
    b->Submit(bus::SettingsCommand{next->cluster_node_timeout, next->cluster_require_full_coverage,
                                   next->cluster_replica_no_failover, next->cluster_replica_validity_factor,
                                   next->cluster_migration_barrier, next->cluster_allow_replica_migration},
              [](bus::OperatorReply) {});
    if (next->bus_io_threads != before->bus_io_threads) b->SetIoThreads(next->bus_io_threads);
    if (next->protected_mode != before->protected_mode) b->SetProtectedMode(next->protected_mode);
    if (next->cluster_link_sendbuf_limit != before->cluster_link_sendbuf_limit) {
      b->SetLinkBufferLimit(next->cluster_link_sendbuf_limit);
    }
    const bus::BusOptions o = BusOptionsOf(*next), was = BusOptionsOf(*before);
    if (o.announce_ip != was.announce_ip || o.announce_hostname != was.announce_hostname || o.port != was.port ||
        o.tls_port != was.tls_port || o.announce_bus_port != was.announce_bus_port ||
        o.announce_human_name != was.announce_human_name || o.preferred_endpoint != was.preferred_endpoint) {
      b->Submit(bus::AnnounceCommand{o.announce_ip, o.announce_hostname, o.port, o.tls_port,
                                     o.announce_bus_port != 0 ? o.announce_bus_port : b->bus_port(),
                                     o.announce_human_name, o.preferred_endpoint},
                [](bus::OperatorReply) {});
    }
    if (o.seeds != was.seeds) b->Submit(bus::SeedsCommand{o.seeds}, [](bus::OperatorReply) {});
  }
  LoopImpl* here = LoopImpl::Current();
  for (uint32_t i = 0; i < loop_count(); ++i) {
    if (here != nullptr && here->index() == i && &loop(i) == here) {
      here->ApplyConfig(next);  // what this client asks next sees it
    } else {
      Post(i, [next](LoopImpl& l) { l.ApplyConfig(next); });
    }
  }
}

// ---- The log, switched on and off ----------------------------------------------------------------------------------

void NodeImpl::NoteLog(uint32_t shard) {
  storage::Log* const log = data_->shard(shard).log();
  if (log != nullptr) logs_[shard].store(log, std::memory_order_release);
}

void NodeImpl::SwitchLog(const std::vector<std::pair<std::string, std::string>>& pairs,
                         std::function<void(const absl::Status&)> done) {
  const absl::StatusOr<Config> changed = ConfigSet(*config(), pairs);
  if (!changed.ok()) return done(changed.status());
  const auto failed = [](std::string_view what, const absl::Status& status) {
    return absl::FailedPreconditionError(
        fmt::format("ERR CONFIG SET failed (possibly related to argument 'appendonly') - Unable to turn {} AOF: {}",
                    what, std::string_view(status.message().data(), status.message().size())));
  };
  if (!changed->appendonly) {
    data_->TurnOff([this, pairs, done, failed](const absl::Status& status) {
      done(status.ok() ? ChangeConfig(pairs, /*switched=*/true) : failed("off", status));
    });
    return;
  }
  LOG(INFO) << "switching the log on: bases are being written";
  data_->TurnOn(
      EffectiveFsync(*changed),
      {.begun =
           [this, pairs, done, failed](const absl::Status& status) {
             done(status.ok() ? ChangeConfig(pairs, /*switched=*/true) : failed("on", status));
           },
       .ended =
           [this](const absl::Status& status) {
             if (!status.ok()) return LogIsOff(status);
             LOG(INFO) << "appendonly is yes: the log is the data from now on";
             GateAnew();
             LOG(WARNING) << "the configuration file does not know that yet: CONFIG REWRITE tells it. A start "
                             "with appendonly no would read "
                          << config()->dbfilename;
           }});
}

void NodeImpl::GateAnew() {
  for (uint32_t i = 0; i < loop_count(); ++i) {
    Post(i, [](LoopImpl& l) { l.ApplyGating(); });
  }
}

void NodeImpl::LogIsOff(const absl::Status& why) {
  if (!absl::IsCancelled(why)) {
    LOG(ERROR) << "the log could not be switched on, appendonly is no again: " << why.message();
  }
  std::lock_guard<std::mutex> one_at_a_time(config_change_);
  auto next = std::make_shared<Config>(*config());
  if (!next->appendonly) return;
  next->appendonly = false;
  Spread(std::move(next));
}

void NodeImpl::ResetStats() {
  data_->ResetStats();
  LoopImpl* here = LoopImpl::Current();
  for (uint32_t i = 0; i < loop_count(); ++i) {
    if (&loop(i) == here) {
      here->ResetStats();
    } else {
      Post(i, [](LoopImpl& l) { l.ResetStats(); });
    }
  }
}

}  // namespace skein::node
