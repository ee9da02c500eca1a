#include "bus/bus_thread.h"

#include <pthread.h>
#include <uv.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <future>
#include <map>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "bus/bus_options.h"
#include "bus/cluster_events.h"
#include "bus/link/links.h"
#include "bus/mailbox.h"
#include "bus/persister.h"
#include "bus/publisher.h"
#include "bus/quiet_signals.h"
#include "bus/resolver.h"
#include "bus/state_file.h"
#include "glog/logging.h"

namespace skein::bus {
namespace {

constexpr uint64_t kTickMs = 100;
constexpr size_t kMailboxLimit = 65536;
constexpr size_t kMaxRequests = 65536;       // commands the engine has not answered
constexpr size_t kMaxToPublish = 64u << 20;  // bytes on their way from the loops

OperatorReply ErrorReply(std::string text) { return {OperatorReply::Kind::kError, std::move(text), 0}; }

class BusThread : public Bus, private LinkHandler {
 public:
  BusThread(const BusOptions& options, BusTrust trust, BusCallbacks callbacks, StateLock lock,
            std::vector<Fd> listeners, uint16_t bus_port, std::unique_ptr<Engine> engine)
      : options_(options),
        trust_(std::move(trust)),
        callbacks_(std::move(callbacks)),
        lock_(std::move(lock)),
        listeners_(std::move(listeners)),
        bus_port_(bus_port),
        engine_(std::move(engine)),
        mailbox_(kMailboxLimit, [this] { uv_async_send(&wake_); }) {}

  ~BusThread() override { BusThread::Stop().IgnoreError(); }

  // Starts the threads; returns when the first topology was published and the identity is durable.
  absl::Status Run() {
    CHECK_EQ(uv_loop_init(&loop_), 0);
    CHECK_EQ(uv_async_init(&loop_, &wake_, [](uv_async_t* wake) { static_cast<BusThread*>(wake->data)->OnWake(); }), 0);
    wake_.data = this;
    persister_ = std::make_unique<Persister>(
        StatePath(options_.dir, options_.config_file), [this](std::vector<uint64_t> ids, const absl::Status& status) {
          mailbox_.PostAlways([this, ids = std::move(ids), status] { OnPersisted(ids, status); });
        });
    resolver_ = std::make_unique<Resolver>(
        options_.resolve ? options_.resolve : SystemResolve, [this](uint64_t id, std::vector<std::string> ips) {
          mailbox_.PostAlways([this, id, ips = std::move(ips)]() mutable { Feed(ResolvedEvent{id, std::move(ips)}); });
        });
    std::future<absl::Status> started = started_.get_future();
    {
      QuietSignals quiet;
      thread_ = std::thread([this] { Main(); });
    }
    return started.get();
  }

  // ---- Any thread

  void Submit(OperatorCommand command, std::function<void(OperatorReply)> done) override {
    // Shared, so that it survives a refused Post.
    auto shared = std::make_shared<std::function<void(OperatorReply)>>(std::move(done));
    if (!mailbox_.Post([this, command = std::move(command), shared]() mutable {
          Command(std::move(command), std::move(*shared));
        })) {
      (*shared)(ErrorReply("ERR the cluster bus is stopping or has too much to do"));
    }
  }

  void Fenced(uint64_t version) override {
    uint64_t seen = fenced_.load(std::memory_order_relaxed);
    while (seen < version && !fenced_.compare_exchange_weak(seen, version, std::memory_order_release)) {
    }
    if (seen < version) mailbox_.PostAlways([this] { FeedFenced(); });
  }

  void Promoted(uint64_t epoch) override {
    mailbox_.PostAlways([this, epoch] { Feed(PromotedEvent{epoch}); });
  }

  void Frozen(std::vector<uint64_t> positions) override {
    mailbox_.PostAlways([this, positions = std::move(positions)]() mutable {
      DataPlane now;
      if (callbacks_.data_plane) callbacks_.data_plane(&now);
      Feed(DataPlaneEvent{std::move(positions), now.healthy, now.data_age_ms, true});
    });
  }

  int64_t writable_until_ms() const override { return writable_until_.load(std::memory_order_acquire); }
  uint16_t bus_port() const override { return bus_port_; }

