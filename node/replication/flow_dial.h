// The beginning of a flow, at the end that dials: resolves, connects, TLS, AUTH, LOGSYNC and the line that answers it.
// On a loop's thread.
#ifndef SKEIN_NODE_REPLICATION_FLOW_DIAL_H_
#define SKEIN_NODE_REPLICATION_FLOW_DIAL_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "node/buffer.h"
#include "node/replication/flow_channel.h"
#include "node/replication/flow_proof.h"
#include "node/replication/logsync.h"
#include "node/replication/replication.h"

namespace skein::node {

class LoopImpl;

class FlowDial {
 public:
  // What stands when LOGSYNC has been answered; it is watched by nobody.
  struct Answered {
    LogsyncAnswer answer;
    std::unique_ptr<FlowChannel> channel;
    std::string rest;  // what has come behind the answer
  };
  // Why there is no answer.
  enum class Reason : uint8_t {
    kOther,     // it cannot be reached, or does not take this node
    kNotReady,  // it is there, and could answer soon
  };
  // One of `failed` and `answered` is called, once, as the last thing that the dial does: it may be destroyed in them.
  struct Callbacks {
    // What is to be asked, once the connection stands.
    std::function<LogsyncRequest()> request;
    std::function<void(FlowState)> state;
    std::function<void(Reason, const std::string& why)> failed;
    std::function<void(Answered)> answered;
  };

  FlowDial(LoopImpl* loop, Upstream upstream, Callbacks callbacks);
  ~FlowDial();
  FlowDial(const FlowDial&) = delete;
  FlowDial& operator=(const FlowDial&) = delete;

  // Once. May call back, and be destroyed by that, before it returns.
  void Start();

 private:
  enum class Step : uint8_t { kResolve, kConnect, kTls, kAuth, kAnswer, kEnded };

  void OnResolved(const std::string& address, int family, std::string_view why);
  void Connect(const std::string& address, int family);
  void OnReady(int events);
  void OnConnected();
  void ShakeHands();
  void Greet();
  // All three return false if the dial has ended, and is perhaps gone.
  bool Ask();
  bool Say(const std::string& words);
  bool Flush();
  void Read();
  void OnLine(std::string_view line);
  void Watch();
  void Fail(const std::string& why, Reason reason = Reason::kOther);

  LoopImpl* const loop_;
  const Upstream upstream_;
  Callbacks callbacks_;
  // For what outlives it: a name that is being resolved.
  std::shared_ptr<FlowDial*> self_;
  Step step_ = Step::kResolve;
  std::unique_ptr<FlowChannel> channel_;
  FlowWatch watch_;
  std::string out_, in_;
  std::unique_ptr<FlowProver> prover_;  // of the LOGSYNC that has been said
};

}  // namespace skein::node

#endif  // SKEIN_NODE_REPLICATION_FLOW_DIAL_H_
