#include "node/node_testing.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "glog/logging.h"

namespace skein::node {

// ---- StepLog -------------------------------------------------------------------------------------------------------

absl::Status StepLog::MayWrite() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return may_write_;
}

void StepLog::AppendEffect(uint32_t, uint16_t slot, std::initializer_list<std::string_view> argv) {
  for (std::string_view a : argv) end_ += a.size() + 1;
  open_ = true;
  std::lock_guard<std::mutex> lock(mutex_);
  slots_.push_back(slot);
}

storage::Lsn StepLog::EndRecord(storage::UnixMillis) {
  if (!open_) return 0;
  open_ = false;
  return end_;
}

void StepLog::Kick() {
  kicked_ = end_;
  if (automatic_) AdvanceTo(end_);
}

storage::Lsn StepLog::durable() const {
  const storage::Lsn found = durable_.load();
  if (looks_.load() > 0 && LoopImpl::Current() != nullptr && kicked_.load() > found && looks_.fetch_sub(1) == 1) {
    const_cast<StepLog*>(this)->Advance();
  }
  return found;
}

void StepLog::AdvanceTo(storage::Lsn lsn) {
  durable_ = lsn;
  if (on_durable) on_durable(lsn);
}

void StepLog::SetMayWrite(absl::Status status) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    may_write_ = std::move(status);
  }
  if (on_progress) on_progress();
}

std::vector<uint16_t> StepLog::slots() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return slots_;
}

// ---- HandBus -------------------------------------------------------------------------------------------------------

void HandBus::Fenced(uint64_t version) {
  std::lock_guard<std::mutex> lock(mutex_);
  fenced_ = std::max(fenced_, version);
  changed_.notify_all();
}

void HandBus::Change(const std::function<void(bus::Topology*)>& change) {
  change(&newest_);
  ++newest_.version;
  callbacks_.publish(std::make_shared<const bus::Topology>(newest_));
  std::unique_lock<std::mutex> lock(mutex_);
  if (newest_.version > 1) changed_.wait(lock, [&] { return fenced_ >= newest_.version; });
}

void AloneWithAllSlots(bus::Topology* topology) {
  topology->ok = true;
  topology->nodes.resize(1);
  topology->nodes[0].SetIdentity({.id = std::string(40, 'a'), .ip = "127.0.0.1"});
  topology->nodes[0].myself = true;
  topology->owner.fill(0);
}

// ---- TestNode ------------------------------------------------------------------------------------------------------

namespace {

class StepDataSet final : public storage::DataSet {
 public:
  StepDataSet(const std::vector<std::unique_ptr<StepLog>>& logs, const storage::DataSetOptions& options) {
    for (uint32_t i = 0; i < options.shards; ++i) {
      shards_.push_back(std::make_unique<storage::Shard>(
          storage::ShardOptions{.index = i, .count = options.shards, .databases = options.databases},
          logs.empty() ? nullptr : logs[i].get()));
    }
  }
  uint32_t shard_count() const override { return static_cast<uint32_t>(shards_.size()); }
  uint32_t databases() const override { return shards_[0]->databases(); }
  bool aside() const override { return false; }
  std::shared_ptr<storage::FileLock> lock() const override { return nullptr; }
  storage::Shard& shard(uint32_t i) override { return *shards_[i]; }
  const storage::RecoveryReport& report() const override { return report_; }
  Stats stats() const override {
    Stats stats;
    for (const auto& shard : shards_) {
      if (shard->log() == nullptr) continue;
      stats.enabled = true;
      stats.pending_bytes += shard->log()->pending_bytes();
      if (shard->log()->MayWrite().code() == absl::StatusCode::kFailedPrecondition) stats.last_write_ok = false;
    }
    return stats;
  }
  absl::Status Close() override { return absl::OkStatus(); }

 private:
  storage::RecoveryReport report_;
  std::vector<std::unique_ptr<storage::Shard>> shards_;
};

}  // namespace