  void GetStats(std::function<void(BusStats)> done) override {
    if (!mailbox_.Post([this, done] { done(Stats()); })) done({});
  }
  void GetLinks(std::function<void(std::vector<LinkInfo>)> done) override {
    if (!mailbox_.Post([this, done] { done(LinkInfos()); })) done({});
  }

  void GetEvents(std::function<void(std::vector<ClusterEvent>)> done) override {
    if (!mailbox_.Post([this, done] { done({events_.events().begin(), events_.events().end()}); })) done({});
  }
  void ResetEvents() override {
    mailbox_.PostAlways([this] { events_.Clear(); });
  }

  void Publish(std::vector<PublishedMessage> messages) override {
    size_t bytes = 0;
    for (const PublishedMessage& message : messages) bytes += sizeof(message) + message.bytes();
    const size_t count = messages.size();
    if (to_publish_.fetch_add(bytes, std::memory_order_relaxed) + bytes <= kMaxToPublish &&
        mailbox_.Post([this, bytes, messages = std::move(messages)]() mutable {
          to_publish_.fetch_sub(bytes, std::memory_order_relaxed);
          if (closing_) return;
          for (PublishedMessage& message : messages) publisher_->Publish(std::move(message), MonotonicMs());
        })) {
      return;
    }
    to_publish_.fetch_sub(bytes, std::memory_order_relaxed);
    publishes_dropped_.fetch_add(count, std::memory_order_relaxed);
  }

  void SetIoThreads(uint32_t threads) override {
    mailbox_.PostAlways([this, threads] {
      if (!closing_) links_->SetWorkers(threads);
    });
  }

  void SetSecrets(SecretsPtr secrets) override {
    mailbox_.PostAlways([this, secrets = std::move(secrets)] {
      if (closing_) return;
      trust_.secrets = secrets;
      links_->SetSecrets(secrets);
      links_->SetLoopbackOnly(LoopbackOnly());
      LOG(INFO) << "cluster bus: " << (secrets == nullptr ? 0 : secrets->size()) << " cluster secrets";
    });
  }
  void SetTls(TlsContextPtr tls) override {
    mailbox_.PostAlways([this, tls = std::move(tls)] {
      if (closing_) return;
      trust_.tls = tls;
      links_->SetTls(tls);
      links_->SetLoopbackOnly(LoopbackOnly());
      LOG(INFO) << "cluster bus: " << (tls == nullptr ? "TLS is off" : "new TLS certificates and settings");
    });
  }
  void SetLinkBufferLimit(uint64_t bytes) override {
    mailbox_.PostAlways([this, bytes] {
      options_.link_buffer_limit = bytes;
      if (closing_) return;
      links_->SetBufferLimit(LinkBufferLimit(bytes));
      publisher_->SetPeerLimit(PublishLimit(bytes));
    });
  }
  void SetProtectedMode(bool on) override {
    mailbox_.PostAlways([this, on] {
      options_.protected_mode = on;
      if (!closing_) links_->SetLoopbackOnly(LoopbackOnly());
    });
  }

  absl::Status Stop() override {
    mailbox_.PostAlways([this] { stopping_ = true; });
    if (thread_.joinable()) thread_.join();
    return stopped_;
  }

 private:
  // ---- The bus thread

  void Main() {
    pthread_setname_np(pthread_self(), "bus");
    CHECK_EQ(uv_timer_init(&loop_, &tick_), 0);
    tick_.data = this;
    LinksOptions links = MakeLinksOptions(options_);
    links.secrets = trust_.secrets;
    links.tls = trust_.tls;
    links.loopback_only = LoopbackOnly();
    links_ = std::make_unique<Links>(&loop_, links, static_cast<LinkHandler*>(this));
    PublisherOptions publishing;
    publishing.peer_limit = PublishLimit(options_.link_buffer_limit);
    publisher_ = std::make_unique<Publisher>(links_.get(), publishing, callbacks_.deliver);
    uv_timer_start(
        &tick_, [](uv_timer_t* tick) { static_cast<BusThread*>(tick->data)->OnTick(); }, kTickMs, kTickMs);

    Feed(TickEvent{});
    if (!published_) Publish(engine_->topology());
    // Nobody is told of an identity that could still be lost.
    if (persists_wanted_ == 0) Open(absl::OkStatus());
    while (!stopping_) uv_run(&loop_, UV_RUN_ONCE);
    Close();
  }

