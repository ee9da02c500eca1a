#include "storage/log_tail.h"

#include <algorithm>
#include <cstring>

#include "glog/logging.h"

namespace skein::storage {

LogTail::~LogTail() {
  for (Chunk* list : {head_, hoard_, spare_.load()}) {
    while (list != nullptr) {
      Chunk* const next = list->next.load();
      delete list;
      list = next;
    }
  }
}

void LogTail::Start(Lsn start) {
  CHECK(tail_ == nullptr);
  tail_ = head_ = cursor_ = new Chunk;
  tail_->base = base_ = start;
  at_ = tail_->data;
  limit_ = at_ + Chunk::kSize;
  published_.store(start);
}

void LogTail::Write(std::string_view bytes) {
  while (!bytes.empty()) {
    if (at_ == limit_) NextChunk();
    const size_t n = std::min(bytes.size(), room());
    std::memcpy(at_, bytes.data(), n);
    at_ += n;
    bytes.remove_prefix(n);
  }
}

void LogTail::NextChunk() {
  Chunk* const chunk = TakeSpare();
  chunk->base = position();
  tail_->next.store(chunk, std::memory_order_release);
  tail_ = chunk;
  base_ = chunk->base;
  at_ = chunk->data;
  limit_ = at_ + Chunk::kSize;
}

LogTail::Chunk* LogTail::TakeSpare() {
  if (hoard_ == nullptr) hoard_ = spare_.exchange(nullptr, std::memory_order_acquire);
  if (hoard_ == nullptr) return new Chunk;
  Chunk* const chunk = hoard_;
  hoard_ = chunk->next.load(std::memory_order_relaxed);
  chunk->next.store(nullptr, std::memory_order_relaxed);
  spare_count_.fetch_sub(1, std::memory_order_relaxed);
  return chunk;
}

LogTail::Piece LogTail::Peek(Lsn limit) {
  while (true) {
    const Lsn lsn = cursor();
    if (lsn >= limit) return {nullptr, 0};
    Chunk* const next = cursor_->next.load(std::memory_order_acquire);
    if (next != nullptr && next->base == lsn) {
      cursor_ = next;
      cursor_at_ = 0;
      continue;
    }
    // Without a next chunk everything published lies in this one: the link is set before what is behind it is
    // published.
    const Lsn end = next != nullptr ? std::min(limit, next->base) : limit;
    return {cursor_->data + cursor_at_, static_cast<size_t>(end - lsn)};
  }
}

void LogTail::Release() {
  while (head_ != cursor_) {
    Chunk* const chunk = head_;
    head_ = chunk->next.load(std::memory_order_relaxed);
    if (spare_count_.load(std::memory_order_relaxed) >= kMaxSpare) {
      delete chunk;
      continue;
    }
    spare_count_.fetch_add(1, std::memory_order_relaxed);
    Chunk* top = spare_.load(std::memory_order_relaxed);
    do {
      chunk->next.store(top, std::memory_order_relaxed);
    } while (!spare_.compare_exchange_weak(top, chunk, std::memory_order_release, std::memory_order_relaxed));
  }
}

void LogTail::Restart(Lsn start) {
  cursor_ = tail_;
  Release();
  cursor_at_ = 0;
  tail_->base = base_ = start;
  at_ = tail_->data;
  limit_ = at_ + Chunk::kSize;
  published_.store(start);
}

}  // namespace skein::storage
