// A loop with several nodes' links on it, in one thread, and raw sockets that misbehave.
#ifndef SKEIN_BUS_LINK_LINKS_HARNESS_H_
#define SKEIN_BUS_LINK_LINKS_HARNESS_H_

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include <cerrno>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "bus/link/links.h"
#include "bus/tls/stream_testing.h"
#include "glog/logging.h"
#include "proto/bus.pb.h"

namespace skein::bus {

// How links are made: by whom their work is done, and what peers must prove.
struct LinkMode {
  const char* name;
  size_t workers;
  bool secret, tls;
};
inline constexpr LinkMode kPlainModes[] = {{"Inline", 0, false, false}, {"Workers", 2, false, false}};
inline constexpr LinkMode kLinkModes[] = {
    {"Inline", 0, false, false},       {"Workers", 2, false, false},   {"SecretInline", 0, true, false},
    {"SecretWorkers", 2, true, false}, {"TlsInline", 0, false, true},  {"TlsWorkers", 2, false, true},
    {"BothInline", 0, true, true},     {"BothWorkers", 2, true, true},
};
inline std::ostream& operator<<(std::ostream& out, const LinkMode& mode) { return out << mode.name; }

inline SecretsPtr MakeSecrets(const std::vector<std::string>& secrets) {
  auto made = Secrets::Create(secrets);
  CHECK(made.ok()) << made.status();
  return *made;
}
inline const std::string kTestSecret = "the secret of these tests", kOtherSecret = "quite another secret";

// One authority and one certificate that all nodes of a test share.
inline const TestSite& SharedSite() {
  static const TestSite* const site = new TestSite;
  return *site;
}

inline LinksOptions OptionsOf(const LinkMode& mode) {
  LinksOptions options;
  options.workers = mode.workers;
  if (mode.secret) options.secrets = MakeSecrets({kTestSecret});
  if (mode.tls) {
    static const auto* const context = new TlsContextPtr(SharedSite().Context());
    options.tls = *context;
  }
  return options;
}

inline MessagePtr MakePing(uint64_t seq, size_t ages = 0) {
  auto message = std::make_shared<proto::BusMessage>();
  message->mutable_ping()->set_seq(seq);
  if (ages > 0) message->mutable_ping()->mutable_view()->set_ages(std::string(ages, 'a'));
  return message;
}

inline std::string MakeFrame(const MessagePtr& message) {
  std::string frame(kFrameHeaderBytes, '\0');
  frame += message->SerializeAsString();
  SealFrame(FrameType::kMessage, MessageKind(*message), reinterpret_cast<uint8_t*>(frame.data()),
            static_cast<uint32_t>(frame.size() - kFrameHeaderBytes));
  return frame;
}

class Loop {
 public:
  Loop() {
    CHECK_EQ(uv_loop_init(&loop_), 0);
    CHECK_EQ(uv_timer_init(&loop_, &timer_), 0);
    uv_timer_start(
        &timer_, [](uv_timer_t*) {}, 5, 5);  // so that a run returns
  }
  ~Loop() {
    uv_close(reinterpret_cast<uv_handle_t*>(&timer_), nullptr);
    uv_run(&loop_, UV_RUN_DEFAULT);
    CHECK_EQ(uv_loop_close(&loop_), 0);
  }
  // Runs until `done` holds; false after `limit_ms`.
  bool Until(const std::function<bool()>& done, int64_t limit_ms = 20'000) {
    int64_t end = MonotonicMs() + limit_ms;
    while (!done()) {
      if (MonotonicMs() > end) return false;
      uv_run(&loop_, UV_RUN_ONCE);
    }
    return true;
  }
  void Turn() { uv_run(&loop_, UV_RUN_NOWAIT); }
  uv_loop_t* get() { return &loop_; }

 private:
  uv_loop_t loop_{};
  uv_timer_t timer_{};
};

// One node's links, and what they told.
class Peer : public LinkHandler {
 public:
  Peer(Loop* loop, char id, LinksOptions options = {})
      : loop_(loop), node_id(40, id), links(std::make_unique<Links>(loop->get(), options, this)) {
    links->SetNodeId(node_id);
  }
  ~Peer() override {
    // The test's own variables may be gone already.
    on_message = nullptr;
    on_up = on_down = nullptr;
    links->Stop();
    for (int i = 0; i < 10; ++i) loop_->Turn();  // the close callbacks
  }
  uint16_t Listen() {
    uint16_t port = 0;
    auto listeners = skein::bus::Listen({"127.0.0.1"}, &port);
    CHECK(listeners.ok()) << listeners.status();
    for (Fd& fd : *listeners) links->AddListener(std::move(fd));
    return port;
  }
  // Joins the two by a pair of sockets; the id of the dialling side's link.
  LinkId Join(Peer* other) {
    int pair[2];
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    LinkId id = NextId();
    other->links->Admit(Fd(pair[1]), {"127.0.0.1", 1});
    links->DialOver(id, Fd(pair[0]), {"127.0.0.1", 2});
    return id;
  }
  LinkId NextId() { return std::exchange(next_id_, next_id_ + 2); }
  LinkId PeekId() const { return next_id_; }
  uint64_t closed(CloseReason reason) const { return links->counters().of(reason); }

  void OnMessage(LinkId link, MessagePtr message, const std::string& remote_ip) override {
    ++received;
    last_ip = remote_ip;
    if (on_message) on_message(link, message);
  }
  void OnLinkUp(LinkId link) override {
    up.push_back(link);
    if (on_up) on_up(link);
  }
  void OnLinkDown(LinkId link, const char* reason) override {
    down.emplace_back(link, reason);
    if (on_down) on_down(link);
  }

 private:
  Loop* const loop_;
  LinkId next_id_ = 1;

 public:
  const std::string node_id;
  uint64_t received = 0;
  std::string last_ip;
  std::vector<LinkId> up;
  std::vector<std::pair<LinkId, std::string>> down;
  std::function<void(LinkId, const MessagePtr&)> on_message;
  std::function<void(LinkId)> on_up, on_down;
  std::unique_ptr<Links> links;
};

// A client that speaks what it likes.
class RawPeer {
 public:
  explicit RawPeer(uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK_EQ(connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    fcntl(fd_.get(), F_SETFL, O_NONBLOCK);
  }
  // With a connection that exists.
  explicit RawPeer(Fd fd) : fd_(std::move(fd)) {}
  void Say(const std::string& bytes) {
    CHECK_EQ(send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  // Reads what there is. True if the other side has closed.
  bool Closed() {
    char buffer[4096];
    ssize_t n;
    while ((n = recv(fd_.get(), buffer, sizeof(buffer), 0)) > 0) heard.append(buffer, static_cast<size_t>(n));
    return n == 0 || errno != EAGAIN;
  }
  std::string heard;

 private:
  Fd fd_;
};

}  // namespace skein::bus

#endif  // SKEIN_BUS_LINK_LINKS_HARNESS_H_