  bool LoopbackOnly() const { return options_.protected_mode && trust_.secrets == nullptr && trust_.tls == nullptr; }

  // The identity is durable, or cannot be made so.
  void Open(const absl::Status& status) {
    if (std::exchange(opened_, true)) return;
    if (status.ok() && !closing_) {
      for (Fd& listener : listeners_) links_->AddListener(std::move(listener));
    }
    listeners_.clear();
    started_.set_value(status);
  }

  void Close() {
    mailbox_.Drain();
    // What the engine learnt last and was not in a hurry to keep becomes durable, too.
    if (opened_) Command(SaveConfigCommand{}, [](const OperatorReply&) {});
    closing_ = true;
    resolver_->Stop();
    stopped_ = persister_->Stop();
    mailbox_.Close();
    mailbox_.Drain();
    links_->Stop();
    for (auto& [request, done] : std::exchange(requests_, {})) done(ErrorReply("ERR the node is shutting down"));
    Open(absl::CancelledError("the bus was stopped"));
    uv_close(reinterpret_cast<uv_handle_t*>(&tick_), nullptr);
    uv_close(reinterpret_cast<uv_handle_t*>(&wake_), nullptr);
    uv_run(&loop_, UV_RUN_DEFAULT);
    CHECK_EQ(uv_loop_close(&loop_), 0);
    publisher_.reset();
    links_.reset();
  }

  void OnWake() {
    mailbox_.Drain();
    std::deque<Event> deferred = std::exchange(deferred_, {});
    for (Event& event : deferred) Feed(std::move(event));
  }

  void OnTick() {
    links_->Tick();
    publisher_->Tick(MonotonicMs());
    if (callbacks_.data_plane) {
      DataPlane now;
      callbacks_.data_plane(&now);
      Feed(DataPlaneEvent{std::move(now.positions), now.healthy, now.data_age_ms, false});
    }
    Feed(TickEvent{});
  }

  void OnMessage(LinkId link, MessagePtr message, const std::string& remote_ip) override {
    Feed(MessageEvent{link, std::move(message), remote_ip});
  }
  void OnLinkUp(LinkId link) override { Feed(LinkUpEvent{link}); }
  void OnLinkDown(LinkId link, const char* /*reason*/) override { Feed(LinkDownEvent{link}); }
  void OnPublished(LinkId link, MessagePtr message) override { publisher_->OnMessage(link, *message); }
  void OnPublishedEnd() override { publisher_->OnMessagesEnd(); }
  void OnPublishLinkUp(LinkId link) override { publisher_->OnLinkUp(link); }
  void OnPublishLinkDown(LinkId link, size_t unsent) override { publisher_->OnLinkDown(link, unsent, MonotonicMs()); }
  void OnRemarkableClose(std::string text) override { events_.Add(EventKind::kClose, std::move(text), UnixMs()); }

  void OnPersisted(const std::vector<uint64_t>& ids, const absl::Status& status) {
    if (!status.ok()) {
      ++persist_failures_;
      LOG(ERROR) << "cluster bus: " << status.message();
      for (uint64_t id : ids) Feed(PersistFailedEvent{id, std::string(status.message())});
    } else {
      for (uint64_t id : ids) Feed(PersistedEvent{id});
    }
    Open(status);
  }

  void FeedFenced() {
    uint64_t version = fenced_.load(std::memory_order_acquire);
    if (version <= fenced_fed_) return;
    fenced_fed_ = version;
    Feed(FencedEvent{version});
  }

  void Command(OperatorCommand command, std::function<void(OperatorReply)> done) {
    if (closing_) return done(ErrorReply("ERR the node is shutting down"));
    if (requests_.size() >= kMaxRequests) return done(ErrorReply("ERR the cluster bus has too much to do"));
    if (const auto* settings = std::get_if<SettingsCommand>(&command)) {
      options_.node_timeout_ms = settings->node_timeout_ms;
      LinksOptions links = MakeLinksOptions(options_);
      links_->SetTimeouts(links.hello_timeout_ms, links.connect_timeout_ms, links.dead_after_ms);
    }
    uint64_t request = ++last_request_;
    requests_.emplace(request, std::move(done));
    Feed(OperatorEvent{request, std::move(command)});
  }

