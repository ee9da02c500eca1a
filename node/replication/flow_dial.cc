#include "node/replication/flow_dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cstring>
#include <utility>
#include <vector>

#include "node/loop_impl.h"
#include "node/node_impl.h"
#include "node/replication/flow_frame.h"

namespace skein::node {
namespace {

// The longest line before the frames: a history of all the reigns that are kept.
constexpr size_t kMaxAnswer = 256u << 10;

std::string Words(const std::vector<std::string>& words) {
  std::string text = "*" + std::to_string(words.size()) + "\r\n";
  for (const std::string& word : words) text += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
  return text;
}

struct Lookup {
  uv_getaddrinfo_t request;
  std::shared_ptr<FlowDial*> dial;
  std::function<void(FlowDial&, const std::string& address, int family, std::string_view why)> done;
};

}  // namespace

FlowDial::FlowDial(LoopImpl* loop, Upstream upstream, Callbacks callbacks)
    : loop_(loop),
      upstream_(std::move(upstream)),
      callbacks_(std::move(callbacks)),
      self_(std::make_shared<FlowDial*>(this)) {}

FlowDial::~FlowDial() { *self_ = nullptr; }

void FlowDial::Fail(const std::string& why, Reason reason) {
  step_ = Step::kEnded;
  watch_.Close();
  const auto failed = std::move(callbacks_.failed);
  failed(reason, why);
}

void FlowDial::Start() {
  callbacks_.state(FlowState::kConnecting);
  in6_addr any;
  if (inet_pton(AF_INET, upstream_.host.c_str(), &any) == 1) return Connect(upstream_.host, AF_INET);
  if (inet_pton(AF_INET6, upstream_.host.c_str(), &any) == 1) return Connect(upstream_.host, AF_INET6);
  auto* const lookup =
      new Lookup{{}, self_, [](FlowDial& dial, const std::string& address, int family, std::string_view why) {
                   dial.OnResolved(address, family, why);
                 }};
  lookup->request.data = lookup;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  const int rc = uv_getaddrinfo(
      loop_->uv(), &lookup->request,
      [](uv_getaddrinfo_t* request, int status, addrinfo* found) {
        const std::unique_ptr<Lookup> mine(static_cast<Lookup*>(request->data));
        char text[NI_MAXHOST] = "";
        const int family = found != nullptr ? found->ai_family : 0;
        if (found != nullptr) {
          getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST);
        }
        uv_freeaddrinfo(found);
        if (*mine->dial != nullptr) mine->done(**mine->dial, text, family, status == 0 ? "" : uv_strerror(status));
      },
      upstream_.host.c_str(), nullptr, &hints);
  if (rc == 0) return;
  delete lookup;
  Fail(uv_strerror(rc));
}

void FlowDial::OnResolved(const std::string& address, int family, std::string_view why) {
  loop_->FreshenClock();
  if (family == 0) return Fail("its name cannot be resolved: " + std::string(why));
  Connect(address, family);
}

void FlowDial::Connect(const std::string& address, int family) {
  sockaddr_storage to{};
  socklen_t size;
  if (family == AF_INET) {
    auto& in = reinterpret_cast<sockaddr_in&>(to);
    in.sin_family = AF_INET;
    in.sin_port = htons(upstream_.port);
    inet_pton(AF_INET, address.c_str(), &in.sin_addr);
    size = sizeof in;
  } else {
    auto& in = reinterpret_cast<sockaddr_in6&>(to);
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(upstream_.port);
    inet_pton(AF_INET6, address.c_str(), &in.sin6_addr);
    size = sizeof in;
  }
  const int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return Fail(std::strerror(errno));
  channel_ = std::make_unique<FlowChannel>(fd, nullptr);
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (connect(fd, reinterpret_cast<sockaddr*>(&to), size) != 0 && errno != EINPROGRESS) {
    return Fail(std::string("it cannot be reached: ") + std::strerror(errno));
  }
  step_ = Step::kConnect;
  if (!watch_.Open(loop_->uv(), fd, [this](int events) { OnReady(events); })) {
    return Fail("its descriptor cannot be watched");
  }
  watch_.Arm(UV_WRITABLE);
}

void FlowDial::OnReady(int events) {
  loop_->FreshenClock();
  if (step_ == Step::kConnect) return OnConnected();
  if (step_ == Step::kTls) return ShakeHands();
  if (((events & UV_WRITABLE) != 0 || channel_->tls() != nullptr) && !Flush()) return;
  if ((events & UV_READABLE) != 0 || channel_->tls() != nullptr) Read();
}

