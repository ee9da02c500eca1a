// Every link of this node: dialling, accepting, handshakes, jobs, limits, deadlines, counters. Runs on the bus thread,
// on its uv_loop_t; libuv watches the descriptors, the links own them.
//
// The order of things on the thread: a readable descriptor gives one read job, whose whole messages go to the handler
// at once; what the handler sends meanwhile is queued and leaves in one write job a link before the loop polls again; a
// link that has more than a job's budget waits its turn behind the others.
#ifndef SKEIN_BUS_LINK_LINKS_H_
#define SKEIN_BUS_LINK_LINKS_H_

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bus/link/close_reason.h"
#include "bus/link/link.h"
#include "bus/link/message_kind.h"
#include "bus/link/socket.h"

extern "C" {
typedef struct uv_loop_s uv_loop_t;
typedef struct uv_poll_s uv_poll_t;
}

namespace skein::bus {

// What happens on links, told on the bus thread. An implementation may call Links from inside.
class LinkHandler {
 public:
  virtual ~LinkHandler() = default;
  virtual void OnMessage(LinkId link, MessagePtr message, const std::string& remote_ip) = 0;
  // A dialled link is connected and both sides have agreed on a version.
  virtual void OnLinkUp(LinkId link) = 0;
  // A link has ended other than by Close; a dialled one also if it never came up, an inbound one only if it was up. May
  // come from inside Dial and Send.
  virtual void OnLinkDown(LinkId link, const char* reason) = 0;
  // The same of links of the class for publishing; an inbound one comes up, too. `unsent`: messages lost with it.
  virtual void OnPublished(LinkId /*link*/, MessagePtr /*message*/) {}
  // What one read has brought is through.
  virtual void OnPublishedEnd() {}
  virtual void OnPublishLinkUp(LinkId /*link*/) {}
  virtual void OnPublishLinkDown(LinkId /*link*/, size_t /*unsent*/) {}
  // A link was closed, or a connection refused, for a reason that an operator should know: in words. At most some a
  // second.
  virtual void OnRemarkableClose(std::string /*text*/) {}
};

// Ids of links that publish: of a series of their own, so that they never meet those of the engine.
inline constexpr LinkId kPublishLinks = LinkId{1} << 63;

struct LinksOptions {
  uint32_t max_inbound = 4096;
  uint32_t max_outbound = 16384;
  // Inbound connections that have not proven themselves (with neither TLS nor a secret: said a valid Hello): in all,
  // from one address, and for how long.
  uint32_t max_unproven = 512;
  uint32_t max_unproven_per_address = 256;
  int64_t hello_timeout_ms = 2000;
  int64_t connect_timeout_ms = 2000;  // until a dialled link is up
  int64_t dead_after_ms = 15000;      // keepalive and user timeout
  // Links of a withdrawn secret or older certificates are closed, spread over so long, to be made anew.
  int64_t renew_within_ms = 10000;
  size_t buffer_limit = 64u << 20;  // bytes a link may hold, sending and receiving
  bool loopback_only = false;
  std::vector<std::string> bind;  // as of Listen: where dialled links come from
  JobBudget budget;
  size_t workers = 0;  // threads for the links' I/O; 0: all on the bus thread
  size_t max_jobs = 1024;
  SecretsPtr secrets;  // null: none
  TlsContextPtr tls;   // null: none
};

struct LinkCounters {
  std::array<uint64_t, 256> sent{}, received{};  // messages by kind
  uint64_t unknown_received = 0;
  uint64_t bytes_sent = 0, bytes_received = 0;
  uint64_t reads_inline = 0, writes_inline = 0, accepts_inline = 0;
  uint64_t reads_offloaded = 0, writes_offloaded = 0, accepts_offloaded = 0;
  std::array<uint64_t, static_cast<size_t>(CloseReason::kLast) + 1> closed{};  // and refused
  std::map<std::string, uint64_t, std::less<>> closed_by_engine;               // by its reason; bounded

  uint64_t of(CloseReason reason) const { return closed[static_cast<size_t>(reason)]; }
};

struct LinkView {
  LinkId id;
  LinkClass link_class;
  bool outbound, up, closing;  // closing: borrowed by a job, and to be destroyed after it
  std::string peer_id;         // empty before the Hello
  SocketAddress remote;
  int64_t create_unix_ms;
  bool waits_for_write;
  uint32_t jobs;  // that borrow it
  size_t send_bytes, receive_bytes;
};

class Links {  // NOLINT(clang-analyzer-optin.performance.Padding): the rings' cache lines
 public:
  // `loop` and `handler` must outlive this.
  Links(uv_loop_t* loop, const LinksOptions& options, LinkHandler* handler);
  // The loop must have run after Stop until nothing was left on it.
  ~Links();
  Links(const Links&) = delete;

  // The id this node says it has, from now on.
  void SetNodeId(const std::string& id) { node_id_ = id; }
  void SetTimeouts(int64_t hello_ms, int64_t connect_ms, int64_t dead_after_ms);
  void SetBufferLimit(size_t bytes) { options_.buffer_limit = bytes; }
  // Of connections made and accepted from now on.
  void SetLoopbackOnly(bool only) { options_.loopback_only = only; }
  // Null: none. Links not proven by one of these are closed within renew_within_ms, those on their way at once.
  void SetSecrets(SecretsPtr secrets);
  // Null: none. Links of another context are closed within renew_within_ms.
  void SetTls(TlsContextPtr tls);
  void AddListener(Fd listener);
  // Changes the number of workers. Loses and delays nothing (L36).
  void SetWorkers(size_t workers);
  size_t workers() const { return pool_.workers(); }