  // One event into the engine, and its effects carried out. What effects themselves bring about (a dial that fails at
  // once) waits for the next turn of the loop, so that no chain of them can keep it from others.
  void Feed(Event event) {
    if (stepping_) {
      deferred_.push_back(std::move(event));
      uv_async_send(&wake_);
      return;
    }
    stepping_ = true;
    effects_.clear();
    engine_->Step(event, {MonotonicMs(), UnixMs()}, &effects_);
    for (Effect& effect : effects_) std::visit([this](auto& e) { Do(e); }, effect);
    effects_.clear();
    stepping_ = false;
  }

  void Do(SendEffect& effect) { links_->Send(effect.link, effect.message); }
  void Do(DialEffect& effect) {
    links_->SetNodeId(engine_->topology()->me().id());
    links_->Dial(effect.link, effect.ip, effect.bus_port);
  }
  void Do(CloseEffect& effect) { links_->Close(effect.link, effect.reason); }
  void Do(PersistEffect& effect) {
    ++persists_wanted_;
    persister_->Persist(effect.id, std::move(effect.state));
  }
  void Do(PublishEffect& effect) { Publish(std::move(effect.topology)); }
  void Do(ReplyEffect& effect) {
    auto found = requests_.find(effect.request);
    if (found == requests_.end()) return;
    auto done = std::move(found->second);
    requests_.erase(found);
    done(std::move(effect.reply));
  }
  void Do(WritableUntilEffect& effect) { writable_until_.store(effect.mono_ms, std::memory_order_release); }
  void Do(NoteEffect& effect) {
    LOG(INFO) << "cluster: " << effect.text;
    events_.Add(effect.kind, std::move(effect.text), UnixMs());
  }
  void Do(PromoteEffect& effect) {
    if (callbacks_.promote) return callbacks_.promote(effect.epoch);
    Feed(PromotedEvent{effect.epoch});
  }
  void Do(FreezeWritesEffect& effect) {
    if (callbacks_.freeze) return callbacks_.freeze(effect.until_mono_ms);
    if (effect.until_mono_ms != 0) Frozen({});
  }
  void Do(ResolveEffect& effect) {
    if (!resolver_->Resolve(effect.id, std::move(effect.host))) Feed(ResolvedEvent{effect.id, {}});
  }

  void Publish(TopologyPtr topology) {
    published_ = true;
    links_->SetNodeId(topology->me().id());
    publisher_->SetTopology(topology);
    if (callbacks_.publish) callbacks_.publish(std::move(topology));
  }

  BusStats Stats() const {
    const LinkCounters& counters = links_->counters();
    BusStats stats;
    for (int kind = 1; kind < 256; ++kind) {
      if (!IsKnownKind(static_cast<uint8_t>(kind))) continue;
      auto at = static_cast<size_t>(kind);
      stats.messages.push_back({MessageKindName(static_cast<uint8_t>(kind)), counters.sent[at], counters.received[at]});
    }
    if (counters.unknown_received > 0) stats.messages.push_back({"unknown", 0, counters.unknown_received});
    stats.bytes_sent = counters.bytes_sent;
    stats.bytes_received = counters.bytes_received;
    stats.reads_inline = counters.reads_inline;
    stats.writes_inline = counters.writes_inline;
    stats.accepts_inline = counters.accepts_inline;
    stats.reads_offloaded = counters.reads_offloaded;
    stats.writes_offloaded = counters.writes_offloaded;
    stats.accepts_offloaded = counters.accepts_offloaded;
    stats.links_closing = links_->closing();
    stats.links_refused_by_limit = counters.of(CloseReason::kInboundCeiling) +
                                   counters.of(CloseReason::kUnprovenCeiling) + counters.of(CloseReason::kAddressLimit);
    stats.links_closed_over_buffer_limit = counters.of(CloseReason::kOverBufferLimit);
    for (size_t i = 1; i < counters.closed.size(); ++i) {
      auto reason = static_cast<CloseReason>(i);
      if (reason != CloseReason::kEngine && counters.closed[i] > 0) {
        stats.closes.emplace_back(CloseReasonName(reason), counters.closed[i]);
      }
    }
    for (const auto& [reason, count] : counters.closed_by_engine) stats.closes.emplace_back(reason, count);
    stats.inbound = links_->inbound();
    stats.outbound = links_->outbound();
    stats.unproven = links_->unproven();
    stats.persist_failures = persist_failures_;
    const PublisherCounters publishing = publisher_->counters();
    stats.publishes_dropped = publishing.dropped + publishes_dropped_.load(std::memory_order_relaxed);
    stats.publishes_refused = publishing.refused;
    stats.epoch_jumps_refused = engine_->stats().epoch_jumps_refused;
    stats.messages_refused = engine_->stats().messages_refused;
    return stats;
  }