TestNode::TestNode(Options options) {
  auto config = std::make_shared<Config>();
  config->bind = {"127.0.0.1"};
  config->client_loops = options.loops;
  config->storage_shards = options.shards;
  config->cluster_enabled = options.cluster;
  config->appendonly = options.logs;
  config->write_commit = options.gated ? WriteCommit::kDisk : WriteCommit::kMemory;
  if (options.configure) options.configure(config.get());
  for (uint32_t i = 0; options.logs && i < options.shards; ++i) {
    logs_.push_back(std::make_unique<StepLog>());
    logs_.back()->set_automatic(!options.gated);
  }
  NodeOptions o;
  o.config = config;
  o.any_port = true;
  o.open_data = [this](storage::DataSetOptions data) -> absl::StatusOr<std::unique_ptr<storage::DataSet>> {
    for (uint32_t i = 0; i < logs_.size(); ++i) {
      logs_[i]->on_progress = [progress = data.on_progress, i] { progress(i); };
      logs_[i]->on_durable = [durable = data.on_durable, i](storage::Lsn lsn) { durable(i, lsn); };
    }
    return std::make_unique<StepDataSet>(logs_, data);
  };
  o.start_bus = [this](bus::BusOptions, bus::BusCallbacks callbacks) -> absl::StatusOr<std::unique_ptr<bus::Bus>> {
    auto bus = std::make_unique<HandBus>(std::move(callbacks));
    bus_ = bus.get();
    bus->Change(&AloneWithAllSlots);
    return bus;
  };
  absl::StatusOr<std::unique_ptr<NodeImpl>> node = NodeImpl::Start(std::move(o));
  CHECK(node.ok()) << node.status().message();
  node_ = *std::move(node);
}

TestNode::~TestNode() {
  for (auto& log : logs_) log->set_automatic(true);
  for (auto& log : logs_) log->Advance();
  node_.reset();
}

// ---- TestClient ----------------------------------------------------------------------------------------------------

bool Await(const std::function<bool()>& what) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!what()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

TestClient::TestClient(uint16_t port) {
  fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  PCHECK(connect(fd_, reinterpret_cast<sockaddr*>(&a), sizeof(a)) == 0);
  const int on = 1;
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  const timeval limit{10, 0};
  setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

void TestClient::Close() {
  if (fd_ >= 0) close(std::exchange(fd_, -1));
}

void TestClient::Reset() {
  const linger now{1, 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  Close();
}

void TestClient::CloseWriting() { shutdown(fd_, SHUT_WR); }

void TestClient::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return;  // closed by the node; what is read next says so
    bytes.remove_prefix(n);
  }
}

size_t TestClient::TrySend(std::string_view bytes) {
  size_t sent = 0;
  while (sent < bytes.size()) {
    const ssize_t n = send(fd_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n <= 0) break;
    sent += n;
  }
  return sent;
}

bool TestClient::Fill() {
  char chunk[65536];
  const ssize_t n = recv(fd_, chunk, sizeof(chunk), 0);
  if (n <= 0) return false;
  buffer_.append(chunk, n);
  return true;
}

std::string TestClient::Read(size_t n) {
  while (buffer_.size() < n && Fill()) {
  }
  std::string out = buffer_.substr(0, n);
  buffer_.erase(0, out.size());
  return out;
}

std::string TestClient::ReadLine() {
  size_t end;
  while ((end = buffer_.find("\r\n")) == std::string::npos) {
    if (!Fill()) return std::exchange(buffer_, {}) + "<end>";
  }
  std::string line = buffer_.substr(0, end);
  buffer_.erase(0, end + 2);
  return line;
}

std::string TestClient::ReadToEnd() {
  while (Fill()) {
  }
  return std::exchange(buffer_, {});
}

bool TestClient::HasInput() const {
  if (!buffer_.empty()) return true;
  pollfd p{fd_, POLLIN, 0};
  return poll(&p, 1, 0) == 1;
}

std::string TestClient::Encode(const std::vector<std::string>& words) {
  std::string out = "*" + std::to_string(words.size()) + "\r\n";
  for (const std::string& w : words) out += "$" + std::to_string(w.size()) + "\r\n" + w + "\r\n";
  return out;
}

std::string TestClient::ReadReply() {
  std::string line = ReadLine();
  std::string out = line + "\r\n";
  if (line.empty()) return out;
  switch (line[0]) {
    case '$':
    case '=':
      if (line != "$-1") out += Read(std::stoul(line.substr(1)) + 2);
      break;
    case '*':
    case '~':
    case '>':
    case '%': {
      const long n = line == "*-1" ? 0 : std::stol(line.substr(1)) * (line[0] == '%' ? 2 : 1);
      for (long i = 0; i < n; ++i) out += ReadReply();
      break;
    }
    default:
      break;
  }
  return out;
}

std::string TestClient::Ask(const std::vector<std::string>& words) {
  Send(Encode(words));
  return ReadReply();
}

}  // namespace skein::node
