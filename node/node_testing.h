// For tests: a whole node in this process, on logs and a bus that the test holds in its hand, and a client's socket.
#ifndef SKEIN_NODE_NODE_TESTING_H_
#define SKEIN_NODE_NODE_TESTING_H_

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "node/node_impl.h"
#include "storage/data_set.h"
#include "storage/log.h"
#include "storage/record.h"
#include "storage/shard.h"

namespace skein::node {

// A log whose durable position moves when the test says so.
class StepLog final : public storage::Log {
 public:
  absl::Status MayWrite() const override;
  void AppendEffect(uint32_t db, uint16_t slot, std::initializer_list<std::string_view> argv) override;
  storage::Lsn EndRecord(storage::UnixMillis time) override;
  void Kick() override;
  storage::Lsn end() const override { return end_; }
  storage::Lsn durable() const override;
  storage::Lsn written() const override { return durable_.load(); }
  uint64_t pending_bytes() const override { return kicked_.load() - durable_.load(); }
  void set_fsync(storage::AppendFsync) override {}
  void AskSync(storage::Lsn lsn) override { asked_ = lsn; }
  // Nobody follows it, and it follows none.
  const std::vector<storage::Reign>& history() const override { return history_; }
  absl::Status AppendRecords(std::string_view) override { return absl::UnimplementedError("not in this test"); }
  storage::Lsn BeginReign(uint64_t, storage::UnixMillis) override { return end_; }
  void set_follows(bool) override {}
  void KeepBacklog(uint64_t) override {}
  storage::Backlog* backlog() override { return nullptr; }

  // ---- The test's thread. Each tells the loops.
  void Advance() { AdvanceTo(kicked_.load()); }
  void AdvanceTo(storage::Lsn lsn);
  // What has been published becomes durable just after a loop has looked so many times more whether something has, as
  // long as something has not.
  void AdvanceAfterLooks(int looks) { looks_ = looks; }
  int looks_left() const { return looks_.load(); }
  void SetMayWrite(absl::Status status);
  // Every Kick is durable at once.
  void set_automatic(bool yes) { automatic_ = yes; }
  storage::Lsn kicked() const { return kicked_.load(); }
  storage::Lsn asked() const { return asked_.load(); }  // by the last AskSync
  std::vector<uint16_t> slots() const;                  // of all effects

  std::function<void()> on_progress;
  std::function<void(storage::Lsn)> on_durable;

 private:
  storage::Lsn end_ = 0;
  bool open_ = false;
  std::atomic<storage::Lsn> kicked_{0}, durable_{0}, asked_{0};
  mutable std::atomic<int> looks_{0};
  std::atomic<bool> automatic_{true};
  mutable std::mutex mutex_;
  absl::Status may_write_;
  std::vector<uint16_t> slots_;
  std::vector<storage::Reign> history_;
};

// A bus that publishes what the test gives it.
// The only node of a cluster that is well: it owns all slots.
void AloneWithAllSlots(bus::Topology* topology);

class HandBus final : public bus::Bus {
 public:
  explicit HandBus(bus::BusCallbacks callbacks) : callbacks_(std::move(callbacks)) {}
  void Submit(bus::OperatorCommand, std::function<void(bus::OperatorReply)> done) override { done({}); }
  void Fenced(uint64_t version) override;
  void Promoted(uint64_t) override {}
  void Frozen(std::vector<uint64_t>) override {}
  int64_t writable_until_ms() const override { return writable_until_.load(); }
  void GetStats(std::function<void(bus::BusStats)> done) override { done({}); }
  void GetEvents(std::function<void(std::vector<bus::ClusterEvent>)> done) override { done({}); }
  void ResetEvents() override {}
  void GetLinks(std::function<void(std::vector<bus::LinkInfo>)> done) override { done({}); }
  void Publish(std::vector<bus::PublishedMessage> messages) override {
    std::lock_guard<std::mutex> lock(mutex_);
    for (bus::PublishedMessage& message : messages) published_.push_back(std::move(message));
  }
  std::vector<bus::PublishedMessage> published() {
    std::lock_guard<std::mutex> lock(mutex_);
    return published_;
  }
  // As if other nodes had published it.
  void Deliver(std::vector<bus::PublishedMessage> messages) { callbacks_.deliver(std::move(messages)); }
  void SetIoThreads(uint32_t) override {}
  void SetSecrets(bus::SecretsPtr) override {}
  void SetTls(bus::TlsContextPtr) override {}
  void SetLinkBufferLimit(uint64_t) override {}
  void SetProtectedMode(bool) override {}
  uint16_t bus_port() const override { return 1; }
  absl::Status Stop() override { return absl::OkStatus(); }

  // Publishes a changed copy of the newest topology and waits until every loop has applied it.
  void Change(const std::function<void(bus::Topology*)>& change);
  void set_writable_until(int64_t ms) { writable_until_ = ms; }

 private:
  bus::BusCallbacks callbacks_;
  bus::Topology newest_;
  std::atomic<int64_t> writable_until_{INT64_MAX};
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t fenced_ = 0;
  std::vector<bus::PublishedMessage> published_;
};

class TestNode {
 public:
  struct Options {
    uint32_t loops = 1, shards = 1;
    bool cluster = true;
    bool logs = true;    // appendonly
    bool gated = false;  // write-commit disk
    std::function<void(Config*)> configure;
  };
  explicit TestNode(Options options);
  ~TestNode();

  NodeImpl& node() { return *node_; }
  StepLog& log(uint32_t shard) { return *logs_[shard]; }
  HandBus& bus() { return *bus_; }
  uint16_t port() const { return node_->port(); }
  absl::Status Stop() { return node_->Stop(); }

 private:
  std::vector<std::unique_ptr<StepLog>> logs_;
  HandBus* bus_ = nullptr;
  std::unique_ptr<NodeImpl> node_;
};

// Waits until `what` is true; false after ten seconds.
bool Await(const std::function<bool()>& what);

// A blocking client. Reads give up after ten seconds (the test then fails on what it got).
class TestClient {
 public:
  explicit TestClient(uint16_t port);
  explicit TestClient(TestNode& node) : TestClient(node.port()) {}
  TestClient(TestClient&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  ~TestClient() { Close(); }
  void Close();
  void CloseWriting();
  void Reset();  // closes with a reset

  void Send(std::string_view bytes);
  // As much as can be sent without waiting.
  size_t TrySend(std::string_view bytes);
  std::string Read(size_t n);
  std::string ReadLine();  // without the line end
  std::string ReadToEnd();
  // Whether there is something to read right now.
  bool HasInput() const;
  // Sends and reads back one reply of any type, as bytes.
  std::string Ask(const std::vector<std::string>& words);
  std::string ReadReply();

  static std::string Encode(const std::vector<std::string>& words);

 private:
  int fd_ = -1;
  std::string buffer_;
  bool Fill();
};

}  // namespace skein::node

#endif  // SKEIN_NODE_NODE_TESTING_H_
