// A loop's mailbox: any thread posts, the loop drains in batches.
//
// An intrusive multi-producer queue after Dmitry Vyukov (one exchange a post, no lock), and an eventfd that is written
// once per batch, not once per message. The bound on what lies in it is the senders': every kind of message has a limit
// of its own (credits of hand-overs, admissions of sessions, one outstanding request a session, one topology a
// version).
#ifndef SKEIN_NODE_MAILBOX_H_
#define SKEIN_NODE_MAILBOX_H_

#include <atomic>
#include <cstddef>
#include <memory>

namespace skein::node {

class LoopImpl;

// Something to be done on a loop. Owned by the mailbox from Post until Run.
class Message {
 public:
  virtual ~Message() = default;
  // On the loop's thread. `self` owns this message: keep it, post it on, or let it die.
  virtual void Run(LoopImpl& loop, std::unique_ptr<Message> self) = 0;

 private:
  friend class Mailbox;
  std::atomic<Message*> next_{nullptr};
};

class Mailbox {
 public:
  Mailbox();
  // Frees what was never taken.
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // Any thread. Allowed as long as the mailbox lives, also when its loop has ended: then nobody takes it.
  void Post(std::unique_ptr<Message> message);
  // Any thread: wakes the loop without a message.
  void Wake();

  // The loop's thread only. Becomes readable when there is something to take or somebody called Wake.
  int fd() const { return fd_; }
  // Before taking: later posts make the descriptor readable again.
  void Acknowledge();
  // The oldest message, or null if there is none (or the next one is not linked in yet: its poster wakes the loop).
  std::unique_ptr<Message> Take();

 private:
  struct Stub final : Message {
    void Run(LoopImpl&, std::unique_ptr<Message>) override {}
  };
  void Push(Message* message);

  int fd_;
  Stub stub_;
  alignas(64) std::atomic<Message*> head_;  // posters
  std::atomic<bool> signalled_{false};
  alignas(64) Message* tail_;  // the loop
};

}  // namespace skein::node

#endif  // SKEIN_NODE_MAILBOX_H_