void FlowDial::OnConnected() {
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(channel_->fd(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return Fail(std::string("it cannot be reached: ") + std::strerror(error));
  callbacks_.state(FlowState::kHandshake);
  if (!upstream_.tls) return Greet();
  bus::TlsContextPtr context = loop_->node().tls_context();
  if (context == nullptr) return Fail("there are no certificates for TLS");
  channel_->set_tls(bus::TlsStream::Create(std::move(context), channel_->fd(), bus::TlsStream::Role::kDial));
  step_ = Step::kTls;
  ShakeHands();
}

void FlowDial::ShakeHands() {
  const int result = channel_->tls()->Handshake();
  if (result == -EAGAIN) return watch_.Arm(channel_->tls()->wants_write() ? UV_WRITABLE : UV_READABLE);
  if (result != 0) return Fail("TLS handshake: " + channel_->tls()->error());
  Greet();
}

void FlowDial::Greet() {
  const Config& config = loop_->config();
  if (config.masterauth.empty()) {
    Ask();
    return;
  }
  step_ = Step::kAuth;
  std::vector<std::string> words{"AUTH"};
  if (!config.masteruser.empty()) words.push_back(config.masteruser);
  words.push_back(config.masterauth);
  Say(Words(words));
}

bool FlowDial::Ask() {
  step_ = Step::kAnswer;
  const LogsyncRequest request = callbacks_.request();
  std::vector<std::string> words = EncodeLogsync(request);
  const std::string text = Words(words);
  prover_ = std::make_unique<FlowProver>(std::move(words), request.replica_id, loop_->node().secrets());
  return Say(text);
}

bool FlowDial::Say(const std::string& words) {
  out_ += words;
  return Flush();
}

bool FlowDial::Flush() {
  while (!out_.empty()) {
    const iovec piece{out_.data(), out_.size()};
    const ssize_t n = channel_->Write(&piece, 1);
    if (n == -EAGAIN) break;
    if (n <= 0) {
      Fail(n == 0 ? "the connection has ended" : std::strerror(static_cast<int>(-n)));
      return false;
    }
    out_.erase(0, static_cast<size_t>(n));
  }
  Watch();
  return true;
}

void FlowDial::Watch() {
  const bool writing = !out_.empty() && (channel_->tls() == nullptr || channel_->tls()->wants_write());
  watch_.Arm(UV_READABLE | (writing ? UV_WRITABLE : 0));
}

void FlowDial::Read() {
  char buffer[16384];
  while (true) {
    if (const size_t end = in_.find('\n'); end != std::string::npos) {
      std::string line = in_.substr(0, end);
      in_.erase(0, end + 1);
      if (line.ends_with('\r')) line.pop_back();
      if (step_ == Step::kAnswer && line.starts_with('+') && FlowProver::IsChallenge(line.substr(1))) {
        absl::StatusOr<std::vector<std::string>> proof = prover_->Answer(line.substr(1));
        if (!proof.ok()) return Fail(std::string(proof.status().message()));
        if (!Say(Words(*proof))) return;
        continue;
      }
      if (step_ == Step::kAnswer) return OnLine(line);
      if (!line.starts_with('+')) {
        return Fail("it does not take masterauth: " + line.substr(line.starts_with('-') ? 1 : 0, kMaxEndText));
      }
      if (!Ask()) return;
      continue;
    }
    if (in_.size() > kMaxAnswer) return Fail("its answer is no line");
    const ssize_t n = channel_->Read(buffer, sizeof buffer);
    if (n == -EAGAIN) return Watch();
    if (n <= 0) {
      return Fail(n == 0 ? std::string("it has closed the connection")
                         : std::string(std::strerror(static_cast<int>(-n))));
    }
    loop_->stats().net_in += static_cast<uint64_t>(n);
    in_.append(buffer, static_cast<size_t>(n));
  }
}

void FlowDial::OnLine(std::string_view line) {
  if (line.empty() || line[0] != '+') {
    if (line.starts_with('-')) line.remove_prefix(1);
    return Fail("it refuses: " + std::string(line.substr(0, kMaxEndText)),
                line.starts_with("LOADING ") ? Reason::kNotReady : Reason::kOther);
  }
  line.remove_prefix(1);
  if (absl::Status proven = prover_->Check(&line, FlowProver::AcceptorId(line)); !proven.ok()) {
    return Fail(std::string(proven.message()));
  }
  absl::StatusOr<LogsyncAnswer> answer = DecodeAnswer(line);
  if (!answer.ok()) return Fail(std::string(answer.status().message()));
  step_ = Step::kEnded;
  watch_.Close();
  const auto answered = std::move(callbacks_.answered);
  answered(Answered{*std::move(answer), std::move(channel_), std::move(in_)});
}

}  // namespace skein::node