  // Takes an inbound connection: what listeners do with what they accept.
  void Admit(Fd fd, SocketAddress remote);
  // `link`: odd, greater than all before.
  void Dial(LinkId link, const std::string& ip, uint16_t port);
  // Dial, with a connection that exists already.
  void DialOver(LinkId link, Fd connected, SocketAddress remote);
  // The id says the class: kPublishLinks + an odd number for publishing.
  static LinkClass ClassOf(LinkId dialled) {
    return (dialled & kPublishLinks) != 0 ? LinkClass::kPublish : LinkClass::kControl;
  }
  // Bytes queued on a link and not written; 0 if it is gone.
  size_t Unsent(LinkId link) const;
  // Whose link it is, once it is up; empty if it is gone.
  std::string PeerOf(LinkId link) const;
  // Queues. For a link that is gone: nothing.
  void Send(LinkId link, const MessagePtr& message);
  // `reason`: static. The handler is not told.
  void Close(LinkId link, const char* reason);
  // Ends what is past its deadline, listens again after a shortage of descriptors. Every 100 ms.
  void Tick();

  // Writes what can be written at once, closes every link and listener.
  void Stop();

  const LinkCounters& counters() const { return counters_; }
  std::vector<LinkView> View() const;
  size_t size() const { return links_.size(); }
  size_t closing() const { return closing_.size(); }
  uint64_t inbound() const { return inbound_.value(); }
  uint64_t outbound() const { return outbound_.value(); }
  uint64_t unproven() const { return unproven_.value(); }
  size_t unproven_addresses() const { return unproven_by_address_.keys(); }
  size_t pairings() const { return pairings_.size(); }

 private:
  struct Handles;  // libuv's
  struct Listener;
  friend struct LinkWatch;

  static void OnPoll(uv_poll_t* poll, int status, int events);
  static void OnAcceptable(uv_poll_t* poll, int status, int events);

  Link* Find(LinkId id);
  void AcceptSome(Listener* listener);
  void Adopt(std::unique_ptr<Link> link);
  void FinishConnect(Link* link);
  void QueueHello(Link* link);
  void QueueHandshake(Link* link, std::string frame);
  void HandleHandshake(Link* link, const HandshakeFrame& frame);
  void HandleHello(Link* link, const Hello& hello);
  void HandleChallenge(Link* link, const Challenge& challenge);
  void HandleProof(Link* link, const Proof& proof);
  void HandleAccept(Link* link, const Acceptance& accept);
  void SetTags(Link* link, size_t secret);
  // The peer is who it says; false if that ended the link.
  bool Proven(Link* link);
  bool MatchesCertificate(Link* link);
  void FinishTls(Link* link, int result, bool wants_write);
  void RenewAll();
  void Queue(Link* link, Outgoing out);

  // Jobs. At most one a link at a time; what comes meanwhile is remembered.
  void WantRead(Link* link);
  void WantWrite(Link* link);
  void Start(Link* link, LinkJob::Kind kind);
  LinkJob* NewJob();
  void Complete(LinkJob* job);
  void TakeCompletions(size_t most);
  void CompleteRead(Link* link, ReadResult* result);
  void CompleteWrite(Link* link, WriteResult* result);
  void MakeReady(Link* link);
  void RunReady();
  void Serve(LinkId id);

  void Watch(Link* link);
  void Unwatch(Link* link);
  void CloseWatch(Link* link);
  void End(Link* link, CloseReason reason, int error = 0, const char* engine_reason = nullptr,
           const std::string& detail = {});
  void Refuse(CloseReason reason, const SocketAddress& remote);
  bool MayLog();

  uv_loop_t* loop_;
  LinksOptions options_;
  LinkHandler* handler_;
  std::string node_id_;
  std::unique_ptr<Handles> handles_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  bool accept_paused_ = false;
  bool stopping_ = false;

  // Declared before the links, whose tokens they must outlive.
  TokenCount inbound_, outbound_, unproven_;
  KeyedCount unproven_by_address_;

  std::map<LinkId, std::unique_ptr<Link>> links_;
  std::map<LinkId, std::unique_ptr<Link>> closing_;  // borrowed, and to be destroyed by their last completion
  std::set<std::pair<int64_t, LinkId>> deadlines_;
  std::set<std::pair<int64_t, LinkId>> renewals_;
  std::mt19937_64 jitter_{std::random_device{}()};
  // The names of the certificate that each node id was first seen with; bounded.
  std::map<std::string, std::string, std::less<>> pairings_;
  std::deque<std::string> pairing_order_;
  std::vector<LinkId> dirty_;
  std::vector<LinkId> ready_;
  // Links of the class for publishing that want to read or write. They wait behind all others, and few are served in a
  // turn: whatever is published, a heartbeat waits for no more than that.
  std::deque<LinkId> publish_ready_;
  LinkId next_inbound_ = 2;
  std::array<LinkId, 2> last_dialled_{};  // by class

  std::vector<std::unique_ptr<LinkJob>> idle_jobs_;
  IoPool pool_;
  LinkCounters counters_;
  int64_t log_second_ = 0;
  int logs_left_ = 0;
};

// CLOCK_MONOTONIC and Unix time, milliseconds.
int64_t MonotonicMs();
int64_t UnixMs();

}  // namespace skein::bus

#endif  // SKEIN_BUS_LINK_LINKS_H_