  std::vector<LinkInfo> LinkInfos() const {
    std::vector<LinkInfo> infos;
    for (LinkView& view : links_->View()) {
      if (!view.up) continue;
      infos.push_back({view.outbound, view.link_class == LinkClass::kPublish, std::move(view.peer_id),
                       view.create_unix_ms, view.waits_for_write ? "rw" : "r", view.send_bytes + view.receive_bytes,
                       view.send_bytes, view.jobs, view.closing});
    }
    return infos;
  }

  // ---- Set before the thread starts
  BusOptions options_;
  BusTrust trust_;  // then the bus thread's
  const BusCallbacks callbacks_;
  StateLock lock_;
  std::vector<Fd> listeners_;
  const uint16_t bus_port_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Persister> persister_;
  std::unique_ptr<Resolver> resolver_;
  std::promise<absl::Status> started_;
  std::thread thread_;

  // ---- Any thread
  Mailbox mailbox_;
  uv_async_t wake_{};
  std::atomic<uint64_t> fenced_{0};
  std::atomic<int64_t> writable_until_{0};
  std::atomic<size_t> to_publish_{0};
  std::atomic<uint64_t> publishes_dropped_{0};

  // ---- The bus thread's own
  uv_loop_t loop_{};
  uv_timer_t tick_{};
  std::unique_ptr<Links> links_;
  std::unique_ptr<Publisher> publisher_;
  Effects effects_;
  bool stepping_ = false;
  std::deque<Event> deferred_;
  std::map<uint64_t, std::function<void(OperatorReply)>> requests_;
  uint64_t last_request_ = 0;
  uint64_t fenced_fed_ = 0;
  uint64_t persists_wanted_ = 0;
  uint64_t persist_failures_ = 0;
  ClusterEvents events_;
  bool published_ = false;
  bool opened_ = false;
  bool stopping_ = false;  // asked to
  bool closing_ = false;   // about to
  absl::Status stopped_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Bus>> StartBus(const BusOptions& options, BusCallbacks callbacks,
                                              const EngineFactory& factory) {
  if (absl::Status checked = CheckBusOptions(options); !checked.ok()) return checked;
  std::string path = StatePath(options.dir, options.config_file);
  absl::StatusOr<StateLock> lock = StateLock::Take(path);
  if (!lock.ok()) return lock.status();
  absl::StatusOr<StatePtr> state = LoadState(path);  // again, now that nobody else can change it
  if (!state.ok()) return state.status();
  uint16_t bus_port = options.bus_port;
  absl::StatusOr<std::vector<Fd>> listeners = Listen(options.bind, &bus_port);
  if (!listeners.ok()) return listeners.status();
  absl::StatusOr<BusTrust> trust = LoadTrust(options);
  if (!trust.ok()) return trust.status();
  auto bus = std::make_unique<BusThread>(options, *std::move(trust), std::move(callbacks), *std::move(lock),
                                         *std::move(listeners), bus_port,
                                         factory(MakeEngineOptions(options, bus_port), *std::move(state)));
  if (absl::Status started = bus->Run(); !started.ok()) return started;
  return bus;
}

}  // namespace skein::bus
