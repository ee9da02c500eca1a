#include "node/mailbox.h"

#include <glog/logging.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>

namespace skein::node {

Mailbox::Mailbox() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)), head_(&stub_), tail_(&stub_) {
  PCHECK(fd_ >= 0) << "eventfd";
}

Mailbox::~Mailbox() {
  while (Take() != nullptr) {
  }
  close(fd_);
}

void Mailbox::Push(Message* message) {
  message->next_.store(nullptr, std::memory_order_relaxed);
  Message* previous = head_.exchange(message, std::memory_order_acq_rel);
  previous->next_.store(message, std::memory_order_release);
}

void Mailbox::Post(std::unique_ptr<Message> message) {
  Push(message.release());
  Wake();
}

void Mailbox::Wake() {
  if (signalled_.exchange(true, std::memory_order_acq_rel)) return;
  const uint64_t one = 1;
  // It can only fail by being full, and then the loop is awake anyway.
  [[maybe_unused]] const ssize_t n = write(fd_, &one, sizeof(one));
}

void Mailbox::Acknowledge() {
  uint64_t count;
  [[maybe_unused]] const ssize_t n = read(fd_, &count, sizeof(count));
  // After the read: a post that comes between the two is taken by the drain that follows.
  signalled_.exchange(false, std::memory_order_acq_rel);
}

std::unique_ptr<Message> Mailbox::Take() {
  Message* tail = tail_;
  Message* next = tail->next_.load(std::memory_order_acquire);
  if (tail == &stub_) {
    if (next == nullptr) return nullptr;
    tail_ = tail = next;
    next = tail->next_.load(std::memory_order_acquire);
  }
  if (next == nullptr) {
    // The last one can only be taken with another behind it: the stub goes there.
    if (tail != head_.load(std::memory_order_acquire)) return nullptr;
    Push(&stub_);
    next = tail->next_.load(std::memory_order_acquire);
    if (next == nullptr) return nullptr;
  }
  tail_ = next;
  return std::unique_ptr<Message>(tail);
}

}  // namespace skein::node
